/**
 * A pool on a real folder behind a session, with a synthetic kernel in front and counters between the pool and the machine.
 * The clock stands still: nothing runs in the background while something is counted.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Data } from '../../src/data/index.js'
import { systemIo } from '../../src/engine/index.js'
import type { Engine, LogIo } from '../../src/engine/index.js'
import { openSession } from '../../src/fuse/index.js'
import type { Session } from '../../src/fuse/index.js'
import type { Frame, ReplySink } from '../../src/fuse/index.js'
import { openPool } from '../../src/pool/index.js'
import type { Pool } from '../../src/pool/index.js'
import { hostIo } from '../../src/store/index.js'
import type { SpaceFile, SpaceIo } from '../../src/store/index.js'
import { manualClock, systemRandom } from '../../src/sys/index.js'

/** What an operation asked of the machine and of the log. */
export interface Counts {
  requests: number
  commits: number
  logBytes: number
  logWrites: number
  logSyncs: number
  spaceReads: number
  spaceWrites: number
  /** sync_file_range, fallocate, fdatasync of the space. */
  spaceOthers: number
  spaceSyncs: number
}

const none = (): Counts => ({ requests: 0, commits: 0, logBytes: 0, logWrites: 0, logSyncs: 0, spaceReads: 0, spaceWrites: 0, spaceOthers: 0, spaceSyncs: 0 })

export const LOOKUP = 1, FORGET = 2, GETATTR = 3, MKNOD = 8, MKDIR = 9, UNLINK = 10, RMDIR = 11, RENAME2 = 45, READ = 15, WRITE = 16, FSYNC = 20, GETXATTR = 22, INIT = 26

export interface Rig {
  readonly pool: Pool
  /** Counts what `work` takes, after `warm` runs of it that do not count. */
  count(work: () => Promise<void>): Promise<Counts>
  ask(opcode: number, node: number, body: Buffer): Promise<{ readonly error: number, readonly node: number }>
  /** Requests of several clients that one drain of the device brings; the first error, or 0. */
  askTogether(requests: ReadonlyArray<readonly [opcode: number, node: number, body: Buffer]>): Promise<number>
  /** The same request again and again, answered in the tick: no promise, no buffer. */
  repeat(opcode: number, node: number, body: Buffer, times: number, errno?: number): void
  /** Logged bytes go to the store; what nobody holds any more is freed. */
  flush(): Promise<void>
  reclaim(): Promise<void>
  close(): Promise<void>
}

