/**
 * How many extents hold units that several may: rows 'Z', each a range of the store and a count.
 *   - The ranges lie apart, and cover exactly the units of extents that are marked as shared, current ones and those in history.
 *   - An extent that is cut, merged, retired or brought back counts as before. Only one that goes for good counts one less; at 0 the
 *     units are free, with the same transaction. At 1 the last holder keeps its mark: it writes elsewhere, once.
 *   - A row is read before it is changed, and so validated: of two that go at once one finds the other's count.
 * Value: version u8, birth u64 (0), 9 length u32, 13 count u32. Costs a look-up for each range of units that are shared alike.
 */
import { PosixError, set64, viewOf } from '../sys/index.js'
import type { Key, KeyedRow, MaybePromise, Row, Tx } from '../engine/index.js'
import type { Piece } from '../store/index.js'

export const SHARES_KIND = 'Z'
const VERSION = 1
const VALUE_BYTES = 17
const TWO_32 = 4294967296

/** Units in the store that `count` extents hold. */
export interface Share {
  readonly start: number
  readonly len: number
  readonly count: number
}

/** What a transaction does to counts. */
export interface ShareChanges {
  /** Of one extent so far, which is marked from now on. */
  readonly marked: readonly Piece[]
  /** One extent more. */
  readonly joined: readonly Piece[]
  /** One extent less. */
  readonly dropped: readonly Piece[]
}

const scratch = Buffer.alloc(9)
export function shareKey(start: number): Key {
  scratch[0] = SHARES_KIND.charCodeAt(0)
  scratch.writeUInt32BE(Math.floor(start / TWO_32), 1)
  scratch.writeUInt32BE(start >>> 0, 5)
  return scratch.latin1Slice(0, 9)
}

export function encodeShare({ len, count }: Share): Uint8Array {
  const bytes = new Uint8Array(VALUE_BYTES)
  const v = viewOf(bytes)
  bytes[0] = VERSION
  set64(v, 1, 0)
  v.setUint32(9, len, true)
  v.setUint32(13, count, true)
  return bytes
}

/** Units are to be shared that nobody counts: their last holder is gone, or a row is lost. */
export class Uncounted extends PosixError {
  constructor(start = 0) {
    super('EIO', `the count of shared units at ${start} is damaged: unmount the pool and run ogee fsck --repair`)
  }
}

export function decodeShare(key: Key, { bytes }: Row): Share {
  const start = Buffer.from(key, 'latin1')
  if (start.length !== 9 || bytes.length !== VALUE_BYTES || bytes[0] !== VERSION) throw new PosixError('EIO', `a count of shared units is damaged: ${start.toString('hex')}`)
  const v = viewOf(bytes)
  return { start: start.readUInt32BE(1) * TWO_32 + start.readUInt32BE(5), len: v.getUint32(9, true), count: v.getUint32(13, true) }
}

/** In a transaction body. Answers the units that nobody holds any more: they are to be freed in the same transaction. */
export async function countShares(tx: Tx, { marked, joined, dropped }: ShareChanges): Promise<Piece[]> {
  const free: Piece[] = []
  for (const { startBytes: start, lengthBytes: len } of marked) tx.put(shareKey(start), encodeShare({ start, len, count: 1 }))
  for (const piece of joined) await change(tx, piece, 1, free)
  for (const piece of dropped) await change(tx, piece, -1, free)
  return free
}

async function change(tx: Tx, { startBytes, lengthBytes }: Piece, by: 1 | -1, free: Piece[]): Promise<void> {
  const end = startBytes + lengthBytes
  const put = (start: number, upto: number, count: number): void => {
    if (upto > start) tx.put(shareKey(start), encodeShare({ start, len: upto - start, count }))
  }
  let share = await shareAround(tx, startBytes)
  for (let pos = startBytes; ;) {
    const behind = share.start + share.len
    const upto = Math.min(end, behind)
    const count = share.count + by
    put(share.start, pos, share.count)
    put(upto, behind, share.count)
    if (count > 0) put(pos, upto, count)
    else {
      if (share.start === pos) tx.delete(shareKey(pos))
      free.push({ startBytes: pos, lengthBytes: upto - pos })
    }
    if (upto === end) return
    pos = upto
    share = await shareFrom(tx, pos) ?? lost(pos)
  }
}

function lost(start: number): never {
  throw new Uncounted(start)
}

const shareFrom = (tx: Tx, start: number): MaybePromise<Share | undefined> => {
  const row = tx.get(shareKey(start))
  const decode = (found: Row | undefined): Share | undefined => (found === undefined ? undefined : decodeShare(shareKey(start), found))
  return row instanceof Promise ? row.then(decode) : decode(row)
}

/** The row that a unit lies in. */
async function shareAround(tx: Tx, start: number): Promise<Share> {
  const exact = await shareFrom(tx, start)
  if (exact !== undefined) return exact
  for (;;) {
    const found: readonly KeyedRow[] = await tx.scan({ from: SHARES_KIND, to: shareKey(start), limit: 1, reverse: true })
    if (found.length === 0) throw new Uncounted(start)
    const scanned = decodeShare(found[0].key, found[0].row)
    const share = await shareFrom(tx, scanned.start) // scans are not validated, this is
    if (share === undefined || share.len !== scanned.len) continue // it changed in between
    if (share.start + share.len <= start) throw new Uncounted(start)
    return share
  }
}
