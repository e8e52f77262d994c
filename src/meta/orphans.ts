/**
 * Inodes without links: listed per session while someone may hold them, forgotten when the data floor has freed their bytes.
 * After a crash the next session finds the dead one's list and reclaims it.
 */
import { assert } from '../sys/index.js'
import { birthOf, NOW, retire } from '../data/index.js'
import type { Key, KeyedRow, Reader, Tx } from '../engine/index.js'
import { encodeChange } from './events.js'
import { isDirectory } from './inode.js'
import { domainKey, inodeKey, orphanKey, orphansFrom, firstNumber, secondNumber, xattrsFrom, trashSumsKey } from './keys.js'
import { windowNow } from './past.js'
import type { Window } from './past.js'
import { releaseHolds } from './snapshot.js'
import { chargedBytes, addUsage, domainOf, lastEpochs } from './write.js'
import { readInode } from './read.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

const SESSION_LIMIT = 2 ** 53 - 1
const PAGE_ROWS = 256

export interface Orphan {
  readonly session: number
  readonly ino: number
}

/** Of sessions other than this one, oldest session first. */
export function* orphans(r: Reader, session: number, limit: number): Steps<readonly Orphan[]> {
  const before = yield* wait(r.scan({ from: orphansFrom(0), to: orphansFrom(session), limit }))
  const rest = limit - before.length
  const behind = rest === 0 ? [] : yield* wait(r.scan({ from: orphansFrom(session + 1), to: orphansFrom(SESSION_LIMIT), limit: rest }))
  return [...before, ...behind].map(({ key }) => ({ session: firstNumber(key), ino: secondNumber(key) }))
}

/** 'later': a domain goes with the last of its inodes, and there are others. 'released': a view that it held is held no more. */
export type Forgotten = 'gone' | 'later' | 'released'

/** The inode, its xattrs, its share of the usage and its list entry. Repeating it changes nothing; an inode with links stays. */
export function* forgetInode(tx: Tx, session: number, ino: number): Steps<Forgotten> {
  const listed = orphanKey(session, ino)
  if ((yield* wait(tx.get(listed))) === undefined) return 'gone'
  const inode = yield* wait(readInode(tx, ino, NOW))
  if (inode === undefined || inode.nlink > 0) {
    tx.delete(listed)
    return 'gone'
  }
  assert(inode.parent === 0, 'an inode without links has no home')
  const domain = lastEpochs(yield* domainOf(tx, inode.domain), inode)
  if (domain.root === ino && isDirectory(inode) && (yield* hasOthers(tx, ino))) return 'later'
  tx.delete(listed)
  if (inode.hasXattrs) {
    const to = xattrsFrom(ino + 1)
    for (let behind: Key | undefined = xattrsFrom(ino); behind !== undefined;) {
      const window: Window = yield* windowNow(tx, behind, to)
      for (const { key, bytes } of window.rows) {
        retire(tx, key, birthOf(bytes), bytes, domain)
        tx.delete(key)
      }
      behind = window.behind
    }
  }
  if (domain.root === ino) { // a volume's own, or a subvolume's
    tx.delete(domainKey(ino))
    if ((yield* wait(tx.counters(trashSumsKey(ino)))) !== undefined) tx.deleteCounters(trashSumsKey(ino))
  }
  tx.delete(inodeKey(ino)) // no history: without links no view reaches it
  addUsage(tx, -1, -chargedBytes(inode))
  tx.change(encodeChange({ kind: 'forget', ino }))
  return domain.root === ino && (yield* releaseHolds(tx, ino)) ? 'released' : 'gone'
}

/** Whether another inode of the domain whose root this was is still listed: a file that somebody has open. */
function* hasOthers(tx: Tx, root: number): Steps<boolean> {
  for (let from = orphansFrom(0); ;) {
    const rows: readonly KeyedRow[] = yield* wait(tx.scan({ from, to: orphansFrom(SESSION_LIMIT), limit: PAGE_ROWS }))
    for (const { key } of rows) {
      const ino = secondNumber(key)
      if (ino !== root && (yield* wait(readInode(tx, ino, NOW)))?.domain === root) return true
    }
    if (rows.length < PAGE_ROWS) return false
    from = `${rows[rows.length - 1].key}\u0000`
  }
}
