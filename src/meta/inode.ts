/**
 * The inode's value (I, ino), by hand: fixed offsets, little-endian; docs/format.md holds the same table.
 *   - A directory's link count, mtime and ctime in here count only when it has no links any more; else its counter row has them.
 *   - `home` is where the first of its names is: parent and place of that entry (parent 0: no name). Other links have reverse links.
 *   - What decodes is never mutated; decode(encode(x)) equals x.
 * Encoding makes one array of exactly the right length; decoding happens once per row and is kept in Row.decoded.
 */
import { get64, set64, viewOf } from '../sys/index.js'
import type { Row } from '../engine/index.js'
import { damaged } from './rows.js'
import type { Inode } from './words.js'

export const INODE_VERSION = 1
export const INODE_BYTES = 140

const HAS_INLINE = 1
const HAS_ACCESS_ACL = 2
const HAS_DEFAULT_ACL = 4
const HAS_CAPABILITY = 8
const HAS_XATTRS = 16
const HAS_ORIGIN = 32

export const S_IFMT = 0o170000
export const S_IFDIR = 0o040000
export const S_IFREG = 0o100000
export const S_IFLNK = 0o120000
export const S_IFCHR = 0o020000
export const S_IFBLK = 0o060000
export const S_IFIFO = 0o010000
export const S_IFSOCK = 0o140000

export const isDirectory = (inode: { readonly mode: number }): boolean => (inode.mode & S_IFMT) === S_IFDIR
export const isRegular = (inode: { readonly mode: number }): boolean => (inode.mode & S_IFMT) === S_IFREG
export const isSymlink = (inode: { readonly mode: number }): boolean => (inode.mode & S_IFMT) === S_IFLNK

/** What a row says, and what only this floor needs of it. */
export interface StoredInode extends Inode {
  readonly homeHigh: number
  readonly homeLow: number
  readonly hasCapability: boolean
  /** May have xattrs of any kind: once set it stays. */
  readonly hasXattrs: boolean
  /** Of a directory: this inode with its counter row's link count and times, as last seen. Only read.ts looks. */
  readonly shown: Shown | undefined
}

export interface Shown {
  inode: StoredInode | undefined
}

const header = new Uint8Array(INODE_BYTES)
const h = viewOf(header)

export function encodeInode(inode: StoredInode): Uint8Array {
  const inline = inode.inline
  const has = (inline === undefined ? 0 : HAS_INLINE) | (inode.hasAccessAcl ? HAS_ACCESS_ACL : 0) |
    (inode.hasDefaultAcl ? HAS_DEFAULT_ACL : 0) | (inode.hasCapability ? HAS_CAPABILITY : 0) | (inode.hasXattrs ? HAS_XATTRS : 0) | (inode.hasOrigin ? HAS_ORIGIN : 0)
  h.setUint8(0, INODE_VERSION)                  // version
  set64(h, 1, inode.birth)                      // birth             epoch
  h.setUint8(9, has)                            // has               bits
  h.setUint16(10, 0, true)                      // zero
  h.setUint32(12, inode.mode, true)             // mode              type and permission bits
  set64(h, 16, inode.domain)                    // domain
  set64(h, 24, inode.parent)                    // home: parent      inode, 0: none
  h.setUint32(32, inode.homeLow, true)          // home: place       low, high
  h.setUint32(36, inode.homeHigh, true)
  h.setUint32(40, inode.generation, true)       // generation
  h.setUint32(44, inode.nlink, true)            // nlink
  h.setUint32(48, inode.uid, true)              // uid
  h.setUint32(52, inode.gid, true)              // gid
  h.setUint32(56, inode.rdev, true)             // rdev              as in a 32-bit dev_t
  h.setUint32(60, inode.flags, true)            // flags             FS_*_FL
  set64(h, 64, inode.sizeBytes)                 // size              bytes
  set64(h, 72, inode.durableSizeBytes)          // durable size      bytes
  set64(h, 80, inode.allocatedBytes)            // allocated         bytes
  set64(h, 88, inode.atimeSec)                  // atime             s, negative before 1970
  set64(h, 96, inode.mtimeSec)                  // mtime             s
  set64(h, 104, inode.ctimeSec)                 // ctime             s
  set64(h, 112, inode.btimeSec)                 // btime             s
  h.setUint32(120, inode.atimeNsec, true)       // atime             ns
  h.setUint32(124, inode.mtimeNsec, true)       // mtime             ns
  h.setUint32(128, inode.ctimeNsec, true)       // ctime             ns
  h.setUint32(132, inode.btimeNsec, true)       // btime             ns
  h.setUint32(136, inline === undefined ? 0 : inline.length, true) // inline length, then the bytes
  const bytes = Buffer.allocUnsafe(inline === undefined ? INODE_BYTES : INODE_BYTES + inline.length) // of node's pool: no memory of its own
  bytes.set(header)
  if (inline !== undefined) bytes.set(inline, INODE_BYTES)
  return bytes
}

export function decodeInode(ino: number, bytes: Uint8Array): StoredInode {
  if (bytes.length < INODE_BYTES || bytes[0] !== INODE_VERSION) throw damaged(`inode ${ino}`)
  const v = viewOf(bytes)
  const has = v.getUint8(9)
  const inlineEnd = INODE_BYTES + v.getUint32(136, true)
  if (inlineEnd !== bytes.length) throw damaged(`inode ${ino}`)
  const allocatedBytes = get64(v, 80)
  return {
    ino,
    birth: get64(v, 1),
    mode: v.getUint32(12, true),
    domain: get64(v, 16),
    parent: get64(v, 24),
    homeLow: v.getUint32(32, true),
    homeHigh: v.getUint32(36, true),
    generation: v.getUint32(40, true),
    nlink: v.getUint32(44, true),
    uid: v.getUint32(48, true),
    gid: v.getUint32(52, true),
    rdev: v.getUint32(56, true),
    flags: v.getUint32(60, true),
    sizeBytes: get64(v, 64),
    durableSizeBytes: get64(v, 72),
    allocatedBytes,
    blocks512: blocksOf(allocatedBytes),
    atimeSec: get64(v, 88),
    mtimeSec: get64(v, 96),
    ctimeSec: get64(v, 104),
    btimeSec: get64(v, 112),
    atimeNsec: v.getUint32(120, true),
    mtimeNsec: v.getUint32(124, true),
    ctimeNsec: v.getUint32(128, true),
    btimeNsec: v.getUint32(132, true),
    hasAccessAcl: (has & HAS_ACCESS_ACL) !== 0,
    hasDefaultAcl: (has & HAS_DEFAULT_ACL) !== 0,
    hasCapability: (has & HAS_CAPABILITY) !== 0,
    hasXattrs: (has & HAS_XATTRS) !== 0,
    hasOrigin: (has & HAS_ORIGIN) !== 0,
    inline: (has & HAS_INLINE) !== 0 ? new Uint8Array(bytes.buffer, bytes.byteOffset + INODE_BYTES, inlineEnd - INODE_BYTES) : undefined,
    shown: (v.getUint32(12, true) & S_IFMT) === S_IFDIR ? { inode: undefined } : undefined
  }
}

export const blocksOf = (allocatedBytes: number): number => Math.ceil(allocatedBytes / 512)

/** The row's inode, decoded at most once. */
export const inodeOfRow = (ino: number, row: Row): StoredInode => (row.decoded ??= decodeInode(ino, row.bytes)) as StoredInode
