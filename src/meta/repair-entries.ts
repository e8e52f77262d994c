/**
 * Repairs a directory: entries that lead nowhere or cannot be read go, types become those of the inodes, chains of ties are whole and
 * where the names' hashes say, and the counters are what is there.
 */
import { streamRows } from '../engine/index.js'
import type { Key, Tx } from '../engine/index.js'
import { PosixError } from '../sys/index.js'
import { dentryOrNone, isInPlace, readInodeOrNone } from './check.js'
import { CHILD_BYTES, CHILD_INODES, ENTRIES, SUBDIRECTORIES } from './directory.js'
import { isDirectory, S_IFDIR, S_IFMT } from './inode.js'
import type { StoredInode } from './inode.js'
import { dentriesFrom, dentryKey, directoryKey, inodeKey, linkKey } from './keys.js'
import { change, readerOf } from './repair-base.js'
import type { Repair } from './repair-base.js'
import { decodeDentry, encodeDentry } from './rows.js'
import type { Dentry } from './rows.js'
import { run, wait } from './steps.js'
import type { Steps } from './steps.js'
import { chargedBytes, domainOf, findSlot, isHome, placeOf, putDentry, putLink, updateInode } from './write.js'

export async function repairEntries(repair: Repair, ino: number): Promise<void> {
  const dir = await readInodeOrNone(readerOf(repair), ino)
  if (dir === undefined || !isDirectory(dir) || dir.nlink === 0) return
  await repairRows(repair, dir)
  await repairChains(repair, dir)
  await recount(repair, dir)
}

async function repairRows(repair: Repair, dir: StoredInode): Promise<void> {
  const r = readerOf(repair)
  const { ino } = dir
  const rows = await streamRows(r, dentriesFrom(ino), dentriesFrom(ino + 1), 256)
  for (; rows.key !== undefined; await rows.advance()) {
    const { key, row } = rows
    const dentry = readable(key, row.bytes)
    if (dentry === undefined) {
      await change(repair, (tx) => tx.delete(key))
      repair.did(ino, 'had an entry that could not be read: it is gone')
      continue
    }
    if (dentry.ino === 0) continue
    const child = await readInodeOrNone(r, dentry.ino)
    if (child === undefined) {
      if ((await r.get(inodeKey(dentry.ino))) !== undefined) continue // it is there and cannot be read
      await change(repair, (tx) => tx.delete(key))
      repair.did(ino, `named inode ${dentry.ino} (${JSON.stringify(dentry.name)}), which was not there: the name is gone`)
      continue
    }
    const type = child.mode & S_IFMT
    if (type !== dentry.typeBits) {
      await change(repair, (tx) => tx.put(key, encodeDentry(dentry.birth, dentry.ino, type, dentry.name)))
      repair.did(ino, `says the right type of ${JSON.stringify(dentry.name)} now`)
    }
    if (isDirectory(child) && child.nlink > 0 && !isHome(child, ino, placeOf(dentry))) await oneHome(repair, dir, dentry, child, key)
  }
}

const readable = (key: Key, bytes: Uint8Array): Dentry | undefined => {
  try {
    return decodeDentry(key, bytes)
  } catch (e) {
    if (e instanceof PosixError) return undefined
    throw e
  }
}

/** A directory that another name than its home leads to: that name goes, unless nothing is at the home. */
async function oneHome(repair: Repair, dir: StoredInode, dentry: Dentry, child: StoredInode, key: Key): Promise<void> {
  const r = readerOf(repair)
  const parent = child.parent === 0 ? undefined : await readInodeOrNone(r, child.parent)
  const home = parent !== undefined && isDirectory(parent) && parent.nlink > 0 ? await dentryOrNone(r, child.parent, { high: child.homeHigh, low: child.homeLow }) : undefined
  if (home?.ino === child.ino) {
    await change(repair, (tx) => tx.delete(key))
    return repair.did(dir.ino, `named directory ${child.ino} (${JSON.stringify(dentry.name)}), which has another name: this one is gone`)
  }
  await change(repair, (tx) => run(function* (): Steps<void> {
    updateInode(tx, yield* domainOf(tx, child.domain), child, { parent: dir.ino, homeHigh: dentry.cookieHigh, homeLow: dentry.cookieLow })
  }()))
  repair.did(child.ino, `is at home in directory ${dir.ino} now, which names it`)
}

