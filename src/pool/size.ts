/** How large a pool may be: whole block groups between two bounds, and never smaller than it was. */
import prettyBytes from 'pretty-bytes'
import { GROUP_BYTES } from '../store/index.js'
import { hostSpace } from './folder.js'
import { Refusal } from './refusal.js'
import { SIZE_MAX_BYTES, SIZE_MIN_BYTES } from './superblock.js'
import type { Superblock } from './superblock.js'

const GIB = 1024 ** 3
export const SIZE_DEFAULT_BYTES = 100 * GIB
/** 100 GiB, or what the host's disk has in all: the space is sparse. */
export function defaultSizeBytes(folder: string): number {
  const host = hostSpace(folder).sizeBytes
  return Math.max(SIZE_MIN_BYTES, Math.min(SIZE_DEFAULT_BYTES, Math.floor(host / GROUP_BYTES) * GROUP_BYTES))
}

/** The size in whole block groups, or why the pool cannot have it. */
export function grownSize({ sizeBytes: before }: Superblock, wanted: number): number {
  const sizeBytes = Math.floor(wanted / GROUP_BYTES) * GROUP_BYTES
  const size = (bytes: number): string => prettyBytes(bytes, { binary: true })
  if (sizeBytes > SIZE_MAX_BYTES) throw new Refusal('usage', `A pool has at most ${size(SIZE_MAX_BYTES)}: choose a smaller --size.`)
  if (sizeBytes < before) throw new Refusal('usage', `The pool has ${size(before)}, and cannot shrink: choose a larger --size.`)
  if (sizeBytes === before) throw new Refusal('usage', `The pool has ${size(before)} already: choose a larger --size.`)
  return sizeBytes
}
