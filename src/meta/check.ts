/**
 * Is the pool whole? Reads everything once, in order, and says what does not fit: the end of any test, and fsck. Changes nothing.
 *   1. Every entry leads to an inode of its type in the same domain (but a subvolume, which is the root of its own); a chain of ties has no gap and no tombstone at its end.
 *   2. An inode's links are its home and its reverse links, each of them an entry that leads back; nlink is their number.
 *   3. A directory's counters are its entries, subdirectories and what its children charge it with; every directory is below the root, or
 *      below a folder with what a rollback replaced.
 *   4. An inode without links is on a session's list or in the trash, once, and none with links is; sums of a trash are those of its rows.
 *   5. Rows of every kind belong to inodes that are there; the flags of an inode tell of its ACLs.
 *   6. The pool's usage is what its inodes add up to; the next inode number is above all that are used; domains and snapshots are in order.
 *   7. A volume's row leads to an inode with one link, no home and a domain of its own; no other inode with links is without a home.
 *   8. Clones, what they show and what holds it: check-clones.ts.
 *   9. The bytes of files, history and the allocator's rows: data/check.ts.
 * What lies on both sides of a name is compared by fingerprints in the one pass; where they differ a second pass looks closer
 * (suspects.ts). A directory is below the root because parents are mostly older than their children: whoever is not is walked up from.
 * Memory: about 10 MiB, and 3 % of a byte per 4 KiB in use, whatever the pool holds.
 */
