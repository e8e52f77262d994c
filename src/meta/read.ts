/**
 * Reads at a view: inodes, entries, links, xattrs. `now` costs one get per row; an epoch asks history where the current
 * value is younger. No promise when everything is in memory.
 *   - A chain of ties ends at the first absent row: a tombstone keeps it whole. That holds at every view.
 *   - No view shows an inode without links as it is now: what shows it shows what it was. (A removed subvolume's own epochs are another domain's.)
 *   - What is returned is the cached object itself and is never mutated.
 */
import { birthOf, NOW, pastAt } from '../data/index.js'
import type { Key, MaybePromise, Reader, Row } from '../engine/index.js'
import { CTIME_NSEC, CTIME_SEC, MTIME_NSEC, MTIME_SEC, slotsAt, SUBDIRECTORIES } from './directory.js'
import type { Slots } from './directory.js'
import type { NameHash, Place } from './hash.js'
import { decodeInode, inodeOfRow, isDirectory } from './inode.js'
import type { StoredInode } from './inode.js'
import { dentriesFrom, dentryKey, firstNumber, inodeKey, linksFrom, nameBehind, secondNumber, xattrKey, xattrsFrom } from './keys.js'
import { windowAt, windowNow } from './past.js'
import type { Window } from './past.js'
import { decodeDentry, dentryOfRow, linkName, xattrValue } from './rows.js'
import type { Dentry } from './rows.js'
import { after, run, wait } from './steps.js'
import type { Steps } from './steps.js'

export const TIES = 127 // 0..126

// ------------------------------------------------------------------------------------------------------------- inodes

/** Whether the inode that a row's key names is there, and on its way out. */
export async function hasNoLinks(r: Reader, key: Key): Promise<boolean> {
  return (await readInode(r, firstNumber(key), NOW))?.nlink === 0
}

export function readInode(r: Reader, ino: number, view: number): MaybePromise<StoredInode | undefined> {
  const row = r.get(inodeKey(ino))
  if (row instanceof Promise) return row.then((found) => inodeAt(r, ino, found, view))
  return inodeAt(r, ino, row, view)
}

function inodeAt(r: Reader, ino: number, row: Row | undefined, view: number): MaybePromise<StoredInode | undefined> {
  const inode = row === undefined ? undefined : inodeOfRow(ino, row)
  if (view === NOW || (inode !== undefined && inode.birth <= view && inode.nlink > 0)) return inode === undefined ? undefined : complete(r, inode, view)
  return after(pastAt(r, inodeKey(ino), view), (past) => {
    if (past === undefined) return undefined
    return complete(r, decodeInode(ino, past.bytes), view)
  })
}

/** A directory's link count and times come from its counter row, while it has one. */
function complete(r: Reader, inode: StoredInode, view: number): MaybePromise<StoredInode> {
  if (!isDirectory(inode) || inode.nlink === 0) return inode
  const slots = slotsAt(r, inode.ino, view)
  return slots instanceof Promise ? slots.then((found) => withSlots(inode, found)) : withSlots(inode, slots)
}

function withSlots(inode: StoredInode, slots: Slots | undefined): StoredInode {
  if (slots === undefined) return inode // removed in between: whoever changes it runs again
  const seen = inode.shown?.inode
  if (seen !== undefined && seen.nlink === 2 + slots[SUBDIRECTORIES] && seen.mtimeSec === slots[MTIME_SEC] && seen.mtimeNsec === slots[MTIME_NSEC] &&
    seen.ctimeSec === slots[CTIME_SEC] && seen.ctimeNsec === slots[CTIME_NSEC]) return seen
  const now = {
    ...inode,
    nlink: 2 + slots[SUBDIRECTORIES],
    mtimeSec: slots[MTIME_SEC],
    mtimeNsec: slots[MTIME_NSEC],
    ctimeSec: slots[CTIME_SEC],
    ctimeNsec: slots[CTIME_NSEC]
  }
  if (inode.shown !== undefined) inode.shown.inode = now
  return now
}

// ------------------------------------------------------------------------------------------------------------ entries

const scratch: Place = { high: 0, low: 0 }

export function readDentry(r: Reader, hash: NameHash, parent: number, name: string, view: number): MaybePromise<Dentry | undefined> {
  hash(name, scratch)
  const { high, low } = scratch
  const key = dentryKey(parent, high, low)
  const row = r.get(key)
  if (view === NOW && !(row instanceof Promise)) { // nearly every lookup ends here
    if (row === undefined) return undefined
    const dentry = dentryOfRow(key, row)
    if (dentry.name === name && dentry.ino !== 0) return dentry
  }
  return run(walkChain(r, parent, name, high, low, view))
}

