/**
 * The small values, by hand: fixed offsets, little-endian; every one starts with its version (1) and its birth epoch (u64).
 * docs/format.md holds the same tables. What decodes is kept in Row.decoded and never mutated; a value that cannot be one
 * is EIO, with a sentence that names the row.
 */
import { get64, PosixError, set64, viewOf } from '../sys/index.js'
import type { Epochs } from '../data/index.js'
import type { Key, Row } from '../engine/index.js'
import { firstNumber, isTrashedName, placeHigh, placeLow, trashIno, trashTime } from './keys.js'
import type { DirectoryRow } from './words.js'

const VERSION = 1
const HEAD_BYTES = 9 // version, birth

export const damaged = (what: string): PosixError =>
  new PosixError('EIO', `${what} is damaged: unmount the pool and run "ogee fsck"`)

function head(bytes: Uint8Array, birth: number): DataView {
  const v = viewOf(bytes)
  bytes[0] = VERSION
  set64(v, 1, birth)
  return v
}

function opened(bytes: Uint8Array, leastBytes: number, what: string): DataView {
  if (bytes.length < leastBytes || bytes[0] !== VERSION) throw damaged(what)
  return viewOf(bytes)
}

const textFrom = (bytes: Uint8Array, at: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).latin1Slice(at, bytes.length)

/** Every byte before the text is the caller's to write. */
function withText(fixedBytes: number, text: string): Uint8Array {
  const bytes = Buffer.allocUnsafe(fixedBytes + text.length) // of node's pool: no memory of its own
  bytes.latin1Write(text, fixedBytes)
  return bytes
}

/** D: an entry of a directory. ino 0 is a tombstone: it keeps the chain of ties whole and is never listed. */
export interface Dentry extends DirectoryRow {
  readonly birth: number
}

export function encodeDentry(birth: number, ino: number, typeBits: number, name: string): Uint8Array {
  const bytes = withText(18, name)
  const v = head(bytes, birth)
  set64(v, 9, ino)                              // inode, 0: tombstone
  v.setUint8(17, typeBits >>> 12)               // type: S_IFMT >> 12; then the name
  return bytes
}

export function dentryOfRow(key: Key, row: Row): Dentry {
  return (row.decoded ??= decodeDentry(key, row.bytes)) as Dentry
}

/** `key` is the entry's own, whatever row the bytes come from. */
export function decodeDentry(key: Key, bytes: Uint8Array): Dentry {
  const v = opened(bytes, 18, 'a directory entry')
  return {
    birth: get64(v, 1),
    ino: get64(v, 9),
    typeBits: v.getUint8(17) << 12,
    name: textFrom(bytes, 18),
    cookieHigh: placeHigh(key),
    cookieLow: placeLow(key)
  }
}

/** M: a domain. Values are born in `epoch`; what was born at or before `newestSnapshot` moves to history when replaced. */
export interface Domain extends Epochs {
  readonly domain: number
  readonly root: number
  /** DOMAIN_ bits. A domain without any has the short row. */
  readonly flags: number
  /** For how long its trash keeps what was removed. */
  readonly trashKeepSec: number
}

/** What is removed goes to the trash. */
export const DOMAIN_TRASH = 1

/** A domain's fields behind its root. */
export const PLAIN_DOMAIN = { flags: 0, trashKeepSec: 0 } as const

export function encodeDomain({ epoch, newestSnapshot, root, flags, trashKeepSec }: Domain): Uint8Array {
  const isPlain = flags === 0 && trashKeepSec === 0
  const bytes = new Uint8Array(isPlain ? 33 : 41)
  const v = head(bytes, 0)                      // birth: always 0, snapshots do not show domains
  set64(v, 9, epoch)                            // epoch, from 1
  set64(v, 17, newestSnapshot)                  // newest snapshot's epoch, 0: none
  set64(v, 25, root)                            // inode
  if (isPlain) return bytes
  v.setUint32(33, flags, true)                  // flags: 1 trash
  v.setUint32(37, trashKeepSec, true)           // the trash keeps: s
  return bytes
}

export const domainOfRow = (domain: number, row: Row): Domain => (row.decoded ??= decodeDomain(domain, row.bytes)) as Domain

function decodeDomain(domain: number, bytes: Uint8Array): Domain {
  const v = opened(bytes, 33, `domain ${domain}`)
  const more = bytes.length > 33
  if (more) opened(bytes, 41, `domain ${domain}`)
  return { domain, epoch: get64(v, 9), newestSnapshot: get64(v, 17), root: get64(v, 25), flags: more ? v.getUint32(33, true) : 0, trashKeepSec: more ? v.getUint32(37, true) : 0 }
}

/** N: a snapshot of a domain. */
export interface Snapshot {
  readonly epoch: number
  readonly sec: number
  readonly nsec: number
}

export function encodeSnapshot({ epoch, sec, nsec }: Snapshot): Uint8Array {
  const bytes = new Uint8Array(29)
  const v = head(bytes, 0)
  set64(v, 9, epoch)                            // its epoch: the view to read at
  set64(v, 17, sec)                             // taken at: s
  v.setUint32(25, nsec, true)                   //           ns
  return bytes
}

export function decodeSnapshot(bytes: Uint8Array): Snapshot {
  const v = opened(bytes, 29, 'a snapshot')
  return { epoch: get64(v, 9), sec: get64(v, 17), nsec: v.getUint32(25, true) }
}

