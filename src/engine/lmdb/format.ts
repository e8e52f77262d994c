/**
 * The bytes of the log (docs/format.md). All numbers little-endian.
 *
 * Header page (4,096 bytes, at offset 0 of the file):
 *   0 magic "OGEELOG\0"   8 version u32   12 crc32 of the page with this field 0   16 uuid of the pool's rows (16 bytes)
 *   32 salt u32           36 ring u32: bytes of the ring / 4,096                     rest 0
 * Mark page (4,096 bytes, at offset 4,096; written when the log has come to rest, synced with whatever is synced next):
 *   0 magic "OGEEMARK"    8 crc32 of what follows, seeded with the salt              16 seq u64: durable up to here   rest 0
 *
 * Record (in the ring, which follows; addresses count from 0 and never go back, address % ring is the place):
 *   0 magic u32           4 length u32, of the whole record                          8 crc32 of what follows, seeded with the
 *                                                                                      crc of the record before (first: salt)
 *   12 session u32        16 seq u64: the record's before + 1                        24 number of its first change event u48,
 *                                                                                      and how many events u16
 *   32 durable u64: the newest sequence that was durable when this record was made       40 stamp u32 of bytes 4-7 and 12-39, of
 *   then operations, each: code u8 and fields                                               salt and address: it stands alone
 *     1 put       key u16 + bytes, value u32 + bytes
 *     2 delete    key
 *     3 counters  key, slots u8, each i64: what they are afterwards, so that replay may repeat it
 *     4 bits      key, sizeBits u32, ranges u16, each: set u8, start u32, count u32; in order, the last change of a bit counts
 *     5 event     u32 + bytes
 *     6 answer    request id u8 + bytes, result u32 + bytes
 * A record counts only if its crc fits the record before it: a torn tail, and what earlier laps or sessions left, does not.
 * Behind a record that cannot be read its successors are known by their stamps: what they say of durable records tells a damaged
 * log from a torn one (damage.ts).
 */
import { crc32, get64, set64, viewOf } from '../../sys/index.js'
import type { Answer } from '../answers.js'
import { EngineError } from '../errors.js'
import type { Key } from '../engine.js'
import { COUNTERS, GONE, slotsOf, VALUE } from '../rows.js'
import type { TxRun } from '../transaction.js'

export const PAGE_BYTES = 4096
export const LOG_VERSION = 1
export const RECORD_MAGIC = 0x5243474f // "OGCR"
export const RECORD_HEADER_BYTES = 44
/** Header and mark come first. */
export const RING_AT = 2 * PAGE_BYTES
export const MARK_AT = PAGE_BYTES
const MARK_MAGIC = 'OGEEMARK'
const MAGIC = 'OGEELOG\u0000'

const PUT = 1
const DELETE = 2
const SLOTS = 3
const RANGES = 4
const EVENT = 5
const ANSWER = 6

export interface LogHeader {
  readonly uuid: string // 16 bytes as hex
  readonly salt: number
  readonly ringBytes: number
}

export function encodeHeader(header: LogHeader): Buffer {
  const page = Buffer.alloc(PAGE_BYTES)
  page.latin1Write(MAGIC, 0)
  page.writeUInt32LE(LOG_VERSION, 8)
  page.write(header.uuid, 16, 16, 'hex')
  page.writeUInt32LE(header.salt, 32)
  page.writeUInt32LE(header.ringBytes / PAGE_BYTES, 36)
  page.writeUInt32LE(crc32(page), 12)
  return page
}

export function decodeHeader(page: Buffer, path: string): LogHeader {
  if (page.latin1Slice(0, 8) !== MAGIC) throw new EngineError('ENGINE_LOG_FOREIGN', `${path} is not a log of Ogee: put the pool's own log back, or restore the pool from a backup.`)
  const version = page.readUInt32LE(8)
  if (version > LOG_VERSION) throw new EngineError('ENGINE_NEWER_FORMAT', `${path} has format ${version}, this Ogee knows up to ${LOG_VERSION}: install the version that wrote it, or a later one.`)
  const crc = page.readUInt32LE(12)
  const copy = Buffer.from(page)
  copy.writeUInt32LE(0, 12)
  if (version < 1 || crc32(copy) !== crc) throw new EngineError('ENGINE_LOG_DAMAGED', `The header of ${path} is damaged: run ogee fsck on the pool.`)
  return { uuid: page.toString('hex', 16, 32), salt: page.readUInt32LE(32), ringBytes: page.readUInt32LE(36) * PAGE_BYTES }
}

