/**
 * A directory's counter row (G, ino): what many transactions change at once without a conflict, and the guard of its entries.
 *   - slot 0 ENTRIES is the number of live entries: the row can be deleted only at 0, and who adds an entry fails if it is gone.
 *   - SUBDIRECTORIES: nlink of a directory is 2 + this. The times are set, the last committer wins; the rest are deltas.
 *   - Sums: CHILD_INODES counts the inodes whose home is here, CHILD_BYTES the sizes of the regular files among them.
 *   - BIRTH is the epoch since when the row looks as it does. The first change after a snapshot keeps the old slots in history,
 *     as a value. That cannot race: every body reads the domain's row (validated) before the slots, so that a snapshot in between
 *     makes it run again; and the first change reads the history row that it writes (validated), so that of two first changes one
 *     runs again. Until then nobody changes the slots, and all that read them read the same.
 */
import { get64, set64, viewOf } from '../sys/index.js'
import { historyKey, pastAt, retire } from '../data/index.js'
import type { MaybePromise, Reader, Tx } from '../engine/index.js'
import { directoryKey } from './keys.js'
import type { Timespec } from './words.js'
import { damaged } from './rows.js'
import type { Domain } from './rows.js'
import { after, NOTHING, wait } from './steps.js'
import type { Steps } from './steps.js'

export const ENTRIES = 0
export const SUBDIRECTORIES = 1
export const MTIME_SEC = 2
export const MTIME_NSEC = 3
export const CTIME_SEC = 4
export const CTIME_NSEC = 5
export const CHILD_BYTES = 6
export const CHILD_INODES = 7
export const BIRTH = 8
const SLOTS = 9

export type Slots = readonly number[]

export interface Changed {
  readonly entries: number
  readonly subdirectories: number
  readonly bytes: number
  readonly inodes: number
}

export const newSlots = (now: Timespec, birth: number): Slots => [0, 0, now.sec, now.nsec, now.sec, now.nsec, 0, 0, birth]

/** The old slots as a value: version, birth, then the slots. Only history holds it. */
export function encodeSlots(slots: Slots): Uint8Array {
  const bytes = new Uint8Array(9 + 8 * BIRTH)
  const v = viewOf(bytes)
  bytes[0] = 1
  set64(v, 1, slots[BIRTH])
  for (let i = 0; i < BIRTH; i++) set64(v, 9 + 8 * i, slots[i])
  return bytes
}

export function decodeSlots(bytes: Uint8Array): Slots {
  if (bytes.length !== 9 + 8 * BIRTH || bytes[0] !== 1) throw damaged('a directory of a snapshot')
  const v = viewOf(bytes)
  return Array.from({ length: SLOTS }, (_, i) => get64(v, i === BIRTH ? 1 : 9 + 8 * i))
}

export function slotsAt(r: Reader, ino: number, view: number): MaybePromise<Slots | undefined> {
  const key = directoryKey(ino)
  return after(r.counters(key), (slots) => {
    if (slots !== undefined && slots[BIRTH] <= view) return slots
    return after(pastAt(r, key, view), (past) => (past === undefined ? undefined : decodeSlots(past.bytes)))
  })
}

/** Before the first change after a snapshot: keeps the slots that the snapshot shows. */
const keepPast = (tx: Tx, domain: Domain, ino: number): Steps<void> => (domain.newestSnapshot === 0 ? NOTHING : keepSlots(tx, domain, ino))

function* keepSlots(tx: Tx, domain: Domain, ino: number): Steps<void> {
  const key = directoryKey(ino)
  const slots = yield* wait(tx.counters(key))
  if (slots === undefined || slots[BIRTH] > domain.newestSnapshot) return
  yield* wait(tx.get(historyKey(key, slots[BIRTH])))
  retire(tx, key, slots[BIRTH], encodeSlots(slots), domain)
  tx.setCounters(key, [[BIRTH, domain.epoch]])
}

/** Adds to a directory; `touched`: its mtime and ctime become this. */
export function changeDirectory(tx: Tx, domain: Domain, ino: number, changed: Changed, touched: Timespec | undefined): Steps<void> {
  if (domain.newestSnapshot !== 0) return changeKept(tx, domain, ino, changed, touched)
  changeSlots(tx, ino, changed, touched)
  return NOTHING
}

function* changeKept(tx: Tx, domain: Domain, ino: number, changed: Changed, touched: Timespec | undefined): Steps<void> {
  yield* keepPast(tx, domain, ino)
  changeSlots(tx, ino, changed, touched)
}

function changeSlots(tx: Tx, ino: number, { entries, subdirectories, bytes, inodes }: Changed, touched: Timespec | undefined): void {
  const key = directoryKey(ino)
  if (touched !== undefined) {
    tx.setCounters(key, [[MTIME_SEC, touched.sec], [MTIME_NSEC, touched.nsec], [CTIME_SEC, touched.sec], [CTIME_NSEC, touched.nsec]])
  }
  tx.addCounters(key, [entries, subdirectories, 0, 0, 0, 0, bytes, inodes])
}

/** Sets a directory's own times: setattr, and the ctime of everything that changes its inode. */
export function* setDirectoryTimes(tx: Tx, domain: Domain, ino: number, mtime: Timespec | undefined, ctime: Timespec): Steps<void> {
  yield* keepPast(tx, domain, ino)
  const slots: [number, number][] = [[CTIME_SEC, ctime.sec], [CTIME_NSEC, ctime.nsec]]
  if (mtime !== undefined) slots.push([MTIME_SEC, mtime.sec], [MTIME_NSEC, mtime.nsec])
  tx.setCounters(directoryKey(ino), slots)
}

/** rmdir: commits only if the directory is empty then. */
export function* dropDirectory(tx: Tx, domain: Domain, ino: number): Steps<void> {
  yield* keepPast(tx, domain, ino)
  tx.deleteCounters(directoryKey(ino))
}
