/**
 * The flush: logged bytes of many files move to the store, with one sync, and their rows become extents.
 *   - A file is locked while its bytes are written and again while its rows change, not while the store syncs. What was written
 *     over in between keeps its newer row, above the extent; a file that was cut in between is left for the next pass.
 *   - An extent is born with the bytes that it takes in. Over an extent that no snapshot needs the bytes go in place, else into
 *     new units with a copy of what is around them.
 *   - It may write while a snapshot is taken: whatever that shows has the bytes that are moved, and rows change under the epochs of the plan only.
 *   - Extents are overwritten only with rows that the log holds durably.
 *   - Space is there: it was held when the bytes were logged. The flush of a full log (`ready`) takes no new group and waits for
 *     nobody's lock: what it cannot move stays a row.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { UNIT_BYTES } from '../store/index.js'
import type { Piece } from '../store/index.js'
import { Change, commitTogether, Moved, refOf, TOGETHER_BYTES, TOGETHER_FILES, TOGETHER_RANGES } from './changing.js'
import { LOGGED_MAX_BYTES, NO_TOUCH } from './content.js'
import type { FileRef } from './content.js'
import { takesIn } from './extents.js'
import type { Extent, Pending } from './extents.js'
import { ceilUnit, firstBehind, floorUnit, leftHint, placeOver, rightHint } from './filemap.js'
import type { FileMap } from './filemap.js'
import { lend, tryLock, unlock, withLock } from './files.js'
import type { File, Floor } from './files.js'
import { SMALL_FILE_BYTES } from './writing.js'

/** Of one file in one pass, and of one pass: bounded buffers and transactions. */
const FILE_BYTES = 8 * 1024 * 1024
const PASS_BYTES = 32 * 1024 * 1024
const ROWS_MAX = 2048
/** Units that follow each other in the store, of whatever files, are written at once up to so many bytes: in the tick. */
const GATHER_BYTES = 128 * 1024

/** A range of whole units, and what happens to it. */
interface Target {
  readonly from: number
  readonly to: number
  /** Of the bytes, and of the extent that takes them in. */
  readonly birth: number
  /** The extent under it: written in place if `inPlace`, else a copy's source. */
  readonly under: Extent | undefined
  readonly inPlace: boolean
  pieces: readonly Piece[]
}
interface Job {
  readonly file: File
  readonly ref: FileRef
  readonly pends: readonly Pending[]
  readonly targets: readonly Target[]
  readonly cuts: number
  lent: number
}

export interface Pass {
  readonly ctx: Context
  readonly ready: boolean
}

/** Whole units with logged bytes of one birth; of several (`mixed`), then a unit alone. */
interface Run { from: number; to: number; birth: number; mixed: boolean }

function runsOf(pends: readonly Pending[]): Run[] {
  const runs: Run[] = []
  for (const { off, len, birth } of pends) {
    let from = floorUnit(off)
    const to = ceilUnit(off + len)
    let last = runs[runs.length - 1]
    if (last !== undefined && from < last.to && birth !== last.birth) { // they share a unit
      if (last.to - last.from > UNIT_BYTES) {
        last.to = from
        runs.push((last = { from, to: from + UNIT_BYTES, birth: last.birth, mixed: false }))
      }
      last.birth = Math.max(last.birth, birth)
      last.mixed = true
    }
    if (last !== undefined) from = Math.max(from, last.to)
    if (from >= to) continue
    if (last !== undefined && from === last.to && last.birth === birth && !last.mixed) last.to = to
    else runs.push({ from, to, birth, mixed: false })
  }
  return runs
}

export function targetsOf({ exts }: FileMap, pends: readonly Pending[], newestSnapshot: number): Target[] {
  const out: Target[] = []
  for (const run of runsOf(pends)) {
    for (let pos = run.from; pos < run.to;) {
      const e = exts[firstBehind(exts, pos)]
      const under = e !== undefined && e.off <= pos ? e : undefined
      const to = Math.min(run.to, under !== undefined ? under.off + under.len : e?.off ?? Infinity)
      const inPlace = under !== undefined && takesIn(under, run.mixed ? -1 : run.birth, newestSnapshot)
      out.push({ from: pos, to, birth: inPlace ? under!.birth : run.birth, under, inPlace, pieces: [] })
      pos = to
    }
  }
  return out
}

