/**
 * Snapshots of a domain (how one is taken: taking.ts). It is a row more, and the domain's epoch grows by one: constant time whatever the domain holds.
 *   - Every body reads the domain's row (validated), so that a snapshot lies cleanly between two transactions; and each change of
 *     a domain's snapshots puts that row, so that of two changes at once one runs again.
 *   - A row of history is needed while a snapshot lies in its [birth, death). A new snapshot's epoch is never below a death: what
 *     nobody needs, nobody will need again.
 *   - Removing one is a row less and a mark (W, domain): rows of history that nobody needs any more are to be found and removed.
 *   - An epoch that a clone holds (holds.ts) is as good as a snapshot without a name.
 *   - `newestSnapshot` falls in a transaction of its own, when the removal (or the release of a hold) is durable: until then a power cut may bring
 *     back who shows the old bytes, and nobody writes over them in place.
 */
import type { KeyedRow, Reader, Tx } from '../engine/index.js'
import { decodeOrigin, decodePast, HISTORY_KIND, NOW, originKey } from '../data/index.js'
import { checkName, fail } from './access.js'
import { encodeChange } from './events.js'
import { decodeInode, isRegular } from './inode.js'
import type { StoredInode } from './inode.js'
import { heldEpochs, holdsOn, NOBODY } from './holds.js'
import type { Hold } from './holds.js'
import { domainKey, firstNumber, holdKey, INODE_KIND, inodeKey, nameBehind, rollbackKey, snapshotKey, snapshotsFrom, sweepKey } from './keys.js'
import type { Op } from './words.js'
import { readInode } from './read.js'
import { decodeSnapshot, domainOfRow, encodeDomain, encodeHold, encodeSnapshot, encodeSweep } from './rows.js'
import type { Domain, Snapshot } from './rows.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

export interface NamedSnapshot extends Snapshot {
  readonly name: string
}

const PAGE_ROWS = 256
/** In a mark: a hold that was released, and not an epoch. */
const RELEASED = 2 ** 52

export function* domainNow(tx: Reader, domain: number): Steps<Domain> {
  const row = yield* wait(tx.get(domainKey(domain)))
  if (row === undefined) throw fail('ENOENT')
  return domainOfRow(domain, row)
}

/** Its epoch: the view to read it at, held for nobody until that is ended. ENOENT (no such domain), EEXIST (of a name that it shall have), EBUSY (it is being rolled back). */
export function* beginSnapshot(tx: Tx, domain: number, name: string | undefined): Steps<number> {
  const at = yield* domainNow(tx, domain)
  const { epoch } = at
  if (name !== undefined) {
    checkName(name)
    if ((yield* wait(tx.get(snapshotKey(domain, name)))) !== undefined) fail('EEXIST')
  }
  if ((yield* wait(tx.get(rollbackKey(domain)))) !== undefined) fail('EBUSY')
  tx.put(holdKey(domain, epoch, NOBODY), encodeHold())
  tx.put(domainKey(domain), encodeDomain({ ...at, epoch: epoch + 1, newestSnapshot: epoch }))
  return epoch
}

/** It is held for nobody no more: whoever calls this holds it. */
export const endBegun = (tx: Tx, domain: number, epoch: number): void => tx.delete(holdKey(domain, epoch, NOBODY))

/** What was begun gets its name. EEXIST. */
export function* nameSnapshot(tx: Tx, op: Op, domain: number, epoch: number, name: string): Steps<void> {
  const at = yield* domainNow(tx, domain)
  const key = snapshotKey(domain, name)
  if ((yield* wait(tx.get(key))) !== undefined) fail('EEXIST')
  tx.put(key, encodeSnapshot({ epoch, sec: op.now.sec, nsec: op.now.nsec }))
  tx.put(domainKey(domain), encodeDomain(at))
  endBegun(tx, domain, epoch)
  tx.change(encodeChange({ kind: 'snapshot', ino: at.root, name }))
}

/** What was begun comes to nothing. */
export function* dropBegun(tx: Tx, domain: number, epoch: number): Steps<void> {
  if ((yield* wait(tx.get(holdKey(domain, epoch, NOBODY)))) === undefined) return
  endBegun(tx, domain, epoch)
  const at = yield* domainAt(tx, domain)
  if (at === undefined) return
  yield* toBeSwept(tx, at, epoch)
}

