/**
 * Writes. One transaction each, unless nothing changes but bytes in place (times.ts); bytes that go to the store are there before it.
 *   - Up to LOGGED_MAX_BYTES: logged rows; but where the file is tentative, in place (the sync that confirms it covers them).
 *   - Small writes take the way of large ones when many come (of this file since its last fsync, or of all files) and they append or replace whole units: else each byte would be written twice.
 *     Over units that stay as they are, what lies around them may come along (widening.ts).
 *   - Larger: into the store. Over written extents that no snapshot shows and over tentative ranges in place, else into new units
 *     that become tentative; over unwritten extents tentative too, in their own units (borrowed). Units with logged bytes get
 *     logged ones, whatever the size: nothing older may come back over newer bytes.
 *   - Bytes behind the end of the file are zeros in every place, so that a file that grows shows zeros.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { UNIT_BYTES } from '../store/index.js'
import type { Piece } from '../store/index.js'
import { commit, exclusively, refOf, refuseBegun, stableEnd, unlessBegun, untilSettled } from './changing.js'
import { FILE_MAX_BYTES, INLINE_MAX_BYTES, LOGGED_MAX_BYTES } from './content.js'
import type { Content, ContentEffects, FileRef } from './content.js'
import { mayOverwrite, movesAway } from './extents.js'
import { ceilUnit, coverage, firstBehind, floorUnit, isOver, leftHint, placeOver, rightHint } from './filemap.js'
import type { FileMap } from './filemap.js'
import { fileOf, loaded, unsynced } from './files.js'
import type { File, Floor } from './files.js'
import { readMap } from './reading.js'
import { mayOwe, owe } from './times.js'
import { widened, withAround } from './widening.js'

/** Files below it are allocated in the store's small area. */
export const SMALL_FILE_BYTES = 1024 * 1024

type Segment =
  | { readonly kind: 'log'; readonly from: number; readonly to: number }
  | { readonly kind: 'place'; readonly from: number; readonly to: number; readonly start: number }
  | { readonly kind: 'new'; readonly from: number; readonly to: number } // whole units, zeros around the bytes
  | { readonly kind: 'borrow'; readonly from: number; readonly to: number; readonly start: number } // whole units

/** Where the bytes [offset, end) go; in file order. */
export function segmentsOf({ exts, pends }: FileMap, offset: number, end: number, size: number, stable: number, { newestSnapshot }: FileRef, isLarge: boolean): Segment[] {
  const out: Segment[] = []
  const add = (segment: Segment): void => {
    const last = out[out.length - 1]
    if (last !== undefined && last.kind === 'log' && segment.kind === 'log' && last.to === segment.from) out[out.length - 1] = { kind: 'log', from: last.from, to: segment.to }
    else if (segment.to > segment.from) out.push(segment)
  }
  for (let pos = offset; pos < end;) {
    const unit = floorUnit(pos)
    // pending ranges count with the whole units that they touch
    const p = pends[firstBehind(pends, unit)]
    const pendFrom = p === undefined ? Infinity : floorUnit(p.off)
    if (p !== undefined && pendFrom <= unit) {
      if (p.bytes === undefined) {
        const to = Math.min(end, p.off + p.len)
        add({ kind: 'place', from: pos, to, start: p.start + pos - p.off })
        pos = to
      } else {
        const to = Math.min(end, ceilUnit(p.off + p.len))
        add({ kind: 'log', from: pos, to })
        pos = to
      }
      continue
    }
    const limit = Math.min(end, pendFrom)
    if (!isLarge) {
      add({ kind: 'log', from: pos, to: limit })
      pos = limit
      continue
    }
    const e = exts[firstBehind(exts, unit)]
    const isHole = e === undefined || e.off > unit
    const to = Math.min(limit, isHole ? e?.off ?? Infinity : e.off + e.len)
    if (isHole) add({ kind: 'new', from: unit, to: ceilUnit(to) })
    else if (mayOverwrite(e, newestSnapshot) && e.unwritten) add({ kind: 'borrow', from: unit, to: ceilUnit(to), start: e.start + unit - e.off })
    else if (mayOverwrite(e, newestSnapshot)) {
      // what lies behind the end is logged: no durable size shall cover bytes in place that are not yet synced
      // and so is what lies behind the end that a power cut may give back to the file
      const cuts = [stable, ceilUnit(stable), size].map((cut) => Math.max(pos, Math.min(to, cut)))
      const place = (from: number, upTo: number): void => add({ kind: 'place', from, to: upTo, start: e.start + from - e.off })
      place(pos, cuts[0])
      add({ kind: 'log', from: cuts[0], to: cuts[1] })
      place(cuts[1], cuts[2])
      add({ kind: 'log', from: Math.max(cuts[1], cuts[2]), to })
    } else {
      // these units stay as they are: whole ones are replaced, parts of one logged over them
      const a = Math.min(to, ceilUnit(pos))
      const b = Math.max(a, e.unwritten ? ceilUnit(to) : floorUnit(to))
      add({ kind: 'log', from: pos, to: a })
      add({ kind: 'new', from: a, to: b })
      add({ kind: 'log', from: b, to })
    }
    pos = to
  }
  return out
}