function* walkChain(r: Reader, parent: number, name: string, high: number, low: number, view: number): Steps<Dentry | undefined> {
  for (let tie = 0; tie < TIES; tie++) {
    const dentry = yield* wait(dentryAt(r, parent, high, low + tie, view))
    if (dentry === undefined) return undefined
    if (dentry.ino !== 0 && dentry.name === name) return dentry
  }
  return undefined
}

/** The entry or tombstone at a place. */
export function dentryAt(r: Reader, parent: number, high: number, low: number, view: number): MaybePromise<Dentry | undefined> {
  const key = dentryKey(parent, high, low)
  return after(r.get(key), (row) => {
    const dentry = row === undefined ? undefined : dentryOfRow(key, row)
    if (view === NOW || (dentry !== undefined && dentry.birth <= view)) return dentry
    return after(pastAt(r, key, view), (past) => (past === undefined ? undefined : decodeDentry(key, past.bytes)))
  })
}

/** Fewer than `limit` only at the directory's end. */
export function readEntries(r: Reader, parent: number, view: number, high: number, low: number, limit: number): MaybePromise<readonly Dentry[]> {
  const behind = dentryKey(parent, high, low) // (0, 0) is behind nothing: no entry has that place
  return run(view === NOW ? listNow(r, parent, behind, limit) : listAt(r, parent, behind, limit, view))
}

function* listNow(r: Reader, parent: number, start: Key, limit: number): Steps<readonly Dentry[]> {
  const out: Dentry[] = []
  const to = dentriesFrom(parent + 1)
  for (let behind = start; out.length < limit;) {
    const want = limit - out.length
    const rows = yield* wait(r.scan({ from: behind + '\u0000', to, limit: want }))
    for (const { key, row } of rows) {
      const dentry = dentryOfRow(key, row)
      if (dentry.ino !== 0) out.push(dentry)
    }
    if (rows.length < want) break
    behind = rows[rows.length - 1].key
  }
  return out
}

function* listAt(r: Reader, parent: number, start: Key, limit: number, view: number): Steps<readonly Dentry[]> {
  const out: Dentry[] = []
  const to = dentriesFrom(parent + 1)
  for (let behind: Key | undefined = start; behind !== undefined && out.length < limit;) {
    const window: Window = yield* windowAt(r, behind, to, view)
    for (const { key, bytes } of window.rows) {
      const dentry = decodeDentry(key, bytes)
      if (dentry.ino !== 0 && out.length < limit) out.push(dentry)
    }
    behind = window.behind
  }
  return out
}

// ------------------------------------------------------------------------------------------------------------- xattrs

export function readXattr(r: Reader, ino: number, name: string, view: number): MaybePromise<Uint8Array | undefined> {
  const key = xattrKey(ino, name)
  return after(r.get(key), (row) => {
    if (row !== undefined && (view === NOW || birthOf(row.bytes) <= view)) return xattrValue(row.bytes)
    if (view === NOW) return undefined
    return after(pastAt(r, key, view), (past) => (past === undefined ? undefined : xattrValue(past.bytes)))
  })
}

export function* xattrNames(r: Reader, ino: number, view: number): Steps<readonly string[]> {
  const names: string[] = []
  const to = xattrsFrom(ino + 1)
  for (let behind: Key | undefined = xattrsFrom(ino); behind !== undefined;) {
    const window: Window = view === NOW ? yield* windowNow(r, behind, to) : yield* windowAt(r, behind, to, view)
    for (const { key } of window.rows) names.push(nameBehind(key))
    behind = window.behind
  }
  return names
}

// -------------------------------------------------------------------------------------------------------------- links

export interface Link {
  readonly parent: number
  readonly name: string
}

/** The home of an inode at a view. */
export function* homeOf(r: Reader, ino: number, view: number): Steps<Link | undefined> {
  const inode = yield* wait(readInode(r, ino, view))
  if (inode === undefined || inode.parent === 0) return undefined
  const entry = yield* wait(dentryAt(r, inode.parent, inode.homeHigh, inode.homeLow, view))
  return entry === undefined || entry.ino !== ino ? undefined : { parent: inode.parent, name: entry.name }
}

/** Every name of an inode: its home, then its reverse links. */
export function* linksOf(r: Reader, ino: number): Steps<readonly Link[]> {
  const inode = yield* wait(readInode(r, ino, NOW))
  if (inode === undefined || inode.parent === 0) return []
  const links: Link[] = []
  const home = yield* wait(dentryAt(r, inode.parent, inode.homeHigh, inode.homeLow, NOW))
  if (home !== undefined && home.ino === ino) links.push({ parent: inode.parent, name: home.name })
  const to = linksFrom(ino + 1)
  for (let behind: Key | undefined = linksFrom(ino); behind !== undefined && !isDirectory(inode);) {
    const window: Window = yield* windowNow(r, behind, to)
    for (const { key, bytes } of window.rows) links.push({ parent: secondNumber(key), name: linkName(bytes) })
    behind = window.behind
  }
  return links
}
