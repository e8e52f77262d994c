/**
 * The files that are in memory: maps, locks, accounts. One table for the whole floor.
 *   - A file's map and content are what committed last. They change only in commit() (changing.ts), under the file's lock.
 *   - Between a commit and its promise other requests run: a reader that comes then sees the new state as soon as the inode has
 *     the new size (`inflight`), so that no size is ever shown without its bytes.
 *   - Files with work left (logged bytes, tentative ranges, bytes that nobody synced, times owed) stay; others leave, least used first, when
 *     more than ENTRIES_MAX ranges are held, a file's own weight among them.
 *   - Units that were freed go back to the store when every read that began before has ended.
 *   - Space that a flush will need is held in the store (`loose`, less what it has borrowed of it: `lent`): for logged bytes without an
 *     extent, and over one that a snapshot keeps. A snapshot makes it more: it holds that first, or is refused.
 */
import { assert, PosixError } from '../sys/index.js'
import type { Clock, Context, Timer } from '../sys/index.js'
import type { Engine, MaybePromise } from '../engine/index.js'
import { UNIT_BYTES } from '../store/index.js'
import type { Piece, Store } from '../store/index.js'
import { NO_TOUCH, NOW } from './content.js'
import type { ChangeContent, ChangeContents, Content, ContentEffects, FileRef, ReadContent, View } from './content.js'
import type { Extent, Pending } from './extents.js'
import { coverage } from './filemap.js'
import type { FileMap } from './filemap.js'
import { decodeOrigin, originKey } from './origin.js'
import type { Origin } from './origin.js'
import { EXTENT_KIND, extentOfRow, PENDING_KIND, pendingOfRow, rowsFrom, tentativeKey } from './rows.js'

export const ENTRIES_MAX = 256 * 1024 // ranges, of about 90 bytes each
/** A file without ranges costs as much as so many: itself, its place in the table, its content. */
export const FILE_ENTRIES = 24
const EVICT_LOOKS = 2048 // at a time: some 0.3 ms
const SCAN_ROWS = 512

export interface File {
  readonly ino: number
  map: FileMap
  content: Content | undefined
  /** As the last transaction found it. */
  ref: FileRef | undefined
  inflight: { readonly content: Content; readonly map: FileMap } | undefined
  loading: Promise<void> | undefined
  locked: boolean
  /** Who will want its lock again, or waits for a snapshot before he asks for it: it stays in the table. */
  pins: number
  readonly queue: (() => void)[]
  used: boolean
  /** How many ranges are tentative. */
  tentatives: number
  hasTentativeRow: boolean
  /** Grows when ranges are cut out: a flush that began before gives up. */
  cuts: number
  flushing: boolean
  /** In bytes. */
  logged: number
  loose: number
  lent: number
  /** The newest snapshot with which `loose` was counted; with Infinity it is the most that it may be. */
  looseUnder: number
  /** Of a clone, until its first change: how much more than its inode says is allocated. What the origin lends is only counted when the map is there. */
  miscounted: number
  /** monotonicMs of the oldest logged bytes, of the oldest bytes not synced; Infinity: none. */
  loggedSinceMs: number
  unsyncedSinceMs: number
  /** Where the units end that took the place of others last: the next ones follow, wherever in the file they are. -1: nowhere. */
  trail: number
  /** Stamp of the last write in place. */
  placeStamp: number
  /** The newest commit that made it longer, and the length that a power cut may take it back to if that is not durable. */
  grownSeq: number
  lengthBeforeBytes: number
  /** Bytes of small writes since the last fsync. */
  smallBytes: number
  /** Between its last two fsyncs it had so many that they went to the store: now they do from the first one on. */
  isBulk: boolean
  /** It was fsynced since it is in memory. */
  fsynced: boolean
  /** The time that its last changing commit gave it, and the later one that a write without a commit owes it (times.ts). */
  touched: Time | undefined
  owed: Time | undefined
}

export type Time = NonNullable<ContentEffects['touch']>

/** What a reader sees of a file. */
export interface Seen {
  readonly content: Content
  readonly map: FileMap
}

/** A file as a view shows it. */
export interface Past {
  readonly view: View
  seen: MaybePromise<Seen>
}

