/**
 * Checkpoints: what the log holds moves to LMDB, off the hot path, and its room in the log is free again.
 *   1. hooks   the data floor moves logged bytes to the store (its transactions draw on the log's reserve)
 *   2. freeze  the active overlay stands still; new commits go to a new one
 *   3. sync    the log up to the freeze. Without, a power cut could leave half of an unsynced commit in LMDB, and the log without it
 *   4. move    frozen rows, events, answers, in chunks, each synced by LMDB; the loop runs between chunks
 *   5. mark    one commit says up to where LMDB holds everything: only now replay starts later
 *   6. thaw    reads see LMDB, the frozen overlay goes, the log's room is free
 * Killed at any step: replay starts at the old mark and repeats rows that LMDB may hold already; records say what rows are
 * afterwards, so that makes no difference. A checkpoint that failed for lack of space is tried again; the frozen overlay stays.
 */
import { backgroundContext, ERRNO, traceLine, traceOn } from '../../sys/index.js'
import type { Clock, Context } from '../../sys/index.js'
import { goneEntry, GONE } from '../rows.js'
import type { Durability } from './durability.js'
import type { CheckpointRow } from './files.js'
import type { LogIo } from './io.js'
import type { Layers } from './layers.js'
import type { Log, LogPoint } from './log.js'
import type { Tables } from './tables.js'

const CHUNK_ROWS = 128 // about 0.2 ms of the loop
const CHUNKS_TOGETHER = 8 // before LMDB's commit is awaited: bounds what it holds in memory
const HOOK_MS = 10_000 // a hook that takes longer is left behind: the rows move without it
const TRACE = traceOn('engine')

export type CheckpointHook = (ctx: Context) => Promise<void>

export interface Checkpoints {
  onBefore(hook: CheckpointHook): void
  /** Everything committed before the call. */
  run(): Promise<void>
  /** Starts one if none runs; resolves when one ended, well or badly. */
  ended(): Promise<void>
  isHookContext(ctx: Context): boolean
  readonly isRunning: boolean
  readonly count: number
}

export interface CheckpointOptions {
  readonly clock: Clock
  readonly log: Log
  readonly tables: Tables
  readonly layers: Layers
  readonly durability: Durability
  readonly eventsKept: number
  /** What the last checkpoint before this process held. */
  readonly checkpointSeq: number
  answersCount(): number
  readonly step: LogIo['step']
  fail(why: string): Error
}

const toldElsewhere = (): void => {}
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export function makeCheckpoints(options: CheckpointOptions): Checkpoints {
  const { clock, log, tables, layers, durability, eventsKept, step, fail } = options
  const hooks: CheckpointHook[] = []
  const hookContexts = new WeakSet<Context>()
  let frozenAt: LogPoint & { answers: number } | undefined
  let running: Promise<void> | undefined
  let doneSeq = options.checkpointSeq
  let count = 0
  let waitMs = 0 // after a failure

  async function runHooks(): Promise<void> {
    const ctx = backgroundContext(undefined, clock.monotonicMs() + HOOK_MS)
    hookContexts.add(ctx)
    for (const hook of hooks) {
      let late = false
      let stop = (): void => {}
      const timeUp = new Promise<void>((resolve) => {
        const timer = clock.after(HOOK_MS, () => resolve(void (late = true)))
        stop = () => timer.stop()
      })
      try {
        await Promise.race([hook(ctx), timeUp])
      } catch (e) {
        traceLine('engine', `checkpoint hook failed: ${String(e)}`) // whose hook it is tells its own callers
      }
      stop()
      if (late) traceLine('engine', `checkpoint hook took more than ${HOOK_MS} ms, left behind`)
    }
  }

  /** Rows in key order: neighbours share LMDB's pages. */
  async function move(): Promise<void> {
    const { rows, events, answers } = layers.frozen!
    let together: Promise<void>[] = []
    const settle = async (done: Promise<void>): Promise<void> => {
      together.push(done)
      done.catch(toldElsewhere) // awaited below, with the others
      if (together.length >= CHUNKS_TOGETHER || step !== undefined) {
        await Promise.all(together)
        together = []
        await step?.('moving')
      }
      await breathe()
    }
    let after: string | undefined
    for (;;) {
      const keys = rows.keysAfter(after, CHUNK_ROWS)
      if (keys.length === 0) break
      after = keys[keys.length - 1]
      const chunk = tables.chunk()
      for (const key of keys) {
        const entry = rows.find(key)!
        if (entry.kind === GONE) chunk.remove(key)
        else chunk.put(key, entry)
        layers.cache.put(key, entry.kind === GONE ? goneEntry(0) : entry)
      }
      await settle(chunk.done())
    }
    for (let i = 0; i < events.length; i += CHUNK_ROWS) {
      const chunk = tables.chunk()
      for (let j = i; j < Math.min(events.length, i + CHUNK_ROWS); j++) chunk.event(events[j])
      await settle(chunk.done())
    }
    for (let i = 0; i < answers.length; i += CHUNK_ROWS) {
      const chunk = tables.chunk()
      for (let j = i; j < Math.min(answers.length, i + CHUNK_ROWS); j++) chunk.answer(answers[j].count, answers[j].answer)
      await settle(chunk.done())
    }
    await Promise.all(together)
  }

  async function trim(): Promise<void> {
    while ((await tables.trimEvents(eventsKept, CHUNK_ROWS)) > 0) await breathe()
  }

  async function once(): Promise<void> {
    if (waitMs > 0) await clock.sleep(waitMs)
    if (frozenAt === undefined) {
      await runHooks()
      frozenAt = { ...log.point(), answers: options.answersCount() }
      layers.freeze()
      await step?.('frozen')
    }
    await durability.sync()
    await step?.('synced')
    try {
      await move()
      await step?.('moved')
      const mark = tables.chunk()
      mark.system('checkpoint', { address: frozenAt.address, seq: frozenAt.seq, chain: frozenAt.chain, answers: frozenAt.answers } satisfies CheckpointRow)
      await mark.done()
      await step?.('marked')
    } catch (e) {
      throw judged(e)
    }
    tables.refresh()
    layers.thaw(frozenAt.seq)
    log.freeUpTo(frozenAt.address)
    doneSeq = frozenAt.seq
    frozenAt = undefined
    waitMs = 0
    count++
    await step?.('thawed')
    await trim()
    if (TRACE) traceLine('engine', `checkpoint ${count}: log ${log.usedBytes()} bytes used`)
  }

  /** No space is a state that may pass; anything else that LMDB says means that its file cannot be relied on. */
  function judged(e: unknown): unknown {
    const noSpace = e instanceof Error && (/ENOSPC|No space|MDB_MAP_FULL/.test(e.message) || ('code' in e && e.code === ERRNO.ENOSPC))
    return noSpace ? e : fail(`LMDB: ${e instanceof Error ? e.message : String(e)}`)
  }

  function start(): Promise<void> {
    const mine = breathe().then(once).catch((e: unknown) => { // later: whoever commits in it must find it running
      waitMs = Math.min(10_000, waitMs * 2 + 100)
      throw e
    }).finally(() => (running = undefined))
    running = mine
    return mine
  }

  return {
    onBefore: (hook) => void hooks.push(hook),
    async run() {
      const seq = log.point().seq
      while (doneSeq < seq) await (running ?? start()) // one that runs may have frozen before what we shall move
    },
    ended: () => (running ?? start()).catch(toldElsewhere), // who waits asks again, and then learns why
    isHookContext: (ctx) => hookContexts.has(ctx),
    get isRunning() {
      return running !== undefined
    },
    get count() {
      return count
    }
  }
}