/** The bytes of whole units, at `at`: what was there, with the logged bytes over it. */
function compose(floor: Floor, ctx: Context, target: Target, pends: readonly Pending[], into: Uint8Array, at: number): MaybePromise<void> {
  const { from, to, under } = target
  const over = (): void => eachPart(pends, from, to, (p, a, b) => into.set(b - a === p.len ? p.bytes! : p.bytes!.subarray(a - p.off, b - p.off), at + a - from))
  const isCovered = isWhole(pends, from, to)
  if (isCovered || under === undefined || under.unwritten || under.bytes !== undefined) {
    if (!isCovered) into.fill(0, at, at + to - from)
    if (!isCovered && under?.bytes !== undefined) into.set(under.bytes.subarray(from - under.off, to - under.off), at)
  } else {
    const reading = floor.store.read(ctx, under.start + from - under.off, to - from, into, at)
    if (reading instanceof Promise) return reading.then(over)
  }
  over()
}

function isWhole(pends: readonly Pending[], from: number, to: number): boolean {
  let next = from
  for (let i = firstBehind(pends, from); next < to && i < pends.length && pends[i].off <= next; i++) next = pends[i].off + pends[i].len
  return next >= to
}

/**
 * Bytes on their way to new units of the store, [start, start + length) of it: those of several files that follow each other. They are
 * written before their pass syncs the store, or their units are given up; what fails fails for all of the pass.
 */
interface Gathered {
  readonly bytes: Uint8Array
  start: number
  length: number
  failed: unknown
}

async function writeGathered(floor: Floor, ctx: Context, gathered: Gathered): Promise<void> {
  const { bytes, start, length } = gathered
  if (length === 0) return
  gathered.length = 0
  try {
    const written = floor.store.write(ctx, start, bytes, 0, length)
    if (written instanceof Promise) await written
  } catch (e) {
    gathered.failed ??= e
    throw e
  }
}

/** Units that are given up are somebody else's soon: nothing may be written to them any more. */
function forgetGathered(gathered: Gathered, pieces: readonly Piece[]): void {
  for (const { startBytes } of pieces) {
    const at = startBytes - gathered.start
    if (at >= 0 && at < gathered.length) gathered.length = at // what a job gathered lies at the end
  }
}

function eachPart(pends: readonly Pending[], from: number, to: number, fn: (p: Pending, a: number, b: number) => void): void {
  for (let i = firstBehind(pends, from); i < pends.length && pends[i].off < to; i++) {
    fn(pends[i], Math.max(from, pends[i].off), Math.min(to, pends[i].off + pends[i].len))
  }
}

const overwrites = ({ inPlace, under }: Target): boolean => inPlace && !under!.unwritten

/** Where the last small file of this pass ended: the next one follows it. And what is gathered of them. */
interface Trail {
  next: number | undefined
  readonly gathered: Gathered
}

/** Under the file's lock: allocates and writes. Undefined: nothing to do. */
async function plan(floor: Floor, pass: Pass, file: File, trail: Trail): Promise<Job | undefined> {
  const { ctx } = pass
  const pends: Pending[] = []
  let bytes = 0
  for (const p of file.map.pends) {
    if (p.bytes === undefined) continue
    // a unit is flushed as a whole: no end inside one
    if ((bytes >= FILE_BYTES || pends.length >= ROWS_MAX) && floorUnit(p.off) >= ceilUnit(pends[pends.length - 1].off + pends[pends.length - 1].len)) break
    pends.push(p)
    bytes += p.len
  }
  if (pends.length === 0) return undefined
  const ref = await refOf(floor, ctx, file)
  const { map } = file
  const job: Job = { file, ref, pends, targets: targetsOf(map, pends, ref.newestSnapshot), cuts: file.cuts, lent: 0 }
  const isSmall = file.content!.sizeBytes < SMALL_FILE_BYTES
  // bytes in place whose rows a power cut took back would show behind the file's end, or zeros where a cut never happened
  if (job.targets.some(overwrites) && floor.engine.durableSeq() < floor.engine.committedSeq()) await floor.engine.sync(ctx)
  try {
    for (let i = 0; i < job.targets.length; i++) {
      const target = job.targets[i]
      const { from, to, under } = target
      if (overwrites(target)) {
        const writes: Promise<void>[] = []
        eachPart(pends, from, to, (p, a, b) => {
          const written = floor.store.write(ctx, under!.start + a - under!.off, p.bytes!, a - p.off, b - a)
          if (written instanceof Promise) writes.push(written)
        })
        if (writes.length > 0) await Promise.all(writes)
        continue
      }
      if (target.inPlace) target.pieces = [{ startBytes: under!.start + from - under!.off, lengthBytes: to - from }]
      else {
        const before = i > 0 && job.targets[i - 1].to === from ? job.targets[i - 1].pieces.at(-1) : undefined
        const over = !isSmall && before === undefined && to - from <= LOGGED_MAX_BYTES && under !== undefined && !under.unwritten
        const left = before !== undefined ? before.startBytes + before.lengthBytes : leftHint(map, from) ?? (isSmall ? trail.next : undefined)
        job.lent += to - from
        lend(floor, file, to - from)
        const answer = floor.store.allocate(ctx, {
          lengthBytes: to - from, area: isSmall ? 'small' : 'large', fromHold: true, readyOnly: pass.ready,
          ...(over ? placeOver(file.trail, to - from) : { fileBytes: file.content!.sizeBytes, leftHintBytes: left, rightHintBytes: rightHint(map, to) })
        })
        target.pieces = answer instanceof Promise ? await answer : answer
        const last = target.pieces[target.pieces.length - 1]
        if (isSmall) trail.next = last.startBytes + last.lengthBytes
        else if (under !== undefined) file.trail = last.startBytes + last.lengthBytes
      }
      await put(floor, ctx, target, pends, trail.gathered)
    }
    return job
  } catch (e) {
    forgetGathered(trail.gathered, fresh(job))
    giveUp(floor, job)
    throw e
  }
}

