/**
 * The committed rows of an embedded engine: the row cache over the active overlay (commits since the last freeze), the frozen
 * overlay (what a checkpoint is moving to LMDB), LMDB.
 *   - Rows above hide rows below; the cache holds the newest, of whatever layer.
 *   - The frozen overlay goes only when LMDB holds all of it and reads see that.
 *   - writtenAt is never too small: of a row that is in no overlay it answers the last checkpoint's sequence.
 */
import type { ChangeEvent, EngineStatus, Key, KeyedRow, Range } from '../engine.js'
import { mergeScan } from '../rows.js'
import type { Cursor, Entry } from '../rows.js'
import { makeRowCache } from './cache.js'
import type { RowCache } from './cache.js'
import { addChanges, clearOverlay, makeOverlay } from './overlay.js'
import type { Overlay } from './overlay.js'
import { hashOfKey } from './packed.js'
import type { Tables } from './tables.js'

export interface Layers {
  readonly cache: RowCache
  active: Overlay
  frozen: Overlay | undefined
  find(key: Key): Entry | undefined
  scan(range: Range): KeyedRow[]
  changes(session: number, from: number, limit: number): ChangeEvent[]
  writtenAt(key: Key): number
  /** A commit wrote this row. */
  apply(key: Key, entry: Entry): void
  /** The active overlay becomes the frozen one. */
  freeze(): void
  /** LMDB holds the frozen overlay, whose newest commit was `seq`. */
  thaw(seq: number): void
  memory(): EngineStatus['memory']
}

export function makeLayers(tables: Tables, cacheBytes: number, checkpointSeq: number): Layers {
  const cache = makeRowCache(cacheBytes)
  let belowSeq = checkpointSeq
  let spare: Overlay | undefined

  /** A layer's rows, with what the cache knows of them. */
  function known(layer: Cursor): Cursor {
    const cursor: Cursor = {
      key: layer.key,
      entry: layer.entry,
      next() {
        layer.next()
        show()
      },
      close: layer.close
    }
    const show = (): void => {
      cursor.key = layer.key
      if (layer.key !== undefined) cursor.entry = cache.find(layer.key) ?? layer.entry
    }
    show()
    return cursor
  }

  const layers: Layers = {
    cache,
    active: makeOverlay(),
    frozen: undefined,
    find(key) {
      const cached = cache.find(key)
      if (cached !== undefined) return cached
      const hash = hashOfKey(key)
      const { active, frozen } = layers
      let row: number
      let entry: Entry | undefined
      if ((row = active.rows.find(key, hash)) !== 0) entry = active.rows.entry(row)
      else if (frozen !== undefined && (row = frozen.rows.find(key, hash)) !== 0) entry = frozen.rows.entry(row)
      else entry = tables.find(key)
      return entry === undefined ? undefined : cache.offer(key, hash, entry)
    },
    scan({ from, to, limit, reverse = false }) {
      const cursors = [known(layers.active.rows.cursor(from, to, reverse))]
      if (layers.frozen !== undefined) cursors.push(known(layers.frozen.rows.cursor(from, to, reverse)))
      cursors.push(known(tables.cursor(from, to, reverse)))
      return mergeScan({ from, to, limit, reverse }, cursors)
    },
    changes(session, from, limit) {
      const out = tables.changes(session, from, limit)
      if (layers.frozen !== undefined) addChanges(layers.frozen, session, from, limit, out)
      addChanges(layers.active, session, from, limit, out)
      return out
    },
    writtenAt(key) {
      const hash = hashOfKey(key)
      const { active, frozen } = layers
      let row = active.rows.find(key, hash)
      if (row !== 0) return active.rows.seq(row)
      if (frozen !== undefined && (row = frozen.rows.find(key, hash)) !== 0) return frozen.rows.seq(row)
      return belowSeq
    },
    apply(key, entry) {
      layers.active.rows.set(key, hashOfKey(key), entry)
      cache.replace(key, entry)
    },
    freeze() {
      layers.frozen = layers.active
      layers.active = spare ?? makeOverlay()
      spare = undefined
    },
    thaw(seq) {
      spare = layers.frozen!
      layers.frozen = undefined
      clearOverlay(spare)
      belowSeq = seq
    },
    memory() {
      let rowsBytes = 0
      for (const overlay of [layers.active, layers.frozen, spare]) rowsBytes += overlay === undefined ? 0 : overlay.rows.heldBytes + overlay.events.heldBytes
      return { rows: layers.active.rows.size + (layers.frozen?.rows.size ?? 0), rowsBytes, cachedRows: cache.size, cachedBytes: cache.heldBytes }
    }
  }
  return layers
}