/** A row that is one number; its birth is always 0. */
function encodeNumber(value: number): Uint8Array {
  const bytes = new Uint8Array(17)
  set64(head(bytes, 0), 9, value)
  return bytes
}

const decodeNumber = (bytes: Uint8Array, what: string): number => get64(opened(bytes, 17, what), 9)

/** W: the snapshot whose removal asked for it, by its epoch: no two are the same. */
export const encodeSweep = (epoch: number): Uint8Array => encodeNumber(epoch)

export const decodeSweep = (bytes: Uint8Array): number => decodeNumber(bytes, 'a mark of a removed snapshot')

/** U: the epoch that the domain goes back to. */
export const encodeRollback = (epoch: number): Uint8Array => encodeNumber(epoch)

export const decodeRollback = (bytes: Uint8Array): number => decodeNumber(bytes, 'a mark of a rollback')

/** K: all of it is in the key. */
export function encodeHold(): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES)
  head(bytes, 0)
  return bytes
}

/** Y: all of it is in the key. */
export const encodeReplaced = encodeHold

/** O: why an inode without links is still there. */
export const UNLINKED = 0
export const UNNAMED = 1

export function encodeOrphan(birth: number, kind: typeof UNLINKED | typeof UNNAMED): Uint8Array {
  const bytes = new Uint8Array(10)
  head(bytes, birth)
  bytes[9] = kind                               // 0: lost its last name, 1: never had one (link may give it one)
  return bytes
}

export function orphanKind(bytes: Uint8Array): number {
  opened(bytes, 10, 'an open-unlinked row')
  return bytes[9]
}

/** Q: something in the trash, as its row and its key say. */
export interface Removed {
  readonly key: Key
  readonly domain: number
  readonly ino: number
  /** One of several names: the inode had others then. Else the inode itself is in the trash. */
  readonly isName: boolean
  /** When it was removed. */
  readonly sec: number
  readonly nsec: number
  /** The folder that it was in, and its name there. */
  readonly parent: number
  readonly name: string
  readonly typeBits: number
  /** Of a regular file, when it was removed. */
  readonly sizeBytes: number
  /** The folder's mtime before the removal. */
  readonly beforeSec: number
  readonly beforeNsec: number
}

export function encodeRemoved(birth: number, r: Pick<Removed, 'parent' | 'name' | 'typeBits' | 'sizeBytes' | 'beforeSec' | 'beforeNsec'>): Uint8Array {
  const bytes = withText(38, r.name)
  const v = head(bytes, birth)
  set64(v, 9, r.parent)                         // folder: inode
  v.setUint8(17, r.typeBits >>> 12)             // type: S_IFMT >> 12
  set64(v, 18, r.sizeBytes)                     // size of a regular file, else 0
  set64(v, 26, r.beforeSec)                     // folder's mtime before: s
  v.setUint32(34, r.beforeNsec, true)           //                        ns; then the name
  return bytes
}

export function decodeRemoved(key: Key, bytes: Uint8Array): Removed {
  const v = opened(bytes, 38, 'something in the trash')
  return {
    key, domain: firstNumber(key), ino: trashIno(key), isName: isTrashedName(key), ...trashTime(key),
    parent: get64(v, 9), typeBits: v.getUint8(17) << 12, sizeBytes: get64(v, 18), beforeSec: get64(v, 26), beforeNsec: v.getUint32(34, true), name: textFrom(bytes, 38)
  }
}

/** R: a reverse link's name; X: an xattr's value; A: the next inode number. */
export function encodeLink(birth: number, name: string): Uint8Array {
  const bytes = withText(HEAD_BYTES, name)
  head(bytes, birth)
  return bytes
}

export function linkName(bytes: Uint8Array): string {
  opened(bytes, HEAD_BYTES, 'a reverse link')
  return textFrom(bytes, HEAD_BYTES)
}

export function encodeXattr(birth: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES + value.length)
  head(bytes, birth)
  bytes.set(value, HEAD_BYTES)
  return bytes
}

export function xattrValue(bytes: Uint8Array): Uint8Array {
  opened(bytes, HEAD_BYTES, 'an extended attribute')
  return bytes.subarray(HEAD_BYTES)
}

/** V: a volume's inode. */
export const encodeVolume = (ino: number): Uint8Array => encodeNumber(ino) // no snapshot shows volumes

export const decodeVolume = (bytes: Uint8Array): number => decodeNumber(bytes, 'a volume')

/** F: the inode that was made of a hard-linked one. */
export const encodeCloned = (ino: number): Uint8Array => encodeNumber(ino)

export const decodeCloned = (bytes: Uint8Array): number => decodeNumber(bytes, 'a hard link of a clone')

/** J: names that an inode counts as links, in folders of a clone that nobody has visited; and of what it was made. */
export interface Unfound {
  readonly origin: number
  readonly names: number
}

export function encodeUnfound({ origin, names }: Unfound): Uint8Array {
  const bytes = new Uint8Array(21)
  const v = head(bytes, 0)
  set64(v, 9, origin)                           // inode
  v.setUint32(17, names, true)                  // names to be found
  return bytes
}

export function decodeUnfound(bytes: Uint8Array): Unfound {
  const v = opened(bytes, 21, 'a hard link of a clone')
  return { origin: get64(v, 9), names: v.getUint32(17, true) }
}

export const encodeNextIno = (next: number): Uint8Array => encodeNumber(next)

export const decodeNextIno = (bytes: Uint8Array): number => decodeNumber(bytes, 'the next inode number')
