/**
 * ALL keys of a pool's metadata. A key is a byte string: a kind byte, then big-endian numbers or names, so that byte order is
 * the order wanted. The first byte decides for ever whether a row is a value (v), counters (c) or bits (b).
 *
 *   kind  key                               row  holds
 *   ----  --------------------------------  ---  -----------------------------------------------------------------
 *   0x00  ...                                    the engine's own: nobody else writes there
 *   A     (A)                                v   the next inode number that no session's block has
 *   C     (C, 'u')                           c   pool usage: inodes in use, bytes of all files, extents of all files
 *         (C, 't', domain u64)               c   a domain's trash: things in it, bytes of their files
 *   D     (D, parent u64, place u64)         v   directory entry; place = hash << 7 | tie, 63 bits, the readdir cookie
 *   F     (F, domain u64, origin u64)       v   in a clone of a tree: the inode made of a hard-linked one, while names of it are to be found
 *         (..., 0x01, birth u64)            v   the same in a tree that a rollback brought back in that epoch
 *   G     (G, ino u64)                       c   directory: entries (the guard), subdirectories, times, sums; directory.ts
 *   H     (H, key, birth u64)                v   what the row of `key` was until an epoch; data/history.ts
 *   I     (I, ino u64)                       v   inode
 *   J     (J, ino u64)                     v   in a clone of a tree: how many names of a hard-linked inode are to be found
 *   K     (K, domain u64, epoch u64, clone u64) v   the domain `clone` needs that view of `domain`; holds.ts
 *   M     (M, domain u64)                    v   domain: its epoch and its newest snapshot
 *   N     (N, domain u64, name)              v   snapshot
 *   O     (O, session u64, ino u64)          v   inode without links that a session still holds (open-unlinked, unnamed)
 *   Q     (Q, domain u64, s u64, ns u32, ino u64) v  in the trash since then: where it was
 *         (..., 0x01, parent u64, place u64) v   the same of one of several names: the inode has others, or lost them later
 *   R     (R, ino u64, parent u64, place u64) v  reverse link: one per link of a file but its home, which the inode names
 *   S     (S)                                v   the pool's: second copy of its superblock, pool/superblock.ts
 *   U     (U, domain u64)                    v   the domain is being rolled back to an epoch
 *   V     (V, name)                         v   volume: the inode that holds its bytes
 *   W     (W, domain u64)                    v   a snapshot was removed: history holds rows that nobody needs any more
 *   X     (X, ino u64, name)                 v   extended attribute
 *   Y     (Y, domain u64, ino u64)           v   folder with what a rollback took out of the domain's tree: it is being removed
 *   E P T L Z B b u                              the data floor's and the store's: extents, logged bytes, origins, counts of shared units, allocator state
 *
 *   - Inode numbers, sessions, domains and epochs are below 2^53.
 *   - Names hold no byte 0x00 (and those of entries are in the value): no key is another one followed by 0x00.
 * A key of 17 bytes costs 0.06 us to make.
 */
import type { Key } from '../engine/index.js'
import type { Place } from './hash.js'

const INODE = 0x49 // I
const DENTRY = 0x44 // D
const DIRECTORY = 0x47 // G
const LINK = 0x52 // R
const XATTR = 0x58 // X
const DOMAIN = 0x4d // M
const SNAPSHOT = 0x4e // N
const ORPHAN = 0x4f // O
const TRASH = 0x51 // Q
const SWEEP = 0x57 // W
const ROLLBACK = 0x55 // U
const HOLD = 0x4b // K
const CLONED = 0x46 // F
const UNFOUND = 0x4a // J
const REPLACED = 0x59 // Y

export const INODE_KIND = 'I'
export const DIRECTORY_KIND = 'G'

export const KEY_NEXT_INO: Key = 'A'
export const KEY_USAGE: Key = 'Cu'

const TWO_32 = 4294967296

function numbered(kind: number, n: number): Key {
  const high = (n / TWO_32) | 0
  const low = n >>> 0
  return String.fromCharCode(
    kind, high >>> 24, (high >>> 16) & 255, (high >>> 8) & 255, high & 255,
    low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255
  )
}

const KEPT_SLOTS = 512

/** Keys that one request after the other asks for are made once: a cached getattr makes no garbage, and the string's hash is known. */
function keptKeys(kind: number): (n: number) => Key {
  const numbers = new Float64Array(KEPT_SLOTS).fill(-1)
  const keys = new Array<Key>(KEPT_SLOTS).fill('')
  return (n) => {
    const slot = (n >>> 0) % KEPT_SLOTS
    if (numbers[slot] !== n) {
      numbers[slot] = n
      keys[slot] = numbered(kind, n)
    }
    return keys[slot]
  }
}

