/**
 * Tells a damaged log from a torn one. Replay ends at the first record that cannot be believed. Behind a torn tail nothing was
 * durable; behind a damaged record something was, and somebody says so:
 *   - a later record (known by its stamp: its crc fits only behind the one before it), of what was durable when it was made;
 *   - the mark page, of what was durable when the log came to rest; the session's row, of what was when the pool was closed or opened;
 *   - while the machine has not rebooted, any later record of the same session: they were written in order, to the page cache.
 * Records that a power cut left behind a gap name no durable record behind it: none was. So they never accuse a sound log, whatever
 * is written over the gap later. A repair that cuts the log takes away all that would.
 */
import { get64, viewOf } from '../../sys/index.js'
import { EngineError } from '../errors.js'
import { RECORD_HEADER_BYTES, RECORD_MAGIC, stampOf } from './format.js'
import type { LogHeader } from './format.js'
import { pwriteAll } from './io.js'
import type { LogIo } from './io.js'
import { placesOf, readMark, readRing, writeMark } from './log.js'
import type { LogPoint } from './log.js'

const WINDOW_BYTES = 1024 * 1024

export interface Behind {
  /** Records of the last session behind the one where replay ends: that one may be torn by the daemon's death. */
  readonly records: number
  /** The newest sequence of which anything is known. */
  readonly lastSeq: number
  /** What was durable, if that is more than can be replayed. */
  readonly durableSeq: number
}

export interface LogWitness {
  readonly session: number
  /** What the session's row says. */
  readonly durable: number
}

/** What lies in the ring behind the end of the replay that began at `from`. */
export function lookBehind(io: LogIo, fd: number, header: LogHeader, from: LogPoint, end: LogPoint, witness: LogWitness): Behind {
  let durableSeq = Math.max(witness.durable, readMark(io, fd, header))
  let lastSeq = Math.max(end.seq, durableSeq)
  let records = 0
  const magic = Buffer.alloc(4)
  magic.writeUInt32LE(RECORD_MAGIC)
  const window = Buffer.alloc(WINDOW_BYTES + RECORD_HEADER_BYTES)
  const v = viewOf(window)
  const limit = from.address + header.ringBytes
  for (let at = end.address; at < limit; at += WINDOW_BYTES) {
    const length = Math.min(window.length, limit - at)
    readRing(io, fd, header, at, window, length)
    for (let i = window.indexOf(magic); i >= 0 && i < WINDOW_BYTES && i + RECORD_HEADER_BYTES <= length; i = window.indexOf(magic, i + 1)) {
      const seq = get64(v, i + 16)
      if (seq <= end.seq || v.getUint32(i + 40, true) !== stampOf(v, i, header.salt, at + i)) continue
      const durable = get64(v, i + 32)
      const isOfSession = v.getUint32(i + 12, true) === witness.session
      if (isOfSession && seq > end.seq + 1) records++
      if (isOfSession || durable > end.seq) lastSeq = Math.max(lastSeq, seq)
      durableSeq = Math.max(durableSeq, durable)
    }
  }
  return { records, lastSeq, durableSeq }
}

export const isDamage = (end: LogPoint, { durableSeq, records }: Behind, sameBoot: boolean): boolean => durableSeq > end.seq || (sameBoot && records > 0)

/** What is wrong, without what to do; it goes on in a sentence. */
export const damageText = (end: LogPoint, { durableSeq, lastSeq }: Behind): string =>
  `the log is damaged: change ${end.seq + 1} cannot be read, and ${lastSeq - end.seq} changes from there on, ${Math.max(0, durableSeq - end.seq)} of them known as synced, cannot be reached`

export const damagedLog = (end: LogPoint, behind: Behind): EngineError =>
  new EngineError('ENGINE_LOG_DAMAGED', `T${damageText(end, behind).slice(1)}: run ogee fsck on the pool.`)

/** From here on the log says that it ends there. The caller syncs it. */
export function cutLog(io: LogIo, fd: number, header: LogHeader, from: LogPoint, end: LogPoint): number {
  const zeros = Buffer.alloc(WINDOW_BYTES)
  let rc = writeMark(io, fd, header, end.seq)
  for (const { offset, length } of placesOf(header, end.address, from.address + header.ringBytes - end.address)) {
    for (let at = 0; rc >= 0 && at < length; at += WINDOW_BYTES) rc = pwriteAll(io, fd, zeros, 0, Math.min(WINDOW_BYTES, length - at), offset + at)
  }
  return rc
}
