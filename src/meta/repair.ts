/**
 * Repairs what a check found, object by object; nobody else has the pool open. Nothing is guessed: what a repair does follows from
 * rows that are there, and each step says what it did.
 *   - Bytes and names are kept where either is left: a lost inode with bytes or entries is made anew (owner root, mode 0600 or 0700),
 *     an inode without a name goes to /lost+found as #NUMBER.
 *   - Counts and sums become what the rows add up to. An entry that leads nowhere goes.
 *   - A step looks at the rows as they are when it runs: steps may come in any order and be repeated. After them the pool is checked again.
 */
import { repairShares } from '../data/index.js'
import type { Finding } from '../data/index.js'
import { streamRows } from '../engine/index.js'
import type { Tx } from '../engine/index.js'
import { PosixError } from '../sys/index.js'
import { ACL_ACCESS, ACL_DEFAULT } from './acl.js'
import type { Checked } from './check.js'
import { namesToFind } from './check-clones.js'
import { dentryOrNone, readInodeOrNone } from './check.js'
import { newSlots } from './directory.js'
import { isDirectory, isRegular, S_IFDIR, S_IFMT, S_IFREG } from './inode.js'
import type { StoredInode } from './inode.js'
import { directoryKey, firstNumber, inodeKey, KEY_NEXT_INO, KEY_USAGE, linksFrom, nameBehind, placeHigh, placeLow, secondNumber, xattrsFrom, dentriesFrom } from './keys.js'
import { blankInode, make, ROOT_INO } from './make.js'
import type { Timespec } from './words.js'
import { repairClones } from './repair-clones.js'
import { isListed, repairLists } from './repair-lists.js'
import { bytesOf, dropBytes, repairBytes, repairContent } from './repair-bytes.js'
import { change, dropRows, opOf, readerOf, ROOT_DOMAIN } from './repair-base.js'
import type { Repair } from './repair-base.js'
import { repairEntries } from './repair-entries.js'
import { repairVolumes } from './repair-volumes.js'
import { decodeNextIno, encodeNextIno } from './rows.js'
import { run, wait } from './steps.js'
import type { Steps } from './steps.js'
import { CAPABILITY, chargeHome, countEntry, domainOf, findSlot, isHome, putDentry, putInode, putLink, removeDentry, updateInode } from './write.js'

const LAST = 2 ** 53 - 1
const LOST_AND_FOUND = 'lost+found'
/** What the pool's usage does not follow from, or follows from as it is. */
const LEFT_ALONE: ReadonlySet<Finding['kind']> = new Set(['usage', 'report', 'units', 'shares', 'bytes', 'overlap', 'clones'])

/** The findings' objects, each once. Usage and numbers only when nothing else is wrong: they follow from the rest. */
export async function repairTree(repair: Repair, findings: readonly Finding[], checked: Checked): Promise<void> {
  const of = (kind: Finding['kind']): number[] => [...new Set(findings.filter((f) => f.kind === kind).map((f) => f.ino))].sort((a, b) => a - b)
  const numbers = findings.some((f) => f.kind === 'numbers')
  if (numbers) await repairNextIno(repair)
  if (of('clones').length > 0) await repairClones(repair) // before lost inodes are made anew: not as clones
  for (const ino of of('owner')) await repairOwner(repair, ino)
  for (const ino of of('entries')) await repairEntries(repair, ino)
  for (const ino of of('cycle')) await breakCycle(repair, ino)
  for (const ino of of('names')) await repairNames(repair, ino, findings.flatMap((f) => (f.ino === ino && f.at !== undefined ? [f.at] : [])))
  if (of('volumes').length > 0) await repairVolumes(repair, of('volumes'))
  if (of('list').length + of('names').length > 0) await repairLists(repair)
  for (const ino of of('flags')) await repairFlags(repair, ino)
  for (const ino of of('bytes')) await repairBytes(repair, ino)
  for (const ino of of('content')) await repairContent(repair, ino)
  if (of('shares').length > 0 && of('owner').length === 0) { // rows of nobody go first
    const rows = await repairShares(repair.engine, checked.isUnreadable)
    repair.did(0, `units that extents share are counted anew, in ${rows} ranges`)
  }
  const others = findings.some((f) => !LEFT_ALONE.has(f.kind))
  if (!others && of('usage').length > 0) await repairUsage(repair, checked)
}