export function write(floor: Floor, ctx: Context, ino: number, offset: number | 'end', from: Uint8Array, at: number, length: number, effects: ContentEffects): MaybePromise<Content> {
  const file = fileOf(floor, ino)
  const isPlain = floor.beginning === undefined && floor.gate.closed === undefined && !file.locked && file.content !== undefined // in this tick: nothing can begin
  return isPlain ? writeOnce(floor, ctx, file, offset, from, at, length, effects) : unlessBegun(floor, () => writeOnce(floor, ctx, file, offset, from, at, length, effects))
}

function writeOnce(floor: Floor, ctx: Context, file: File, offset: number | 'end', from: Uint8Array, at: number, length: number, effects: ContentEffects): MaybePromise<Content> {
  return exclusively(floor, file, () => {
    const loading = file.content === undefined ? loaded(floor, file) : undefined
    return loading === undefined ? writeLoaded(floor, ctx, file, offset, from, at, length, effects)
      : loading.then(() => writeLoaded(floor, ctx, file, offset, from, at, length, effects))
  })
}

function writeLoaded(floor: Floor, ctx: Context, file: File, offset: number | 'end', from: Uint8Array, at: number, length: number, effects: ContentEffects): MaybePromise<Content> {
  const { map, content } = file
  const size = content!.sizeBytes
  const start = offset === 'end' ? size : offset
  const end = start + length
  if (end > FILE_MAX_BYTES) throw new PosixError('EFBIG')
  if (length === 0) return content!
  if (floor.beginning !== undefined) refuseBegun(floor, file, start, end)
  if (effects.inPlace === true && isAllInPlace(floor, file, start, end) && mayOwe(floor, ctx, file, effects)) return writeBytes(floor, ctx, file, start, from, at, length, effects)
  const isSmall = length <= LOGGED_MAX_BYTES && !goesDirect(floor, file, start, length)
  if (map.exts.length === 0 && map.pends.length === 0 && Math.max(size, end) <= INLINE_MAX_BYTES) return writeInline(floor, ctx, file, start, from, at, length, effects)
  const isTentative = map.pends.length > 0 && touchesTentative(map, start, end)
  if (isSmall && !isTentative) return writeLogged(floor, ctx, file, start, from, at, length, effects)
  if ((!isSmall || isTentative) && isAllInPlace(floor, file, start, end) && mayOwe(floor, ctx, file, effects)) return writeBytes(floor, ctx, file, start, from, at, length, effects)
  return untilSettled(() => (isSmall || length > LOGGED_MAX_BYTES ? writeStored : writeWide)(floor, ctx, file, start, from, at, length, !isSmall, effects))
}

/** Whether all of it replaces bytes of the store where they are, within the length that a power cut leaves. */
function isAllInPlace(floor: Floor, file: File, start: number, end: number): boolean {
  const { map: { exts, pends }, ref } = file
  if (ref === undefined || end > stableEnd(floor, file)) return false
  const to = ceilUnit(end)
  for (let i = firstBehind(pends, floorUnit(start)); i < pends.length && pends[i].off < to; i++) if (pends[i].bytes !== undefined) return false
  for (let pos = start; pos < end;) {
    const p = pends[firstBehind(pends, pos)]
    if (p !== undefined && p.off <= pos) {
      pos = p.off + p.len
      continue
    }
    const e = exts[firstBehind(exts, pos)]
    if (e === undefined || e.off > pos || !mayOverwrite(e, ref.newestSnapshot) || e.unwritten) return false
    pos = Math.min(e.off + e.len, p?.off ?? Infinity)
  }
  return true
}

