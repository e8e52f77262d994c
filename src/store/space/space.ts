/**
 * The store `space`: one sparse file of the host with our allocator.
 *   - Reads are answered in the tick if the page cache holds them (RWF_NOWAIT), else off the loop. Large ones of which it holds nothing go
 *     past it: whoever reads much keeps it himself (the kernel's cache of the file above us), and one copy is saved. Writes go to the page cache:
 *     in the tick up to WRITE_NOW_MAX_BYTES, larger ones off the loop, so that no copy holds the loop up.
 *   - Write-out of streams starts early (sync_file_range for every WRITE_OUT_BYTES that follow each other), so that a sync
 *     finds little to do and an fsync next door does not wait for a stream.
 *   - sync is one fdatasync for all who wait. One that fails is final: EIO for them and for all later ones, no write and no
 *     allocation any more (EROFS), until the pool was checked and is opened again.
 */
import { check, ERRNO, PosixError, rootContext } from '../../sys/index.js'
import type { Clock, Random, Timer } from '../../sys/index.js'
import type { Engine, MaybePromise } from '../../engine/index.js'
import { UNIT_BYTES } from '../store.js'
import type { Store } from '../store.js'
import { makeAllocator } from './allocator.js'
import { openGroups } from './groups.js'
import { COPIES_BYTES, DATA_START_BYTES, decodeCopies, encodeHeader, HEADER_BYTES, SECOND_COPY_AT } from './header.js'
import type { SpaceHeader } from './header.js'
import { hostIo } from './io.js'
import type { SpaceFile, SpaceIo } from './io.js'
import { COARSE_BITS, coarseKey, COUNTERS_KEY, GROUP_BYTES } from './keys.js'

export interface SpaceOptions {
  readonly engine: Engine
  readonly path: string
  readonly clock: Clock
  readonly io?: SpaceIo
}
export interface FormatOptions {
  readonly engine: Engine
  readonly path: string
  /** Rounded down to whole block groups of 4 MiB. */
  readonly sizeBytes: number
  readonly random: Random
  /** The host's space for all of it now, not as it fills; it is never given back. ENOSPC if the host has not so much. */
  readonly preallocate?: boolean
  readonly io?: SpaceIo
}

const WRITE_NOW_MAX_BYTES = 128 * 1024
const WRITE_OUT_BYTES = 2 * 1024 * 1024
/** The largest step of the write-out of scattered writes. */
const SCATTERED_MAX_BYTES = 8 * WRITE_OUT_BYTES
const STREAMS_MAX = 16
const REAP_AFTER_MS = 1000

/** Makes the space file and its rows. Throws EEXIST, ENOSPC, EINVAL (too small). */
export async function formatSpace({ engine, path, sizeBytes, random, preallocate = false, io = hostIo }: FormatOptions): Promise<void> {
  const size = Math.floor(sizeBytes / GROUP_BYTES) * GROUP_BYTES
  if (size < GROUP_BYTES) throw new PosixError('EINVAL', `a space has at least ${GROUP_BYTES} bytes`)
  const file = io.create(path, DATA_START_BYTES + size)
  try {
    if (preallocate) check(await file.fallocate(DATA_START_BYTES, size), 'fallocate', path)
    await writeHeader(file, path, { sizeBytes: size, preallocated: preallocate, uuid: random.bytes(16) })
    await engine.transact(rootContext, (tx) => tx.createCounters(COUNTERS_KEY, [0]))
  } finally {
    file.close()
  }
}

/** Both copies, the second first, each synced. */
async function writeHeader(file: SpaceFile, path: string, header: SpaceHeader): Promise<void> {
  const bytes = encodeHeader(header)
  for (const at of [SECOND_COPY_AT, 0]) {
    const rc = check(await file.write(bytes, 0, HEADER_BYTES, at), 'pwrite', path)
    if (rc < HEADER_BYTES) throw new PosixError('ENOSPC', `${path}: the host has no space for the header`)
    check(await file.sync(), 'fdatasync', path)
  }
}

