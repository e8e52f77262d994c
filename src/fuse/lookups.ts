/**
 * How many references the kernel holds to each node: one for each entry it was given, minus those it gave back by FORGET.
 * A node with none is forgotten by vfs. The root is never forgotten.
 */
import { FUSE_ROOT_ID } from './protocol.js'

export class Lookups {
  private readonly counts = new Map<number, number>()
  private readonly forget: (node: number) => void

  constructor(forget: (node: number) => void) {
    this.forget = forget
  }

  get nodes(): number {
    return this.counts.size
  }

  count(node: number): number {
    return this.counts.get(node) ?? 0
  }

  add(node: number): void {
    this.counts.set(node, (this.counts.get(node) ?? 0) + 1)
  }

  /** A peer that gives back more than it has, or what it never had, changes nothing for others. */
  remove(node: number, count: number): void {
    const held = this.counts.get(node)
    if (held === undefined) return
    if (count < held) this.counts.set(node, held - count)
    else {
      this.counts.delete(node)
      if (node !== FUSE_ROOT_ID) this.forget(node)
    }
  }

  /** The kernel is gone, and all its references with it. */
  removeAll(): void {
    for (const node of this.counts.keys()) if (node !== FUSE_ROOT_ID) this.forget(node)
    this.counts.clear()
  }
}
