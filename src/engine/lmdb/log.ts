/**
 * The log: a preallocated ring of records, written over zeros so that fdatasync never waits for metadata of the host.
 *   - append encodes into a buffer; write brings all that was appended to the page cache, in one call (two at the ring's end).
 *   - Writes are whole pages from the page of the first new byte on (what that page held before is written again, the same
 *     bytes), padded with zeros: no write ever needs a read.
 *   - Addresses grow for ever; [head, tail) is what replay needs. Nothing of it is ever overwritten.
 *   - A record is believed only if its sequence follows and its crc, seeded with the crc before it, is right.
 *   - It says what was durable when it was made, and the mark page says so when no record follows: see damage.ts.
 */
import { crc32, get64, viewOf } from '../../sys/index.js'
import { EngineError } from '../errors.js'
import type { TxRun } from '../transaction.js'
import { decodeHeader, decodeMark, decodeRecord, encodeHeader, encodeMark, encodeRecord, MARK_AT, PAGE_BYTES, RECORD_HEADER_BYTES, RECORD_MAGIC, recordBytesBound, RING_AT, sealRecord } from './format.js'
import type { LogHeader, ReplaySink } from './format.js'
import { preadAll, pwriteAll } from './io.js'
import type { LogIo } from './io.js'

/** A place between two records, and what the next one must fit to. */
export interface LogPoint {
  readonly address: number
  readonly seq: number
  readonly chain: number
}

export interface Log {
  readonly header: LogHeader
  /** Of commits that are appended, written or not. */
  point(): LogPoint
  usedBytes(): number
  /** Whether a record of that size fits and leaves `spareBytes`. */
  fits(bytes: number, spareBytes: number): boolean
  /** Appends the record of a decided transaction; answers its sequence. Room was asked for. `durableSeq` is durable already. */
  append(tx: TxRun, session: number, durableSeq: number, firstEvent: number, requestId: string | undefined, result: Uint8Array | undefined): number
  /** Bytes appended and not written. */
  pendingBytes(): number
  /** 0, or a negative errno: then nothing can be said about what the file holds. */
  write(): number
  fdatasync(): Promise<number>
  fdatasyncNow(): number
  /** Says beside the ring that so much is durable: 0, or a negative errno. It is itself durable with the next fdatasync. */
  mark(durableSeq: number): number
  /** What lies before is in LMDB, durably: its room is free. */
  freeUpTo(address: number): void
  close(): void
}

export interface Replayed {
  readonly end: LogPoint
  readonly records: number
  readonly bytes: number
}

const BUFFER_BYTES = 256 * 1024 // grows for larger transactions, and is given back after them
const WINDOW_BYTES = 1024 * 1024
const ZEROS_BYTES = 1024 * 1024

/** Makes the file's bytes, durably: header and zeros. The file exists and is empty. */
export async function formatLog(io: LogIo, fd: number, path: string, header: LogHeader): Promise<void> {
  const size = RING_AT + header.ringBytes
  const must = (rc: number, what: string): void => {
    if (rc < 0) throw new EngineError('ENGINE_IO', `${what} of ${path} failed (errno ${-rc}): free ${Math.ceil(size / 1048576)} MiB on that disk, or check it.`)
  }
  must(io.fallocate(fd, 0, size), 'Allocating the space')
  const zeros = Buffer.alloc(ZEROS_BYTES)
  for (let at = 0; at < size; at += ZEROS_BYTES) must(pwriteAll(io, fd, zeros, 0, Math.min(ZEROS_BYTES, size - at), at), 'Writing the zeros')
  must(pwriteAll(io, fd, encodeHeader(header), 0, PAGE_BYTES, 0), 'Writing the header')
  must(await io.fdatasync(fd), 'Syncing')
}

export function readHeader(io: LogIo, fd: number, path: string): LogHeader {
  const page = Buffer.alloc(PAGE_BYTES)
  const rc = preadAll(io, fd, page, 0, PAGE_BYTES, 0)
  if (rc < 0) throw new EngineError('ENGINE_LOG_DAMAGED', `The header of ${path} cannot be read (errno ${-rc}): check the disk, then run ogee fsck on the pool.`)
  return decodeHeader(page, path)
}

/** The newest sequence that is durable by the mark, 0 if it cannot be read. */
export function readMark(io: LogIo, fd: number, header: LogHeader): number {
  const page = Buffer.alloc(PAGE_BYTES)
  return preadAll(io, fd, page, 0, PAGE_BYTES, MARK_AT) < 0 ? 0 : decodeMark(header, page)
}

export const writeMark = (io: LogIo, fd: number, header: LogHeader, durableSeq: number): number =>
  pwriteAll(io, fd, encodeMark(header, durableSeq), 0, PAGE_BYTES, MARK_AT)

const placeOf = (header: LogHeader, address: number): number => RING_AT + (address % header.ringBytes)

/** Where so many ring bytes are in the file: over the ring's end in two pieces. */
export function placesOf(header: LogHeader, address: number, length: number): { readonly offset: number; readonly length: number }[] {
  const first = Math.min(length, header.ringBytes - (address % header.ringBytes))
  return [{ offset: placeOf(header, address), length: first }, { offset: RING_AT, length: length - first }]
}

