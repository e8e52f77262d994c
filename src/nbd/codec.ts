/**
 * Headers of the transmission phase, by hand. Cookies are opaque: two halves, copied. Offsets and lengths are numbers; what is above
 * 2^53 rounds and stays too large for any volume.
 */
import { ALLOCATION_ID, CHUNK, CHUNK_BYTES, CHUNK_MAGIC, EXTENDED_REPLY_BYTES, EXTENDED_REPLY_MAGIC, EXTENDED_REQUEST_MAGIC, REPLY_DONE, REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES, SIMPLE_REPLY_MAGIC } from './protocol.js'

const TWO_32 = 4294967296

export const getU64 = (v: DataView, at: number): number => v.getUint32(at) * TWO_32 + v.getUint32(at + 4)
export function setU64(v: DataView, at: number, value: number): void {
  v.setUint32(at, Math.floor(value / TWO_32))
  v.setUint32(at + 4, value) // takes it modulo 2^32
}

/** One request, as it came. One object serves all requests of a connection: who needs more than the moment takes a copy. */
export interface Request {
  flags: number
  type: number
  cookieHigh: number
  cookieLow: number
  offset: number
  length: number
}

export const blankRequest = (): Request => ({ flags: 0, type: 0, cookieHigh: 0, cookieLow: 0, offset: 0, length: 0 })

/** False: that is no request. */
export function readRequest(v: DataView, at: number, isExtended: boolean, into: Request): boolean {
  if (v.getUint32(at) !== (isExtended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC)) return false
  into.flags = v.getUint16(at + 4)
  into.type = v.getUint16(at + 6)
  into.cookieHigh = v.getInt32(at + 8)
  into.cookieLow = v.getInt32(at + 12)
  into.offset = getU64(v, at + 16)
  into.length = isExtended ? getU64(v, at + 24) : v.getUint32(at + 24)
  return true
}

/** How replies of a connection begin, as was negotiated. */
export type ReplyForm = 'simple' | 'structured' | 'extended'

/** Bytes before a read's data: the header, and the offset that structured replies repeat. */
export const readHeaderBytes = (form: ReplyForm): number => (form === 'simple' ? SIMPLE_REPLY_BYTES : form === 'structured' ? CHUNK_BYTES + 8 : EXTENDED_REPLY_BYTES + 8)

export function writeSimple(v: DataView, at: number, r: Request, error: number): number {
  v.setUint32(at, SIMPLE_REPLY_MAGIC)
  v.setUint32(at + 4, error)
  v.setInt32(at + 8, r.cookieHigh)
  v.setInt32(at + 12, r.cookieLow)
  return SIMPLE_REPLY_BYTES
}

/** The header of a reply's last (and only) chunk; the bytes that it takes. */
export function writeChunk(v: DataView, at: number, r: Request, form: ReplyForm, type: number, payloadBytes: number): number {
  v.setUint32(at, form === 'extended' ? EXTENDED_REPLY_MAGIC : CHUNK_MAGIC)
  v.setUint16(at + 4, REPLY_DONE)
  v.setUint16(at + 6, type)
  v.setInt32(at + 8, r.cookieHigh)
  v.setInt32(at + 12, r.cookieLow)
  if (form === 'extended') {
    setU64(v, at + 16, r.offset)
    setU64(v, at + 24, payloadBytes)
    return EXTENDED_REPLY_BYTES
  }
  v.setUint32(at + 16, payloadBytes)
  return CHUNK_BYTES
}

/** Everything before a read's data. */
export function writeReadHeader(v: DataView, at: number, r: Request, form: ReplyForm): number {
  if (form === 'simple') return writeSimple(v, at, r, 0)
  const header = writeChunk(v, at, r, form, CHUNK.OFFSET_DATA, 8 + r.length)
  setU64(v, at + header, r.offset)
  return header + 8
}

/** A whole reply: it went well, and there is nothing to tell. */
export const writeDone = (v: DataView, at: number, r: Request, form: ReplyForm): number =>
  form === 'extended' ? writeChunk(v, at, r, form, CHUNK.NONE, 0) : writeSimple(v, at, r, 0)

export function writeHole(v: DataView, at: number, r: Request, form: ReplyForm): number {
  const header = writeChunk(v, at, r, form, CHUNK.OFFSET_HOLE, 12)
  setU64(v, at + header, r.offset)
  v.setUint32(at + header + 8, r.length)
  return header + 12
}

/** The longest reply of an error, in bytes. */
export const ERROR_MAX_BYTES = EXTENDED_REPLY_BYTES + 6 + 512

export function writeError(v: DataView, at: number, r: Request, form: ReplyForm, error: number, sentence: string): number {
  if (form === 'simple') return writeSimple(v, at, r, error)
  const text = Buffer.from(sentence, 'utf8').subarray(0, 512)
  const header = writeChunk(v, at, r, form, CHUNK.ERROR, 6 + text.length)
  v.setUint32(at + header, error)
  v.setUint16(at + header + 4, text.length)
  new Uint8Array(v.buffer, v.byteOffset + at + header + 6, text.length).set(text)
  return header + 6 + text.length
}

/** base:allocation of ranges that follow each other: lengths and states in turn. */
export const statusBytes = (form: ReplyForm, ranges: number): number => (form === 'extended' ? EXTENDED_REPLY_BYTES + 8 + 16 * ranges : CHUNK_BYTES + 4 + 8 * ranges)

export function writeStatus(v: DataView, at: number, r: Request, form: ReplyForm, ranges: readonly { lengthBytes: number, state: number }[]): number {
  if (form === 'extended') {
    let pos = at + writeChunk(v, at, r, form, CHUNK.BLOCK_STATUS_EXT, 8 + 16 * ranges.length)
    v.setUint32(pos, ALLOCATION_ID)
    v.setUint32(pos + 4, ranges.length)
    pos += 8
    for (const { lengthBytes, state } of ranges) {
      setU64(v, pos, lengthBytes)
      setU64(v, pos + 8, state)
      pos += 16
    }
    return pos - at
  }
  let pos = at + writeChunk(v, at, r, form, CHUNK.BLOCK_STATUS, 4 + 8 * ranges.length)
  v.setUint32(pos, ALLOCATION_ID)
  pos += 4
  for (const { lengthBytes, state } of ranges) {
    v.setUint32(pos, lengthBytes)
    v.setUint32(pos + 4, state)
    pos += 8
  }
  return pos - at
}