/** In place, without a transaction: no row changes, and the time is owed. */
function writeBytes(floor: Floor, ctx: Context, file: File, start: number, from: Uint8Array, at: number, length: number, effects: ContentEffects): MaybePromise<Content> {
  const { map: { exts, pends } } = file
  const end = start + length
  let waits: Promise<void>[] | undefined
  for (let pos = start; pos < end;) {
    const p = pends[firstBehind(pends, pos)]
    const isPending = p !== undefined && p.off <= pos
    const under = isPending ? p : exts[firstBehind(exts, pos)]
    const to = Math.min(end, under.off + under.len, isPending ? Infinity : p?.off ?? Infinity)
    const written = floor.store.write(ctx, under.start + pos - under.off, from, at + pos - start, to - pos)
    if (written instanceof Promise) (waits ??= []).push(written)
    pos = to
  }
  const done = (): Content => {
    file.placeStamp = ++floor.stamp
    unsynced(floor, file)
    owe(floor, file, effects.touch)
    return file.content!
  }
  return waits === undefined ? done() : Promise.all(waits).then(done)
}

/** Whether a small write goes to the store at once. Of bytes that are fsynced soon the log is the better place. */
function goesDirect(floor: Floor, file: File, start: number, length: number): boolean {
  if (length > LOGGED_MAX_BYTES) return false
  file.smallBytes += length
  if (!file.isBulk && file.smallBytes <= floor.direct.afterBytes && (file.fsynced || floor.loggedBytes < floor.direct.loggedBytes)) return false
  const { map, content } = file
  const end = start + length
  if (floorUnit(start) !== start) return false
  if (start === content!.sizeBytes) return true
  if (floorUnit(end) !== end || end > content!.sizeBytes) return false
  for (let i = firstBehind(map.pends, start); i < map.pends.length && map.pends[i].off < end; i++) if (map.pends[i].bytes !== undefined) return false
  for (let pos = start; pos < end;) {
    const p = map.pends[firstBehind(map.pends, pos)]
    const e = map.exts[firstBehind(map.exts, pos)]
    if (p !== undefined && p.off <= pos) pos = p.off + p.len
    else if (e !== undefined && e.off <= pos && !e.unwritten) pos = Math.min(e.off + e.len, p?.off ?? Infinity)
    else return false
  }
  return true
}

function touchesTentative({ pends }: FileMap, start: number, end: number): boolean {
  for (let i = firstBehind(pends, start); i < pends.length && pends[i].off < end; i++) if (pends[i].bytes === undefined) return true
  return false
}

function writeInline(floor: Floor, ctx: Context, file: File, start: number, from: Uint8Array, at: number, length: number, effects: ContentEffects): Promise<Content> {
  return commit(floor, ctx, file, { effects }, (_editor, _tx, _ref, before) => {
    const sizeBytes = Math.max(before.sizeBytes, start + length)
    const inline = new Uint8Array(sizeBytes)
    if (before.inline !== undefined) inline.set(before.inline)
    inline.set(from.subarray(at, at + length), start)
    return { sizeBytes, inline }
  })
}

/** Bytes to hold for what [from, to) may need when it is flushed. */
export function looseIn(map: FileMap, from: number, to: number, { epoch, newestSnapshot }: Pick<FileRef, 'epoch' | 'newestSnapshot'>): number {
  const a = floorUnit(from)
  const b = ceilUnit(to)
  let bytes = b - a - coverage(map, a, b, 0).allocated
  for (let i = firstBehind(map.exts, a); i < map.exts.length && map.exts[i].off < b; i++) {
    const e = map.exts[i]
    if (movesAway(e, epoch, newestSnapshot)) bytes += Math.min(b, e.off + e.len) - Math.max(a, e.off)
  }
  return bytes
}

const NO_SNAPSHOT = { epoch: 0, newestSnapshot: 0 }
const touchesExtents = ({ exts }: FileMap, from: number, to: number): boolean => (exts[firstBehind(exts, floorUnit(from))]?.off ?? Infinity) < to

/** An inline file that outgrows its inode: its bytes become logged ones. */
const inlineOutgrown = (content: Content, start: number, end: number): boolean =>
  content.inline !== undefined && content.inline.length > 0 && !(start === 0 && end >= content.inline.length)

