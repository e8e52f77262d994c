/**
 * Runs a body until it commits; every engine's transact.
 *   - A body that finishes in the tick on an engine that answers in the tick commits in that tick: one promise in all.
 *   - Whatever a body answers or throws counts only if nothing that it read was stale.
 *   - Fairness: after 3 lost tries a body runs alone. While one runs alone, others start no try and commit nothing; transactions
 *     of checkpoint hooks pass, or a full log could never be emptied.
 *   - A body that needs something done first (RunAfter) stands in nobody's way meanwhile.
 *   - A commit whose answer was lost is looked up, never applied twice.
 *   - Every wait ends at the context's deadline, with EIO.
 */
import { PosixError } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import type { MaybePromise, Request, Tx } from './engine.js'
import { RUN_AGAIN, RunAfter, TxRun } from './transaction.js'
import type { Source } from './transaction.js'

export const COMMITTED = 0
export const CONFLICT = 1
export const FULL = 2 // no room in the log: wait for room()
export const LOST = 3 // the answer did not arrive: ask wasCommitted()
export type Outcome = typeof COMMITTED | typeof CONFLICT | typeof FULL | typeof LOST

const TRIES_TOGETHER = 3
/** Alone, only a body that asks for what cannot be (a guard on a row that is not there, say) loses again and again. */
const TRIES_ALONE = 8

/** What an engine gives to the runner. */
export interface Backend {
  readonly clock: Clock
  readonly gate: Gate
  /** Reads and commits need no promise: a body that needs none either runs and commits within one tick, unseen by others. */
  readonly answersInTick: boolean
  source(ctx: Context): Source
  /** Why there are no commits now: EIO, EROFS. */
  refusal(): PosixError | undefined
  isStale(ctx: Context, tx: TxRun): MaybePromise<boolean>
  commit(ctx: Context, tx: TxRun, requestId: string | undefined, result: Uint8Array | undefined): MaybePromise<Outcome>
  /** Right after COMMITTED: `value`, once the commit's bytes are outside the process. */
  acknowledge<T>(value: T): Promise<T>
  wasCommitted(ctx: Context, tx: TxRun): Promise<boolean>
  /** Resolves when there may be room again. */
  room(): Promise<void>
  /** Transactions of checkpoint hooks: they do not wait for others. */
  isReserved(ctx: Context): boolean
  countConflict(): void
}

/** One at a time, in order of arrival; the others can wait until nobody is inside. */
export interface Gate {
  held(): boolean
  opened(): Promise<void>
  /** Answers what leaves again. */
  enter(clock: Clock, ctx: Context): Promise<() => void>
}

