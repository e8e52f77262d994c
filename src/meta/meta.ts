/**
 * The tree as transactions: what vfs may ask of it. Every change is a pure body over a Tx (see engine): it sees no clock
 * and no socket, may run twice, and reads like the manual page. The same bodies run on every engine.
 *   - A miss (lookup) is undefined; everything else that fails throws PosixError, in the order in which the kernel
 *     would report it.
 *   - Times of a directory, its link count and its sums live in its counter row (the guard), not in its inode value:
 *     a thousand creates in one directory do not conflict.
 *   - With `check` the caller's permissions are decided here; without, the front door did (the kernel, with
 *     default_permissions). Sticky, immutable and append-only rules always hold.
 */
import type { Context, PosixError } from '../sys/index.js'
import type { Key, MaybePromise, Reader, Tx } from '../engine/index.js'
import type { Origin, View } from '../data/index.js'
import type { ChangedInodes } from './changed.js'
import type { CloneArgs } from './clone.js'
import type { Hold } from './holds.js'
import type { Forgotten } from './orphans.js'
import type { Domain, Snapshot, Removed } from './rows.js'
import type { VolumeCloneArgs } from './volume-clones.js'
import type { Reading, ReadThrough } from './needed.js'
import type { Replaced, TreeRollbackArgs, TreeRolledBack } from './replaced.js'
import type { Rollback, Younger } from './rollback.js'
import type { NamedSnapshot, Needless, Sweep } from './snapshot.js'
import type { MadeSubvolume } from './subvolumes.js'
import type { TrashSums } from './trash.js'
import type { DirectoryRow, Inode, MakeArgs, Op, Timespec, VolumeRow } from './words.js'

export interface Tree {
  // reads: committed state (engine.reader(ctx)) or a Tx
  inode(r: Reader, ino: number, view: View): MaybePromise<Inode | undefined>
  lookup(r: Reader, parent: number, name: string, view: View): MaybePromise<{ readonly ino: number; readonly typeBits: number } | undefined>
  /** Up to `limit` entries behind the cookie, in cookie order; '.' and '..' are not among them. Cookies are never (0,0), (0,1), (0,2). */
  list(r: Reader, ino: number, view: View, cookieHigh: number, cookieLow: number, limit: number): MaybePromise<readonly DirectoryRow[]>
  getxattr(r: Reader, ino: number, name: string, view: View): MaybePromise<Uint8Array | undefined>
  listxattr(r: Reader, ino: number, view: View): MaybePromise<readonly string[]>
  /** EACCES unless the caller may; ACLs included, as they are at the view (now). */
  mayAccess(r: Reader, ctx: Context, inode: Inode, mask: number, view?: View): MaybePromise<PosixError | undefined>
  /** Where an inode is: one (parent, name) per link. */
  links(r: Reader, ino: number): MaybePromise<ReadonlyArray<{ readonly parent: number; readonly name: string }>>
  /** Where an inode with a name was at a view: the first of its names. */
  home(r: Reader, ino: number, view: View): MaybePromise<{ readonly parent: number; readonly name: string } | undefined>
  /** Some inodes (of all domains, perhaps more than once) whose value, or whose entries, were replaced between two views; changed.ts. */
  changedInodes(r: Reader, older: View, younger: View, behind: Key): MaybePromise<ChangedInodes>
  /** Pool sums: inodes in use, bytes of all files, extents that they have (history's are not counted). */
  usage(r: Reader): MaybePromise<{ readonly inodes: number; readonly bytes: number; readonly extents: number }>