/** Composes a target's bytes and brings them to its pieces. Short ones in one new piece are gathered; units that the file shows already are written under its lock. */
async function put(floor: Floor, ctx: Context, target: Target, pends: readonly Pending[], gathered: Gathered): Promise<void> {
  const { from, to, pieces } = target
  if (!target.inPlace && pieces.length === 1 && to - from <= GATHER_BYTES) {
    const { startBytes } = pieces[0]
    if (startBytes !== gathered.start + gathered.length || gathered.length + to - from > GATHER_BYTES) await writeGathered(floor, ctx, gathered)
    if (gathered.length === 0) gathered.start = startBytes
    const composing = compose(floor, ctx, target, pends, gathered.bytes, gathered.length)
    if (composing instanceof Promise) await composing
    gathered.length += to - from
    return
  }
  const bytes = new Uint8Array(to - from)
  const composing = compose(floor, ctx, target, pends, bytes, 0)
  if (composing instanceof Promise) await composing
  let at = 0
  for (const piece of pieces) {
    const written = floor.store.write(ctx, piece.startBytes, bytes, at, piece.lengthBytes)
    if (written instanceof Promise) await written
    at += piece.lengthBytes
  }
}

const fresh = (job: Job): Piece[] => job.targets.flatMap((t) => (t.inPlace ? [] : t.pieces))

function giveUp(floor: Floor, job: Job): void {
  floor.store.release(fresh(job))
  if (job.lent !== 0) lend(floor, job.file, -job.lent)
  job.file.loggedSinceMs = floor.clock.monotonicMs() // not at once again
}

/** Under the file's lock, after the sync: rows become extents. Undefined: what was written is worth nothing any more. */
function settling(floor: Floor, job: Job): Change | undefined {
  const { file, ref, pends, targets } = job
  if (file.cuts !== job.cuts) {
    giveUp(floor, job)
    return undefined
  }
  const left = file.map
  return new Change(floor, file, { effects: NO_TOUCH, ref, pieces: fresh(job), lentBytes: job.lent }, (editor, tx, _ref, before) => {
    for (const { from, to, birth, under, inPlace, pieces } of targets) {
      if (inPlace && !under!.unwritten) continue
      if (inPlace) editor.liftExtents(from, to)
      else editor.dropExtents(tx, from, to, birth)
      let off = from
      for (const piece of pieces) {
        editor.addExtent(off, piece, birth, false)
        off += piece.lengthBytes
      }
    }
    for (const p of pends) {
      const now = left.pends[firstBehind(left.pends, p.off)]
      if (now === p) editor.settlePending(tx, p, newestBirth(targets, p))
    }
    return { sizeBytes: before.sizeBytes, keepInline: true }
  })
}

/** The same for several files; answers the first failure that is one. */
async function settleAll(floor: Floor, pass: Pass, jobs: readonly Job[]): Promise<unknown> {
  const settled: Job[] = []
  const changes: Change[] = []
  for (const job of jobs) {
    const change = settling(floor, job)
    if (change === undefined) continue
    settled.push(job)
    changes.push(change)
  }
  let failed: unknown
  const results = await commitTogether(floor, pass.ctx, changes)
  for (let i = 0; i < results.length; i++) {
    const { file, pends, lent } = settled[i]
    const result = results[i]
    if (result.status === 'fulfilled') {
      for (const p of pends) floor.flushedBytes += p.len
      file.loggedSinceMs = file.logged === 0 ? Infinity : floor.clock.monotonicMs()
      continue
    }
    if (lent !== 0) lend(floor, file, -lent)
    const e: unknown = result.reason
    if (!(e instanceof Moved) && !(e instanceof PosixError && e.code === 'ESTALE')) failed ??= e // a snapshot came in between, or the file is gone: next pass
  }
  return failed
}

