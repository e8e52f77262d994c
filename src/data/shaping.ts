/**
 * What changes a file's shape: truncate, punch, zero, reserve, and the end of a file without links.
 *   - Behind the end of a file its last unit is zero in every place: truncation zeroes it, in the log.
 *   - Units are taken away whole; bytes of units that stay are zeroed in the log, or in place where they are tentative.
 *   - One transaction frees at most RANGES_MAX ranges and SLICE_BYTES: what is larger goes in slices, from the end of the range.
 *     A daemon that dies in between leaves the file cut in part, and the call unanswered.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { Tx } from '../engine/index.js'
import { UNIT_BYTES } from '../store/index.js'
import type { Piece } from '../store/index.js'
import { Change, commit, commitTogether, exclusively, isBegun, RECLAIM, refOf, refuseBegun, TOGETHER_FILES, unlessBegun, untilSettled } from './changing.js'
import { FILE_MAX_BYTES, INLINE_MAX_BYTES } from './content.js'
import type { Content, ContentEffects, FileRef } from './content.js'
import type { Editor } from './editor.js'
import { mayOverwrite } from './extents.js'
import type { Extent } from './extents.js'
import { ceilUnit, firstBehind, floorUnit, leftHint, rightHint } from './filemap.js'
import type { FileMap } from './filemap.js'
import { fileOf, forget, loaded, tryLock, unlock, unsynced, WHOLE, withLock } from './files.js'
import type { File, Floor } from './files.js'
import { withoutLent } from './lending.js'
import { readMap } from './reading.js'
import { SMALL_FILE_BYTES } from './writing.js'

const RANGES_MAX = 512
/** Of a file that is freed with others. */
const FEW_RANGES = 8
const FEW_BYTES = 4 * 1024 ** 2
const SLICE_BYTES = 4 * 1024 ** 3

/** The whole change under the file's lock, planned again if a snapshot came in between. */
async function change<T>(floor: Floor, ino: number, fn: (file: File) => Promise<T>): Promise<T> {
  const file = fileOf(floor, ino)
  return unlessBegun(floor, () => exclusively(floor, file, async () => {
    if (file.content === undefined) await loaded(floor, file)
    refuseBegun(floor, file, 0, WHOLE)
    return untilSettled(() => fn(file))
  }))
}

/** Where the last slice of [from, to) begins that one transaction may take away. */
function sliceStart({ exts, pends }: FileMap, from: number, to: number): number {
  let ei = firstBehind(exts, to - 1)
  let pi = firstBehind(pends, to - 1)
  if (ei === exts.length || exts[ei].off >= to) ei--
  if (pi === pends.length || pends[pi].off >= to) pi--
  let bytes = 0
  for (let n = 0; ; n++) {
    const e = ei >= 0 ? exts[ei].off : -1
    const p = pi >= 0 ? pends[pi].off : -1
    const off = Math.max(e, p)
    if (off < from) return from
    if (n > 0 && (n >= RANGES_MAX || bytes >= SLICE_BYTES)) return Math.max(from, ceilUnit(off + (e >= p ? exts[ei].len : pends[pi].len)))
    if (e >= p) bytes += exts[ei--].len
    else bytes += pends[pi--].len
  }
}

const isTentativeAt = ({ pends }: FileMap, pos: number): boolean => {
  const p = pends[firstBehind(pends, pos)]
  return p !== undefined && p.off <= pos && p.bytes === undefined
}
const isWrittenAt = ({ exts }: FileMap, pos: number): boolean => {
  const e = exts[firstBehind(exts, pos)]
  return e !== undefined && e.off <= pos && !e.unwritten
}

// ---------------------------------------------------------------------------------------------------------- truncate

export const truncate = (floor: Floor, ctx: Context, ino: number, size: number, effects: ContentEffects): Promise<Content> => {
  if (size > FILE_MAX_BYTES || size < 0) return Promise.reject(new PosixError(size < 0 ? 'EINVAL' : 'EFBIG'))
  return change(floor, ino, (file) => truncateFile(floor, ctx, file, size, effects))
}

