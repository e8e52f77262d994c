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
import type { Durability } from './durability.js'
import type { CheckpointRow } from './files.js'
import type { LogIo } from './io.js'
import type { Layers } from './layers.js'
import type { Log, LogPoint } from './log.js'
import type { Chunk, Tables } from './tables.js'

export const CHUNK_ROWS = 128 // at most, in one turn of the loop
const CHUNK_US = 250 // at most, and what one look at the clock misses
const LOOK_ROWS = 8 // between two looks at the clock
const TOGETHER_ROWS = 2048 // before LMDB's commit is awaited: bounds the pages that it holds in memory, at worst one a row
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

  /** Puts what `putNext` gives until there is no more (false): few in a turn of the loop, many in a commit of LMDB. */
  async function inChunks(putNext: (chunk: Chunk) => boolean): Promise<void> {
    let together: Promise<void>[] = []
    let written = 0
    for (let more = true; more; ) {
      const chunk = tables.chunk()
      const startUs = clock.monotonicUs()
      let count = 0
      while (count < CHUNK_ROWS && (more = putNext(chunk))) {
        if (++count % LOOK_ROWS === 0 && clock.monotonicUs() - startUs > CHUNK_US) break
      }
      if (count === 0) break
      const done = chunk.done()
      together.push(done)
      done.catch(toldElsewhere) // awaited below, with the others
      written += count
      if (written >= TOGETHER_ROWS || step !== undefined) {
        await Promise.all(together)
        together = []
        written = 0
        await step?.('moving')
      }
      await breathe()
    }
    await Promise.all(together)
  }

  /** Rows in key order: neighbours share LMDB's pages. */
  async function move(): Promise<void> {
    const { rows, events, answers } = layers.frozen!
    let row = 0
    await inChunks((chunk) => {
      row = rows.after(row)
      if (row === 0) return false
      const stored = rows.stored(row)
      if (stored === undefined) chunk.remove(rows.key(row))
      else chunk.put(rows.key(row), stored)
      return true
    })
    let event = -1
    let surplus = events.size - eventsKept // the oldest would be trimmed at once
    await inChunks((chunk) => {
      event = events.after(event)
      for (; surplus > 0; surplus--) event = events.after(event)
      if (event === -1) return false
      chunk.event(events.session(event), events.n(event), events.stored(event))
      return true
    })
    let answer = 0
    await inChunks((chunk) => {
      if (answer === answers.length) return false
      chunk.answer(answers[answer].count, answers[answer].answer)
      answer++
      return true
    })
  }

  async function trim(): Promise<void> {
    let surplus = tables.eventsCount() - eventsKept
    let keys: string[] = []
    let next = 0
    await inChunks((chunk) => {
      if (surplus-- <= 0) return false
      if (next === keys.length) {
        keys = tables.eventKeys(keys[next - 1], CHUNK_ROWS)
        next = 0
      }
      if (next === keys.length) return false
      chunk.removeEvent(keys[next++])
      return true
    })
  }

  async function once(): Promise<void> {
    if (waitMs > 0) await clock.sleep(waitMs)
    if (frozenAt === undefined) {
      await runHooks()
      frozenAt = { ...log.point(), answers: options.answersCount() }
      layers.freeze()
      await step?.('frozen')
    }
    await durability.sync(backgroundContext())
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
    const noSpace = e instanceof Error && (/ENOSPC|No space|MDB_MAP_FULL/.test(e.message) || ('code' in e && (e.code === ERRNO.ENOSPC || e.code === 'ENOSPC')))
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
