/**
 * A row as LMDB holds it: kind u8 (1 value, 2 counters, 3 bits), then the value, the slots (i64 each, little-endian), or the bitmap;
 * then a checksum u32: the CRC-32 of what is before it, seeded with the hash of the key, so that a row under another key is none.
 *   - An entry made of stored bytes has bytes of its own, cut from a shared piece of memory: creating one costs no allocation
 *     outside the heap. Who keeps entries for long gives them memory that nothing else keeps alive (ownBytes).
 */
import { crc32 } from '../../sys/index.js'
import { EngineError } from '../errors.js'
import type { Key } from '../engine.js'
import { BITS, COUNTERS, countersEntry, entryOf, slotsOf, VALUE } from '../rows.js'
import type { Entry } from '../rows.js'

export const CHECKSUM_BYTES = 4

/** FNV-1a with a last stir: 32 bits, signed. Part of the format: it seeds a row's checksum. */
export function hashOfKey(key: Key): number {
  let h = 0x811c9dc5 | 0
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return h ^ (h >>> 13)
}

/** The same of a key's bytes. */
export function hashOfBytes(bytes: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5 | 0
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i], 0x01000193)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return h ^ (h >>> 13)
}

/** Puts the checksum behind stored bytes. */
export function seal(bytes: Buffer, start: number, end: number, hash: number): void {
  const sum = crc32(bytes, start, end, hash >>> 0)
  bytes[end] = sum
  bytes[end + 1] = sum >>> 8
  bytes[end + 2] = sum >>> 16
  bytes[end + 3] = sum >>> 24
}

/** Parts of a value, put together with their checksum. */
export function sealed(key: Key, parts: readonly Uint8Array[]): Buffer {
  const bytes = Buffer.concat([...parts, new Uint8Array(CHECKSUM_BYTES)])
  seal(bytes, 0, bytes.length - CHECKSUM_BYTES, hashOfKey(key))
  return bytes
}

/** Whether sealed bytes, checksum and all, are what was stored under this key. */
export function isSealed(bytes: Buffer, length: number, hash: number): boolean {
  const end = length - CHECKSUM_BYTES
  return end > 0 && (bytes[end] | (bytes[end + 1] << 8) | (bytes[end + 2] << 16) | (bytes[end + 3] << 24)) === (crc32(bytes, 0, end, hash >>> 0) | 0)
}

const PIECE_BYTES = 32 * 1024
const CUT_BYTES_MAX = 2048 // more gets memory of its own

let piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
let used = 0

/** A copy, for a short life. */
export function cut(from: Buffer, start: number, end: number): Uint8Array {
  const length = end - start
  if (length > CUT_BYTES_MAX) {
    const own = Buffer.allocUnsafeSlow(length)
    from.copy(own, 0, start, end)
    return own
  }
  if (used + length > PIECE_BYTES) {
    piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
    used = 0
  }
  from.copy(piece, used, start, end)
  const bytes = piece.subarray(used, used + length)
  used += (length + 7) & ~7
  return bytes
}

/** The entry with bytes that keep no other memory alive. */
export function ownBytes(entry: Entry): Entry {
  const { kind, seq, bytes } = entry
  if (bytes.buffer.byteLength <= bytes.length + 64) return entry
  const own = new Uint8Array(bytes.length)
  own.set(bytes)
  return entryOf(kind, seq, own, entry.decoded)
}

const LOW = 4294967296

/** Slots are read and written bytewise: a DataView per row would be garbage. */
function slotsFrom(from: Buffer, start: number, end: number): number[] {
  const slots: number[] = []
  for (let at = start; at + 8 <= end; at += 8) slots.push(from.readInt32LE(at + 4) * LOW + from.readUInt32LE(at))
  return slots
}

/** The entry of stored bytes, which stay the caller's. */
export function entryFrom(from: Buffer, start: number, end: number, seq: number): Entry {
  const kind = from[start]
  if (kind === VALUE || kind === BITS) return entryOf(kind, seq, cut(from, start + 1, end), undefined)
  if (kind === COUNTERS) return countersEntry(seq, slotsFrom(from, start + 1, end))
  throw new EngineError('ENGINE_ROWS_DAMAGED', `A row has the unknown kind ${kind}: run ogee fsck on the pool.`)
}

export const storedBytes = (entry: Entry): number => 1 + (entry.kind === COUNTERS ? 8 * slotsOf(entry).length : entry.bytes.length)

export function writeStored(entry: Entry, into: Buffer, at: number): void {
  into[at] = entry.kind
  if (entry.kind !== COUNTERS) {
    into.set(entry.bytes, at + 1)
    return
  }
  for (const slot of slotsOf(entry)) {
    into.writeInt32LE(slot | 0, at + 1)
    into.writeInt32LE(Math.floor(slot / LOW), at + 5)
    at += 8
  }
}