import { checkShares, checkUnits, claimShares, eachRow, HISTORY_KIND, makeFileCheck, NOW } from '../data/index.js'
import type { FileCheck, Finding, Found } from '../data/index.js'
import { keySuccessor, prefixRange, streamRows } from '../engine/index.js'
import type { Key, KeyedRow, MaybePromise, Reader } from '../engine/index.js'
import type { UnitsCheck, WrongGroup } from '../store/index.js'
import { PosixError } from '../sys/index.js'
import { ACL_ACCESS, ACL_DEFAULT } from './acl.js'
import { checkClones, checkOrigin, isCount, namesToFind } from './check-clones.js'
import { CHILD_BYTES, CHILD_INODES, ENTRIES, SUBDIRECTORIES } from './directory.js'
import type { Slots } from './directory.js'
import { makeFingerprints } from './fingerprints.js'
import type { Fingerprints } from './fingerprints.js'
import type { NameHash, Place } from './hash.js'
import { isDirectory, isRegular, S_IFDIR, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { domainKey, firstNumber, isTrashedName, KEY_NEXT_INO, KEY_USAGE, nameBehind, replacedFrom, orphansFrom, placeHigh, placeLow, secondNumber, snapshotsFrom, sweepKey, TRASH_SUMS_END, TRASH_SUMS_FROM, trashFrom, trashIno, trashSumsDomain, VOLUMES_FROM, volumeName } from './keys.js'
import { ROOT_INO } from './make.js'
import { dentryAt, readInode } from './read.js'
import { decodeNextIno, decodeRemoved, decodeSnapshot, decodeVolume, domainOfRow, orphanKind } from './rows.js'
import type { Dentry, Domain } from './rows.js'
import { needlessHistory } from './snapshot.js'
import { run } from './steps.js'
import { findSuspects } from './suspects.js'
import { CAPABILITY, chargedBytes, isHome } from './write.js'
import { isVolumeInode } from './volumes.js'
import { walkOwners } from './walk.js'
import type { Visitor } from './walk.js'

const LAST = 2 ** 53 - 1
const HISTORY_END = prefixRange(HISTORY_KIND).to
const HISTORY_ROWS = 256
const NONE: ReadonlySet<Key> = new Set()
const DOMAINS_MAX = 1_000_000
const DEPTH_LIMIT = 1_000_000 // of directories; more is a cycle

export interface CheckOptions {
  readonly found: Found
  /** The pool's name hash, to check that entries are where their names say. */
  readonly hash?: NameHash
  /** The space's rows, to compare; without, no units are looked at. */
  readonly units?: UnitsCheck
  readonly wrongGroup?: (wrong: WrongGroup) => void
  /** From time to time: inodes done. */
  progress?(inodes: number): void
}

export interface Checked {
  readonly inodes: number
  readonly bytes: number
  readonly extents: number
  readonly directories: number
  /** Some bytes' rows could not be read: what seems to belong to nobody may be theirs. */
  readonly isUnreadable: boolean
}

/** The tree alone: whoever works without a pool chooses inode numbers and sizes as he likes. */
export async function* checkTree(r: Reader, hash?: NameHash): AsyncIterable<Finding> {
  const findings: Finding[] = []
  await checkPool(r, { found: (finding) => void (finding.kind !== 'numbers' && finding.kind !== 'content' && findings.push(finding)), ...(hash === undefined ? {} : { hash }) })
  yield* findings
}

export async function checkPool(r: Reader, options: CheckOptions): Promise<Checked> {
  const { found, units } = options
  const domains = await readDomains(r, found)
  const volumes = await readVolumes(r, found)
  const prints = makeFingerprints()
  units?.window(0)
  const file = makeFileCheck(units, found)
  const orphans = await streamRows(r, orphansFrom(0), orphansFrom(LAST))
  while (orphans.key !== undefined) {
    prints.orphan(1, secondNumber(orphans.key))
    try {
      orphanKind(orphans.row.bytes)
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      found({ ino: secondNumber(orphans.key), what: 'is on a list by a row that cannot be read', kind: 'list' })
    }
    const more = orphans.advance()
    if (more instanceof Promise) await more
  }
  await checkTrash(r, found, prints, domains)
  const roots = await readRoots(r, found)
  const pass = firstPass(r, options, prints, domains, volumes, roots, file)
  await walkOwners(r, pass.visitor, 'nothing')
  const { inodes, bytes, directories, highest } = pass.sums()
  for (const [ino, name] of volumes) found({ ino, what: `is volume ${JSON.stringify(name)}, and is none`, kind: 'volumes' })
  await findSuspects(r, prints.suspectNames(), prints.suspectDirectories(), roots, found)
  await checkClones(r, domains, found)
  await checkHistory(r, found, domains, file)
  await checkShares(r, file.shares, units, found)
  if (units !== undefined) {
    await checkUnits(units, found, (wrong) => options.wrongGroup?.(wrong))
    for (let n = 1; n < units.windows; n++) await checkWindow(r, units, n, file, options)
  }

  const usage = await r.counters(KEY_USAGE)
  const { extents } = file
  if (usage?.[0] !== inodes || usage[1] !== bytes || usage[2] !== extents) found({ ino: 0, what: `the pool's usage says ${usage?.join(' ') ?? 'nothing'}, its inodes ${inodes} ${bytes} ${extents}`, kind: 'usage' })
  await checkNextIno(r, highest, found)
  await checkKinds(r, found)
  return { inodes, bytes, extents, directories, isUnreadable: file.unread > 0 }
}

interface FirstPass {
  readonly visitor: Visitor
  sums(): { readonly inodes: number; readonly bytes: number; readonly directories: number; readonly highest: number }
}

function firstPass(r: Reader, { found, hash, progress }: CheckOptions, prints: Fingerprints, domains: ReadonlyMap<number, Domain>, volumes: Map<number, string>, roots: ReadonlySet<number>, file: FileCheck): FirstPass {
  let inodes = 0
  let bytes = 0
  let directories = 0
  let highest = 0
  // of the owner
  let ino = 0
  let inode: StoredInode | undefined
  let isDamaged = false
  let slots: Slots | undefined
  let isLiveDirectory = false
  let entries = 0
  let subdirectories = 0
  let links = 0
  let before: Dentry | undefined
  let names: Set<string> | undefined // of a chain that has more than one
  let hasRows: { readonly what: string; readonly key: Key } | undefined
  let xattrs = 0
  let acls = 0

  const say = (what: string, kind: Finding['kind']): void => found({ ino, what, kind })
  const belongs = (what: string, key: Key): void => {
    hasRows ??= { what, key }
  }

  function endOfChain(): void {
    if (before?.ino === 0 && inode?.hasOrigin !== true) say('has a chain of names that ends with a tombstone', 'entries')
  }

  function checkInode(n: StoredInode): void {
    inodes++
    if (inodes % 4096 === 0) progress?.(inodes)
    bytes += chargedBytes(n)
    if (ino > highest) highest = ino
    const domain = domains.get(n.domain)
    if (domain === undefined) say(`belongs to domain ${n.domain}, which is not there`, 'report')
    else if (n.birth > domain.epoch) say('was born in an epoch to come', 'report')
    if (n.nlink === 0) {
      prints.orphan(-1, ino)
      if (n.parent !== 0) say('has no links but a home', 'names')
      if (slots !== undefined) say('has counters and no links', 'owner')
      return
    }
    if (isLiveDirectory) {
      directories++
      if (slots === undefined) say('has no counters', 'entries')
      else prints.charge(-1, ino, slots[CHILD_BYTES], slots[CHILD_INODES])
    } else if (slots !== undefined) say('has counters and is no directory', 'owner')
    if (roots.has(ino)) {
      if (!isLiveDirectory || n.parent !== ino) say('is no root directory', 'report')
      return
    }
    if (isVolumeInode(n)) {
      links = 1
      if (!volumes.delete(ino)) say('is a volume that has no name', 'volumes')
      return
    }
    if (n.parent === 0) return // all its names are to be found, or it is told in the end
    prints.name(-1, ino, n.parent, n.homeHigh, n.homeLow, n.mode & S_IFMT, n.domain)
    prints.charge(1, n.parent, chargedBytes(n), 1)
    links = 1
  }

  function missingNames(nlink: number): MaybePromise<void> {
    const [owner, named] = [ino, links]
    return later(namesToFind(r, owner), (toFind) => {
      if (named + toFind !== nlink) found({ ino: owner, what: `has ${nlink} links, and ${named + toFind} names`, kind: 'names' })
    })
  }

  const visitor: Visitor = {
    file,
    begin(owner, of, damaged, counters) {
      ino = owner
      inode = of
      isDamaged = damaged
      slots = counters
      isLiveDirectory = of !== undefined && isDirectory(of) && of.nlink > 0
      entries = subdirectories = links = xattrs = acls = 0
      before = names = hasRows = undefined
      if (of !== undefined) checkInode(of)
      else {
        if (counters !== undefined) hasRows = { what: 'counters', key: '' }
        if (damaged) inodes++ // it is there: the usage counts it
      }
    },
    dentry(dentry) {
      const { cookieHigh, cookieLow } = dentry
      const chained = before !== undefined && before.cookieHigh === cookieHigh && before.cookieLow + 1 === cookieLow && (cookieLow & 127) !== 0
      if (!chained) {
        endOfChain()
        if ((cookieLow & 127) !== 0) say(`has a gap before the name ${JSON.stringify(dentry.name)}`, 'entries')
        names = undefined
      } else if (dentry.ino !== 0) {
        names ??= new Set([before!.name])
        if (names.has(dentry.name)) say(`has the name ${JSON.stringify(dentry.name)} twice`, 'entries')
        names.add(dentry.name)
      }
      before = dentry
      if (!isLiveDirectory) {
        if (!isDamaged) belongs(`an entry (${JSON.stringify(dentry.name)})`, '')
        return
      }
      if (dentry.ino === 0) return
      if (hash !== undefined && !isInPlace(hash, dentry)) say(`has the name ${JSON.stringify(dentry.name)} at a wrong place`, 'entries')
      if (!isName(dentry.name)) say(`has the impossible name ${JSON.stringify(dentry.name)}`, 'report')
      entries++
      if (dentry.typeBits === S_IFDIR) subdirectories++
      const isDomain = dentry.typeBits === S_IFDIR && domains.get(dentry.ino)?.root === dentry.ino && dentry.ino !== ROOT_INO // a subvolume
      prints.name(1, dentry.ino, ino, cookieHigh, cookieLow, dentry.typeBits, isDomain ? dentry.ino : inode!.domain)
    },
    link(key, name): MaybePromise<void> {
      if (inode === undefined || isDirectory(inode)) return isDamaged ? undefined : belongs('a reverse link', key)
      links++
      const parent = secondNumber(key)
      const place: Place = { high: placeHigh(key), low: placeLow(key) }
      if (isHome(inode, parent, place)) return say('has a reverse link for its home', 'names')
      prints.name(-1, ino, parent, place.high, place.low, inode.mode & S_IFMT, inode.domain)
      return later(dentryOrNone(r, parent, place), (dentry) => {
        if (dentry?.ino !== ino || dentry.name !== name) say('has a reverse link that no name leads to', 'names')
      })
    },
    xattr(key) {
      xattrs++
      const name = nameBehind(key)
      if (name === ACL_ACCESS) acls |= 1
      else if (name === ACL_DEFAULT) acls |= 2
      else if (name === CAPABILITY) acls |= 4
      if (inode === undefined && !isDamaged) belongs('an extended attribute', key)
    },
    unreadable(owner, key) {
      const what = key.startsWith('I') ? 'cannot be read' : key.startsWith('D') ? 'has an entry that cannot be read' : 'has a reverse link that cannot be read'
      found({ ino: owner, what, kind: key.startsWith('I') ? 'report' : key.startsWith('D') ? 'entries' : 'names' })
    },
    end(): MaybePromise<void> {
      endOfChain()
      file.end(inode !== undefined && isRegular(inode) ? inode : undefined)
      if (file.rows > 0 && !isDamaged && (inode === undefined || !isRegular(inode))) belongs('bytes of a file', '')
      if (hasRows !== undefined) say(`owns ${hasRows.what} and cannot`, 'owner')
      if (inode === undefined) return
      if (((acls & 1) !== 0) !== inode.hasAccessAcl) say('has an access ACL that it does not know of, or the reverse', 'flags')
      if (((acls & 2) !== 0) !== inode.hasDefaultAcl) say('has a default ACL that it does not know of, or the reverse', 'flags')
      if (((acls & 4) !== 0) !== inode.hasCapability) say('has file capabilities that it does not know of, or the reverse', 'flags')
      if (!inode.hasXattrs && xattrs > 0) say('has xattrs that it does not know of', 'flags')
      const ended = endOfNames(inode)
      if (!inode.hasOrigin) return ended
      const checked = checkOrigin(r, ino, found)
      return ended instanceof Promise || checked instanceof Promise ? Promise.all([ended, checked]).then(() => undefined) : undefined
    }
  }

  function endOfNames(of: StoredInode): MaybePromise<void> {
    if (of.nlink === 0) return
    if (!isLiveDirectory) return links === of.nlink ? undefined : missingNames(of.nlink)
    if (slots !== undefined && (slots[ENTRIES] !== entries || !isCount(of, slots[SUBDIRECTORIES], subdirectories))) prints.suspectDirectory(ino)
    return of.parent < ino ? undefined : walkUp(r, of, roots, found)
  }
  return { visitor, sums: () => ({ inodes, bytes, directories, highest }) }
}

const later = <A>(value: MaybePromise<A>, fn: (value: A) => void): MaybePromise<void> => (value instanceof Promise ? value.then(fn) : fn(value))
const isName = (name: string): boolean => name.length > 0 && name.length <= 255 && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0')

export async function dentryOrNone(r: Reader, parent: number, place: Place): Promise<Dentry | undefined> {
  try {
    return await dentryAt(r, parent, place.high, place.low, NOW)
  } catch (e) {
    if (e instanceof PosixError) return undefined
    throw e
  }
}

export function isInPlace(hash: NameHash, dentry: Dentry): boolean {
  const place: Place = { high: 0, low: 0 }
  hash(dentry.name, place)
  return place.high === dentry.cookieHigh && place.low === (dentry.cookieLow & ~127) >>> 0
}

export async function readInodeOrNone(r: Reader, ino: number): Promise<StoredInode | undefined> {
  try {
    return await readInode(r, ino, NOW)
  } catch (e) {
    if (e instanceof PosixError) return undefined
    throw e
  }
}

/** From a directory that is not younger than its parent up to the root. Who is not named there is told by the names. */
async function walkUp(r: Reader, dir: StoredInode, roots: ReadonlySet<number>, found: Found): Promise<void> {
  let mark = dir.ino // Brent: the mark moves on at powers of two, and is met again in a cycle
  let at = dir.parent
  for (let steps = 1, limit = 2; !roots.has(at) && !roots.has(dir.ino); steps++) {
    if (at === mark || steps > DEPTH_LIMIT) return found({ ino: dir.ino, what: 'is not below the root: its parents form a cycle', kind: 'cycle' })
    if (steps === limit) {
      mark = at
      limit *= 2
    }
    const parent = await readInodeOrNone(r, at)
    if (parent === undefined || !isDirectory(parent) || parent.nlink === 0) return
    at = parent.parent
  }
}

async function checkTrash(r: Reader, found: Found, prints: Fingerprints, domains: ReadonlyMap<number, Domain>): Promise<void> {
  const sums = new Map<number, number[]>()
  for (const { domain, trashKeepSec } of domains.values()) if (trashKeepSec > 0) sums.set(domain, [0, 0])
  const rows = await streamRows(r, trashFrom(0), trashFrom(LAST))
  while (rows.key !== undefined) {
    const domain = firstNumber(rows.key)
    if (!isTrashedName(rows.key)) prints.orphan(1, trashIno(rows.key))
    const sum = sums.get(domain) ?? [0, 0]
    try {
      const { sizeBytes } = decodeRemoved(rows.key, rows.row.bytes)
      sums.set(domain, [sum[0] + 1, sum[1] + sizeBytes])
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      found({ ino: trashIno(rows.key), what: 'is in the trash by a row that cannot be read', kind: 'list' })
    }
    const more = rows.advance()
    if (more instanceof Promise) await more
  }
  for (const { key, row } of await r.scan({ from: TRASH_SUMS_FROM, to: TRASH_SUMS_END, limit: DOMAINS_MAX })) {
    const domain = trashSumsDomain(key)
    const says = row.decoded as readonly number[]
    const has = sums.get(domain) ?? [0, 0]
    sums.delete(domain)
    if (says[0] !== has[0] || says[1] !== has[1]) found({ ino: 0, what: `the trash of domain ${domain} says ${says[0]} things of ${says[1]} bytes, and holds ${has.join(' of ')}`, kind: 'list' })
  }
  for (const domain of sums.keys()) found({ ino: 0, what: `the trash of domain ${domain} has no sums`, kind: 'list' })
}

async function readDomains(r: Reader, found: Found): Promise<Map<number, Domain>> {
  const domains = new Map<number, Domain>()
  const rows = await streamRows(r, domainKey(0), domainKey(LAST))
  while (rows.key !== undefined) {
    const n = firstNumber(rows.key)
    try {
      domains.set(n, domainOfRow(n, rows.row))
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      found({ ino: 0, what: `domain ${n} cannot be read`, kind: 'report' })
    }
    await rows.advance()
  }
  const newest = new Map<number, number>()
  const snapshots = await streamRows(r, snapshotsFrom(0), snapshotsFrom(LAST))
  while (snapshots.key !== undefined) {
    const n = firstNumber(snapshots.key)
    try {
      const { epoch } = decodeSnapshot(snapshots.row.bytes)
      newest.set(n, Math.max(newest.get(n) ?? 0, epoch))
      if (epoch >= (domains.get(n)?.epoch ?? 0)) found({ ino: 0, what: `snapshot ${JSON.stringify(nameBehind(snapshots.key))} of domain ${n} is of an epoch to come`, kind: 'report' })
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      found({ ino: 0, what: `snapshot ${JSON.stringify(nameBehind(snapshots.key))} of domain ${n} cannot be read`, kind: 'report' })
    }
    await snapshots.advance()
  }
  for (const [n, domain] of domains) {
    if (domain.newestSnapshot < (newest.get(n) ?? 0)) found({ ino: 0, what: `domain ${n} does not know of its newest snapshot`, kind: 'report' })
    const root = await readInodeOrNone(r, domain.root)
    const isVolume = root !== undefined && (isRegular(root) || root.nlink === 0) && root.domain === n && n === domain.root // or what is left of one, or of a subvolume
    if (root === undefined || (!isVolume && (!isDirectory(root) || root.nlink === 0))) found({ ino: domain.root, what: `is the root of domain ${n} and neither a directory nor a volume`, kind: 'owner' })
  }
  return domains
}

/** The root, and folders that are their own parents because a rollback took them out of a tree. */
async function readRoots(r: Reader, found: Found): Promise<Set<number>> {
  const roots = new Set([ROOT_INO])
  const rows = await streamRows(r, replacedFrom(0), replacedFrom(LAST))
  for (; rows.key !== undefined; await rows.advance()) {
    const ino = secondNumber(rows.key)
    const inode = await readInodeOrNone(r, ino)
    if (inode === undefined || inode.nlink === 0 || inode.domain !== firstNumber(rows.key)) found({ ino, what: 'is to be removed after a rollback, and is not there', kind: 'clones' })
    else roots.add(ino)
  }
  return roots
}

/** Names by inode; `found` tells of rows that cannot be read. */
async function readVolumes(r: Reader, found: Found): Promise<Map<number, string>> {
  const volumes = new Map<number, string>()
  await eachRow(r, VOLUMES_FROM, 256, ({ key, row }) => {
    const name = volumeName(key)
    try {
      const ino = decodeVolume(row.bytes)
      if (volumes.has(ino)) found({ ino, what: `is volume ${JSON.stringify(name)} and ${JSON.stringify(volumes.get(ino))}`, kind: 'volumes' })
      volumes.set(ino, name)
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      found({ ino: 0, what: `volume ${JSON.stringify(name)} cannot be read`, kind: 'volumes' })
    }
  })
  return volumes
}

async function checkHistory(r: Reader, found: Found, domains: ReadonlyMap<number, Domain>, file: FileCheck): Promise<void> {
  let newestEpoch = 0
  for (const { epoch } of domains.values()) newestEpoch = Math.max(newestEpoch, epoch)
  const isSwept = (await r.scan({ from: sweepKey(0), to: sweepKey(LAST), limit: 1 })).length > 0
  if (isSwept) newestEpoch = Infinity // rows that are to be removed may be of a domain that is gone
  let key: Key = ''
  let death = 0
  for (let behind: Key | undefined = ''; behind !== undefined;) {
    const rows: readonly KeyedRow[] = await r.scan({ from: behind === '' ? HISTORY_KIND : keySuccessor(behind), to: HISTORY_END, limit: HISTORY_ROWS })
    const needless = isSwept ? await needlessOf(r, behind) : NONE
    for (const row of rows) {
      file.past(row)
      const of = row.key.slice(0, -8)
      const v = new DataView(row.row.bytes.buffer, row.row.bytes.byteOffset, row.row.bytes.byteLength)
      if (row.row.bytes.length < 26) {
        found({ ino: 0, what: 'a row of history cannot be read', kind: 'report' })
        continue
      }
      const past = { birth: v.getUint32(1, true) + v.getUint32(5, true) * 4294967296, death: v.getUint32(9, true) + v.getUint32(13, true) * 4294967296 }
      if (past.death > newestEpoch) found({ ino: 0, what: `a row of history died in epoch ${past.death}, which is to come`, kind: 'report' })
      if (needless?.has(row.key) !== false) continue // what a rollback left over what it brought back, until it is swept
      if (of === key && past.birth < death) found({ ino: 0, what: `two rows of history show themselves in one epoch (${past.birth})`, kind: 'report' })
      key = of
      death = past.death
    }
    behind = rows.length < HISTORY_ROWS ? undefined : rows[rows.length - 1].key
  }
}

/** Keys of the next HISTORY_ROWS rows of history that no snapshot needs; undefined if a damaged inode does not tell. */
async function needlessOf(r: Reader, behind: Key): Promise<ReadonlySet<Key> | undefined> {
  try {
    return new Set((await run(needlessHistory(r, behind, HISTORY_ROWS))).rows.map(({ key }) => key))
  } catch (e) {
    if (!(e instanceof PosixError)) throw e
    return undefined
  }
}

async function checkWindow(r: Reader, units: UnitsCheck, n: number, file: FileCheck, { found, wrongGroup }: CheckOptions): Promise<void> {
  units.window(n)
  await eachRow(r, 'E', 1024, file.claims.extent)
  await eachRow(r, 'P', 128, file.claims.pending)
  await eachRow(r, HISTORY_KIND, 256, file.claims.past)
  claimShares(file.shares, units)
  await units.compare((wrong) => {
    wrongGroup?.(wrong)
    found({ ino: 0, what: `block group ${wrong.group} has ${wrong.leaked} units in use that nobody holds, and ${wrong.missing} held that are not in use`, kind: 'units' })
  })
}

async function checkNextIno(r: Reader, highest: number, found: Found): Promise<void> {
  const row = await r.get(KEY_NEXT_INO)
  let next: number | undefined
  try {
    next = row === undefined ? undefined : decodeNextIno(row.bytes)
  } catch (e) {
    if (!(e instanceof PosixError)) throw e
  }
  if (next === undefined || next <= highest) {
    found({ ino: 0, what: `the next inode number is ${next ?? 'not known'}, and ${highest} is in use`, kind: 'numbers' })
  }
}

/** First bytes of keys that somebody knows. */
const KINDS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZbu'

async function checkKinds(r: Reader, found: Found): Promise<void> {
  let from = '\u0001'
  for (const kind of [...KINDS].sort()) {
    const strange = await r.scan({ from, to: kind, limit: 1 })
    if (strange.length > 0) found({ ino: 0, what: `a row of the unknown kind ${JSON.stringify(strange[0].key[0])} is there`, kind: 'report' })
    from = String.fromCharCode(kind.charCodeAt(0) + 1)
  }
  const behind = await r.scan({ from, to: '\u00ff\u00ff', limit: 1 })
  if (behind.length > 0) found({ ino: 0, what: `a row of the unknown kind ${JSON.stringify(behind[0].key[0])} is there`, kind: 'report' })
}
