/**
 * The block groups of a space: first level of the allocator, and which groups' units are known in memory.
 *   CLEAR  nobody's; the host owes it no space     READY  4 MiB allocated in the host file, coarse bit committed, all free
 *   COLD   in use, its bit row not read yet        USED   in use, its units known (GroupBits) and its free runs indexed
 *   BUSY   on its way between CLEAR and READY, or back
 * What must stay true:
 *   - A group's bit row changes only while the group is USED: whoever frees units of a COLD one loads it first. So the row that
 *     a load reads has no freed unit in it that is not yet durable.
 *   - CLEAR to READY: fallocate, then the coarse bit's transaction. Back: the coarse bit's transaction, then the punch.
 *   - `readyUnits` counts free units that the host has promised: those of USED and READY groups.
 *   - An opening reads the coarse map only (a bit per group); bit rows are read on demand.
 * Each region (next-fit of its own) has a small part, for small files, and a large one; `clear` spares searches that find nothing.
 */
import { assert, ERRNO, rootContext } from '../../sys/index.js'
import type { Clock, Context, Timer } from '../../sys/index.js'
import type { Engine, MaybePromise } from '../../engine/index.js'
import { bitsFromRow, emptyBits, nextFree, nextTaken } from './bits.js'
import type { GroupBits } from './bits.js'
import { DATA_START_BYTES } from './header.js'
import { HOST_RESERVE_BYTES } from './io.js'
import type { SpaceFile } from './io.js'
import { COARSE_BITS, coarseKey, GROUP_BYTES, groupKey, GROUP_UNITS } from './keys.js'
import { runIndex } from './runs.js'
import type { RunIndex } from './runs.js'

export const CLEAR = 0
export const COLD = 1
export const USED = 2
export const READY = 3
export const BUSY = 4

export type Area = 'small' | 'large'
const SMALL_SHARE = 0.2
const REGIONS_MAX = 8
const REGION_GROUPS_MIN = 16
/** Ready groups that stay ready; the others go back to the host when nobody took or emptied one for a while, or at last after so many whiles. */
const READY_KEPT = 8
const TRIM_AFTER_MS = 5000
const TRIM_WAITS_MAX = 12
const TRIM_GROUPS = 64
const SWEEP_GROUPS = 256
const SWEEP_EVERY_MS = 100

/** A part of one region: groups [from, to). */
export interface Part {
  readonly from: number
  readonly to: number
  /** Next-fit: where the next search begins. */
  cursor: number
  /** Groups CLEAR or READY in it. */
  clear: number
  cold: number
}

export interface Groups {
  readonly count: number
  /** More groups, CLEAR: a region of their own until the next opening. */
  grow(count: number): void
  readonly small: readonly Part[]
  readonly large: readonly Part[]
  readonly runs: { readonly small: RunIndex; readonly large: RunIndex }
  readyUnits(): number
  stateOf(group: number): number
  areaOf(group: number): Area
  regionOf(group: number): number
  /** Of a USED group. Who takes or frees units in it says so: `unitsTaken`. */
  bitsOf(group: number): GroupBits
  unitsTaken(count: number): void
  /** COLD to USED (or READY if nothing is taken). */
  load(group: number): MaybePromise<void>
  /** READY to USED. */
  use(group: number): void
  /** USED with nothing taken, to READY. */
  emptied(group: number): void
  /** CLEAR to READY, `count` neighbours. False: the host has no space. */
  take(ctx: Context, group: number, count: number): Promise<boolean>
  /** The first READY group of the part; -1: none. */
  firstReady(part: Part): number
  /** How many groups from `group` on are CLEAR, at most `limit`. */
  clearFrom(group: number, limit: number): number
  /** Resolves when one of the BUSY groups settles; undefined: there is none. */
  settling(): Promise<unknown> | undefined
  /** Nothing runs any more; the host has all space back that holds nothing. */
  stop(): Promise<void>
}

export interface GroupsOptions {
  readonly engine: Engine
  readonly file: SpaceFile
  readonly clock: Clock
  readonly count: number
  /** Is the group's bit in the coarse map set? */
  isCoarse(group: number): boolean
  /** The last daemon did not close: groups that it emptied are looked for. */
  readonly sweep: boolean
  /** The host's space is never given back. */
  readonly keeps: boolean
  /** After a power cut the host may have forgotten its promise: it is asked again when a group is loaded. */
  readonly promiseAgain: boolean
}

