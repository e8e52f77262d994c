/**
 * The allocator of a space: pieces for files, near what they follow, so that extents merge.
 *   with a left hint   the run that begins there, on into the next group if that is clear
 *   large, no hint     shorter than a group: the tail that fits best; else a clear group; tails, longest first; the small area
 *   large, hint missed the file is shorter than a group: the tail that fits best of those that take as much again; a clear group (several in a row: a stream goes on), if much is appended at once also one of the small area, then the
 *                      longest tail; tails, longest first; the small area
 *   small              behind the last small piece; the small area; else borrowed from the large one
 * What must stay true:
 *   - A unit is handed out to one holder: its bit is set in memory at once, in the engine with the holder's transaction.
 *   - Freed units stay taken until the freeing transaction is durable. A repeated free is a broken invariant and throws.
 *   - ENOSPC only when the sum is short (or the host's is): pieces are as small as need be.
 *   - `held` units are promised to bytes that are in the log and go to the store later: whoever allocates for something else
 *     leaves so many free, in groups that the host has promised. Of the rest RESERVE stay for copies that nobody announced.
 */
import { assert, PosixError, rootContext } from '../../sys/index.js'
import type { Context } from '../../sys/index.js'
import type { Engine, MaybePromise, Tx } from '../../engine/index.js'
import { UNIT_BYTES } from '../store.js'
import type { AllocateRequest, Piece } from '../store.js'
import { allTaken, freeUnits, isTaken, nextTaken, runStart, takeUnits } from './bits.js'
import { BUSY, CLEAR, COLD, READY, USED } from './groups.js'
import type { Area, Groups, Part } from './groups.js'
import { COUNTERS_KEY, groupKey, GROUP_UNITS } from './keys.js'

/** Groups taken at once for a file that grows. */
const STREAM_GROUPS = 4
const TAKE_GROUPS_MAX = 16
/** Who appends so much at once (256 KiB) goes on. */
const STREAM_UNITS = 64
/** With fewer in front of it that are ready, more are taken for a stream while it goes on. */
const AHEAD_GROUPS = 2
/** Bit rows read in search of a fit before a worse one will do. */
const LOADS_MAX = 16
const RESERVE_UNITS_MAX = 256

export interface Allocator {
  allocate(ctx: Context, request: AllocateRequest): MaybePromise<readonly Piece[]>
  release(pieces: readonly Piece[]): void
  commitAllocated(tx: Tx, pieces: readonly Piece[]): void
  commitFreed(tx: Tx, pieces: readonly Piece[]): MaybePromise<void>
  freed(pieces: readonly Piece[]): void
  hold(ctx: Context, lengthBytes: number): MaybePromise<void>
  unhold(lengthBytes: number): void
  /** Hands out again what became durable; whether more waits for that. */
  reap(): boolean
  usedUnits(): number
  freeUnits(): number
  /** Of the free units: those that only bytes with a promise get. */
  keptUnits(): number
  fragments(): number
}

interface Job {
  readonly area: Area
  /** Of the left hint; -1: there is none, the file is new. */
  readonly region: number
  readonly rightHint: number
  /** Much is appended at once: it goes on. */
  readonly isStream: boolean
  /** A tail is good for it if it has so much room; Infinity: only a clear group is. */
  readonly roomUnits: number
  readonly taken: number[] // start, count, ...
  left: number
  /** Where to go on; -1: search. */
  next: number
  loads: number
  readonly readyOnly: boolean
  hostFull: boolean
}

/** What a job waits for. */
type Need = 'ahead' | { readonly load: number } | { readonly take: number; readonly count: number } | 'settle' | 'short'

interface Pending {
  readonly pieces: readonly Piece[]
  readonly seq: number
}

