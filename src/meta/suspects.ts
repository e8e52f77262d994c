/**
 * Looks closer where fingerprints differ: which name leads nowhere, which inode is not named, which directory miscounts.
 *   - One more walk over the tree per BATCH of buckets; what is kept is what belongs to these buckets.
 */
import type { Found } from '../data/index.js'
import { streamRows } from '../engine/index.js'
import type { Reader } from '../engine/index.js'
import { CHILD_BYTES, CHILD_INODES, ENTRIES, SUBDIRECTORIES } from './directory.js'
import type { Slots } from './directory.js'
import { bucketOf } from './fingerprints.js'
import { isDirectory, S_IFDIR, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { isTrashedName, orphansFrom, placeHigh, placeLow, secondNumber, trashFrom, trashIno } from './keys.js'
import type { Dentry } from './rows.js'
import { chargedBytes } from './write.js'
import { noFile, walkOwners } from './walk.js'
import type { Visitor } from './walk.js'

const LAST = 2 ** 53 - 1
/** Buckets looked at in one walk, and walks in one check: more damage than that is left to the next check. */
const BATCH = 8192
const WALKS_MAX = 4

interface Named {
  readonly ino: number
  readonly parent: number
  readonly dentry: Dentry
  readonly domain: number
}
interface Claim {
  readonly ino: number
  readonly isHome: boolean
}
interface Sums {
  slots: Slots | undefined
  isLive: boolean
  isUnvisited: boolean
  entries: number
  subdirectories: number
  bytes: number
  inodes: number
}

export async function findSuspects(r: Reader, names: Set<number>, directories: Set<number>, roots: ReadonlySet<number>, found: Found): Promise<void> {
  if (names.size === 0 && directories.size === 0) return
  const all = [...new Set([...names, ...directories])].sort((a, b) => a - b)
  for (let walk = 0; walk < WALKS_MAX && walk * BATCH < all.length; walk++) {
    const some = new Set(all.slice(walk * BATCH, (walk + 1) * BATCH))
    await lookCloser(r, (ino) => names.has(bucketOf(ino)) && some.has(bucketOf(ino)), (ino) => directories.has(bucketOf(ino)) && some.has(bucketOf(ino)), roots, found)
  }
  const left = all.length - WALKS_MAX * BATCH
  if (left > 0) found({ ino: 0, what: `names and counts differ in ${left} more parts of the inode table, which were not looked at`, kind: 'report' })
}

const placeText = (parent: number, high: number, low: number): string => `${parent}/${high}/${low}`

async function lookCloser(r: Reader, isNameSuspect: (ino: number) => boolean, isDirectorySuspect: (ino: number) => boolean, roots: ReadonlySet<number>, found: Found): Promise<void> {
  const inodes = new Map<number, StoredInode>()
  const damaged = new Set<number>()
  const named = new Map<string, Named>()
  const claims = new Map<string, Claim[]>()
  const sums = new Map<number, Sums>()
  const sumsOf = (ino: number): Sums => {
    let s = sums.get(ino)
    if (s === undefined) sums.set(ino, (s = { slots: undefined, isLive: false, isUnvisited: false, entries: 0, subdirectories: 0, bytes: 0, inodes: 0 }))
    return s
  }
  const claim = (ino: number, parent: number, high: number, low: number, isHome: boolean): void => {
    const at = placeText(parent, high, low)
    const there = claims.get(at)
    if (there === undefined) claims.set(at, [{ ino, isHome }])
    else there.push({ ino, isHome })
  }

  let ino = 0
  let inode: StoredInode | undefined
  let isLive = false
  const visitor: Visitor = {
    file: noFile(),
    begin(owner, of, isDamaged, slots) {
      ino = owner
      inode = of
      isLive = of !== undefined && isDirectory(of) && of.nlink > 0
      if (isDamaged) damaged.add(owner)
      if (isDirectorySuspect(owner)) {
        const s = sumsOf(owner)
        s.slots = slots
        s.isLive = isLive
        s.isUnvisited = isLive && of!.hasOrigin
      }
      if (of === undefined) return
      if (isNameSuspect(owner)) {
        inodes.set(owner, { ...of, inline: undefined })
        if (of.nlink > 0 && !roots.has(owner) && of.parent !== 0) claim(owner, of.parent, of.homeHigh, of.homeLow, true)
      }
      if (of.nlink > 0 && !roots.has(owner) && isDirectorySuspect(of.parent)) {
        const s = sumsOf(of.parent)
        s.bytes += chargedBytes(of)
        s.inodes++
      }
    },
    dentry(dentry) {
      if (!isLive || dentry.ino === 0) return
      if (isDirectorySuspect(ino)) {
        const s = sumsOf(ino)
        s.entries++
        if (dentry.typeBits === S_IFDIR) s.subdirectories++
      }
      if (isNameSuspect(dentry.ino)) named.set(placeText(ino, dentry.cookieHigh, dentry.cookieLow), { ino: dentry.ino, parent: ino, dentry, domain: inode!.domain })
    },
    link(key) {
      if (inode !== undefined && !isDirectory(inode) && isNameSuspect(ino)) claim(ino, secondNumber(key), placeHigh(key), placeLow(key), false)
    },
    xattr: () => undefined,
    unreadable: () => undefined,
    end: () => undefined
  }
  await walkOwners(r, visitor, 'bytes')

  const lists = new Map<number, number>()
  const orphans = await streamRows(r, orphansFrom(0), orphansFrom(LAST))
  while (orphans.key !== undefined) {
    const of = secondNumber(orphans.key)
    if (isNameSuspect(of)) lists.set(of, (lists.get(of) ?? 0) + 1)
    await orphans.advance()
  }
  const trash = await streamRows(r, trashFrom(0), trashFrom(LAST))
  while (trash.key !== undefined) {
    const of = trashIno(trash.key)
    if (isNameSuspect(of) && !isTrashedName(trash.key)) lists.set(of, (lists.get(of) ?? 0) + 1)
    await trash.advance()
  }

  for (const { ino: child, parent, dentry, domain } of named.values()) {
    const at = placeText(parent, dentry.cookieHigh, dentry.cookieLow)
    const of = inodes.get(child)
    if (of === undefined) {
      if (!damaged.has(child)) found({ ino: parent, what: `names inode ${child} (${JSON.stringify(dentry.name)}), which is not there`, kind: 'entries' })
      continue
    }
    if ((of.mode & S_IFMT) !== dentry.typeBits) found({ ino: parent, what: `names inode ${child} (${JSON.stringify(dentry.name)}) with another type`, kind: 'entries' })
    if (of.domain !== domain && of.domain !== child) found({ ino: parent, what: `names inode ${child} of another domain`, kind: 'report' })
    if (claims.get(at)?.some((c) => c.ino === child) === true) continue
    if (isDirectory(of) && of.nlink > 0) found({ ino: parent, what: `names directory ${child} (${JSON.stringify(dentry.name)}), whose home is elsewhere`, kind: 'entries' })
    else found({ ino: child, what: `is named ${JSON.stringify(dentry.name)} in directory ${parent}, and does not know`, kind: 'names', at: { parent, high: dentry.cookieHigh, low: dentry.cookieLow } })
  }
  for (const [at, there] of claims) {
    for (const c of there) {
      if (named.get(at)?.ino === c.ino || !c.isHome) continue // a reverse link was looked up in the first pass
      found({ ino: c.ino, what: isDirectory(inodes.get(c.ino)!) ? 'is not named by its parent' : 'is not named at its home', kind: 'names' })
    }
  }
  for (const [of, n] of inodes) {
    const listed = lists.get(of) ?? 0
    if (n.nlink === 0 && listed === 0) found({ ino: of, what: 'has no links and is on no list', kind: 'names' })
    if (n.nlink === 0 && listed > 1) found({ ino: of, what: `is on ${listed} lists of inodes without links`, kind: 'list' })
    if (n.nlink > 0 && listed > 0) found({ ino: of, what: 'is on a list of inodes without links and has some', kind: 'list' })
  }
  for (const of of lists.keys()) if (!inodes.has(of) && !damaged.has(of)) found({ ino: of, what: 'is on a list and is no inode', kind: 'list' })
  for (const [of, s] of sums) {
    if (!s.isLive || s.slots === undefined) continue // told already
    const has = [s.entries, s.subdirectories, s.bytes, s.inodes]
    const says = [s.slots[ENTRIES], s.isUnvisited ? s.subdirectories : s.slots[SUBDIRECTORIES], s.slots[CHILD_BYTES], s.slots[CHILD_INODES]]
    if (has.some((n, i) => n !== says[i])) found({ ino: of, what: `counts ${says.join(' ')} (entries, directories, bytes, inodes), and has ${has.join(' ')}`, kind: 'entries' })
  }
}
