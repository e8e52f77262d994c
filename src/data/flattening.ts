/**
 * Flattening: a clone copies what it shows of its origin, piece by piece, and then is one no more. It may share instead what can be shared (joining.ts).
 *   - What is lent does not change, so it is copied and synced without the file's lock; only the transaction takes that, and takes in
 *     what is still lent then. Who stops in between has lost nothing: the next one goes on with what is left.
 *   - A copy is born when the file began to be a clone. What is lent now was lent in every view of the clone: they show the copy, the same bytes, and
 *     no view differs from another by it.
 *   - In the end row L goes; if a snapshot of the clone still shows it, a row with limit 0 stays, and says that holes hide something there.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise, Tx } from '../engine/index.js'
import type { Piece } from '../store/index.js'
import { commit, exclusively } from './changing.js'
import { NO_TOUCH } from './content.js'
import type { Content } from './content.js'
import type { FlattenHow } from './data.js'
import { partOfExtent } from './extents.js'
import type { Extent } from './extents.js'
import { firstBehind } from './filemap.js'
import { beginRead, endRead, fileOf, loaded } from './files.js'
import type { File, Floor } from './files.js'
import { syncStore } from './flushing.js'
import { endOrigin, joinLent, lentSince } from './joining.js'
import { lentBytes } from './lending.js'

/** Copied at a time, with one sync. */
const SLICE_BYTES = 8 * 1024 * 1024
/** Ranges of one transaction. */
const RANGES_MAX = 256

/** A part of a lent extent, and where its copy lies. */
interface Copy {
  readonly off: number
  readonly piece: Piece
}

export async function lentBytesOf(floor: Floor, _ctx: Context, ino: number): Promise<number> {
  const file = fileOf(floor, ino)
  await loaded(floor, file)
  return lentBytes(file.map)
}

export async function flatten(floor: Floor, ctx: Context, ino: number, how: FlattenHow, progress: (done: number, of: number) => MaybePromise<void>, ended?: (tx: Tx) => MaybePromise<void>): Promise<void> {
  const file = fileOf(floor, ino)
  file.pins++ // between its pieces nobody has the lock
  try {
    if (how === 'share') await joinLent(floor, ctx, file)
    await copyLent(floor, ctx, file, progress, ended)
  } finally {
    file.pins--
  }
}

async function copyLent(floor: Floor, ctx: Context, file: File, progress: (done: number, of: number) => MaybePromise<void>, ended: ((tx: Tx) => MaybePromise<void>) | undefined): Promise<void> {
  const locked = <T>(fn: () => Promise<T>): MaybePromise<T> => exclusively(floor, file, async () => {
    if (file.content === undefined) await loaded(floor, file)
    return fn()
  })
  const of = await locked(() => Promise.resolve(lentBytes(file.map)))
  const birth = of === 0 ? 0 : await lentSince(floor, file.ino)
  for (let done = 0; ;) {
    await progress(done, of)
    if (ctx.signal?.cancelled === true) throw new PosixError('EINTR')
    const slice = await locked(() => Promise.resolve(sliceOf(file)))
    if (slice.length === 0) break
    await copySlice(floor, ctx, file, birth, slice, locked)
    done = of - lentBytes(file.map)
    await floor.clock.sleep(0, ctx.signal) // others' requests come first
  }
  if (ended !== undefined || (file.map.origin?.limit ?? 0) > 0) await locked(() => commit(floor, ctx, file, { effects: NO_TOUCH, also: ended }, (editor, _tx, ref, before) => {
    endOrigin(editor, ref)
    return { sizeBytes: before.sizeBytes, keepInline: true }
  }))
  while (await locked(() => dropHoles(floor, ctx, file)));
}

/** What is lent, from the first on. */
function sliceOf({ map }: File): Extent[] {
  const out: Extent[] = []
  let bytes = 0
  for (const e of map.exts) {
    if (e.kind !== 'lent') continue
    const part = partOfExtent(e, e.off, e.off + Math.min(e.len, SLICE_BYTES - bytes))
    out.push(part)
    bytes += part.len
    if (bytes >= SLICE_BYTES || out.length >= RANGES_MAX) break
  }
  return out
}