async function truncateFile(floor: Floor, ctx: Context, file: File, size: number, effects: ContentEffects): Promise<Content> {
  const was = file.content!.sizeBytes
  for (let slice = Infinity; slice > ceilUnit(size) && size < was;) {
    slice = sliceStart(file.map, ceilUnit(size), Number.MAX_SAFE_INTEGER)
    if (slice > ceilUnit(size) && slice < file.content!.sizeBytes) await cutEnd(floor, ctx, file, slice, effects)
    else if (slice > ceilUnit(size)) await dropWhole(floor, ctx, file, slice, Number.MAX_SAFE_INTEGER, effects)
  }
  return cutEnd(floor, ctx, file, size, effects)
}

/** Sets the size and takes away what lies behind it. */
async function cutEnd(floor: Floor, ctx: Context, file: File, size: number, effects: ContentEffects): Promise<Content> {
  const { map, content } = file
  const tail = size % UNIT_BYTES === 0 || size >= content!.sizeBytes ? undefined : await tailOf(floor, ctx, file, size)
  if (size < content!.sizeBytes) file.cuts++
  return commit(floor, ctx, file, { effects }, (editor, tx, _ref, before) => {
    if (map.exts.length === 0 && map.pends.length === 0 && size <= INLINE_MAX_BYTES && (before.inline !== undefined || before.sizeBytes === 0 || size === 0)) {
      if (size === 0) return { sizeBytes: 0, inline: undefined }
      const inline = new Uint8Array(size)
      inline.set((before.inline ?? new Uint8Array(0)).subarray(0, size))
      return { sizeBytes: size, inline }
    }
    if (before.inline !== undefined && before.inline.length > 0) editor.log(tx, 0, before.inline.length, before.inline, 0)
    if (size < before.sizeBytes) cutBehind(editor, tx, map, size, before.sizeBytes, tail)
    return { sizeBytes: size }
  })
}

/** Bytes of the last unit that stay, if they are tentative: they become logged, so that its end is zero with the commit and not before. */
async function tailOf(floor: Floor, ctx: Context, file: File, size: number): Promise<Uint8Array | undefined> {
  if (!isTentativeAt(file.map, floorUnit(size))) return undefined
  const bytes = new Uint8Array(UNIT_BYTES)
  await readMap(floor, ctx, file.content!, file.map, floorUnit(size), size % UNIT_BYTES, bytes, 0)
  return bytes
}

export function cutBehind(editor: Editor, tx: Tx, map: FileMap, size: number, oldSize: number, tail: Uint8Array | undefined): void {
  const unit = floorUnit(size)
  editor.dropPending(tx, tail === undefined ? size : unit, Number.MAX_SAFE_INTEGER)
  editor.dropExtents(tx, ceilUnit(size), Number.MAX_SAFE_INTEGER)
  editor.cutOrigin(ceilUnit(size))
  if (tail !== undefined) editor.log(tx, unit, UNIT_BYTES, tail, 0)
  // To the unit's end, not to the old one of the file: an earlier cut's zeros were dropped just now, and the extent holds old bytes there.
  else if (size > unit && isWrittenAt(map, unit)) editor.log(tx, size, ceilUnit(size) - size, undefined, 0)
}

// ------------------------------------------------------------------------------------------------------ punch, zero

/** Takes whole units [from, to) away, in one transaction: zeros, or the end of the file, take their place. */
function dropWhole(floor: Floor, ctx: Context, file: File, from: number, to: number, effects: ContentEffects): Promise<Content> {
  file.cuts++
  return commit(floor, ctx, file, { effects }, (editor, tx, _ref, before) => {
    editor.dropPending(tx, from, to)
    if (to === Number.MAX_SAFE_INTEGER) {
      editor.dropExtents(tx, from, to)
      editor.cutOrigin(from)
    } else editor.holeExtents(tx, from, to)
    return { sizeBytes: before.sizeBytes, keepInline: true }
  })
}

/** Parts of units at the ends of [from, to), within the file's size. */
function edgesOf(from: number, to: number, size: number): { readonly from: number; readonly to: number }[] {
  const end = Math.min(to, size)
  const out: { from: number; to: number }[] = []
  const a = Math.min(end, ceilUnit(from))
  if (a > from) out.push({ from, to: a })
  const b = Math.max(a, floorUnit(to))
  if (end > b && to % UNIT_BYTES !== 0) out.push({ from: b, to: end })
  return out
}

