/**
 * Subvolumes: a directory that is the root of a domain of its own, whose number is the directory's inode. Snapshots are taken of it
 * alone, and those of the tree around it show an empty folder in its place.
 *   - Its entry and what its home is charged belong to the domain around it, its inode and all below it to its own.
 *   - Names do not cross its edge: rename and link give EXDEV, and the subvolume itself stays where it is. rmdir gives EBUSY.
 *   - One that is removed is empty, has no snapshots, and nothing is a clone of it. Snapshots of the tree around it go on to show an empty folder.
 */
import type { Tx } from '../engine/index.js'
import { retire } from '../data/index.js'
import { checkName, fail, mayCreate, mayDelete, walkInto } from './access.js'
import { dropDirectory, newSlots } from './directory.js'
import { encodeChange } from './events.js'
import type { NameHash } from './hash.js'
import { encodeInode, isDirectory, S_IFDIR, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { holdsOn } from './holds.js'
import { directoryKey, domainKey, inodeKey, orphanKey, snapshotsFrom, sweepKey, trashFrom } from './keys.js'
import { demandEmpty, rmdir } from './link.js'
import { newInode } from './make.js'
import { demandInTree, holdOuter, holdsItself, replacedIn } from './replaced.js'
import type { Inode, Op } from './words.js'
import { encodeDomain, encodeOrphan, PLAIN_DOMAIN, UNLINKED } from './rows.js'
import type { Domain } from './rows.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { chargeHome, countEntry, domainOf, findSlot, inodeNow, inodeOf, putDentry, putInode, removeDentry } from './write.js'

export const isDomainRoot = (inode: Inode): boolean => inode.domain === inode.ino && isDirectory(inode)

export interface MadeSubvolume {
  readonly inode: Inode
  /** The empty folder that was there: its inode is to be reclaimed. */
  readonly replaced: Inode | undefined
}

/** In the place of an empty folder, whose owner and mode it takes, or new, owned like the folder around it. ENOTDIR, EEXIST, ENOTEMPTY, EBUSY (a subvolume is there), as mkdir. */
export function* makeSubvolume(tx: Tx, hash: NameHash, op: Op, parent: number, name: string, mode: number, ino: number): Steps<MadeSubvolume> {
  const dir = yield* inodeNow(tx, parent)
  yield* walkInto(tx, op, dir)
  checkName(name)
  if (name === '.' || name === '..') fail('EEXIST')
  const found = (yield* findSlot(tx, hash, parent, name)).dentry
  const old = found === undefined ? undefined : yield* inodeOf(tx, found)
  if (old !== undefined && !isDirectory(old)) fail('EEXIST')
  let replaced: Inode | undefined
  if (old !== undefined) replaced = (yield* rmdir(tx, hash, op, parent, name)).left
  else yield* mayCreate(tx, op, dir)

  yield* demandInTree(tx, dir)
  const outer = yield* holdOuter(tx, dir.domain)
  const slot = yield* findSlot(tx, hash, parent, name)
  const domain: Domain = { domain: ino, epoch: 1, newestSnapshot: 0, root: ino, ...PLAIN_DOMAIN }
  tx.put(domainKey(ino), encodeDomain(domain))
  const args = { parent, name, mode: S_IFDIR | (old === undefined ? mode : old.mode & 0o7777), umask: 0, rdev: 0, target: undefined, ino }
  const made = yield* newInode(tx, op, domain, dir, args, slot.place)
  const like = old ?? dir
  const inode = putInode(tx, { ...made, uid: like.uid, gid: like.gid, mode: old?.mode ?? made.mode })
  putDentry(tx, outer, parent, name, slot, ino, inode.mode & S_IFMT)
  tx.createCounters(directoryKey(ino), newSlots(op.now, domain.epoch))
  yield* countEntry(tx, outer, parent, inode, 1, op.now)
  yield* chargeHome(tx, outer, inode, 1)
  tx.change(encodeChange({ kind: 'make', ino, mode: inode.mode, parent, name }))
  return { inode, replaced }
}

/** ENOENT, EINVAL (no subvolume), ENOTEMPTY, EBUSY (it has snapshots), EEXIST (its trash is not empty), ETXTBSY (something is a clone of it), EAGAIN (history of removed ones, or what a rollback left, is not gone yet). What is left is to be reclaimed. */
export function* removeSubvolume(tx: Tx, hash: NameHash, op: Op, parent: number, name: string): Steps<Inode> {
  const dir = yield* inodeNow(tx, parent)
  yield* walkInto(tx, op, dir)
  const { dentry } = yield* findSlot(tx, hash, parent, name)
  if (dentry === undefined) throw fail('ENOENT')
  const inode: StoredInode = yield* inodeOf(tx, dentry)
  if (!isDomainRoot(inode)) fail('EINVAL')
  yield* mayDelete(tx, op, dir, inode, true)
  yield* demandEmpty(tx, inode)
  const inner = yield* domainOf(tx, inode.domain) // a snapshot taken meanwhile makes the body run again
  const snapshots = yield* wait(tx.scan({ from: snapshotsFrom(inode.domain), to: snapshotsFrom(inode.domain + 1), limit: 1 }))
  if (snapshots.length > 0) fail('EBUSY')
  if ((yield* holdsOn(tx, inode.domain)).some(({ clone }) => clone !== inode.domain)) fail('ETXTBSY')
  if ((yield* wait(tx.scan({ from: trashFrom(inode.domain), to: trashFrom(inode.domain + 1), limit: 1 }))).length > 0) fail('EEXIST')
  if ((yield* holdsItself(tx, inode.domain)) || (yield* replacedIn(tx, inode.domain)).length > 0) fail('EAGAIN') // what a rollback needs or left: releaseHold
  if ((yield* wait(tx.get(sweepKey(inode.domain)))) !== undefined) fail('EAGAIN') // else history rows of its inodes would be taken for the outer domain's

  const outer = yield* domainOf(tx, dir.domain)
  // what snapshots of the tree around it show from now on
  retire(tx, inodeKey(inode.ino), dentry.birth, encodeInode({ ...inode, domain: outer.domain, birth: dentry.birth, nlink: 2 }), outer)
  yield* removeDentry(tx, outer, parent, dentry)
  yield* countEntry(tx, outer, parent, inode, -1, op.now)
  yield* chargeHome(tx, outer, inode, -1)
  yield* dropDirectory(tx, inner, inode.ino)
  tx.put(orphanKey(op.session, inode.ino), encodeOrphan(inner.epoch, UNLINKED))
  const left = putInode(tx, { ...inode, nlink: 0, parent: 0, homeHigh: 0, homeLow: 0, ctimeSec: op.now.sec, ctimeNsec: op.now.nsec, birth: inner.epoch })
  tx.change(encodeChange({ kind: 'rmdir', ino: inode.ino, parent, name }))
  return left
}