export interface Floor {
  readonly engine: Engine
  readonly store: Store
  readonly clock: Clock
  readonly changeContent: ChangeContent
  readonly changeContents: ChangeContents
  readonly readContent: ReadContent
  /** Resolves when older versions of Ogee are kept out of a pool with shared extents. */
  needSharing: () => Promise<void>
  readonly files: Map<number, File>
  /** Files as views show them, oldest first; reading.ts. One that changes leaves. */
  readonly pasts: Map<number, readonly Past[]>
  /** A clone's own ranges, and what its origin lends it (lending.ts). */
  compose: (own: FileMap, origin: Origin) => Promise<FileMap>
  /** Files with work left. */
  readonly dirty: Set<File>
  /** Files that are owed a time. */
  readonly owing: Set<File>
  owingTimer: Timer | undefined
  /** Ranges held, and FILE_ENTRIES for each file. */
  entries: number
  evictAt: number
  loggedBytes: number
  /** When small writes go to the store at once: after so many bytes of one file since its fsync, or with so many logged of all files. */
  direct: { readonly afterBytes: number; readonly loggedBytes: number }
  /** Grows as flushes move bytes to the store. */
  flushedBytes: number
  /** Counts writes to the store; a sync covers all up to its start. */
  stamp: number
  syncedStamp: number
  /** Some sync confirms what was written up to here: no younger bytes join a tentative range of it. */
  claimedStamp: number
  /** Files with more extents than their bytes need; merging.ts. */
  readonly scattered: Set<File>
  onScattered: () => void
  /** Wakes the flush: there is work, or more than there should be. */
  onWork: () => void
  /** Writes in place under way: a snapshot waits for them, and they for it. */
  readonly gate: { inside: number; closed: Promise<void> | undefined; emptied: () => void; closings: number }
  /** A snapshot was begun and is not durable yet: what it shows and was tentative then (up to this stamp) stays as it is until `over`. */
  beginning: { upTo: number; readonly over: Promise<void> } | undefined
  /** Files that become what they were (restoring.ts), until when; those of which rows move now; and how often some did. */
  readonly restoring: Map<number, Promise<void>>
  readonly stepping: Map<number, Promise<void>>
  restorings: number
  /** Reads under way: generation, count. */
  readonly reads: { generation: number; readonly counts: Map<number, number>; readonly waiting: { readonly generation: number; readonly pieces: readonly Piece[] }[] }
}

export function makeFloor(engine: Engine, store: Store, clock: Clock, changeContent: ChangeContent, changeContents: ChangeContents, readContent: ReadContent): Floor {
  return {
    engine, store, clock, changeContent, changeContents, readContent, needSharing: () => Promise.resolve(), files: new Map(), pasts: new Map(), compose: (own) => Promise.resolve(own), dirty: new Set(), owing: new Set(), owingTimer: undefined, entries: 0, evictAt: ENTRIES_MAX, loggedBytes: 0, direct: { afterBytes: Infinity, loggedBytes: Infinity }, flushedBytes: 0,
    stamp: 1, syncedStamp: 0, claimedStamp: 0, scattered: new Set(), onScattered: () => undefined, onWork: () => undefined, gate: { inside: 0, closed: undefined, emptied: () => undefined, closings: 0 }, beginning: undefined, restoring: new Map(), stepping: new Map(), restorings: 0, reads: { generation: 0, counts: new Map(), waiting: [] }
  }
}

// ------------------------------------------------------------------------------------------------------- the table

const isPinned = (file: File): boolean =>
  file.locked || file.pins > 0 || file.loading !== undefined || file.flushing || file.inflight !== undefined || needsWork(file)

export const needsWork = (file: File): boolean =>
  file.logged > 0 || file.loose > 0 || file.lent !== 0 || file.unsyncedSinceMs < Infinity || file.hasTentativeRow || file.owed !== undefined

export const MERGED_BYTES = 1024 * 1024
const SCATTERED_LEAST = 16

/** It has more than one extent for MERGED_BYTES, and some more. */
export const isScattered = ({ map: { exts }, content }: File): boolean => exts.length > SCATTERED_LEAST && exts.length > content!.sizeBytes / MERGED_BYTES

export const weight = (file: File): number => file.map.exts.length + file.map.pends.length + FILE_ENTRIES

export function fileOf(floor: Floor, ino: number): File {
  let file = floor.files.get(ino)
  if (file === undefined) {
    file = {
      ino, map: { exts: [], pends: [], origin: undefined }, content: undefined, ref: undefined, inflight: undefined, loading: undefined, locked: false, pins: 0, queue: [], used: true,
      tentatives: 0, hasTentativeRow: false, cuts: 0, flushing: false, logged: 0, loose: 0, lent: 0, looseUnder: 0, miscounted: 0, loggedSinceMs: Infinity, unsyncedSinceMs: Infinity, trail: -1, placeStamp: 0, grownSeq: 0, lengthBeforeBytes: 0, smallBytes: 0, isBulk: false, fsynced: false, touched: undefined, owed: undefined
    }
    floor.files.set(ino, file)
    floor.entries += FILE_ENTRIES
    if (floor.entries > floor.evictAt) evict(floor)
  }
  file.used = true
  return file
}