async function repairChains(repair: Repair, dir: StoredInode): Promise<void> {
  const { ino } = dir
  const rows = await streamRows(readerOf(repair), dentriesFrom(ino), dentriesFrom(ino + 1))
  let chain: Dentry[] = []
  const close = async (): Promise<void> => {
    if (chain.length > 0 && !dir.hasOrigin && !isWhole(repair, chain)) {
      const broken = chain
      await change(repair, (tx) => run(rebuild(tx, repair, dir, broken)))
      repair.did(ino, 'had entries at wrong places: they are where they belong')
    }
    chain = []
  }
  for (; rows.key !== undefined; await rows.advance()) {
    const dentry = readable(rows.key, rows.row.bytes)
    if (dentry === undefined) continue
    const last = chain[chain.length - 1]
    if (last !== undefined && (last.cookieHigh !== dentry.cookieHigh || (last.cookieLow & ~127) !== (dentry.cookieLow & ~127))) await close()
    chain.push(dentry)
  }
  await close()
}

function isWhole({ hash }: Repair, chain: readonly Dentry[]): boolean {
  const names = new Set<string>()
  for (let i = 0; i < chain.length; i++) {
    const d = chain[i]
    if ((d.cookieLow & 127) !== i) return false
    if (d.ino === 0) continue
    if (names.has(d.name) || !isInPlace(hash, d)) return false
    names.add(d.name)
  }
  return chain[chain.length - 1].ino !== 0
}

/** Takes a chain away and puts its entries where their names say. Of two with one name the second loses it. */
function* rebuild(tx: Tx, repair: Repair, dir: StoredInode, chain: readonly Dentry[]): Steps<void> {
  const domain = yield* domainOf(tx, dir.domain)
  for (const d of chain) tx.delete(dentryKey(dir.ino, d.cookieHigh, d.cookieLow))
  for (const d of chain) {
    if (d.ino === 0) continue
    const slot = yield* findSlot(tx, repair.hash, dir.ino, d.name)
    if (slot.dentry !== undefined) {
      repair.did(dir.ino, `had the name ${JSON.stringify(d.name)} twice: inode ${d.ino} has lost it`)
      continue
    }
    putDentry(tx, domain, dir.ino, d.name, slot, d.ino, d.typeBits)
    const old = placeOf(d)
    if (old.high === slot.place.high && old.low === slot.place.low) continue
    const child = (yield* wait(readInodeOrNone(tx, d.ino))) as StoredInode | undefined
    if (child === undefined) continue
    if (isHome(child, dir.ino, old)) updateInode(tx, domain, child, { homeHigh: slot.place.high, homeLow: slot.place.low })
    else if ((yield* wait(tx.get(linkKey(d.ino, dir.ino, old)))) !== undefined) {
      tx.delete(linkKey(d.ino, dir.ino, old))
      putLink(tx, domain, d.ino, dir.ino, slot.place, d.name)
    }
  }
}

async function recount(repair: Repair, dir: StoredInode): Promise<void> {
  const r = readerOf(repair)
  const { ino } = dir
  let entries = 0
  let subdirectories = 0
  let bytes = 0
  let inodes = 0
  const rows = await streamRows(r, dentriesFrom(ino), dentriesFrom(ino + 1))
  for (; rows.key !== undefined; await rows.advance()) {
    const dentry = readable(rows.key, rows.row.bytes)
    if (dentry === undefined || dentry.ino === 0) continue
    entries++
    if (dentry.typeBits === S_IFDIR) subdirectories++
    const child = await readInodeOrNone(r, dentry.ino)
    if (child === undefined || !isHome(child, ino, placeOf(dentry))) continue
    bytes += chargedBytes(child)
    inodes++
  }
  const slots = await r.counters(directoryKey(ino))
  if (dir.hasOrigin) subdirectories = Math.max(subdirectories, slots?.[SUBDIRECTORIES] ?? 0) // more are to come
  if (slots === undefined) {
    await change(repair, (tx) => tx.createCounters(directoryKey(ino), [entries, subdirectories, dir.mtimeSec, dir.mtimeNsec, dir.ctimeSec, dir.ctimeNsec, bytes, inodes, dir.birth]))
  } else if (slots[ENTRIES] !== entries || slots[SUBDIRECTORIES] !== subdirectories || slots[CHILD_BYTES] !== bytes || slots[CHILD_INODES] !== inodes) {
    await change(repair, (tx) => tx.setCounters(directoryKey(ino), [[ENTRIES, entries], [SUBDIRECTORIES, subdirectories], [CHILD_BYTES, bytes], [CHILD_INODES, inodes]]))
  } else return
  repair.did(ino, `counts ${entries} entries, ${subdirectories} directories, ${bytes} bytes and ${inodes} inodes now`)
}
