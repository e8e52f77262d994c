/**
 * 64-bit fields as numbers, and names as byte strings. Little-endian, as on the wire of FUSE and in our formats.
 *   - get64 and set64 are exact from -2^53 to 2^53, two's complement. Beyond, get64 rounds: opaque tokens are copied as
 *     bytes or read as two halves, never through a number.
 *   - A byte string holds one byte per character (latin1): any name of any bytes, comparable, a Map key, no garbage but itself.
 */

declare global {
  interface Buffer { // node has them, its types do not; toString and write go through a look-up of the encoding first
    latin1Slice(start?: number, end?: number): string
    latin1Write(text: string, at?: number, length?: number): number
  }
}

const TWO_32 = 4294967296

/** Small values come out as small integers, which need no box wherever they are kept. */
export function get64(v: DataView, at: number): number {
  const high = v.getInt32(at + 4, true)
  return high === 0 ? v.getUint32(at, true) : high * TWO_32 + v.getUint32(at, true)
}

/** Unsigned: what is above 2^53 rounds, but stays large and positive (sizes and offsets that a hostile peer sends). */
export function getU64(v: DataView, at: number): number {
  const high = v.getUint32(at + 4, true)
  return high === 0 ? v.getUint32(at, true) : high * TWO_32 + v.getUint32(at, true)
}

export function set64(v: DataView, at: number, value: number): void {
  v.setUint32(at, value, true) // takes it modulo 2^32
  v.setInt32(at + 4, Math.floor(value / TWO_32), true)
}

/** The halves of an opaque 64-bit token. */
export const getLow32 = (v: DataView, at: number): number => v.getUint32(at, true)
export const getHigh32 = (v: DataView, at: number): number => v.getUint32(at + 4, true)

export function setHalves(v: DataView, at: number, low: number, high: number): void {
  v.setUint32(at, low, true)
  v.setUint32(at + 4, high, true)
}

export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const FEW_BYTES = 200 // below, a loop beats the call into C++

/** from[at, end) to `into` at `to`. */
export function copyBytes(from: Uint8Array, at: number, end: number, into: Uint8Array, to: number): void {
  if (end - at > FEW_BYTES) into.set(from.subarray(at, end), to)
  else while (at < end) into[to++] = from[at++]
}

export const toByteString = (buf: Buffer, start: number, end: number): string => buf.latin1Slice(start, end)

/** Writes one byte per character; returns how many. What does not fit is cut off: the caller has checked the room. */
export const writeByteString = (buf: Buffer, at: number, s: string): number => buf.latin1Write(s, at)

/** Text as people type it (UTF-16) to the byte string that stands for it on disk, and back for messages. */
export const byteStringOfText = (text: string): string => Buffer.from(text, 'utf8').latin1Slice()
export const textOfByteString = (s: string): string => Buffer.from(s, 'latin1').toString('utf8')
