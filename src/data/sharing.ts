/**
 * copy_file_range: whole units are not copied, both files share them.
 *   - Units are shared that lie alike in both files, in written extents over which nothing is pending: their bytes are in the store, and synced.
 *     The rest is copied as by read and write. Of what is not synced yet much is synced first, little is copied.
 *   - A step holds both files' locks, the lower number's first, and is two transactions: one marks the source's extents as shared, by
 *     one file so far; the other gives the target's rows, and counts. After either of them both files are whole.
 *   - What a snapshot shows is shared as well: its extents are the file's own rows that are old enough, or rows of history. If the snapshot goes
 *     meanwhile, its units stay until this ends (beginRead), and the rest is copied.
 *   - Extents that are shared are never written in place (extents.ts), so neither file sees what is written to the other.
 *   - The source's last unit is shared as a whole if the target ends there too: behind the end both are zero.
 * 64 MiB cost as much as 4 KiB: two rows in each file and a count.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import { UNIT_BYTES } from '../store/index.js'
import type { Piece } from '../store/index.js'
import { commit, exclusively, refuseBegun, unlessBegun } from './changing.js'
import { LOGGED_MAX_BYTES, NO_TOUCH, NOW } from './content.js'
import type { Content, ContentEffects, CopyWish, View } from './content.js'
import type { Extent, Pending } from './extents.js'
import { ceilUnit, firstBehind, floorUnit } from './filemap.js'
import type { FileMap } from './filemap.js'
import { beginRead, endRead, fileOf, loaded, withLock } from './files.js'
import type { File, Floor } from './files.js'
import { flush, hasInherited, syncStore } from './flushing.js'
import { decodePast, encodePast, historyKey } from './history.js'
import { read, seen } from './reading.js'
import { decodeExtent, encodeExtent, extentKey } from './rows.js'
import { countShares, Uncounted } from './shares.js'
import { syncFile } from './syncing.js'
import { write } from './writing.js'

/** Bytes that one call copies; its caller goes on with the rest, or is gone by then. */
const COPIED_MAX_BYTES = 16 * 1024 * 1024
const COPY_BYTES = 1024 * 1024
const STEPS_MAX = 64
/** Of one transaction. */
export const RANGES_MAX = 512
const STEP_BYTES = 4 * 1024 ** 3
/** What costs more to copy than to sync. */
const SYNC_LEAST_BYTES = 8 * 1024 * 1024

interface Request {
  readonly from: number
  readonly view: View
  readonly to: number
  readonly effects: ContentEffects
  readonly wish: CopyWish
}

/** Ranges of the source that the target takes over, in order; what lies between them is a hole. */
export interface Taken {
  readonly off: number
  readonly len: number
  readonly start: number
  /** The extent that it is a part of. */
  readonly of: Extent
}
interface Plan {
  readonly taken: readonly Taken[]
  /** Where it ends in the source, in whole units. */
  readonly upto: number
}

/** What a step did: bytes that are done; or the next so many are to be copied. */
type Step = { readonly done: number } | { readonly copy: number }

export async function copy(floor: Floor, ctx: Context, from: number, view: View, fromOffset: number, to: number, toOffset: number, length: number, effects: ContentEffects, wish: CopyWish): Promise<number> {
  const request: Request = { from, view, to, effects, wish }
  const mayShare = (fromOffset - toOffset) % UNIT_BYTES === 0 && (wish === 'shared' || length > LOGGED_MAX_BYTES)
  if (mayShare && view === NOW) await settle(floor, ctx, from, fromOffset, fromOffset + length, wish)
  let copied = 0
  let done = 0
  for (let steps = 0; done < length && copied < COPIED_MAX_BYTES && steps < STEPS_MAX; steps++) {
    if (ctx.signal?.cancelled === true && done > 0) break
    const step: Step = mayShare ? await share(floor, ctx, request, fromOffset + done, toOffset + done, length - done) : { copy: length }
    if ('done' in step) {
      if (step.done === 0) break // the source ends here
      done += step.done
      continue
    }
    const wanted = Math.min(step.copy, length - done, COPIED_MAX_BYTES - copied)
    const n = await copyBytes(floor, ctx, request, fromOffset + done, toOffset + done, wanted)
    done += n
    copied += n
    if (n < wanted) break
  }
  return done
}

async function copyBytes(floor: Floor, ctx: Context, { from, view, to, effects }: Request, fromOffset: number, toOffset: number, length: number): Promise<number> {
  const buffer = new Uint8Array(Math.min(length, COPY_BYTES))
  let done = 0
  while (done < length) {
    const n = await read(floor, ctx, from, view, fromOffset + done, Math.min(buffer.length, length - done), buffer, 0)
    if (n === 0) break
    await write(floor, ctx, to, toOffset + done, buffer, 0, n, effects)
    done += n
  }
  return done
}

// --------------------------------------------------------------------------------------------------------- settling

const hasUnsyncedPlaces = (floor: Floor, file: File): boolean => file.placeStamp > floor.syncedStamp

