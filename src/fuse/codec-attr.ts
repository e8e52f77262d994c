/**
 * Attributes. fuse_attr (88 bytes), fuse_entry_out (128), fuse_attr_out (104), fuse_statx_out (288); fuse_getattr_in (16),
 * fuse_statx_in (24), fuse_setattr_in (88).
 */
import { get64, getU64, set64 } from '../sys/index.js'
import type { Attr, SetAttr } from '../vfs/index.js'

/** How long the kernel may believe an answer, and the owner and mode that a mount shows instead of the stored ones. */
export interface Presentation {
  readonly attrValidMs: number
  readonly entryValidMs: number
  /** undefined: as stored */
  readonly uid: number | undefined
  readonly gid: number | undefined
  /** undefined: as stored; else all permission bits that are not in it are shown, as mount(8)'s umask= says. */
  readonly umask: number | undefined
}

const S_IFMT = 0o170000
const BLOCK_BYTES = 4096 // st_blksize: what we like to be written at once, at least

const shownUid = (a: Attr, p: Presentation): number => p.uid ?? a.uid
const shownGid = (a: Attr, p: Presentation): number => p.gid ?? a.gid
const shownMode = (a: Attr, p: Presentation): number =>
  p.umask === undefined ? a.mode : (a.mode & S_IFMT) | (0o777 & ~p.umask)

/** Seconds of a validity, below 2^32: a u64. */
function writeValidSec(v: DataView, at: number, ms: number): void {
  v.setUint32(at, ms / 1000, true)
  v.setUint32(at + 4, 0, true)
}
const validNsec = (ms: number): number => (ms % 1000) * 1e6

export const ATTR_BYTES = 88

export function writeAttr(v: DataView, at: number, a: Attr, p: Presentation): void {
  set64(v, at + 0, a.ino)
  set64(v, at + 8, a.sizeBytes)
  set64(v, at + 16, a.blocks512)
  set64(v, at + 24, a.atimeSec) // signed: negative before 1970
  set64(v, at + 32, a.mtimeSec)
  set64(v, at + 40, a.ctimeSec)
  v.setUint32(at + 48, a.atimeNsec, true)
  v.setUint32(at + 52, a.mtimeNsec, true)
  v.setUint32(at + 56, a.ctimeNsec, true)
  v.setUint32(at + 60, shownMode(a, p), true)
  v.setUint32(at + 64, a.nlink, true)
  v.setUint32(at + 68, shownUid(a, p), true)
  v.setUint32(at + 72, shownGid(a, p), true)
  v.setUint32(at + 76, a.rdev, true)
  v.setUint32(at + 80, BLOCK_BYTES, true)
  v.setUint32(at + 84, 0, true) // flags: neither a submount nor DAX
}

export const ENTRY_OUT_BYTES = 128

export function writeEntryOut(v: DataView, at: number, a: Attr, p: Presentation): void {
  set64(v, at + 0, a.ino) // nodeid
  set64(v, at + 8, a.generation)
  writeValidSec(v, at + 16, p.entryValidMs)
  writeValidSec(v, at + 24, p.attrValidMs)
  v.setUint32(at + 32, validNsec(p.entryValidMs), true)
  v.setUint32(at + 36, validNsec(p.attrValidMs), true)
  writeAttr(v, at + 40, a, p)
}

/** "No such name", which the kernel may believe for a while: an entry with node 0. Also what a plain readdir entry carries. */
export function writeNoEntryOut(v: DataView, at: number, validMs: number): void {
  for (let i = 0; i < ENTRY_OUT_BYTES; i += 4) v.setUint32(at + i, 0, true)
  writeValidSec(v, at + 16, validMs)
  v.setUint32(at + 32, validNsec(validMs), true)
}

export const ATTR_OUT_BYTES = 104

export function writeAttrOut(v: DataView, at: number, a: Attr, p: Presentation): void {
  writeValidSec(v, at + 0, p.attrValidMs)
  v.setUint32(at + 8, validNsec(p.attrValidMs), true)
  v.setUint32(at + 12, 0, true)
  writeAttr(v, at + 16, a, p)
}

export const STATX_OUT_BYTES = 288
const STATX_BASIC_AND_BTIME = 0xfff

export function writeStatxOut(v: DataView, at: number, a: Attr, p: Presentation): void {
  for (let i = 0; i < STATX_OUT_BYTES; i += 4) v.setUint32(at + i, 0, true)
  writeValidSec(v, at + 0, p.attrValidMs)
  v.setUint32(at + 8, validNsec(p.attrValidMs), true)
  // flags 12, spare 16; struct fuse_statx from 32
  v.setUint32(at + 32, STATX_BASIC_AND_BTIME, true) // mask
  v.setUint32(at + 36, BLOCK_BYTES, true)
  // attributes 40
  v.setUint32(at + 48, a.nlink, true)
  v.setUint32(at + 52, shownUid(a, p), true)
  v.setUint32(at + 56, shownGid(a, p), true)
  v.setUint16(at + 60, shownMode(a, p), true)
  set64(v, at + 64, a.ino)
  set64(v, at + 72, a.sizeBytes)
  set64(v, at + 80, a.blocks512)
  // attributes_mask 88
  set64(v, at + 96, a.atimeSec)
  v.setUint32(at + 104, a.atimeNsec, true)
  set64(v, at + 112, a.btimeSec)
  v.setUint32(at + 120, a.btimeNsec, true)
  set64(v, at + 128, a.ctimeSec)
  v.setUint32(at + 136, a.ctimeNsec, true)
  set64(v, at + 144, a.mtimeSec)
  v.setUint32(at + 152, a.mtimeNsec, true)
  v.setUint32(at + 160, (a.rdev & 0xfff00) >>> 8, true) // rdev_major
  v.setUint32(at + 164, (a.rdev & 0xff) | ((a.rdev >>> 12) & 0xfff00), true) // rdev_minor
  // dev_major 168, dev_minor 172: the kernel knows
}

export const GETATTR_IN_BYTES = 16
export const getattrFlags = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const getattrHandle = (v: DataView, at: number): number => getU64(v, at + 8)
export const STATX_IN_BYTES = 24 // begins like fuse_getattr_in

/** fuse_setattr_in, in the form that vfs takes. One per request in flight, filled anew. */
export class SetAttrIn implements SetAttr {
  valid = 0
  handle = 0
  sizeBytes = 0
  atimeSec = 0
  mtimeSec = 0
  ctimeSec = 0
  atimeNsec = 0
  mtimeNsec = 0
  ctimeNsec = 0
  mode = 0
  uid = 0
  gid = 0

  read(v: DataView, at: number): void {
    this.valid = v.getUint32(at + 0, true)
    this.handle = getU64(v, at + 8)
    this.sizeBytes = getU64(v, at + 16)
    // lock_owner 24: opaque
    this.atimeSec = get64(v, at + 32)
    this.mtimeSec = get64(v, at + 40)
    this.ctimeSec = get64(v, at + 48)
    this.atimeNsec = v.getUint32(at + 56, true)
    this.mtimeNsec = v.getUint32(at + 60, true)
    this.ctimeNsec = v.getUint32(at + 64, true)
    this.mode = v.getUint32(at + 68, true)
    this.uid = v.getUint32(at + 76, true)
    this.gid = v.getUint32(at + 80, true)
  }
}
export const SETATTR_IN_BYTES = 88
