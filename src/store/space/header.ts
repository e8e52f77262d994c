/**
 * The header of a space: the first 4 KiB of its file, little-endian. The data area begins at DATA_START; an address in the store
 * is an offset in the data area. What belongs to whom stands in the engine, not here.
 *   0  magic 'OGEESPC1'          8 bytes
 *   8  version u32 (1)           a newer one is refused
 *   12 unit bytes u32 (4096), 16 group bytes u32 (4 MiB)
 *   20 flags u32: 1 preallocated, the host's space is never given back
 *   24 data start u64, 32 data bytes u64 (a multiple of the group)
 *   40 uuid                      16 bytes
 *   56 zeros
 *   4092 crc32 u32 of bytes 0 to 4091
 * A second copy follows at 4096. Whoever changes the header writes and syncs the second, then the first: a power cut in between leaves
 * one of them whole. The first counts, the second if the first is damaged. (Spaces of the first weeks have zeros there.)
 */
import { crc32, get64, PosixError, set64, viewOf } from '../../sys/index.js'
import { UNIT_BYTES } from '../store.js'
import { GROUP_BYTES } from './keys.js'

export const HEADER_BYTES = 4096
/** One group, so that groups are aligned on a device; sparse, it costs nothing in a file. */
export const DATA_START_BYTES = GROUP_BYTES
export const SPACE_VERSION = 1

const MAGIC = 'OGEESPC1'
const CRC_AT = HEADER_BYTES - 4
const PREALLOCATED = 1
export const SECOND_COPY_AT = HEADER_BYTES
export const COPIES_BYTES = 2 * HEADER_BYTES

export interface SpaceHeader {
  readonly sizeBytes: number
  readonly preallocated: boolean
  readonly uuid: Uint8Array
}

export function encodeHeader(header: SpaceHeader): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES)
  const v = viewOf(bytes)
  for (let i = 0; i < MAGIC.length; i++) bytes[i] = MAGIC.charCodeAt(i)
  v.setUint32(8, SPACE_VERSION, true)
  v.setUint32(12, UNIT_BYTES, true)
  v.setUint32(16, GROUP_BYTES, true)
  v.setUint32(20, header.preallocated ? PREALLOCATED : 0, true)
  set64(v, 24, DATA_START_BYTES)
  set64(v, 32, header.sizeBytes)
  bytes.set(header.uuid.subarray(0, 16), 40)
  v.setUint32(CRC_AT, crc32(bytes, 0, CRC_AT), true)
  return bytes
}

/** EUCLEAN with a sentence if these bytes are no header that this version can read. */
export function decodeHeader(bytes: Uint8Array, path: string): SpaceHeader {
  const refuse = (why: string): PosixError => new PosixError('EUCLEAN', `${path} ${why}`)
  const v = viewOf(bytes)
  if (bytes.length < HEADER_BYTES || Buffer.from(bytes.subarray(0, 8)).latin1Slice() !== MAGIC) throw refuse('is not a space of Ogee')
  const version = v.getUint32(8, true)
  if (version > SPACE_VERSION) throw refuse(`has space format ${version}; this version reads up to ${SPACE_VERSION}: use a newer one`)
  if (v.getUint32(CRC_AT, true) !== crc32(bytes, 0, CRC_AT)) throw refuse('has a damaged header: restore it from a copy of the pool')
  const sizeBytes = get64(v, 32)
  if (v.getUint32(12, true) !== UNIT_BYTES || v.getUint32(16, true) !== GROUP_BYTES || get64(v, 24) !== DATA_START_BYTES ||
      sizeBytes <= 0 || sizeBytes % GROUP_BYTES !== 0) throw refuse('has a header whose sizes make no sense')
  return { sizeBytes, preallocated: (v.getUint32(20, true) & PREALLOCATED) !== 0, uuid: bytes.slice(40, 56) }
}

/** Of the first COPIES_BYTES of a space: the header that counts, and how many copies are damaged. EUCLEAN if both are. */
export function decodeCopies(bytes: Uint8Array, path: string): SpaceHeader & { readonly damagedCopies: number } {
  const second = bytes.subarray(SECOND_COPY_AT, COPIES_BYTES)
  const isBlank = second.every((byte) => byte === 0)
  let header: SpaceHeader | undefined
  let refused: unknown
  try {
    header = decodeHeader(bytes.subarray(0, HEADER_BYTES), path)
  } catch (e) {
    refused = e
  }
  try {
    const other = isBlank ? undefined : decodeHeader(second, path)
    if (header !== undefined) return { ...header, damagedCopies: 0 }
    if (other !== undefined) return { ...other, damagedCopies: 1 }
  } catch (e) {
    if (header !== undefined && e instanceof PosixError) return { ...header, damagedCopies: 1 }
  }
  if (header !== undefined) return { ...header, damagedCopies: 0 }
  throw refused
}
