/**
 * The store `space`: one sparse file of the host with our allocator.
 *   - Reads are answered in the tick if the page cache holds them (RWF_NOWAIT), else off the loop. Writes go to the page cache:
 *     in the tick up to WRITE_NOW_MAX_BYTES, larger ones off the loop, so that no copy holds the loop up.
 *   - Write-out of streams starts early (sync_file_range for every WRITE_OUT_BYTES that follow each other), so that a sync
 *     finds little to do and an fsync next door does not wait for a stream.
 *   - sync is one fdatasync for all who wait. One that fails is final: EIO for them and for all later ones, no write and no
 *     allocation any more (EROFS), until the pool was checked and is opened again.
 */
import { assert, check, ERRNO, PosixError, rootContext } from '../../sys/index.js'
import type { Clock, Random, Timer } from '../../sys/index.js'
import type { Engine, MaybePromise } from '../../engine/index.js'
import { UNIT_BYTES } from '../store.js'
import type { Store } from '../store.js'
import { makeAllocator } from './allocator.js'
import { openGroups } from './groups.js'
import { DATA_START_BYTES, decodeHeader, encodeHeader, HEADER_BYTES } from './header.js'
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
  readonly io?: SpaceIo
}

const WRITE_NOW_MAX_BYTES = 128 * 1024
const WRITE_OUT_BYTES = 2 * 1024 * 1024
const STREAMS_MAX = 16
const REAP_EVERY_MS = 1000

/** Makes the space file and its rows. Throws EEXIST, ENOSPC, EINVAL (too small). */
export async function formatSpace({ engine, path, sizeBytes, random, io = hostIo }: FormatOptions): Promise<void> {
  const size = Math.floor(sizeBytes / GROUP_BYTES) * GROUP_BYTES
  if (size < GROUP_BYTES) throw new PosixError('EINVAL', `a space has at least ${GROUP_BYTES} bytes`)
  const file = io.create(path, DATA_START_BYTES + size)
  try {
    const header = encodeHeader({ sizeBytes: size, uuid: random.bytes(16) })
    const rc = check(await file.write(header, 0, HEADER_BYTES, 0), 'pwrite', path)
    if (rc < HEADER_BYTES) throw new PosixError('ENOSPC', `${path}: the host has no space for the header`)
    check(await file.sync(), 'fdatasync', path)
    await engine.transact(rootContext, (tx) => tx.createCounters(COUNTERS_KEY, [0]))
  } finally {
    file.close()
  }
}

/** Opens a space: reads its header and the coarse map, nothing else. EUCLEAN with a sentence if it is none of ours. */
export async function openSpace({ engine, path, clock, io = hostIo }: SpaceOptions): Promise<Store> {
  const file = io.open(path)
  try {
    const bytes = new Uint8Array(HEADER_BYTES)
    check(await file.read(bytes, 0, HEADER_BYTES, 0), 'pread', path)
    const { sizeBytes } = decodeHeader(bytes, path)
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
    const groups = openGroups({ engine, file, clock, count, isCoarse, sweep: !clean, promiseAgain: !clean && !sameBoot })
    const allocator = makeAllocator(engine, groups, counters[0])
    return makeSpace(file, clock, sizeBytes, allocator, clean, async () => {
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

function makeSpace(file: SpaceFile, clock: Clock, sizeBytes: number, allocator: Allocator, clean: boolean, stopGroups: () => Promise<void>): Store {
  let failed: string | undefined
  let closed: Promise<void> | undefined
  let dirtyBytes = 0
  let isUnsure = !clean // the daemon before us may have left bytes in the page cache that nobody synced
  let syncing: Promise<void> | undefined // the one that runs
  let nextSync: Promise<void> | undefined // the one that starts after it: whoever asks now waits for this
  const inBackground = new Set<Promise<unknown>>()
  const streams: { end: number; started: number }[] = [] // most recent last
  const reaping: Timer = clock.every(REAP_EVERY_MS, () => allocator.reap())

  const refuse = (): PosixError => new PosixError('EROFS', `the store takes no writes: ${failed}`)

  async function syncNow(): Promise<void> {
    const before = dirtyBytes
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
    assert(start >= 0 && length >= 0 && start + length <= sizeBytes, 'a range lies in the space')
  }

  async function readSlowly(start: number, length: number, into: Uint8Array, at: number): Promise<void> {
    for (let done = 0; done < length;) {
      const rc = await file.read(into, at + done, length - done, DATA_START_BYTES + start + done)
      if (rc === -ERRNO.EINTR) continue
      if (rc <= 0) throw new PosixError('EIO', `the space failed at ${start + done}: errno ${-rc}`)
      done += rc
    }
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

  /** Streams are told by writes that follow each other. */
  function startWriteOut(start: number, length: number): void {
    const i = streams.findLastIndex((s) => s.end === start)
    const stream = i >= 0 ? streams.splice(i, 1)[0] : { end: start, started: start }
    stream.end += length
    streams.push(stream)
    if (streams.length > STREAMS_MAX) streams.shift()
    if (stream.end - stream.started < WRITE_OUT_BYTES) return
    const running = file.startWriteOut(DATA_START_BYTES + stream.started, stream.end - stream.started)
    stream.started = stream.end
    const settled: Promise<unknown> = running.finally(() => inBackground.delete(settled)) // errors come back from the sync
    inBackground.add(settled)
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
    freed: (pieces) => allocator.freed(pieces),
    hold(ctx, lengthBytes) {
      if (failed !== undefined) throw refuse()
      return allocator.hold(ctx, lengthBytes)
    },
    unhold: (lengthBytes) => allocator.unhold(lengthBytes),
    read(_ctx, startBytes, lengthBytes, into, at): MaybePromise<void> {
      inRange(startBytes, lengthBytes)
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
    status: () => ({
      sizeBytes, usedBytes: allocator.usedUnits() * UNIT_BYTES, freeBytes: allocator.freeUnits() * UNIT_BYTES,
      dirtyBytes, freeExtents: allocator.fragments(), failed
    }),
    close() {
      closed ??= (async () => {
        reaping.stop()
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
