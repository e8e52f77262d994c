/** Names that come and go: link(2), unlink(2), rmdir(2). The same cost for 1 byte and 1 TiB: the last name only puts the inode
 *  on the session's open-unlinked list; reclaim frees its bytes later, in small steps, when no session holds it any more. Or into the
 *  trash of its domain (trash.ts). */
import { assert } from '../sys/index.js'
import type { Tx } from '../engine/index.js'
import { checkName, fail, isAppendOnly, isImmutable, mayCreate, mayDelete, walkInto } from './access.js'
import { dropDirectory, ENTRIES } from './directory.js'
import { encodeChange } from './events.js'
import type { NameHash } from './hash.js'
import { isDirectory, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { directoryKey, orphanKey } from './keys.js'
import type { Inode, Op } from './words.js'
import { orphanKind, UNNAMED } from './rows.js'
import type { Domain } from './rows.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { demandVisited } from './unvisited.js'
import { chargeHome, countEntry, domainOf, dropLink, findSlot, inodeNow, inodeOf, placeOf, putDentry, putLink, removeDentry, updateInode, keepsTrash, putAway } from './write.js'

/** link(2). ENOTDIR, EACCES (search), EEXIST, ENOENT, EACCES, EXDEV, EPERM (append-only, immutable, a directory), ENOENT (no links). */
export function* link(tx: Tx, hash: NameHash, op: Op, ino: number, parent: number, name: string): Steps<Inode> {
  const dir = yield* inodeNow(tx, parent)
  yield* walkInto(tx, op, dir)
  checkName(name)
  if (name === '.' || name === '..') fail('EEXIST')
  const inode = yield* inodeNow(tx, ino)
  const slot = yield* findSlot(tx, hash, parent, name)
  if (slot.dentry !== undefined) fail('EEXIST')
  yield* mayCreate(tx, op, dir)
  if (inode.domain !== dir.domain) fail('EXDEV')
  if (isAppendOnly(inode) || isImmutable(inode) || isDirectory(inode)) fail('EPERM')

  const domain = yield* domainOf(tx, dir.domain)
  const change = { nlink: inode.nlink + 1, ctimeSec: op.now.sec, ctimeNsec: op.now.nsec }
  let left: StoredInode
  if (inode.nlink === 0) {
    const key = orphanKey(op.session, ino)
    const row = yield* wait(tx.get(key))
    if (row === undefined || orphanKind(row.bytes) !== UNNAMED) fail('ENOENT')
    tx.delete(key)
  }
  if (inode.parent === 0) {
    left = updateInode(tx, domain, inode, { ...change, parent, homeHigh: slot.place.high, homeLow: slot.place.low })
    yield* chargeHome(tx, domain, left, 1)
  } else {
    left = updateInode(tx, domain, inode, change)
    putLink(tx, domain, ino, parent, slot.place, name)
  }
  putDentry(tx, domain, parent, name, slot, ino, inode.mode & S_IFMT)
  yield* countEntry(tx, domain, parent, inode, 1, op.now)
  tx.change(encodeChange({ kind: 'link', ino, parent, name }))
  return left
}

/** unlink(2). ENOTDIR, EACCES (search), ENOENT, EACCES, EPERM (sticky, append-only, immutable), EISDIR. */
export function* unlink(tx: Tx, hash: NameHash, op: Op, parent: number, name: string): Steps<{ readonly left: Inode; readonly isOrphan: boolean }> {
  const dir = yield* inodeNow(tx, parent)
  yield* walkInto(tx, op, dir)
  checkName(name)
  if (name === '.' || name === '..') fail('EISDIR')
  const { dentry } = yield* findSlot(tx, hash, parent, name)
  if (dentry === undefined) throw fail('ENOENT')
  const inode = yield* inodeOf(tx, dentry)
  yield* mayDelete(tx, op, dir, inode, false)
  assert(inode.nlink > 0, 'an entry points to an inode with links')

  const domain = yield* domainOf(tx, dir.domain)
  yield* removeDentry(tx, domain, parent, dentry)
  yield* countEntry(tx, domain, parent, inode, -1, op.now)
  const left = yield* dropLink(tx, op, domain, inode, dir, name, placeOf(dentry))
  tx.change(encodeChange({ kind: 'unlink', ino: inode.ino, parent, name }))
  return { left, isOrphan: left.nlink === 0 && !keepsTrash(op, domain) }
}

/** rmdir(2). ENOTDIR, EACCES (search), EINVAL ('.'), ENOTEMPTY ('..'), ENOENT, EACCES, EPERM, ENOTDIR, EBUSY (a subvolume), ENOTEMPTY. */
export function* rmdir(tx: Tx, hash: NameHash, op: Op, parent: number, name: string): Steps<{ readonly left: Inode; readonly isOrphan: boolean }> {
  const dir = yield* inodeNow(tx, parent)
  yield* walkInto(tx, op, dir)
  if (name === '.') fail('EINVAL')
  if (name === '..') fail('ENOTEMPTY')
  checkName(name)
  const { dentry } = yield* findSlot(tx, hash, parent, name)
  if (dentry === undefined) throw fail('ENOENT')
  const inode = yield* inodeOf(tx, dentry)
  yield* mayDelete(tx, op, dir, inode, true)
  if (inode.domain !== dir.domain) fail('EBUSY') // a subvolume

  const domain = yield* domainOf(tx, dir.domain)
  yield* demandEmpty(tx, inode)
  yield* removeDentry(tx, domain, parent, dentry)
  yield* countEntry(tx, domain, parent, inode, -1, op.now)
  const left = yield* dropDirectoryInode(tx, op, domain, inode, dir, name)
  tx.change(encodeChange({ kind: 'rmdir', ino: inode.ino, parent, name }))
  return { left, isOrphan: !keepsTrash(op, domain) }
}

/** The count may be older than the commit: then the guard decides, and the body runs again. */
export function* demandEmpty(tx: Tx, dir: Inode): Steps<void> {
  demandVisited(dir)
  const slots = yield* wait(tx.counters(directoryKey(dir.ino)))
  if (slots !== undefined && slots[ENTRIES] !== 0) fail('ENOTEMPTY')
}

/** An empty directory whose entry in `dir` goes: no guard, so nothing can be put into it; in the trash, or on the session's list while it is open. */
export function* dropDirectoryInode(tx: Tx, op: Op, domain: Domain, inode: StoredInode, dir: StoredInode, name: string): Steps<StoredInode> {
  yield* chargeHome(tx, domain, inode, -1)
  yield* dropDirectory(tx, domain, inode.ino)
  putAway(tx, op, domain, inode, dir, name)
  return updateInode(tx, domain, inode, { nlink: 0, parent: 0, homeHigh: 0, homeLow: 0, ctimeSec: op.now.sec, ctimeNsec: op.now.nsec })
}
