/**
 * Keys and values of a file's bytes. Every byte is described in docs/format.md, section "Data".
 *   'E' ino u64 BE, offset u64 BE   an extent: units of the store, synced before this row committed
 *   'P' ino u64 BE, offset u64 BE   pending bytes, over the extents: logged (the bytes are here) or tentative (in the store, not
 *                                   yet synced). Pending ranges of a file never overlap
 *   'T' ino u64 BE                  the file has tentative ranges, or a size that its durable bytes do not cover
 * Values begin with version u8 and birth u64 (history.ts). What follows:
 *   E   9 flags u8 (1: unwritten, reads as zeros; 2: a hole, no units, start 0; 4: shared, its units are counted)   10 start u64   18 length u32
 *   P   9 kind u8. LOGGED: 10 the bytes. TENTATIVE and BORROWED: 10 start u64, 18 length u32. The units of a borrowed range belong
 *       to the unwritten extent under it
 */
import { copyBytes, get64, PosixError, set64, viewOf } from '../sys/index.js'
import type { Key, KeyedRow } from '../engine/index.js'
import type { Extent, ExtentKind, Pending } from './extents.js'

export const EXTENT_KIND = 'E'
export const PENDING_KIND = 'P'
export const TENTATIVE_KIND = 'T'

const VERSION = 1
const FIXED_BYTES = 22
export const LOGGED_HEADER_BYTES = 10
const UNWRITTEN = 1
const HOLE = 2
const SHARED = 4
const FLAGS: Readonly<Record<ExtentKind, number>> = { own: 0, shared: SHARED, hole: HOLE, lent: 0 }
const LOGGED = 1
const TENTATIVE = 2
const BORROWED = 3
const TWO_32 = 4294967296

const scratch = Buffer.alloc(17)
const be64At = (value: number, at: number): void => {
  scratch.writeUInt32BE(Math.floor(value / TWO_32), at)
  scratch.writeUInt32BE(value >>> 0, at + 4)
}
function rowKey(kind: string, ino: number, offset: number): Key {
  scratch[0] = kind.charCodeAt(0)
  be64At(ino, 1)
  be64At(offset, 9)
  return scratch.latin1Slice(0, 17)
}
export const extentKey = (ino: number, offset: number): Key => rowKey(EXTENT_KIND, ino, offset)
export const pendingKey = (ino: number, offset: number): Key => rowKey(PENDING_KIND, ino, offset)
export const tentativeKey = (ino: number): Key => rowKey(TENTATIVE_KIND, ino, 0).slice(0, 9)
/** The first key of the inode's rows of a kind; those of ino + 1 follow. */
export const rowsFrom = (kind: string, ino: number): Key => rowKey(kind, ino, 0).slice(0, 9)

const u64Of = (key: Key, at: number): number => {
  let n = 0
  for (let i = at; i < at + 8; i++) n = n * 256 + key.charCodeAt(i)
  return n
}
export const inoOf = (key: Key): number => u64Of(key, 1)
export const offsetOf = (key: Key): number => u64Of(key, 9)

export function encodeExtent(extent: Extent): Uint8Array {
  const bytes = new Uint8Array(FIXED_BYTES)
  const v = viewOf(bytes)
  bytes[0] = VERSION
  set64(v, 1, extent.birth)
  bytes[9] = extent.kind === 'hole' ? HOLE : FLAGS[extent.kind] | (extent.unwritten ? UNWRITTEN : 0)
  set64(v, 10, extent.start)
  v.setUint32(18, extent.len, true)
  return bytes
}

const PIECE_BYTES = 32 * 1024
const CUT_BYTES_MAX = 8 * 1024 // more gets memory of its own
let piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
let used = 0

/** Rows of small writes share memory: they come together, and within seconds their flush takes them. */
function cut(length: number): Uint8Array {
  if (length > CUT_BYTES_MAX) return Buffer.allocUnsafeSlow(length)
  if (used + length > PIECE_BYTES) {
    piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
    used = 0
  }
  const bytes = piece.subarray(used, used + length)
  used += (length + 7) & ~7
  return bytes
}

const header = new Uint8Array(LOGGED_HEADER_BYTES)
const headerView = viewOf(header)
header[0] = VERSION
header[9] = LOGGED

/** A logged row with room for `length` bytes from LOGGED_HEADER_BYTES on, every one of which is the caller's to write. */
export function newLoggedRow(birth: number, length: number): Uint8Array {
  const bytes = cut(LOGGED_HEADER_BYTES + length)
  set64(headerView, 1, birth)
  copyBytes(header, 0, LOGGED_HEADER_BYTES, bytes, 0)
  return bytes
}

export function encodePending(pending: Pending): Uint8Array {
  if (pending.bytes !== undefined) {
    const held = pending.bytes
    if (held.byteOffset >= LOGGED_HEADER_BYTES) { // whole row as it was made or read
      const row = new Uint8Array(held.buffer, held.byteOffset - LOGGED_HEADER_BYTES, held.length + LOGGED_HEADER_BYTES)
      if (row[0] === VERSION && row[9] === LOGGED && pending.wholeRow) return row
    }
    const bytes = newLoggedRow(pending.birth, held.length)
    bytes.set(held, LOGGED_HEADER_BYTES)
    return bytes
  }
  const bytes = new Uint8Array(FIXED_BYTES)
  const v = viewOf(bytes)
  bytes[0] = VERSION
  set64(v, 1, pending.birth)
  bytes[9] = pending.borrowed ? BORROWED : TENTATIVE
  set64(v, 10, pending.start)
  v.setUint32(18, pending.len, true)
  return bytes
}

export function encodeTentative(birth: number): Uint8Array {
  const bytes = new Uint8Array(9)
  bytes[0] = VERSION
  set64(viewOf(bytes), 1, birth)
  return bytes
}

const damaged = (key: Key): PosixError => new PosixError('EIO', `a row of a file's bytes is damaged: ${Buffer.from(key, 'latin1').toString('hex')}`)

export function decodeExtent(key: Key, bytes: Uint8Array): Extent {
  if (bytes.length !== FIXED_BYTES || bytes[0] !== VERSION) throw damaged(key)
  const v = viewOf(bytes)
  const flags = bytes[9]
  const kind = (flags & HOLE) !== 0 ? 'hole' : (flags & SHARED) !== 0 ? 'shared' : 'own'
  return { off: offsetOf(key), len: v.getUint32(18, true), start: get64(v, 10), birth: get64(v, 1), unwritten: (flags & (UNWRITTEN | HOLE)) !== 0, kind, bytes: undefined }
}

export function decodePending(key: Key, bytes: Uint8Array): Pending {
  if (bytes.length < LOGGED_HEADER_BYTES || bytes[0] !== VERSION) throw damaged(key)
  const v = viewOf(bytes)
  const off = offsetOf(key)
  const birth = get64(v, 1)
  if (bytes[9] === LOGGED) {
    const held = bytes.subarray(LOGGED_HEADER_BYTES)
    return { off, len: held.length, birth, bytes: held, wholeRow: true, start: -1, borrowed: false, stamp: 0 }
  }
  if (bytes.length !== FIXED_BYTES) throw damaged(key)
  return { off, len: v.getUint32(18, true), birth, bytes: undefined, wholeRow: false, start: get64(v, 10), borrowed: bytes[9] === BORROWED, stamp: 1 }
}

export const extentOfRow = ({ key, row }: KeyedRow): Extent => decodeExtent(key, row.bytes)
export const pendingOfRow = ({ key, row }: KeyedRow): Pending => decodePending(key, row.bytes)