/** Bytes of [from, to) that are pending. */
function pendingIn({ pends }: FileMap, from: number, to: number): number {
  let sum = 0
  for (let i = firstBehind(pends, from); i < pends.length && pends[i].off < to; i++) sum += Math.min(to, pends[i].off + pends[i].len) - Math.max(from, pends[i].off)
  return sum
}

/** Moves the source's pending bytes to extents, if it is worth that. */
async function settle(floor: Floor, ctx: Context, ino: number, from: number, to: number, wish: CopyWish): Promise<void> {
  const file = fileOf(floor, ino)
  await loaded(floor, file)
  if (hasInherited(floor)) await syncStore(floor, ctx)
  const unsettled = hasUnsyncedPlaces(floor, file) ? to - from : pendingIn(file.map, from, to)
  if (unsettled === 0 || (wish === 'cheapest' && unsettled < SYNC_LEAST_BYTES)) return
  for (let isMore = true; isMore;) isMore = await flush(floor, { ctx, ready: false }, [file])
  await syncFile(floor, ctx, file)
}

// ---------------------------------------------------------------------------------------------------------- sharing

async function share(floor: Floor, ctx: Context, request: Request, fromOffset: number, toOffset: number, length: number): Promise<Step> {
  if (request.view === NOW) return shareSome(floor, ctx, request, fromOffset, toOffset, length)
  const generation = beginRead(floor)
  try {
    return await shareSome(floor, ctx, request, fromOffset, toOffset, length)
  } catch (e) {
    if (e instanceof Uncounted) return { copy: length } // the snapshot is being removed
    throw e
  } finally {
    endRead(floor, generation)
  }
}

function shareSome(floor: Floor, ctx: Context, request: Request, fromOffset: number, toOffset: number, length: number): Promise<Step> {
  const { from, to } = request
  const unaligned = ceilUnit(fromOffset) - fromOffset
  if (unaligned > 0) return Promise.resolve({ copy: unaligned })
  const first = fileOf(floor, Math.min(from, to))
  return unlessBegun(floor, () => exclusively(floor, first, () => {
    if (from === to) return shareLocked(floor, ctx, request, first, first, fromOffset, toOffset, length)
    const second = fileOf(floor, Math.max(from, to))
    const [source, target] = from < to ? [first, second] : [second, first]
    // not exclusively: a snapshot that waits for this one would keep it waiting
    return withLock(second, () => shareLocked(floor, ctx, request, source, target, fromOffset, toOffset, length))
  }))
}

async function shareLocked(floor: Floor, ctx: Context, request: Request, source: File, target: File, fromOffset: number, toOffset: number, length: number): Promise<Step> {
  await loaded(floor, target)
  refuseBegun(floor, target, toOffset, toOffset + length)
  const { content: { sizeBytes, inline }, map } = await sourceOf(floor, ctx, request.from, request.view, source)
  const end = Math.min(fromOffset + length, sizeBytes)
  if (end <= fromOffset) return { done: 0 }
  if (inline !== undefined || (request.view === NOW && hasUnsyncedPlaces(floor, source))) return { copy: end - fromOffset }
  const endsBoth = end === sizeBytes && toOffset + end - fromOffset >= target.content!.sizeBytes
  const limit = endsBoth ? ceilUnit(end) : floorUnit(end)
  if (limit <= fromOffset) return { copy: end - fromOffset }
  const { taken, upto } = planOf(map, fromOffset, Math.min(limit, fromOffset + room(target.map, toOffset, limit - fromOffset)))
  if (upto === fromOffset) return { copy: Math.min(end, pendingEnd(map, fromOffset)) - fromOffset }
  await mark(floor, ctx, source, taken)
  const done = Math.min(upto, end) - fromOffset
  await take(floor, ctx, target, toOffset, done, upto - fromOffset, taken.map((t) => ({ ...t, off: t.off - fromOffset + toOffset })), request.effects)
  return { done }
}

/** Where the unit begins that it begins in. */
const unitOf = (p: Pending | undefined): number => (p === undefined ? Infinity : floorUnit(p.off))

/** How much of [at, at + length) one transaction may replace, in whole units and not nothing. */
function room({ exts, pends }: FileMap, at: number, length: number): number {
  const end = Math.min(at + length, at + STEP_BYTES, exts[firstBehind(exts, at) + RANGES_MAX]?.off ?? Infinity, unitOf(pends[firstBehind(pends, at) + RANGES_MAX]))
  return Math.max(UNIT_BYTES, end - at)
}

/** From `at` on, up to where bytes have to be copied. */
function planOf({ exts, pends }: FileMap, at: number, limit: number): Plan {
  const taken: Taken[] = []
  const end = Math.min(limit, Math.max(at, unitOf(pends[firstBehind(pends, at)])))
  let pos = at
  for (let i = firstBehind(exts, at); pos < end && taken.length < RANGES_MAX; i++) {
    const e = exts[i]
    if (e === undefined || e.off >= end) {
      pos = end
      break
    }
    const off = Math.max(at, e.off)
    const to = Math.min(end, e.off + e.len)
    if (!e.unwritten) {
      if (e.kind === 'lent') return { taken, upto: off } // another file's
      taken.push({ off, len: to - off, start: e.start + off - e.off, of: e })
    }
    pos = to
  }
  return { taken, upto: pos }
}

