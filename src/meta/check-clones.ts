/**
 * Checks what makes clones: each row L belongs to an inode that knows of it and names another that its view shows, which is held; each
 * hold has its clone; names that are to be found are counted where the hard link is.
 */
import { decodeOrigin, NOW, ORIGIN_KIND, originKey } from '../data/index.js'
import type { Finding, Found } from '../data/index.js'
import { prefixRange, streamRows } from '../engine/index.js'
import type { Key, MaybePromise, Reader } from '../engine/index.js'
import { PosixError } from '../sys/index.js'
import { NOBODY } from './holds.js'
import { isDirectory } from './inode.js'
import type { StoredInode } from './inode.js'
import { clonedFrom, clonedKey, firstNumber, holdKey, holdsFrom, secondNumber, thirdNumber, unfoundKey } from './keys.js'
import { readInode } from './read.js'
import { decodeCloned, decodeUnfound } from './rows.js'
import type { Domain } from './rows.js'
import { after } from './steps.js'

const LAST = 2 ** 53 - 1
const BIRTHS_MAX = 10_000 // rollbacks of one tree whose entries nobody looked at yet

/** How many of an inode's names lie in folders of a clone that nobody has visited. */
export const namesToFind = (r: Reader, ino: number): MaybePromise<number> => after(r.get(unfoundKey(ino)), (row) => {
  try {
    return row === undefined ? 0 : decodeUnfound(row.bytes).names
  } catch (e) {
    if (!(e instanceof PosixError)) throw e
    return 0 // told with the others
  }
})

/** Subdirectories, as a directory counts them: one that was not visited knows of more than are there. */
export const isCount = (dir: StoredInode, says: number, has: number): boolean => (dir.hasOrigin ? says >= has : says === has)

/** Whether a row F, of the clone's beginning or of a rollback of it, leads there. */
export async function leadsTo(r: Reader, domain: number, origin: number, ino: number): Promise<boolean> {
  const prefix = clonedKey(domain, origin, 1)
  return (await r.scan({ from: prefix, to: prefixRange(prefix).to, limit: BIRTHS_MAX })).some(({ row }) => isTo(row.bytes, ino))
}

const isTo = (bytes: Uint8Array, ino: number): boolean => {
  try {
    return decodeCloned(bytes) === ino
  } catch (e) {
    if (!(e instanceof PosixError)) throw e
    return false // told with the others
  }
}

/** Of a row that cannot be read `unreadable` is told. */
export async function eachRow(r: Reader, from: Key, to: Key, look: (key: Key, bytes: Uint8Array) => Promise<void>, unreadable: (key: Key) => void): Promise<void> {
  const rows = await streamRows(r, from, to)
  for (; rows.key !== undefined; await rows.advance()) {
    try {
      await look(rows.key, rows.row.bytes)
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      unreadable(rows.key)
    }
  }
}

export async function checkClones(r: Reader, domains: ReadonlyMap<number, Domain>, found: Found): Promise<void> {
  const say = (ino: number, what: string, kind: Finding['kind'] = 'report'): void => found({ ino, what, kind })
  const each = (from: Key, to: Key, look: (key: Key, bytes: Uint8Array) => Promise<void>): Promise<void> =>
    eachRow(r, from, to, look, (key) => say(firstNumber(key), `has a row of a clone (${key[0]}) that cannot be read`))

  await each(ORIGIN_KIND, prefixRange(ORIGIN_KIND).to, async (key, bytes) => {
    const ino = firstNumber(key)
    const inode = await readInode(r, ino, NOW)
    const origin = decodeOrigin(bytes)
    if (inode === undefined) return say(ino, `is a clone of inode ${origin.ino}, and is not there`, 'clones')
    if (!inode.hasOrigin) return say(ino, `is a clone of inode ${origin.ino}, and does not know`)
    if (!isDirectory(inode) && origin.limit === 0) return // it was copied, and is of use to its snapshots only
    const was = await readInode(r, origin.ino, origin.epoch)
    if (was === undefined || isDirectory(was) !== isDirectory(inode)) return say(ino, `is a clone of inode ${origin.ino}, which was nothing of its kind in epoch ${origin.epoch}`)
    if ((await r.get(holdKey(was.domain, origin.epoch, inode.domain))) === undefined) say(ino, `is a clone of inode ${origin.ino} in epoch ${origin.epoch}, which nobody holds`, 'clones')
  })
  await each(holdsFrom(0), holdsFrom(LAST), async (key) => {
    const [origin, epoch, clone] = [firstNumber(key), secondNumber(key), thirdNumber(key)]
    const domain = domains.get(origin)
    if (!domains.has(clone) && clone !== NOBODY) say(0, `epoch ${epoch} of domain ${origin} is held for domain ${clone}, which is not there`, (await readInode(r, clone, NOW)) === undefined ? 'clones' : 'report')
    else if (domain === undefined) say(0, `domain ${clone} is a clone of domain ${origin}, which is not there`)
    else if (domain.newestSnapshot < epoch) say(0, `domain ${origin} does not know that its epoch ${epoch} is held`, 'clones')
  })
  await each(clonedFrom(0), clonedFrom(LAST), async (key, bytes) => {
    const ino = decodeCloned(bytes)
    const [inode, row] = [await readInode(r, ino, NOW), await r.get(unfoundKey(ino))]
    const isRight = inode?.domain === firstNumber(key) && row !== undefined && decodeUnfound(row.bytes).origin === secondNumber(key)
    if (!isRight) say(ino, `is to be found by other names of inode ${secondNumber(key)}, and does not know`, inode?.domain === firstNumber(key) && row === undefined ? 'clones' : 'report')
  })
  await each(unfoundKey(0), unfoundKey(LAST), async (key, bytes) => {
    const ino = firstNumber(key)
    const inode = await readInode(r, ino, NOW)
    const { origin } = decodeUnfound(bytes)
    if (inode === undefined) say(ino, 'has names to be found, and is not there', 'clones')
    else if (!(await leadsTo(r, inode.domain, origin, ino))) say(ino, 'has names to be found that nothing leads to', 'clones')
  })
}

/** Of an inode that says that it is a clone: it has a row that says of what. */
export const checkOrigin = (r: Reader, ino: number, found: Found): MaybePromise<void> => after(r.get(originKey(ino)), (row) => {
  if (row === undefined) found({ ino, what: 'is a clone, and does not know of what', kind: 'report' })
})