async function repairUsage(repair: Repair, { inodes, bytes, extents }: Checked): Promise<void> {
  const there = await readerOf(repair).counters(KEY_USAGE)
  await change(repair, (tx) => (there === undefined ? tx.createCounters(KEY_USAGE, [inodes, bytes, extents]) : tx.setCounters(KEY_USAGE, [[0, inodes], [1, bytes], [2, extents]])))
  repair.did(0, `the pool's usage is ${inodes} inodes and ${bytes} bytes in ${extents} extents now`)
}

async function repairNextIno(repair: Repair): Promise<void> {
  const last = await readerOf(repair).scan({ from: inodeKey(0), to: inodeKey(LAST), limit: 1, reverse: true })
  const highest = last.length === 0 ? ROOT_INO : firstNumber(last[0].key)
  const next = Math.max(16, highest + 1)
  await change(repair, (tx) => tx.put(KEY_NEXT_INO, encodeNextIno(next)))
  repair.did(0, `the next inode number is ${next} now`)
}

// ------------------------------------------------------------------------------------------------------------- owners

/** Rows of an inode that is not there or cannot have them. */
async function repairOwner(repair: Repair, ino: number): Promise<void> {
  const r = readerOf(repair)
  const inode = await readInodeOrNone(r, ino)
  const hasEntries = (await r.scan({ from: dentriesFrom(ino), to: dentriesFrom(ino + 1), limit: 1 })).length > 0
  if (inode === undefined) {
    if ((await r.get(inodeKey(ino))) !== undefined) return // it is there and cannot be read
    if (ino === ROOT_INO || hasEntries) return remakeDirectory(repair, ino)
    const { rows, endBytes } = await bytesOf(r, ino)
    if (rows > 0 && endBytes > 0) return remakeFile(repair, ino, endBytes)
  } else if (isDirectory(inode) && hasEntries && inode.nlink === 0) return remakeDirectory(repair, ino)
  const isLiveDirectory = inode !== undefined && isDirectory(inode) && inode.nlink > 0
  if (!isLiveDirectory) {
    const dropped = await dropRows(repair, dentriesFrom(ino))
    if (dropped > 0) repair.did(ino, `was no directory: ${dropped} entries are gone`)
    if ((await r.counters(directoryKey(ino))) !== undefined) {
      await change(repair, (tx) => {
        tx.setCounters(directoryKey(ino), [[0, 0]])
        tx.deleteCounters(directoryKey(ino))
      })
      repair.did(ino, 'was no directory: its counters are gone')
    }
  }
  if (inode === undefined || isDirectory(inode)) {
    const dropped = await dropRows(repair, linksFrom(ino))
    if (dropped > 0) repair.did(ino, `could have no reverse links: ${dropped} are gone`)
  }
  if (inode === undefined) {
    const dropped = await dropRows(repair, xattrsFrom(ino))
    if (dropped > 0) repair.did(ino, `was not there: ${dropped} of its extended attributes are gone`)
  }
  if (inode === undefined || !isRegular(inode)) {
    const dropped = await dropBytes(repair, ino)
    if (dropped > 0) repair.did(ino, `was no file: ${dropped} rows of its bytes are gone`)
  }
}

async function remakeDirectory(repair: Repair, ino: number): Promise<void> {
  const counters = await readerOf(repair).counters(directoryKey(ino))
  await change(repair, (tx) => run(function* (): Steps<void> {
    const domain = yield* domainOf(tx, ROOT_DOMAIN)
    putInode(tx, { ...blankInode(ino, S_IFDIR | (ino === ROOT_INO ? 0o755 : 0o700), domain, opOf(repair)), nlink: 2, sizeBytes: 4096, durableSizeBytes: 4096, parent: ino === ROOT_INO ? ino : 0 })
    if (counters === undefined) tx.createCounters(directoryKey(ino), newSlots(repair.now, domain.epoch))
  }()))
  repair.did(ino, 'was lost, and is a directory with its entries again (owner and mode are not known: root, 0700)')
  await repairEntries(repair, ino)
}

