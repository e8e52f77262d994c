/**
 * What requests for names cost the daemon's loop, without a kernel between: a session over a pool on a real folder, asked as the kernel asks.
 * `node --import tsx bench/names.ts [--count 20000] [--dir DIR] [--json] [--only create,unlink]`. V8's flags are the caller's.
 *   - A create is LOOKUP, MKNOD and GETATTR of the folder; its share of the log's pwrite(2) is in it, read(2) and write(2) of the device are not.
 *   - A file of 4 KiB is that, GETXATTR of security.capability and WRITE between; a tar's one has four changes of its attributes more (times, owner, mode).
 *   - The first 500 of a fresh process, the next 1,500, and the median of the blocks of 500 behind: how long V8 takes to compile it all.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import koffi from 'koffi'
import { openSession, rehearse } from '../src/fuse/index.js'
import type { ReplySink, Session } from '../src/fuse/index.js'
import { openPool } from '../src/pool/index.js'
import { systemClock, systemRandom } from '../src/sys/index.js'
import { getattrBody, GETATTR, GETXATTR, getxattrBody, INIT, LOOKUP, mkdirBody, MKDIR, mknodBody, MKNOD, named, RENAME2, renameBody, UNLINK, WRITE, writeBody } from '../test/perf/rig.js'
import { median } from './figures.js'

const SETATTR = 4
const READDIRPLUS = 44
const BLOCK = 500

const { values: options } = parseArgs({ options: {
  count: { type: 'string', default: '20000' }, dir: { type: 'string', default: tmpdir() }, json: { type: 'boolean', default: false }, only: { type: 'string' }, rehearsed: { type: 'string', default: '0' }
} })
interface Line { readonly phase: string; readonly firstUs: number; readonly nextUs: number; readonly laterUs: number }
const lines: Line[] = []
const clockGettime = koffi.load('libc.so.6').func('int clock_gettime(int clock, void *ts)')
const cpuTime = Buffer.alloc(16)
/** What the loop's own thread has worked: other programs on its cores do not count. */
function loopUs(): number {
  clockGettime(3, cpuTime) // CLOCK_THREAD_CPUTIME_ID
  return cpuTime.readUInt32LE(0) * 1e6 + cpuTime.readUInt32LE(8) / 1000
}
const wanted = options.only?.split(',')

