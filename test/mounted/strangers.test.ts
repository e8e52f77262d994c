/**
 * Strangers at the sockets of a daemon that serves: any bytes, halves of requests, lengths that never come, floods, and who goes in the
 * middle. Each is answered or hung up on; the daemon lives, its mount reads and writes, and the next honest question is answered.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { isAlive, makePlace, ogeePath, ok, run, until } from './place.js'
import type { Place } from './place.js'

const ANSWER_MS = 15_000
const PATIENCE_MS = 200
const PIECES_MAX = 200
const seed = process.env.OGEE_SEED === undefined ? undefined : Number(process.env.OGEE_SEED)
const sh = (script: string): ReturnType<typeof run> => run('sh', ['-c', script])

interface Visit {
  readonly bytes: Buffer
  /** Sent in pieces of so many bytes. */
  readonly piece: number
  readonly then: 'waits' | 'ends' | 'goes'
}

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.constantFrom('', '0', '-1', '1e300', 'NaN', '%', '%00', '%ff', '..', '/', '@', '/x@y', '{}', 'null', '[]', '{"listen":5}', '{"listen":[],"names":[]}', '{"names":{},"listen":["unix:"]}'))
const key = fc.constantFrom('do', 'size', 'name', 'to', 'of', 'path', 'spec', 'snapshot', 'since', 'a', 'b', 'file', 'younger', 'wait', 'cut')
const path = fc.oneof({ weight: 6, arbitrary: fc.constantFrom('status', 'sync', 'closed', 'volumes', 'grow', 'snapshot/create', 'snapshot/list', 'snapshot/rm', 'snapshot/rollback', 'snapshot/diff', 'subvolume/list', 'subvolume/rm',
  'nbd/start', 'image/export', 'image/raw', 'image/import').map((name) => `/v1/${name}`) }, { weight: 1, arbitrary: fc.string({ maxLength: 60 }).map((s) => `/${s}`) }, { weight: 1, arbitrary: fc.constant(`/${'x'.repeat(70_000)}`) })
const query = fc.array(fc.tuple(key, text), { maxLength: 4 }).map((pairs) => pairs.map(([k, v]) => `${k}=${v.startsWith('%') ? v : encodeURIComponent(v)}`).join('&'))
const header = fc.oneof(
  fc.constantFrom('Content-Length: 99999999999999999999', 'Content-Length: 9007199254740991', 'Content-Length: -1', 'Content-Length: 5', 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked, chunked', 'Expect: 100-continue', 'Expect: nothing',
    'Connection: Upgrade\r\nUpgrade: h2c', 'Connection: keep-alive', ': x', 'x', `x: ${'y'.repeat(9000)}`), fc.string({ maxLength: 40 }).map((s) => `x: ${s}`))
const body = fc.oneof(fc.constant(''), fc.constantFrom('ffffffffffffffff\r\n', '5\r\nhello\r\n0\r\n\r\n', '-1\r\n', '5\r\nhel'), fc.string({ maxLength: 200 }))
const request = fc.record({
  method: fc.oneof({ weight: 6, arbitrary: fc.constantFrom('GET', 'POST') }, { weight: 1, arbitrary: fc.constantFrom('PUT', 'HEAD', 'CONNECT', 'OPTIONS', 'PRI', 'x', '') }), path, query,
  version: fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/9'), headers: fc.array(header, { maxLength: 3 }), body, missing: fc.oneof(fc.constant(0), fc.nat(40))
}).map(({ method, path: where, query: asked, version, headers, body: more, missing }) => {
  const bytes = Buffer.from(`${method} ${where}?${asked} ${version}\r\nHost: x\r\n${headers.map((h) => `${h}\r\n`).join('')}\r\n${more}`)
  return bytes.subarray(0, bytes.length - missing)
})
const visit: fc.Arbitrary<Visit> = fc.record({
  bytes: fc.oneof({ weight: 1, arbitrary: fc.uint8Array({ maxLength: 2000 }).map((b) => Buffer.from(b)) }, { weight: 4, arbitrary: request }, { weight: 1, arbitrary: fc.array(request, { maxLength: 20 }).map((many) => Buffer.concat(many)) }),
  piece: fc.constantFrom(1, 7, 1000, 100_000), then: fc.constantFrom('waits', 'ends', 'ends', 'goes')
})

