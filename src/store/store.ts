/**
 * The store: where file bytes live. `space` is one local file or device with our allocator; `s3` (immutable segments)
 * comes later. Locations are unit-aligned ranges of one address space; a unit is 4 KiB.
 *   - allocate hands out units that nobody else holds, in memory only; they become the pool's with the transaction that
 *     records them (commitAllocated), or go back with release. A crash in between leaks nothing: the state in the
 *     engine knows only what committed.
 *   - free is part of a transaction; the units are handed out again only after that transaction is durable.
 *   - ENOSPC comes from allocate, before anything is acknowledged: host space is fallocated before it is promised.
 *   - write is done when the bytes are in the page cache of the space (the daemon's death loses nothing); sync when
 *     everything written before the call survives a power cut.
 */
import type { Context } from '../sys/index.js'
import type { MaybePromise, Tx } from '../engine/index.js'

export const UNIT_BYTES = 4096

/** A range of the store: [startBytes, startBytes + lengthBytes), both multiples of UNIT_BYTES. */
export interface Piece {
  readonly startBytes: number
  readonly lengthBytes: number
}

/** Where to look first. Hints are addresses in the store: the end of what precedes, the start of what follows. */
export interface AllocateRequest {
  readonly lengthBytes: number
  readonly area: 'small' | 'large'
  readonly leftHintBytes?: number
  readonly rightHintBytes?: number
  /** How long the file is that grows, with these bytes: it may want as much again. */
  readonly fileBytes?: number
  /** For bytes whose space was held before (see hold): it may use what others must leave. */
  readonly fromHold?: boolean
  /** Only of what the host has promised already: no transaction and no fallocate. For a full log's flush; ENOSPC if there is none. */
  readonly readyOnly?: boolean
}

export interface Store {
  readonly kind: 'space'
  /** Few pieces, in file order, together exactly lengthBytes. Throws ENOSPC (nothing is then held). A promise only if group state must be read or host space fallocated. */
  allocate(ctx: Context, request: AllocateRequest): MaybePromise<readonly Piece[]>
  /** Gives back what allocate handed out and no transaction recorded. */
  release(pieces: readonly Piece[]): void
  /** In a transaction body: these allocated pieces are now the pool's. Pure: only tx rows change. */
  commitAllocated(tx: Tx, pieces: readonly Piece[]): void
  /** In a transaction body: these pieces are no longer the pool's. Pure; a repeated free fails the commit. A promise if group state must be read. */
  commitFreed(tx: Tx, pieces: readonly Piece[]): MaybePromise<void>
  /** After the transaction that freed them committed: they become allocatable once it is durable. */
  freed(pieces: readonly Piece[]): void
  /** Delayed allocation: whole units are promised to bytes that wait in the log. In memory only. Throws ENOSPC. */
  hold(ctx: Context, lengthBytes: number): MaybePromise<void>
  /** Takes a promise back: the bytes are gone, or the next allocate (fromHold, in the same tick) is for them. Negative: holds without asking (what was held before). */
  unhold(lengthBytes: number): void
  /** Answers in the tick when the bytes are in the page cache, else off the loop. Throws EIO. */
  read(ctx: Context, startBytes: number, lengthBytes: number, into: Uint8Array, at: number): MaybePromise<void>
  write(ctx: Context, startBytes: number, from: Uint8Array, at: number, lengthBytes: number): MaybePromise<void>
  sync(ctx: Context): Promise<void>
  /** Makes the store larger, while it is in use: whole block groups. Durable when resolved. EINVAL, ENOSPC. */
  grow(sizeBytes: number): Promise<void>
  status(): StoreStatus
  close(): Promise<void>
}

export interface StoreStatus {
  readonly sizeBytes: number
  readonly usedBytes: number
  readonly freeBytes: number
  /** Of what is free: kept for the flush of bytes that were promised a place, and for no new ones. */
  readonly keptBytes: number
  /** Bytes written and not yet synced. */
  readonly dirtyBytes: number
  /** Free extents inside groups in use: how fragmented the free space is (of the groups looked at since the opening). */
  readonly freeExtents: number
  /** Why the store takes no more writes, if so. */
  readonly failed: string | undefined
}
