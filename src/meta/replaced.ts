/**
 * A tree (the root tree, a subvolume) becomes again what a snapshot of it shows: its root becomes a clone of what it was.
 *   - One transaction. What is in the root moves to a folder that has no name (Y, domain, ino), and the root is unvisited from then on
 *     (visit.ts), with row L naming itself at the snapshot's epoch. The root keeps its number; all else in it is new.
 *   - The domain's epoch grows, so that what visits make was born after every snapshot there is: older and younger snapshots stay as they
 *     are. No two rollbacks of a domain have one epoch.
 *   - The domain holds the view that it reads through (row K, of itself), as long as something in it, now or in a snapshot,
 *     has a row L that names it (needed.ts).
 *   - The folder without a name is its own parent. Nobody makes subvolumes in it; it is emptied as by `rm -r`, some names at a time, and
 *     goes then (snapshot/removing.ts). No snapshot of the domain is taken before: none shows it.
 *   - Entries that are made meanwhile are told by the root's guard: the body runs again.
 */
import { birthOf, NOW, putOrigin, retire } from '../data/index.js'
import type { Key, KeyedRow, Reader, Tx } from '../engine/index.js'
import { fail } from './access.js'
import { changeDirectory, dropDirectory, newSlots, setDirectoryTimes } from './directory.js'
import { encodeChange } from './events.js'
import { hold, holdsOn } from './holds.js'
import { isDirectory, S_IFDIR } from './inode.js'
import type { StoredInode } from './inode.js'
import { dentriesFrom, dentryKey, directoryKey, domainKey, firstNumber, linkKey, orphanKey, replacedFrom, replacedKey, secondNumber, xattrKey, xattrsFrom, nameBehind } from './keys.js'
import { DIRECTORY_SIZE_BYTES, blankInode, ROOT_INO } from './make.js'
import type { Op } from './words.js'
import { windowAt, windowNow } from './past.js'
import type { RowAt, Window } from './past.js'
import { readInode } from './read.js'
import { damaged, decodeDentry, encodeDentry, encodeDomain, encodeLink, encodeOrphan, encodeReplaced, encodeXattr, UNLINKED, xattrValue } from './rows.js'
import type { Dentry, Domain } from './rows.js'
import { allDomains, domainNow, snapshotNamed } from './snapshot.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { demandVisited } from './unvisited.js'
import { addUsage, chargedBytes, domainOf, inodeNow, inodeOf, isHome, placeOf, putInode, updateInode } from './write.js'

/**
 * In one transaction: of the log 560 bytes each with names of 8 bytes, 1,550 with names of 255, and twice what lies in the inode
 * (2 KiB of a small file). The engine refuses what is more than a quarter of the log, 16 MiB: E2BIG as well.
 */
export const ROOT_ENTRIES_MAX = 8192
const PAGE_ROWS = 256
const LAST = 2 ** 53 - 1

export interface TreeRollbackArgs {
  readonly domain: number
  readonly snapshot: string
  /** A new number, for the folder without a name. */
  readonly ino: number
}

export interface TreeRolledBack {
  readonly root: number
  /** The view that it shows now. */
  readonly epoch: number
  /** What was in the root. */
  readonly names: readonly string[]
}

/** What a rollback took out of a tree, while it is being removed. */
export interface Replaced {
  readonly domain: number
  /** A folder without a name. */
  readonly ino: number
}