/** Reads ring bytes, over its end too. */
export function readRing(io: LogIo, fd: number, header: LogHeader, address: number, into: Buffer, length: number): void {
  const [first, second] = placesOf(header, address, length)
  let rc = preadAll(io, fd, into, 0, first.length, first.offset)
  if (rc === 0) rc = preadAll(io, fd, into, first.length, second.length, second.offset)
  if (rc < 0) throw new EngineError('ENGINE_LOG_DAMAGED', `The log cannot be read (errno ${-rc}): check the disk, then run ogee fsck on the pool.`)
}

/** The header of what lies at an address, to tell later whether it is still the same. */
export function recordAt(io: LogIo, fd: number, header: LogHeader, address: number): string {
  const head = Buffer.alloc(RECORD_HEADER_BYTES)
  readRing(io, fd, header, address, head, RECORD_HEADER_BYTES)
  return head.latin1Slice()
}

/** Goes through the records from `from` on, as far as they can be believed. */
export function replayLog(io: LogIo, fd: number, header: LogHeader, from: LogPoint, sink: ReplaySink): Replayed {
  const { ringBytes } = header
  const window = Buffer.alloc(Math.min(WINDOW_BYTES, ringBytes))
  const view = viewOf(window)
  let windowAt = 0
  let windowBytes = 0
  let { address, seq, chain } = from
  let records = 0
  /** Where so many bytes from an address on begin in the window. */
  const inWindow = (at: number, length: number): number => {
    if (at < windowAt || at + length > windowAt + windowBytes) {
      windowAt = at
      windowBytes = window.length
      readRing(io, fd, header, at, window, windowBytes)
    }
    return at - windowAt
  }
  const recordOf = (at: number, length: number): Buffer => {
    if (length > window.length) {
      const large = Buffer.alloc(length)
      readRing(io, fd, header, at, large, length)
      return large
    }
    const start = inWindow(at, length)
    return window.subarray(start, start + length)
  }
  while (address - from.address + RECORD_HEADER_BYTES <= ringBytes) {
    const at = inWindow(address, RECORD_HEADER_BYTES)
    const length = view.getUint32(at + 4, true)
    if (view.getUint32(at, true) !== RECORD_MAGIC || get64(view, at + 16) !== seq + 1) break
    if (length < RECORD_HEADER_BYTES || address - from.address + length > ringBytes) break
    const crc = view.getUint32(at + 8, true)
    const record = recordOf(address, length)
    if (crc32(record, 12, length, chain) !== crc) break
    decodeRecord(record, sink)
    chain = crc
    seq++
    records++
    address += length
  }
  return { end: { address, seq, chain }, records, bytes: address - from.address }
}

export function makeLog(io: LogIo, fd: number, header: LogHeader, start: LogPoint, headAddress: number): Log {
  const { ringBytes } = header
  let { address: tail, seq, chain } = start
  let head = headAddress
  let buf = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  let view = viewOf(buf)
  let base = tail - (tail % PAGE_BYTES) // address of buf[0]
  let pending = 0
  if (tail > base) readRing(io, fd, header, base, buf, tail - base)

  function grow(bytes: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(buf.length * 2, bytes))
    buf.copy(larger, 0, 0, tail - base)
    buf = larger
    view = viewOf(buf)
  }

  return {
    header,
    point: () => ({ address: tail, seq, chain }),
    usedBytes: () => tail - head,
    fits: (bytes, spareBytes) => tail - head + bytes + spareBytes + 2 * PAGE_BYTES <= ringBytes,
    append(tx, session, durableSeq, firstEvent, requestId, result) {
      const at = tail - base
      const bound = at + recordBytesBound(tx, requestId, result) + PAGE_BYTES // and the padding
      if (bound > buf.length) grow(bound)
      const end = encodeRecord(buf, view, at, tx, session, seq + 1, durableSeq, firstEvent, requestId, result)
      chain = sealRecord(buf, view, at, end, chain, header.salt, tail)
      tail += end - at
      pending += end - at
      return ++seq
    },
    pendingBytes: () => pending,
    write() {
      if (pending === 0) return 0
      const used = tail - base
      const length = used + PAGE_BYTES - 1 - ((used + PAGE_BYTES - 1) % PAGE_BYTES)
      buf.fill(0, used, length)
      const first = Math.min(length, ringBytes - (base % ringBytes))
      let rc = pwriteAll(io, fd, buf, 0, first, placeOf(header, base))
      if (rc === 0 && first < length) rc = pwriteAll(io, fd, buf, first, length - first, RING_AT)
      if (rc < 0) return rc
      pending = 0
      const whole = used - (used % PAGE_BYTES)
      if (whole > 0) {
        if (buf.length > 4 * BUFFER_BYTES) {
          const smaller = Buffer.allocUnsafeSlow(BUFFER_BYTES)
          buf.copy(smaller, 0, whole, used)
          buf = smaller
          view = viewOf(buf)
        } else buf.copyWithin(0, whole, used)
        base += whole
      }
      return 0
    },
    fdatasync: () => io.fdatasync(fd),
    fdatasyncNow: () => io.fdatasyncNow(fd),
    mark: (durableSeq) => writeMark(io, fd, header, durableSeq),
    freeUpTo(address) {
      head = address
    },
    close: () => void io.close(fd)
  }
}
