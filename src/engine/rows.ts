/**
 * Rows as readers see them, and a table of them in key order: the whole of `memory`.
 *   - An Entry never changes once a table holds it (only `decoded`, a cache for the floor above, is filled in): who holds
 *     one may keep it. A commit replaces entries. An Entry is itself the Row that readers get, so a read makes no garbage.
 *   - `seq` is the commit that wrote it (0: before anything that this process saw).
 *   - A deleted row stays as an entry of kind GONE, so that it hides what lies below, and so that its change can be validated.
 * find costs one Map lookup; only a key's first write touches the ordered set (about 0.5 us at 100,000 keys).
 */
import sortedBTree from 'sorted-btree'
import type { Key, KeyedRow, Range, Row } from './engine.js'

export const GONE = 0
export const VALUE = 1
export const COUNTERS = 2
export const BITS = 3
export type Kind = typeof GONE | typeof VALUE | typeof COUNTERS | typeof BITS

export interface Entry extends Row {
  readonly kind: Kind
  seq: number
  /** A value's bytes; a bitmap; empty for counters, which are in `decoded`. */
  readonly bytes: Uint8Array
  decoded: unknown
}

const NO_BYTES = new Uint8Array(0)

export const entryOf = (kind: Kind, seq: number, bytes: Uint8Array, decoded: unknown): Entry => ({ kind, seq, bytes, decoded })
export const goneEntry = (seq: number): Entry => entryOf(GONE, seq, NO_BYTES, undefined)
export const countersEntry = (seq: number, slots: readonly number[]): Entry => entryOf(COUNTERS, seq, NO_BYTES, slots)
export const slotsOf = (entry: Entry): readonly number[] => entry.decoded as readonly number[]

export const compareKeys = (a: Key, b: Key): number => (a < b ? -1 : a === b ? 0 : 1)

/** Goes through entries in a range's order; `key` is undefined at the end. Tombstones are shown. */
export interface Cursor {
  key: Key | undefined
  entry: Entry
  next(): void
  /** Gives back what it holds; may be called more than once. */
  close(): void
}

export interface Rows {
  find(key: Key): Entry | undefined
  set(key: Key, entry: Entry): void
  cursor(from: Key, to: Key, reverse: boolean): Cursor
  readonly size: number
}

export function makeRows(): Rows {
  const entries = new Map<Key, Entry>()
  const order = new sortedBTree.default<Key, undefined>(undefined, compareKeys)
  return {
    find: (key) => entries.get(key),
    set(key, entry) {
      const before = entries.size
      entries.set(key, entry)
      if (entries.size !== before) order.set(key, undefined)
    },
    cursor(from, to, reverse) {
      const keys = reverse ? order.entriesReversed(to, [], true) : order.entries(from, [])
      const cursor: Cursor = {
        key: undefined,
        entry: undefined as unknown as Entry,
        next() {
          const step = keys.next()
          const key: Key | undefined = step.done === true ? undefined : step.value[0]
          if (key === undefined || (reverse ? key < from : key >= to)) cursor.key = undefined
          else {
            cursor.key = key
            cursor.entry = entries.get(key)!
          }
        },
        close() {}
      }
      cursor.next()
      return cursor
    },
    get size() {
      return entries.size
    }
  }
}

/** Merges layers, the newest first: of one key the newest layer's entry counts. Gives what is not deleted. */
export function mergeScan(range: Range, cursors: readonly Cursor[]): KeyedRow[] {
  const out: KeyedRow[] = []
  const reverse = range.reverse === true
  try {
    while (out.length < range.limit) {
      let best: Key | undefined
      for (const c of cursors) {
        if (c.key !== undefined && (best === undefined || (reverse ? c.key > best : c.key < best))) best = c.key
      }
      if (best === undefined) break
      let entry: Entry | undefined
      for (const c of cursors) {
        if (c.key !== best) continue
        entry ??= c.entry
        c.next()
      }
      if (entry!.kind !== GONE) out.push({ key: best, row: entry! })
    }
  } finally {
    for (const c of cursors) c.close()
  }
  return out
}