/** `seq` and everything before it is durable. */
export function encodeMark(header: LogHeader, seq: number): Buffer {
  const page = Buffer.alloc(PAGE_BYTES)
  page.latin1Write(MARK_MAGIC, 0)
  set64(viewOf(page), 16, seq)
  page.writeUInt32LE(crc32(page, 12, PAGE_BYTES, header.salt), 8)
  return page
}

/** What is durable by the mark; 0 if there is none that can be read: it may be torn at any time. */
export function decodeMark(header: LogHeader, page: Buffer): number {
  if (page.latin1Slice(0, 8) !== MARK_MAGIC || crc32(page, 12, PAGE_BYTES, header.salt) !== page.readUInt32LE(8)) return 0
  return get64(viewOf(page), 16)
}

/** Of a record's header, without the crc that only fits behind another record: words are mixed as FNV-1a mixes bytes. */
export function stampOf(v: DataView, start: number, salt: number, address: number): number {
  let h = Math.imul(0x811c9dc5 ^ salt, 0x01000193) ^ (address | 0)
  h = Math.imul(h, 0x01000193) ^ v.getInt32(start + 4, true)
  for (let at = start + 12; at < start + 40; at += 4) h = Math.imul(h ^ (h >>> 15), 0x01000193) ^ v.getInt32(at, true)
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return (h ^ (h >>> 13)) >>> 0
}

/** Not less than encodeRecord writes. */
export function recordBytesBound(tx: TxRun, requestId: string | undefined, result: Uint8Array | undefined): number {
  let bytes = RECORD_HEADER_BYTES
  const { outs, outKeys, outEntries, outBits, events } = tx
  for (let i = 0; i < outs; i++) {
    const entry = outEntries[i]
    bytes += 8 + outKeys[i].length + entry.bytes.length
    const bits = outBits[i]
    if (bits !== undefined) bytes += 8 + bits.ranges.length * 3
    else if (entry.kind === COUNTERS) bytes += 8 * slotsOf(entry).length
  }
  if (events !== undefined) for (const event of events) bytes += 5 + event.length
  if (requestId !== undefined && result !== undefined) bytes += 6 + requestId.length + result.length
  return bytes
}

const SHORT = 24 // below, a loop beats the call into C++

function writeKey(buf: Buffer, at: number, key: string): number {
  const length = key.length
  buf[at] = length & 255
  buf[at + 1] = length >> 8
  if (length > SHORT) buf.latin1Write(key, at + 2)
  else for (let i = 0; i < length; i++) buf[at + 2 + i] = key.charCodeAt(i)
  return at + 2 + length
}

function writeBytes(buf: Buffer, v: DataView, at: number, bytes: Uint8Array): number {
  v.setUint32(at, bytes.length, true)
  buf.set(bytes, at + 4)
  return at + 4 + bytes.length
}

/** Writes the record of a decided transaction at `start`; answers its end. Stamp and crc are sealRecord's. */
export function encodeRecord(
  buf: Buffer, v: DataView, start: number, tx: TxRun, session: number, seq: number, durableSeq: number, firstEvent: number,
  requestId: string | undefined, result: Uint8Array | undefined
): number {
  const { outs, outKeys, outEntries, outBits, events } = tx
  let at = start + RECORD_HEADER_BYTES
  for (let i = 0; i < outs; i++) {
    const entry = outEntries[i]
    const bits = outBits[i]
    if (bits !== undefined) {
      buf[at] = RANGES
      at = writeKey(buf, at + 1, outKeys[i])
      v.setUint32(at, bits.sizeBits, true)
      v.setUint16(at + 4, bits.ranges.length / 3, true)
      at += 6
      for (let j = 0; j < bits.ranges.length; j += 3) {
        buf[at] = bits.ranges[j]
        v.setUint32(at + 1, bits.ranges[j + 1], true)
        v.setUint32(at + 5, bits.ranges[j + 2], true)
        at += 9
      }
    } else if (entry.kind === GONE) {
      buf[at] = DELETE
      at = writeKey(buf, at + 1, outKeys[i])
    } else if (entry.kind === COUNTERS) {
      buf[at] = SLOTS
      at = writeKey(buf, at + 1, outKeys[i])
      const slots = slotsOf(entry)
      buf[at++] = slots.length
      for (let j = 0; j < slots.length; j++, at += 8) set64(v, at, slots[j])
    } else {
      buf[at] = PUT
      at = writeKey(buf, at + 1, outKeys[i])
      at = writeBytes(buf, v, at, entry.bytes)
    }
  }
  if (events !== undefined) {
    for (const event of events) {
      buf[at] = EVENT
      at = writeBytes(buf, v, at + 1, event)
    }
  }
  if (requestId !== undefined && result !== undefined) {
    buf[at] = ANSWER
    buf[at + 1] = requestId.length
    buf.latin1Write(requestId, at + 2)
    at = writeBytes(buf, v, at + 2 + requestId.length, result)
  }
  v.setUint32(start, RECORD_MAGIC, true)
  v.setUint32(start + 4, at - start, true)
  v.setUint32(start + 12, session, true)
  set64(v, start + 16, seq)
  set64(v, start + 24, firstEvent) // below 2^48: the two bytes above hold the count
  v.setUint16(start + 30, events === undefined ? 0 : events.length, true)
  set64(v, start + 32, durableSeq)
  return at
}