export function makeAllocator(engine: Engine, groups: Groups, usedAtOpen: number): Allocator {
  const total = (): number => groups.count * GROUP_UNITS
  const reserve = Math.min(RESERVE_UNITS_MAX, Math.floor(total() / 64))
  const pending: Pending[] = []
  let pendingUnits = 0
  let used = usedAtOpen // taken in memory: committed, handed out, freed but not durable
  let held = 0
  let smallNext = -1
  let regionNext = 0
  let ahead: { readonly from: number; readonly to: number; readonly done: Promise<void> } | undefined

  const isFree = (unit: number): boolean => {
    const group = Math.floor(unit / GROUP_UNITS)
    return groups.stateOf(group) === USED && !isTaken(groups.bitsOf(group), unit % GROUP_UNITS)
  }

  /** Takes units of the free run around `start`; they lie in one USED group. */
  function takeRun(start: number, count: number): void {
    const group = Math.floor(start / GROUP_UNITS)
    const base = group * GROUP_UNITS
    const bits = groups.bitsOf(group)
    const index = groups.runs[groups.areaOf(group)]
    const from = runStart(bits, start - base)
    const to = nextTaken(bits, start - base)
    assert(start - base + count <= to && takeUnits(bits, start - base, count), 'units that are taken were free')
    index.remove(base + from, to - from)
    if (base + from < start) index.add(base + from, start - base - from)
    if (start + count < base + to) index.add(start + count, base + to - start - count)
    groups.unitsTaken(count)
    used += count
  }

  function giveBack(start: number, count: number): void {
    const group = Math.floor(start / GROUP_UNITS)
    const base = group * GROUP_UNITS
    const bits = groups.bitsOf(group)
    const index = groups.runs[groups.areaOf(group)]
    assert(freeUnits(bits, start - base, count), 'units that are freed were taken')
    const from = runStart(bits, start - base)
    const to = nextTaken(bits, start - base + count)
    if (base + from < start) index.remove(base + from, start - base - from)
    if (start + count < base + to) index.remove(start + count, base + to - start - count)
    index.add(base + from, to - from)
    groups.unitsTaken(-count)
    used -= count
    if (bits.free === GROUP_UNITS) groups.emptied(group)
  }

  function jobTakes(job: Job, start: number, count: number): void {
    takeRun(start, count)
    const { taken } = job
    if (taken.length > 0 && taken[taken.length - 2] + taken[taken.length - 1] === start) taken[taken.length - 1] += count
    else taken.push(start, count)
    job.left -= count
    job.next = start + count
  }

  /** A run of `want` groups CLEAR or READY in the part, from its cursor on; -1: none. */
  function clearGroup(part: Part, want: number, hostFull: boolean): number {
    if (part.clear < want) return -1
    const search = (from: number, to: number): number => {
      for (let g = from, n = 0; g < to; g++) {
        const state = groups.stateOf(g)
        n = state === READY || (state === CLEAR && !hostFull) ? n + 1 : 0
        if (n === want) return g - want + 1
      }
      return -1
    }
    const ahead = search(part.cursor, part.to)
    return ahead >= 0 ? ahead : search(part.from, Math.min(part.to, part.cursor + want))
  }

  /** A clear group of the area: used at once, or first to be taken. Undefined: none. */
  function newGroup(job: Job, area: Area, want: number): Need | true | undefined {
    const parts = groups[area]
    const first = job.region >= 0 ? job.region : regionNext
    // what the host allocated already, and has in its page cache: nothing to wait for at the next sync
    for (let i = 0; i < parts.length; i++) {
      const group = groups.firstReady(parts[(first + i) % parts.length])
      if (group < 0) continue
      groups.use(group)
      job.next = group * GROUP_UNITS
      return true
    }
    for (const n of want > 1 ? [want, 1] : [1]) {
      for (let i = 0; i < parts.length; i++) {
        const part = parts[(first + i) % parts.length]
        const group = clearGroup(part, n, job.hostFull)
        if (group < 0) continue
        part.cursor = group + 1 < part.to ? group + 1 : part.from
        if (area === 'large' && job.region < 0) regionNext = (first + i + 1) % parts.length
        if (groups.stateOf(group) === READY) {
          groups.use(group)
          job.next = group * GROUP_UNITS
          return true
        }
        job.next = group * GROUP_UNITS
        return { take: group, count: groups.clearFrom(group, Math.max(n, 1)) }
      }
    }
    return undefined
  }

  function coldGroup(job: Job, area: Area): Need | undefined {
    if (job.loads >= LOADS_MAX && groups.runs[area].count() > 0) return undefined
    for (const part of groups[area]) {
      if (part.cold === 0) continue
      for (let g = part.from; g < part.to; g++) if (groups.stateOf(g) === COLD) return { load: g }
    }
    return undefined
  }

  function fromRun(job: Job, area: Area, start: number): true | undefined {
    if (start < 0) return undefined
    jobTakes(job, start, Math.min(job.left, groups.runs[area].foundLength()))
    return true
  }
  const bestFit = (job: Job, area: Area): true | undefined => fromRun(job, area, groups.runs[area].bestFit(job.left))
  const longest = (job: Job, area: Area): true | undefined => fromRun(job, area, groups.runs[area].longest())

  /** A file doubles, as a rule: until it is a group long, what has room for that will do, and clear groups stay for those that need them. */
  const tail = (job: Job): true | undefined => (job.roomUnits < GROUP_UNITS ? fromRun(job, 'large', groups.runs.large.bestFit(Math.max(job.left, job.roomUnits))) : undefined)

  /** For a stream: what comes next shall fit too, so the longest of both areas, if it takes this whole. */
  function roomy(job: Job): true | undefined {
    const { large, small } = groups.runs
    const inLarge = large.longest()
    const largeUnits = inLarge < 0 ? 0 : large.foundLength()
    const inSmall = small.longest()
    const smallUnits = inSmall < 0 ? 0 : small.foundLength()
    if (Math.max(largeUnits, smallUnits) < job.left) return undefined
    return largeUnits >= smallUnits ? fromRun(job, 'large', inLarge) : fromRun(job, 'small', inSmall)
  }

  function search(job: Job): Need | true {
    const { runs } = groups
    const whole = Math.ceil(job.left / GROUP_UNITS)
    const want = Math.min(TAKE_GROUPS_MAX, job.region >= 0 ? Math.max(STREAM_GROUPS, whole) : whole)
    const found = job.area === 'large'
      ? tail(job) ?? newGroup(job, 'large', want) ??
        (job.isStream ? newGroup(job, 'small', want) ?? roomy(job) : undefined) ?? bestFit(job, 'large') ?? coldGroup(job, 'large') ?? longest(job, 'large') ??
        bestFit(job, 'small') ?? newGroup(job, 'small', want) ?? coldGroup(job, 'small') ?? longest(job, 'small')
      : bestFit(job, 'small') ?? coldGroup(job, 'small') ?? newGroup(job, 'small', 1) ??
        bestFit(job, 'large') ?? newGroup(job, 'large', 1) ?? coldGroup(job, 'large') ?? longest(job, 'small') ?? longest(job, 'large')
    if (found !== undefined) return found
    assert(runs.small.count() + runs.large.count() === 0, 'a search that fails leaves no run')
    return groups.settling() !== undefined && !job.readyOnly ? 'settle' : 'short'
  }

  /** As far as it goes in the tick; undefined: the job is done. */
  function advance(job: Job): Need | undefined {
    while (job.left > 0) {
      if (job.next >= 0) {
        const group = Math.floor(job.next / GROUP_UNITS)
        const state = group < groups.count ? groups.stateOf(group) : BUSY
        if (state === COLD) return { load: group }
        if (state === READY) groups.use(group)
        else if (state === CLEAR && !job.hostFull) {
          const want = Math.min(TAKE_GROUPS_MAX, Math.max(job.area === 'large' ? STREAM_GROUPS : 1, Math.ceil(job.left / GROUP_UNITS)))
          return { take: group, count: groups.clearFrom(group, want) }
        } else if (state === USED && isFree(job.next)) {
          const at = job.next % GROUP_UNITS
          jobTakes(job, job.next, Math.min(job.left, nextTaken(groups.bitsOf(group), at) - at))
        } else if (ahead !== undefined && !job.readyOnly && group >= ahead.from && group < ahead.to) return 'ahead'
        else job.next = -1
        continue
      }
      const before = job.rightHint - job.left
      if (job.rightHint >= 0 && before >= 0 && isFree(before) && Math.floor(before / GROUP_UNITS) === Math.floor((job.rightHint - 1) / GROUP_UNITS)) {
        const at = before % GROUP_UNITS
        if (nextTaken(groups.bitsOf(Math.floor(before / GROUP_UNITS)), at) >= at + job.left) {
          jobTakes(job, before, job.left)
          continue
        }
      }
      const found = search(job)
      if (found !== true) return found
    }
    return undefined
  }

  async function meet(ctx: Context, job: Job, need: Need): Promise<void> {
    if (need === 'ahead') await ahead?.done
    else if (need === 'settle') await groups.settling()
    else if (need === 'short') throw new PosixError('ENOSPC')
    else if ('load' in need) {
      job.loads++
      await groups.load(need.load)
    } else if (!(await groups.take(ctx, need.take, need.count)) && (need.count === 1 || !(await groups.take(ctx, need.take, 1)))) {
      job.hostFull = true
      job.next = -1
    }
  }

  const shortOf = (units: number, fromHold: boolean): boolean => total() - used < units + (fromHold ? 0 : held + reserve)

  /** Waits for what was freed to become durable; ENOSPC if that is not enough. */
  async function makeRoom(ctx: Context, units: number, fromHold: boolean): Promise<void> {
    reap()
    if (shortOf(units, fromHold) && pending.length > 0) {
      await engine.sync(ctx)
      reap()
    }
    if (shortOf(units, fromHold)) throw new PosixError('ENOSPC')
  }

  /** So many free units in groups that the host has promised. */
  async function promiseUnits(ctx: Context, units: number): Promise<void> {
    const job: Job = { area: 'large', region: -1, rightHint: -1, isStream: false, roomUnits: Infinity, taken: [], left: 0, next: -1, loads: 0, readyOnly: false, hostFull: false }
    while (groups.readyUnits() < units) {
      const want = Math.min(TAKE_GROUPS_MAX, Math.ceil((units - groups.readyUnits()) / GROUP_UNITS))
      let group = -1
      if (!job.hostFull) for (const part of [...groups.large, ...groups.small]) {
        for (let g = part.from; group < 0 && part.clear > 0 && g < part.to; g++) if (groups.stateOf(g) === CLEAR) group = g
      }
      job.loads = 0
      const need = group >= 0 ? { take: group, count: groups.clearFrom(group, want) } : coldGroup(job, 'large') ?? coldGroup(job, 'small') ?? (groups.settling() !== undefined ? 'settle' : 'short')
      await meet(ctx, job, need)
    }
  }

  function reap(): boolean {
    if (pending.length === 0) return false
    const durable = engine.durableSeq()
    let n = 0
    for (; n < pending.length && pending[n].seq <= durable; n++) {
      for (const piece of pending[n].pieces) {
        pendingUnits -= piece.lengthBytes / UNIT_BYTES
        eachGroup(piece, giveBackIn)
      }
    }
    if (n > 0) pending.splice(0, n)
    return pending.length > 0
  }
  const giveBackIn = (group: number, start: number, count: number): void => giveBack(group * GROUP_UNITS + start, count)

  const piecesOf = (job: Job): Piece[] => {
    const pieces: Piece[] = []
    for (let i = 0; i < job.taken.length; i += 2) pieces.push({ startBytes: job.taken[i] * UNIT_BYTES, lengthBytes: job.taken[i + 1] * UNIT_BYTES })
    return pieces
  }

  /** A stream that is in `group` will want the next ones: fallocate and the commit take longer than a write. */
  function takeAhead(group: number): void {
    for (let g = group + 1; g <= group + AHEAD_GROUPS && g < groups.count; g++) {
      const state = groups.stateOf(g)
      if (state === READY) continue
      if (state !== CLEAR || groups.areaOf(g) !== 'large') return
      const to = g + groups.clearFrom(g, TAKE_GROUPS_MAX)
      const done = groups.take(rootContext, g, to - g).then(() => undefined, () => undefined) // who needs them tries again, and is told
        .finally(() => (ahead = undefined))
      ahead = { from: g, to, done }
      return
    }
  }

  function finish(job: Job): readonly Piece[] {
    const end = job.taken[job.taken.length - 2] + job.taken[job.taken.length - 1]
    if (job.area === 'small') smallNext = end
    else if (end < total() && isFree(end)) groups.runs[groups.areaOf(Math.floor(end / GROUP_UNITS))].reserve(end)
    if (job.region >= 0 && job.area === 'large' && !job.readyOnly && ahead === undefined) takeAhead(Math.floor((end - 1) / GROUP_UNITS))
    return piecesOf(job)
  }

  async function allocateSlowly(ctx: Context, job: Job, units: number, fromHold: boolean, need: Need | undefined): Promise<readonly Piece[]> {
    try {
      for (; need !== undefined; need = advance(job)) await meet(ctx, job, need)
      if (!fromHold && groups.readyUnits() < held) await promiseUnits(ctx, held)
      return finish(job)
    } catch (e) {
      release(piecesOf(job))
      throw e
    }
  }

  function allocate(ctx: Context, request: AllocateRequest): MaybePromise<readonly Piece[]> {
    const units = request.lengthBytes / UNIT_BYTES
    const fromHold = request.fromHold === true
    assert(Number.isInteger(units) && units > 0, 'an allocation is of whole units')
    reap()
    if (shortOf(units, fromHold)) return makeRoom(ctx, units, fromHold).then(() => allocate(ctx, request))
    const { leftHintBytes, rightHintBytes } = request
    const job: Job = {
      area: request.area, region: leftHintBytes === undefined ? -1 : groups.regionOf(Math.max(0, leftHintBytes / UNIT_BYTES - 1) / GROUP_UNITS), rightHint: rightHintBytes === undefined ? -1 : rightHintBytes / UNIT_BYTES,
      isStream: leftHintBytes !== undefined && units >= STREAM_UNITS,
      roomUnits: leftHintBytes === undefined ? units : request.fileBytes === undefined ? Infinity : Math.ceil(request.fileBytes / UNIT_BYTES), taken: [], left: units, readyOnly: request.readyOnly === true, loads: 0, hostFull: request.readyOnly === true,
      next: leftHintBytes !== undefined ? leftHintBytes / UNIT_BYTES : request.area === 'small' && rightHintBytes === undefined ? smallNext : -1
    }
    const need = advance(job)
    if (need === undefined && (fromHold || groups.readyUnits() >= held)) return finish(job)
    return allocateSlowly(ctx, job, units, fromHold, need)
  }

  function release(pieces: readonly Piece[]): void {
    for (const piece of pieces) eachGroup(piece, giveBackIn)
  }

  function hold(ctx: Context, lengthBytes: number): MaybePromise<void> {
    const units = lengthBytes / UNIT_BYTES
    if (shortOf(units, false)) return makeRoom(ctx, units, false).then(() => hold(ctx, lengthBytes))
    held += units
    if (groups.readyUnits() >= held) return
    return promiseUnits(ctx, held).catch((e: unknown) => {
      held -= units
      throw e
    })
  }

  const checkTaken = (group: number, start: number, count: number): void => {
    if (groups.stateOf(group) !== USED || !allTaken(groups.bitsOf(group), start, count)) throw new PosixError('EIO', 'broken invariant: units are freed twice')
  }

  return {
    allocate, release, reap,
    commitAllocated(tx, pieces) {
      let units = 0
      for (const piece of pieces) {
        eachGroup(piece, (group, start, count) => tx.setBits(groupKey(group), GROUP_UNITS, start, count))
        units += piece.lengthBytes / UNIT_BYTES
      }
      if (units > 0) tx.addCounters(COUNTERS_KEY, [units])
    },
    commitFreed(tx, pieces) {
      const loads: Promise<void>[] = []
      let units = 0
      for (const piece of pieces) {
        units += piece.lengthBytes / UNIT_BYTES
        eachGroup(piece, (group) => {
          const load = groups.load(group)
          if (load instanceof Promise) loads.push(load)
        })
      }
      if (units === 0) return
      const clear = (): void => {
        for (const piece of pieces) {
          eachGroup(piece, (group, start, count) => {
            checkTaken(group, start, count)
            tx.clearBits(groupKey(group), GROUP_UNITS, start, count)
          })
        }
        tx.addCounters(COUNTERS_KEY, [-units])
      }
      return loads.length === 0 ? clear() : Promise.all(loads).then(clear)
    },
    freed(pieces) {
      if (pieces.length === 0) return
      for (const piece of pieces) {
        eachGroup(piece, checkTaken)
        pendingUnits += piece.lengthBytes / UNIT_BYTES
      }
      pending.push({ pieces, seq: engine.committedSeq() })
      reap()
    },
    hold,
    unhold(lengthBytes) {
      held -= lengthBytes / UNIT_BYTES
    },
    usedUnits: () => used - pendingUnits,
    freeUnits: () => Math.max(0, total() - used + pendingUnits - held),
    keptUnits: () => Math.min(reserve, Math.max(0, total() - used + pendingUnits - held)),
    fragments: () => groups.runs.small.count() + groups.runs.large.count()
  }
}

/** A piece, cut at the borders of groups; `start` is the unit in the group. */
function eachGroup(piece: Piece, fn: (group: number, start: number, count: number) => void): void {
  const end = (piece.startBytes + piece.lengthBytes) / UNIT_BYTES
  for (let unit = piece.startBytes / UNIT_BYTES; unit < end;) {
    const group = Math.floor(unit / GROUP_UNITS)
    const upto = Math.min(end, (group + 1) * GROUP_UNITS)
    fn(group, unit - group * GROUP_UNITS, upto - unit)
    unit = upto
  }
}
