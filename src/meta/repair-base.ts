/** What every step of a repair is told, and has at hand. */
import { prefixEnd } from '../engine/index.js'
import type { Engine, Key, Tx } from '../engine/index.js'
import { rootContext } from '../sys/index.js'
import type { NameHash } from './hash.js'
import type { Op, Timespec } from './words.js'

export const SLICE_ROWS = 512
export const ROOT_DOMAIN = 1

export interface Repair {
  readonly engine: Engine
  readonly hash: NameHash
  readonly now: Timespec
  /** A sentence about what was done. */
  did(ino: number, what: string): void
}

export const opOf = ({ engine, now }: Repair): Op => ({ ctx: rootContext, now, check: false, session: engine.session })
export const change = <T>({ engine }: Repair, body: (tx: Tx) => T | Promise<T>): Promise<T> => engine.transact(rootContext, body)
export const readerOf = ({ engine }: Repair): ReturnType<Engine['reader']> => engine.reader(rootContext)

/** Rows whose keys begin with the prefix. */
export async function dropRows(repair: Repair, prefix: Key): Promise<number> {
  for (let dropped = 0; ;) {
    const rows = await readerOf(repair).scan({ from: prefix, to: prefixEnd(prefix)!, limit: SLICE_ROWS })
    if (rows.length === 0) return dropped
    await change(repair, (tx) => {
      for (const { key } of rows) tx.delete(key)
    })
    dropped += rows.length
  }
}