/** ENOENT (no such snapshot), EINVAL (no tree), EBUSY (a subvolume is in it), E2BIG (more than ROOT_ENTRIES_MAX names in the root, or more than a transaction holds). */
export function* rollBackTree(tx: Tx, op: Op, { domain, snapshot, ino }: TreeRollbackArgs): Steps<TreeRolledBack> {
  const before: Domain = yield* domainNow(tx, domain)
  const root: StoredInode = yield* inodeNow(tx, before.root)
  if (!isDirectory(root)) fail('EINVAL')
  const taken = yield* snapshotNamed(tx, domain, snapshot)
  if (taken === undefined) throw fail('ENOENT')
  demandVisited(root)
  if (yield* holdsSubvolumes(tx, before)) fail('EBUSY')
  const was = yield* wait(readInode(tx, root.ino, taken.epoch))
  if (was === undefined) throw damaged(`the root of snapshot ${snapshot}`)
  const xattrs = yield* rowsAt(tx, xattrsFrom(root.ino), xattrsFrom(root.ino + 1), taken.epoch)

  const at: Domain = { ...before, epoch: before.epoch + 1 }
  tx.put(domainKey(domain), encodeDomain(at))
  yield* hold(tx, domain, taken.epoch, domain)
  const names = yield* moveOut(tx, op, at, root, ino, was)
  yield* exchangeXattrs(tx, at, root.ino, xattrs)
  const { mode, uid, gid, flags, atimeSec, atimeNsec, btimeSec, btimeNsec, hasXattrs, hasAccessAcl, hasDefaultAcl, hasCapability } = was
  updateInode(tx, at, root, { mode, uid, gid, flags, atimeSec, atimeNsec, btimeSec, btimeNsec, hasXattrs, hasAccessAcl, hasDefaultAcl, hasCapability, hasOrigin: true })
  putOrigin(tx, root.ino, { birth: at.epoch, ino: root.ino, epoch: taken.epoch, limit: 0 })
  tx.change(encodeChange({ kind: 'attributes', ino: root.ino }))
  return { root: root.ino, epoch: taken.epoch, names }
}

/** All that is in the root is in a new folder without a name. Answers the names. */
function* moveOut(tx: Tx, op: Op, at: Domain, root: StoredInode, ino: number, was: StoredInode): Steps<readonly string[]> {
  const names: string[] = []
  const sums = { subdirectories: 0, inodes: 0, bytes: 0 }
  for (let behind: Key | undefined = dentryKey(root.ino, 0, 0); behind !== undefined;) {
    const window: Window = yield* windowNow(tx, behind, dentriesFrom(root.ino + 1))
    for (const { key, bytes: row } of window.rows) {
      const dentry = decodeDentry(key, row)
      const { cookieHigh, cookieLow, name, typeBits } = dentry
      retire(tx, key, dentry.birth, row, at)
      tx.delete(key)
      tx.put(dentryKey(ino, cookieHigh, cookieLow), encodeDentry(at.epoch, dentry.ino, typeBits, name))
      if (dentry.ino === 0) continue // a tombstone: chains of ties are whole there too
      if (names.push(name) > ROOT_ENTRIES_MAX) fail('E2BIG')
      if (typeBits === S_IFDIR) sums.subdirectories++
      const child = yield* moveChild(tx, at, root.ino, ino, dentry)
      if (child !== undefined) {
        sums.inodes++
        sums.bytes += chargedBytes(child)
      }
      tx.change(encodeChange({ kind: 'rename', ino: dentry.ino, parent: root.ino, name, toParent: ino, toName: name }))
    }
    behind = window.behind
  }
  putInode(tx, { ...blankInode(ino, S_IFDIR | 0o700, at, op), nlink: 2, sizeBytes: DIRECTORY_SIZE_BYTES, durableSizeBytes: DIRECTORY_SIZE_BYTES, parent: ino })
  tx.createCounters(directoryKey(ino), newSlots(op.now, at.epoch))
  yield* changeDirectory(tx, at, ino, { entries: names.length, ...sums }, undefined)
  tx.put(replacedKey(at.domain, ino), encodeReplaced())
  addUsage(tx, 1, 0)
  yield* changeDirectory(tx, at, root.ino, { entries: -names.length, subdirectories: was.nlink - 2 - sums.subdirectories, bytes: -sums.bytes, inodes: -sums.inodes }, undefined)
  yield* setDirectoryTimes(tx, at, root.ino, { sec: was.mtimeSec, nsec: was.mtimeNsec }, { sec: was.ctimeSec, nsec: was.ctimeNsec })
  tx.guardExactly(directoryKey(root.ino), 0)
  return names
}