export function makeGate(): Gate {
  let inside = 0
  let last: Promise<void> = Promise.resolve()
  let waiting: (() => void)[] = []
  return {
    held: () => inside > 0,
    opened: () => (inside === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    async enter(clock, ctx) {
      const turn = last
      let next = (): void => {}
      last = new Promise((resolve) => (next = resolve))
      inside++
      const leave = (): void => {
        inside--
        next()
        if (inside > 0) return
        const woken = waiting
        waiting = []
        for (const wake of woken) wake()
      }
      try {
        await inTime(clock, ctx, turn)
      } catch (e) {
        void turn.then(leave)
        throw e
      }
      return leave
    }
  }
}

const late = (): PosixError => new PosixError('EIO', 'the deadline passed before the transaction could commit')

/** The promise, or EIO at the deadline, or EINTR when cancelled. */
export async function inTime<T>(clock: Clock, ctx: Context, promise: Promise<T>): Promise<T> {
  const { signal } = ctx
  if (ctx.deadlineMs === Infinity && signal === undefined) return promise
  return new Promise<T>((resolve, reject) => {
    const timer = ctx.deadlineMs === Infinity ? undefined : clock.after(Math.max(0, ctx.deadlineMs - clock.monotonicMs()), () => end(reject, late()))
    let unlisten: (() => void) | undefined // onCancel may call back at once
    unlisten = signal?.onCancel(() => end(reject, new PosixError('EINTR')))
    function end<V>(settle: (value: V) => void, value: V): void {
      timer?.stop()
      unlisten?.()
      settle(value)
    }
    promise.then((value) => end(resolve, value), (e: unknown) => end(reject, e))
  })
}

interface Try<T> {
  readonly tx: TxRun
  readonly running: Promise<T>
}

export function makeTransact(backend: Backend) {
  const { gate, clock } = backend

  async function repeat<T>(ctx: Context, body: (tx: Tx) => MaybePromise<T>, request: Request<T> | undefined, first: Try<T> | undefined, lostBefore: number): Promise<T> {
    const reserved = backend.isReserved(ctx)
    let lostTries = lostBefore
    let leave: (() => void) | undefined
    try {
      for (; ; first = undefined) {
        if (first === undefined) {
          if (clock.monotonicMs() >= ctx.deadlineMs) throw late()
          if (ctx.signal?.cancelled === true) throw new PosixError('EINTR')
          if (lostTries >= TRIES_TOGETHER + TRIES_ALONE) throw new PosixError('EIO', 'a transaction relies on rows that are not there')
          if (lostTries >= TRIES_TOGETHER && !reserved) leave ??= await gate.enter(clock, ctx)
          while (leave === undefined && !reserved && gate.held()) await inTime(clock, ctx, gate.opened())
          const refused = backend.refusal()
          if (refused !== undefined) throw refused
        }
        const tx = first?.tx ?? new TxRun(backend.source(ctx))
        let value: T
        try {
          value = await (first?.running ?? body(tx))
        } catch (e) {
          if (e instanceof RunAfter) {
            leave?.()
            leave = undefined
            await inTime(clock, ctx, e.first())
            continue
          }
          if (e !== RUN_AGAIN && !(await backend.isStale(ctx, tx))) throw e
          lostTries++
          backend.countConflict()
          continue
        }
        while (leave === undefined && !reserved && gate.held()) await inTime(clock, ctx, gate.opened())
        if (!tx.hasEffects) {
          if (!(await backend.isStale(ctx, tx))) return value
          lostTries++
          backend.countConflict()
          continue
        }
        const answer = backend.commit(ctx, tx, request?.id, request?.encodeResult(value))
        const outcome = answer instanceof Promise ? await answer : answer
        if (outcome === COMMITTED) return backend.acknowledge(value)
        if (outcome === FULL) {
          await inTime(clock, ctx, backend.room())
        } else if (outcome === LOST && (await backend.wasCommitted(ctx, tx))) {
          return backend.acknowledge(value)
        } else {
          lostTries++
          backend.countConflict()
        }
      }
    } finally {
      leave?.()
    }
  }

  /** The answer to a first try did not come: looked up, never repeated blindly. */
  async function lost<T>(ctx: Context, body: (tx: Tx) => MaybePromise<T>, request: Request<T> | undefined, tx: TxRun, value: T): Promise<T> {
    if (await backend.wasCommitted(ctx, tx)) return backend.acknowledge(value)
    backend.countConflict()
    return repeat(ctx, body, request, undefined, 1)
  }

  /** Committed in its tick, used again: nobody has it any more. */
  let spare: TxRun | undefined

  return function transact<T>(ctx: Context, body: (tx: Tx) => MaybePromise<T>, request?: Request<T>): Promise<T> {
    const refused = backend.refusal()
    if (refused !== undefined) return Promise.reject(refused)
    if (gate.held()) return repeat(ctx, body, request, undefined, 0)
    try {
      const source = backend.source(ctx)
      const tx = spare?.source === source ? spare : new TxRun(source)
      spare = undefined
      const value = body(tx)
      if (value instanceof Promise) return repeat(ctx, body, request, { tx, running: value }, 0)
      if (!backend.answersInTick) return repeat(ctx, body, request, { tx, running: Promise.resolve(value) }, 0)
      if (!tx.hasEffects) return Promise.resolve(value)
      const outcome = backend.commit(ctx, tx, request?.id, request?.encodeResult(value))
      if (outcome === COMMITTED) {
        if (tx.clear()) spare = tx
        return backend.acknowledge(value)
      }
      if (outcome === LOST) return lost(ctx, body, request, tx, value)
      if (outcome === CONFLICT) backend.countConflict()
      return repeat(ctx, body, request, undefined, outcome === CONFLICT ? 1 : 0)
    } catch (e) {
      if (e instanceof RunAfter) return inTime(clock, ctx, e.first()).then(() => repeat(ctx, body, request, undefined, 0))
      return e === RUN_AGAIN ? repeat(ctx, body, request, undefined, 1) : Promise.reject(e)
    }
  }
}
