/**
 * What clients did to a pool, as they saw it: when each operation began and was answered, the names that they had after it,
 * and every version of every file. The law that a recovered pool is held against is verdict.ts.
 */

import type { CloneHistory } from './clones.js'

/** The volume, and the stripes in which it is written. */
export const VOLUME = 'v'
export const STRIPES = 3
export const STRIPE_BYTES = 256 * 1024

/** Of one client, after one of its operations that changes names. */
export interface Names {
  readonly startMs: number
  readonly endMs: number
  readonly what: string
  /** Path to 'f' + inode, 'd' + inode, or 'l' + target. */
  readonly state: ReadonlyMap<string, string>
  /** A rename over a file: this version's bytes are there if the rename is. */
  readonly bytesFirst: { readonly file: FileHistory; readonly version: number } | undefined
}

/** Pushed when the operation starts; endMs is Infinity until it is answered. */
export interface Version {
  readonly startMs: number
  endMs: number
  readonly what: string
  readonly bytes: Buffer
  /** Written through an open file that was truncated to 0: follows within a second. */
  readonly hurried: boolean
  /** Of a volume that goes back to a snapshot: there in all stripes, or in none. */
  readonly isRollback?: boolean
}

export interface FileHistory {
  readonly id: number
  ino: number
  readonly versions: Version[]
  /** Answered syncs, and the newest version that was answered before each began. */
  readonly syncs: { readonly endMs: number; readonly version: number }[]
}

/** What a snapshot shows: a tree's names by client and bytes by inode, or a volume's stripes. */
export interface Shown {
  readonly names: readonly Map<string, string>[]
  readonly bytes: ReadonlyMap<number, Buffer>
  readonly stripes: readonly Buffer[]
}

/** What was there after a cut. Snapshots oldest first. */
export interface Found {
  readonly names: readonly ReadonlyMap<string, string>[]
  readonly bytes: ReadonlyMap<number, Buffer>
  readonly stripes: readonly Buffer[]
  /** The cut came while the volume went back: it did, or did not. */
  readonly wentBack: boolean | undefined
  readonly snapshots: readonly { readonly of: string; readonly name: string; readonly found: Shown }[]
  /** By their snapshot's name, what they show. */
  readonly clones: ReadonlyMap<string, readonly string[]>
}

export interface SnapshotHistory {
  readonly name: string
  /** '/', or the volume. */
  readonly of: string
  readonly startMs: number
  /** Infinity until it is answered. */
  endMs: number
  removal: { readonly startMs: number; endMs: number } | undefined
  /** What it showed when this generation began. */
  readonly found: Shown | undefined
}

/** As far as those know who take and remove them. */
export const isThere = (s: SnapshotHistory): boolean => s.endMs < Infinity && s.removal === undefined

export interface History {
  readonly clients: Names[][]
  readonly files: Map<number, FileHistory>
  /** The volume's. */
  readonly stripes: FileHistory[]
  /** In the order in which they were taken. */
  readonly snapshots: SnapshotHistory[]
  /** Of the tree's. */
  readonly clones: CloneHistory[]
  /** Somebody takes or removes one, or goes back to one. */
  isSnapshotting: boolean
  /** Answered fsyncs of anything: what was answered before they began is durable, names included. */
  readonly syncs: { readonly startMs: number; readonly endMs: number }[]
  operations: number
  /** Makes names of one generation unlike those of another. */
  readonly generation: number
}

export const makeHistory = (clients: number, generation = 0): History => ({
  generation, snapshots: [], clones: [], isSnapshotting: false,
  stripes: Array.from({ length: STRIPES }, (_, n) => ({ id: stripeId(generation, n), ino: 0, syncs: [], versions: [foundVersion(Buffer.alloc(STRIPE_BYTES))] })),
  clients: Array.from({ length: clients }, () => [{ startMs: -Infinity, endMs: -Infinity, what: 'begin', state: new Map<string, string>(), bytesFirst: undefined }]),
  files: new Map(), syncs: [], operations: 0
})

/** Unlike those of other generations, as far as 16 bits go. */
export const nextId = (history: History): number => (history.generation * 4000 + history.files.size) % 65_000
const stripeId = (generation: number, n: number): number => 65_000 + (generation * STRIPES + n) % 500

const foundVersion = (bytes: Buffer): Version => ({ startMs: -Infinity, endMs: -Infinity, what: 'found', bytes, hurried: false })

/** What was found after a cut is where the next generation begins: all of it is durable. */
export function historyFrom({ names, bytes, stripes, snapshots, clones }: Omit<Found, 'wentBack'>, generation: number): History {
  const history = makeHistory(names.length, generation)
  stripes.forEach((found, n) => void (history.stripes[n].versions[0] = foundVersion(found)))
  for (const { of, name, found } of snapshots) history.snapshots.push({ of, name, startMs: -Infinity, endMs: -Infinity, removal: undefined, found })
  for (const [of, found] of clones) history.clones.push({ of, endMs: -Infinity, found })
  names.forEach((state, c) => void (history.clients[c][0] = { ...history.clients[c][0], state }))
  for (const [ino, found] of bytes) {
    history.files.set(ino, { id: nextId(history), ino, versions: [foundVersion(found)], syncs: [] })
  }
  return history
}

/**
 * Content that tells where it belongs: each aligned 8 bytes name the file, the version and the place.
 * file u16 + 1 (never zero), version u16, offset / 8 u32
 */
export function signedBytes(file: number, version: number, offset: number, length: number): Buffer {
  const first = offset - (offset % 8)
  const words = Math.ceil((offset + length - first) / 8)
  const out = Buffer.allocUnsafe(words * 8)
  for (let i = 0; i < words; i++) {
    out.writeUInt16LE(file + 1, i * 8)
    out.writeUInt16LE(version, i * 8 + 2)
    out.writeUInt32LE(first / 8 + i, i * 8 + 4)
  }
  return out.subarray(offset - first, offset - first + length)
}

export function signatureText(bytes: Uint8Array, at: number): string {
  const first = at - (at % 8)
  if (first + 8 > bytes.length) return Buffer.from(bytes.subarray(first)).toString('hex')
  const b = Buffer.from(bytes.buffer, bytes.byteOffset + first, 8)
  if (b.every((x) => x === 0)) return 'zeros'
  return `file ${b.readUInt16LE(0) - 1}, version ${b.readUInt16LE(2)}, offset ${b.readUInt32LE(4) * 8}`
}