  // bodies
  /** Once, at format: root directory, domain 1, counters. */
  format(tx: Tx, op: Op, root: { readonly mode: number; readonly uid: number; readonly gid: number }): MaybePromise<void>
  /** First number of a new block of `count` inode numbers. */
  takeInodeNumbers(tx: Tx, count: number): MaybePromise<number>
  /** mknod, mkdir, symlink, creat: by mode. EEXIST with the existing inode's number in the error is not needed: look up first. */
  make(tx: Tx, op: Op, args: MakeArgs): MaybePromise<Inode>
  /** O_TMPFILE: linked nowhere, on the session's open-unlinked list. */
  makeUnnamed(tx: Tx, op: Op, args: MakeArgs): MaybePromise<Inode>
  link(tx: Tx, op: Op, ino: number, parent: number, name: string): MaybePromise<Inode>
  /** `left`: the inode after it, nlink 0 if that was its last name; then it is on the open-unlinked list (`isOrphan`) or in the trash. */
  unlink(tx: Tx, op: Op, parent: number, name: string): MaybePromise<{ readonly left: Inode; readonly isOrphan: boolean }>
  rmdir(tx: Tx, op: Op, parent: number, name: string): MaybePromise<{ readonly left: Inode; readonly isOrphan: boolean }>
  /** `replaced`: what was at the new name, after it (`isOrphan`: on the open-unlinked list now). `moved`: what now is there. */
  rename(tx: Tx, op: Op, args: { readonly parent: number; readonly name: string; readonly newParent: number; readonly newName: string; readonly flags: number; readonly whiteoutIno: number }): MaybePromise<{ readonly moved: Inode; readonly replaced: Inode | undefined; readonly isOrphan: boolean }>
  /** Everything of SetAttr but the size (that is data's). Bits as in vfs SetAttr.valid. */
  setattr(tx: Tx, op: Op, ino: number, set: { readonly valid: number; readonly mode: number; readonly uid: number; readonly gid: number; readonly atimeSec: number; readonly atimeNsec: number; readonly mtimeSec: number; readonly mtimeNsec: number; readonly ctimeSec: number; readonly ctimeNsec: number }): MaybePromise<Inode>
  /** Batched atime updates; never an error if the inode is gone. */
  touchAtime(tx: Tx, ino: number, at: Timespec): MaybePromise<void>
  setflags(tx: Tx, op: Op, ino: number, flags: number): MaybePromise<void>
  setxattr(tx: Tx, op: Op, ino: number, name: string, value: Uint8Array, flags: number, killSgid: boolean): MaybePromise<void>
  removexattr(tx: Tx, op: Op, ino: number, name: string): MaybePromise<void>
  /** After data.reclaimStep said true: inode, xattrs, sums and the list entry go. 'later': ask again when another inode is forgotten. 'released': history that it alone held may be given back. */
  forgetInode(tx: Tx, session: number, ino: number): MaybePromise<Forgotten>
  /** Open-unlinked inodes of sessions other than `session` (dead ones), up to limit. */
  orphans(r: Reader, session: number, limit: number): MaybePromise<ReadonlyArray<{ readonly session: number; readonly ino: number }>>
  // volumes: inodes that no directory names, each a domain of its own (volumes.ts)
  volume(r: Reader, name: string): MaybePromise<number | undefined>
  volumes(r: Reader): MaybePromise<readonly VolumeRow[]>
  /** EEXIST. */
  makeVolume(tx: Tx, op: Op, name: string, ino: number, sizeBytes: number): MaybePromise<Inode>
  /** ENOENT, EEXIST. */
  renameVolume(tx: Tx, name: string, newName: string): MaybePromise<void>
  /** ENOENT, ENOTEMPTY (it has snapshots). The inode, on the open-unlinked list now. */
  removeVolume(tx: Tx, op: Op, name: string): MaybePromise<number>
  /** ENOENT, EEXIST, EBUSY. */
  cloneVolume(tx: Tx, op: Op, args: VolumeCloneArgs): MaybePromise<Inode>
  /** Of what a volume is a clone; undefined: of nothing (any more). */
  originOf(r: Reader, ino: number): MaybePromise<Origin | undefined>
  /** The clones that need views of a domain. */
  clonesOf(r: Reader, domain: number): MaybePromise<readonly Hold[]>
  /** A volume was flattened: what it held of its origin is released unless a snapshot of it still shows that. */
  settleHolds(tx: Tx, domain: number): MaybePromise<boolean>
  /** Of a snapshot's two transactions (taking.ts) the first: constant time. ENOENT, EEXIST, EBUSY (it is being rolled back). Its epoch, held for nobody until it is named, or dropped, or something else holds it. */
  beginSnapshot(tx: Tx, domain: number, name: string | undefined): MaybePromise<number>
  nameSnapshot(tx: Tx, op: Op, domain: number, epoch: number, name: string): MaybePromise<void>
  dropBegun(tx: Tx, domain: number, epoch: number): MaybePromise<void>
  /** Takes its name away; what it alone held is found by needlessHistory. Returns its epoch. ENOENT. */
  removeSnapshot(tx: Tx, domain: number, name: string): MaybePromise<number>

