/**
 * POOL/superblock: what a pool is. 4 KiB, written once at format (and when a feature is first used); docs/format-pool.md
 * has the table of bytes, test/pool/superblock.test.ts a golden copy.
 *   - Magic, version and checksum keep their places in all versions to come, so that an older Ogee can tell a newer
 *     pool from a damaged one.
 *   - A second copy is in the rows (key S), where the engine's checksums guard it: fsck writes the file anew from it.
 *   - It changes as a whole or not at all: temporary file, fsync, rename, fsync of the folder.
 *   - A feature bit that is not known here: incompatible refuses the pool, read-only-compatible allows reading,
 *     compatible is ignored.
 */
import { readFileSync, renameSync } from 'node:fs'
import { check, close, crc32, fsync, get64, O_CREAT, O_DIRECTORY, O_RDONLY, O_TRUNC, O_WRONLY, open, pwrite, set64 } from '../sys/index.js'
import type { Engine, Reader } from '../engine/index.js'
import { rootContext } from '../sys/index.js'
import { Refusal } from './refusal.js'

export const SUPERBLOCK_BYTES = 4096
export const SUPERBLOCK_FILE = 'superblock'
const MAGIC = 'OGEEPOOL'
export const FORMAT_VERSION = 1
const STORE_SPACE = 1
export const NAME_MAX_BYTES = 255

const AT_VERSION = 8
const AT_STORE = 12
const AT_UUID = 16
const AT_CREATED_SEC = 32
const AT_SIZE = 40
const AT_NAME_KEY = 48
const AT_COMPATIBLE = 64
const AT_RO_COMPATIBLE = 68
const AT_INCOMPATIBLE = 72
const AT_NAME_BYTES = 76
const AT_NAME = 80
const AT_CRC = SUPERBLOCK_BYTES - 4
const BYTES_USED = AT_NAME + NAME_MAX_BYTES

const COPY_KEY = 'S'
const COPY_VERSION = 1
const COPY_AT = 9 // behind version and birth, as in every value

/** Feature bits that this version knows. */
export const FEATURES = { compatible: 0, roCompatible: 0, incompatible: 31 } as const // features.ts names them

export const SIZE_MIN_BYTES = 64 * 1024 ** 2
export const SIZE_MAX_BYTES = 1024 ** 5

export interface Superblock {
  readonly uuid: string // 8-4-4-4-12 hexadecimal
  readonly name: string
  readonly createdSec: number
  readonly store: 'space'
  readonly sizeBytes: number
  /** 16 random bytes: the key of the hash that orders a directory's names. */
  readonly nameKey: Uint8Array
  readonly compatible: number
  readonly roCompatible: number
  readonly incompatible: number
}

export function encodeSuperblock(s: Superblock): Uint8Array {
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES)
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const name = Buffer.from(s.name, 'utf8')
  if (name.length > NAME_MAX_BYTES) throw new Refusal('usage', `The pool's name is ${name.length} bytes long, at most ${NAME_MAX_BYTES} are possible: choose a shorter one.`)
  bytes.write(MAGIC, 0, 'latin1')
  v.setUint32(AT_VERSION, FORMAT_VERSION, true)
  v.setUint32(AT_STORE, STORE_SPACE, true)
  bytes.write(s.uuid.replaceAll('-', ''), AT_UUID, 'hex')
  set64(v, AT_CREATED_SEC, s.createdSec)
  set64(v, AT_SIZE, s.sizeBytes)
  bytes.set(s.nameKey, AT_NAME_KEY)
  v.setUint32(AT_COMPATIBLE, s.compatible, true)
  v.setUint32(AT_RO_COMPATIBLE, s.roCompatible, true)
  v.setUint32(AT_INCOMPATIBLE, s.incompatible, true)
  v.setUint32(AT_NAME_BYTES, name.length, true)
  bytes.set(name, AT_NAME)
  v.setUint32(AT_CRC, crc32(bytes, 0, AT_CRC), true)
  return bytes
}

const uuidText = (hex: string): string =>
  `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`

/** A version 4 UUID of 16 random bytes. */
export function makeUuid(random: Uint8Array): string {
  const bytes = Buffer.from(random)
  bytes[6] = (bytes[6] & 0x0f) | 0x40
  bytes[8] = (bytes[8] & 0x3f) | 0x80
  return uuidText(bytes.toString('hex'))
}

