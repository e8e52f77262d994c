/**
 * Which holds of trees are still needed: those whose view some inode of the clone reads through to, now or in a snapshot. Of a tree
 * that was rolled back that is its own view; a volume has one row L only, and settles its holds itself (snapshot.ts).
 *   - A row L needs its view while it belongs to a directory (it is unvisited), or has a limit: bytes below it may be the origin's.
 *   - Nobody makes a row L for a view but visits of who has one for it, and their children's numbers are higher; a row that goes is gone or
 *     in history. So whoever goes once through all rows in order, and then through those in history, misses none.
 */
import { decodeOrigin, decodePast, HISTORY_KIND, NOW, ORIGIN_KIND } from '../data/index.js'
import { prefixRange } from '../engine/index.js'
import type { Key, KeyedRow, Reader, Tx } from '../engine/index.js'
import { holdsOn } from './holds.js'
import type { Hold } from './holds.js'
import { isDirectory, isRegular } from './inode.js'
import { firstNumber, holdKey } from './keys.js'
import { readInode } from './read.js'
import { domainAt, domainOfInode, inodeThen, release } from './snapshot.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

/** A page of rows L: the holds that they need. */
export interface ReadThrough {
  readonly needed: readonly Hold[]
  readonly behind: Key | undefined
}

/** Holds of trees: any of them may be needed no more. */
export function* treeHolds(r: Reader): Steps<readonly Hold[]> {
  const found: Hold[] = []
  for (const hold of yield* holdsOn(r)) {
    const clone = yield* domainAt(r, hold.clone)
    const root = clone === undefined ? undefined : yield* wait(readInode(r, clone.root, NOW))
    if (root !== undefined && isDirectory(root)) found.push(hold)
  }
  return found
}

/** As rows L are now, and then as they were ('': from the beginning). */
export function* readThrough(r: Reader, behind: Key, limit: number): Steps<ReadThrough> {
  const isPast = behind.startsWith(HISTORY_KIND)
  const kind = isPast ? HISTORY_KIND + ORIGIN_KIND : ORIGIN_KIND
  const rows: readonly KeyedRow[] = yield* wait(r.scan({ from: behind === '' || behind === kind ? kind : `${behind}\u0000`, to: prefixRange(kind).to, limit }))
  const needed: Hold[] = []
  for (const keyed of rows) {
    const { key, bytes } = isPast ? decodePast(keyed) : { key: keyed.key, bytes: keyed.row.bytes }
    const { ino, epoch, limit: shown } = decodeOrigin(bytes)
    const reader = yield* inodeThen(r, firstNumber(key))
    const origin = yield* domainOfInode(r, ino)
    if (reader !== undefined && origin !== undefined && (shown > 0 || !isRegular(reader))) needed.push({ origin, epoch, clone: reader.domain })
  }
  if (rows.length === limit) return { needed, behind: rows[rows.length - 1].key }
  return { needed, behind: isPast ? undefined : HISTORY_KIND + ORIGIN_KIND }
}

/** Nothing in the clone reads through to that view any more. A tree may have been rolled back to it once more, unless its epoch is still `at`. */
export function* releaseHold(tx: Tx, hold: Hold, at: number): Steps<boolean> {
  const { origin, epoch, clone } = hold
  const isSame = origin !== clone || (yield* domainAt(tx, clone))?.epoch === at
  if (!isSame || (yield* wait(tx.get(holdKey(origin, epoch, clone)))) === undefined) return false
  yield* release(tx, hold)
  return true
}

/** An inode of a domain that has something of an origin's: a folder that nobody visited, or a file. */
export interface Reading {
  readonly ino: number
  readonly isFolder: boolean
}

/** Those of one domain, by their numbers: of the next `limit` rows L behind an inode. */
export function* readingIn(r: Reader, domain: number, behind: Key, limit: number): Steps<{ readonly found: readonly Reading[], readonly behind: Key | undefined }> {
  const rows: readonly KeyedRow[] = yield* wait(r.scan({ from: behind === '' ? ORIGIN_KIND : `${behind}\u0000`, to: prefixRange(ORIGIN_KIND).to, limit }))
  const found: Reading[] = []
  for (const { key, row } of rows) {
    const inode = yield* wait(readInode(r, firstNumber(key), NOW))
    if (inode === undefined || inode.domain !== domain) continue
    const isFolder = isDirectory(inode)
    if (isFolder || decodeOrigin(row.bytes).limit > 0) found.push({ ino: inode.ino, isFolder })
  }
  return { found, behind: rows.length < limit ? undefined : rows[rows.length - 1].key }
}
