/**
 * The end of history: rows that no view shows any more go, and the units of extents with them.
 *   - Row and units go in one transaction; a row that is gone already is passed over, so that repeating it frees nothing twice.
 *   - Units that others may hold are counted one less (shares.ts).
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
import { countShares } from './shares.js'

interface Gone {
  readonly freed: Piece[]
  /** Of shared units. */
  readonly dropped: Piece[]
}

export async function dropHistory(floor: Floor, ctx: Context, keys: readonly Key[]): Promise<void> {
  let gone: Gone = { freed: [], dropped: [] }
  await floor.engine.transact(ctx, (tx) => {
    gone = { freed: [], dropped: [] }
    return drop(floor, tx, keys, 0, gone)
  })
  floor.pasts.clear()
  freed(floor, gone.freed)
}

function drop(floor: Floor, tx: Tx, keys: readonly Key[], from: number, gone: Gone): MaybePromise<void> {
  for (let i = from; i < keys.length; i++) {
    const row = tx.get(keys[i])
    if (row instanceof Promise) return row.then((late) => {
      dropRow(tx, keys[i], late, gone)
      return drop(floor, tx, keys, i + 1, gone)
    })
    dropRow(tx, keys[i], row, gone)
  }
  if (gone.dropped.length > 0) return dropCounted(floor, tx, gone)
  return gone.freed.length > 0 ? floor.store.commitFreed(tx, gone.freed) : undefined
}

async function dropCounted(floor: Floor, tx: Tx, { freed: pieces, dropped }: Gone): Promise<void> {
  pieces.push(...await countShares(tx, { marked: [], joined: [], dropped }))
  if (pieces.length > 0) await floor.store.commitFreed(tx, pieces)
}

function dropRow(tx: Tx, key: Key, row: Row | undefined, { freed: pieces, dropped }: Gone): void {
  if (row === undefined) return
  tx.delete(key)
  const past = decodePast({ key, row })
  if (!past.key.startsWith(EXTENT_KIND)) return
  const extent = decodeExtent(past.key, past.bytes)
  const units = unitsOf(extent)
  if (units !== undefined) (extent.kind === 'shared' ? dropped : pieces).push(units)
}