/** Second chance: who was used since the last look stays for one more round. Where all must stay it looks again only after some more came. */
function evict(floor: Floor): void {
  let looks = Math.min(EVICT_LOOKS, floor.files.size) // nobody is seen twice: who asked last stays
  for (const [ino, file] of floor.files) {
    if (floor.entries <= ENTRIES_MAX * 0.95 || looks-- <= 0) break
    if (!isPinned(file) && !file.used) {
      forget(floor, file)
      continue
    }
    file.used = false
    floor.files.delete(ino)
    floor.files.set(ino, file)
  }
  floor.evictAt = Math.max(ENTRIES_MAX, floor.entries + 64 * FILE_ENTRIES)
}

export function forget(floor: Floor, file: File): void {
  if (floor.files.get(file.ino) !== file) return
  floor.files.delete(file.ino)
  floor.dirty.delete(file)
  floor.entries -= weight(file)
}

/** One after the other, in order of arrival. */
export async function lock(file: File): Promise<void> {
  if (file.locked) await new Promise<void>((resolve) => file.queue.push(resolve))
  else file.locked = true
}

export async function withLock<T>(file: File, fn: () => Promise<T>): Promise<T> {
  await lock(file)
  try {
    return await fn()
  } finally {
    unlock(file)
  }
}

/** Takes the lock unless somebody has it; who gets it calls unlock. */
export function tryLock(file: File): boolean {
  if (file.locked) return false
  file.locked = true
  return true
}

export function unlock(file: File): void {
  const next = file.queue.shift()
  if (next === undefined) file.locked = false
  else next()
}

// -------------------------------------------------------------------------------------------------------- loading

export function loaded(floor: Floor, file: File): MaybePromise<void> {
  if (file.content !== undefined || (file.loading === undefined && loadedNow(floor, file))) return
  file.loading ??= load(floor, file).finally(() => (file.loading = undefined))
  return file.loading
}

