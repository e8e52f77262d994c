/**
 * Snapshots as nodes. A live node's number is its inode number, below 2^44; a node of a snapshot is (slot, inode): slot * 2^44 +
 * inode, so that no two of them share a number. Each snapshot that somebody looks into has a slot, and keeps it.
 *   - Slot 511 is kept for the lists: (511, root) is the folder `.snapshots` of the domain whose root that is.
 *   - A slot is given to another snapshot only when all are taken and nobody holds a node of it. The least lately opened goes.
 *   - A snapshot that was removed is gone at once: every step asks for its row, which is in memory.
 * Numbers stay below 2^53; 2^44 inode numbers last 5 years at 100,000 a second.
 */
import { PosixError } from '../sys/index.js'
import type { MaybePromise, Reader } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { Tree } from '../meta/index.js'

const SLOT_SIZE = 2 ** 44
const LIST_SLOT = 511
export const FIRST_VIEW_NODE = SLOT_SIZE
const FIRST_LIST_NODE = LIST_SLOT * SLOT_SIZE

/** A snapshot under its slot. */
export interface Shown {
  readonly slot: number
  readonly domain: number
  /** The domain's root inode. */
  readonly root: number
  readonly name: string
  /** The view to read at. */
  readonly epoch: number
}

export interface Views {
  /** The snapshot of this name, under its slot; undefined: no such snapshot. */
  open(r: Reader, domain: number, name: string): MaybePromise<Shown | undefined>
  /** The snapshot that a node belongs to. ESTALE: it was removed. */
  of(r: Reader, node: number): MaybePromise<Shown>
  /** The domain of a list's node, by its number and root. ESTALE. */
  list(r: Reader, node: number): MaybePromise<{ readonly domain: number; readonly root: number }>
}

export const inoOf = (node: number): number => node % SLOT_SIZE
export const nodeOf = (slot: number, ino: number): number => slot * SLOT_SIZE + ino
export const listNode = (root: number): number => FIRST_LIST_NODE + root
export const isList = (node: number): boolean => node >= FIRST_LIST_NODE

/** `isHeld`: whether somebody holds a node of from <= node < to. */
export function openViews(tree: Tree, isHeld: (from: number, to: number) => boolean): Views {
  const bySlot = new Map<number, Shown>() // least lately opened first
  const byName = new Map<string, Shown>()

  function freeSlot(): number {
    if (bySlot.size < LIST_SLOT - 1) return bySlot.size + 1 // slots are never given back, only passed on
    for (const [slot, shown] of bySlot) {
      if (isHeld(slot * SLOT_SIZE, (slot + 1) * SLOT_SIZE)) continue
      bySlot.delete(slot)
      if (byName.get(keyOf(shown.domain, shown.name)) === shown) byName.delete(keyOf(shown.domain, shown.name))
      return slot
    }
    throw new PosixError('ENFILE', 'files of 510 snapshots are in use at once')
  }

  const keyOf = (domain: number, name: string): string => `${domain}@${name}`

  const place = (domain: number, root: number, name: string, epoch: number): Shown => {
    const known = byName.get(keyOf(domain, name))
    if (known !== undefined && known.epoch === epoch) {
      bySlot.delete(known.slot)
      bySlot.set(known.slot, known)
      return known
    }
    const shown = { slot: freeSlot(), domain, root, name, epoch }
    bySlot.set(shown.slot, shown)
    byName.set(keyOf(domain, name), shown)
    return shown
  }

  const alive = (shown: Shown, epoch: number | undefined): Shown => {
    if (epoch !== shown.epoch) throw new PosixError('ESTALE')
    return shown
  }

  return {
    open(r, domain, name) {
      return then(tree.snapshotNamed(r, domain, name), (found) => {
        if (found === undefined) return undefined
        return then(tree.domain(r, domain), (d) => (d === undefined ? undefined : place(domain, d.root, name, found.epoch)))
      })
    },
    of(r, node) {
      const shown = bySlot.get(Math.floor(node / SLOT_SIZE))
      if (shown === undefined) throw new PosixError('ESTALE')
      const found = tree.snapshotNamed(r, shown.domain, shown.name)
      return found instanceof Promise ? found.then((late) => alive(shown, late?.epoch)) : alive(shown, found?.epoch)
    },
    list(r, node) {
      const root = inoOf(node)
      return then(tree.inode(r, root, NOW), (inode) => {
        if (inode === undefined) throw new PosixError('ESTALE')
        return { domain: inode.domain, root }
      })
    }
  }
}

const then = <A, B>(value: MaybePromise<A>, go: (value: A) => MaybePromise<B>): MaybePromise<B> => (value instanceof Promise ? value.then(go) : go(value))
