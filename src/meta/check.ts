/**
 * Is the tree whole? Reads everything and says what does not fit: the end of any test, and the germ of fsck. Changes nothing.
 *   1. Every entry leads to an inode of its type in the same domain; a chain of ties has no gap and no tombstone at its end.
 *   2. An inode's links are its home and its reverse links, each of them an entry that leads back; nlink is their number.
 *   3. A directory's counters are its entries, subdirectories and what its children charge it with; every directory is below the root.
 *   4. An inode without links is on a session's list, and what is there without a name is not on it with links.
 *   5. xattrs, reverse links, entries and counters belong to inodes that are there; the flags of an inode tell of its ACLs.
 *   6. The pool's usage is what its inodes add up to.
 * Memory: one number per directory and per listed inode.
 */
import { NOW } from '../data/index.js'
import type { KeyedRow, Reader } from '../engine/index.js'
import { ACL_ACCESS, ACL_DEFAULT } from './acl.js'
import { CHILD_BYTES, CHILD_INODES, ENTRIES, SUBDIRECTORIES } from './directory.js'
import type { NameHash, Place } from './hash.js'
import { inodeOfRow, isDirectory, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { dentriesFrom, directoryKey, firstNumber, inodeKey, KEY_USAGE, linksFrom, nameBehind, orphansFrom, placeHigh, placeLow, secondNumber, xattrsFrom } from './keys.js'
import { ROOT_INO } from './make.js'
import { dentryAt, readInode, readXattr } from './read.js'
import { dentryOfRow, linkName } from './rows.js'
import type { Dentry } from './rows.js'
import { CAPABILITY, chargedBytes, isHome } from './write.js'

const PAGE_ROWS = 1024
const DEPTH_LIMIT = 100_000 // of directories; more is a cycle
const LAST = 2 ** 53 - 1

export interface Problem {
  readonly ino: number
  readonly what: string
}

/** `hash`: the pool's name hash, to check that entries are where their names say. */
export async function* checkTree(r: Reader, hash?: NameHash): AsyncIterable<Problem> {
  const listed = new Set<number>()
  for await (const { key } of rows(r, orphansFrom(0), orphansFrom(LAST))) listed.add(secondNumber(key))
  const belowRoot = new Set<number>([ROOT_INO])
  let inodes = 0
  let bytes = 0
  for await (const { key, row } of rows(r, inodeKey(0), inodeKey(LAST))) {
    const ino = firstNumber(key)
    const inode = inodeOfRow(ino, row)
    inodes++
    bytes += chargedBytes(inode)
    yield* checkXattrs(r, inode)
    if (inode.nlink === 0) {
      if (!listed.has(ino)) yield { ino, what: 'has no links and is on no list' }
      if (inode.parent !== 0) yield { ino, what: 'has no links but a home' }
    } else {
      if (listed.has(ino)) yield { ino, what: 'is on a list of inodes without links and has some' }
      yield* isDirectory(inode) ? checkDirectory(r, inode, belowRoot, hash) : checkLinks(r, inode)
    }
  }
  for (const ino of listed) if ((await r.get(inodeKey(ino))) === undefined) yield { ino, what: 'is on a list and is no inode' }
  yield* checkOwners(r)
  const usage = await r.counters(KEY_USAGE)
  if (usage?.[0] !== inodes || usage[1] !== bytes) yield { ino: 0, what: `the pool's usage says ${usage?.join(' ')}, its inodes ${inodes} ${bytes}` }
}

async function* rows(r: Reader, start: string, to: string): AsyncIterable<KeyedRow> {
  for (let from = start; ;) {
    const page = await r.scan({ from, to, limit: PAGE_ROWS })
    yield* page
    if (page.length < PAGE_ROWS) return
    from = page[page.length - 1].key + '\u0000'
  }
}

async function* checkDirectory(r: Reader, dir: StoredInode, belowRoot: Set<number>, hash: NameHash | undefined): AsyncIterable<Problem> {
  const { ino } = dir
  const found = [0, 0, 0, 0] // entries, subdirectories, bytes, inodes
  let before: Dentry | undefined
  const names = new Set<string>() // of one chain
  for await (const { key, row } of rows(r, dentriesFrom(ino), dentriesFrom(ino + 1))) {
    const dentry = dentryOfRow(key, row)
    const chained = before !== undefined && follows(before, dentry)
    if (!chained) {
      if (before?.ino === 0) yield { ino, what: 'has a chain of names that ends with a tombstone' }
      if ((dentry.cookieLow & 127) !== 0) yield { ino, what: `has a gap before the name ${JSON.stringify(dentry.name)}` }
      names.clear()
    }
    before = dentry
    if (dentry.ino === 0) continue
    if (names.has(dentry.name)) yield { ino, what: `has the name ${JSON.stringify(dentry.name)} twice` }
    names.add(dentry.name)
    if (hash !== undefined && !isInPlace(hash, dentry)) yield { ino, what: `has the name ${JSON.stringify(dentry.name)} at a wrong place` }
    found[0]++
    const child = await readInode(r, dentry.ino, NOW)
    if (child === undefined) {
      yield { ino, what: `names inode ${dentry.ino}, which is not there` }
      continue
    }
    if ((child.mode & S_IFMT) !== dentry.typeBits) yield { ino, what: `names inode ${child.ino} with another type` }
    if (child.domain !== dir.domain) yield { ino, what: `names inode ${child.ino} of another domain` }
    if (isDirectory(child)) found[1]++
    if (isHome(child, ino, { high: dentry.cookieHigh, low: dentry.cookieLow })) {
      found[2] += chargedBytes(child)
      found[3]++
    } else if (isDirectory(child)) yield { ino, what: `names directory ${child.ino}, whose home is elsewhere` }
  }
  if (before?.ino === 0) yield { ino, what: 'has a chain of names that ends with a tombstone' }
  const slots = await r.counters(directoryKey(ino))
  if (slots === undefined) yield { ino, what: 'has no counters' }
  else if (slots[ENTRIES] !== found[0] || slots[SUBDIRECTORIES] !== found[1] || slots[CHILD_BYTES] !== found[2] || slots[CHILD_INODES] !== found[3]) {
    yield { ino, what: `counts ${slots[ENTRIES]} ${slots[SUBDIRECTORIES]} ${slots[CHILD_BYTES]} ${slots[CHILD_INODES]} (entries, directories, bytes, inodes), and has ${found.join(' ')}` }
  }
  yield* checkAncestors(r, dir, belowRoot)
  if (ino !== ROOT_INO) {
    const home = await dentryAt(r, dir.parent, dir.homeHigh, dir.homeLow, NOW)
    if (home?.ino !== ino) yield { ino, what: 'is not named by its parent' }
  }
}

const follows = (a: Dentry, b: Dentry): boolean => a.cookieHigh === b.cookieHigh && a.cookieLow + 1 === b.cookieLow && (b.cookieLow & 127) !== 0

function isInPlace(hash: NameHash, dentry: Dentry): boolean {
  const place: Place = { high: 0, low: 0 }
  hash(dentry.name, place)
  return place.high === dentry.cookieHigh && place.low === (dentry.cookieLow & ~127) >>> 0
}

async function* checkAncestors(r: Reader, dir: StoredInode, belowRoot: Set<number>): AsyncIterable<Problem> {
  const path: number[] = []
  for (let at: StoredInode | undefined = dir; at !== undefined && !belowRoot.has(at.ino);) {
    path.push(at.ino)
    if (path.length > DEPTH_LIMIT) return yield { ino: dir.ino, what: 'is not below the root: its parents form a cycle' }
    at = await readInode(r, at.parent, NOW)
    if (at === undefined || !isDirectory(at) || at.nlink === 0) return yield { ino: dir.ino, what: 'is not below the root' }
  }
  for (const ino of path) belowRoot.add(ino)
}

async function* checkLinks(r: Reader, inode: StoredInode): AsyncIterable<Problem> {
  const { ino } = inode
  const home = await dentryAt(r, inode.parent, inode.homeHigh, inode.homeLow, NOW)
  if (home?.ino !== ino) yield { ino, what: 'is not named at its home' }
  let links = 1
  for await (const { key, row } of rows(r, linksFrom(ino), linksFrom(ino + 1))) {
    links++
    const place = { high: placeHigh(key), low: placeLow(key) }
    const dentry = await dentryAt(r, secondNumber(key), place.high, place.low, NOW)
    if (dentry?.ino !== ino || dentry.name !== linkName(row.bytes)) yield { ino, what: 'has a reverse link that no name leads to' }
    if (isHome(inode, secondNumber(key), place)) yield { ino, what: 'has a reverse link for its home' }
  }
  if (links !== inode.nlink) yield { ino, what: `has ${inode.nlink} links, and ${links} names` }
}

async function* checkXattrs(r: Reader, inode: StoredInode): AsyncIterable<Problem> {
  const { ino } = inode
  const has = async (name: string): Promise<boolean> => (await readXattr(r, ino, name, NOW)) !== undefined
  if ((await has(ACL_ACCESS)) !== inode.hasAccessAcl) yield { ino, what: 'has an access ACL that it does not know of, or the reverse' }
  if ((await has(ACL_DEFAULT)) !== inode.hasDefaultAcl) yield { ino, what: 'has a default ACL that it does not know of, or the reverse' }
  if ((await has(CAPABILITY)) !== inode.hasCapability) yield { ino, what: 'has file capabilities that it does not know of, or the reverse' }
  if (!inode.hasXattrs && (await r.scan({ from: xattrsFrom(ino), to: xattrsFrom(ino + 1), limit: 1 })).length > 0) yield { ino, what: 'has xattrs that it does not know of' }
}

/** Rows of inodes that are not there (or, of entries and counters, not directories with links). */
async function* checkOwners(r: Reader): AsyncIterable<Problem> {
  const kinds = [
    { from: dentriesFrom(0), to: dentriesFrom(LAST), what: 'an entry', directory: true },
    { from: linksFrom(0), to: linksFrom(LAST), what: 'a reverse link', directory: false },
    { from: xattrsFrom(0), to: xattrsFrom(LAST), what: 'an extended attribute', directory: false }
  ]
  for (const { from, to, what, directory } of kinds) {
    let last = 0
    for await (const { key } of rows(r, from, to)) {
      const ino = firstNumber(key)
      if (ino === last) continue
      last = ino
      const owner = await readInode(r, ino, NOW)
      const wrong = owner === undefined || (directory && (!isDirectory(owner) || owner.nlink === 0)) || (what === 'a reverse link' && isDirectory(owner))
      if (wrong) yield { ino, what: `owns ${what} (${JSON.stringify(keyText(key))}) and cannot` }
    }
  }
}

const keyText = (key: string): string => (key.startsWith('X') ? nameBehind(key) : Buffer.from(key, 'latin1').toString('hex'))