const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function runOn(count: number, say: boolean): Promise<void> {
const folder = mkdtempSync(join(options.dir, 'ogee-names-'))
const pool = await openPool(folder, { clock: systemClock, random: systemRandom, note() {}, vfs: { isHeld: (node) => session.lookups.count(node) > 0 } })
let replies = 0
let error = 0
let node = 0
let replyBytes = 0
let lastCookieLow = 0
let lastCookieHigh = 0
const sink: ReplySink = {
  send(frame, length) {
    replies++
    replyBytes = length
    error = frame.view.getInt32(4, true)
    if (length >= 40) node = frame.view.getUint32(16, true)
    if (walking && length > 16) lastCookie(frame.view, length)
    return length
  },
  free: (frame) => session.frames.giveRequest(frame),
  stale: () => Promise.resolve()
}
let walking = false
let entries = 0
function lastCookie(v: DataView, length: number): void {
  for (let at = 16; at < length;) {
    lastCookieLow = v.getUint32(at + 136, true)
    lastCookieHigh = v.getUint32(at + 140, true)
    at += 128 + ((24 + v.getUint32(at + 144, true) + 7) & ~7)
    entries++
  }
}
const session: Session = openSession({
  vfs: pool.vfs, clock: systemClock, opens: false, writebackCache: false, maxBackground: 64, negativeValidMs: 86_400_000, requestTimeoutMs: Infinity, interrupts: false,
  shown: { attrValidMs: 86_400_000, entryValidMs: 86_400_000, uid: undefined, gid: undefined, umask: undefined }
}, sink)
let frame = session.frames.takeRequest()
let unique = 0

/** As the channel: the request, then steps of promises until it is answered. */
async function ask(opcode: number, at: number, body: Buffer): Promise<void> {
  const v = frame.view
  const length = 40 + body.length
  frame.bytes.fill(0, 0, 40)
  v.setUint32(0, length, true)
  v.setUint32(4, opcode, true)
  v.setUint32(8, (unique += 2), true)
  v.setUint32(16, at, true)
  body.copy(frame.bytes, 40)
  const want = replies + 1
  if (session.handle(frame, length)) frame = session.frames.takeRequest()
  for (let jobs = 1; replies < want; jobs++) await (jobs % 32 === 0 ? breathe() : null)
}


async function phase(name: string, ops: number, work: (i: number) => Promise<void> | void): Promise<void> {
  if (wanted !== undefined && !wanted.includes(name)) return
  const blocks: number[] = []
  for (let i = 0; i < ops;) {
    await breathe()
    const end = Math.min(ops, i + BLOCK)
    const n = end - i
    const startUs = loopUs()
    for (; i < end; i++) await work(i)
    blocks.push((loopUs() - startUs) / n)
  }
  const line: Line = { phase: name, firstUs: blocks[0], nextUs: median(blocks.slice(1, 4)), laterUs: median(blocks.slice(4)) }
  if (!say) return
  lines.push(line)
  const us = (x: number): string => x.toFixed(2).padStart(9)
  if (!options.json) console.log(`${name.padEnd(22)}${us(line.firstUs)}${us(line.nextUs)}${us(line.laterUs)}`)
}

const fileName = (i: number): string => `n${String(i).padStart(6, '0')}`
const bodies = (make: (i: number) => Buffer): Buffer[] => Array.from({ length: count }, (_, i) => make(i))

try {
  const init = Buffer.alloc(64)
  for (const [i, word] of [7, 45, 131072, 0x73fffffb, 0x7fd].entries()) init.writeUInt32LE(word, 4 * i)
  await ask(INIT, 0, init)
  await ask(MKDIR, 1, mkdirBody('dir'))
  const dir = node
  if (say && !options.json) console.log(`us for each, Linux ${release()}, Node ${process.versions.node}, ${count} names\n${' '.repeat(22)}first 500  to 2000    later`)

  const lookups = bodies((i) => named(fileName(i)))
  const knods = bodies((i) => mknodBody(fileName(i)))
  const nodes: number[] = []
  await phase('create', count, async (i) => {
    await ask(LOOKUP, dir, lookups[i])
    await ask(MKNOD, dir, knods[i])
    nodes[i] = node
    await ask(GETATTR, dir, getattrBody)
  })
  if (error !== 0) throw new Error(`error ${error}`)
  await phase('lookup', count, (i) => ask(LOOKUP, dir, lookups[i]))
  await phase('getattr', count, (i) => ask(GETATTR, nodes[i], getattrBody))
  walking = true
  const list = Buffer.alloc(40)
  list.writeUInt32LE(128 * 1024, 16)
  await phase('readdirplus, entry', 5 * BLOCK, async (i) => {
    for (const target = entries + 1; entries < target;) {
      list.writeUInt32LE(lastCookieLow, 8)
      list.writeUInt32LE(lastCookieHigh, 12)
      await ask(READDIRPLUS, dir, list)
      if (replyBytes <= 16) lastCookieLow = lastCookieHigh = 0
    }
    void i
  })
  walking = false
  const renames = bodies((i) => renameBody(fileName(i), dir, `m${String(i).padStart(6, '0')}`))
  await phase('rename', count, (i) => ask(RENAME2, dir, renames[i]))
  const unlinks = bodies((i) => named(`${wanted === undefined || wanted.includes('rename') ? 'm' : 'n'}${String(i).padStart(6, '0')}`))
  await phase('unlink', count, (i) => ask(UNLINK, dir, unlinks[i]))
  const mkdirs = bodies((i) => mkdirBody(fileName(i)))
  await phase('mkdir', count, (i) => ask(MKDIR, dir, mkdirs[i]))
  const block = writeBody(0, 4096)
  const capability = getxattrBody('security.capability')
  const write = async (at: number): Promise<void> => {
    await ask(GETXATTR, at, capability)
    await ask(WRITE, at, block)
  }
  const setattr = (valid: number): Buffer => {
    const body = Buffer.alloc(88)
    body.writeUInt32LE(valid, 0)
    body.writeUInt32LE(1_700_000_000, 40) // mtime
    body.writeUInt32LE(0o100644, 68)
    return body
  }
  const [times, owner, mode] = [0x20, 0x806, 0x1].map(setattr) // as tar asks; the kernel adds KILL_SUIDGID to an owner
  const inside = async (of: number, i: number, more: (file: number) => Promise<void>): Promise<void> => {
    await ask(LOOKUP, of, lookups[i])
    await ask(MKNOD, of, knods[i])
    const file = node
    await more(file)
    await ask(GETATTR, of, getattrBody)
  }
  await ask(MKDIR, 1, mkdirBody('small'))
  const small = node
  await phase('create-4k', count, (i) => inside(small, i, write))
  await ask(MKDIR, 1, mkdirBody('tar'))
  const tar = node
  await phase('tar-4k', count, (i) => inside(tar, i, async (file) => {
    await write(file)
    await ask(SETATTR, file, times)
    await ask(GETXATTR, file, capability)
    await ask(SETATTR, file, owner)
    await ask(SETATTR, file, mode)
  }))
  if (error !== 0) throw new Error(`error ${error}`)
  if (say && options.json) console.log(JSON.stringify({ count, node: process.versions.node, lines }, undefined, 1))
} finally {
  await session.close()
  await pool.close()
  rmSync(folder, { recursive: true })
}
}
if (Number(options.rehearsed) > 0) {
  const startUs = loopUs()
  const place = mkdtempSync('/dev/shm/ogee-names-')
  const warm = await openPool(place, { clock: systemClock, random: systemRandom, note() {}, seams: { logBytes: 1024 * 1024 }, vfs: {} })
  rmSync(place, { recursive: true })
  const openMs = (loopUs() - startUs) / 1000
  await rehearse({ vfs: warm.vfs, clock: systemClock, folders: Number(options.rehearsed), rest: () => true })
  const rehearsedMs = (loopUs() - startUs) / 1000
  await warm.close()
  console.log(`opened in ${openMs.toFixed(0)} ms, rehearsed in ${rehearsedMs.toFixed(0)}, closed in ${((loopUs() - startUs) / 1000).toFixed(0)}`)
  await new Promise((resolve) => setTimeout(resolve, 100))
}
await runOn(Number(options.count), true)