/** Before the transaction: zeros in place where an edge is tentative. */
async function zeroTentativeEdges(floor: Floor, ctx: Context, file: File, edges: readonly { readonly from: number; readonly to: number }[]): Promise<void> {
  for (const { from, to } of edges) {
    if (!isTentativeAt(file.map, from)) continue
    await refOf(floor, ctx, file)
    const p = file.map.pends[firstBehind(file.map.pends, from)]
    const written = floor.store.write(ctx, p.start + from - p.off, new Uint8Array(to - from), 0, to - from)
    if (written instanceof Promise) await written
    file.placeStamp = ++floor.stamp
    unsynced(floor, file)
  }
}

function zeroEdges(editor: Editor, tx: Tx, map: FileMap, edges: readonly { readonly from: number; readonly to: number }[]): void {
  for (const { from, to } of edges) {
    if (isTentativeAt(map, from)) continue
    editor.dropPending(tx, from, to)
    if (isWrittenAt(map, from)) editor.log(tx, from, to - from, undefined, 0)
  }
}

function zeroInline(inline: Uint8Array, from: number, to: number, sizeBytes: number): { readonly sizeBytes: number; readonly inline: Uint8Array } {
  const bytes = new Uint8Array(sizeBytes)
  bytes.set(inline)
  return { sizeBytes, inline: bytes.fill(0, Math.min(from, sizeBytes), Math.min(to, sizeBytes)) }
}

export const punch = (floor: Floor, ctx: Context, ino: number, offset: number, length: number, effects: ContentEffects): Promise<Content> =>
  change(floor, ino, async (file) => {
    const end = offset + length
    const { content } = file
    if (content!.inline !== undefined) {
      return commit(floor, ctx, file, { effects }, (_editor, _tx, _ref, before) => zeroInline(before.inline!, offset, end, before.sizeBytes))
    }
    const from = ceilUnit(offset)
    const to = floorUnit(end)
    for (let slice = to; slice > from;) {
      const start = sliceStart(file.map, from, slice)
      if (start === from) break
      await dropWhole(floor, ctx, file, start, slice, effects)
      slice = start
    }
    const edges = edgesOf(offset, end, content!.sizeBytes)
    await zeroTentativeEdges(floor, ctx, file, edges)
    const { map } = file
    file.cuts++
    return commit(floor, ctx, file, { effects }, (editor, tx, _ref, before) => {
      zeroEdges(editor, tx, map, edges)
      if (to > from) {
        editor.dropPending(tx, from, to)
        editor.holeExtents(tx, from, to)
      }
      return { sizeBytes: before.sizeBytes }
    })
  })

interface Gap { readonly from: number; readonly to: number }

/** Whole units of [from, to) that no kept extent (and, if asked, no tentative range of its own units) covers. */
function gapsOf({ exts, pends }: FileMap, from: number, to: number, keeps: (e: Extent) => boolean, tentativeToo: boolean): Gap[] {
  const held: Gap[] = []
  for (let i = firstBehind(exts, from); i < exts.length && exts[i].off < to; i++) if (keeps(exts[i])) held.push({ from: exts[i].off, to: exts[i].off + exts[i].len })
  if (tentativeToo) {
    for (let i = firstBehind(pends, from); i < pends.length && pends[i].off < to; i++) {
      if (pends[i].bytes === undefined) held.push({ from: pends[i].off, to: pends[i].off + pends[i].len })
    }
    held.sort((a, b) => a.from - b.from)
  }
  const gaps: Gap[] = []
  let pos = from
  for (const h of held) {
    if (h.from > pos) gaps.push({ from: pos, to: h.from })
    pos = Math.max(pos, h.to)
  }
  if (pos < to) gaps.push({ from: pos, to })
  return gaps
}

interface Filled { readonly off: number; readonly piece: Piece }

