/** What a file's content is to this floor and to the one above: its limits, its parts, and how a transaction reads and stores it. Nothing here does anything. */
import type { Context } from '../sys/index.js'
import type { MaybePromise, Tx } from '../engine/index.js'

export const INLINE_MAX_BYTES = 2048
export const LOGGED_MAX_BYTES = 64 * 1024
/** An extent is at most this long: bounded look-back. */
export const EXTENT_MAX_BYTES = 64 * 1024 * 1024
/** 16 TiB, as on ext4. EFBIG above. */
export const FILE_MAX_BYTES = 16 * 1024 ** 4

/** `now`, or the epoch of a snapshot. Every read takes one. */
export type View = number
export const NOW: View = Number.MAX_SAFE_INTEGER

/** What this floor must know of a file's place in the pool. */
export interface FileRef {
  readonly ino: number
  /** New extents are born in this epoch. */
  readonly epoch: number
  /** The domain's newest snapshot (0: none): what was born at or before it moves to history when replaced. */
  readonly newestSnapshot: number
}

/** The part of an inode that this floor keeps. A transaction reads it, and stores what comes back. */
export interface Content {
  readonly sizeBytes: number
  /** The size that a power cut leaves: covers no tentative bytes. */
  readonly durableSizeBytes: number
  /** Bytes held in the store, or logged: what st_blocks shows. */
  readonly allocatedBytes: number
  readonly inline: Uint8Array | undefined
  /** It is a clone: row L says of what (origin.ts). */
  readonly hasOrigin: boolean
}

/** What is copied shares units with its source where that is less work than copying them, or wherever it can. */
export type CopyWish = 'cheapest' | 'shared'
/** What else changes with the content; meta applies it to the inode in the same transaction. */
export interface ContentEffects {
  /** mtime and ctime become this; undefined: they stay (flush, confirm). */
  readonly touch: { readonly sec: number; readonly nsec: number } | undefined
  /** Each of them moves only if it is still this one. */
  readonly since?: { readonly sec: number; readonly nsec: number } | undefined
  readonly killSuidgid: boolean
  /** Bytes over bytes that lie in the store go there at once, also small ones that an fsync follows: what a disk does. */
  readonly inPlace?: boolean
  /** The bytes of a file without links go: snapshots taken since it lost them show nothing of it. */
  readonly isReclaim?: true
}

/** Bytes, or where they lie, and no times. */
export const NO_TOUCH: ContentEffects = { touch: undefined, killSuidgid: false }

/** The time of a write that changed bytes only (times.ts), and the one that the inode has if nobody changed it since. */
export interface Owed {
  readonly touch: { readonly sec: number; readonly nsec: number }
  readonly since: { readonly sec: number; readonly nsec: number }
}

/** What a change leaves. */
export interface ContentAfter extends Content {
  /** How many extents more the file has (fewer: negative): the pool counts them. */
  readonly extentsMore?: number
}

/** Given by meta: one transaction that reads the inode, runs the body, stores the content that it returns (and directory sums, usage). ESTALE if there is no such inode. */
export type ChangeContent = (
  ctx: Context,
  ino: number,
  effects: ContentEffects,
  body: (tx: Tx, file: FileRef, content: Content) => MaybePromise<ContentAfter>,
) => Promise<Content>
/** The same for several files in one transaction: all of them or none. */
export type ChangeContents = (
  ctx: Context,
  effects: ContentEffects,
  changes: readonly { readonly ino: number; readonly body: (tx: Tx, file: FileRef, content: Content) => MaybePromise<ContentAfter> }[],
) => Promise<readonly Content[]>
/** Given by meta: the content as committed. */
export type ReadContent = (ctx: Context, ino: number, view: View) => MaybePromise<Content>

/** Bytes; space that is held and reads as zeros; nothing, which reads as zeros. */
export type PartKind = 'data' | 'zero' | 'hole'
export interface Part {
  readonly kind: PartKind
  readonly lengthBytes: number
}
