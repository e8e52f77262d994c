/**
 * Repairs the rows that make clones, where other rows say what they are to be:
 *   - L of an inode that is not there goes; so does a hold K for a clone of which nothing is left, and what it held is swept; J of
 *     nobody; Y of a folder that is gone.
 *   - A view that a clone reads through to, and that shows what it is to show, is held again; a domain knows of its newest view.
 *   - J is what an inode counts as links and has no names for; F leads to an inode that has names to be found, in a clone that was not
 *     rolled back (in another nobody knows in which epoch those names were born).
 * What else a check tells of clones would be guessed, and stays.
 */
import { decodeOrigin, NOW, ORIGIN_KIND } from '../data/index.js'
import { prefixRange } from '../engine/index.js'
import type { Key } from '../engine/index.js'
import { eachRow, leadsTo } from './check-clones.js'
import { hold, NOBODY } from './holds.js'
import { isDirectory } from './inode.js'
import { clonedFrom, clonedKey, domainKey, firstNumber, holdKey, holdsFrom, linksFrom, replacedFrom, secondNumber, thirdNumber, unfoundKey } from './keys.js'
import { readInode } from './read.js'
import { change, readerOf } from './repair-base.js'
import type { Repair } from './repair-base.js'
import { holdsItself } from './replaced.js'
import { decodeCloned, decodeUnfound, domainOfRow, encodeCloned, encodeUnfound } from './rows.js'
import { release } from './snapshot.js'
import { run } from './steps.js'

const LAST = 2 ** 53 - 1
const LINKS_MAX = 1_000_000

export async function repairClones(repair: Repair): Promise<void> {
  const each = (from: Key, to: Key, mend: (key: Key, bytes: Uint8Array) => Promise<void>): Promise<void> =>
    eachRow(readerOf(repair), from, to, mend, () => undefined) // is left, and told by the check
  await each(ORIGIN_KIND, prefixRange(ORIGIN_KIND).to, (key, bytes) => repairOrigin(repair, key, bytes))
  await each(holdsFrom(0), holdsFrom(LAST), (key) => repairHold(repair, key))
  await each(clonedFrom(0), clonedFrom(LAST), (key, bytes) => repairCloned(repair, key, decodeCloned(bytes)))
  await each(unfoundKey(0), unfoundKey(LAST), (key, bytes) => repairUnfound(repair, key, decodeUnfound(bytes).origin))
  await each(replacedFrom(0), replacedFrom(LAST), async (key) => {
    const inode = await readInode(readerOf(repair), secondNumber(key), NOW)
    if (inode === undefined || inode.nlink === 0) await drop(repair, key, secondNumber(key), 'is not there, and is not to be removed after a rollback any more')
  })
}

async function drop(repair: Repair, key: Key, ino: number, what: string): Promise<void> {
  await change(repair, (tx) => tx.delete(key))
  repair.did(ino, what)
}

async function repairOrigin(repair: Repair, key: Key, bytes: Uint8Array): Promise<void> {
  const r = readerOf(repair)
  const ino = firstNumber(key)
  const inode = await readInode(r, ino, NOW)
  if (inode === undefined) return drop(repair, key, ino, 'is not there, and is no clone any more')
  const { ino: from, epoch, limit } = decodeOrigin(bytes)
  if (!inode.hasOrigin || (!isDirectory(inode) && limit === 0)) return
  const was = await readInode(r, from, epoch)
  if (was === undefined || isDirectory(was) !== isDirectory(inode) || (await r.get(holdKey(was.domain, epoch, inode.domain))) !== undefined) return
  await change(repair, (tx) => run(hold(tx, was.domain, epoch, inode.domain)))
  repair.did(ino, `is a clone of inode ${from}, and epoch ${epoch} of domain ${was.domain} is held for it again`)
}

async function repairHold(repair: Repair, key: Key): Promise<void> {
  const r = readerOf(repair)
  const [origin, epoch, clone] = [firstNumber(key), secondNumber(key), thirdNumber(key)]
  if (clone !== NOBODY && (await r.get(domainKey(clone))) === undefined) {
    if ((await readInode(r, clone, NOW)) !== undefined) return
    await change(repair, (tx) => run(release(tx, { origin, epoch, clone })))
    return repair.did(0, `epoch ${epoch} of domain ${origin} is not held any more for domain ${clone}, which is not there`)
  }
  const row = await r.get(domainKey(origin))
  if (row === undefined || domainOfRow(origin, row).newestSnapshot >= epoch) return
  await change(repair, (tx) => run(hold(tx, origin, epoch, clone)))
  repair.did(0, `domain ${origin} knows that its epoch ${epoch} is held`)
}

/** The names that it has are its home and its reverse links. */
async function repairCloned(repair: Repair, key: Key, ino: number): Promise<void> {
  const r = readerOf(repair)
  const inode = await readInode(r, ino, NOW)
  if (inode === undefined || inode.domain !== firstNumber(key) || (await r.get(unfoundKey(ino))) !== undefined) return
  const links = (await r.scan({ from: linksFrom(ino), to: linksFrom(ino + 1), limit: LINKS_MAX })).length
  const names = inode.nlink - links - (inode.parent === 0 ? 0 : 1)
  if (names <= 0) return drop(repair, key, ino, 'has all its names, and is not to be found by others any more')
  await change(repair, (tx) => tx.put(unfoundKey(ino), encodeUnfound({ origin: secondNumber(key), names })))
  repair.did(ino, `has ${names} names to be found`)
}

async function repairUnfound(repair: Repair, key: Key, origin: number): Promise<void> {
  const r = readerOf(repair)
  const ino = firstNumber(key)
  const inode = await readInode(r, ino, NOW)
  if (inode === undefined) return drop(repair, key, ino, 'is not there, and has no names to be found any more')
  const at = clonedKey(inode.domain, origin, 1)
  if (await leadsTo(r, inode.domain, origin, ino) || await run(holdsItself(r, inode.domain)) || (await r.get(at)) !== undefined) return
  await change(repair, (tx) => tx.put(at, encodeCloned(ino)))
  repair.did(ino, `is found by other names of inode ${origin} again`)
}
