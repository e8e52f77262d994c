/**
 * The end of history: rows that no view shows any more go, and the units of extents with them.
 *   - Row and units go in one transaction; a row that is gone already is passed over, so that repeating it frees nothing twice.
 *   - Units come back as those of any extent do: when the transaction is durable and every read that began before has ended.
 */
import type { Context } from '../sys/index.js'
import type { Key, MaybePromise, Row, Tx } from '../engine/index.js'
import type { Piece } from '../store/index.js'
import { unitsOf } from './extents.js'
import { freed } from './files.js'
import type { Floor } from './files.js'
import { decodePast } from './history.js'
import { decodeExtent, EXTENT_KIND } from './rows.js'

export async function dropHistory(floor: Floor, ctx: Context, keys: readonly Key[]): Promise<void> {
  let pieces: Piece[] = []
  await floor.engine.transact(ctx, (tx) => {
    pieces = []
    return drop(floor, tx, keys, 0, pieces)
  })
  floor.pasts.clear()
  freed(floor, pieces)
}

function drop(floor: Floor, tx: Tx, keys: readonly Key[], from: number, pieces: Piece[]): MaybePromise<void> {
  for (let i = from; i < keys.length; i++) {
    const row = tx.get(keys[i])
    if (row instanceof Promise) return row.then((late) => {
      dropRow(tx, keys[i], late, pieces)
      return drop(floor, tx, keys, i + 1, pieces)
    })
    dropRow(tx, keys[i], row, pieces)
  }
  return pieces.length > 0 ? floor.store.commitFreed(tx, pieces) : undefined
}

function dropRow(tx: Tx, key: Key, row: Row | undefined, pieces: Piece[]): void {
  if (row === undefined) return
  tx.delete(key)
  const past = decodePast({ key, row })
  if (!past.key.startsWith(EXTENT_KIND)) return
  const units = unitsOf(decodeExtent(past.key, past.bytes))
  if (units !== undefined) pieces.push(units)
}