/** The name goes at once, what it alone held in the background. Answers its epoch. ENOENT, EBUSY (the domain is being rolled back). */
export function* removeSnapshot(tx: Tx, domain: number, name: string): Steps<number> {
  const at = yield* domainNow(tx, domain)
  const key = snapshotKey(domain, name)
  const row = yield* wait(tx.get(key))
  if (row === undefined) throw fail('ENOENT')
  if ((yield* wait(tx.get(rollbackKey(domain)))) !== undefined) fail('EBUSY')
  const gone = decodeSnapshot(row.bytes).epoch
  tx.delete(key)
  tx.change(encodeChange({ kind: 'unsnapshot', ino: at.root, name }))
  yield* toBeSwept(tx, at, gone)
  return gone
}

/** One view of the domain less. `mark` is no other's, so that a pass of the sweep knows what came after it began. */
function* toBeSwept(tx: Tx, at: Domain, mark: number): Steps<void> {
  tx.put(domainKey(at.domain), encodeDomain(at)) // of two changes at once one runs again
  tx.put(sweepKey(at.domain), encodeSweep(mark))
  yield* settleHolds(tx, at.domain)
}

/** What a clone held of other domains is held no more; what it alone held comes back in the background. Answers whether there was something. */
export function* releaseHolds(tx: Tx, clone: number): Steps<boolean> {
  const all = yield* holdsOn(tx)
  const gone = all.filter((h) => h.clone === clone)
  for (const hold of gone) yield* release(tx, hold)
  return gone.length > 0
}

export function* release(tx: Tx, { origin, epoch, clone }: Hold): Steps<void> {
  tx.delete(holdKey(origin, epoch, clone))
  const at = yield* domainAt(tx, origin)
  if (at !== undefined) yield* toBeSwept(tx, at, RELEASED + (clone + epoch * 2 ** 32) % RELEASED)
}

/** A volume that was flattened needs its origin as long as a snapshot, or a clone of it, shows it as it was before. Answers whether something is held no more. */
export function* settleHolds(tx: Tx, domain: number): Steps<boolean> {
  const root = yield* wait(readInode(tx, domain, NOW))
  if (root === undefined || !isRegular(root)) return false
  const row = yield* wait(tx.get(originKey(domain)))
  if (row === undefined) return yield* releaseHolds(tx, domain)
  const { birth, limit } = decodeOrigin(row.bytes)
  if (limit > 0) return false
  return (yield* shownEpochs(tx, domain)).some((epoch) => epoch < birth) ? false : yield* releaseHolds(tx, domain)
}

/** Views that a snapshot has, or a hold. */
function* shownEpochs(r: Reader, domain: number): Steps<readonly number[]> {
  return [...(yield* snapshotsOf(r, domain)).map((s) => s.epoch), ...(yield* heldEpochs(r, domain))]
}

