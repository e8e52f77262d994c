/** The control socket: questions and answers, errors as sentences, the last words of a daemon, strangers' requests. */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { askGrow, askStatus, askSync, askVolumes, watchClosed } from '../../src/cli/daemon/client.js'
import { serveControl } from '../../src/cli/daemon/control.js'
import type { ControlHandlers } from '../../src/cli/daemon/control.js'
import type { Status } from '../../src/cli/daemon/messages.js'
import type { VolumeAsk } from '../../src/cli/volume-query.js'
import { Refusal } from '../../src/pool/index.js'
import { VolumeError } from '../../src/volume/index.js'

const status: Status = {
  version: '1.2.3', pid: 77, pool: '/p', name: 'n', uuid: 'u', state: 'serving', device: '0:40', uid: 0, options: ['relatime'],
  mounts: [{ dir: '/m', options: ['rw'] }], space: { sizeBytes: 3, usedBytes: 1, freeBytes: 2, extents: 3, freeExtents: 2 }, opening: { ms: 5, clean: true, sameBoot: true, replayedRecords: 0, replayedBytes: 0 }, trash: [], inodes: 4, openFiles: null, openDirectories: null,
  dirtyBytes: 5, uptimeSec: 6.5, requests: 7, latency: { mode: 'auto', inForce: false, spinUs: 30, spunMs: 4, sleeps: 3 }, nbd: [],
  engine: { kind: 'lmdb', failed: null }
}
const handlers: ControlHandlers = { calls: {}, streams: {}, status: () => Promise.resolve(status), sync: () => Promise.resolve(), grow: (sizeBytes) => Promise.resolve(sizeBytes),
  volumes: (ask) => ask.do === 'rm' ? Promise.reject(new VolumeError('in-use', 'Volume v is in use: leave it.')) : Promise.resolve({ volumes: [], fenced: JSON.stringify(ask) })
}

function folderFor(t: TestContext, under = ''): string {
  const top = mkdtempSync(join(tmpdir(), 'ogee-control-'))
  t.after(() => rmSync(top, { recursive: true, force: true }))
  mkdirSync(join(top, under), { recursive: true })
  return join(top, under)
}
const refusedAs = (reason: string, said: RegExp) => (e: unknown): boolean => e instanceof Refusal && e.reason === reason && said.test(e.message)

test('questions and answers, however long the path of the folder is', async (t) => {
  const folder = folderFor(t, 'deep/'.repeat(40))
  const control = await serveControl(folder, handlers)
  assert.equal(statSync(join(folder, 'control.sock')).mode & 0o777, 0o600)
  assert.deepEqual(await askStatus(folder), status)
  assert.deepEqual(await askSync(folder), { durable: true })
  assert.deepEqual(await askGrow(folder, 4096), { sizeBytes: 4096 })
  const asks: VolumeAsk[] = [
    { do: 'list' }, { do: 'info', name: 'a&b=c' }, { do: 'create', name: 'v', size: 512 }, { do: 'resize', name: 'v', size: 2 ** 44, cut: 'cut' }, { do: 'rename', name: 'v', to: 'w' }]
  for (const ask of asks) assert.deepEqual(await askVolumes(folder, ask), { volumes: [], fenced: JSON.stringify(ask) })
  await assert.rejects(askVolumes(folder, { do: 'rm', name: 'v' }), refusedAs('in-use', /leave it/))
  await control.closed(undefined)
  assert.equal(await askStatus(folder), undefined)
})

test('no daemon is a value: no folder, no socket, a socket that a dead daemon left', async (t) => {
  const folder = folderFor(t)
  assert.equal(await askStatus(join(folder, 'nothing')), undefined)
  assert.equal(await askStatus(folder), undefined)
  writeFileSync(join(folder, 'control.sock'), '')
  assert.equal(await askStatus(folder), undefined)
  const control = await serveControl(folder, handlers)
  assert.equal((await askStatus(folder))?.pid, 77)
  await control.closed(undefined)
})

test('a failure is told in the words of the daemon', async (t) => {
  const folder = folderFor(t)
  const control = await serveControl(folder, { ...handlers, sync: () => Promise.reject(new Error('The disk is gone: buy another.')) })
  await assert.rejects(askSync(folder), refusedAs('failed', /^The disk is gone: buy another\.$/))
  await control.closed(undefined)
})

test('a daemon of another version is told from one that is broken', async (t) => {
  const folder = folderFor(t)
  let answer = JSON.stringify({ ...status, pid: 'seven' })
  const server = createServer((_, response) => response.end(answer))
  await new Promise<void>((resolve) => server.listen(join(folder, 'control.sock'), resolve))
  t.after(() => server.close())
  await assert.rejects(askStatus(folder), refusedAs('failed', /another version/))
  answer = '<html>'
  await assert.rejects(askStatus(folder), refusedAs('failed', /no JSON/))
})

test('who listens for the end hears it begin and how it went', async (t) => {
  const folder = folderFor(t)
  for (const error of [undefined, 'Syncing failed']) {
    const control = await serveControl(folder, handlers)
    const watch = await watchClosed(folder)
    control.closing()
    await watch.closing
    assert.equal(await askStatus(folder), undefined, 'a daemon that closes takes no questions')
    await control.closed(error)
    assert.equal(await watch.closed, error)
  }
})

test('a daemon that dies in the middle has not said that all is well; who stops listening hears nothing', async (t) => {
  const folder = folderFor(t)
  const server = createServer((_, response) => {
    response.write('\n{"closing":true}\n')
    setTimeout(() => response.destroy(), 20)
  })
  await new Promise<void>((resolve) => server.listen(join(folder, 'control.sock'), resolve))
  const watch = await watchClosed(folder)
  await watch.closing
  assert.match(await watch.closed ?? '', /ended before it said/)
  server.close()
  rmSync(join(folder, 'control.sock'), { force: true })
  const control = await serveControl(folder, handlers)
  const stopped = await watchClosed(folder)
  stopped.stop()
  assert.equal(await stopped.closed, undefined)
  await control.closed(undefined)
})

test('nonsense on the socket harms nobody', async (t) => {
  const folder = folderFor(t)
  const control = await serveControl(folder, handlers)
  for (const text of ['\0\0\0\0', 'GET /v1/status\r\n\r\n', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`, 'POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello', 'GET /v2/status HTTP/1.1\r\nHost: x\r\n\r\n']) {
    const socket = connect(join(folder, 'control.sock'))
    socket.on('error', () => undefined) // cut off: as it should be
    await new Promise<void>((resolve) => {
      socket.on('close', () => resolve())
      socket.resume().end(text)
    })
  }
  assert.equal((await askStatus(folder))?.pid, 77)
  await control.closed(undefined)
})
