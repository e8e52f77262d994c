/** Opens the data floor: what its parts do, as one object. The contract is data.ts. */
import type { Clock, Context } from '../sys/index.js'
import type { Engine, MaybePromise } from '../engine/index.js'
import type { Store } from '../store/index.js'
import { changes } from './comparing.js'
import { LOGGED_MAX_BYTES } from './content.js'
import type { ChangeContent, ChangeContents, Content, ContentEffects, ReadContent, View } from './content.js'
import type { Data } from './data.js'
import { BACKGROUND, FILE_ENTRIES, makeFloor } from './files.js'
import { dropHistory } from './forgetting.js'
import { flatten, lentBytesOf } from './flattening.js'
import { withOrigin } from './lending.js'
import { startMerging } from './merging.js'
import { layout, read, seek } from './reading.js'
import { restore } from './restoring.js'
import { punch, reclaimStep, reclaimTogether, reserve, truncate, zero } from './shaping.js'
import { copy } from './sharing.js'
import { quiesce, recover, startBackground, sync, syncAll } from './syncing.js'
import { settleTimes } from './times.js'
import { write } from './writing.js'

export interface DataOptions {
  readonly engine: Engine
  readonly store: Store
  readonly clock: Clock
  readonly changeContent: ChangeContent
  readonly changeContents: ChangeContents
  readonly readContent: ReadContent
  /** Keeps older versions of Ogee out of the pool, durably, before the first extent is shared. */
  readonly needSharing?: () => Promise<void>
  /** Logged bytes older than this are flushed. */
  readonly flushAgeMs?: number
  /** So many logged bytes are flushed at once. With three times as many writers are slowed, with five they wait. */
  readonly flushBytes?: number
  /** After so many bytes of small writes since its last fsync a file's go to the store at once. */
  readonly directAfterBytes?: number
}

const FLUSH_AGE_MS = 3000
const FLUSH_BYTES = 8 * 1024 * 1024
/** An fsync of so many bytes takes the store's sync in its stride; of fewer the log's alone is faster. */
const DIRECT_AFTER_BYTES = 1024 * 1024

export function openData(options: DataOptions): Data {
  const { engine, store, clock, changeContent, changeContents, readContent, flushAgeMs = FLUSH_AGE_MS, flushBytes = FLUSH_BYTES, directAfterBytes = DIRECT_AFTER_BYTES } = options
  const floor = makeFloor(engine, store, clock, changeContent, changeContents, readContent)
  if (options.needSharing !== undefined) floor.needSharing = options.needSharing
  floor.compose = (own, origin) => withOrigin(floor, own, origin)
  floor.direct = { afterBytes: directAfterBytes, loggedBytes: flushBytes * 2 }
  const background = startBackground(floor, { flushAgeMs, flushBytes })
  const merging = startMerging(floor)
  let closed: Promise<void> | undefined
  engine.onBeforeCheckpoint(async (ctx) => {
    if (closed === undefined) await background.flushAll({ ctx, ready: true }).catch(() => undefined) // what stays logged goes to the checkpoint as rows
  })

  const slowly = async (waiting: Promise<void>, ctx: Context, ino: number, offset: number | 'end', from: Uint8Array, at: number, length: number, effects: ContentEffects): Promise<Content> => {
    await waiting
    return write(floor, ctx, ino, offset, from, at, length, effects)
  }

  const data: Data = {
    read: (ctx, ino, view, offset, length, into, at): MaybePromise<number> => read(floor, ctx, ino, view, offset, length, into, at),
    write(ctx, ino, offset, from, at, length, effects) {
      const waiting = length <= LOGGED_MAX_BYTES ? background.throttle(ctx, length) : undefined
      return waiting === undefined ? write(floor, ctx, ino, offset, from, at, length, effects) : slowly(waiting, ctx, ino, offset, from, at, length, effects)
    },
    truncate: (ctx, ino, size, effects) => truncate(floor, ctx, ino, size, effects),
    reserve: (ctx, ino, offset, length, keepSize, effects) => reserve(floor, ctx, ino, offset, length, keepSize, effects),
    punch: (ctx, ino, offset, length, effects) => punch(floor, ctx, ino, offset, length, effects),
    zero: (ctx, ino, offset, length, keepSize, effects) => zero(floor, ctx, ino, offset, length, keepSize, effects),
    copy: (ctx, from, view, fromOffset, to, toOffset, length, effects, wish) => copy(floor, ctx, from, view, fromOffset, to, toOffset, length, effects, wish),
    settleTimes: (ino) => settleTimes(floor, ino),
    seekData: (ctx, ino, view: View, offset) => seek(floor, ctx, ino, view, offset, 'data'),
    seekHole: (ctx, ino, view: View, offset) => seek(floor, ctx, ino, view, offset, 'hole'),
    layout: (ctx, ino, view, offset, length, limit) => layout(floor, ctx, ino, view, offset, length, limit),
    changes: (ctx, ino, one, other) => changes(floor, ctx, ino, one, other),
    sync: (ctx, ino) => sync(floor, ctx, ino),
    syncAll: (ctx) => syncAll(floor, ctx),
    hurry: (ino) => background.hurry(ino),
    hasUnsynced: (ino) => (floor.files.get(ino)?.unsyncedSinceMs ?? Infinity) < Infinity,
    quiesce: (ctx, fn) => quiesce(floor, ctx, fn),
    restore: (ctx, ino, view, effects) => restore(floor, ctx, ino, view, effects),
    flatten: (ctx, ino, how, progress, ended) => flatten(floor, ctx, ino, how, progress, ended),
    lentBytes: (ctx, ino) => lentBytesOf(floor, ctx, ino),
    dropHistory: (ctx, keys) => dropHistory(floor, ctx, keys),
    flush: () => background.flushAll({ ctx: BACKGROUND, ready: false }),
    reclaimStep: (ctx, ino) => reclaimStep(floor, ctx, ino),
    reclaimTogether: (ctx, inos) => reclaimTogether(floor, ctx, inos),
    recover: (ctx) => recover(floor, ctx),
    dirtyBytes: () => store.status().dirtyBytes,
    status: () => ({ files: floor.files.size, ranges: floor.entries - floor.files.size * FILE_ENTRIES, loggedBytes: floor.loggedBytes, dirtyFiles: floor.dirty.size }),
    close() {
      closed ??= (async () => {
        await merging.stop()
        await background.stop()
        floor.owingTimer?.stop()
        await background.flushAll({ ctx: BACKGROUND, ready: false }).catch(() => undefined) // what stays logged is in the engine
        await syncAll(floor, BACKGROUND)
      })()
      return closed
    }
  }
  return data
}
