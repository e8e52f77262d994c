/**
 * Do the allocator's rows say what the extents say? Whoever goes through the extents claims their units here; then the bit rows, the
 * coarse map and the counter are compared with the claims.
 *   - A unit belongs to one claim or to nobody; a group with units in use has its bit in the coarse map.
 *   - Memory: a bit per unit of WINDOW_GROUPS groups in use, and 2 bits per group of the space. Of a larger space the claims are made once
 *     per window.
 */
import { rootContext } from '../../sys/index.js'
import { streamRows } from '../../engine/index.js'
import type { Engine, Reader } from '../../engine/index.js'
import { UNIT_BYTES } from '../store.js'
import { COARSE_BITS, coarseKey, COUNTERS_KEY, GROUP_BYTES, groupKey, GROUP_UNITS } from './keys.js'

const GROUP_MAP_BYTES = GROUP_UNITS / 8
/** 2 TiB in use: 64 MiB of bits. */
const WINDOW_GROUPS = 512 * 1024
/** Groups claimed without a bit in the coarse map that are looked at in one check. */
const STRAYS_MAX = 4096
const OVERLAPS_MAX = 1000

/** A group whose rows are not as the extents say: what its bit row must become. */
export interface WrongGroup {
  readonly group: number
  readonly is: Uint8Array
  readonly shouldBe: Uint8Array
  readonly isCoarse: boolean
  /** Units in use that nobody holds; units held that are not in use. */
  readonly leaked: number
  readonly missing: number
}

export interface Overlap {
  readonly startBytes: number
  readonly lengthBytes: number
}

export interface UnitsCheck {
  /** How often all claims are to be made. */
  readonly windows: number
  /** Begins a window; the first is 0. */
  window(n: number): void
  /** False: this is no range of the space. */
  claim(startBytes: number, lengthBytes: number): boolean
  /** Ranges that were claimed twice, as far as they were noted. */
  readonly overlaps: readonly Overlap[]
  /** At a window's end. */
  compare(found: (wrong: WrongGroup) => void): Promise<void>
  /** Units of all claims; what the counter says (undefined: it is not there). */
  units(): Promise<{ readonly claimed: number; readonly counted: number | undefined }>
}

const popcount = (byte: number): number => {
  let n = 0
  for (let b = byte; b !== 0; b &= b - 1) n++
  return n
}

