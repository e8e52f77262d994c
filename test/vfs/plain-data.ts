/**
 * A data floor without extents: the bytes of each file in one buffer of memory, its sizes in the inode as always. It holds what
 * the vfs is promised, so that a test of the vfs need not wait for a disk; and it fails and dawdles on demand.
 *   - Bytes follow their transaction: they change only when it committed. One change at a time per inode.
 */
import { PosixError } from '../../src/sys/index.js'
import type { Context } from '../../src/sys/index.js'
import { FILE_MAX_BYTES } from '../../src/data/index.js'
import type { Content, ContentEffects, Data } from '../../src/data/index.js'
import type { Engine } from '../../src/engine/index.js'
import { changeContent, readContent } from '../../src/meta/index.js'

const UNIT = 4096
const LENGTH_MAX_BYTES = 2 ** 30

export interface PlainData extends Data {
  /** The next sync of this inode throws EIO. */
  failNextSync(ino: number): void
  /** Inodes that were synced, in order. */
  readonly synced: number[]
  readonly hurried: Set<number>
  /** Reads answer with a promise. */
  late: boolean
  /** What all files may hold together: a write beyond it is ENOSPC. */
  roomBytes: number
  /** Steps that reclaimStep took. */
  reclaimSteps: number
}

interface Bytes {
  all: Buffer
  /** Writes beyond what a buffer holds, by offset: read back whole or not at all. */
  far: Map<number, Buffer>
  /** Units that hold something, by number. */
  held: Set<number>
}

/** What the files of a pool hold: handed on when it is opened again. */
export type PlainFiles = Map<number, Bytes>

