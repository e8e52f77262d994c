/**
 * The engine `memory`: the model of a remote database, for tests of everything above, and a pool that lives no longer than
 * its process. Without options it answers in the tick. With them each round trip takes time, commits meet conflicts that
 * are not there, and answers get lost (before or after the commit took place); all drawn from one seeded Random.
 */
import { PosixError, seededRandom, systemClock } from '../../sys/index.js'
import type { Clock, Context, Random } from '../../sys/index.js'
import type { Engine, Key, MaybePromise, Range, Reader } from '../engine.js'
import { COMMITTED, CONFLICT, LOST, makeTransact } from '../runner.js'
import type { Backend, Outcome } from '../runner.js'
import { readerOf } from '../transaction.js'
import type { Source, TxRun } from '../transaction.js'
import { makeMemoryServer } from './server.js'
import type { MemoryServer } from './server.js'

export { makeMemoryServer }
export type { MemoryServer }

export interface MemoryOptions {
  readonly clock?: Clock
  readonly random?: Random
  /** Of one round trip, between these two, in milliseconds; 0 and 0: answers come in the tick. */
  readonly latencyMs?: readonly [min: number, max: number]
  /** Of a commit that could have been applied: the chance that it is refused. */
  readonly conflictChance?: number
  /** The chance that a commit's answer is lost; half of the lost ones were applied. */
  readonly lostAnswerChance?: number
  /** The database; several engines may share one. Without: a new one. */
  readonly server?: MemoryServer
  readonly readOnly?: boolean
}

export function openMemory(options: MemoryOptions = {}): Engine {
  const { clock = systemClock, random = seededRandom(1), latencyMs = [0, 0], conflictChance = 0, lostAnswerChance = 0, readOnly = false } = options
  const server = options.server ?? makeMemoryServer()
  const [minMs, maxMs] = latencyMs
  const answersInTick = maxMs === 0
  const recovery = { clean: server.clean, sameBoot: true, replayedRecords: 0, replayedBytes: 0 }
  const session = readOnly ? 0 : server.nextSession()
  if (!readOnly) server.clean = false
  let closed = false
  let conflicts = 0
  let checkpoints = 0
  let commitNumber = 0
  const hooks: ((ctx: Context) => Promise<void>)[] = []
  const hookContexts = new WeakSet<Context>()
  const commitIds = new WeakMap<TxRun, string>()

  const chance = (probability: number): boolean => probability > 0 && random.uint32() / 4294967296 < probability

  /** One round trip: `act` happens at the server, on the way. */
  async function roundTrip<T>(act: () => T): Promise<T> {
    const tripMs = minMs + (random.uint32() / 4294967296) * (maxMs - minMs)
    await clock.sleep(tripMs / 2)
    const answer = act()
    await clock.sleep(tripMs / 2)
    return answer
  }
  const ask = <T>(act: () => T): MaybePromise<T> => (answersInTick ? act() : roundTrip(act))

  const source: Source = {
    find: (key: Key) => ask(() => server.find(key)),
    scan: (range: Range) => ask(() => server.scan(range)),
    seq: () => server.seq()
  }
  const reader: Reader = readerOf(source)

  function commitAtServer(tx: TxRun, requestId: string | undefined, result: Uint8Array | undefined): Outcome {
    const commitId = `${session}:${requestId ?? `#${++commitNumber}`}`
    commitIds.set(tx, commitId)
    const lost = chance(lostAnswerChance)
    if (lost && chance(0.5)) return LOST
    if (!server.gate.held() && chance(conflictChance)) return CONFLICT
    const outcome = server.apply(tx, session, commitId, requestId, result) ? COMMITTED : CONFLICT
    return lost ? LOST : outcome
  }

  const refusal = (): PosixError | undefined =>
    readOnly ? new PosixError('EROFS', 'the engine was opened read-only') : closed ? new PosixError('EIO', 'the engine is closed') : undefined

  const backend: Backend = {
    clock,
    gate: server.gate,
    answersInTick,
    source: () => source,
    refusal,
    isStale: (_ctx, tx) => ask(() => server.isStale(tx)),
    commit: (_ctx, tx, requestId, result) => ask(() => commitAtServer(tx, requestId, result)),
    acknowledge: (value) => Promise.resolve(value),
    wasCommitted: async (_ctx, tx) => ask(() => server.wasApplied(commitIds.get(tx) ?? '')),
    room: () => Promise.resolve(),
    isReserved: (ctx) => hookContexts.has(ctx),
    countConflict: () => void conflicts++
  }

  async function checkpoint(): Promise<void> {
    const ctx: Context = { uid: 0, gid: 0, pid: 0, groups: undefined, deadlineMs: Infinity, signal: undefined, traceId: 0, alone: false }
    hookContexts.add(ctx)
    for (const hook of hooks) await hook(ctx)
    checkpoints++
  }

  return {
    kind: 'memory',
    session,
    recovery,
    recovered: () => Promise.resolve(), // there are no power cuts here
    reader: () => reader,
    transact: makeTransact(backend),
    answered: (ofSession, requestId) => server.answers.find(ofSession, requestId),
    changes: (ofSession, from, limit) => ask(() => server.changes(ofSession, from, limit)),
    async sync() {
      if (closed) throw new PosixError('EIO', 'the engine is closed')
      await ask(() => undefined)
    },
    committedSeq: () => server.seq(),
    durableSeq: () => server.seq(),
    onBeforeCheckpoint: (hook) => void hooks.push(hook),
    checkpoint,
    status: () => ({
      committedSeq: server.seq(), durableSeq: server.seq(), logUsedBytes: 0, logSizeBytes: 0, dirtyBytes: 0,
      checkpoints, conflicts, memory: { rows: 0, rowsBytes: 0, cachedRows: 0, cachedBytes: 0 }, failed: closed ? 'closed' : undefined
    }),
    async close() {
      if (closed) return
      if (!readOnly) await checkpoint()
      closed = true
      if (!readOnly) server.clean = true
    }
  }
}
