/**
 * A small write over bytes that somebody else sees too (a snapshot, the origin of a clone, a copy) takes new units and a row of its own. The
 * second one near such a place takes along what lies around it, so that the next ones there are writes in place, without a row.
 *   - What is taken along are bytes as they are, written with the new ones as one larger write: nobody sees more of it than the space that it
 *     takes, and a longer range in a comparison of snapshots.
 *   - It ends at AROUND_BYTES (aligned), and at whatever is not a written extent that must stay: the file's own, logged, holes, space that was
 *     only held, and what a power cut may leave behind the end.
 *   - A write that has nothing of the file's own near it takes its units alone: who writes here and there pays for what it writes.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import { mayOverwrite } from './extents.js'
import { ceilUnit, firstBehind, floorUnit } from './filemap.js'
import type { FileMap } from './filemap.js'
import type { File, Floor } from './files.js'
import { readMap } from './reading.js'

export const AROUND_BYTES = 64 * 1024

/** [from, to) of the file. */
export interface Around {
  readonly from: number
  readonly to: number
}

/** The whole units that a write of [start, end) shall replace: undefined if no more than its own. `stable`: the length that a power cut leaves. */
export function widened({ exts, pends }: FileMap, start: number, end: number, stable: number, newestSnapshot: number): Around | undefined {
  let from = start - (start % AROUND_BYTES)
  let to = Math.min(from + AROUND_BYTES, floorUnit(stable))
  if (end > to) return undefined
  let hasOwn = false
  const [low, high] = [from, to]
  /** [a, b) stays out of it. */
  const bound = (a: number, b: number): boolean => {
    if (b <= start) from = Math.max(from, b)
    else if (a >= end) to = Math.min(to, a)
    return b <= start || a >= end
  }
  for (let i = firstBehind(pends, low); i < pends.length && pends[i].off < high; i++) {
    const p = pends[i]
    hasOwn = true
    if (!bound(floorUnit(p.off), ceilUnit(p.off + p.len))) return undefined
  }
  let next = low
  for (let i = firstBehind(exts, low); next < high; i++) {
    const e = exts[i]
    const at = Math.min(high, e?.off ?? high)
    if (at > next && !bound(next, at)) return undefined
    if (at === high) break
    next = e.off + e.len
    const isOwn = mayOverwrite(e, newestSnapshot)
    hasOwn ||= isOwn
    if ((isOwn || e.unwritten) && !bound(e.off, next)) return undefined
  }
  return hasOwn && to - from > end - start ? { from, to } : undefined
}

const spare: Buffer[] = []
const SPARE_MAX = 16

/** Runs `store` with the bytes of a wider range, under the file's lock. Undefined: they cannot be read, or there is no room for so many. */
export async function withAround<T>(floor: Floor, ctx: Context, file: File, { from: low, to: high }: Around, start: number, from: Uint8Array, at: number, length: number, store: (bytes: Uint8Array) => Promise<T>): Promise<T | undefined> {
  const bytes = spare.pop() ?? Buffer.allocUnsafeSlow(AROUND_BYTES)
  try {
    const reading = readMap(floor, ctx, file.content!, file.map, low, high - low, bytes, 0)
    if (reading instanceof Promise) await reading
    bytes.set(from.subarray(at, at + length), start - low)
    const answer = await store(bytes)
    if (spare.length < SPARE_MAX) spare.push(bytes) // after a failure somebody may read it still
    return answer
  } catch (e) {
    if (e instanceof PosixError && (e.code === 'EIO' || e.code === 'ENOSPC')) return undefined // the write itself may do
    throw e
  }
}
