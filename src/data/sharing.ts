/**
 * copy_file_range: whole units are not copied, both files share them.
 *   - Units are shared that lie alike in both files, in written extents over which nothing is pending: their bytes are in the store, and synced.
 *     The rest is copied as by read and write. Of what is not synced yet much is synced first, little is copied.
 *   - A step holds both files' locks, the lower number's first, and is two transactions: one marks the source's extents as shared, by
 *     one file so far; the other gives the target's rows, and counts. After either of them both files are whole.
 *   - Extents that are shared are never written in place (extents.ts), so neither file sees what is written to the other.
 *   - The source's last unit is shared as a whole if the target ends there too: behind the end both are zero.
 * 64 MiB cost as much as 4 KiB: two rows in each file and a count.
 */
import type { Context } from '../sys/index.js'
import { UNIT_BYTES } from '../store/index.js'
import { commit, exclusively } from './changing.js'
import { LOGGED_MAX_BYTES, NOW } from './data.js'
import type { Content, ContentEffects, CopyWish, View } from './data.js'
import { ceilUnit, firstBehind, floorUnit } from './filemap.js'
import type { FileMap, Pending } from './filemap.js'
import { fileOf, loaded, withLock } from './files.js'
import type { File, Floor } from './files.js'
import { flush, syncStore } from './flushing.js'
import { read } from './reading.js'
import { syncFile } from './syncing.js'
import { write } from './writing.js'

/** Bytes that one call copies; its caller goes on with the rest, or is gone by then. */
const COPIED_MAX_BYTES = 16 * 1024 * 1024
const COPY_BYTES = 1024 * 1024
const STEPS_MAX = 64
/** Of one transaction. */
const RANGES_MAX = 512
const STEP_BYTES = 4 * 1024 ** 3
/** What costs more to copy than to sync. */
const SYNC_LEAST_BYTES = 8 * 1024 * 1024
const QUIET: ContentEffects = { touch: undefined, killSuidgid: false }

interface Request {
  readonly from: number
  readonly to: number
  readonly effects: ContentEffects
  readonly wish: CopyWish
}

/** Ranges of the source that the target takes over, in order; what lies between them is a hole. */
interface Taken {
  readonly off: number
  readonly len: number
  readonly start: number
  /** Nobody shares it yet. */
  readonly isOwn: boolean
}
interface Plan {
  readonly taken: readonly Taken[]
  /** Where it ends in the source, in whole units. */
  readonly upto: number
}

/** What a step did: bytes that are done; or the next so many are to be copied. */
type Step = { readonly done: number } | { readonly copy: number }

export async function copy(floor: Floor, ctx: Context, from: number, view: View, fromOffset: number, to: number, toOffset: number, length: number, effects: ContentEffects, wish: CopyWish): Promise<number> {
  const request: Request = { from, to, effects, wish }
  const mayShare = view === NOW && (fromOffset - toOffset) % UNIT_BYTES === 0 && (wish === 'shared' || length > LOGGED_MAX_BYTES)
  if (mayShare) await settle(floor, ctx, from, fromOffset, fromOffset + length, wish)
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
    const n = await copyBytes(floor, ctx, request, view, fromOffset + done, toOffset + done, wanted)
    done += n
    copied += n
    if (n < wanted) break
  }
  return done
}

async function copyBytes(floor: Floor, ctx: Context, { from, to, effects }: Request, view: View, fromOffset: number, toOffset: number, length: number): Promise<number> {
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
  if (floor.syncedStamp === 0) await syncStore(floor, ctx) // what a daemon that died wrote in place, nobody knows where
  const unsettled = hasUnsyncedPlaces(floor, file) ? to - from : pendingIn(file.map, from, to)
  if (unsettled === 0 || (wish === 'cheapest' && unsettled < SYNC_LEAST_BYTES)) return
  for (let isMore = true; isMore;) isMore = await flush(floor, { ctx, ready: false }, [file])
  await syncFile(floor, ctx, file)
}

// ---------------------------------------------------------------------------------------------------------- sharing

function share(floor: Floor, ctx: Context, request: Request, fromOffset: number, toOffset: number, length: number): Promise<Step> {
  const { from, to } = request
  const unaligned = ceilUnit(fromOffset) - fromOffset
  if (unaligned > 0) return Promise.resolve({ copy: unaligned })
  const first = fileOf(floor, Math.min(from, to))
  return Promise.resolve(exclusively(floor, first, () => {
    if (from === to) return shareLocked(floor, ctx, request, first, first, fromOffset, toOffset, length)
    const second = fileOf(floor, Math.max(from, to))
    const [source, target] = from < to ? [first, second] : [second, first]
    // not exclusively: a snapshot that waits for this one would keep it waiting
    return withLock(second, () => shareLocked(floor, ctx, request, source, target, fromOffset, toOffset, length))
  }))
}

async function shareLocked(floor: Floor, ctx: Context, request: Request, source: File, target: File, fromOffset: number, toOffset: number, length: number): Promise<Step> {
  await loaded(floor, source)
  await loaded(floor, target)
  const { sizeBytes, inline } = source.content!
  const end = Math.min(fromOffset + length, sizeBytes)
  if (end <= fromOffset) return { done: 0 }
  if (inline !== undefined || hasUnsyncedPlaces(floor, source)) return { copy: end - fromOffset }
  const endsBoth = end === sizeBytes && toOffset + end - fromOffset >= target.content!.sizeBytes
  const limit = endsBoth ? ceilUnit(end) : floorUnit(end)
  if (limit <= fromOffset) return { copy: end - fromOffset }
  const { taken, upto } = planOf(source.map, fromOffset, Math.min(limit, fromOffset + room(target.map, toOffset, limit - fromOffset)))
  if (upto === fromOffset) return { copy: Math.min(end, pendingEnd(source.map, fromOffset)) - fromOffset }
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
      taken.push({ off, len: to - off, start: e.start + off - e.off, isOwn: e.kind === 'own' })
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

/** The source's own extents become shared ones, of which it is the only holder so far. */
async function mark(floor: Floor, ctx: Context, source: File, taken: readonly Taken[]): Promise<void> {
  const own = taken.filter(({ isOwn }) => isOwn)
  if (own.length === 0) return
  await floor.needSharing() // older versions are kept out before the first of them
  await commit(floor, ctx, source, { effects: QUIET }, (editor, _tx, _ref, before) => {
    for (const { off, len } of own) editor.markShared(off, off + len)
    return { sizeBytes: before.sizeBytes, keepInline: true }
  })
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
