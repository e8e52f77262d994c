/**
 * Visits: a directory of a tree clone gets its entries when somebody first looks into it, or changes something in it. Until then a
 * row (L, ino) says of what it is a clone, and its inode has the bit `hasOrigin`.
 *   - A visit is no change: all that it makes was born in the epoch in which the clone began (its first, or that of a rollback), as if it had been made then, so that every
 *     snapshot since then shows it. It puts nothing into history, moves no time, tells the change log nothing.
 *   - It goes in slices, one transaction each, and others have their turn between two of them; the last takes the row and the bit away. A crash in between leaves them, and the next visit
 *     passes over what is there. Until the last slice nobody changes anything in the directory, and a name that is not there yet is
 *     waited for (`demandVisited`): so what is there is what the visit made.
 *   - Entries lie at the places that they have in the origin, tombstones too: chains of ties are whole, cookies are the same.
 *   - A directory made by a visit is to be visited itself, and shows its links and times at once. Its counters count what is there.
 *   - Of a hard-linked inode one is made, when the first of its names is found: it counts all names as links. (F, domain, origin, and of a rollback its epoch) leads
 *     the others to it, and (J, ino) says how many are to be found; when all those that were found are unlinked it has no home.
 *   - What it is a clone of is held (holds.ts), so it can be read from committed rows, whatever changes meanwhile.
 * About 20 us an entry.
 */
import { ceilUnit, decodeOrigin, NOW, originKey, putOrigin } from '../data/index.js'
import { RunAfter } from '../engine/index.js'
import type { Engine, Key, MaybePromise, Reader, Row, Tx } from '../engine/index.js'
import { rootContext } from '../sys/index.js'
import { inodeOfRow, isDirectory, isRegular } from './inode.js'
import type { StoredInode } from './inode.js'
import { clonedKey, dentriesFrom, dentryKey, directoryKey, inodeKey, linkKey, nameBehind, unfoundKey, xattrKey, xattrsFrom } from './keys.js'
import { takeInodeNumbers } from './make.js'
import { windowAt } from './past.js'
import type { RowAt, Window } from './past.js'
import { readInode } from './read.js'
import { damaged, decodeCloned, decodeDentry, decodeUnfound, encodeCloned, encodeDentry, encodeLink, encodeUnfound, encodeXattr, xattrValue } from './rows.js'
import type { Dentry } from './rows.js'
import { run, wait } from './steps.js'
import type { Steps } from './steps.js'
import { isUnvisited, Unvisited } from './unvisited.js'
import { addUsage, chargedBytes, inodeNow, putInode } from './write.js'

/** The epoch in which a clone begins that is a domain of its own. Row L says it of each folder: all that its visit makes was born in it. */
export const CLONE_EPOCH = 1
const SLICE_ENTRIES = 256
const SLICE_BYTES = 128 * 1024

/** What the tree's operations need of visits. */
export interface Visits {
  /** Before a directory is read. Undefined: it has its entries; else they are there when this resolves, true if that took a visit. The current inode tells, whatever the view. */
  entriesOf(r: Reader, ino: number): Promise<boolean> | undefined
  /** A body's result; what it asks to be visited is asked of the engine. */
  body<T>(steps: Steps<T>): MaybePromise<T>
}

/** Without an engine nobody can visit: whoever meets an unvisited directory fails. */
export function openVisits(engine: Engine | undefined): Visits {
  const running = new Map<number, Promise<void>>()

  async function visitAll(ino: number): Promise<void> {
    if (engine === undefined) throw new Unvisited(ino)
    const reader = engine.reader(rootContext)
    const dir = await readInode(reader, ino, NOW)
    if (dir === undefined || !isUnvisited(dir)) return
    const origin = await run(originOf(reader, ino))
    if (origin.ino !== ino) await visit(origin.ino) // a clone of a clone; a root that was rolled back has the number of what it shows, which was visited then
    for (let behind: Key | undefined = dentryKey(origin.ino, 0, 0); behind !== undefined;) { // no entry has that place
      const at: Key = behind
      behind = await engine.transact(rootContext, (tx) => run(visitSlice(tx, reader, ino, at)))
      if (behind !== undefined) await new Promise((resolve) => setImmediate(resolve)) // whoever else asks has his turn
    }
  }

  /** Whoever asks while one runs shares it. */
  function visit(ino: number): Promise<void> {
    let visiting = running.get(ino)
    if (visiting === undefined) running.set(ino, (visiting = visitAll(ino).finally(() => running.delete(ino))))
    return visiting
  }

  const entriesFor = (r: Reader, ino: number, row: Row | undefined): Promise<boolean> | undefined => {
    if (row === undefined || !isUnvisited(inodeOfRow(ino, row))) return undefined
    const first = (): Promise<void> => visit(ino)
    if ('put' in r) throw new RunAfter(first) // a body
    return first().then(() => true)
  }

  const asking = (e: unknown): never => {
    throw e instanceof Unvisited && engine !== undefined ? new RunAfter(() => visit(e.ino)) : e
  }

  return {
    entriesOf(r, ino) {
      const row = r.get(inodeKey(ino))
      return row instanceof Promise ? row.then((late) => entriesFor(r, ino, late) ?? false) : entriesFor(r, ino, row)
    },
    body(steps) {
      try {
        const done = run(steps)
        return done instanceof Promise ? done.catch(asking) : done
      } catch (e) {
        return asking(e)
      }
    }
  }
}

