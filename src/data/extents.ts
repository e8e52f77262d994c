/**
 * An extent of a file's map, and the one place that says what may be done where it lies.
 *   own     its units belong to it alone
 *   shared  its units are counted: other extents may lie in them. Never written in place
 *   lent    its units are the origin's (origin.ts). In memory only, without a row: nobody frees, moves or overwrites them here, and no
 *           history takes them in
 *   hole    a row without units: reads as zeros, and hides what the origin has there
 * What takes the place of a lent extent needs nothing but itself; what leaves nothing in its place leaves a hole.
 */
import { EXTENT_MAX_BYTES } from './content.js'
import type { Piece } from '../store/index.js'

export type ExtentKind = 'own' | 'shared' | 'lent' | 'hole'

export interface Extent {
  readonly off: number
  readonly len: number
  /** Address in the store; 0 of a hole. */
  readonly start: number
  readonly birth: number
  /** Reads as zeros. */
  readonly unwritten: boolean
  readonly kind: ExtentKind
  /** Of a lent one whose bytes the origin's view has in its log: they are here, and nothing is read at `start`. */
  readonly bytes: Uint8Array | undefined
}

/** Bytes that are not in an extent yet. */
export interface Pending {
  readonly off: number
  readonly len: number
  readonly birth: number
  /** Logged: the bytes. Undefined: tentative, in the store at `start`. */
  readonly bytes: Uint8Array | undefined
  /** `bytes` lie behind the header of their own row. */
  readonly wholeRow: boolean
  readonly start: number
  readonly borrowed: boolean
  /** Of the store write that put the bytes of a tentative range. */
  readonly stamp: number
}

/** Bytes over it may be written where it lies: nobody else sees them there. */
export const mayOverwrite = (e: Extent, newestSnapshot: number): boolean => e.kind === 'own' && e.birth > newestSnapshot

/** A flush of bytes born in `birth` writes them where the extent lies. */
export const takesIn = (e: Extent, birth: number, newestSnapshot: number): boolean => e.kind === 'own' && (e.birth > newestSnapshot || e.birth === birth)

/** Logged bytes go to new units when they are flushed, though an extent holds units under them. */
export const movesAway = (e: Extent, birth: number, newestSnapshot: number): boolean => e.kind !== 'hole' && !takesIn(e, birth, newestSnapshot)

/** Of units that are free, or counted one less, when it is gone for good. */
export const unitsOf = (e: Extent): Piece | undefined => (e.kind === 'own' || e.kind === 'shared' ? { startBytes: e.start, lengthBytes: e.len } : undefined)

/** Two that become one row. */
export const isJoinable = (l: Extent, r: Extent): boolean =>
  l.off + l.len === r.off && l.birth === r.birth && l.unwritten === r.unwritten && l.kind === r.kind && l.kind !== 'lent' &&
  (l.kind === 'hole' || l.start + l.len === r.start) && l.len + r.len <= EXTENT_MAX_BYTES

export const partOfExtent = (e: Extent, from: number, to: number): Extent =>
  from === e.off && to === e.off + e.len ? e : {
    ...e, off: from, len: to - from, start: e.kind === 'hole' ? 0 : e.start + from - e.off, bytes: e.bytes?.subarray(from - e.off, to - e.off)
  }

export const ownExtent = (off: number, { startBytes, lengthBytes }: Piece, birth: number, unwritten: boolean): Extent =>
  ({ off, len: lengthBytes, start: startBytes, birth, unwritten, kind: 'own', bytes: undefined })
export const holeExtent = (off: number, len: number, birth: number): Extent =>
  ({ off, len, start: 0, birth, unwritten: true, kind: 'hole', bytes: undefined })
