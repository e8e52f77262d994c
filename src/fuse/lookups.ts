/**
 * How many references the kernel holds to each node: one for each entry it was given, minus those it gave back by FORGET.
 * A node with none is forgotten by vfs. The root is never forgotten.
 *   - A table of numbers, not of objects: the kernel may hold millions of nodes. Open addressing with linear probing in typed
 *     arrays, in 256 small tables, so that none takes long to grow; a removal closes its gap, there are no tombstones.
 *   - Inode numbers come in a row: the stirred low bits choose table and slot.
 * A node costs 16 to 32 bytes; add and remove about 50 ns.
 */
import { FUSE_ROOT_ID } from './protocol.js'

const SHARDS = 256
const SLOTS_MIN = 16

interface Shard {
  /** 0: a free slot. */
  nodes: Float64Array
  counts: Uint32Array
  used: number
}

const makeShard = (slots: number): Shard => ({ nodes: new Float64Array(slots), counts: new Uint32Array(slots), used: 0 })

const stir = (node: number): number => {
  const h = Math.imul((node | 0) ^ ((node / 4294967296) | 0), 0x9e3779b1)
  return h ^ (h >>> 15)
}

/** The slot of a node, or the free one where it would be. */
function slotOf({ nodes }: Shard, node: number, hash: number): number {
  const mask = nodes.length - 1
  let slot = hash & mask
  while (nodes[slot] !== node && nodes[slot] !== 0) slot = (slot + 1) & mask
  return slot
}

export class Lookups {
  private readonly shards: Shard[] = Array.from({ length: SHARDS }, () => makeShard(SLOTS_MIN))
  private readonly forget: (node: number) => void
  private size = 0

  constructor(forget: (node: number) => void) {
    this.forget = forget
  }

  get nodes(): number {
    return this.size
  }

  /** What the tables hold, free slots included. */
  get heldBytes(): number {
    let bytes = 0
    for (const shard of this.shards) bytes += shard.nodes.byteLength + shard.counts.byteLength
    return bytes
  }

  count(node: number): number {
    const hash = stir(node)
    const shard = this.shards[hash >>> 24]
    return node > 0 ? shard.counts[slotOf(shard, node, hash)] : 0
  }

  /** Whether any node of from <= node < to is held: looks at all. */
  anyBetween(from: number, to: number): boolean {
    return this.shards.some(({ nodes }) => nodes.some((node) => node !== 0 && node >= from && node < to))
  }

  add(node: number): void {
    const hash = stir(node)
    const at = hash >>> 24
    let shard = this.shards[at]
    let slot = slotOf(shard, node, hash)
    if (shard.nodes[slot] === 0) {
      if ((shard.used + 1) * 4 > shard.nodes.length * 3) {
        shard = this.resize(at, shard.nodes.length * 2)
        slot = slotOf(shard, node, hash)
      }
      shard.nodes[slot] = node
      shard.used++
      this.size++
    }
    shard.counts[slot]++
  }

  /** A peer that gives back more than it has, or what it never had, changes nothing for others. */
  remove(node: number, count: number): void {
    if (!(node > 0)) return
    const hash = stir(node)
    const at = hash >>> 24
    const shard = this.shards[at]
    const slot = slotOf(shard, node, hash)
    const held = shard.counts[slot]
    if (held === 0) return
    if (count < held) {
      shard.counts[slot] = held - count
      return
    }
    close(shard, slot)
    this.size--
    if (shard.nodes.length > SLOTS_MIN && shard.used * 8 < shard.nodes.length) this.resize(at, shard.nodes.length / 2)
    if (node !== FUSE_ROOT_ID) this.forget(node)
  }

  /** The kernel is gone, and all its references with it. */
  removeAll(): void {
    const held = this.shards.map((shard) => shard.nodes)
    this.shards.forEach((_, at) => (this.shards[at] = makeShard(SLOTS_MIN)))
    this.size = 0
    for (const nodes of held) for (const node of nodes) if (node !== 0 && node !== FUSE_ROOT_ID) this.forget(node)
  }

  private resize(at: number, slots: number): Shard {
    const { nodes, counts, used } = this.shards[at]
    const shard = makeShard(slots)
    for (let i = 0; i < nodes.length; i++) {
      if (nodes[i] === 0) continue
      const slot = slotOf(shard, nodes[i], stir(nodes[i]))
      shard.nodes[slot] = nodes[i]
      shard.counts[slot] = counts[i]
    }
    shard.used = used
    this.shards[at] = shard
    return shard
  }
}

/** Empties a slot; what was put behind it because it was taken moves up. */
function close(shard: Shard, slot: number): void {
  const { nodes, counts } = shard
  const mask = nodes.length - 1
  let gap = slot
  for (let i = (gap + 1) & mask; nodes[i] !== 0; i = (i + 1) & mask) {
    const wanted = stir(nodes[i]) & mask
    if (((i - wanted) & mask) < ((i - gap) & mask)) continue // it is behind the gap by its own wish
    nodes[gap] = nodes[i]
    counts[gap] = counts[i]
    gap = i
  }
  nodes[gap] = 0
  counts[gap] = 0
  shard.used--
}
