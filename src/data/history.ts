/**
 * History: what rows were at earlier epochs, so that snapshots cost nothing to take.
 *   - Every value row starts with a version byte and its birth epoch (u64, little-endian). An epoch is a domain's count of
 *     snapshots, and starts at 1.
 *   - A transaction that replaces or deletes a value born at or before its domain's newest snapshot moves the old one here in
 *     the same commit: key (H, key, birth u64 big-endian), value (version 1, birth, death u64, the old value's bytes).
 *   - At view e a row is its current value if birth <= e, else the history row with birth <= e < death, else absent.
 *   - Keys are prefix-free enough: no key is another one followed by a byte 0x00, and births are below 2^53, so the rows of one
 *     key are exactly those from (H, key, 0x00) to (H, key, 0x01).
 * A row has at most one history row per snapshot; a read at an old view costs one scan of one row.
 */
import { viewOf, get64, PosixError, set64 } from '../sys/index.js'
import type { Key, KeyedRow, MaybePromise, Reader, Tx } from '../engine/index.js'

export const HISTORY_KIND = 'H'
export const HISTORY_VERSION = 1
const HEADER_BYTES = 17
const BIRTH_CHARS = 8

/** The epochs that a changing transaction must know: values are born in `epoch`; `newestSnapshot` is 0 if there is none. */
export interface Epochs {
  readonly epoch: number
  readonly newestSnapshot: number
}

/** A value as it was: `bytes` are the old row's own. */
export interface Past {
  readonly key: Key
  readonly birth: number
  readonly death: number
  readonly bytes: Uint8Array
  /** The history row, whose `decoded` may cache what the old bytes say. */
  readonly row: KeyedRow['row']
}

const be64 = (value: number): string => {
  const high = Math.floor(value / 4294967296)
  const low = value >>> 0
  return String.fromCharCode(
    (high >>> 24) & 255, (high >>> 16) & 255, (high >>> 8) & 255, high & 255,
    low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255
  )
}

export const birthOf = (bytes: Uint8Array): number => get64(viewOf(bytes), 1)

export const historyKey = (key: Key, birth: number): Key => HISTORY_KIND + key + be64(birth)

export function encodePast(birth: number, death: number, bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + bytes.length)
  const v = viewOf(out)
  out[0] = HISTORY_VERSION
  set64(v, 1, birth)
  set64(v, 9, death)
  out.set(bytes, HEADER_BYTES)
  return out
}

export function decodePast({ key, row }: KeyedRow): Past {
  if (row.bytes.length < HEADER_BYTES || row.bytes[0] !== HISTORY_VERSION) throw new PosixError('EIO', `a row of history is damaged: ${Buffer.from(key, 'latin1').toString('hex')}`)
  const v = viewOf(row.bytes)
  return {
    key: key.slice(1, key.length - BIRTH_CHARS),
    birth: get64(v, 1),
    death: get64(v, 9),
    bytes: row.bytes.subarray(HEADER_BYTES),
    row
  }
}

/** In a body that replaces or deletes a value: keeps the old one if a snapshot shows it. */
export function retire(tx: Tx, key: Key, birth: number, bytes: Uint8Array, { epoch, newestSnapshot }: Epochs): void {
  if (birth <= newestSnapshot) tx.put(historyKey(key, birth), encodePast(birth, epoch, bytes))
}

/** What a key's row was at a view, when its current value is younger or absent. */
export function pastAt(r: Reader, key: Key, view: number): MaybePromise<Past | undefined> {
  const from = HISTORY_KIND + key + '\u0000'
  const to = historyKey(key, view + 1)
  const rows = r.scan({ from, to, limit: 1, reverse: true })
  return rows instanceof Promise ? rows.then((found) => shownAt(found, view)) : shownAt(rows, view)
}

const shownAt = (rows: readonly KeyedRow[], view: number): Past | undefined => {
  if (rows.length === 0) return undefined
  const past = decodePast(rows[0])
  return past.death > view ? past : undefined
}
