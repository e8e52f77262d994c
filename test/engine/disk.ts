/**
 * A disk under the log that remembers what was written and what was synced, so that a test can look at what a power cut
 * or the daemon's death would have left: the folder as it is, with the log's bytes replaced.
 */
import { cpSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Random } from '../../src/sys/index.js'
import { systemIo } from '../../src/engine/index.js'
import type { LogIo } from '../../src/engine/index.js'

const SECTOR_BYTES = 512

export interface Write {
  readonly offset: number
  readonly bytes: Buffer
}

export interface Disk {
  readonly io: LogIo
  /** Writes since the last `settle`, and how many of them a sync covers. */
  readonly writes: readonly Write[]
  readonly synced: number
  /** The next calls of that name answer this instead; a length for pwrite: a short write. */
  failNext(call: 'pwrite' | 'fdatasync', rc: number, times: number): void
  /** What is on disk now is what later images start from. */
  settle(image: Buffer): void
  /** The log after the first `count` writes and `part` bytes of the next. */
  imageAt(count: number, part: number): Buffer
  /** The log after a power cut at `count` writes: of each sector that was written since the sync, any version. */
  imageAfterCut(count: number, synced: number, random: Random): Buffer
}

export function makeDisk(step?: LogIo['step']): Disk {
  let base: Buffer = Buffer.alloc(0)
  let writes: Write[] = []
  let synced = 0
  const faults: Record<'pwrite' | 'fdatasync', { rc: number; times: number }> = { pwrite: { rc: 0, times: 0 }, fdatasync: { rc: 0, times: 0 } }
  const imageAt = (count: number, part: number): Buffer => {
    const image = Buffer.from(base)
    for (const w of writes.slice(0, count)) w.bytes.copy(image, w.offset)
    if (part > 0 && count < writes.length) writes[count].bytes.copy(image, writes[count].offset, 0, part)
    return image
  }
  return {
    io: {
      ...systemIo,
      step,
      pwrite(fd, buf, at, length, offset) {
        let take = length
        if (faults.pwrite.times > 0) {
          faults.pwrite.times--
          if (faults.pwrite.rc < 0) return faults.pwrite.rc
          take = Math.min(length, faults.pwrite.rc)
        }
        writes.push({ offset, bytes: Buffer.from(buf.subarray(at, at + take)) })
        return systemIo.pwrite(fd, buf, at, take, offset)
      },
      fdatasyncNow: () => { throw new Error('nobody is alone here') },
      async fdatasync(fd) {
        const covers = writes.length
        if (faults.fdatasync.times > 0) {
          faults.fdatasync.times--
          return faults.fdatasync.rc
        }
        await new Promise((resolve) => setImmediate(resolve)) // off the loop, but on no real disk
        synced = Math.max(synced, covers)
        return 0 * fd
      }
    },
    get writes() {
      return writes
    },
    get synced() {
      return synced
    },
    failNext: (call, rc, times) => void (faults[call] = { rc, times }),
    settle(image) {
      base = image
      writes = []
      synced = 0
    },
    imageAt,
    imageAfterCut(count, syncedCount, random) {
      const image = imageAt(syncedCount, 0)
      for (const w of writes.slice(syncedCount, count)) {
        for (let at = 0; at < w.bytes.length; at += SECTOR_BYTES) if (random.uint32() % 2 === 0) w.bytes.copy(image, w.offset + at, at, at + SECTOR_BYTES)
      }
      return image
    }
  }
}

// in memory where there is some: power is cut here by replacing files, not by pulling the plug
const memoryFolder = '/dev/shm'
export const root = mkdtempSync(join(existsSync(memoryFolder) ? memoryFolder : tmpdir(), 'ogee-engine-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
export const newFolder = (): string => mkdtempSync(join(root, 'pool-'))

export function copyFolder(folder: string, log?: Buffer): string {
  const copy = newFolder()
  cpSync(folder, copy, { recursive: true })
  if (log !== undefined) writeFileSync(join(copy, 'log'), log)
  return copy
}