async function fill(floor: Floor, ctx: Context, map: FileMap, gaps: readonly Gap[], area: 'small' | 'large', into: Filled[]): Promise<void> {
  for (const gap of gaps) {
    let off = gap.from
    const last = into[into.length - 1]
    const answer = floor.store.allocate(ctx, {
      lengthBytes: gap.to - gap.from, area, rightHintBytes: rightHint(map, gap.to),
      leftHintBytes: last !== undefined && last.off + last.piece.lengthBytes === off ? last.piece.startBytes + last.piece.lengthBytes : leftHint(map, off)
    })
    for (const piece of answer instanceof Promise ? await answer : answer) {
      into.push({ off, piece })
      off += piece.lengthBytes
    }
  }
}

/** Unwritten extents in the gaps, in transactions of bounded size; `last` makes the final one's content. */
async function fillGaps(floor: Floor, ctx: Context, file: File, gaps: readonly Gap[], ref: FileRef, effects: ContentEffects,
  last: (editor: Editor, tx: Tx, before: Content) => number): Promise<Content> {
  const total = gaps.reduce((sum, g) => sum + g.to - g.from, 0)
  const { freeBytes, keptBytes } = floor.store.status()
  if (total > freeBytes - keptBytes) throw new PosixError('ENOSPC')
  const area = Math.max(file.content!.sizeBytes, total) < SMALL_FILE_BYTES ? 'small' : 'large'
  const slices: Gap[][] = [[]]
  let bytes = 0
  for (const gap of gaps) {
    for (let from = gap.from; from < gap.to;) {
      const to = Math.min(gap.to, from + SLICE_BYTES - bytes)
      slices[slices.length - 1].push({ from, to })
      bytes += to - from
      from = to
      if (bytes < SLICE_BYTES && slices[slices.length - 1].length < RANGES_MAX) continue
      slices.push([])
      bytes = 0
    }
  }
  for (let i = 0; ; i++) {
    const filled: Filled[] = []
    try {
      await fill(floor, ctx, file.map, slices[i], area, filled)
    } catch (e) {
      floor.store.release(filled.map((f) => f.piece))
      throw e
    }
    const isLast = i === slices.length - 1
    const content = await commit(floor, ctx, file, { effects, ref, pieces: filled.map((f) => f.piece) }, (editor, tx, now, before) => {
      if (before.inline !== undefined && before.inline.length > 0) editor.log(tx, 0, before.inline.length, before.inline, 0)
      const sizeBytes = isLast ? last(editor, tx, before) : before.sizeBytes
      for (const { off, piece } of filled) {
        editor.dropExtents(tx, off, off + piece.lengthBytes) // what a snapshot holds
        editor.addExtent(off, piece, now.epoch, true)
      }
      return { sizeBytes }
    })
    if (isLast) return content
  }
}

export const reserve = (floor: Floor, ctx: Context, ino: number, offset: number, length: number, keepSize: boolean, effects: ContentEffects): Promise<Content> => {
  const end = offset + length
  if (end > FILE_MAX_BYTES) return Promise.reject(new PosixError('EFBIG'))
  return change(floor, ino, async (file) => {
    const ref = await refOf(floor, ctx, file)
    const gaps = gapsOf(file.map, floorUnit(offset), ceilUnit(end), (e) => e.kind !== 'hole', true)
    return fillGaps(floor, ctx, file, gaps, ref, effects, (_editor, _tx, before) => (keepSize ? before.sizeBytes : Math.max(before.sizeBytes, end)))
  })
}

