/**
 * A file's map: two sorted lists of ranges, pending bytes over extents. What changes it is the editor (editor.ts).
 *   - Ranges of one list do not overlap. Extents and tentative ranges are of whole units; logged ranges of any bytes. No unit
 *     holds both tentative and logged bytes.
 */
import { UNIT_BYTES } from '../store/index.js'
import { movesAway } from './extents.js'
import type { Extent, Pending } from './extents.js'
import type { Origin } from './origin.js'

export interface FileMap {
  readonly exts: readonly Extent[]
  readonly pends: readonly Pending[]
  /** What it shows where it has nothing of its own is among `exts`, as lent. */
  readonly origin: Origin | undefined
}
export const EMPTY_MAP: FileMap = { exts: [], pends: [], origin: undefined }

export const floorUnit = (n: number): number => n - (n % UNIT_BYTES)
export const ceilUnit = (n: number): number => floorUnit(n + UNIT_BYTES - 1)

export interface Ranged {
  readonly off: number
  readonly len: number
}

/** Index of the first range that ends behind `at`. */
export function firstBehind(list: readonly Ranged[], at: number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const mid = (low + high) >>> 1
    if (list[mid].off + list[mid].len > at) high = mid
    else low = mid + 1
  }
  return low
}

/** Bytes of [from, to) that extents with units cover. */
export function coveredByExtents(exts: readonly Extent[], from: number, to: number): number {
  let sum = 0
  for (let i = firstBehind(exts, from); i < exts.length && exts[i].off < to; i++) {
    if (exts[i].kind !== 'hole') sum += Math.min(to, exts[i].off + exts[i].len) - Math.max(from, exts[i].off)
  }
  return sum
}

export interface Coverage {
  /** Units held in the store (the origin's too) or logged, in bytes: st_blocks. */
  readonly allocated: number
  /** Units with logged bytes and no extent, or one that stays as it is: a flush will allocate them. In bytes. */
  readonly loose: number
  readonly logged: number
}

/** Of the units that [from, to) touches. */
export function coverage({ exts, pends }: FileMap, from: number, to: number, newestSnapshot: number): Coverage {
  const a = floorUnit(from)
  const b = ceilUnit(to)
  let allocated = coveredByExtents(exts, a, b)
  let loose = 0
  let logged = 0
  let done = a
  let moved = a // end of the units that were counted because their bytes move away
  for (let i = firstBehind(pends, a); i < pends.length && pends[i].off < b; i++) {
    const p = pends[i]
    const end = Math.min(b, ceilUnit(p.off + p.len))
    if (p.bytes !== undefined) {
      logged += Math.min(b, p.off + p.len) - Math.max(a, p.off)
      for (let start = Math.max(moved, floorUnit(p.off)), j = firstBehind(exts, start); j < exts.length && exts[j].off < end; j++) {
        if (!movesAway(exts[j], p.birth, newestSnapshot)) continue
        moved = Math.min(end, exts[j].off + exts[j].len)
        loose += moved - Math.max(start, exts[j].off)
      }
    }
    const start = Math.max(done, floorUnit(p.off))
    if (end <= start) continue
    const bare = end - start - coveredByExtents(exts, start, end)
    allocated += bare
    if (p.bytes !== undefined) loose += bare
    done = end
  }
  return { allocated, loose, logged }
}

/** Address in the store behind what ends at `off`: where an allocation for `off` should begin. */
export function leftHint({ exts, pends }: FileMap, off: number): number | undefined {
  if (off === 0) return undefined
  const p = pends[firstBehind(pends, off - 1)]
  if (p !== undefined && p.off < off && p.bytes === undefined && p.off + p.len >= off) return p.start + off - p.off
  const e = exts[firstBehind(exts, off - 1)]
  return e !== undefined && e.off < off && e.kind === 'own' ? e.start + off - e.off : undefined
}
export function rightHint({ exts, pends }: FileMap, off: number): number | undefined {
  const p = pends[firstBehind(pends, off)]
  if (p !== undefined && p.off === off && p.bytes === undefined) return p.start
  const e = exts[firstBehind(exts, off)]
  return e !== undefined && e.off === off && e.kind === 'own' ? e.start : undefined
}

/** Room that is looked for where small pieces take the place of others in any order: they go there one after the other. */
const TRAIL_BYTES = 1024 * 1024

/** Where units go that take the place of others: behind those that did so last. What lies around the old ones is taken. */
export const placeOver = (trail: number, lengthBytes: number): { readonly fileBytes: number; readonly leftHintBytes?: number } =>
  trail < 0 ? { fileBytes: Math.max(TRAIL_BYTES, lengthBytes) } : { fileBytes: Math.max(TRAIL_BYTES, lengthBytes), leftHintBytes: trail }

export function isOver({ exts }: FileMap, off: number): boolean {
  const e = exts[firstBehind(exts, off)]
  return e !== undefined && e.off <= off && !e.unwritten
}