async function copySlice(floor: Floor, ctx: Context, file: File, birth: number, slice: readonly Extent[], locked: <T>(fn: () => Promise<T>) => MaybePromise<T>): Promise<void> {
  const copies: Copy[] = []
  const release = (pieces: readonly Piece[]): void => floor.store.release(pieces)
  const generation = beginRead(floor)
  try {
    for (const e of slice) await copyExtent(floor, ctx, e, copies)
    await syncStore(floor, ctx)
  } catch (e) {
    release(copies.map((c) => c.piece))
    throw e
  } finally {
    endRead(floor, generation)
  }
  await locked(async (): Promise<Content | undefined> => {
    const used = copies.flatMap((c) => stillLent(file.map.exts, c))
    release(copies.flatMap((c) => without(c, used)))
    if (used.length === 0) return undefined
    return commit(floor, ctx, file, { effects: NO_TOUCH, pieces: used.map((c) => c.piece) }, (editor, _tx, _ref, before) => {
      for (const { off, piece } of used) {
        editor.liftExtents(off, off + piece.lengthBytes)
        editor.addExtent(off, piece, birth, false)
      }
      return { sizeBytes: before.sizeBytes, keepInline: true }
    })
  })
}

async function copyExtent(floor: Floor, ctx: Context, e: Extent, into: Copy[]): Promise<void> {
  const last = into.at(-1)
  const leftHintBytes = last !== undefined && last.off + last.piece.lengthBytes === e.off ? last.piece.startBytes + last.piece.lengthBytes : undefined
  const answer = floor.store.allocate(ctx, { lengthBytes: e.len, area: 'large', leftHintBytes })
  const bytes = e.bytes ?? Buffer.allocUnsafe(e.len)
  const pieces = answer instanceof Promise ? await answer : answer
  let off = e.off
  for (const piece of pieces) {
    into.push({ off, piece })
    off += piece.lengthBytes
  }
  if (e.bytes === undefined) await floor.store.read(ctx, e.start, e.len, bytes, 0)
  let at = 0
  for (const { startBytes, lengthBytes } of pieces) {
    await floor.store.write(ctx, startBytes, bytes, at, lengthBytes)
    at += lengthBytes
  }
}

/** The parts of a copy whose place is still lent. */
function stillLent(exts: readonly Extent[], { off, piece }: Copy): Copy[] {
  const out: Copy[] = []
  const end = off + piece.lengthBytes
  for (let i = firstBehind(exts, off); i < exts.length && exts[i].off < end; i++) {
    if (exts[i].kind !== 'lent') continue
    const from = Math.max(off, exts[i].off)
    const to = Math.min(end, exts[i].off + exts[i].len)
    out.push({ off: from, piece: { startBytes: piece.startBytes + from - off, lengthBytes: to - from } })
  }
  return out
}

/** What of a copy's units none of these uses. */
function without({ off, piece }: Copy, used: readonly Copy[]): Piece[] {
  const out: Piece[] = []
  const end = off + piece.lengthBytes
  let pos = off
  for (const u of used) {
    if (u.off < off || u.off >= end) continue
    if (u.off > pos) out.push({ startBytes: piece.startBytes + pos - off, lengthBytes: u.off - pos })
    pos = u.off + u.piece.lengthBytes
  }
  if (pos < end) out.push({ startBytes: piece.startBytes + pos - off, lengthBytes: end - pos })
  return out
}

/** Holes that hide nothing any more. Whether there were some. */
async function dropHoles(floor: Floor, ctx: Context, file: File): Promise<boolean> {
  const holes = file.map.exts.filter((e) => e.kind === 'hole').slice(0, RANGES_MAX)
  if (holes.length === 0) return false
  await commit(floor, ctx, file, { effects: NO_TOUCH }, (editor, tx, _ref, before) => {
    for (const { off, len } of holes) editor.dropExtents(tx, off, off + len)
    return { sizeBytes: before.sizeBytes, keepInline: true }
  })
  return true
}