/** Opens a space: reads its header and the coarse map, nothing else. EUCLEAN with a sentence if it is none of ours. */
export async function openSpace({ engine, path, clock, io = hostIo }: SpaceOptions): Promise<Store> {
  const file = io.open(path)
  try {
    const bytes = new Uint8Array(COPIES_BYTES)
    check(await file.read(bytes, 0, COPIES_BYTES, 0), 'pread', path)
    const header = decodeCopies(bytes, path)
    const { sizeBytes } = header
    const reader = engine.reader(rootContext)
    const counters = await reader.counters(COUNTERS_KEY)
    if (counters === undefined) throw new PosixError('EUCLEAN', `${path} has no rows in the pool's metadata: it belongs to another pool`)
    const count = sizeBytes / GROUP_BYTES
    const rows: (Uint8Array | undefined)[] = []
    for (let g = 0; g < count; g += COARSE_BITS) rows.push(await reader.bits(coarseKey(g)))
    const isCoarse = (group: number): boolean => {
      const row = rows[Math.floor(group / COARSE_BITS)]
      const bit = group % COARSE_BITS
      return row !== undefined && ((row[bit >> 3] >> (bit & 7)) & 1) === 1
    }
    const { clean, sameBoot } = engine.recovery
    const groups = openGroups({ engine, file, clock, count, isCoarse, keeps: header.preallocated, sweep: !clean, promiseAgain: !clean && !sameBoot })
    const allocator = makeAllocator(engine, groups, counters[0])
    const grow = async (size: number): Promise<void> => {
      const { sizeBytes: before, preallocated } = current
      if (size <= before || size % GROUP_BYTES !== 0) throw new PosixError('EINVAL', `a space of ${before} bytes cannot become one of ${size}`)
      if (file.resize === undefined) throw new PosixError('EOPNOTSUPP', `${path} cannot grow`)
      check(await file.resize(DATA_START_BYTES + size), 'ftruncate', path)
      if (preallocated) check(await file.fallocate(DATA_START_BYTES + before, size - before), 'fallocate', path)
      check(await file.sync(), 'fdatasync', path)
      await writeHeader(file, path, { ...current, sizeBytes: size })
      current = { ...current, sizeBytes: size }
      groups.grow(size / GROUP_BYTES)
    }
    let current: SpaceHeader = header
    return makeSpace(file, clock, () => current.sizeBytes, grow, allocator, clean, async () => {
      try {
        await engine.sync(rootContext) // what was freed is free for good
        allocator.reap()
      } finally {
        await groups.stop()
      }
    })
  } catch (e) {
    file.close()
    throw e
  }
}

type Allocator = ReturnType<typeof makeAllocator>

