/**
 * The bits of one block group in memory: 1,024 units in 32 words, 1 = taken. A maximal run of zeros is a free extent: the
 * words are its index by offset, and finding the run around a unit looks at no more than 32 of them.
 *   - bits.free is the number of zeros, always.
 */
import { GROUP_UNITS } from './keys.js'

const WORDS = GROUP_UNITS >> 5

export interface GroupBits {
  readonly words: Uint32Array
  free: number
}

export const emptyBits = (): GroupBits => ({ words: new Uint32Array(WORDS), free: GROUP_UNITS })

/** From the engine's bit row (bit i is byte i >> 3, bit i & 7); undefined: nothing is taken. */
export function bitsFromRow(row: Uint8Array | undefined): GroupBits {
  const bits = emptyBits()
  if (row === undefined) return bits
  for (let i = 0; i < WORDS; i++) {
    const at = i * 4
    const word = (row[at] | (row[at + 1] << 8) | (row[at + 2] << 16) | (row[at + 3] << 24)) >>> 0
    bits.words[i] = word
    bits.free -= popcount(word)
  }
  return bits
}

function popcount(word: number): number {
  let n = word - ((word >>> 1) & 0x55555555)
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333)
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
}

export const isTaken = (bits: GroupBits, unit: number): boolean => ((bits.words[unit >> 5] >>> (unit & 31)) & 1) === 1

/** The first taken unit at or after `unit`; GROUP_UNITS if there is none. */
export function nextTaken(bits: GroupBits, unit: number): number {
  let word = unit >> 5
  if (word >= WORDS) return GROUP_UNITS
  let w = (bits.words[word] & (-1 << (unit & 31))) >>> 0
  while (w === 0) {
    if (++word === WORDS) return GROUP_UNITS
    w = bits.words[word]
  }
  return (word << 5) + 31 - Math.clz32(w & -w)
}

/** The first free unit at or after `unit`; GROUP_UNITS if there is none. */
export function nextFree(bits: GroupBits, unit: number): number {
  let word = unit >> 5
  if (word >= WORDS) return GROUP_UNITS
  let w = (~bits.words[word] & (-1 << (unit & 31))) >>> 0
  while (w === 0) {
    if (++word === WORDS) return GROUP_UNITS
    w = ~bits.words[word] >>> 0
  }
  return (word << 5) + 31 - Math.clz32(w & -w)
}

/** The end of the last taken unit before `unit`: where the free run that reaches `unit` begins. */
export function runStart(bits: GroupBits, unit: number): number {
  if (unit === 0) return 0
  let word = (unit - 1) >> 5
  const upto = unit - (word << 5) // 1..32 bits of this word count
  let w = upto === 32 ? bits.words[word] : (bits.words[word] & ((1 << upto) - 1)) >>> 0
  while (w === 0) {
    if (word-- === 0) return 0
    w = bits.words[word]
  }
  return (word << 5) + 32 - Math.clz32(w)
}

function change(bits: GroupBits, start: number, count: number, taken: boolean): boolean {
  for (let at = start, end = start + count; at < end; ) {
    const word = at >> 5
    const upto = Math.min(end, (word + 1) << 5)
    const width = upto - at
    const mask = (width === 32 ? -1 : ((1 << width) - 1) << (at & 31)) >>> 0
    const before = bits.words[word]
    if ((taken ? before & mask : ~before & mask) !== 0) return false
    bits.words[word] = taken ? before | mask : before & ~mask
    at = upto
  }
  bits.free += taken ? -count : count
  return true
}

/** False, with the bits in doubt, if one was taken already: a broken invariant. */
export const takeUnits = (bits: GroupBits, start: number, count: number): boolean => change(bits, start, count, true)
/** False, with the bits in doubt, if one was free already: a broken invariant. */
export const freeUnits = (bits: GroupBits, start: number, count: number): boolean => change(bits, start, count, false)

export function allTaken(bits: GroupBits, start: number, count: number): boolean {
  return nextFree(bits, start) >= start + count
}