/** After the sync. Small files go together, as far as nobody has their locks; a file alone waits for its lock. */
async function settleJobs(floor: Floor, pass: Pass, jobs: readonly Job[]): Promise<unknown> {
  let failed: unknown
  for (let i = 0; i < jobs.length;) {
    const group: Job[] = []
    let ranges = 0
    let bytes = 0
    for (; i < jobs.length && group.length < TOGETHER_FILES; i++) {
      const job = jobs[i]
      ranges += job.pends.length + job.targets.length
      for (const p of job.pends) bytes += p.len
      if (group.length > 0 && (ranges > TOGETHER_RANGES || bytes > TOGETHER_BYTES)) break
      if (pass.ready || tryLock(job.file)) group.push(job)
      else if (group.length > 0) break
      else failed ??= await withLock(job.file, () => settleAll(floor, pass, [job]))
    }
    try {
      failed ??= await settleAll(floor, pass, group)
    } finally {
      if (!pass.ready) for (const { file } of group) unlock(file)
    }
  }
  return failed
}

/** Of the extents that take the bytes in: a snapshot from before any of them still needs the row. */
function newestBirth(targets: readonly Target[], { off, len }: Pending): number {
  let birth = 0
  for (let i = firstTarget(targets, off); i < targets.length && targets[i].from < off + len; i++) birth = Math.max(birth, targets[i].birth)
  return birth
}

function firstTarget(targets: readonly Target[], off: number): number {
  let low = 0
  let high = targets.length - 1
  while (low < high) {
    const mid = (low + high) >>> 1
    if (targets[mid].to > off) high = mid
    else low = mid + 1
  }
  return low
}

/** One pass over these files. Answers whether something may be left to do at once. */
export async function flush(floor: Floor, pass: Pass, files: readonly File[]): Promise<boolean> {
  const jobs: Job[] = []
  const mine: File[] = []
  const trail: Trail = { next: undefined, gathered: { bytes: new Uint8Array(GATHER_BYTES), start: 0, length: 0, failed: undefined } }
  let bytes = 0
  let isMore = false
  let failed: unknown
  try {
    for (const file of files) {
      if (file.logged === 0 || file.flushing || floor.restoring.has(file.ino)) continue
      if (bytes >= PASS_BYTES) {
        isMore = true
        break
      }
      // who holds the lock may wait for the log's space: a pass that makes space must not wait for it, and keeps others out
      if (pass.ready && (floor.gate.closed !== undefined || !tryLock(file))) continue
      file.flushing = true
      mine.push(file)
      try {
        const job = await (pass.ready ? plan(floor, pass, file, trail) : withLock(file, () => plan(floor, pass, file, trail)))
        if (job === undefined) continue
        jobs.push(job)
        for (const p of job.pends) bytes += p.len
        if (job.pends.length < file.map.pends.length && file.logged > FILE_BYTES) isMore = true
      } catch (e) {
        failed ??= e
      }
    }
    if (jobs.length > 0) {
      try {
        await writeGathered(floor, pass.ctx, trail.gathered)
        if (trail.gathered.failed !== undefined) throw trail.gathered.failed
        await syncStore(floor, pass.ctx)
      } catch (e) {
        for (const job of jobs) giveUp(floor, job)
        throw e
      }
      failed ??= await settleJobs(floor, pass, jobs)
    }
  } finally {
    for (const file of mine) {
      file.flushing = false
      if (pass.ready) unlock(file)
    }
  }
  if (failed !== undefined) throw failed
  return isMore
}

/** Everything put into the store before this call survives a power cut. */
export async function syncStore(floor: Floor, ctx: Context): Promise<void> {
  const at = floor.stamp
  await floor.store.sync(ctx)
  floor.syncedStamp = Math.max(floor.syncedStamp, at)
}

/** Before the first sync of a daemon: what one that died wrote in place is in the page cache, and nobody knows where. */
export const hasInherited = ({ syncedStamp, engine }: Floor): boolean => syncedStamp === 0 && !engine.recovery.clean
