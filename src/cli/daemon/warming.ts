/**
 * Warms the daemon while nobody asks for anything: rehearses on pools in memory that are gone afterwards (src/fuse/rehearsal.ts).
 *   - Two pools in turn, both open all the time: what V8 compiles while it knows one pool only calls that pool's functions, and is thrown away when another one is served. It forgets a pool that is garbage.
 *   - It works two milliseconds at a time, and only if no request came since the last one. A mount that is busy at once warms by itself.
 *   - Its files have no names while it uses them: whatever becomes of the daemon, nothing is left.
 *   - Where there is no room for it, or anything of it fails, the daemon is as good, a little slower at first.
 * docs/decisions/0010.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rehearse } from '../../fuse/index.js'
import { hostSpace, openPool } from '../../pool/index.js'
import type { Pool } from '../../pool/index.js'
import type { Clock, Random } from '../../sys/index.js'

export interface WarmingOptions {
  readonly clock: Clock
  readonly random: Random
  /** So many requests have come until now. */
  requests(): number
  debug(text: string): void
}

export interface Warming {
  readonly ended: Promise<void>
  /** Ends it soon; resolves when it has ended. */
  stop(): Promise<void>
}

const FOLDERS = [4, 4, 8, 8, 16, 16] // 0.8 s of work on the machine of docs/performance.md
const POOLS = 2
const BEGIN_AFTER_MS = 20
const SLICE_MS = 2
const REST_MS = 2
const LOG_BYTES = 1024 * 1024
const FLUSH_BYTES = 128 * 1024 // small files go to the store every now and then
const MEMORY = '/dev/shm'
const ROOM_BYTES = 256 * 1024 * 1024 // it takes some 40 MiB, for a second

export function startWarming(options: WarmingOptions): Warming {
  let stopped = false
  const ended = warm(options, () => stopped).catch((e: unknown) => options.debug(`warming ended early: ${String(e)}`))
  return {
    ended,
    stop() {
      stopped = true
      return ended
    }
  }
}

async function warm({ clock, random, requests }: WarmingOptions, stopped: () => boolean): Promise<void> {
  let seen = requests()
  /** Waits until nobody has asked for a while. */
  async function quiet(ms: number): Promise<boolean> {
    for (let before = -1; before !== seen && !stopped(); ) {
      before = seen
      await clock.sleep(ms)
      seen = requests()
    }
    return !stopped()
  }
  const pools: Pool[] = []
  try {
    for (let i = 0; i < FOLDERS.length && await quiet(BEGIN_AFTER_MS); i++) {
      if (pools.length < POOLS) pools.push(await openWithoutName({ clock, random }))
      await rehearseOn(pools[i % POOLS], FOLDERS[i])
    }
  } finally {
    await Promise.all(pools.map((pool) => pool.close()))
  }

  async function rehearseOn({ vfs }: Pool, folders: number): Promise<void> {
    let sliceEndMs = clock.monotonicMs() + SLICE_MS
    await rehearse({
      vfs, clock, folders,
      async rest() {
        if (stopped()) return false
        if (clock.monotonicMs() < sliceEndMs && requests() === seen) return true
        const goesOn = await quiet(REST_MS)
        sliceEndMs = clock.monotonicMs() + SLICE_MS
        return goesOn
      }
    })
  }
}

async function openWithoutName({ clock, random }: Pick<WarmingOptions, 'clock' | 'random'>): Promise<Pool> {
  const folder = mkdtempSync(join(hostSpace(MEMORY).freeBytes >= ROOM_BYTES ? MEMORY : tmpdir(), 'ogee-warming-'))
  try {
    return await openPool(folder, { clock, random, vfs: {}, note: () => {}, seams: { logBytes: LOG_BYTES, flushBytes: FLUSH_BYTES } })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