async function remakeFile(repair: Repair, ino: number, sizeBytes: number): Promise<void> {
  await change(repair, (tx) => run(function* (): Steps<void> {
    const domain = yield* domainOf(tx, ROOT_DOMAIN)
    putInode(tx, { ...blankInode(ino, S_IFREG | 0o600, domain, opOf(repair)), sizeBytes, durableSizeBytes: sizeBytes })
  }()))
  repair.did(ino, `was lost, and is a file with its bytes again (size, owner and mode are not known: ${sizeBytes}, root, 0600)`)
}

// -------------------------------------------------------------------------------------------------------------- names

interface At {
  readonly parent: number
  readonly high: number
  readonly low: number
}

/** Home, reverse links and link count become what names there are; without any it goes to lost+found. */
async function repairNames(repair: Repair, ino: number, more: readonly At[]): Promise<void> {
  const r = readerOf(repair)
  const inode = await readInodeOrNone(r, ino)
  if (inode === undefined || ino === ROOT_INO) return
  const links = await r.scan({ from: linksFrom(ino), to: linksFrom(ino + 1), limit: 1_000_000 })
  const candidates: At[] = [{ parent: inode.parent, high: inode.homeHigh, low: inode.homeLow }, ...links.map(({ key }) => ({ parent: secondNumber(key), high: placeHigh(key), low: placeLow(key) })), ...more]
  const names: (At & { readonly name: string })[] = []
  for (const at of candidates) {
    if (names.some((n) => n.parent === at.parent && n.high === at.high && n.low === at.low)) continue
    const dentry = at.parent === 0 ? undefined : await dentryOrNone(r, at.parent, at)
    const parent = dentry?.ino === ino ? await readInodeOrNone(r, at.parent) : undefined
    if (parent !== undefined && isDirectory(parent) && parent.nlink > 0 && (parent.domain === inode.domain || inode.domain === ino)) names.push({ ...at, name: dentry!.name })
  }
  const listed = await isListed(repair, ino)
  if (names.length === 0 && inode.nlink === 0 && listed) {
    await change(repair, (tx) => run(function* (): Steps<void> {
      updateInode(tx, yield* domainOf(tx, inode.domain), inode, { parent: 0, homeHigh: 0, homeLow: 0 })
    }()))
    return repair.did(ino, 'has no name, and no home any more')
  }
  const toFind = await namesToFind(r, ino)
  if (names.length === 0 && toFind === 0) return attach(repair, inode)
  const home = names[0] ?? { parent: 0, high: 0, low: 0 }
  const rest = isDirectory(inode) ? [] : names.slice(1)
  await change(repair, (tx) => run(function* (): Steps<void> {
    const domain = yield* domainOf(tx, inode.domain)
    for (const { key } of links) tx.delete(key)
    for (const { parent, high, low, name } of rest) putLink(tx, domain, ino, parent, { high, low }, name)
    updateInode(tx, domain, inode, { nlink: isDirectory(inode) ? 2 : names.length + toFind, parent: home.parent, homeHigh: home.high, homeLow: home.low })
    if (isDirectory(inode)) yield* needCounters(tx, inode, repair.now, domain.epoch)
  }()))
  repair.did(ino, `has ${names.length + toFind} links now, as it has names`)
}

function* needCounters(tx: Tx, inode: StoredInode, now: Timespec, epoch: number): Steps<void> {
  if ((yield* wait(tx.counters(directoryKey(inode.ino)))) === undefined) tx.createCounters(directoryKey(inode.ino), newSlots(now, epoch))
}