function makeSpace(file: SpaceFile, clock: Clock, sizeOf: () => number, growTo: (size: number) => Promise<void>, allocator: Allocator, clean: boolean, stopGroups: () => Promise<void>): Store {
  let failed: string | undefined
  let closed: Promise<void> | undefined
  let growing: Promise<void> = Promise.resolve()
  let dirtyBytes = 0
  let isUnsure = !clean // the daemon before us may have left bytes in the page cache that nobody synced
  let syncing: Promise<void> | undefined // the one that runs
  let nextSync: Promise<void> | undefined // the one that starts after it: whoever asks now waits for this
  const inBackground = new Set<Promise<unknown>>()
  const scattered = { bytes: 0, step: WRITE_OUT_BYTES, from: Infinity, to: 0, running: false }
  const streams: { end: number; started: number }[] = [] // most recent last
  let reaping: Timer | undefined // only while something waits to be free: an idle pool wakes nobody

  function reapLater(): void {
    if (closed === undefined) reaping ??= clock.after(REAP_AFTER_MS, () => {
      reaping = undefined
      if (allocator.reap()) reapLater()
    })
  }

  const refuse = (): PosixError => new PosixError('EROFS', `the store takes no writes: ${failed}`)

  async function syncNow(): Promise<void> {
    const before = dirtyBytes
    scattered.step = WRITE_OUT_BYTES
    const rc = await file.sync()
    if (rc < 0) failed ??= `fdatasync of the space failed (errno ${-rc}); check the disk, then the pool`
    else {
      dirtyBytes -= before
      isUnsure = false
    }
  }

  function sync(): Promise<void> {
    const answer = (): void => {
      if (failed !== undefined) throw new PosixError('EIO', failed)
    }
    if (failed !== undefined) return Promise.reject(new PosixError('EIO', failed))
    if (syncing === undefined) {
      if (dirtyBytes === 0 && !isUnsure) return Promise.resolve()
      syncing = syncNow().finally(() => (syncing = undefined))
      return syncing.then(answer)
    }
    nextSync ??= syncing.then(() => {
      nextSync = undefined
      return sync()
    })
    return nextSync
  }

  function inRange(start: number, length: number): void {
    if (!(start >= 0 && length >= 0 && start + length <= sizeOf())) throw new PosixError('EIO', `the space has no range ${start}+${length}: run ogee fsck on the pool`)
  }

  function readSlowly(start: number, length: number, into: Uint8Array, at: number): Promise<void> {
    return file.read(into, at, length, DATA_START_BYTES + start).then((rc) => {
      if (rc === length) return
      if (rc <= 0 && rc !== -ERRNO.EINTR) throw new PosixError('EIO', `the space failed at ${start}: errno ${-rc}`)
      const done = Math.max(0, rc)
      return readSlowly(start + done, length - done, into, at + done)
    })
  }

  async function writeSlowly(start: number, from: Uint8Array, at: number, length: number): Promise<void> {
    for (let done = 0; done < length;) {
      const rc = await file.write(from, at + done, length - done, DATA_START_BYTES + start + done)
      if (rc === -ERRNO.EINTR) continue
      if (rc <= 0) throw new PosixError(rc === -ERRNO.ENOSPC ? 'ENOSPC' : 'EIO', `the space failed at ${start + done}: errno ${-rc}`)
      done += rc
    }
  }

  /** Counted only now: a sync that began before has not seen these bytes. */
  function wrote(start: number, length: number): void {
    dirtyBytes += length
    startWriteOut(start, length)
  }

  /** Streams are told by writes that follow each other; what follows nothing is counted together. */
  function startWriteOut(start: number, length: number): void {
    const i = streams.findLastIndex((s) => s.end === start)
    const stream = i >= 0 ? streams.splice(i, 1)[0] : { end: start, started: start }
    stream.end += length
    streams.push(stream)
    if (streams.length > STREAMS_MAX) streams.shift()
    if (stream.end - stream.started >= WRITE_OUT_BYTES) {
      void writeOut(stream.started, stream.end)
      stream.started = stream.end
    } else if (i < 0) scatter(start, length)
  }

  /**
   * One after the other: the kernel looks at the whole range. Each step is twice the one before: whoever writes on without a sync gets
   * his pages written in larger and denser lots, and past SCATTERED_MAX_BYTES not before the sync, which finds them in order.
   */
  function scatter(start: number, length: number): void {
    const { step } = scattered
    if (step > SCATTERED_MAX_BYTES) return
    scattered.bytes += length
    scattered.from = Math.min(scattered.from, start)
    scattered.to = Math.max(scattered.to, start + length)
    if (scattered.bytes < step || scattered.running) return
    scattered.running = true
    void writeOut(scattered.from, scattered.to).finally(() => (scattered.running = false))
    scattered.step = step * 2
    scattered.bytes = 0
    scattered.from = Infinity
    scattered.to = 0
  }

  function writeOut(from: number, to: number): Promise<unknown> {
    const settled: Promise<unknown> = file.startWriteOut(DATA_START_BYTES + from, to - from).finally(() => inBackground.delete(settled)) // errors come back from the sync
    inBackground.add(settled)
    return settled
  }

  return {
    kind: 'space',
    allocate(ctx, request) {
      if (failed !== undefined) throw refuse()
      return allocator.allocate(ctx, request)
    },
    release: (pieces) => allocator.release(pieces),
    commitAllocated: (tx, pieces) => allocator.commitAllocated(tx, pieces),
    commitFreed: (tx, pieces) => allocator.commitFreed(tx, pieces),
    freed(pieces) {
      allocator.freed(pieces)
      reapLater()
    },
    hold(ctx, lengthBytes) {
      if (failed !== undefined) throw refuse()
      return allocator.hold(ctx, lengthBytes)
    },
    unhold: (lengthBytes) => allocator.unhold(lengthBytes),
    read(_ctx, startBytes, lengthBytes, into, at): MaybePromise<void> {
      inRange(startBytes, lengthBytes)
      const past = file.readPast?.(into, at, lengthBytes, DATA_START_BYTES + startBytes)
      if (past !== undefined) return past.then((rc) => {
        if (rc === lengthBytes) return
        const done = Math.max(0, rc) // refused, or cut short: the page cache's way knows why
        return readSlowly(startBytes + done, lengthBytes - done, into, at + done)
      })
      const rc = file.readNow(into, at, lengthBytes, DATA_START_BYTES + startBytes)
      if (rc === lengthBytes) return
      if (rc < 0 && rc !== -ERRNO.EAGAIN && rc !== -ERRNO.EINTR) throw new PosixError('EIO', `the space failed at ${startBytes}: errno ${-rc}`)
      const done = Math.max(0, rc)
      return readSlowly(startBytes + done, lengthBytes - done, into, at + done)
    },
    write(_ctx, startBytes, from, at, lengthBytes): MaybePromise<void> {
      if (failed !== undefined) throw refuse()
      inRange(startBytes, lengthBytes)
      if (lengthBytes <= WRITE_NOW_MAX_BYTES) {
        const rc = file.writeNow(from, at, lengthBytes, DATA_START_BYTES + startBytes)
        if (rc === lengthBytes) return wrote(startBytes, lengthBytes)
        if (rc < 0 && rc !== -ERRNO.EINTR && rc !== -ERRNO.EAGAIN) throw new PosixError(rc === -ERRNO.ENOSPC ? 'ENOSPC' : 'EIO', `the space failed at ${startBytes}: errno ${-rc}`)
      }
      const written = writeSlowly(startBytes, from, at, lengthBytes)
      return written.then(() => wrote(startBytes, lengthBytes))
    },
    sync,
    grow(sizeBytes) {
      if (failed !== undefined) throw refuse()
      growing = growing.then(() => growTo(sizeBytes), () => growTo(sizeBytes))
      return growing
    },
    status: () => ({
      sizeBytes: sizeOf(), usedBytes: allocator.usedUnits() * UNIT_BYTES, freeBytes: allocator.freeUnits() * UNIT_BYTES,
      keptBytes: allocator.keptUnits() * UNIT_BYTES, dirtyBytes, freeExtents: allocator.fragments(), failed
    }),
    close() {
      closed ??= (async () => {
        reaping?.stop()
        await growing.catch(() => undefined) // told to who asked for it
        try {
          await stopGroups()
          await Promise.all(inBackground)
          if (failed === undefined) await sync()
        } finally {
          failed ??= 'it is closed'
          file.close()
        }
      })()
      return closed
    }
  }
}
