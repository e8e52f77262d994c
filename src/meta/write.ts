/**
 * What every body is made of: putting inodes, entries, xattrs and links so that all invariants hold in one commit.
 *   - Every value put is born in its domain's epoch; the one it replaces moves to history if a snapshot shows it.
 *   - The domain's row is read first: a snapshot taken in between makes the body run again.
 *   - An inode with links has a home (parent, place), unless all names that it has left are to be found (visit.ts); each further link of a file has a reverse link. A home's directory is
 *     charged one inode and, of a regular file, its size.
 *   - A chain of ties has no gap: removing an entry that is not the last leaves a tombstone, removing the last takes the
 *     tombstones before it along. An inode without links is on a session's list, or in the trash.
 */
import { birthOf, NOW, retire } from '../data/index.js'
import type { Key, Row, Tx } from '../engine/index.js'
import { fail } from './access.js'
import { changeDirectory } from './directory.js'
import type { NameHash, Place } from './hash.js'
import { encodeInode, isDirectory, isRegular, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { dentryKey, domainKey, inodeKey, KEY_USAGE, linkKey, linksFrom, orphanKey, placeHigh, placeLow, secondNumber, unfoundKey, xattrKey, trashKey, trashNameKey, trashSumsKey } from './keys.js'
import type { Op, Timespec } from './words.js'
import { dentryAt, readInode, TIES } from './read.js'
import { damaged, DOMAIN_TRASH, domainOfRow, encodeDentry, encodeLink, encodeOrphan, encodeRemoved, encodeXattr, UNLINKED } from './rows.js'
import type { Dentry, Domain } from './rows.js'
import { NOTHING, ready, wait, waitAnd } from './steps.js'
import type { Steps } from './steps.js'

export const CAPABILITY = 'security.capability'
export const S_ISUID = 0o4000
export const S_ISGID = 0o2000
export const S_IXGRP = 0o010

export function domainOf(tx: Tx, domain: number): Steps<Domain> {
  const row = tx.get(domainKey(domain))
  return row instanceof Promise ? waitAnd(row, (found) => domainFound(domain, found)) : ready(domainFound(domain, row))
}

function domainFound(domain: number, row: Row | undefined): Domain {
  if (row === undefined) throw damaged(`domain ${domain}`)
  return domainOfRow(domain, row)
}

/** The inode as it is now; ESTALE if there is none. */
export const inodeNow = (tx: Tx, ino: number): Steps<StoredInode> => waitAnd(readInode(tx, ino, NOW), present)

const present = (inode: StoredInode | undefined): StoredInode => inode ?? fail('ESTALE')

/** The inode of an entry: if it is not there, the entry is wrong. */
export const inodeOf = (tx: Tx, dentry: Dentry): Steps<StoredInode> => waitAnd(readInode(tx, dentry.ino, NOW), (inode) => {
  if (inode === undefined) throw damaged(`inode ${dentry.ino}, which a directory names,`)
  return inode
})

// ------------------------------------------------------------------------------------------------------------- inodes

type Change = Partial<Omit<StoredInode, 'ino' | 'birth' | 'shown'>>

/** Replaces `old` by itself with `change`; what it returns is what readers will find. A directory's times and links are not set here. */
export function updateInode(tx: Tx, domain: Domain, old: StoredInode, change: Change): StoredInode {
  const key = inodeKey(old.ino)
  // without links no view reaches it: nothing to keep
  if (old.birth <= domain.newestSnapshot && old.nlink > 0) retire(tx, key, old.birth, encodeInode(old), domain)
  return putInode(tx, { ...old, ...change, birth: domain.epoch })
}

export function putInode(tx: Tx, inode: StoredInode): StoredInode {
  const stored = isDirectory(inode) ? { ...inode, shown: { inode: undefined } } : inode
  tx.put(inodeKey(inode.ino), encodeInode(stored), stored)
  return stored
}

/** The epochs in which an inode without links ends: those in which it lost them. No younger snapshot shows anything of it. */
export const lastEpochs = (domain: Domain, inode: StoredInode): Domain =>
  ({ ...domain, epoch: inode.birth, newestSnapshot: Math.min(domain.newestSnapshot, inode.birth - 1) })

export function addUsage(tx: Tx, inodes: number, bytes: number, extents = 0): void {
  if (inodes !== 0 || bytes !== 0 || extents !== 0) tx.addCounters(KEY_USAGE, [inodes, bytes, extents])
}

/** What an inode charges its home with. */
export const chargedBytes = (inode: StoredInode): number => (isRegular(inode) ? inode.sizeBytes : 0)

// ------------------------------------------------------------------------------------------------------------ entries

const scratch: Place = { high: 0, low: 0 }

/** What is at a name: the entry, or the place where one may be put. ENOSPC if 127 names share a hash. */
export interface Slot {
  readonly dentry: Dentry | undefined
  readonly place: Place
  /** The tombstone that is there, if one is. */
  readonly tombstone: Dentry | undefined
}

export function findSlot(tx: Tx, hash: NameHash, parent: number, name: string): Steps<Slot> {
  hash(name, scratch)
  const { high, low } = scratch
  const first = dentryAt(tx, parent, high, low, NOW)
  if (first === undefined) return ready({ dentry: undefined, place: { high, low }, tombstone: undefined })
  if (!(first instanceof Promise) && first.ino !== 0 && first.name === name) return ready({ dentry: first, place: placeOf(first), tombstone: undefined })
  return searchSlot(tx, parent, name, high, low) // 1 of 2^56 pairs of names, or a promise
}

function* searchSlot(tx: Tx, parent: number, name: string, high: number, low: number): Steps<Slot> {
  let tombstone: Dentry | undefined
  for (let tie = 0; tie < TIES; tie++) {
    const dentry = yield* wait(dentryAt(tx, parent, high, low + tie, NOW))
    if (dentry === undefined) return { dentry, place: tombstone === undefined ? { high, low: low + tie } : placeOf(tombstone), tombstone }
    if (dentry.ino === 0) tombstone ??= dentry
    else if (dentry.name === name) return { dentry, place: placeOf(dentry), tombstone: undefined }
  }
  return { dentry: undefined, place: tombstone === undefined ? FULL : placeOf(tombstone), tombstone }
}

const FULL: Place = { high: -1, low: 0 }

export const placeOf = (dentry: Dentry): Place => ({ high: dentry.cookieHigh, low: dentry.cookieLow })

export function putDentry(tx: Tx, domain: Domain, parent: number, name: string, { place, dentry, tombstone }: Slot, ino: number, typeBits: number): void {
  if (place === FULL) fail('ENOSPC')
  const old = dentry ?? tombstone
  const key = dentryKey(parent, place.high, place.low)
  if (old !== undefined) retireDentry(tx, domain, parent, old)
  putEntry(tx, key, { birth: domain.epoch, ino, typeBits, name, cookieHigh: place.high, cookieLow: place.low })
}

const putEntry = (tx: Tx, key: Key, dentry: Dentry): void => tx.put(key, encodeDentry(dentry.birth, dentry.ino, dentry.typeBits, dentry.name), dentry)

const retireDentry = (tx: Tx, domain: Domain, parent: number, old: Dentry): void => {
  if (old.birth > domain.newestSnapshot) return
  retire(tx, dentryKey(parent, old.cookieHigh, old.cookieLow), old.birth, encodeDentry(old.birth, old.ino, old.typeBits, old.name), domain)
}

export function* removeDentry(tx: Tx, domain: Domain, parent: number, dentry: Dentry): Steps<void> {
  const { cookieHigh: high, cookieLow: low } = dentry
  const tie = low & 127
  const next = tie + 1 < TIES ? yield* wait(dentryAt(tx, parent, high, low + 1, NOW)) : undefined
  retireDentry(tx, domain, parent, dentry)
  const key = dentryKey(parent, high, low)
  if (next !== undefined) {
    putEntry(tx, key, { birth: domain.epoch, ino: 0, typeBits: 0, name: '', cookieHigh: high, cookieLow: low })
    return
  }
  tx.delete(key)
  for (let back = 1; back <= tie; back++) {
    const before = yield* wait(dentryAt(tx, parent, high, low - back, NOW))
    if (before === undefined || before.ino !== 0) break
    retireDentry(tx, domain, parent, before)
    tx.delete(dentryKey(parent, high, low - back))
  }
}

// -------------------------------------------------------------------------------------------------------------- links

export const isHome = (inode: StoredInode, parent: number, place: Place): boolean =>
  inode.parent === parent && inode.homeHigh === place.high && inode.homeLow === place.low

/** What is removed in this domain goes to the trash. */
export const keepsTrash = (op: Op, domain: Domain): boolean => (domain.flags & DOMAIN_TRASH) !== 0 && op.trash === true

/** An inode loses its last name, in `dir` (as it was before): to the trash, or to the session's list. Its own row is the caller's. */
export function putAway(tx: Tx, op: Op, domain: Domain, inode: StoredInode, dir: StoredInode, name: string): void {
  if (keepsTrash(op, domain)) putTrash(tx, domain, trashKey(domain.domain, op.now, inode.ino), inode, dir, name, chargedBytes(inode))
  else tx.put(orphanKey(op.session, inode.ino), encodeOrphan(domain.epoch, UNLINKED))
}

function putTrash(tx: Tx, domain: Domain, key: Key, inode: StoredInode, dir: StoredInode, name: string, sizeBytes: number): void {
  tx.put(key, encodeRemoved(domain.epoch, { parent: dir.ino, name, typeBits: inode.mode & S_IFMT, sizeBytes, beforeSec: dir.mtimeSec, beforeNsec: dir.mtimeNsec }))
  tx.addCounters(trashSumsKey(domain.domain), [1, sizeBytes])
}

/** One name less, at a place of `dir` (as it was before), which the caller removes. The last: the inode is put away. */
export function* dropLink(tx: Tx, op: Op, domain: Domain, inode: StoredInode, dir: StoredInode, name: string, place: Place): Steps<StoredInode> {
  const parent = dir.ino
  const ctime = { ctimeSec: op.now.sec, ctimeNsec: op.now.nsec }
  const nlink = inode.nlink - 1
  if (nlink > 0 && keepsTrash(op, domain)) putTrash(tx, domain, trashNameKey(domain.domain, op.now, inode.ino, parent, place), inode, dir, name, 0)
  if (!isHome(inode, parent, place)) {
    tx.delete(linkKey(inode.ino, parent, place))
    return updateInode(tx, domain, inode, { nlink, ...ctime })
  }
  yield* chargeHome(tx, domain, inode, -1)
  if (nlink === 0) {
    putAway(tx, op, domain, inode, dir, name)
    return updateInode(tx, domain, inode, { nlink, parent: 0, homeHigh: 0, homeLow: 0, ...ctime })
  }
  // the scan is as good as a validated read: every change of these rows also puts the inode
  const [next] = yield* wait(tx.scan({ from: linksFrom(inode.ino), to: linksFrom(inode.ino + 1), limit: 1 }))
  if (next === undefined) {
    if ((yield* wait(tx.get(unfoundKey(inode.ino)))) === undefined) throw damaged(`inode ${inode.ino}, which has more links than names,`)
    return updateInode(tx, domain, inode, { nlink, parent: 0, homeHigh: 0, homeLow: 0, ...ctime }) // the others are to be found: visit.ts
  }
  const { key } = next
  tx.delete(key)
  const left = updateInode(tx, domain, inode, { nlink, parent: secondNumber(key), homeHigh: placeHigh(key), homeLow: placeLow(key), ...ctime })
  yield* chargeHome(tx, domain, left, 1)
  return left
}

/** A reverse link for a name that is not the home. */
export function putLink(tx: Tx, domain: Domain, ino: number, parent: number, place: Place, name: string): void {
  tx.put(linkKey(ino, parent, place), encodeLink(domain.epoch, name))
}

/** Charges (1) or discharges (-1) an inode's home directory. */
export function chargeHome(tx: Tx, domain: Domain, inode: StoredInode, sign: 1 | -1): Steps<void> {
  return changeDirectory(tx, domain, inode.parent, { entries: 0, subdirectories: 0, bytes: sign * chargedBytes(inode), inodes: sign }, undefined)
}

/** An entry more or less in a directory, which this touches. */
export function countEntry(tx: Tx, domain: Domain, parent: number, inode: StoredInode, sign: 1 | -1, now: Timespec): Steps<void> {
  return changeDirectory(tx, domain, parent, { entries: sign, subdirectories: isDirectory(inode) ? sign : 0, bytes: 0, inodes: 0 }, now)
}

// ------------------------------------------------------------------------------------------------------------- xattrs

/** Sets a value, or removes it (undefined). The inode's own row is the caller's. */
export function* putXattr(tx: Tx, domain: Domain, ino: number, name: string, value: Uint8Array | undefined): Steps<void> {
  const key = xattrKey(ino, name)
  const row = yield* wait(tx.get(key))
  if (row !== undefined) retire(tx, key, birthOf(row.bytes), row.bytes, domain)
  if (value !== undefined) tx.put(key, encodeXattr(domain.epoch, value))
  else if (row !== undefined) tx.delete(key)
}

/** What a write, a truncation or chown does to a program's privileges: drops file capabilities. */
export const dropCapability = (tx: Tx, domain: Domain, inode: StoredInode): Steps<void> =>
  inode.hasCapability ? putXattr(tx, domain, inode.ino, CAPABILITY, undefined) : NOTHING