function writeLogged(floor: Floor, ctx: Context, file: File, start: number, from: Uint8Array, at: number, length: number, effects: ContentEffects): Promise<Content> {
  const end = start + length
  const old = inlineOutgrown(file.content!, start, end) ? ceilUnit(file.content!.inline!.length) : 0
  // who overwrites extents knows the domain's snapshots first: it was asked for once since the last one was taken
  const ref = file.ref ?? (touchesExtents(file.map, start, end) ? undefined : NO_SNAPSHOT)
  if (ref === undefined) return refOf(floor, ctx, file).then(() => writeLogged(floor, ctx, file, start, from, at, length, effects))
  const heldBytes = looseIn(file.map, start, end, ref) + (old > 0 && start >= old ? old : 0)
  const logIt = (): Promise<Content> => commit(floor, ctx, file, { effects, heldBytes }, (editor, tx, _ref, before) => {
    if (inlineOutgrown(before, start, end)) editor.log(tx, 0, before.inline!.length, before.inline, 0)
    editor.log(tx, start, length, from, at)
    return { sizeBytes: Math.max(before.sizeBytes, end) }
  })
  const held = heldBytes > 0 ? floor.store.hold(ctx, heldBytes) : undefined
  return held instanceof Promise ? held.then(logIt) : logIt()
}

/** Puts bytes of the request into the store: [from, to) of the file at `start`, zeros where the request has none. */
export async function putBytes(floor: Floor, ctx: Context, start: number, from: number, to: number, offset: number, bytes: Uint8Array, at: number, length: number): Promise<void> {
  const end = offset + length
  for (let pos = from; pos < to;) {
    let upto = Math.min(to, floorUnit(end))
    let source = bytes
    let sourceAt = at + pos - offset
    if (pos < offset || upto <= pos) { // a unit that the request fills in part
      upto = pos + UNIT_BYTES
      source = new Uint8Array(UNIT_BYTES)
      const a = Math.max(pos, offset)
      source.set(bytes.subarray(at + a - offset, at + Math.min(upto, end) - offset), a - pos)
      sourceAt = 0
    }
    const written = floor.store.write(ctx, start + pos - from, source, sourceAt, upto - pos)
    if (written instanceof Promise) await written
    pos = upto
  }
}

/** Bytes that are there and become logged with this write, and their units with them. */
interface Head {
  readonly off: number
  readonly bytes: Uint8Array
}

/**
 * Inline bytes: a power cut that drops the tentative rest keeps them. And the file's last unit if it is tentative and the write
 * goes on behind the end: written in place, its bytes would be behind the end before the commit, and stay there if none comes.
 */
async function headOf(floor: Floor, ctx: Context, { map, content }: File, start: number, end: number): Promise<Head | undefined> {
  const { inline, sizeBytes: size } = content!
  if (inline !== undefined && inline.length > 0) return { off: 0, bytes: inline }
  const unit = floorUnit(size)
  if (size === unit || end <= size || start >= ceilUnit(size) || !touchesTentative(map, unit, size)) return undefined
  const bytes = new Uint8Array(UNIT_BYTES)
  await readMap(floor, ctx, content!, map, unit, size - unit, bytes, 0)
  return { off: unit, bytes }
}

/** The map as it will be when the head is logged. */
function withHead({ exts, pends, origin }: FileMap, { off, bytes }: Head, birth: number): FileMap {
  const to = off + ceilUnit(bytes.length)
  const apart = pends.flatMap((p) => [
    ...(p.off < off ? [{ ...p, len: Math.min(p.len, off - p.off) }] : []),
    ...(p.off + p.len > to ? [{ ...p, off: Math.max(p.off, to), len: p.off + p.len - Math.max(p.off, to), start: p.start + Math.max(0, to - p.off) }] : [])
  ])
  const head = { off, len: bytes.length, birth, bytes, wholeRow: false, start: -1, borrowed: false, stamp: 0 }
  return { exts, origin, pends: [...apart.filter((p) => p.off < off), head, ...apart.filter((p) => p.off > off)] }
}

