/**
 * The superblock of a pool in use, and its feature bits. What an older Ogee would misread says so there, durably, before the first
 * of it is written; from then on that Ogee refuses the pool.
 *   - The file first, then the row (superblock.ts): whoever finds a feature's rows finds its bit in both.
 *   - Asking for a bit that is set costs nothing; changes of the superblock come one after the other.
 */
import type { Engine } from '../engine/index.js'
import { keepCopy, writeSuperblock } from './superblock.js'
import type { Superblock } from './superblock.js'

/** Incompatible features: an Ogee that does not know one refuses the pool. */
export const FEATURE = {
  /** Subvolumes, snapshots, volumes: domains besides the root tree's, history. */
  epochs: 1,
  /** Things in the trash, and domains that keep one. */
  trash: 2,
  /** Clones: rows that say of what an inode is a clone, holds, holes in what is read through. */
  clones: 4,
  /** Extents of several files in the same units, and rows that count them. */
  shared: 8,
  /** Trees that were rolled back: a domain that holds a view of itself, folders with what was replaced. */
  rollbacks: 16
} as const

export interface LiveSuperblock {
  readonly now: Superblock
  /** Durable when resolved. */
  grown(sizeBytes: number): Promise<void>
  /** Resolves when the pool says durably that it uses this feature. */
  need(feature: number): Promise<void>
}

export function liveSuperblock(folder: string, engine: Engine, found: Superblock): LiveSuperblock {
  let now = found
  let last: Promise<void> = Promise.resolve()

  const change = (next: () => Superblock): Promise<void> => {
    const done = last.then(async () => {
      const superblock = next()
      writeSuperblock(folder, superblock)
      await keepCopy(engine, superblock)
      now = superblock
    })
    last = done.catch(() => undefined) // who asked is told
    return done
  }

  return {
    get now() {
      return now
    },
    grown: (sizeBytes) => change(() => ({ ...now, sizeBytes })),
    async need(feature) {
      if ((now.incompatible & feature) !== feature) await change(() => ({ ...now, incompatible: now.incompatible | feature }))
    }
  }
}
