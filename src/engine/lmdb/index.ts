/**
 * The embedded engine: LMDB behind a log.
 *   - A commit validates, takes its place in the overlay and in the log's buffer within one tick; all commits of a tick go
 *     to the log with one pwrite, in a microtask, and their promises resolve after it. It outlives the process from then on.
 *   - Readers see a commit from the moment it is in the overlay, a microtask before its bytes are in the page cache. What they
 *     answer may leave earlier; that matters only if the write fails, and then the engine has failed and answers EIO to all.
 *   - After a failed write or fdatasync the engine takes no more commits; reads go on.
 */
import { bootId as systemBootId, PosixError, systemClock, systemRandom } from '../../sys/index.js'
import type { Clock, Context, Random } from '../../sys/index.js'
import { makeAnswers } from '../answers.js'
import type { Engine, Key, MaybePromise, Reader } from '../engine.js'
import { EngineError } from '../errors.js'
import { BITS, entryOf, GONE, goneEntry } from '../rows.js'
import { COMMITTED, CONFLICT, FULL, inTime, makeGate, makeTransact } from '../runner.js'
import type { Backend, Outcome } from '../runner.js'
import { bitmapReplayed, readerOf } from '../transaction.js'
import type { Source, TxRun } from '../transaction.js'
import { makeCheckpoints } from './checkpoint.js'
import { makeDurability } from './durability.js'
import { cutLog, damagedLog, isDamage, lookBehind } from './damage.js'
import { openFiles } from './files.js'
import type { PoolRow, SessionRow } from './files.js'
import { RING_AT, recordBytesBound } from './format.js'
import type { ReplaySink } from './format.js'
import { systemIo } from './io.js'
import type { LogIo } from './io.js'
import { hashOfKey } from './packed.js'
import type { OnDamaged, Tables } from './tables.js'
import { noSink } from './inspect.js'
import { makeLayers } from './layers.js'
import type { Layers } from './layers.js'
import { makeLog, readMark, recordAt, replayLog } from './log.js'

export { systemIo }
export type { LogIo }

export { rowName } from './tables.js'
export type { DamagedRow, OnDamaged } from './tables.js'
export { inspectLog } from './inspect.js'
export { inspectPages } from './precheck.js'
export type { LogFindings } from './inspect.js'

const MIB = 1024 * 1024
const WRITE_NOW_BYTES = MIB // of pending records: written without waiting for the tick's end
const LOG_BYTES_MIN = 256 * 1024

export interface LmdbOptions {
  readonly folder: string
  readonly clock?: Clock
  readonly random?: Random
  /** Changes when the machine reboots. */
  readonly bootId?: string
  readonly readOnly?: boolean
  /** The ring's size, for a pool that is made now. */
  readonly logBytes?: number
  /** A checkpoint starts when so much of the log is used. */
  readonly checkpointAtBytes?: number
  /** Of rows that LMDB holds, in memory. */
  readonly cacheBytes?: number
  readonly eventsKept?: number
  readonly io?: LogIo
  /** A log that is damaged is refused, but for a repair: what cannot be reached behind the damage is given up. */
  readonly damagedLog?: 'cut'
  readonly onDamaged?: OnDamaged
}

/** Replay fills the overlay, past the cache: nobody has read anything yet. */
function replaySink(layers: Layers, tables: Tables, addAnswer: (session: number, requestId: string, result: Uint8Array) => void): ReplaySink {
  const { rows, events } = layers.active
  return {
    put: rows.setStored,
    remove: rows.remove,
    bits(key, sizeBits, ranges, seq) {
      const hash = hashOfKey(key)
      const row = rows.find(key, hash)
      const base = row === 0 ? tables.find(key) : rows.entry(row)
      const bitmap = bitmapReplayed(base === undefined || base.kind === GONE ? undefined : base.bytes, sizeBits, ranges)
      rows.set(key, hash, bitmap === undefined ? goneEntry(seq) : entryOf(BITS, seq, bitmap, undefined))
    },
    event: (session, n, record, at, end) => events.add(session, n, record, at, end),
    answer: ({ session, requestId, result }) => addAnswer(session, requestId, result)
  }
}

const OVERTAKEN = new Error('a writer went once around the log while it was read')

/**
 * With `readOnly` a writer may have the folder open in another process: the engine then shows what a crash now would leave, one state
 * for as long as it is open. The writer's log grows meanwhile as ever, its LMDB file keeps the pages of that state.
 */
export async function openLmdb(options: LmdbOptions): Promise<Engine> {
  for (;;) {
    try {
      return await openOnce(options)
    } catch (e) {
      if (e !== OVERTAKEN) throw e
    }
  }
}

