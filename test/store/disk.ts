/**
 * A simulated disk behind the space's seam: a page cache over sectors that outlive a power cut only once they were synced.
 *   - cut(random): of the pages written since the last sync any subset reaches the disk, torn at 512 bytes; then what the disk has is all.
 *   - died(): the daemon's death; the page cache survives. What it had open and under way does nothing and answers nothing from then on. A cut is one too.
 *   - `hostGroups` limits what the host can allocate, in groups of 4 MiB; failures can be switched on.
 */
import assert from 'node:assert/strict'
import { ERRNO } from '../../src/sys/index.js'
import type { Random } from '../../src/sys/index.js'
import { GROUP_BYTES } from '../../src/store/index.js'
import type { SpaceFile, SpaceIo } from '../../src/store/index.js'

const PAGE = 4096
const SECTOR = 512

export interface Disk extends SpaceIo {
  hostGroups: number
  syncFails: boolean
  /** Every sync waits for what this answers. */
  beforeSync: (() => Promise<void>) | undefined
  /** Reads and writes off the loop take a turn of the loop; reads in the tick find nothing while true. */
  cold: boolean
  /** Writes that hit a range the host never promised: what would be ENOSPC after our answer. */
  unpromised: number
  syncs: number
  /** Groups that the host has allocated. */
  promised(): number
  died(): void
  cut(random: Random): void
  /** Bytes as the page cache has them. */
  peek(offset: number, length: number): Uint8Array
}

export function makeDisk(): Disk {
  let cache = new Map<number, Uint8Array>()
  let durable = new Map<number, Uint8Array>()
  const dirty = new Set<number>()
  /** Of syncs that did not end yet. */
  const syncing = new Set<readonly (readonly [number, Uint8Array])[]>()
  const promised = new Set<number>()
  let size = -1
  let life = { isOver: false }
  const page = (n: number): Uint8Array => {
    let p = cache.get(n)
    if (p === undefined) cache.set(n, (p = new Uint8Array(PAGE)))
    return p
  }
  function read(into: Uint8Array, at: number, length: number, offset: number): number {
    const end = Math.min(offset + length, size)
    for (let o = offset; o < end;) {
      const n = Math.min(end - o, PAGE - (o % PAGE))
      const p = cache.get(Math.floor(o / PAGE))
      if (p === undefined) into.fill(0, at + o - offset, at + o - offset + n)
      else into.set(p.subarray(o % PAGE, (o % PAGE) + n), at + o - offset)
      o += n
    }
    return Math.max(0, end - offset)
  }
  function write(from: Uint8Array, at: number, length: number, offset: number): number {
    for (let o = offset; o < offset + length;) {
      const n = Math.min(offset + length - o, PAGE - (o % PAGE))
      const index = Math.floor(o / PAGE)
      if (o >= GROUP_BYTES && !promised.has(Math.floor(o / GROUP_BYTES))) disk.unpromised++
      page(index).set(from.subarray(at + o - offset, at + o - offset + n), o % PAGE)
      dirty.add(index)
      o += n
    }
    return length
  }
  const fileOf = (owner: { readonly isOver: boolean }): SpaceFile => {
    const later = <T>(fn: () => T): Promise<T> => new Promise((resolve) => setImmediate(() => { if (!owner.isOver) resolve(fn()) }))
    return {
      readNow: (into, at, length, offset) => (disk.cold || owner.isOver ? -ERRNO.EAGAIN : read(into, at, length, offset)),
      read: (into, at, length, offset) => later(() => read(into, at, length, offset)),
      writeNow: (from, at, length, offset) => (owner.isOver ? length : write(from, at, length, offset)),
      write: (from, at, length, offset) => later(() => write(from, at, length, offset)),
      fallocate: (offset, length) => later(() => {
        const wanted: number[] = []
        for (let g = Math.floor(offset / GROUP_BYTES); g * GROUP_BYTES < offset + length; g++) if (!promised.has(g)) wanted.push(g)
        if (promised.size + wanted.length > disk.hostGroups) return -ERRNO.ENOSPC
        wanted.forEach((g) => promised.add(g))
        return 0
      }),
      punch: (offset, length) => later(() => {
        for (let g = Math.floor(offset / GROUP_BYTES); g * GROUP_BYTES < offset + length; g++) {
          promised.delete(g)
          for (let p = (g * GROUP_BYTES) / PAGE; p < ((g + 1) * GROUP_BYTES) / PAGE; p++) {
            cache.delete(p)
            durable.delete(p)
          }
        }
        return 0
      }),
      startWriteOut: () => later(() => 0),
      sync: () => {
        if (owner.isOver) return later(() => 0)
        const pages = [...dirty].map((n) => [n, page(n).slice()] as const)
        syncing.add(pages)
        dirty.clear()
        disk.syncs++
        const end = (): number => {
          syncing.delete(pages)
          if (disk.syncFails) return -ERRNO.EIO
          for (const [n, bytes] of pages) durable.set(n, bytes)
          return 0
        }
        return disk.beforeSync === undefined ? later(end) : disk.beforeSync().then(() => later(end))
      },
      resize: (sizeBytes) => later(() => {
        size = sizeBytes
        return 0
      }),
      close: () => 0
    }
  }
  const disk: Disk = {
    hostGroups: Infinity, syncFails: false, beforeSync: undefined, cold: false, unpromised: 0, syncs: 0,
    create(_path, sizeBytes) {
      assert.equal(size, -1)
      size = sizeBytes
      return fileOf(life)
    },
    open: () => fileOf(life),
    promised: () => promised.size,
    died() {
      life.isOver = true
      life = { isOver: false }
      for (const pages of syncing) for (const [n] of pages) dirty.add(n)
      syncing.clear()
    },
    cut(random) {
      disk.died()
      for (const n of dirty) {
        const fate = random.uint32() % 3 // lost, whole, torn
        if (fate === 0) continue
        const kept = durable.get(n) ?? new Uint8Array(PAGE)
        for (let s = 0; s < PAGE; s += SECTOR) if (fate === 1 || random.uint32() % 2 === 0) kept.set(page(n).subarray(s, s + SECTOR), s)
        durable.set(n, kept)
      }
      dirty.clear()
      cache = new Map([...durable].map(([n, bytes]) => [n, bytes.slice()]))
      durable = new Map([...cache].map(([n, bytes]) => [n, bytes.slice()]))
    },
    peek(offset, length) {
      const bytes = new Uint8Array(length)
      read(bytes, 0, length, offset)
      return bytes
    }
  }
  return disk
}
