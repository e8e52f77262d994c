/**
 * Making inodes: mknod(2), mkdir(2), symlink(2), open(2) with O_CREAT or O_TMPFILE, and the pool's first ones.
 * Owner, group and mode as inode_init_owner, mode_strip_sgid and posix_acl_create decide (fs/inode.c, fs/posix_acl.c).
 */
import { NOW } from '../data/index.js'
import type { Tx } from '../engine/index.js'
import { checkName, fail, inGroup, isRoot, mayCreate, walkInto } from './access.js'
import { ACL_ACCESS, ACL_DEFAULT, decodeAcl, encodeAcl, inheritAcl } from './acl.js'
import { newSlots } from './directory.js'
import { encodeChange } from './events.js'
import type { NameHash, Place } from './hash.js'
import { isDirectory, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from './inode.js'
import type { StoredInode } from './inode.js'
import { directoryKey, domainKey, KEY_NEXT_INO, KEY_USAGE, orphanKey } from './keys.js'
import type { Inode, MakeArgs, Op } from './words.js'
import { readXattr } from './read.js'
import { decodeNextIno, encodeDomain, encodeNextIno, encodeOrphan, PLAIN_DOMAIN, UNNAMED } from './rows.js'
import type { Domain } from './rows.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { addUsage, chargeHome, countEntry, domainOf, findSlot, inodeNow, putDentry, putInode, putXattr, S_ISGID, S_IXGRP } from './write.js'
import type { Slot } from './write.js'

export const ROOT_INO = 1
const ROOT_DOMAIN = 1
const FIRST_FREE_INO = 16 // the numbers below are kept for what a pool may need of its own
const TARGET_MAX_BYTES = 4095
export const DIRECTORY_SIZE_BYTES = 4096
const PERMISSIONS = 0o7777
const GENERATION = 1 // inode numbers are never used twice

/** Where a name may be put that is not there. In this order: ENOTDIR, EACCES (search), ENAMETOOLONG, EEXIST, ENOENT (removed), EPERM, EACCES, ENOSPC. */
export function* placeForNew(tx: Tx, hash: NameHash, op: Op, parent: number, name: string): Steps<{ readonly dir: StoredInode; readonly slot: Slot }> {
  const dir = yield* inodeNow(tx, parent)
  yield* walkInto(tx, op, dir)
  checkName(name)
  if (name === '.' || name === '..') fail('EEXIST')
  const slot = yield* findSlot(tx, hash, parent, name)
  if (slot.dentry !== undefined) fail('EEXIST')
  yield* mayCreate(tx, op, dir)
  return { dir, slot }
}

/** mknod, mkdir, symlink, creat. In this order: ENOTDIR, EACCES (search), ENAMETOOLONG, EEXIST, ENOENT (removed), EPERM, EACCES, ENOSPC. */
export function* make(tx: Tx, hash: NameHash, op: Op, args: MakeArgs): Steps<Inode> {
  const { parent, name, ino } = args
  const { dir, slot } = yield* placeForNew(tx, hash, op, parent, name)
  checkType(op, args)

  const domain = yield* domainOf(tx, dir.domain)
  const inode = yield* newInode(tx, op, domain, dir, args, slot.place)
  putDentry(tx, domain, parent, name, slot, ino, inode.mode & S_IFMT)
  if (isDirectory(inode)) tx.createCounters(directoryKey(ino), newSlots(op.now, domain.epoch))
  yield* countEntry(tx, domain, parent, inode, 1, op.now)
  yield* chargeHome(tx, domain, inode, 1)
  tx.change(encodeChange({ kind: 'make', ino, mode: inode.mode, parent, name }))
  return inode
}

/** O_TMPFILE: linked nowhere, on the session's list until link gives it a name or the last handle goes. */
export function* makeUnnamed(tx: Tx, op: Op, args: MakeArgs): Steps<Inode> {
  const dir = yield* inodeNow(tx, args.parent)
  yield* walkInto(tx, op, dir)
  yield* mayCreate(tx, op, dir)
  checkType(op, args)
  const domain = yield* domainOf(tx, dir.domain)
  const inode = yield* newInode(tx, op, domain, dir, args, undefined)
  tx.put(orphanKey(op.session, args.ino), encodeOrphan(domain.epoch, UNNAMED))
  tx.change(encodeChange({ kind: 'make', ino: args.ino, mode: inode.mode }))
  return inode
}

function checkType(op: Op, { mode, rdev, target }: MakeArgs): void {
  const type = mode & S_IFMT
  if (type === S_IFLNK) {
    if (target === undefined || target.length === 0) fail('ENOENT')
    else if (target.length > TARGET_MAX_BYTES) fail('ENAMETOOLONG')
  } else if (type === S_IFBLK || type === S_IFCHR) {
    // a whiteout, character device 0/0, is nothing to guard
    if (op.check && !isRoot(op.ctx) && !(type === S_IFCHR && rdev === 0)) fail('EPERM')
  } else if (type !== S_IFREG && type !== S_IFDIR && type !== S_IFIFO && type !== S_IFSOCK) fail('EINVAL')
}

/** The inode, its inherited ACLs and its share of the pool's usage; `home` undefined: unnamed. */
export function* newInode(tx: Tx, op: Op, domain: Domain, dir: StoredInode, args: MakeArgs, home: Place | undefined): Steps<StoredInode> {
  const { ctx } = op
  const type = args.mode & S_IFMT
  const isDir = type === S_IFDIR
  const setgid = (dir.mode & S_ISGID) !== 0

  let mode = args.mode & (S_IFMT | (isDir ? PERMISSIONS & ~0o6000 : PERMISSIONS))
  // a program with the directory's group, made by one who is not in it, would lend that group
  const lends = setgid && !isDir && (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP)
  if (op.check && lends && !isRoot(ctx) && !inGroup(ctx, dir.gid)) mode &= ~S_ISGID
  if (setgid && isDir) mode |= S_ISGID

  let access: Uint8Array | undefined
  let inherited: Uint8Array | undefined
  if (type === S_IFLNK) mode = S_IFLNK | 0o777
  else {
    const bytes = dir.hasDefaultAcl ? yield* wait(readXattr(tx, dir.ino, ACL_DEFAULT, NOW)) : undefined
    const acl = bytes === undefined ? undefined : decodeAcl(bytes)
    if (acl === undefined) mode &= ~(args.umask & 0o777)
    else {
      const given = inheritAcl(acl, mode)
      mode = given.mode
      if (!given.isJustMode) access = encodeAcl(given.acl)
      if (isDir) inherited = bytes
    }
  }
  if (access !== undefined) yield* putXattr(tx, domain, args.ino, ACL_ACCESS, access)
  if (inherited !== undefined) yield* putXattr(tx, domain, args.ino, ACL_DEFAULT, inherited)

  const inline = args.target === undefined || type !== S_IFLNK ? undefined : Buffer.from(args.target, 'latin1')
  const sizeBytes = isDir ? DIRECTORY_SIZE_BYTES : (inline?.length ?? 0)
  addUsage(tx, 1, type === S_IFREG ? sizeBytes : 0)
  const inode = blankInode(args.ino, mode, domain, op)
  inode.nlink = home === undefined ? 0 : isDir ? 2 : 1
  if (setgid) inode.gid = dir.gid
  if (type === S_IFBLK || type === S_IFCHR) inode.rdev = args.rdev
  inode.sizeBytes = inode.durableSizeBytes = sizeBytes
  if (home !== undefined) {
    inode.parent = dir.ino
    inode.homeHigh = home.high
    inode.homeLow = home.low
  }
  inode.hasAccessAcl = access !== undefined
  inode.hasDefaultAcl = inherited !== undefined
  inode.hasXattrs = access !== undefined || inherited !== undefined
  inode.inline = inline
  return putInode(tx, inode)
}

type Unfinished = { -readonly [K in keyof StoredInode]: StoredInode[K] }

/** Of this caller, born now, with one link and nothing in it. In decodeInode's order: V8 then takes both for one kind of object. */
export function blankInode(ino: number, mode: number, domain: Domain, { ctx, now: { sec, nsec } }: Op): Unfinished {
  return {
    ino,
    birth: domain.epoch,
    mode,
    domain: domain.domain,
    parent: 0,
    homeLow: 0,
    homeHigh: 0,
    generation: GENERATION,
    nlink: 1,
    uid: ctx.uid,
    gid: ctx.gid,
    rdev: 0,
    flags: 0,
    sizeBytes: 0,
    durableSizeBytes: 0,
    allocatedBytes: 0,
    blocks512: 0,
    atimeSec: sec,
    mtimeSec: sec,
    ctimeSec: sec,
    btimeSec: sec,
    atimeNsec: nsec,
    mtimeNsec: nsec,
    ctimeNsec: nsec,
    btimeNsec: nsec,
    hasAccessAcl: false,
    hasDefaultAcl: false,
    hasCapability: false,
    hasXattrs: false,
    hasOrigin: false,
    inline: undefined,
    shown: undefined
  }
}

/** Once, at format: domain 1, its root directory (its own parent, without an entry), the counters. */
export function formatPool(tx: Tx, op: Op, root: { readonly mode: number; readonly uid: number; readonly gid: number }): void {
  const domain: Domain = { domain: ROOT_DOMAIN, epoch: 1, newestSnapshot: 0, root: ROOT_INO, ...PLAIN_DOMAIN }
  tx.put(domainKey(ROOT_DOMAIN), encodeDomain(domain))
  tx.put(KEY_NEXT_INO, encodeNextIno(FIRST_FREE_INO))
  tx.createCounters(KEY_USAGE, [1, 0, 0])
  tx.createCounters(directoryKey(ROOT_INO), newSlots(op.now, domain.epoch))
  putInode(tx, {
    ...blankInode(ROOT_INO, S_IFDIR | (root.mode & PERMISSIONS), domain, op),
    nlink: 2,
    uid: root.uid,
    gid: root.gid,
    sizeBytes: DIRECTORY_SIZE_BYTES,
    durableSizeBytes: DIRECTORY_SIZE_BYTES,
    parent: ROOT_INO
  })
  tx.change(encodeChange({ kind: 'make', ino: ROOT_INO, mode: S_IFDIR }))
}

/** First number of a block: the row is validated, so that no two sessions get the same. */
export function* takeInodeNumbers(tx: Tx, count: number): Steps<number> {
  const row = yield* wait(tx.get(KEY_NEXT_INO))
  const first = row === undefined ? FIRST_FREE_INO : decodeNextIno(row.bytes)
  tx.put(KEY_NEXT_INO, encodeNextIno(first + count))
  return first
}