export const inodeKey = keptKeys(INODE)
export const directoryKey = keptKeys(DIRECTORY)
export const domainKey = keptKeys(DOMAIN)
export const snapshotKey = (domain: number, name: string): Key => numbered(SNAPSHOT, domain) + name
export const snapshotsFrom = (domain: number): Key => numbered(SNAPSHOT, domain)
export const VOLUMES_FROM: Key = 'V'
export const VOLUMES_END: Key = 'W'
export const volumeKey = (name: string): Key => VOLUMES_FROM + name
export const volumeName = (key: Key): string => key.slice(1)
export const sweepKey = (domain: number): Key => numbered(SWEEP, domain)
export const rollbackKey = (domain: number): Key => numbered(ROLLBACK, domain)
export const xattrKey = (ino: number, name: string): Key => numbered(XATTR, ino) + name
/** All of an inode's xattrs lie from here to xattrsFrom(ino + 1); a directory's entries and an inode's links likewise. */
export const xattrsFrom = (ino: number): Key => numbered(XATTR, ino)
export const dentriesFrom = (parent: number): Key => numbered(DENTRY, parent)
export const linksFrom = (ino: number): Key => numbered(LINK, ino)
/** A domain's trash lies from here to trashFrom(domain + 1), in the order of time. */
export const trashFrom = (domain: number): Key => numbered(TRASH, domain)
const TRASH_SUMS = 'Ct'
export const trashSumsKey = (domain: number): Key => TRASH_SUMS + be64(domain)
export const TRASH_SUMS_FROM: Key = TRASH_SUMS
export const TRASH_SUMS_END: Key = 'Cu'
export const trashSumsDomain = (key: Key): number => u64At(key, TRASH_SUMS.length)
export const orphansFrom = (session: number): Key => numbered(ORPHAN, session)

export function dentryKey(parent: number, high: number, low: number): Key {
  const parentHigh = (parent / TWO_32) | 0
  const parentLow = parent >>> 0
  return String.fromCharCode(
    DENTRY,
    parentHigh >>> 24, (parentHigh >>> 16) & 255, (parentHigh >>> 8) & 255, parentHigh & 255,
    parentLow >>> 24, (parentLow >>> 16) & 255, (parentLow >>> 8) & 255, parentLow & 255,
    high >>> 24, (high >>> 16) & 255, (high >>> 8) & 255, high & 255,
    low >>> 24, (low >>> 16) & 255, (low >>> 8) & 255, low & 255
  )
}

const be64 = (n: number): string => numbered(0, n).slice(1)
const placeBytes = (place: Place): string => dentryKey(0, place.high, place.low).slice(9)

export const linkKey = (ino: number, parent: number, place: Place): Key => numbered(LINK, ino) + be64(parent) + placeBytes(place)
export const holdKey = (origin: number, epoch: number, clone: number): Key => numbered(HOLD, origin) + be64(epoch) + be64(clone)
/** Those on a domain's views lie from here to holdsFrom(domain + 1). */
export const holdsFrom = (origin: number): Key => numbered(HOLD, origin)
/** `birth`: the epoch in which the clone began; 1 but for what a rollback brought back. */
export const clonedKey = (domain: number, origin: number, birth: number): Key => numbered(CLONED, domain) + be64(origin) + (birth === 1 ? '' : `\u0001${be64(birth)}`)
export const clonedFrom = (domain: number): Key => numbered(CLONED, domain)
export const replacedKey = (domain: number, ino: number): Key => numbered(REPLACED, domain) + be64(ino)
/** Those of a domain lie from here to replacedFrom(domain + 1). */
export const replacedFrom = (domain: number): Key => numbered(REPLACED, domain)
export const unfoundKey = (ino: number): Key => numbered(UNFOUND, ino)
export const trashKey = (domain: number, { sec, nsec }: { readonly sec: number; readonly nsec: number }, ino: number): Key => numbered(TRASH, domain) + be64(sec) + be64(nsec).slice(4) + be64(ino)
export const orphanKey = (session: number, ino: number): Key => numbered(ORPHAN, session) + be64(ino)

// Reading keys back: scans and fsck.

const u32At = (key: Key, at: number): number =>
  ((key.charCodeAt(at) << 24) | (key.charCodeAt(at + 1) << 16) | (key.charCodeAt(at + 2) << 8) | key.charCodeAt(at + 3)) >>> 0

const u64At = (key: Key, at: number): number => u32At(key, at) * TWO_32 + u32At(key, at + 4)

/** The number behind the kind byte: an inode, a parent, a session, a domain. */
export const firstNumber = (key: Key): number => u64At(key, 1)
/** The second number: an orphan's inode, a reverse link's parent, a hold's epoch. */
export const secondNumber = (key: Key): number => u64At(key, 9)
/** The third number: the domain that holds. */
export const thirdNumber = (key: Key): number => u64At(key, 17)
export const placeHigh = (key: Key): number => u32At(key, key.length - 8)
export const placeLow = (key: Key): number => u32At(key, key.length - 4)
const A_NAME = '\u0001'
export const trashNameKey = (domain: number, at: { readonly sec: number; readonly nsec: number }, ino: number, parent: number, place: Place): Key =>
  trashKey(domain, at, ino) + A_NAME + be64(parent) + placeBytes(place)
/** What the key of something in the trash says besides its domain. */
export const trashTime = (key: Key): { readonly sec: number; readonly nsec: number } => ({ sec: u64At(key, 9), nsec: u32At(key, 17) })
export const trashIno = (key: Key): number => u64At(key, 21)
export const isTrashedName = (key: Key): boolean => key.length > 29
/** A name after one number: xattrs, snapshots. */
export const nameBehind = (key: Key): string => key.slice(9)
