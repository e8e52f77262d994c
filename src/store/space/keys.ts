/**
 * Keys of a space in the engine: which units are the pool's. They change in the transactions that record extents, so that a
 * crash neither leaks a unit nor hands one out twice. Every byte is described in docs/format.md, section "Data".
 *   'B' group u32 BE      bit row, 1,024 bits: unit i of the block group belongs to the pool
 *   'b' row u32 BE        bit row, 32,768 bits: the block group is in use, its 4 MiB are allocated in the host file. A superset
 *                         of the groups with a 'B' row; set before the first of them, cleared after the last
 *   'u'                   counter row: slot 0 units in use
 */
import { UNIT_BYTES } from '../store.js'
import type { Key } from '../../engine/index.js'

export const GROUP_BYTES = 4 * 1024 * 1024
export const GROUP_UNITS = GROUP_BYTES / UNIT_BYTES
/** Groups in one row of the coarse map: 128 GiB, a row of 4 KiB. */
export const COARSE_BITS = 32768

const be32 = (n: number): string => String.fromCharCode((n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255)

export const groupKey = (group: number): Key => `B${be32(group)}`
export const coarseKey = (group: number): Key => `b${be32(Math.floor(group / COARSE_BITS))}`
export const COUNTERS_KEY: Key = 'u'