export async function scanAll<R>(floor: Floor, kind: string, ino: number, decode: (row: { readonly key: string; readonly row: { readonly bytes: Uint8Array; decoded: unknown } }) => R): Promise<R[]> {
  const reader = floor.engine.reader(BACKGROUND)
  const out: R[] = []
  const to = rowsFrom(kind, ino + 1)
  for (let from = rowsFrom(kind, ino); ;) {
    const answer = reader.scan({ from, to, limit: SCAN_ROWS })
    const rows = answer instanceof Promise ? await answer : answer
    for (const row of rows) out.push(decode(row))
    if (rows.length < SCAN_ROWS) return out
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

export const hasRanges = (content: Content): boolean => content.hasOrigin || (content.inline === undefined && content.allocatedBytes > 0)

/** A file without ranges has all that there is to know in its content: no scan, no row of its own to look for. */
function loadedNow(floor: Floor, file: File): boolean {
  let content: MaybePromise<Content>
  try {
    content = floor.readContent(BACKGROUND, file.ino, NOW)
  } catch {
    return false // who waits for the load is told
  }
  if (content instanceof Promise || hasRanges(content)) return false
  file.content = content
  file.hasTentativeRow = content.durableSizeBytes < content.sizeBytes
  if (file.hasTentativeRow) unsynced(floor, file)
  return true
}

/** A load is shared by all who wait: it has nobody's deadline. */
export const BACKGROUND: Context = { uid: 0, gid: 0, pid: 0, groups: undefined, deadlineMs: Infinity, signal: undefined, traceId: 0, alone: false }

async function load(floor: Floor, file: File): Promise<void> {
  try {
    const content = await floor.readContent(BACKGROUND, file.ino, NOW)
    const ranges = hasRanges(content)
    const exts: Extent[] = ranges ? await scanAll(floor, EXTENT_KIND, file.ino, extentOfRow) : []
    const pends: Pending[] = ranges ? await scanAll(floor, PENDING_KIND, file.ino, pendingOfRow) : []
    const origin = content.hasOrigin ? await floor.engine.reader(BACKGROUND).get(originKey(file.ino)) : undefined
    const own: FileMap = { exts, pends, origin: origin === undefined ? undefined : decodeOrigin(origin.bytes) }
    // while rows come back out of history nothing is lent: restoring.ts
    const map = own.origin === undefined || floor.restoring.has(file.ino) ? own : await floor.compose(own, own.origin)
    const row = await floor.engine.reader(BACKGROUND).get(tentativeKey(file.ino))
    file.hasTentativeRow = row !== undefined
    const newestSnapshot = pends.some((p) => p.bytes !== undefined) ? (await refOf(floor, BACKGROUND, file)).newestSnapshot : 0
    requireSound(file.ino, exts)
    requireSound(file.ino, pends)
    file.content = content
    adopt(floor, file, map, newestSnapshot)
    if (file.hasTentativeRow) unsynced(floor, file)
  } catch (e) {
    if (file.content === undefined && !needsWork(file) && !file.locked) forget(floor, file)
    throw e
  }
}

/** Rows that cannot stand side by side: nothing of the file is believed, as nobody knows which of them is wrong. */
function requireSound(ino: number, ranges: readonly { readonly off: number; readonly len: number; readonly bytes?: Uint8Array | undefined }[]): void {
  let end = 0
  for (const { off, len, bytes } of ranges) {
    const isWhole = off % UNIT_BYTES === 0 && len % UNIT_BYTES === 0
    if (off < end || len <= 0 || (bytes === undefined && !isWhole)) throw new PosixError('EIO', `rows of the bytes of file ${ino} cannot be so, at ${off}: run ogee fsck on the pool`)
    end = off + len
  }
}

export const WHOLE = Number.MAX_SAFE_INTEGER - 8192

/** The map is this from now on; the accounts follow. */
export function adopt(floor: Floor, file: File, map: FileMap, newestSnapshot: number): void {
  const whole = coverage(map, 0, WHOLE, newestSnapshot)
  file.looseUnder = newestSnapshot
  file.miscounted = map.origin === undefined ? 0 : whole.allocated + (file.content!.inline?.length ?? 0) - file.content!.allocatedBytes
  floor.entries -= weight(file)
  file.map = map
  file.tentatives = map.pends.reduce((n, p) => n + (p.bytes === undefined ? 1 : 0), 0)
  floor.entries += weight(file)
  settle(floor, file, whole.logged - file.logged, whole.loose - file.loose)
}

/** The accounts of a file's logged bytes and of the space that they will need. */
export function settle(floor: Floor, file: File, loggedMore: number, looseMore: number): void {
  file.logged += loggedMore
  floor.loggedBytes += loggedMore
  file.loose += looseMore
  if (looseMore !== 0) floor.store.unhold(-looseMore)
  if (file.logged === 0) file.loggedSinceMs = Infinity
  else if (file.loggedSinceMs === Infinity) file.loggedSinceMs = floor.clock.monotonicMs()
  if (needsWork(file)) {
    floor.dirty.add(file)
    floor.onWork()
  } else floor.dirty.delete(file)
}

/** Bytes of the file are in the store that nobody synced. */
export function unsynced(floor: Floor, file: File): void {
  if (file.unsyncedSinceMs === Infinity) file.unsyncedSinceMs = floor.clock.monotonicMs()
  floor.dirty.add(file)
  floor.onWork()
}

/** A flush uses the space that is held for this file's logged bytes (negative: gives the promise back). */
export function lend(floor: Floor, file: File, bytes: number): void {
  file.lent += bytes
  floor.store.unhold(bytes)
}

/** The epochs under which the file's next change will be, for what happens before its transaction (writes in place). */
export async function refOf(floor: Floor, ctx: Context, file: File): Promise<FileRef> {
  if (file.ref !== undefined) return file.ref
  const asked = new Error('asked only')
  const { closings } = floor.gate
  let found: FileRef | undefined
  await floor.changeContent(ctx, file.ino, NO_TOUCH, (_tx, ref) => {
    found = ref
    throw asked
  }).catch((e: unknown) => {
    if (e !== asked) throw e
  })
  assert(found !== undefined, 'a body ran')
  if (closings === floor.gate.closings) file.ref = found
  return found
}

// ------------------------------------------------------------------------------------------------- reads under way

export function beginRead({ reads }: Floor): number {
  reads.counts.set(reads.generation, (reads.counts.get(reads.generation) ?? 0) + 1)
  return reads.generation
}

export function endRead({ reads, store }: Floor, generation: number): void {
  const left = reads.counts.get(generation)! - 1
  if (left > 0) return void reads.counts.set(generation, left)
  reads.counts.delete(generation)
  let oldest = Infinity
  for (const g of reads.counts.keys()) if (g < oldest) oldest = g
  while (reads.waiting.length > 0 && reads.waiting[0].generation < oldest) store.freed(reads.waiting.shift()!.pieces)
}

export function freed({ reads, store }: Floor, pieces: readonly Piece[]): void {
  if (pieces.length === 0) return
  if (reads.counts.size === 0) return store.freed(pieces)
  reads.waiting.push({ generation: reads.generation++, pieces })
}