/** Answers the inode if that name is its home. */
function* moveChild(tx: Tx, at: Domain, from: number, to: number, dentry: Dentry): Steps<StoredInode | undefined> {
  const child = yield* inodeOf(tx, dentry)
  const place = placeOf(dentry)
  if (isHome(child, from, place)) return updateInode(tx, at, child, { parent: to })
  tx.delete(linkKey(child.ino, from, place))
  tx.put(linkKey(child.ino, to, place), encodeLink(at.epoch, dentry.name))
  updateInode(tx, at, child, {}) // who relies on its links reads it
  return undefined
}

function* rowsAt(tx: Tx, from: Key, to: Key, view: number): Steps<readonly RowAt[]> {
  const found: RowAt[] = []
  for (let behind: Key | undefined = from; behind !== undefined;) {
    const window: Window = yield* windowAt(tx, behind, to, view)
    found.push(...window.rows)
    behind = window.behind
  }
  return found
}

function* exchangeXattrs(tx: Tx, at: Domain, ino: number, xattrs: readonly RowAt[]): Steps<void> {
  for (const { key, bytes } of yield* rowsAt(tx, xattrsFrom(ino), xattrsFrom(ino + 1), at.epoch)) {
    retire(tx, key, birthOf(bytes), bytes, at)
    tx.delete(key)
  }
  for (const { key, bytes } of xattrs) tx.put(xattrKey(ino, nameBehind(key)), encodeXattr(at.epoch, xattrValue(bytes)))
}

// ------------------------------------------------------------------------------------------- subvolumes in the tree

/** Whether the root of another domain lies below. Each domain's row is read: whoever makes one in it meanwhile puts that. */
function* holdsSubvolumes(tx: Tx, { domain, root }: Domain): Steps<boolean> {
  for (const other of yield* allDomains(tx)) {
    if (other.domain === domain) continue
    yield* domainNow(tx, other.domain)
    const inode = yield* wait(readInode(tx, other.root, NOW))
    if (inode !== undefined && isDirectory(inode) && inode.nlink > 0 && (yield* topOf(tx, inode, root)) === root) return true
  }
  return false
}

/** The folder above all others: `stop` if that is on the way. */
function* topOf(tx: Tx, dir: StoredInode, stop: number): Steps<number> {
  let at: StoredInode = dir
  while (at.ino !== stop && at.parent !== at.ino && at.parent !== 0) at = yield* inodeNow(tx, at.parent)
  return at.ino
}

/** Before a subvolume is made in a folder. ENOENT: a rollback took it out of the tree. */
export function* demandInTree(tx: Tx, dir: StoredInode): Steps<void> {
  if ((yield* topOf(tx, dir, ROOT_INO)) !== ROOT_INO) fail('ENOENT')
}

/** The domain in which a subvolume is made; a rollback that looks for subvolumes meanwhile runs again. */
export function* holdOuter(tx: Tx, domain: number): Steps<Domain> {
  const outer = yield* domainOf(tx, domain)
  tx.put(domainKey(domain), encodeDomain(outer))
  return outer
}

// --------------------------------------------------------------------------------------------------------- afterwards

/** Of one domain, or of all. */
export function* replacedIn(r: Reader, domain?: number): Steps<readonly Replaced[]> {
  const rows: readonly KeyedRow[] = yield* wait(r.scan({ from: replacedFrom(domain ?? 0), to: replacedFrom(domain === undefined ? LAST : domain + 1), limit: PAGE_ROWS }))
  return rows.map(({ key }) => ({ domain: firstNumber(key), ino: secondNumber(key) }))
}

/** The folder without a name is empty: it goes to the session's list. */
export function* dropReplaced(tx: Tx, op: Op, { domain, ino }: Replaced): Steps<void> {
  const at = yield* domainOf(tx, domain)
  const inode: StoredInode = yield* inodeNow(tx, ino)
  yield* dropDirectory(tx, at, ino)
  tx.delete(replacedKey(domain, ino))
  tx.put(orphanKey(op.session, ino), encodeOrphan(at.epoch, UNLINKED))
  updateInode(tx, at, inode, { nlink: 0, parent: 0 })
}

// ---------------------------------------------------------------------------------- views that a domain holds of itself

export const holdsItself = function* (r: Reader, domain: number): Steps<boolean> {
  return (yield* holdsOn(r, domain)).some(({ clone }) => clone === domain)
}