/** Gives it the name #NUMBER in /lost+found. */
async function attach(repair: Repair, inode: StoredInode): Promise<void> {
  if (inode.domain !== ROOT_DOMAIN) return
  const { ino } = inode
  const into = await lostAndFound(repair)
  const name = `#${ino}`
  await change(repair, (tx) => run(function* (): Steps<void> {
    const domain = yield* domainOf(tx, inode.domain)
    const slot = yield* findSlot(tx, repair.hash, into, name)
    const links = yield* wait(tx.scan({ from: linksFrom(ino), to: linksFrom(ino + 1), limit: 1_000_000 }))
    for (const { key } of links) tx.delete(key)
    const left = updateInode(tx, domain, inode, { nlink: isDirectory(inode) ? 2 : 1, parent: into, homeHigh: slot.place.high, homeLow: slot.place.low })
    putDentry(tx, domain, into, name, slot, ino, inode.mode & S_IFMT)
    if (isDirectory(inode)) yield* needCounters(tx, inode, repair.now, domain.epoch)
    if (slot.dentry !== undefined) return
    yield* countEntry(tx, domain, into, left, 1, repair.now)
    yield* chargeHome(tx, domain, left, 1)
  }()))
  repair.did(ino, `had no name, and is /${LOST_AND_FOUND}/${name} now`)
}

async function lostAndFound(repair: Repair): Promise<number> {
  const r = readerOf(repair)
  const op = opOf(repair)
  for (let n = 0; ; n++) {
    const name = n === 0 ? LOST_AND_FOUND : `${LOST_AND_FOUND}.${n}`
    const { dentry } = await change(repair, (tx) => run(findSlot(tx, repair.hash, ROOT_INO, name)))
    if (dentry === undefined) {
      return change(repair, async (tx) => {
        const ino = decodeNextIno((await tx.get(KEY_NEXT_INO))!.bytes)
        tx.put(KEY_NEXT_INO, encodeNextIno(ino + 1))
        await run(make(tx, repair.hash, op, { parent: ROOT_INO, name, mode: S_IFDIR | 0o700, umask: 0, rdev: 0, target: undefined, ino }))
        return ino
      })
    }
    const there = await readInodeOrNone(r, dentry.ino)
    if (there !== undefined && isDirectory(there) && there.nlink > 0 && isHome(there, ROOT_INO, { high: dentry.cookieHigh, low: dentry.cookieLow })) return dentry.ino
    if (n > 100) throw new PosixError('EEXIST', `/${LOST_AND_FOUND} is no folder: give it another name`)
  }
}

/** A directory that is its own ancestor: taken out of its parent, into lost+found. */
async function breakCycle(repair: Repair, ino: number): Promise<void> {
  const r = readerOf(repair)
  const inode = await readInodeOrNone(r, ino)
  if (inode === undefined || inode.parent === 0) return
  let at = inode.parent // broken already, by another one of its directories?
  for (let steps = 0; at !== ROOT_INO && steps < 1_000_000; steps++) {
    if (at === ino) break
    at = (await readInodeOrNone(r, at))?.parent ?? ROOT_INO
  }
  if (at === ROOT_INO) return
  const dentry = await dentryOrNone(r, inode.parent, { high: inode.homeHigh, low: inode.homeLow })
  if (dentry?.ino === ino) {
    await change(repair, (tx) => run(function* (): Steps<void> {
      const domain = yield* domainOf(tx, inode.domain)
      yield* removeDentry(tx, domain, inode.parent, dentry)
      yield* countEntry(tx, domain, inode.parent, inode, -1, repair.now)
      yield* chargeHome(tx, domain, inode, -1)
    }()))
    repair.did(ino, `was below itself, and is not in directory ${inode.parent} any more`)
  }
  await attach(repair, inode)
}

// -------------------------------------------------------------------------------------------------------------- flags

async function repairFlags(repair: Repair, ino: number): Promise<void> {
  const inode = await readInodeOrNone(readerOf(repair), ino)
  if (inode === undefined) return
  const names = new Set<string>()
  const rows = await streamRows(readerOf(repair), xattrsFrom(ino), xattrsFrom(ino + 1), 64)
  while (rows.key !== undefined) {
    names.add(nameBehind(rows.key))
    await rows.advance()
  }
  await change(repair, (tx) => run(function* (): Steps<void> {
    updateInode(tx, yield* domainOf(tx, inode.domain), inode, {
      hasAccessAcl: names.has(ACL_ACCESS), hasDefaultAcl: names.has(ACL_DEFAULT), hasCapability: names.has(CAPABILITY), hasXattrs: inode.hasXattrs || names.size > 0
    })
  }()))
  repair.did(ino, 'knows of its extended attributes now')
}

