/**
 * Attributes: chmod, chown, utimensat (one setattr, as the kernel sends it), atimes, chattr's flags.
 * Rules and order of errors: setattr_prepare, may_setattr, setattr_should_drop_sgid (fs/attr.c), fileattr_set_prepare.
 */
import { NOW } from '../data/index.js'
import type { Tx } from '../engine/index.js'
import { demand, fail, FS_APPEND_FL, FS_IMMUTABLE_FL, inGroup, isAppendOnly, isImmutable, isOwnerOrRoot, isRoot, MAY_WRITE } from './access.js'
import { ACL_ACCESS, aclAfterChmod, decodeAcl, encodeAcl } from './acl.js'
import { setDirectoryTimes } from './directory.js'
import { encodeChange } from './events.js'
import { isDirectory, isRegular, isSymlink, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import type { Inode, Op, Timespec } from './words.js'
import { readInode, readXattr } from './read.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { domainOf, dropCapability, inodeNow, putXattr, S_ISGID, S_ISUID, S_IXGRP, updateInode } from './write.js'

// The numbers of FATTR_* in linux/fuse.h, as in vfs.
export const SET_MODE = 1 << 0
export const SET_UID = 1 << 1
export const SET_GID = 1 << 2
export const SET_ATIME = 1 << 4
export const SET_MTIME = 1 << 5
export const SET_ATIME_NOW = 1 << 7
export const SET_MTIME_NOW = 1 << 8
export const SET_CTIME = 1 << 10
export const SET_KILL_SUIDGID = 1 << 11
const SET_TIMES = SET_ATIME | SET_MTIME | SET_ATIME_NOW | SET_MTIME_NOW
const KNOWN = SET_MODE | SET_UID | SET_GID | SET_TIMES | SET_CTIME | SET_KILL_SUIDGID

export interface AttributesSet {
  readonly valid: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly atimeSec: number
  readonly atimeNsec: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  readonly ctimeSec: number
  readonly ctimeNsec: number
}

/** What is left of a mode when someone else's hands were on the file: no setuid, and no setgid that grants a group. */
export const withoutSuidgid = (mode: number): number => mode & ~S_ISUID & ~((mode & S_IXGRP) !== 0 ? S_ISGID : 0)

/** Nothing to set: nothing changes, not even ctime (chown(2) with -1, -1). */
export function* setattr(tx: Tx, op: Op, ino: number, set: AttributesSet): Steps<Inode> {
  const inode = yield* inodeNow(tx, ino)
  const valid = set.valid & KNOWN
  if (valid === 0) return inode
  const touchesNow = isTouch(valid)
  if (isImmutable(inode) || (isAppendOnly(inode) && !touchesNow)) fail('EPERM')
  if (op.check) yield* maySet(tx, op, inode, set, touchesNow)
  if ((valid & SET_MODE) !== 0 && isSymlink(inode)) fail('EOPNOTSUPP')

  const domain = yield* domainOf(tx, inode.domain)
  const owns = (valid & (SET_UID | SET_GID)) !== 0
  const uid = (valid & SET_UID) !== 0 ? set.uid : inode.uid
  const gid = (valid & SET_GID) !== 0 ? set.gid : inode.gid
  const mode = newMode(op, inode, set, gid)
  if ((mode & 0o777) !== (inode.mode & 0o777) && inode.hasAccessAcl) yield* chmodAcl(tx, op, inode, mode)
  const kills = (owns || (valid & SET_KILL_SUIDGID) !== 0) && !isDirectory(inode)
  if (kills) yield* dropCapability(tx, domain, inode)

  const atime = timeOf(op, valid, SET_ATIME, SET_ATIME_NOW, set.atimeSec, set.atimeNsec) ?? { sec: inode.atimeSec, nsec: inode.atimeNsec }
  const mtime = timeOf(op, valid, SET_MTIME, SET_MTIME_NOW, set.mtimeSec, set.mtimeNsec)
  const ctime = (valid & SET_CTIME) !== 0 ? storable(set.ctimeSec, set.ctimeNsec) : op.now
  const now = updateInode(tx, domain, inode, {
    mode,
    uid,
    gid,
    atimeSec: atime.sec,
    atimeNsec: atime.nsec,
    mtimeSec: mtime?.sec ?? inode.mtimeSec,
    mtimeNsec: mtime?.nsec ?? inode.mtimeNsec,
    ctimeSec: ctime.sec,
    ctimeNsec: ctime.nsec,
    hasCapability: inode.hasCapability && !kills
  })
  if (isDirectory(inode) && inode.nlink > 0) yield* setDirectoryTimes(tx, domain, ino, mtime, ctime)
  tx.change(encodeChange({ kind: 'attributes', ino, mode }))
  return now
}

/** touch(1): both times to now, which a writer may; anything else about times is the owner's. */
const isTouch = (valid: number): boolean =>
  (valid & ~(SET_TIMES | SET_CTIME)) === 0 && (valid & SET_ATIME_NOW) !== 0 && (valid & SET_MTIME_NOW) !== 0

function* maySet(tx: Tx, op: Op, inode: StoredInode, set: AttributesSet, touchesNow: boolean): Steps<void> {
  const { ctx } = op
  const { valid } = set
  const owner = ctx.uid === inode.uid
  if ((valid & SET_UID) !== 0 && !isRoot(ctx) && !(owner && set.uid === inode.uid)) fail('EPERM')
  if ((valid & SET_GID) !== 0 && !isRoot(ctx) && !(owner && (set.gid === inode.gid || inGroup(ctx, set.gid)))) fail('EPERM')
  if ((valid & SET_MODE) !== 0 && !isOwnerOrRoot(ctx, inode)) fail('EPERM')
  if ((valid & SET_TIMES) !== 0 && !isOwnerOrRoot(ctx, inode)) {
    if (!touchesNow) fail('EPERM')
    yield* demand(tx, op, inode, MAY_WRITE)
  }
}

function newMode(op: Op, inode: StoredInode, set: AttributesSet, gid: number): number {
  const { ctx } = op
  let { mode } = inode
  if ((set.valid & SET_MODE) !== 0) {
    mode = (inode.mode & S_IFMT) | (set.mode & 0o7777)
    if (op.check && !isRoot(ctx) && !inGroup(ctx, gid)) mode &= ~S_ISGID
  }
  if ((set.valid & (SET_UID | SET_GID)) !== 0 && !isDirectory(inode)) {
    mode = withoutSuidgid(mode)
    if (!isRoot(ctx) && ctx.groups !== undefined && !inGroup(ctx, inode.gid)) mode &= ~S_ISGID
  }
  return (set.valid & SET_KILL_SUIDGID) !== 0 ? withoutSuidgid(mode) : mode
}

function* chmodAcl(tx: Tx, op: Op, inode: StoredInode, mode: number): Steps<void> {
  const bytes = yield* wait(readXattr(tx, inode.ino, ACL_ACCESS, NOW))
  const acl = bytes === undefined ? undefined : decodeAcl(bytes)
  if (acl === undefined) return
  const domain = yield* domainOf(tx, inode.domain)
  yield* putXattr(tx, domain, inode.ino, ACL_ACCESS, encodeAcl(aclAfterChmod(acl, mode)))
}

const timeOf = (op: Op, valid: number, bit: number, nowBit: number, sec: number, nsec: number): Timespec | undefined =>
  (valid & nowBit) !== 0 ? op.now : (valid & bit) !== 0 ? storable(sec, nsec) : undefined

/** A time beyond what a row holds is the last that it does, as on a disk's file system. */
const storable = (sec: number, nsec: number): Timespec => (Math.abs(sec) < 2 ** 53 ? { sec, nsec } : { sec: Math.sign(sec) * (2 ** 53 - 1), nsec: 0 })

/** Of an inode that may be gone. Not a change of the inode: ctime stays. */
export function* touchAtime(tx: Tx, ino: number, at: Timespec): Steps<void> {
  const inode = yield* wait(readInode(tx, ino, NOW))
  if (inode === undefined) return
  const domain = yield* domainOf(tx, inode.domain)
  updateInode(tx, domain, inode, { atimeSec: at.sec, atimeNsec: at.nsec })
  tx.change(encodeChange({ kind: 'atime', ino }))
}

/** FS_*_FL bits that may be set: sync, immutable, append-only, nodump, noatime, dirsync. */
const SETTABLE = 0x8 | FS_IMMUTABLE_FL | FS_APPEND_FL | 0x40 | 0x80 | 0x10000

/** FS_IOC_SETFLAGS. EPERM, EOPNOTSUPP. */
export function* setflags(tx: Tx, op: Op, ino: number, flags: number): Steps<void> {
  const inode = yield* inodeNow(tx, ino)
  if (op.check && !isOwnerOrRoot(op.ctx, inode)) fail('EPERM')
  const differs = flags ^ inode.flags
  if ((differs & (FS_IMMUTABLE_FL | FS_APPEND_FL)) !== 0 && !isRoot(op.ctx)) fail('EPERM')
  if ((flags & ~SETTABLE) !== 0) fail('EOPNOTSUPP')
  if (!isRegular(inode) && !isDirectory(inode)) fail('EOPNOTSUPP')
  if (differs === 0) return
  const domain = yield* domainOf(tx, inode.domain)
  updateInode(tx, domain, inode, { flags, ctimeSec: op.now.sec, ctimeNsec: op.now.nsec })
  if (isDirectory(inode) && inode.nlink > 0) yield* setDirectoryTimes(tx, domain, ino, undefined, op.now)
  tx.change(encodeChange({ kind: 'attributes', ino, mode: inode.mode }))
}