  // subvolumes: directories that are domains of their own (subvolumes.ts)
  makeSubvolume(tx: Tx, op: Op, parent: number, name: string, mode: number, ino: number): MaybePromise<MadeSubvolume>
  removeSubvolume(tx: Tx, op: Op, parent: number, name: string): MaybePromise<Inode>
  /** A subvolume whose root is a clone of what a snapshot shows (clone.ts). */
  cloneTree(tx: Tx, op: Op, args: CloneArgs): MaybePromise<Inode>
  /** What clones hold: of one origin, or of all. */
  holds(r: Reader, origin?: number): MaybePromise<readonly Hold[]>

  // trash: what lost its last name and is kept for a while (trash.ts)
  /** ENOENT: no such domain. */
  setTrash(tx: Tx, domain: number, trash: 'on' | 'off', keepSec: number): MaybePromise<void>
  /** Every domain that keeps a trash, or did. */
  trashes(r: Reader): MaybePromise<readonly TrashSums[]>
  /** Up to `limit` things in it behind a key ('' : from the end), in the order of time or against it. */
  removed(r: Reader, domain: number, behind: Key, limit: number, order: 'oldest first' | 'newest first'): MaybePromise<readonly Removed[]>
  /** It is there again, at this name, which need not be the old one. ENOENT (it is not in the trash, the folder is gone), ENOTDIR, EEXIST, EXDEV, as link. */
  restore(tx: Tx, op: Op, removed: Removed, parent: number, name: string): MaybePromise<Inode>
  /** Leaves the trash for the open-unlinked list: to be reclaimed. False: nothing is to be reclaimed (it was a name, or is not in the trash any more). */
  discard(tx: Tx, op: Op, removed: Removed): MaybePromise<boolean>

  /** Every domain's row. */
  domains(r: Reader): MaybePromise<readonly Domain[]>

  // snapshots
  domain(r: Reader, domain: number): MaybePromise<Domain | undefined>
  snapshotNamed(r: Reader, domain: number, name: string): MaybePromise<Snapshot | undefined>
  /** Oldest first. */
  snapshots(r: Reader, domain: number): MaybePromise<readonly NamedSnapshot[]>
  /** Decides that a volume becomes what a snapshot shows. ENOENT, EBUSY, ENOTEMPTY (there are younger snapshots). */
  rollBack(tx: Tx, domain: number, name: string, younger: Younger): MaybePromise<Rollback>
  /** A tree becomes what a snapshot shows, at once (replaced.ts). ENOENT, EINVAL, EBUSY (subvolumes are in it), E2BIG. */
  rollBackTree(tx: Tx, op: Op, args: TreeRollbackArgs): MaybePromise<TreeRolledBack>
  /** What rollbacks took out of trees and is being removed: of one domain, or of all. */
  replaced(r: Reader, domain?: number): MaybePromise<readonly Replaced[]>
  /** It is empty: it goes, and its inode is to be reclaimed. */
  dropReplaced(tx: Tx, op: Op, replaced: Replaced): MaybePromise<void>
  /** Holds of trees, which may be needed no more (needed.ts). */
  treeHolds(r: Reader): MaybePromise<readonly Hold[]>
  /** What holds something is needed for, some rows at a time ('': from the beginning). */
  readThrough(r: Reader, behind: Key, limit: number): MaybePromise<ReadThrough>
  /** Nothing reads through to that view any more, and `at` was the clone's epoch when that was looked for. */
  releaseHold(tx: Tx, hold: Hold, at: number): MaybePromise<boolean>
  /** What of a domain has something of an origin's, some rows at a time ('': from the beginning). */
  readingIn(r: Reader, domain: number, behind: Key, limit: number): MaybePromise<{ readonly found: readonly Reading[], readonly behind: Key | undefined }>
  /** What was decided and is not done. */
  rollbacksWanted(r: Reader): MaybePromise<readonly Rollback[]>
  isRollingBack(r: Reader, domain: number): MaybePromise<boolean>
  rollbackDone(tx: Tx, domain: number): void
  sweepsWanted(r: Reader): MaybePromise<readonly Sweep[]>
  /** The removal that left the mark is durable. */
  sweepBegun(tx: Tx, sweep: Sweep): MaybePromise<void>
  sweepDone(tx: Tx, sweep: Sweep): MaybePromise<void>
  /** Of the next `limit` rows of history those that no snapshot needs. Once needless, always needless. */
  needlessHistory(r: Reader, behind: Key, limit: number): MaybePromise<Needless>
}