/** What a directory is to show: the origin's inode, its domain and the view. */
interface Shown {
  readonly ino: number
  readonly domain: number
  readonly epoch: number
  /** Of what shows it. */
  readonly birth: number
}

function* originOf(r: Reader, ino: number): Steps<Shown> {
  const row = yield* wait(r.get(originKey(ino)))
  if (row === undefined) throw damaged(`directory ${ino} of a clone`)
  const { ino: from, epoch, birth } = decodeOrigin(row.bytes)
  const was = yield* wait(readInode(r, from, epoch))
  if (was === undefined) throw damaged(`directory ${from}, which ${ino} is a clone of,`)
  return { ino: from, domain: was.domain, epoch, birth }
}

/** What a slice of a visit put into the directory. */
interface Made {
  entries: number
  /** Charged to it. */
  inodes: number
  bytes: number
  /** Of rows, about. */
  rowBytes: number
}

/** Some entries behind a key of the origin's; answers the key to go on behind, undefined: the visit is done. `r`: committed rows. */
function* visitSlice(tx: Tx, r: Reader, ino: number, behind: Key): Steps<Key | undefined> {
  const dir: StoredInode = yield* inodeNow(tx, ino)
  if (!isUnvisited(dir)) return undefined // somebody was faster
  const origin: Shown = yield* originOf(tx, ino)
  const window: Window = yield* windowAt(r, behind, dentriesFrom(origin.ino + 1), origin.epoch)
  const made: Made = { entries: 0, inodes: 0, bytes: 0, rowBytes: 0 }
  const count = Math.min(window.rows.length, SLICE_ENTRIES)
  const copy = copierOf(tx, r, dir, origin, made, count === 0 ? 0 : yield* takeInodeNumbers(tx, count))
  let next = window.behind
  let n = 0
  for (const row of window.rows) {
    if (n === SLICE_ENTRIES || made.rowBytes > SLICE_BYTES) {
      next = window.rows[n - 1].key
      break
    }
    n++
    yield* copy(row)
  }
  tx.addCounters(directoryKey(ino), [made.entries, 0, 0, 0, 0, 0, made.bytes, made.inodes])
  if (next === undefined) {
    tx.delete(originKey(ino))
    putInode(tx, { ...(yield* inodeNow(tx, ino)), hasOrigin: false })
  }
  return next
}