/** Oldest first. */
export function* snapshotsOf(r: Reader, domain: number): Steps<readonly NamedSnapshot[]> {
  const found: NamedSnapshot[] = []
  for (let from = snapshotsFrom(domain); ;) {
    const rows: readonly KeyedRow[] = yield* wait(r.scan({ from, to: snapshotsFrom(domain + 1), limit: PAGE_ROWS }))
    for (const { key, row } of rows) found.push({ name: nameBehind(key), ...decodeSnapshot(row.bytes) })
    if (rows.length < PAGE_ROWS) return found.sort((a, b) => a.epoch - b.epoch)
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

export function* snapshotNamed(r: Reader, domain: number, name: string): Steps<Snapshot | undefined> {
  const row = yield* wait(r.get(snapshotKey(domain, name)))
  return row === undefined ? undefined : decodeSnapshot(row.bytes)
}

/** A domain's row; undefined if there is none. */
export function* domainAt(r: Reader, domain: number): Steps<Domain | undefined> {
  const row = yield* wait(r.get(domainKey(domain)))
  return row === undefined ? undefined : domainOfRow(domain, row)
}

export function* allDomains(r: Reader): Steps<readonly Domain[]> {
  const found: Domain[] = []
  for (let from = domainKey(0); ;) {
    const rows: readonly KeyedRow[] = yield* wait(r.scan({ from, to: domainKey(2 ** 53 - 1), limit: PAGE_ROWS }))
    for (const { key, row } of rows) found.push(domainOfRow(firstNumber(key), row))
    if (rows.length < PAGE_ROWS) return found
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

// ------------------------------------------------------------------------------------------------ history to be removed

/** Domains whose history has rows that nobody needs, and what says so. */
export interface Sweep {
  readonly domain: number
  readonly bytes: Uint8Array
}

export function* sweepsWanted(r: Reader): Steps<readonly Sweep[]> {
  const rows = yield* wait(r.scan({ from: sweepKey(0), to: sweepKey(2 ** 53 - 1), limit: PAGE_ROWS }))
  return rows.map(({ key, row }) => ({ domain: firstNumber(key), bytes: row.bytes }))
}

/** What the mark tells of is durable: what was shown by what is gone may be written over. Unless another one was removed meanwhile. */
export function* sweepBegun(tx: Tx, sweep: Sweep): Steps<void> {
  const at = yield* domainAt(tx, sweep.domain)
  if (at === undefined || !(yield* isStill(tx, sweep))) return
  const newestSnapshot = Math.max(0, ...(yield* shownEpochs(tx, sweep.domain)))
  if (newestSnapshot < at.newestSnapshot) tx.put(domainKey(sweep.domain), encodeDomain({ ...at, newestSnapshot }))
}

/** Unless another snapshot was removed meanwhile. */
export function* sweepDone(tx: Tx, sweep: Sweep): Steps<void> {
  if (yield* isStill(tx, sweep)) tx.delete(sweepKey(sweep.domain))
}

function* isStill(tx: Tx, { domain, bytes }: Sweep): Steps<boolean> {
  const row = yield* wait(tx.get(sweepKey(domain)))
  return row !== undefined && Buffer.compare(row.bytes, bytes) === 0
}

/** Some rows of history behind a key: those that nobody needs, and the key behind which to go on. */
export interface Needless {
  readonly rows: readonly KeyedRow[]
  readonly behind: string | undefined
}

/** Looks at `limit` rows. A row of whom no inode is left, now or in history, is needed by nobody. */
export function* needlessHistory(r: Reader, behind: string, limit: number): Steps<Needless> {
  const rows = yield* wait(r.scan({ from: behind === '' ? HISTORY_KIND : `${behind}\u0000`, to: String.fromCharCode(HISTORY_KIND.charCodeAt(0) + 1), limit }))
  const epochs = new Map<number, readonly number[]>()
  const needless: KeyedRow[] = []
  let owner = -1
  let domain: number | undefined
  for (const keyed of rows) {
    const past = decodePast(keyed)
    const ino = firstNumber(past.key)
    if (past.key.startsWith(INODE_KIND)) {
      owner = ino
      domain = decodeInode(ino, past.bytes).domain
    } else if (ino !== owner) {
      owner = ino
      domain = yield* domainOfInode(r, ino)
    }
    if (domain !== undefined) {
      let held = epochs.get(domain)
      if (held === undefined) epochs.set(domain, (held = yield* shownEpochs(r, domain)))
      if (held.some((epoch) => past.birth <= epoch && epoch < past.death)) continue
    }
    needless.push(keyed)
  }
  return { rows: needless, behind: rows.length < limit ? undefined : rows[rows.length - 1].key }
}

export function* domainOfInode(r: Reader, ino: number): Steps<number | undefined> {
  return (yield* inodeThen(r, ino))?.domain
}

/** An inode that is, or was. */
export function* inodeThen(r: Reader, ino: number): Steps<StoredInode | undefined> {
  const now = yield* wait(readInode(r, ino, NOW))
  if (now !== undefined) return now
  const from = `${HISTORY_KIND}${inodeKey(ino)}`
  const [row] = yield* wait(r.scan({ from, to: `${from}\u0001`, limit: 1 }))
  return row === undefined ? undefined : decodeInode(ino, decodePast(row).bytes)
}