/** `where` is the folder's name in the sentence of a refusal. */
export function decodeSuperblock(bytes: Uint8Array, where: string): Superblock {
  const b = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const damaged = (what: string): Refusal =>
    new Refusal('damaged', `The superblock of pool ${where} is damaged (${what}): write it anew from its second copy with ogee fsck ${where} --repair.`)
  if (b.length !== SUPERBLOCK_BYTES) throw damaged(`${b.length} bytes instead of ${SUPERBLOCK_BYTES}`)
  if (b.toString('latin1', 0, 8) !== MAGIC) throw damaged('no magic number')
  if (v.getUint32(AT_CRC, true) !== crc32(b, 0, AT_CRC)) throw damaged('wrong checksum')
  const version = v.getUint32(AT_VERSION, true)
  if (version > FORMAT_VERSION) {
    throw new Refusal('newer', `Pool ${where} has format ${version}, this Ogee knows up to ${FORMAT_VERSION}: use a newer Ogee.`)
  }
  const incompatible = v.getUint32(AT_INCOMPATIBLE, true)
  const unknown = (incompatible & ~FEATURES.incompatible) >>> 0
  if (unknown !== 0) {
    throw new Refusal('newer', `Pool ${where} uses features that this Ogee does not know (0x${unknown.toString(16)}): use a newer Ogee.`)
  }
  const roCompatible = v.getUint32(AT_RO_COMPATIBLE, true)
  const unknownRo = (roCompatible & ~FEATURES.roCompatible) >>> 0
  if (unknownRo !== 0) {
    throw new Refusal('newer', `Pool ${where} uses features that this Ogee cannot write (0x${unknownRo.toString(16)}): use a newer Ogee.`)
  }
  const nameBytes = v.getUint32(AT_NAME_BYTES, true)
  const sizeBytes = get64(v, AT_SIZE)
  if (version < 1 || v.getUint32(AT_STORE, true) !== STORE_SPACE || nameBytes > NAME_MAX_BYTES || sizeBytes <= 0) throw damaged('impossible values')
  return {
    uuid: uuidText(b.toString('hex', AT_UUID, AT_UUID + 16)),
    name: b.toString('utf8', AT_NAME, AT_NAME + nameBytes),
    createdSec: get64(v, AT_CREATED_SEC),
    store: 'space',
    sizeBytes,
    nameKey: new Uint8Array(b.subarray(AT_NAME_KEY, AT_NAME_KEY + 16)),
    compatible: v.getUint32(AT_COMPATIBLE, true),
    roCompatible,
    incompatible
  }
}

/** The row of the second copy. */
export function encodeCopy(superblock: Superblock): Uint8Array {
  const value = new Uint8Array(COPY_AT + BYTES_USED)
  value[0] = COPY_VERSION
  value.set(encodeSuperblock(superblock).subarray(0, BYTES_USED), COPY_AT)
  return value
}

/** Commits the second copy, if the rows hold another one or none. */
export async function keepCopy(engine: Engine, superblock: Superblock): Promise<void> {
  const value = encodeCopy(superblock)
  const row = await engine.reader(rootContext).get(COPY_KEY)
  if (row === undefined || Buffer.compare(row.bytes, value) !== 0) await engine.transact(rootContext, (tx) => tx.put(COPY_KEY, value))
}

/** The second copy; undefined if there is none. */
export async function readCopy(reader: Reader, folder: string): Promise<Superblock | undefined> {
  const row = await reader.get(COPY_KEY)
  if (row === undefined || row.bytes[0] !== COPY_VERSION || row.bytes.length !== COPY_AT + BYTES_USED) return undefined
  const bytes = Buffer.alloc(SUPERBLOCK_BYTES)
  bytes.set(row.bytes.subarray(COPY_AT), 0)
  bytes.writeUInt32LE(crc32(bytes, 0, AT_CRC), AT_CRC)
  return decodeSuperblock(bytes, folder)
}

export const readSuperblock = (folder: string): Superblock => decodeSuperblock(readFileSync(`${folder}/${SUPERBLOCK_FILE}`), folder)

export function writeSuperblock(folder: string, superblock: Superblock): void {
  const bytes = encodeSuperblock(superblock)
  const temporary = `${folder}/${SUPERBLOCK_FILE}.new`
  const fd = check(open(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0o600), 'open', temporary)
  try {
    const written = check(pwrite(fd, bytes, 0, bytes.length, 0), 'pwrite', temporary)
    if (written !== bytes.length) throw new Refusal('full', `The disk under ${folder} is full: free some space there and try again.`)
    check(fsync(fd), 'fsync', temporary)
  } finally {
    close(fd)
  }
  renameSync(temporary, `${folder}/${SUPERBLOCK_FILE}`)
  syncFolder(folder)
}

/** Makes names in a folder durable. */
export function syncFolder(folder: string): void {
  const fd = check(open(folder, O_RDONLY | O_DIRECTORY), 'open', folder)
  try {
    check(fsync(fd), 'fsync', folder)
  } finally {
    close(fd)
  }
}
