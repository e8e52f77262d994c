/**
 * When bytes go to the disk, and who learns that they did not.
 *   - Bytes of writes above LOGGED_MAX_BYTES go to the store first and are durable only after a sync; smaller ones ride in
 *     the log, unless they are many. So only files with such writes need a sync before a rename over another file, and only they are hurried.
 *   - What is written after a truncation to 0 is hurried, until the file is closed (what ext4 does for programs that rewrite
 *     a file in place).
 *   - A failed write-out is told once to every file that was open when it failed; if none was, to the next opener.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import { LOGGED_MAX_BYTES } from '../data/index.js'
import type { Inode } from '../meta/index.js'
import { isRegular } from './core.js'
import type { Parts } from './core.js'

/** Bytes that nobody synced are on the disk well before this (contract: 5 s). */
const WRITTEN_OUT_MS = 10_000

/** What an open file has been told of failures. */
export interface ErrorCursor {
  failuresSeen: number
}

export interface Writeout {
  wrote(ino: number, lengthBytes: number): void
  truncatedToZero(ino: number): void
  /** fsync: durable, or the error, recorded for every open file. */
  sync(ctx: Context, ino: number): Promise<void>
  /** Before a rename over a file: what the store has of this one reaches the disk. */
  syncBeforeReplace(ctx: Context, inode: Inode): Promise<void> | undefined
  cursor(ino: number): number
  /** Throws EIO if this open file has not been told of the last failure. */
  report(ino: number, file: ErrorCursor): void
  /** No handle is open any more, or the inode is gone. */
  closed(ino: number): void
  gone(ino: number): void
}

export function openWriteout(parts: Parts): Writeout {
  const { engine, data, clock } = parts
  let unsynced = new Set<number>() // has bytes in the store that nobody synced, as far as we know
  let unsyncedBefore = new Set<number>() // the same, older; forgotten once the pool has surely written them out
  let rotatedMs = clock.monotonicMs()
  const rewritten = new Set<number>() // truncated to 0 and not closed since
  const failures = new Map<number, { count: number; told: boolean }>()

  const noteUnsynced = (ino: number): void => {
    const nowMs = clock.monotonicMs()
    if (nowMs - rotatedMs > WRITTEN_OUT_MS) {
      unsyncedBefore = unsynced
      unsynced = new Set()
      rotatedMs = nowMs
    }
    unsynced.add(ino)
  }

  const failed = (ino: number): void => {
    const before = failures.get(ino)
    failures.set(ino, { count: (before?.count ?? 0) + 1, told: false })
  }

  const sync = async (ctx: Context, ino: number): Promise<void> => {
    const committed = engine.committedSeq()
    unsynced.delete(ino)
    unsyncedBefore.delete(ino)
    try {
      await data.sync(ctx, ino)
      // A file with nothing to write out may still have attributes that are not durable.
      if (engine.durableSeq() < committed) await engine.sync(ctx)
    } catch (e) {
      if (!(e instanceof PosixError && e.code === 'EINTR')) failed(ino) // who was interrupted lost nothing
      throw e
    }
  }

  return {
    wrote(ino, lengthBytes) {
      if (lengthBytes <= LOGGED_MAX_BYTES && !data.hasUnsynced(ino)) return
      noteUnsynced(ino)
      if (rewritten.size > 0 && rewritten.has(ino)) data.hurry(ino)
    },
    truncatedToZero: (ino) => void rewritten.add(ino),
    sync,
    syncBeforeReplace(ctx, inode) {
      if (!isRegular(inode)) return
      if (!unsynced.has(inode.ino) && !unsyncedBefore.has(inode.ino) && inode.durableSizeBytes >= inode.sizeBytes) return
      return sync(ctx, inode.ino)
    },
    cursor(ino) {
      const failure = failures.get(ino)
      return failure === undefined ? 0 : failure.told ? failure.count : failure.count - 1
    },
    report(ino, file) {
      const failure = failures.get(ino)
      if (failure === undefined || failure.count === file.failuresSeen) return
      file.failuresSeen = failure.count
      failure.told = true
      throw new PosixError('EIO')
    },
    closed: (ino) => void rewritten.delete(ino),
    gone(ino) {
      unsynced.delete(ino)
      unsyncedBefore.delete(ino)
      rewritten.delete(ino)
      failures.delete(ino)
    },
  }
}
