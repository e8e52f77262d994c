/**
 * The trash: what loses its last name is kept for a while, if its domain says so. A row (Q, domain, time, inode) says where it was.
 *   - An inode in the trash is one without links and without a home, as one that is still open; its row here stands for the one on a
 *     session's list. So no directory, no sum and no snapshot shows it, and the pool's usage does.
 *   - In (`putAway`, write.ts) in the transaction of the unlink, rmdir or rename; out by a name again (`restore`), or to the session's
 *     list, whence it is reclaimed (`discard`).
 *   - A file that has other names loses one: that is remembered here too, and only the name goes when it is thrown away.
 *   - A folder keeps its number there: what was removed from it before finds its way by that. Its generation grows when it comes back,
 *     for the kernel knows the old one as dead.
 *   - Restoring undoes what the removal did to the folder's mtime, if nothing changed the folder since: a tree that is restored newest
 *     first gets the times that it had.
 *   - Sums (C t, domain) are there from the first setTrash on: what rows say, when it was removed.
 */
import { assert } from '../sys/index.js'
import type { Key, KeyedRow, Reader, Tx } from '../engine/index.js'
import { fail } from './access.js'
import { NOW } from '../data/index.js'
import { newSlots, setDirectoryTimes } from './directory.js'
import { encodeChange } from './events.js'
import type { NameHash, Place } from './hash.js'
import { isDirectory, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { directoryKey, domainKey, orphanKey, TRASH_SUMS_END, TRASH_SUMS_FROM, trashFrom, trashSumsDomain, trashSumsKey } from './keys.js'
import { placeForNew } from './make.js'
import type { Inode, Op } from './words.js'
import { decodeRemoved, DOMAIN_TRASH, encodeDomain, encodeOrphan, UNLINKED } from './rows.js'
import type { Domain, Removed } from './rows.js'
import { readInode } from './read.js'
import { domainAt, domainNow } from './snapshot.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { chargeHome, countEntry, domainOf, putDentry, putLink, updateInode } from './write.js'

const PAGE_ROWS = 256

export interface TrashSums {
  readonly domain: number
  readonly root: number
  /** What is removed now goes there. */
  readonly isOn: boolean
  readonly keepSec: number
  readonly items: number
  /** Of its files, as large as they were when they were removed. */
  readonly bytes: number
}

export function* setTrash(tx: Tx, domain: number, trash: 'on' | 'off', keepSec: number): Steps<void> {
  const at = yield* domainNow(tx, domain)
  if ((yield* wait(tx.counters(trashSumsKey(domain)))) === undefined) tx.createCounters(trashSumsKey(domain), [0, 0])
  tx.put(domainKey(domain), encodeDomain({ ...at, flags: trash === 'on' ? at.flags | DOMAIN_TRASH : at.flags & ~DOMAIN_TRASH, trashKeepSec: keepSec }))
}

export function* trashes(r: Reader): Steps<readonly TrashSums[]> {
  const found: TrashSums[] = []
  for (let from = TRASH_SUMS_FROM; ;) {
    const rows: readonly KeyedRow[] = yield* wait(r.scan({ from, to: TRASH_SUMS_END, limit: PAGE_ROWS }))
    for (const { key, row } of rows) {
      const domain = yield* domainAt(r, trashSumsDomain(key))
      const [items, bytes] = row.decoded as readonly number[]
      if (domain !== undefined) found.push({ domain: domain.domain, root: domain.root, isOn: (domain.flags & DOMAIN_TRASH) !== 0, keepSec: domain.trashKeepSec, items, bytes })
    }
    if (rows.length < PAGE_ROWS) return found
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

export function* removedIn(r: Reader, domain: number, behind: Key, limit: number, order: 'oldest first' | 'newest first'): Steps<readonly Removed[]> {
  const from = trashFrom(domain)
  const to = trashFrom(domain + 1)
  const rows = yield* wait(order === 'oldest first' ? r.scan({ from: behind === '' ? from : `${behind}\u0000`, to, limit }) : r.scan({ from, to: behind === '' ? to : behind, limit, reverse: true }))
  return rows.map(({ key, row }) => decodeRemoved(key, row.bytes))
}

export function* restore(tx: Tx, hash: NameHash, op: Op, { key }: Removed, parent: number, name: string): Steps<Inode> {
  const { dir, slot } = yield* placeForNew(tx, hash, op, parent, name)
  const row = yield* wait(tx.get(key))
  if (row === undefined) throw fail('ENOENT')
  const removed = decodeRemoved(key, row.bytes)
  const inode = yield* wait(readInode(tx, removed.ino, NOW))
  if (inode === undefined || (removed.isName && inode.nlink === 0)) throw fail('ENOENT')
  if (inode.domain !== dir.domain) fail('EXDEV')

  const domain = yield* domainOf(tx, dir.domain)
  leave(tx, removed)
  const left = removed.isName ? yield* addName(tx, op, domain, inode, parent, slot.place, name) : yield* bringBack(tx, op, domain, inode, parent, slot.place)
  putDentry(tx, domain, parent, name, slot, inode.ino, inode.mode & S_IFMT)
  yield* countEntry(tx, domain, parent, inode, 1, op.now)
  const isUndone = parent === removed.parent && dir.mtimeSec === removed.sec && dir.mtimeNsec === removed.nsec
  if (isUndone) yield* setDirectoryTimes(tx, domain, parent, { sec: removed.beforeSec, nsec: removed.beforeNsec }, op.now)
  tx.change(encodeChange({ kind: 'link', ino: inode.ino, parent, name }))
  return left
}

function* addName(tx: Tx, op: Op, domain: Domain, inode: StoredInode, parent: number, place: Place, name: string): Steps<StoredInode> {
  const change = { nlink: inode.nlink + 1, ctimeSec: op.now.sec, ctimeNsec: op.now.nsec }
  if (inode.parent !== 0) {
    putLink(tx, domain, inode.ino, parent, place, name)
    return updateInode(tx, domain, inode, change)
  }
  const left = updateInode(tx, domain, inode, { ...change, parent, homeHigh: place.high, homeLow: place.low }) // its other names are to be found: visit.ts
  yield* chargeHome(tx, domain, left, 1)
  return left
}

/** The inode as it was, at home there. */
function* bringBack(tx: Tx, op: Op, domain: Domain, inode: StoredInode, parent: number, place: Place): Steps<StoredInode> {
  assert(inode.nlink === 0, 'what is in the trash has no links')
  const isDir = isDirectory(inode)
  const { generation, mtimeSec: sec, mtimeNsec: nsec } = inode
  const left = updateInode(tx, domain, inode, {
    nlink: isDir ? 2 : 1, parent, homeHigh: place.high, homeLow: place.low, generation: isDir ? generation + 1 : generation,
    ctimeSec: op.now.sec, ctimeNsec: op.now.nsec
  })
  if (isDir) {
    tx.createCounters(directoryKey(inode.ino), newSlots({ sec, nsec }, domain.epoch))
    yield* setDirectoryTimes(tx, domain, inode.ino, undefined, op.now)
  }
  yield* chargeHome(tx, domain, left, 1)
  return left
}

export function* discard(tx: Tx, op: Op, { key }: Removed): Steps<boolean> {
  const row = yield* wait(tx.get(key))
  if (row === undefined) return false
  const removed = decodeRemoved(key, row.bytes)
  const { epoch } = yield* domainOf(tx, removed.domain)
  leave(tx, removed)
  if (removed.isName) return false
  tx.put(orphanKey(op.session, removed.ino), encodeOrphan(epoch, UNLINKED))
  return true
}

function leave(tx: Tx, { key, domain, sizeBytes }: Removed): void {
  tx.delete(key)
  tx.addCounters(trashSumsKey(domain), [-1, -sizeBytes])
}