/** `windowGroups`: groups in use of one window. */
export async function openUnitsCheck(reader: Reader, spaceBytes: number, windowGroups = WINDOW_GROUPS): Promise<UnitsCheck> {
  const groups = spaceBytes / GROUP_BYTES
  const words = new Uint32Array(Math.ceil(groups / 32))
  const ranks = new Uint32Array(words.length) // groups in use before the word
  for (let g = 0; g < groups; g += COARSE_BITS) {
    const row = await reader.bits(coarseKey(g))
    for (let i = 0; row !== undefined && i < row.length; i++) if (row[i] !== 0 && g + i * 8 < groups) words[(g + i * 8) >>> 5] |= row[i] << ((i & 3) * 8)
  }
  let used = 0
  for (let i = 0; i < words.length; i++) {
    ranks[i] = used
    for (let w = words[i]; w !== 0; w &= w - 1) used++
  }
  const isCoarse = (group: number): boolean => ((words[group >>> 5] >>> (group & 31)) & 1) === 1
  const slotOf = (group: number): number => {
    let n = ranks[group >>> 5]
    for (let w = words[group >>> 5] & ((1 << (group & 31)) - 1); w !== 0; w &= w - 1) n++
    return n
  }

  const claimed = new Uint8Array(Math.min(used, windowGroups) * GROUP_MAP_BYTES)
  const strays = new Map<number, Uint8Array>()
  const overlaps: { startBytes: number; lengthBytes: number }[] = []
  let first = 0 // slot of the window
  let windowAt = 0
  let units = 0

  function mark(map: Uint8Array, at: number, group: number, start: number, count: number): void {
    for (let i = start, end = start + count; i < end;) {
      const byte = at + (i >> 3)
      const upto = Math.min(end, ((i >> 3) + 1) << 3)
      const mask = ((1 << (upto - ((i >> 3) << 3))) - 1) & ~((1 << (i & 7)) - 1)
      if ((map[byte] & mask) !== 0) overlap((group * GROUP_UNITS + i) * UNIT_BYTES, (upto - i) * UNIT_BYTES)
      map[byte] |= mask
      i = upto
    }
  }
  function overlap(startBytes: number, lengthBytes: number): void {
    const last = overlaps[overlaps.length - 1]
    if (last !== undefined && last.startBytes + last.lengthBytes === startBytes) last.lengthBytes += lengthBytes
    else if (overlaps.length < OVERLAPS_MAX) overlaps.push({ startBytes, lengthBytes })
  }

  return {
    windows: Math.max(1, Math.ceil(used / windowGroups)),
    window(n) {
      windowAt = n
      first = n * windowGroups
      claimed.fill(0)
    },
    claim(startBytes, lengthBytes) {
      if (startBytes % UNIT_BYTES !== 0 || lengthBytes % UNIT_BYTES !== 0 || lengthBytes <= 0 || startBytes < 0 || startBytes + lengthBytes > spaceBytes) return false
      const end = (startBytes + lengthBytes) / UNIT_BYTES
      if (windowAt === 0) units += lengthBytes / UNIT_BYTES
      for (let unit = startBytes / UNIT_BYTES; unit < end;) {
        const group = Math.floor(unit / GROUP_UNITS)
        const upto = Math.min(end, (group + 1) * GROUP_UNITS)
        const start = unit - group * GROUP_UNITS
        if (isCoarse(group)) {
          const slot = slotOf(group) - first
          if (slot >= 0 && slot < windowGroups) mark(claimed, slot * GROUP_MAP_BYTES, group, start, upto - unit)
        } else if (windowAt === 0) {
          let map = strays.get(group)
          if (map === undefined && strays.size < STRAYS_MAX) strays.set(group, (map = new Uint8Array(GROUP_MAP_BYTES)))
          if (map !== undefined) mark(map, 0, group, start, upto - unit)
        }
        unit = upto
      }
      return true
    },
    overlaps,
    async compare(found) {
      const rows = await streamRows(reader, groupKey(0), groupKey(0xffffffff), 4096)
      const judge = (group: number, is: Uint8Array, shouldBe: Uint8Array): void => {
        let leaked = 0
        let missing = 0
        for (let i = 0; i < GROUP_MAP_BYTES; i++) {
          if (is[i] === shouldBe[i]) continue
          leaked += popcount(is[i] & ~shouldBe[i] & 255)
          missing += popcount(shouldBe[i] & ~is[i] & 255)
        }
        const coarse = group < groups && isCoarse(group)
        if (leaked > 0 || missing > 0 || !coarse) found({ group, is: is.slice(), shouldBe: shouldBe.slice(), isCoarse: coarse, leaked, missing })
      }
      const nothing = new Uint8Array(GROUP_MAP_BYTES)
      let next = 0 // group
      const upTo = (group: number): void => {
        // groups in use without a bit row
        for (; next < group; next++) {
          if (next % 32 === 0 && words[next >>> 5] === 0) {
            next += 31
            continue
          }
          if (!isCoarse(next)) continue
          const slot = slotOf(next) - first
          if (slot < 0 || slot >= windowGroups) continue
          const map = claimed.subarray(slot * GROUP_MAP_BYTES, (slot + 1) * GROUP_MAP_BYTES)
          if (map.some((byte) => byte !== 0)) judge(next, nothing, map)
        }
      }
      while (rows.key !== undefined) {
        const key = rows.key
        const group = ((key.charCodeAt(1) << 24) | (key.charCodeAt(2) << 16) | (key.charCodeAt(3) << 8) | key.charCodeAt(4)) >>> 0
        upTo(Math.min(group, groups))
        next = Math.max(next, group + 1)
        if (group >= groups || !isCoarse(group)) {
          if (windowAt === 0) {
            judge(group, rows.row.bytes, strays.get(group) ?? nothing)
            strays.delete(group)
          }
        } else {
          const slot = slotOf(group) - first
          if (slot >= 0 && slot < windowGroups) judge(group, rows.row.bytes, claimed.subarray(slot * GROUP_MAP_BYTES, (slot + 1) * GROUP_MAP_BYTES))
        }
        const more = rows.advance()
        if (more instanceof Promise) await more
      }
      upTo(groups)
      if (windowAt === 0) for (const [group, map] of strays) judge(group, nothing, map)
    },
    async units() {
      return { claimed: units, counted: (await reader.counters(COUNTERS_KEY))?.[0] }
    }
  }
}

/** Makes a group's rows what they should be. The pool is nobody else's. `promise` has the host hold the group's bytes first. */
export async function repairGroup(engine: Engine, wrong: WrongGroup): Promise<void> {
  const { group, is, shouldBe, isCoarse } = wrong
  const key = groupKey(group)
  await engine.transact(rootContext, (tx) => {
    for (const set of [true, false]) {
      for (let i = 0; i < GROUP_UNITS;) {
        const differs = (n: number): boolean => {
          const before = (is[n >> 3] >> (n & 7)) & 1
          const after = (shouldBe[n >> 3] >> (n & 7)) & 1
          return before !== after && (after === 1) === set
        }
        let end = i
        while (end < GROUP_UNITS && differs(end)) end++
        if (end > i && set) tx.setBits(key, GROUP_UNITS, i, end - i)
        else if (end > i) tx.clearBits(key, GROUP_UNITS, i, end - i)
        i = Math.max(end, i + 1)
      }
    }
    if (!isCoarse && shouldBe.some((byte) => byte !== 0)) tx.setBits(coarseKey(group), COARSE_BITS, group % COARSE_BITS, 1)
  })
}

/** The counter of units in use becomes this. */
export async function repairUnitsCounter(engine: Engine, units: number): Promise<void> {
  const counted = await engine.reader(rootContext).counters(COUNTERS_KEY)
  await engine.transact(rootContext, (tx) => (counted === undefined ? tx.createCounters(COUNTERS_KEY, [units]) : tx.setCounters(COUNTERS_KEY, [[0, units]])))
}