/** Copies an entry of the origin, unless it is there; `firstIno`: as many numbers as there are entries. */
function copierOf(tx: Tx, r: Reader, dir: StoredInode, origin: Shown, made: Made, firstIno: number): (row: RowAt) => Steps<void> {
  let number = firstIno

  return function* copy({ key, bytes }) {
    const dentry = decodeDentry(key, bytes)
    const { cookieHigh, cookieLow, name, typeBits } = dentry
    const at = dentryKey(dir.ino, cookieHigh, cookieLow)
    if ((yield* wait(tx.get(at))) !== undefined) return
    const ino = dentry.ino === 0 ? 0 : yield* child(dentry)
    tx.put(at, encodeDentry(origin.birth, ino, typeBits, name))
    made.rowBytes += 128 + name.length
    if (ino !== 0) made.entries++
  }

  function* child(dentry: Dentry): Steps<number> {
    const was = yield* wait(readInode(r, dentry.ino, origin.epoch))
    if (was === undefined || was.domain !== origin.domain) return yield* emptyFolder(dentry)
    if (was.nlink > 1 && !isDirectory(was)) return yield* hardLink(dentry, was)
    return yield* makeInode(dentry, was, isDirectory(was) || hasBytes(was))
  }

  /** The root of another domain, which a snapshot shows as an empty folder. */
  function* emptyFolder(dentry: Dentry): Steps<number> {
    const now = yield* wait(readInode(r, dentry.ino, NOW))
    if (now === undefined || now.domain !== now.ino || !isDirectory(now)) throw damaged(`inode ${dentry.ino}, which a snapshot names,`)
    return yield* makeInode(dentry, { ...now, nlink: 2, hasXattrs: false, hasAccessAcl: false, hasDefaultAcl: false }, false)
  }

  function* hardLink(dentry: Dentry, was: StoredInode): Steps<number> {
    const key = clonedKey(dir.domain, was.ino, origin.birth)
    const row = yield* wait(tx.get(key))
    if (row === undefined) {
      const ino = yield* makeInode(dentry, was, hasBytes(was))
      tx.put(key, encodeCloned(ino))
      tx.put(unfoundKey(ino), encodeUnfound({ origin: was.ino, names: was.nlink - 1 }))
      return ino
    }
    const ino = decodeCloned(row.bytes)
    const unfound = yield* wait(tx.get(unfoundKey(ino)))
    if (unfound === undefined) throw damaged(`inode ${ino}, which has names to be found,`)
    const { names } = decodeUnfound(unfound.bytes)
    if (names > 1) tx.put(unfoundKey(ino), encodeUnfound({ origin: was.ino, names: names - 1 }))
    else {
      tx.delete(unfoundKey(ino))
      tx.delete(key)
    }
    const inode: StoredInode = yield* inodeNow(tx, ino)
    if (inode.parent === 0) {
      putInode(tx, { ...inode, parent: dir.ino, homeHigh: dentry.cookieHigh, homeLow: dentry.cookieLow })
      charge(inode)
    } else tx.put(linkKey(ino, dir.ino, { high: dentry.cookieHigh, low: dentry.cookieLow }), encodeLink(origin.birth, dentry.name))
    return ino
  }

  function* makeInode(dentry: Dentry, was: StoredInode, hasOrigin: boolean): Steps<number> {
    const ino = number++
    const inode = putInode(tx, copied(was, { ino, domain: dir.domain, parent: dir.ino, homeHigh: dentry.cookieHigh, homeLow: dentry.cookieLow, hasOrigin, birth: origin.birth }))
    if (isDirectory(was)) tx.createCounters(directoryKey(ino), copiedSlots(was, origin.birth))
    if (hasOrigin) putOrigin(tx, ino, { birth: origin.birth, ino: was.ino, epoch: origin.epoch, limit: isDirectory(was) ? 0 : ceilUnit(was.sizeBytes) })
    if (was.hasXattrs) made.rowBytes += yield* copyXattrs(tx, r, was.ino, origin.epoch, ino, origin.birth)
    addUsage(tx, 1, chargedBytes(inode))
    charge(inode)
    made.rowBytes += 256 + (was.inline?.length ?? 0)
    return ino
  }

  function charge(inode: StoredInode): void {
    made.inodes++
    made.bytes += chargedBytes(inode)
  }
}

/** Whether there is more of a file than its inode. */
const hasBytes = (inode: StoredInode): boolean => isRegular(inode) && inode.inline === undefined && inode.allocatedBytes > 0

type Place = Pick<StoredInode, 'ino' | 'domain' | 'parent' | 'homeHigh' | 'homeLow' | 'hasOrigin' | 'birth'>

/** An inode as a view shows it, in a clone. */
export const copied = (was: StoredInode, place: Place): StoredInode =>
  ({ ...was, ...place, durableSizeBytes: was.sizeBytes, shown: undefined })

/** A directory's counters, before it is visited: what stat shows is there, what counts entries is not. */
export const copiedSlots = ({ nlink, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec }: StoredInode, birth: number): readonly number[] =>
  [0, nlink - 2, mtimeSec, mtimeNsec, ctimeSec, ctimeNsec, 0, 0, birth]

/** All of an inode's extended attributes at a view; answers their bytes. */
export function* copyXattrs(tx: Tx, r: Reader, from: number, view: number, to: number, birth: number): Steps<number> {
  let total = 0
  for (let behind: Key | undefined = xattrsFrom(from); behind !== undefined;) {
    const window: Window = yield* windowAt(r, behind, xattrsFrom(from + 1), view)
    for (const { key, bytes } of window.rows) {
      tx.put(xattrKey(to, nameBehind(key)), encodeXattr(birth, xattrValue(bytes)))
      total += bytes.length
    }
    behind = window.behind
  }
  return total
}