export function openPlainData(engine: Engine, files: PlainFiles = new Map()): PlainData {
  const change = changeContent(engine)
  const content = readContent(engine)
  const tails = new Map<number, Promise<unknown>>()
  const failing = new Set<number>()
  const synced: number[] = []

  const bytesOf = (ino: number): Bytes => {
    let bytes = files.get(ino)
    if (bytes === undefined) files.set(ino, (bytes = { all: Buffer.alloc(0), far: new Map(), held: new Set() }))
    return bytes
  }

  const inTurn = <T>(ino: number, act: () => Promise<T>): Promise<T> => {
    const turn = (tails.get(ino) ?? Promise.resolve()).then(act, act)
    tails.set(ino, turn)
    return turn
  }

  /** Commits the new size, then does `apply` to the bytes. */
  const edit = (ctx: Context, ino: number, effects: ContentEffects, size: (old: number) => number, apply: (bytes: Bytes, old: number) => void): Promise<Content> =>
    inTurn(ino, async () => {
      const bytes = bytesOf(ino)
      let old = 0
      const after = await change(ctx, ino, effects, (_tx, _file, now) => {
        old = now.sizeBytes
        const sizeBytes = size(old)
        if (sizeBytes > FILE_MAX_BYTES) throw new PosixError('EFBIG')
        const trial = { all: bytes.all, far: new Map(), held: new Set(bytes.held) }
        apply(trial, old)
        return { ...now, sizeBytes, durableSizeBytes: sizeBytes, allocatedBytes: trial.held.size * UNIT, inline: undefined }
      })
      apply(bytes, old)
      return after
    })

  const grow = (bytes: Bytes, to: number): void => {
    if (bytes.all.length >= to) return
    const larger = Buffer.alloc(Math.max(to, Math.min(bytes.all.length * 2, to + 65_536)))
    bytes.all.copy(larger)
    bytes.all = larger
  }
  const units = function* (from: number, to: number): Iterable<number> {
    for (let unit = Math.floor(from / UNIT); unit * UNIT < to; unit++) yield unit
  }
  const wipe = (bytes: Bytes, from: number, to: number): void => {
    bytes.all.fill(0, Math.min(from, bytes.all.length), Math.min(to, bytes.all.length))
    for (const unit of units(Math.ceil(from / UNIT) * UNIT, Math.floor(to / UNIT) * UNIT)) bytes.held.delete(unit)
  }
  const checkRange = (offset: number, length: number): void => {
    if (offset + length > FILE_MAX_BYTES) throw new PosixError('EFBIG')
  }

  const data: PlainData = {
    synced,
    hurried: new Set(),
    late: false,
    roomBytes: Infinity,
    reclaimSteps: 0,
    failNextSync: (ino) => void failing.add(ino),
    settleTimes: () => undefined,
    changes: () => Promise.resolve([]),
    flatten: () => Promise.reject(new PosixError('EOPNOTSUPP')),
    lentBytes: () => Promise.resolve(0),

    read(ctx, ino, view, offset, length, into, at) {
      const now = content(ctx, ino, view)
      const copy = ({ sizeBytes }: Content): number => {
        const n = Math.max(0, Math.min(length, sizeBytes - offset))
        into.fill(0, at, at + n)
        const { all, far } = bytesOf(ino)
        if (offset < all.length) all.copy(into, at, offset, offset + n)
        far.get(offset)?.copy(into, at, 0, n)
        return n
      }
      if (now instanceof Promise) return now.then(copy)
      return data.late ? Promise.resolve().then(() => copy(now)) : copy(now)
    },
    write(ctx, ino, offset, from, at, length, effects) {
      const heldBytes = [...files.values()].reduce((sum, { held }) => sum + held.size * UNIT, 0)
      if (heldBytes + length > data.roomBytes) return Promise.reject(new PosixError('ENOSPC'))
      const text = Buffer.from(from.subarray(at, at + length))
      return edit(ctx, ino, effects, (old) => Math.max(old, (offset === 'end' ? old : offset) + length), (bytes, old) => {
        const start = offset === 'end' ? old : offset
        for (const unit of units(start, start + length)) bytes.held.add(unit)
        if (start > LENGTH_MAX_BYTES) return void bytes.far.set(start, text)
        grow(bytes, start + length)
        text.copy(bytes.all, start)
      })
    },
    truncate: (ctx, ino, size, effects) => edit(ctx, ino, effects, () => size, (bytes, old) => {
      if (size >= old) return
      bytes.all.fill(0, Math.min(size, bytes.all.length))
      for (const unit of [...bytes.held]) if (unit * UNIT >= size) bytes.held.delete(unit)
    }),
    reserve(ctx, ino, offset, length, keepSize, effects) {
      checkRange(offset, length)
      return edit(ctx, ino, effects, (old) => (keepSize ? old : Math.max(old, offset + length)), (bytes) => {
        for (const unit of units(offset, offset + length)) bytes.held.add(unit)
      })
    },
    punch: (ctx, ino, offset, length, effects) =>
      edit(ctx, ino, effects, (old) => old, (bytes) => wipe(bytes, offset, offset + length)),
    zero: (ctx, ino, offset, length, keepSize, effects) =>
      edit(ctx, ino, effects, (old) => (keepSize ? old : Math.max(old, offset + length)), (bytes) => wipe(bytes, offset, offset + length)),
    async seekData(ctx, ino, view, offset) {
      const { sizeBytes } = await content(ctx, ino, view)
      const held = [...bytesOf(ino).held].sort((a, b) => a - b)
      const unit = held.find((u) => (u + 1) * UNIT > offset && u * UNIT < sizeBytes)
      return offset >= sizeBytes || unit === undefined ? undefined : Math.max(offset, unit * UNIT)
    },
    layout: () => {
      throw new Error('not asked by vfs')
    },
    async seekHole(ctx, ino, view, offset) {
      const { sizeBytes } = await content(ctx, ino, view)
      if (offset >= sizeBytes) return undefined
      let at = offset
      while (at < sizeBytes && bytesOf(ino).held.has(Math.floor(at / UNIT))) at = (Math.floor(at / UNIT) + 1) * UNIT
      return Math.min(at, sizeBytes)
    },
    async sync(ctx, ino) {
      synced.push(ino)
      if (failing.delete(ino)) throw new PosixError('EIO')
      await engine.sync(ctx)
    },
    async copy(ctx, from, view, fromOffset, to, toOffset, length, effects) {
      const buffer = new Uint8Array(length)
      const n = await data.read(ctx, from, view, fromOffset, length, buffer, 0)
      if (n > 0) await data.write(ctx, to, toOffset, buffer, 0, n, effects)
      return n
    },
    hasUnsynced: () => false,
    hurry: (ino) => void data.hurried.add(ino),
    quiesce: (_ctx, fn) => fn(),
    flush: () => Promise.resolve(),
    restore: () => Promise.reject(new PosixError('EOPNOTSUPP')),
    dropHistory: (ctx, keys) => engine.transact(ctx, (tx) => keys.forEach((key) => tx.delete(key))),
    status: () => ({ files: files.size, ranges: 0, loggedBytes: 0, dirtyFiles: 0 }),
    syncAll: (ctx) => engine.sync(ctx),
    async reclaimStep(_ctx, ino) {
      data.reclaimSteps++
      const bytes = files.get(ino)
      if (bytes === undefined || bytes.held.size === 0) {
        files.delete(ino)
        return true
      }
      for (const unit of [...bytes.held].slice(0, 64)) bytes.held.delete(unit)
      return false
    },
    reclaimTogether: () => Promise.resolve([]),
    recover: () => Promise.resolve(),
    dirtyBytes: () => 0,
    close: () => Promise.resolve(),
  }
  return data
}
