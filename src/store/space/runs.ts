/**
 * Free extents by length: the second index over the free runs of used groups (the first, by offset, is their bits). A run lies
 * inside one group and is maximal. Runs of equal length come in order of address: space fills up from the front.
 *   - Soft reservations: the tail behind a file that is being appended to is left alone by others while they find anything
 *     else. At most SOFT_LIMIT tails, the oldest gives way. A reserved run is in the index, and passed over.
 */
import sortedBtree from 'sorted-btree'
import { GROUP_UNITS } from './keys.js'

const SOFT_LIMIT = 64
const LENGTH_SHIFT = 2 ** 40 // addresses in units below it: 4 EiB

const BTree = sortedBtree.default

export interface RunIndex {
  add(start: number, length: number): void
  remove(start: number, length: number): void
  /** The shortest run of at least `length` units that nobody reserved; -1: none. */
  bestFit(length: number): number
  /** The longest run that nobody reserved, else the longest of all; -1: none. */
  longest(): number
  /** Length of the run that bestFit or longest answered last. */
  foundLength(): number
  /** Whoever appends behind `start` comes back: leave the run that starts there. */
  reserve(start: number): void
  count(): number
}

export function runIndex(): RunIndex {
  const byLength = new BTree<number, undefined>(undefined, (a: number, b: number) => a - b)
  const soft = new Set<number>()
  let found = 0
  const answer = (key: number): number => {
    found = Math.floor(key / LENGTH_SHIFT)
    return key % LENGTH_SHIFT
  }
  return {
    add: (start, length) => void byLength.set(length * LENGTH_SHIFT + start, undefined),
    remove: (start, length) => void byLength.delete(length * LENGTH_SHIFT + start),
    bestFit(length) {
      let key: number | undefined = byLength.nextHigherKey(length * LENGTH_SHIFT - 0.5)
      while (key !== undefined && soft.has(key % LENGTH_SHIFT)) key = byLength.nextHigherKey(key)
      return key === undefined ? -1 : answer(key)
    },
    longest() {
      const last = byLength.maxKey()
      if (last === undefined) return -1
      let key: number | undefined = last
      while (key !== undefined && soft.has(key % LENGTH_SHIFT)) key = byLength.nextLowerKey(key)
      return answer(key ?? last)
    },
    foundLength: () => found,
    reserve(start) {
      if (start % GROUP_UNITS === 0) return
      soft.delete(start)
      soft.add(start)
      if (soft.size > SOFT_LIMIT) for (const oldest of soft) return void soft.delete(oldest)
    },
    count: () => byLength.size
  }
}
