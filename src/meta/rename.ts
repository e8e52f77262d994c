/**
 * renameat2(2). One commit: both names, both directories' counts, times and sums, and what was at the new name.
 *   - No cycle: a directory that changes its parent may not be above its new place. The inodes from there up to the root are
 *     validated reads, and a move puts the moved directory's inode: of two moves that together would make a cycle, each puts
 *     what the other read, so one runs again and gets EINVAL.
 *   - A moved directory's '..' is Inode.parent.
 * Order of errors as in do_renameat2, vfs_rename (fs/namei.c).
 */
import { PosixError } from '../sys/index.js'
import type { Tx } from '../engine/index.js'
import { checkName, demand, fail, MAY_WRITE, mayCreate, mayDelete, walkInto } from './access.js'
import { changeDirectory, setDirectoryTimes } from './directory.js'
import { encodeChange } from './events.js'
import type { NameHash, Place } from './hash.js'
import { isDirectory, S_IFCHR, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { linkKey } from './keys.js'
import { demandEmpty, dropDirectoryInode } from './link.js'
import { blankInode } from './make.js'
import type { Inode, Op } from './words.js'
import type { Dentry, Domain } from './rows.js'
import type { Steps } from './steps.js'
import { addUsage, chargeHome, domainOf, dropLink, findSlot, inodeNow, inodeOf, isHome, keepsTrash, putDentry, putInode, putLink, removeDentry, updateInode } from './write.js'
import type { Slot } from './write.js'

export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2
export const RENAME_WHITEOUT = 4

export interface RenameArgs {
  readonly parent: number
  readonly name: string
  readonly newParent: number
  readonly newName: string
  readonly flags: number
  /** Number of the inode that a whiteout is made with. */
  readonly whiteoutIno: number
}
export interface Renamed {
  readonly moved: Inode
  readonly replaced: Inode | undefined
  /** Of what was replaced: it lost its last name, and is to be reclaimed. */
  readonly isOrphan: boolean
}

/** A name in a directory, and what it stands for. */
interface End {
  readonly parent: number
  readonly name: string
  readonly slot: Slot
  readonly inode: StoredInode | undefined
}

export function* rename(tx: Tx, hash: NameHash, op: Op, args: RenameArgs): Steps<Renamed> {
  const { parent, name, newParent, newName, flags } = args
  const exchange = (flags & RENAME_EXCHANGE) !== 0
  if ((flags & ~7) !== 0 || (exchange && flags !== RENAME_EXCHANGE)) fail('EINVAL')
  const fromDir = yield* inodeNow(tx, parent)
  yield* walkInto(tx, op, fromDir)
  const toDir = newParent === parent ? fromDir : yield* inodeNow(tx, newParent)
  yield* walkInto(tx, op, toDir)
  if (isDots(name) || isDots(newName)) fail('EBUSY')
  checkName(name)
  checkName(newName)

  const fromSlot = yield* findSlot(tx, hash, parent, name)
  if (fromSlot.dentry === undefined) throw new PosixError('ENOENT')
  const toSlot = yield* findSlot(tx, hash, newParent, newName)
  if ((flags & RENAME_NOREPLACE) !== 0 && toSlot.dentry !== undefined) fail('EEXIST')
  if (exchange && toSlot.dentry === undefined) fail('ENOENT')
  const source = yield* inodeOf(tx, fromSlot.dentry)
  const target = toSlot.dentry === undefined ? undefined : yield* inodeOf(tx, toSlot.dentry)
  if (parent !== newParent) {
    if (isDirectory(source) && (yield* isAbove(tx, source.ino, newParent))) fail('EINVAL')
    if (target !== undefined && isDirectory(target) && (yield* isAbove(tx, target.ino, parent))) fail(exchange ? 'EINVAL' : 'ENOTEMPTY')
  }
  if (target !== undefined && target.ino === source.ino) return { moved: source, replaced: undefined, isOrphan: false }

  yield* mayDelete(tx, op, fromDir, source, isDirectory(source))
  if (target === undefined) yield* mayCreate(tx, op, toDir)
  else yield* mayDelete(tx, op, toDir, target, isDirectory(exchange ? target : source))
  if (parent !== newParent) { // its '..' changes
    if (isDirectory(source)) yield* demand(tx, op, source, MAY_WRITE)
    if (exchange && target !== undefined && isDirectory(target)) yield* demand(tx, op, target, MAY_WRITE)
  }
  if (fromDir.domain !== toDir.domain || source.domain !== toDir.domain || (target !== undefined && target.domain !== toDir.domain)) fail('EXDEV')
  if (!exchange && target !== undefined && isDirectory(target)) yield* demandEmpty(tx, target)

  const domain = yield* domainOf(tx, toDir.domain)
  const from = { parent, name, slot: fromSlot, inode: source }
  const to = { parent: newParent, name: newName, slot: toSlot, inode: target }
  tx.change(encodeChange({ kind: exchange ? 'exchange' : 'rename', ino: source.ino, parent, name, toParent: newParent, toName: newName, toIno: target?.ino ?? 0 }))
  if (exchange && target !== undefined) return yield* swap(tx, op, domain, from, to, source, target)
  return yield* move(tx, op, domain, from, to, toDir, fromSlot.dentry, source, (flags & RENAME_WHITEOUT) !== 0 ? args.whiteoutIno : 0)
}

const isDots = (name: string): boolean => name === '.' || name === '..'

/** Whether `ino` is `below` or one of the directories above it. Every one read is validated. */
function* isAbove(tx: Tx, ino: number, below: number): Steps<boolean> {
  for (let at = below; at !== ino;) {
    const dir = yield* inodeNow(tx, at)
    if (dir.parent === at || dir.parent === 0) return false // the root, or a removed directory
    at = dir.parent
  }
  return true
}

function* swap(tx: Tx, op: Op, domain: Domain, from: End, to: End, source: StoredInode, target: StoredInode): Steps<Renamed> {
  putDentry(tx, domain, from.parent, from.name, from.slot, target.ino, target.mode & S_IFMT)
  putDentry(tx, domain, to.parent, to.name, to.slot, source.ino, source.mode & S_IFMT)
  const moved = yield* moveLink(tx, op, domain, source, from, to, to.slot.place)
  const replaced = yield* moveLink(tx, op, domain, target, to, from, from.slot.place)
  const more = from.parent === to.parent ? 0 : Number(isDirectory(source)) - Number(isDirectory(target))
  yield* changeDirectory(tx, domain, from.parent, { entries: 0, subdirectories: -more, bytes: 0, inodes: 0 }, op.now)
  if (from.parent !== to.parent) yield* changeDirectory(tx, domain, to.parent, { entries: 0, subdirectories: more, bytes: 0, inodes: 0 }, op.now)
  return { moved, replaced, isOrphan: false }
}

function* move(tx: Tx, op: Op, domain: Domain, from: End, to: End, toDir: StoredInode, old: Dentry, source: StoredInode, whiteoutIno: number): Steps<Renamed> {
  const target = to.inode
  const isDir = Number(isDirectory(source))
  const wasDir = Number(target !== undefined && isDirectory(target))
  let replaced: StoredInode | undefined
  if (target !== undefined) {
    replaced = wasDir === 1 ? yield* dropDirectoryInode(tx, op, domain, target, toDir, to.name) : yield* dropLink(tx, op, domain, target, toDir, to.name, to.slot.place)
  }
  // the new name first: in a chain of ties the old one's place then knows whether it is the last
  putDentry(tx, domain, to.parent, to.name, to.slot, source.ino, source.mode & S_IFMT)
  const moved = yield* moveLink(tx, op, domain, source, from, to, to.slot.place)
  if (whiteoutIno === 0) yield* removeDentry(tx, domain, from.parent, old)
  else yield* putWhiteout(tx, op, domain, from, whiteoutIno)
  const gone = whiteoutIno === 0 ? -1 : 0
  yield* changeDirectory(tx, domain, from.parent, { entries: gone, subdirectories: -isDir, bytes: 0, inodes: 0 }, op.now)
  yield* changeDirectory(tx, domain, to.parent, { entries: target === undefined ? 1 : 0, subdirectories: isDir - wasDir, bytes: 0, inodes: 0 }, op.now)
  return { moved, replaced, isOrphan: replaced?.nlink === 0 && !keepsTrash(op, domain) }
}

/** One of an inode's names is now elsewhere: its home with the sums, or a reverse link. */
function* moveLink(tx: Tx, op: Op, domain: Domain, inode: StoredInode, from: End, to: End, place: Place): Steps<StoredInode> {
  const ctime = { ctimeSec: op.now.sec, ctimeNsec: op.now.nsec }
  if (!isHome(inode, from.parent, from.slot.place)) {
    tx.delete(linkKey(inode.ino, from.parent, from.slot.place))
    putLink(tx, domain, inode.ino, to.parent, place, to.name)
    return updateInode(tx, domain, inode, ctime)
  }
  const moved = updateInode(tx, domain, inode, { parent: to.parent, homeHigh: place.high, homeLow: place.low, ...ctime })
  if (isDirectory(inode)) yield* setDirectoryTimes(tx, domain, inode.ino, undefined, op.now)
  if (from.parent !== to.parent) {
    yield* chargeHome(tx, domain, inode, -1)
    yield* chargeHome(tx, domain, moved, 1)
  }
  return moved
}

/** A character device 0/0 at the old name, which overlay file systems read as "nothing here". */
function* putWhiteout(tx: Tx, op: Op, domain: Domain, at: End, ino: number): Steps<void> {
  const mode = S_IFCHR
  const inode = putInode(tx, { ...blankInode(ino, mode, domain, op), parent: at.parent, homeHigh: at.slot.place.high, homeLow: at.slot.place.low })
  putDentry(tx, domain, at.parent, at.name, at.slot, ino, mode)
  yield* chargeHome(tx, domain, inode, 1)
  addUsage(tx, 1, 0)
  tx.change(encodeChange({ kind: 'make', ino, mode, parent: at.parent, name: at.name }))
}