export function openGroups({ engine, file, clock, count: countAtOpen, isCoarse, keeps, sweep, promiseAgain }: GroupsOptions): Groups {
  let count = countAtOpen
  let states = new Uint8Array(count)
  let coarse = new Uint8Array(count)
  const loaded = new Map<number, GroupBits>()
  const loading = new Map<number, Promise<void>>()
  const busy = new Set<Promise<unknown>>()
  const runs = { small: runIndex(), large: runIndex() }
  const regions = Math.max(1, Math.min(REGIONS_MAX, Math.floor(count / REGION_GROUPS_MIN)))
  const regionGroups = Math.ceil(count / regions)
  const smallGroups = Math.floor(regionGroups * SMALL_SHARE)
  const part = (from: number, to: number): Part => ({ from, to: Math.max(from, to), cursor: from, clear: 0, cold: 0 })
  const small: Part[] = []
  const large: Part[] = []
  for (let r = 0; r < regions; r++) {
    const from = r * regionGroups
    const to = Math.min(count, from + regionGroups)
    small.push(part(from, Math.min(to, from + smallGroups)))
    large.push(part(Math.min(to, from + smallGroups), to))
  }

  let readyUnits = 0
  let readyGroups = 0
  let trimming: Timer | undefined
  let trimWaits = 0
  let isTurning = false // a group was taken or emptied since the trim was armed
  let sweeping: Timer | undefined
  let stopped = false

  const regionOf = (group: number): number => {
    if (group < countAtOpen) return Math.min(regions - 1, Math.floor(group / regionGroups))
    return small.findLastIndex((p) => p.from <= group) // grown since: a region each time; the next opening divides anew
  }
  const areaOf = (group: number): Area => {
    if (group < countAtOpen) return group % regionGroups < smallGroups ? 'small' : 'large'
    return group < small[regionOf(group)].to ? 'small' : 'large'
  }
  const partOf = (group: number): Part => (areaOf(group) === 'small' ? small : large)[regionOf(group)]
  const isClear = (state: number): boolean => state === CLEAR || state === READY

  function move(group: number, to: number): void {
    const from = states[group]
    const p = partOf(group)
    if (isClear(from)) p.clear--
    if (isClear(to)) p.clear++
    if (from === COLD) p.cold--
    if (to === COLD) p.cold++
    if (from === READY) { readyUnits -= GROUP_UNITS; readyGroups-- }
    if (to === READY) { readyUnits += GROUP_UNITS; readyGroups++ }
    states[group] = to
  }

  for (let g = 0; g < count; g++) {
    const p = partOf(g)
    coarse[g] = isCoarse(g) ? 1 : 0
    states[g] = coarse[g] === 1 ? COLD : CLEAR
    if (coarse[g] === 1) p.cold++
    else p.clear++
  }

  function loadedAs(group: number, row: Uint8Array | undefined): MaybePromise<void> {
    const bits = bitsFromRow(row)
    if (bits.free === GROUP_UNITS) { // taken once, or emptied just before the daemon died
      const settle = (rc: number): void => {
        move(group, rc < 0 && rc !== -ERRNO.EOPNOTSUPP ? CLEAR : READY)
        trimLater()
      }
      return promiseAgain ? file.fallocate(DATA_START_BYTES + group * GROUP_BYTES, GROUP_BYTES).then(settle) : settle(0)
    }
    const enter = (): void => {
      move(group, USED)
      readyUnits += bits.free
      loaded.set(group, bits)
      const index = runs[areaOf(group)]
      for (let at = nextFree(bits, 0); at < GROUP_UNITS;) {
        const end = nextTaken(bits, at)
        index.add(group * GROUP_UNITS + at, end - at)
        at = nextFree(bits, end)
      }
    }
    if (!promiseAgain || bits.free === 0) return enter()
    return file.fallocate(DATA_START_BYTES + group * GROUP_BYTES, GROUP_BYTES).then(enter)
  }

  function load(group: number): MaybePromise<void> {
    if (states[group] !== COLD) return
    const running = loading.get(group)
    if (running !== undefined) return running
    const row = engine.reader(rootContext).bits(groupKey(group))
    const done = row instanceof Promise ? row.then((r) => loadedAs(group, r)) : loadedAs(group, row)
    if (!(done instanceof Promise)) return
    const promise = done.finally(() => loading.delete(group))
    loading.set(group, promise)
    return promise
  }

  /** Coarse bits of [group, group + count), row by row. */
  async function markCoarse(ctx: Context, group: number, n: number, set: boolean): Promise<void> {
    await engine.transact(ctx, (tx) => {
      for (let at = group; at < group + n;) {
        const end = Math.min(group + n, (Math.floor(at / COARSE_BITS) + 1) * COARSE_BITS)
        // a group may have its bit already (it was taken before a crash, and nothing in it committed)
        for (let g = at; g < end;) {
          let e = g
          while (e < end && (coarse[e] === 1) !== set) e++
          if (e > g) {
            if (set) tx.setBits(coarseKey(g), COARSE_BITS, g % COARSE_BITS, e - g)
            else tx.clearBits(coarseKey(g), COARSE_BITS, g % COARSE_BITS, e - g)
          }
          g = e + 1
        }
        at = end
      }
    })
    coarse.fill(set ? 1 : 0, group, group + n)
  }

  function track<T>(promise: Promise<T>): Promise<T> {
    const settled: Promise<unknown> = promise.then(() => busy.delete(settled), () => busy.delete(settled))
    busy.add(settled)
    return promise
  }

  async function takeNow(ctx: Context, group: number, n: number): Promise<boolean> {
    let to = CLEAR
    try {
      if (file.hostFreeBytes !== undefined && file.hostFreeBytes() - n * GROUP_BYTES < HOST_RESERVE_BYTES) return false
      const rc = await file.fallocate(DATA_START_BYTES + group * GROUP_BYTES, n * GROUP_BYTES)
      if (rc < 0 && rc !== -ERRNO.EOPNOTSUPP) return false
      await markCoarse(ctx, group, n, true)
      to = READY
      return true
    } finally {
      for (let g = group; g < group + n; g++) move(g, to)
      if (to === READY) trimLater()
    }
  }

  /** After a death: groups that hold nothing have their bit and the host's space still. A few at a time, none if all went well. */
  function sweepLater(from: number): void {
    if (stopped || from >= count) return
    sweeping = clock.after(SWEEP_EVERY_MS, () => {
      let g = from
      const loads: Promise<void>[] = []
      for (let n = 0; g < count && n < SWEEP_GROUPS; g++) {
        if (states[g] !== COLD) continue
        n++
        const row = engine.reader(rootContext).bits(groupKey(g))
        const group = g
        const look = (r: Uint8Array | undefined): MaybePromise<void> => (r === undefined ? load(group) : undefined)
        const answer = row instanceof Promise ? row.then(look) : look(row)
        if (answer instanceof Promise) loads.push(answer)
      }
      void track(Promise.all(loads)).then(() => sweepLater(g), () => undefined) // the engine failed, and says so to everyone else
    })
  }

  function trimLater(): void {
    if (stopped || trimming !== undefined || readyGroups <= READY_KEPT) return
    trimming = clock.after(TRIM_AFTER_MS, () => {
      trimming = undefined
      if (isTurning && trimWaits < TRIM_WAITS_MAX) { // who writes now wants them soon
        isTurning = false
        trimWaits++
        return trimLater()
      }
      trimWaits = 0
      void track(trim()).then(trimLater, () => (stopped = true)) // the engine failed, and says so to everyone else
    })
  }

  /** Gives ready groups back to the host, the last ones first: what a search finds first stays ready. */
  async function trim(kept = READY_KEPT): Promise<void> {
    while (readyGroups > kept && (!stopped || kept === 0)) {
      const to = states.lastIndexOf(READY) + 1
      let from = to - 1
      while (from > 0 && states[from - 1] === READY && to - from < Math.min(TRIM_GROUPS, readyGroups - kept)) from--
      for (let g = from; g < to; g++) move(g, BUSY)
      try {
        await markCoarse(rootContext, from, to - from, false)
        if (!keeps) await file.punch(DATA_START_BYTES + from * GROUP_BYTES, (to - from) * GROUP_BYTES) // a host that cannot keeps the space
      } finally {
        for (let g = from; g < to; g++) move(g, CLEAR)
      }
    }
  }

  if (sweep) sweepLater(0)

  return {
    get count() {
      return count
    },
    grow(to) {
      const from = count
      const wider = (old: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => {
        const bytes = new Uint8Array(to)
        bytes.set(old)
        return bytes
      }
      states = wider(states) // CLEAR is 0
      coarse = wider(coarse)
      const smallTo = from + Math.floor((to - from) * SMALL_SHARE)
      small.push(part(from, smallTo))
      large.push(part(smallTo, to))
      small[small.length - 1].clear = smallTo - from
      large[large.length - 1].clear = to - smallTo
      count = to
    },
    small, large, runs, regionOf, areaOf, load,
    readyUnits: () => readyUnits,
    stateOf: (group) => states[group],
    bitsOf: (group) => loaded.get(group)!,
    unitsTaken: (n) => void (readyUnits -= n),
    use(group) {
      assert(states[group] === READY, 'a group that is used was ready')
      isTurning = true
      move(group, USED)
      readyUnits += GROUP_UNITS
      loaded.set(group, emptyBits())
      runs[areaOf(group)].add(group * GROUP_UNITS, GROUP_UNITS)
    },
    emptied(group) {
      assert(loaded.get(group)?.free === GROUP_UNITS, 'an emptied group has no taken unit')
      runs[areaOf(group)].remove(group * GROUP_UNITS, GROUP_UNITS)
      loaded.delete(group)
      readyUnits -= GROUP_UNITS
      move(group, READY)
      isTurning = true
      trimLater()
    },
    take(ctx, group, n) {
      for (let g = group; g < group + n; g++) {
        assert(states[g] === CLEAR, 'a group that is taken was clear')
        move(g, BUSY)
      }
      return track(takeNow(ctx, group, n))
    },
    firstReady(part) {
      if (readyGroups === 0) return -1
      const group = states.indexOf(READY, part.from)
      return group < part.to ? group : -1
    },
    clearFrom(group, limit) {
      let n = 0
      while (n < limit && group + n < count && states[group + n] === CLEAR) n++
      return n
    },
    settling: () => (busy.size === 0 ? undefined : Promise.race(busy)),
    async stop() {
      stopped = true
      trimming?.stop()
      sweeping?.stop()
      await Promise.all([...busy, ...loading.values()])
      await trim(0)
    }
  }
}
