/**
 * The rows that are read again and again, as objects, with what the floor above decoded. Two generations: a row that is found in
 * the old one moves to the young one; when the young one is full it becomes the old one, and what nobody asked for since is gone.
 *   - What it holds is the newest commit's, wherever else the row is: commits replace what is in here.
 *   - A row gets in when it is read a second time soon after the first: who walks a whole tree once leaves the cache as it was,
 *     and its garbage dies young.
 *   - Its bytes are counted with all that an entry keeps alive; entries keep no memory alive that they share.
 */
import type { Key } from '../engine.js'
import type { Entry } from '../rows.js'
import { ownBytes } from './stored.js'

const SEEN_SLOTS = 32 * 1024
/** Of one entry in heap and buffers: itself, its key, its place in the Map, its array, an inode decoded. Measured: test/engine/bounds.test.ts. */
const ENTRY_BYTES = 900

export interface RowCache {
  find(key: Key): Entry | undefined
  /** A row that was just read. */
  offer(key: Key, hash: number, entry: Entry): Entry
  /** The row was written: what is in here is old. */
  replace(key: Key, entry: Entry): void
  readonly size: number
  readonly heldBytes: number
}

export const cacheCostBytes = (key: Key, entry: Entry): number => ENTRY_BYTES + key.length + entry.bytes.length

export function makeRowCache(bytesLimit: number): RowCache {
  let young = new Map<Key, Entry>()
  let old = new Map<Key, Entry>()
  let youngBytes = 0
  let oldBytes = 0
  const seen = new Int32Array(SEEN_SLOTS) // hashes of rows read once

  function put(key: Key, entry: Entry): void {
    young.set(key, entry)
    youngBytes += cacheCostBytes(key, entry) // a row put twice counts twice: the bound holds, a little early
    if (youngBytes <= bytesLimit / 2) return
    old = young
    oldBytes = youngBytes
    young = new Map()
    youngBytes = 0
  }

  return {
    find(key) {
      const entry = young.get(key)
      if (entry !== undefined) return entry
      const older = old.get(key)
      if (older !== undefined) put(key, older)
      return older
    },
    offer(key, hash, entry) {
      const slot = hash & (SEEN_SLOTS - 1)
      if (seen[slot] !== hash) {
        seen[slot] = hash
        return entry
      }
      const kept = ownBytes(entry)
      put(key, kept)
      return kept
    },
    replace(key, entry) {
      if (young.has(key)) young.set(key, ownBytes(entry))
      else if (old.has(key)) put(key, ownBytes(entry))
    },
    get size() {
      return young.size + old.size
    },
    get heldBytes() {
      return youngBytes + oldBytes
    }
  }
}
