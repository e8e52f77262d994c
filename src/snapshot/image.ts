/**
 * The stream of an image (docs/format-export.md): a magic, then records. A record is a head of 12 bytes (kind u8, zeros, length u32,
 * crc32 u32), then its bytes. Its checksum is seeded with that of the record before: what is cut, changed, or put together out of
 * two images is found. All but data are JSON; names in it are byte strings, one character a byte.
 */
import { crc32, get64, set64, viewOf } from '../sys/index.js'

export const IMAGE_MAGIC = 'OGEEIMG1'
export const IMAGE_FORMAT = 1
export const HEAD_BYTES = 12
export const RECORD_MAX_BYTES = 1024 * 1024
const DATA = 1
const JSON_KIND = 2

export interface Header {
  readonly record: 'header'
  readonly format: number
  readonly kind: 'tree' | 'volume'
  /** What it shows: its name, and which one it is among all there ever were. */
  readonly snapshot: string
  readonly id: string
  /** The snapshot that it begins from. */
  readonly since?: { readonly snapshot: string; readonly id: string }
  /** Of a volume. */
  readonly sizeBytes?: number
}
type Time = readonly [sec: number, nsec: number]
export interface AttributesRecord {
  readonly record: 'attributes'
  readonly path: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly flags: number
  readonly atime: Time
  readonly mtime: Time
  /** Values in base64. */
  readonly xattrs: Readonly<Record<string, string>>
}
/** In this order: held, taken and removed as the old tree has paths; then as the new one has them. */
export type ImageRecord =
  | Header
  | { readonly record: 'hold' | 'take', readonly path: string, readonly ino: number }
  | { readonly record: 'remove', readonly path: string, readonly folder: boolean }
  | { readonly record: 'make', readonly path: string, readonly ino: number, readonly mode: number, readonly rdev: number, readonly links: number, readonly target?: string, readonly btime: Time }
  | { readonly record: 'place' | 'link', readonly path: string, readonly ino: number }
  | { readonly record: 'file', readonly path: string, readonly sizeBytes: number }
  | { readonly record: 'hole', readonly offsetBytes: number, readonly lengthBytes: number }
  | { readonly record: 'settle' }
  | AttributesRecord
  | { readonly record: 'end', readonly records: number, readonly dataBytes: number }
export interface DataRecord {
  readonly record: 'data'
  readonly offsetBytes: number
  readonly bytes: Uint8Array
}

/** Encodes records one after the other. */
export function imageWriter(): { begin(): Uint8Array; record(record: ImageRecord): Uint8Array; data(offsetBytes: number, bytes: Uint8Array): Uint8Array; end(): Uint8Array } {
  let seed = 0
  let records = 0
  let dataBytes = 0
  const framed = (kind: number, out: Uint8Array): Uint8Array => {
    const v = viewOf(out)
    out[0] = kind
    v.setUint32(4, out.length - HEAD_BYTES, true)
    seed = crc32(out, HEAD_BYTES, out.length, crc32(out, 0, 8, seed))
    v.setUint32(8, seed, true)
    records++
    return out
  }
  const json = (record: ImageRecord): Uint8Array => {
    const text = Buffer.from(JSON.stringify(record), 'utf8')
    const out = new Uint8Array(HEAD_BYTES + text.length)
    out.set(text, HEAD_BYTES)
    return framed(JSON_KIND, out)
  }
  return {
    begin: () => Buffer.from(IMAGE_MAGIC, 'latin1'),
    record: json,
    data(offsetBytes, bytes) {
      const out = new Uint8Array(HEAD_BYTES + 8 + bytes.length)
      set64(viewOf(out), HEAD_BYTES, offsetBytes)
      out.set(bytes, HEAD_BYTES + 8)
      dataBytes += bytes.length
      return framed(DATA, out)
    },
    end: () => json({ record: 'end', records, dataBytes })
  }
}

export class ImageError extends Error {
  readonly atBytes: number
  constructor(sentence: string, atBytes: number) {
    super(sentence)
    this.atBytes = atBytes
  }
}

/** `read` fills a part of the buffer from a place of the image, and answers how much there was. Each record comes with where it ends. */
export async function* readImage(read: (at: number, into: Uint8Array) => Promise<number>): AsyncGenerator<{ readonly record: ImageRecord | DataRecord; readonly endBytes: number }, undefined> {
  const magic = new Uint8Array(IMAGE_MAGIC.length)
  if (await read(0, magic) < magic.length || Buffer.from(magic).latin1Slice() !== IMAGE_MAGIC) throw new ImageError('This is no image that `ogee export` made (or of a newer format): nothing was imported.', 0)
  const head = new Uint8Array(HEAD_BYTES)
  let at = magic.length
  let seed = 0
  let records = 0
  let dataBytes = 0
  for (;;) {
    const got = await read(at, head)
    const length = viewOf(head).getUint32(4, true)
    if (got === HEAD_BYTES && length > RECORD_MAX_BYTES) throw damaged(at)
    const bytes = new Uint8Array(got < HEAD_BYTES ? 0 : length)
    if (got < HEAD_BYTES || await read(at + HEAD_BYTES, bytes) < length) throw new ImageError(`The image is cut after ${at} bytes: nothing was imported.`, at)
    seed = crc32(bytes, 0, length, crc32(head, 0, 8, seed))
    if (seed !== viewOf(head).getUint32(8, true)) throw damaged(at)
    let record: ImageRecord | DataRecord
    if (head[0] === DATA) record = { record: 'data', offsetBytes: get64(viewOf(bytes), 0), bytes: bytes.subarray(8) }
    else record = JSON.parse(Buffer.from(bytes).toString('utf8')) as ImageRecord
    at += HEAD_BYTES + length
    if (record.record === 'end' && (record.records !== records || record.dataBytes !== dataBytes)) throw damaged(at)
    records++
    if (record.record === 'data') dataBytes += record.bytes.length
    yield { record, endBytes: at }
    if (record.record === 'end') return undefined
  }
}

const damaged = (at: number): ImageError => new ImageError(`The image is damaged behind ${at} bytes: nothing was imported. Make it again, or copy it again.`, at)