async function openOnce(options: LmdbOptions): Promise<Engine> {
  const { folder, clock = systemClock, random = systemRandom, bootId = systemBootId(), readOnly = false, io = systemIo,
    logBytes = 64 * MIB, cacheBytes = 32 * MIB, eventsKept = 65_536 } = options
  if (logBytes < LOG_BYTES_MIN) throw new EngineError('ENGINE_OPTIONS', `A log of ${logBytes} bytes is too small: give it at least ${LOG_BYTES_MIN}.`)

  const { fd, header, tables, session: before, checkpoint } = await openFiles({ folder, io, random, bootId, readOnly, logBytes, onDamaged: options.onDamaged })
  const { ringBytes } = header
  const reserveBytes = ringBytes >> 3
  const recordBytesLimit = ringBytes >> 2
  const checkpointAtBytes = Math.min(options.checkpointAtBytes ?? 24 * MIB, ringBytes >> 1)

  async function orClose<T>(work: () => MaybePromise<T>): Promise<T> {
    try {
      return await work()
    } catch (e) {
      io.close(fd)
      await tables.close()
      throw e
    }
  }

  const must = (rc: number, what: string): void => {
    if (rc < 0) throw new EngineError('ENGINE_IO', `${what} the log in ${folder} failed (errno ${-rc}): check the disk before you mount the pool again.`)
  }
  const sameBoot = before.bootId === bootId && !before.cut

  // what LMDB holds, and over it what the log holds
  const layers = makeLayers(tables, cacheBytes, checkpoint.seq)
  const answers = makeAnswers()
  for (const { session, requestId, result } of tables.answers()) answers.add(session, requestId, result)
  let answersCount = checkpoint.answers
  function addAnswer(ofSession: number, requestId: string, result: Uint8Array): void {
    answers.add(ofSession, requestId, result)
    layers.active.answers.push({ count: answersCount++, answer: { session: ofSession, requestId, result } })
  }
  const { replayed, isCut, log } = await orClose(() => {
    const first = recordAt(io, fd, header, checkpoint.address)
    const replayed = replayLog(io, fd, header, checkpoint, replaySink(layers, tables, addAnswer))
    // a writer may be at work: the log from our mark on is whole until a later mark, and after that until its first record is overwritten
    // closed in order, and all of it is here: nothing can lie behind
    const behind = before.clean && replayed.end.seq >= Math.max(before.durable, readMark(io, fd, header)) ? undefined : lookBehind(io, fd, header, checkpoint, replayed.end, before)
    let isDamaged = behind !== undefined && isDamage(replayed.end, behind, sameBoot)
    if (isDamaged && readOnly) isDamaged = replayLog(io, fd, header, replayed.end, noSink).records === 0 // a writer may have gone on
    const isWhole = !readOnly || !tables.hasMoved('checkpoint') || (replayed.records > 0 && recordAt(io, fd, header, checkpoint.address) === first)
    if (!isWhole) throw OVERTAKEN
    if (isDamaged && options.damagedLog !== 'cut') throw damagedLog(replayed.end, behind!)
    const isCut = isDamaged && !readOnly
    if (isCut) must(cutLog(io, fd, header, checkpoint, replayed.end), 'Cutting')
    return { replayed, isCut, log: makeLog(io, fd, header, replayed.end, checkpoint.address) }
  })

  const session = before.session + (readOnly ? 0 : 1)
  const isClean = before.clean && replayed.records === 0
  let cut = before.cut || (!isClean && !sameBoot) // until the floors above have recovered
  const putSession = async (clean: boolean, durable: number): Promise<void> => {
    const chunk = tables.chunk()
    chunk.system('pool', { uuid: header.uuid } satisfies PoolRow) // as it was, should it have been damaged
    chunk.removeDamaged()
    chunk.system('session', { session, bootId, clean: clean && !cut, cut, durable } satisfies SessionRow)
    await chunk.done().catch((e: unknown) => {
      if (e instanceof PosixError) throw e
      throw new EngineError('ENGINE_ROWS_DAMAGED', `LMDB cannot change its file in ${folder} (${e instanceof Error ? e.message.trim() : String(e)}): run ogee fsck on the pool.`, e)
    })
  }
  if (!readOnly) {
    // what was replayed may be in the page cache only; from here on we answer for it
    await orClose(async () => {
      if (replayed.records > 0 || isCut) must(await log.fdatasync(), 'Syncing')
      await putSession(false, replayed.end.seq) // durable before the first record names this session
    })
  }

  let failedWhy: string | undefined
  let closing: Promise<void> | undefined
  let closed = false
  let conflicts = 0
  let nextEvent = 1
  let writeQueued = false
  let resolves: (() => void)[] = []
  let rejects: ((e: PosixError) => void)[] = []

  function fail(why: string): PosixError {
    failedWhy ??= why
    return new PosixError('EIO', `the engine failed: ${failedWhy}`)
  }
  function refusal(): PosixError | undefined {
    if (failedWhy !== undefined) return fail(failedWhy)
    if (readOnly) return new PosixError('EROFS', 'the engine was opened read-only')
    if (closed) return new PosixError('EIO', 'the engine is closed')
    return undefined
  }

  /** Brings what is appended to the page cache, and answers those who committed it. */
  function write(): PosixError | undefined {
    writeQueued = false
    if (log.pendingBytes() === 0) return failedWhy === undefined ? undefined : fail(failedWhy)
    const rc = failedWhy === undefined ? log.write() : -1
    const failed = rc < 0 ? fail(`writing the log failed (errno ${-rc})`) : undefined
    const done = resolves
    const undone = rejects
    resolves = []
    rejects = []
    if (failed === undefined) for (const resolve of done) resolve()
    else for (const reject of undone) reject(failed)
    return failed
  }

  const durability = makeDurability({ log, clock, write, fail })
  const checkpoints = makeCheckpoints({
    clock, log, tables, layers, durability, eventsKept, fail, checkpointSeq: checkpoint.seq, answersCount: () => answersCount, step: io.step
  })

  const find = (key: Key) => layers.find(key)
  const source: Source = { find, scan: (range) => layers.scan(range), seq: () => log.point().seq }
  const reader: Reader = readerOf(source)

  function commit(ctx: Context, tx: TxRun, requestId: string | undefined, result: Uint8Array | undefined): Outcome {
    const refused = refusal()
    if (refused !== undefined) throw refused
    const seq = source.seq()
    if (tx.isStale(seq, layers.writtenAt) || !tx.decide(find, seq + 1)) return CONFLICT
    const bytes = recordBytesBound(tx, requestId, result)
    if (bytes > recordBytesLimit) throw new PosixError('E2BIG', `a transaction of ${bytes} bytes is too large for the log`)
    const reserved = checkpoints.isHookContext(ctx)
    if (!log.fits(bytes, reserved ? 0 : reserveBytes)) {
      if (reserved) throw new PosixError('ENOSPC', 'the reserve of the log is used up')
      return FULL
    }
    if (tx.outs === 0 && tx.events === undefined) return COMMITTED // guards only: they hold, nothing changes
    log.append(tx, session, durability.durableSeq(), nextEvent, requestId, result)
    const { outs, outKeys, outEntries, events } = tx
    for (let i = 0; i < outs; i++) layers.apply(outKeys[i], outEntries[i])
    if (events !== undefined) for (const event of events) layers.active.events.add(session, nextEvent++, event)
    if (requestId !== undefined && result !== undefined) addAnswer(session, requestId, result)
    durability.committed()
    if (log.pendingBytes() >= WRITE_NOW_BYTES) write()
    else if (!writeQueued) {
      writeQueued = true
      queueMicrotask(write)
    }
    if (log.usedBytes() >= checkpointAtBytes && !checkpoints.isRunning) void checkpoints.ended()
    return COMMITTED
  }

  const backend: Backend = {
    clock,
    gate: makeGate(),
    answersInTick: true,
    source: () => source,
    refusal,
    isStale: (_ctx, tx) => tx.isStale(source.seq(), layers.writtenAt),
    commit,
    acknowledge<T>(value: T): Promise<T> {
      if (log.pendingBytes() === 0) return failedWhy === undefined ? Promise.resolve(value) : Promise.reject(fail(failedWhy))
      return new Promise<T>((resolve, reject) => {
        resolves.push(() => resolve(value))
        rejects.push(reject)
      })
    },
    wasCommitted: () => Promise.resolve(false), // no answer is ever lost here
    room: () => checkpoints.ended(),
    isReserved: (ctx) => checkpoints.isHookContext(ctx),
    countConflict: () => void conflicts++
  }

  async function sync(ctx: Context): Promise<void> {
    if (durability.durableSeq() >= source.seq()) return
    if (failedWhy !== undefined) throw fail(failedWhy)
    await inTime(clock, ctx, durability.sync(ctx))
  }

  async function close(): Promise<void> {
    try {
      if (!readOnly && failedWhy === undefined) {
        await checkpoints.run()
        closed = true
        await durability.rest() // with what came during the checkpoint; it stays in the log
        await putSession(true, durability.durableSeq())
      }
    } finally {
      closed = true
      if (checkpoints.isRunning) await checkpoints.ended() // LMDB must have nothing under way
      durability.stop()
      log.close()
      await tables.close()
    }
  }

  return {
    kind: 'lmdb',
    session,
    recovery: {
      clean: isClean, sameBoot,
      replayedRecords: replayed.records, replayedBytes: replayed.bytes
    },
    async recovered() {
      if (!cut || readOnly) return
      cut = false
      await putSession(false, durability.durableSeq())
    },
    reader: () => reader,
    transact: makeTransact(backend),
    answered: (ofSession, requestId) => answers.find(ofSession, requestId),
    changes: (ofSession, from, limit) => layers.changes(ofSession, from, limit),
    sync,
    committedSeq: source.seq,
    durableSeq: durability.durableSeq,
    onBeforeCheckpoint: checkpoints.onBefore,
    async checkpoint() {
      const refused = refusal()
      if (refused !== undefined) throw refused
      await checkpoints.run()
    },
    status: () => ({
      committedSeq: source.seq(), durableSeq: durability.durableSeq(), logUsedBytes: log.usedBytes(), logSizeBytes: ringBytes + RING_AT,
      dirtyBytes: durability.dirtyBytes(), checkpoints: checkpoints.count, conflicts, memory: layers.memory(), failed: failedWhy
    }),
    close: () => (closing ??= close())
  }
}
