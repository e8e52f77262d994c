/**
 * A row as LMDB holds it: kind u8 (1 value, 2 counters, 3 bits), then the value, the slots (i64 each, little-endian), or the bitmap.
 *   - An entry made of stored bytes has bytes of its own, cut from a shared piece of memory: creating one costs no allocation
 *     outside the heap. Who keeps entries for long gives them memory that nothing else keeps alive (ownBytes).
 */
import { EngineError } from '../errors.js'
import { BITS, COUNTERS, countersEntry, entryOf, slotsOf, VALUE } from '../rows.js'
import type { Entry } from '../rows.js'

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