/** Where what is pending, or another file's, ends. */
function pendingEnd({ exts, pends }: FileMap, at: number): number {
  const p = pends[firstBehind(pends, at)]
  if (p !== undefined && floorUnit(p.off) <= at) return ceilUnit(p.off + p.len)
  const e = exts[firstBehind(exts, at)]
  return Math.min(e.off + e.len, unitOf(p))
}

/** What is copied from, as the view shows it. The source's lock is held: its own rows stay where they are. */
export async function sourceOf(floor: Floor, ctx: Context, from: number, view: View, source: File): Promise<{ readonly content: Content; readonly map: FileMap }> {
  if (view === NOW) {
    await loaded(floor, source)
    return { content: source.content!, map: source.map }
  }
  try {
    await loaded(floor, source)
  } catch (e) {
    if (!(e instanceof PosixError) || e.code !== 'ESTALE') throw e // removed since: all that the view shows is history
  }
  return seen(floor, ctx, from, view, (s) => s)
}

const rowAt = ({ exts }: FileMap, { of }: Taken): Extent | undefined => {
  const e = exts[firstBehind(exts, of.off)]
  return e !== undefined && e.off === of.off && e.len === of.len && e.start === of.start && e.birth === of.birth ? e : undefined
}
/** Its extent is one of these. */
const isIn = (map: FileMap, taken: Taken): boolean => rowAt(map, taken) !== undefined
const ownIn = (map: FileMap, taken: Taken): boolean => rowAt(map, taken)?.kind === 'own'

/** The source's own extents among these become shared ones, of which it is the only holder so far. */
export async function mark(floor: Floor, ctx: Context, source: File, taken: readonly Taken[]): Promise<void> {
  const now = taken.filter((t) => ownIn(source.map, t))
  const past = taken.filter((t) => t.of.kind === 'own' && !isIn(source.map, t)) // of a view; before the others are cut where they are marked
  if (now.length > 0) await markNow(floor, ctx, source, now)
  if (past.length > 0) await markPast(floor, ctx, source, past)
}

async function markNow(floor: Floor, ctx: Context, source: File, own: readonly Taken[]): Promise<void> {
  await floor.needSharing() // older versions are kept out before the first of them
  await commit(floor, ctx, source, { effects: NO_TOUCH }, (editor, _tx, _ref, before) => {
    for (const { off, len } of own) editor.markShared(off, off + len)
    return { sizeBytes: before.sizeBytes, keepInline: true }
  })
}

/** Extents in history, each as a whole. */
async function markPast(floor: Floor, ctx: Context, { ino }: File, own: readonly Taken[]): Promise<void> {
  await floor.needSharing()
  await floor.engine.transact(ctx, async (tx) => {
    const marked: Piece[] = []
    for (const { of } of own) {
      const key = historyKey(extentKey(ino, of.off), of.birth)
      const row = await tx.get(key)
      if (row === undefined) throw new Uncounted()
      const past = decodePast({ key, row })
      const extent = decodeExtent(past.key, past.bytes)
      if (extent.start !== of.start || extent.len !== of.len) throw new Uncounted()
      if (extent.kind !== 'own') continue
      tx.put(key, encodePast(past.birth, past.death, encodeExtent({ ...extent, kind: 'shared' })))
      marked.push({ startBytes: extent.start, lengthBytes: extent.len })
    }
    await countShares(tx, { marked, joined: [], dropped: [] })
  })
  floor.pasts.delete(ino)
}

/** The target's next `bytes` bytes, `units` in whole units, become the extents taken and holes between them. */
async function take(floor: Floor, ctx: Context, target: File, at: number, bytes: number, units: number, taken: readonly Taken[], effects: ContentEffects): Promise<Content> {
  const { inline } = target.content!
  const staying = inline === undefined || (at === 0 && bytes >= inline.length) ? 0 : inline.length // they become logged
  const heldBytes = ceilUnit(staying)
  if (heldBytes > 0) {
    const held = floor.store.hold(ctx, heldBytes)
    if (held instanceof Promise) await held
  }
  target.cuts++
  return commit(floor, ctx, target, { effects, heldBytes }, (editor, tx, { epoch }, before) => {
    if (staying > 0) editor.log(tx, 0, staying, before.inline, 0)
    editor.dropPending(tx, at, at + units)
    editor.holeExtents(tx, at, at + units)
    for (const { off, len, start } of taken) {
      editor.dropExtents(tx, off, off + len) // the hole, if there is one
      editor.joinShared(off, { startBytes: start, lengthBytes: len }, epoch)
    }
    return { sizeBytes: Math.max(before.sizeBytes, at + bytes) }
  })
}
