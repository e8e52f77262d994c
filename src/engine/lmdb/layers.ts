/**
 * The committed rows of an embedded engine, newest first: the active overlay (commits since the last freeze), the frozen
 * overlay (what a checkpoint is moving to LMDB), the row cache, LMDB.
 *   - Rows above hide rows below. The frozen overlay goes only when LMDB holds all of it and reads see that.
 *   - writtenAt is never too small: of a row that is in no overlay it answers the last checkpoint's sequence.
 */
import type { ChangeEvent, Key, KeyedRow, Range } from '../engine.js'
import { makeRows, mergeScan } from '../rows.js'
import type { Cursor, Entry, Rows } from '../rows.js'
import type { Answer } from '../answers.js'
import { makeRowCache } from './cache.js'
import type { RowCache } from './cache.js'
import type { Tables } from './tables.js'

/** What commits since a freeze changed. */
export interface Overlay {
  readonly rows: Rows
  readonly events: ChangeEvent[]
  readonly answers: { count: number; answer: Answer }[]
}

export interface Layers {
  readonly cache: RowCache
  active: Overlay
  frozen: Overlay | undefined
  find(key: Key): Entry | undefined
  scan(range: Range): KeyedRow[]
  changes(session: number, from: number, limit: number): ChangeEvent[]
  writtenAt(key: Key): number
  /** The active overlay becomes the frozen one. */
  freeze(): void
  /** LMDB holds the frozen overlay, whose newest commit was `seq`. */
  thaw(seq: number): void
}

export const makeOverlay = (): Overlay => ({ rows: makeRows(), events: [], answers: [] })

export function makeLayers(tables: Tables, cacheBytes: number, checkpointSeq: number): Layers {
  const cache = makeRowCache(cacheBytes)
  let belowSeq = checkpointSeq

  /** LMDB's rows, with what the cache knows of them. */
  function lowest(from: Key, to: Key, reverse: boolean): Cursor {
    const stored = tables.cursor(from, to, reverse)
    const cursor: Cursor = {
      key: stored.key,
      entry: stored.entry,
      next() {
        stored.next()
        show()
      },
      close: stored.close
    }
    const show = (): void => {
      cursor.key = stored.key
      if (stored.key !== undefined) cursor.entry = cache.find(stored.key) ?? stored.entry
    }
    show()
    return cursor
  }

  const layers: Layers = {
    cache,
    active: makeOverlay(),
    frozen: undefined,
    find(key) {
      let entry = layers.active.rows.find(key)
      if (entry !== undefined) return entry
      if (layers.frozen !== undefined && (entry = layers.frozen.rows.find(key)) !== undefined) return entry
      if ((entry = cache.find(key)) !== undefined) return entry
      if ((entry = tables.find(key)) !== undefined) cache.put(key, entry)
      return entry
    },
    scan({ from, to, limit, reverse = false }) {
      const cursors = [layers.active.rows.cursor(from, to, reverse)]
      if (layers.frozen !== undefined) cursors.push(layers.frozen.rows.cursor(from, to, reverse))
      cursors.push(lowest(from, to, reverse))
      return mergeScan({ from, to, limit, reverse }, cursors)
    },
    changes(session, from, limit) {
      const out = tables.changes(session, from, limit)
      let next = out.length === 0 ? from : out[out.length - 1].n + 1
      for (const overlay of [layers.frozen, layers.active]) {
        for (const event of overlay?.events ?? []) {
          if (out.length >= limit) return out
          if (event.session !== session || event.n < next) continue
          out.push(event)
          next = event.n + 1
        }
      }
      return out
    },
    writtenAt: (key) => (layers.active.rows.find(key) ?? layers.frozen?.rows.find(key))?.seq ?? belowSeq,
    freeze() {
      layers.frozen = layers.active
      layers.active = makeOverlay()
    },
    thaw(seq) {
      layers.frozen = undefined
      belowSeq = seq
    }
  }
  return layers
}