export const zero = (floor: Floor, ctx: Context, ino: number, offset: number, length: number, keepSize: boolean, effects: ContentEffects): Promise<Content> => {
  const end = offset + length
  if (end > FILE_MAX_BYTES) return Promise.reject(new PosixError('EFBIG'))
  return change(floor, ino, async (file) => {
    const { content } = file
    const newSize = keepSize ? content!.sizeBytes : Math.max(content!.sizeBytes, end)
    if (content!.inline !== undefined && newSize <= INLINE_MAX_BYTES) {
      return commit(floor, ctx, file, { effects }, (_editor, _tx, _ref, before) => zeroInline(before.inline!, offset, end, newSize))
    }
    const ref = await refOf(floor, ctx, file)
    const from = ceilUnit(offset)
    const to = Math.max(from, floorUnit(end))
    const edges = edgesOf(offset, end, content!.sizeBytes)
    await zeroTentativeEdges(floor, ctx, file, edges)
    const { map } = file
    const gaps = to > from ? gapsOf(map, from, to, (e) => mayOverwrite(e, ref.newestSnapshot), false) : []
    file.cuts++
    return fillGaps(floor, ctx, file, gaps, ref, effects, (editor, tx, before) => {
      if (before.inline !== undefined) editor.dropPending(tx, offset, end)
      zeroEdges(editor, tx, map, edges)
      editor.dropPending(tx, from, to)
      for (const e of editor.map.exts.filter((x) => x.off < to && x.off + x.len > from && !x.unwritten && mayOverwrite(x, ref.newestSnapshot))) {
        for (const part of editor.liftExtents(Math.max(from, e.off), Math.min(to, e.off + e.len))) {
          editor.addExtent(part.off, { startBytes: part.start, lengthBytes: part.len }, part.birth, true)
        }
      }
      return newSize
    })
  })
}

// ------------------------------------------------------------------------------------------------------------ reclaim

const isBare = ({ map, hasTentativeRow }: File): boolean => map.exts.length === 0 && map.pends.length === 0 && map.origin === undefined && !hasTentativeRow

/** Takes everything from `from` on away. */
function stripping(floor: Floor, file: File, from: number): Change {
  file.cuts++
  return new Change(floor, file, { effects: RECLAIM }, (editor, tx, _ref, before) => {
    editor.dropPending(tx, from, Number.MAX_SAFE_INTEGER)
    editor.dropExtents(tx, from, Number.MAX_SAFE_INTEGER)
    if (from === 0) editor.setOrigin(undefined)
    return { sizeBytes: before.sizeBytes, durableSizeBytes: before.sizeBytes, keepInline: true }
  })
}

/** Nothing of it is left. */
function forgetBare(floor: Floor, file: File): void {
  if (file.locked || file.flushing) return
  file.unsyncedSinceMs = Infinity
  forget(floor, file)
}

/** One step of freeing a file without links; true when nothing is left. */
export async function reclaimStep(floor: Floor, ctx: Context, ino: number): Promise<boolean> {
  const file = fileOf(floor, ino)
  const isDone = await unlessBegun(floor, () => withLock(file, async () => {
    if (file.content === undefined) await loaded(floor, file)
    refuseBegun(floor, file, 0, WHOLE)
    if (file.map.origin !== undefined) withoutLent(floor, file)
    if (isBare(file)) return true
    await stripping(floor, file, sliceStart(file.map, 0, Number.MAX_SAFE_INTEGER)).run(ctx)
    return file.map.exts.length === 0 && file.map.pends.length === 0
  }))
  if (isDone) forgetBare(floor, file)
  return isDone
}

/** The same for files with few ranges, in one transaction; what somebody else is at work on, and what fails, stays. Answers those of which nothing is left. */
export async function reclaimTogether(floor: Floor, ctx: Context, inos: readonly number[]): Promise<readonly number[]> {
  const bare: number[] = []
  for (let i = 0; i < inos.length;) {
    const files: File[] = []
    const changes: Change[] = []
    try {
      for (; i < inos.length && files.length < TOGETHER_FILES; i++) {
        const file = fileOf(floor, inos[i])
        if (!tryLock(file)) continue
        files.push(file)
        if (file.content === undefined) await Promise.resolve(loaded(floor, file)).catch(() => undefined) // reclaimStep meets it again
        if (file.content !== undefined && !isBare(file) && !isBegun(floor, file, 0, WHOLE) && file.map.origin === undefined && file.map.exts.length + file.map.pends.length <= FEW_RANGES && file.content.allocatedBytes <= FEW_BYTES) changes.push(stripping(floor, file, 0))
      }
      await commitTogether(floor, ctx, changes, RECLAIM)
    } finally {
      for (const file of files) unlock(file)
    }
    for (const file of files) {
      if (file.content === undefined || !isBare(file)) continue
      bare.push(file.ino)
      forgetBare(floor, file)
    }
  }
  return bare
}