/** A small write that goes to the store, with what lies around it where that saves others. */
async function writeWide(floor: Floor, ctx: Context, file: File, start: number, from: Uint8Array, at: number, length: number, isLarge: boolean, effects: ContentEffects): Promise<Content> {
  const { newestSnapshot } = await refOf(floor, ctx, file)
  const wide = widened(file.map, start, start + length, stableEnd(floor, file), newestSnapshot)
  const done = wide === undefined ? undefined
    : await withAround(floor, ctx, file, wide, start, from, at, length, (bytes) => writeStored(floor, ctx, file, wide.from, bytes, 0, wide.to - wide.from, isLarge, effects))
  return done ?? writeStored(floor, ctx, file, start, from, at, length, isLarge, effects)
}

async function writeStored(floor: Floor, ctx: Context, file: File, start: number, from: Uint8Array, at: number, length: number, isLarge: boolean, effects: ContentEffects): Promise<Content> {
  const { map, content } = file
  const end = start + length
  const size = content!.sizeBytes
  const ref = await refOf(floor, ctx, file)
  const head = await headOf(floor, ctx, file, start, end)
  const planMap = head === undefined ? map : withHead(map, head, ref.epoch)
  const segments = segmentsOf(planMap, start, end, size, stableEnd(floor, file), ref, isLarge)
  const pieces: Piece[] = []
  const fresh: { readonly off: number; readonly piece: Piece; readonly borrowed: boolean }[] = []
  let heldBytes = head === undefined ? 0 : ceilUnit(head.bytes.length)
  let placed = false
  for (const s of segments) if (s.kind === 'log') heldBytes += looseIn(planMap, s.from, s.to, ref)
  if (heldBytes > 0) {
    const held = floor.store.hold(ctx, heldBytes)
    if (held instanceof Promise) await held
  }
  try {
    for (const s of segments) {
      if (s.kind === 'place') {
        placed = true
        const written = floor.store.write(ctx, s.start, from, at + s.from - start, s.to - s.from)
        if (written instanceof Promise) await written
      } else if (s.kind === 'borrow') {
        await putBytes(floor, ctx, s.start, s.from, s.to, start, from, at, length)
        fresh.push({ off: s.from, piece: { startBytes: s.start, lengthBytes: s.to - s.from }, borrowed: true })
      } else if (s.kind === 'new') {
        const last = fresh[fresh.length - 1]
        const over = s.to - s.from <= LOGGED_MAX_BYTES && isOver(planMap, s.from)
        const goesOn = last !== undefined && last.off + last.piece.lengthBytes === s.from
        const answer = floor.store.allocate(ctx, over && !goesOn ? { lengthBytes: s.to - s.from, area: Math.max(size, end) < SMALL_FILE_BYTES ? 'small' : 'large', ...placeOver(file.trail, s.to - s.from) } : {
          lengthBytes: s.to - s.from, area: Math.max(size, end) < SMALL_FILE_BYTES ? 'small' : 'large', fileBytes: Math.max(size, end),
          leftHintBytes: goesOn ? last.piece.startBytes + last.piece.lengthBytes : leftHint(planMap, s.from), rightHintBytes: rightHint(planMap, s.to)
        })
        const got = answer instanceof Promise ? await answer : answer
        pieces.push(...got)
        let off = s.from
        for (const piece of got) {
          await putBytes(floor, ctx, piece.startBytes, off, off + piece.lengthBytes, start, from, at, length)
          fresh.push({ off, piece, borrowed: false })
          off += piece.lengthBytes
        }
        if (over) file.trail = got[got.length - 1].startBytes + got[got.length - 1].lengthBytes
      }
    }
  } catch (e) {
    floor.store.release(pieces)
    floor.store.unhold(heldBytes)
    throw e
  }
  const stamp = ++floor.stamp
  if (placed) {
    file.placeStamp = stamp
    unsynced(floor, file)
  }
  return commit(floor, ctx, file, { effects, ref, pieces, heldBytes }, (editor, tx, _ref, before) => {
    if (head !== undefined) editor.log(tx, head.off, head.bytes.length, head.bytes, 0)
    for (const { off, piece, borrowed } of fresh) editor.addTentative(off, piece, stamp, borrowed, floor.claimedStamp)
    for (const s of segments) if (s.kind === 'log') editor.log(tx, s.from, s.to - s.from, from, at + s.from - start)
    return { sizeBytes: Math.max(before.sizeBytes, end) }
  })
}
