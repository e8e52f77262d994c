/**
 * The cache of rows that LMDB holds, with what the floor above decoded. Two generations: a row that is found in the old one
 * moves to the young one; when the young one is full it becomes the old one, and what nobody asked for since is gone.
 *   - It never holds anything else than LMDB does, or a frozen overlay that hides it: checkpoints put in what they write.
 */
import type { Key } from '../engine.js'
import { entryCostBytes } from '../rows.js'
import type { Entry } from '../rows.js'

export interface RowCache {
  find(key: Key): Entry | undefined
  put(key: Key, entry: Entry): void
  readonly size: number
}

export function makeRowCache(bytesLimit: number): RowCache {
  let young = new Map<Key, Entry>()
  let old = new Map<Key, Entry>()
  let youngBytes = 0

  function put(key: Key, entry: Entry): void {
    young.set(key, entry)
    youngBytes += entryCostBytes(key, entry) // a row put twice counts twice: the bound holds, a little early
    if (youngBytes <= bytesLimit / 2) return
    old = young
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
    put,
    get size() {
      return young.size + old.size
    }
  }
}