export async function openRig(): Promise<Rig> {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-perf-'))
  let counts = none()
  const logIo: LogIo = {
    ...systemIo,
    pwrite(...args) { counts.logWrites++; return systemIo.pwrite(...args) },
    fdatasyncNow(...args) { counts.logSyncs++; return systemIo.fdatasyncNow(...args) },
    fdatasync(...args) { counts.logSyncs++; return systemIo.fdatasync(...args) }
  }
  const counted = (file: SpaceFile): SpaceFile => ({
    ...file,
    readNow(...args) { counts.spaceReads++; return file.readNow(...args) },
    read(...args) { counts.spaceReads++; return file.read(...args) },
    writeNow(...args) { counts.spaceWrites++; return file.writeNow(...args) },
    write(...args) { counts.spaceWrites++; return file.write(...args) },
    fallocate(...args) { counts.spaceOthers++; return file.fallocate(...args) },
    startWriteOut(...args) { counts.spaceOthers++; return file.startWriteOut(...args) },
    sync(...args) { counts.spaceOthers++; counts.spaceSyncs++; return file.sync(...args) }
  })
  const spaceIo: SpaceIo = { create: (...args) => counted(hostIo.create(...args)), open: (...args) => counted(hostIo.open(...args)) }
  let engine: Engine | undefined
  let data: Data | undefined
  let vfs: { settle(): Promise<void> } | undefined
  const clock = manualClock()
  const pool = await openPool(folder, { clock, random: systemRandom, note: () => undefined, vfs: { isHeld: (node) => session.lookups.count(node) > 0 },
    seams: { logIo, spaceIo, opened: (floors) => { ({ engine, data, vfs } = floors) } } })

  let replies = 0
  let error = 0
  let node = 0
  let arrived = (): void => undefined
  const sink: ReplySink = {
    send(sent: Frame, length) {
      replies++
      error = sent.view.getInt32(4, true)
      if (length > 40) node = sent.view.getUint32(16, true)
      arrived()
      return length
    },
    free: (given) => session.frames.giveRequest(given),
    stale: () => Promise.resolve()
  }
  const session: Session = openSession({
    vfs: pool.vfs, clock, opens: false, writebackCache: false, maxBackground: 64, negativeValidMs: 1000, requestTimeoutMs: Infinity, interrupts: false,
    shown: { attrValidMs: 1000, entryValidMs: 1000, uid: undefined, gid: undefined, umask: undefined }
  }, sink)
  let frame = session.frames.takeRequest()
  let unique = 0

  const fill = (opcode: number, at: number, body: Buffer): number => {
    const length = 40 + body.length
    frame.bytes.fill(0, 0, 40)
    frame.view.setUint32(0, length, true)
    frame.view.setUint32(4, opcode, true)
    frame.view.setUint32(8, (unique += 2), true)
    frame.view.setUint32(16, at, true)
    body.copy(frame.bytes, 40)
    return length
  }
  const hand = (length: number): void => {
    counts.requests++
    if (session.handle(frame, length)) frame = session.frames.takeRequest()
  }

  const rig: Rig = {
    pool,
    async count(work) {
      await new Promise((resolve) => setImmediate(resolve))
      counts = none()
      const before = engine!.status()
      await work()
      const after = engine!.status()
      counts.commits = after.committedSeq - before.committedSeq
      counts.logBytes = after.logUsedBytes - before.logUsedBytes
      return { ...counts }
    },
    async askTogether(requests) {
      const want = replies + requests.length
      let failed = 0
      const answers = new Promise<void>((resolve) => {
        arrived = () => {
          if (failed === 0) failed = error
          if (replies === want) resolve()
        }
      })
      for (const [opcode, at, body] of requests) hand(fill(opcode, at, body))
      await answers
      return failed
    },
    async ask(opcode, at, body) {
      const want = replies + 1
      const answer = new Promise<void>((resolve) => { arrived = resolve })
      hand(fill(opcode, at, body))
      if (opcode === FORGET) return { error: 0, node: 0 }
      await answer
      assert.equal(replies, want)
      return { error, node }
    },
    repeat(opcode, at, body, times, errno = 0) {
      const length = fill(opcode, at, body)
      arrived = () => undefined
      const want = replies + times
      for (let i = 0; i < times; i++) session.handle(frame, length)
      assert.equal(replies, want, 'answered in the tick')
      assert.equal(Math.abs(error), errno)
    },
    flush: () => data!.flush(),
    async reclaim() {
      await clock.advanceAsync(50)
      await vfs!.settle()
    },
    async close() {
      await session.close()
      await pool.close()
      rmSync(folder, { recursive: true })
    }
  }
  const init = Buffer.alloc(64)
  for (const [i, word] of [7, 45, 131072, 0x73fffffb, 0x7fd].entries()) init.writeUInt32LE(word, 4 * i)
  await rig.ask(INIT, 0, init)
  return rig
}

const cString = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1')
export const named = (name: string): Buffer => cString(name)
export const mknodBody = (name: string): Buffer => {
  const head = Buffer.alloc(16)
  head.writeUInt32LE(0o100644, 0)
  return Buffer.concat([head, cString(name)])
}
export const mkdirBody = (name: string): Buffer => {
  const head = Buffer.alloc(8)
  head.writeUInt32LE(0o755, 0)
  return Buffer.concat([head, cString(name)])
}
export const renameBody = (name: string, newParent: number, newName: string): Buffer => {
  const head = Buffer.alloc(16)
  head.writeUInt32LE(newParent, 0)
  return Buffer.concat([head, cString(name), cString(newName)])
}
export const getattrBody = Buffer.alloc(16)
export const getxattrBody = (name: string): Buffer => Buffer.concat([Buffer.alloc(8), cString(name)])
export const forgetBody = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])
export const fsyncBody = Buffer.alloc(16)
export const readBody = (offset: number, size: number): Buffer => {
  const body = Buffer.alloc(40)
  body.writeUInt32LE(offset, 8)
  body.writeUInt32LE(size, 16)
  return body
}
export const writeBody = (offset: number, size: number): Buffer => Buffer.concat([readBody(offset, size), Buffer.alloc(size, 7)])