/** Fills in stamp and crc; answers the crc: the seed of the next record. */
export function sealRecord(buf: Buffer, v: DataView, start: number, end: number, chain: number, salt: number, address: number): number {
  v.setUint32(start + 40, stampOf(v, start, salt, address), true)
  const crc = crc32(buf, start + 12, end, chain)
  v.setUint32(start + 8, crc, true)
  return crc
}

/** What replay does with the operations of a record, in their order. Bytes lie in the record, which is the caller's. */
export interface ReplaySink {
  /** A value, or a counter row's slots (i64 each, as a row has them): record[at, end). The key: record[keyAt, keyEnd). */
  put(record: Buffer, keyAt: number, keyEnd: number, kind: typeof VALUE | typeof COUNTERS, at: number, end: number, seq: number): void
  remove(record: Buffer, keyAt: number, keyEnd: number, seq: number): void
  bits(key: Key, sizeBits: number, ranges: readonly number[], seq: number): void
  event(session: number, n: number, record: Buffer, at: number, end: number): void
  answer(answer: Answer): void
}

const u16At = (b: Buffer, at: number): number => b[at] | (b[at + 1] << 8)
const u32At = (b: Buffer, at: number): number => (b[at] | (b[at + 1] << 8) | (b[at + 2] << 16) | (b[at + 3] << 24)) >>> 0

/** The record's operations. Its crc was right, so a wrong form is a mistake of ours or a format that we do not know. */
export function decodeRecord(record: Buffer, sink: ReplaySink): void {
  const end = record.length
  const session = u32At(record, 12)
  const seq = u32At(record, 16) + u32At(record, 20) * 4294967296
  let eventNumber = u32At(record, 24) + u16At(record, 28) * 4294967296
  for (let at = RECORD_HEADER_BYTES; at < end; ) {
    const code = record[at++]
    if (code === EVENT) {
      const from = at + 4
      at = within(record, from + u32At(record, at), seq)
      sink.event(session, eventNumber++, record, from, at)
      continue
    }
    if (code === ANSWER) {
      const idEnd = within(record, at + 1 + record[at], seq)
      const from = idEnd + 4
      const requestId = record.latin1Slice(at + 1, idEnd)
      at = within(record, from + u32At(record, idEnd), seq)
      sink.answer({ session, requestId, result: Buffer.from(record.subarray(from, at)) })
      continue
    }
    const keyAt = at + 2
    const keyEnd = within(record, keyAt + u16At(record, at), seq)
    if (code === PUT) {
      at = within(record, keyEnd + 4 + u32At(record, keyEnd), seq)
      sink.put(record, keyAt, keyEnd, VALUE, keyEnd + 4, at, seq)
    } else if (code === DELETE) {
      at = keyEnd
      sink.remove(record, keyAt, keyEnd, seq)
    } else if (code === SLOTS) {
      at = within(record, keyEnd + 1 + 8 * (record[keyEnd] | 0), seq)
      sink.put(record, keyAt, keyEnd, COUNTERS, keyEnd + 1, at, seq)
    } else if (code === RANGES) {
      const from = keyEnd + 6
      at = within(record, from + 9 * u16At(record, keyEnd + 4), seq)
      const ranges: number[] = []
      for (let i = from; i < at; i += 9) ranges.push(record[i], u32At(record, i + 1), u32At(record, i + 5))
      sink.bits(record.latin1Slice(keyAt, keyEnd), u32At(record, keyEnd), ranges, seq)
    } else throw new EngineError('ENGINE_NEWER_FORMAT', `Record ${seq} of the log has an operation ${code} that this Ogee does not know: install a later version.`)
  }
}

/** An end that lies in the record. */
function within(record: Buffer, end: number, seq: number): number {
  if (!(end <= record.length)) throw new EngineError('ENGINE_LOG_DAMAGED', `Record ${seq} of the log has a wrong form: run ogee fsck on the pool.`)
  return end
}