/** Resolves when the daemon has hung up on who ends, or when the stranger goes: at once, or as soon as something is said to him. */
function visits(path_: string, { bytes, piece, then }: Visit): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path_)
    const late = setTimeout(() => {
      socket.destroy()
      if (then === 'waits') resolve() // half a request: the daemon waits for the rest, longer than we do
      else reject(new Error(`no answer to ${JSON.stringify(bytes.toString('latin1').slice(0, 300))}`))
    }, then === 'waits' ? PATIENCE_MS : ANSWER_MS)
    const done = (): void => {
      clearTimeout(late)
      socket.destroy()
      resolve()
    }
    socket.on('error', () => undefined).on('close', done)
    socket.on('data', () => {
      if (then === 'waits') done()
    })
    socket.on('connect', () => {
      const pieces = Math.min(PIECES_MAX, Math.ceil(bytes.length / piece))
      for (let i = 0; i < pieces; i++) socket.write(i + 1 === pieces ? bytes.subarray(i * piece) : bytes.subarray(i * piece, (i + 1) * piece))
      if (then === 'ends') socket.end()
      else if (then === 'goes') socket.end(done) // when all was handed over
    })
  })
}

const hangUp = (sockets: readonly Socket[]): void => sockets.forEach((socket) => socket.destroy())

/** As many as get in. */
const crowd = (path_: string, count: number, say: string): Promise<Socket[]> => Promise.all(Array.from({ length: count }, () => new Promise<Socket>((resolve) => {
  const socket = connect(path_, () => socket.write(say, () => resolve(socket)))
  socket.on('error', () => resolve(socket)).on('data', () => undefined)
})))

async function stillServes({ pool, dir, ogee, pid }: Place, daemon: number, written: string): Promise<void> {
  assert.ok(isAlive(daemon), 'the daemon lives')
  assert.equal(await pid(), daemon)
  assert.equal((await ok(await sh(`echo 3 > /proc/sys/vm/drop_caches; sha256sum < ${dir}/file; echo new > ${dir}/new; cat ${dir}/new`))).out, `${written}new\n`)
  ok(await ogee('sync', pool))
}

test('whoever speaks to the control socket, the daemon lives and the mount serves', { timeout: 180_000 }, async (t) => {
  const place = makePlace(t)
  const { pool, dir, ogee } = place
  ok(await ogee('mount', pool, dir))
  const written = ok(await sh(`head -c 3000000 /dev/urandom > ${dir}/file; sha256sum < ${dir}/file`)).out
  const daemon = await place.pid()
  const socket = join(pool, 'control.sock')
  await fc.assert(fc.asyncProperty(fc.array(visit, { minLength: 20, maxLength: 20 }), async (strangers) => {
    await Promise.all(strangers.map((stranger) => visits(socket, stranger)))
    assert.ok(isAlive(daemon), 'the daemon lives')
  }), { numRuns: 15, endOnFailure: true, includeErrorInReport: true, ...(seed === undefined ? {} : { seed }) })
  for (const spec of ['null', '[]', '{"listen":[],"names":[]}', '{"names":{},"listen":["unix:"]}']) {
    await visits(socket, { bytes: Buffer.from(`POST /v1/nbd/start?spec=${encodeURIComponent(spec)} HTTP/1.1\r\nHost: x\r\n\r\n`), piece: 1000, then: 'ends' })
  }
  await stillServes(place, daemon, written)

  for (const say of ['', 'GET /v1/status HTTP/1.1\r\nHost:', 'POST /v1/sync HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n', 'GET /v1/closed HTTP/1.1\r\nHost: x\r\n\r\n']) {
    const many = await crowd(socket, 400, say)
    await stillServes(place, daemon, written)
    hangUp(many)
  }
  ok(await ogee('umount', dir))
  assert.match(ok(await ogee('fsck', pool)).out, /: clean\./)
  assert.doesNotMatch(readFileSync(join(pool, 'daemon.log'), 'utf8'), /TypeError|unexpected|assertion/)
})

test('a crowd that takes every descriptor is waited out', { timeout: 60_000 }, async (t) => {
  const place = makePlace(t)
  const { pool, dir } = place
  ok(await sh(`ulimit -n 256; ${ogeePath} mount ${pool} ${dir}`))
  const written = ok(await sh(`head -c 3000000 /dev/urandom > ${dir}/file; sha256sum < ${dir}/file`)).out
  const daemon = await place.pid()
  const many = await crowd(join(pool, 'control.sock'), 500, 'GET /v1/closed HTTP/1.1\r\nHost: x\r\n\r\n')
  assert.equal(ok(await sh(`sha256sum < ${dir}/file; echo new > ${dir}/other; cat ${dir}/other`)).out, `${written}new\n`)
  hangUp(many)
  await until(async () => (await place.ogee('status', pool, '--json')).out.includes(`"pid":${daemon}`), 'it answers again')
  await stillServes(place, daemon, written)
})
