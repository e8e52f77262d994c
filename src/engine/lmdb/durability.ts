/**
 * When commits survive a power cut. One fdatasync serves all who wait, off the loop unless who waits is alone and it is short
 * (brevity.ts); who comes while one runs and needs more than it covers waits for the next. The first commit that nobody synced is synced
 * within a second.
 *   - When the log comes to rest the mark beside it is written: which of its records are durable no record behind them can say then.
 *   - A failed fdatasync fails the engine: the kernel may have dropped the pages, a second one would lie. It is never repeated.
 */
import { backgroundContext } from '../../sys/index.js'
import type { Clock, Context, Timer } from '../../sys/index.js'
import type { PosixError } from '../../sys/index.js'
import { makeBrevity } from './brevity.js'
import type { Log } from './log.js'

type Asker = Pick<Context, 'alone'>
const BACKGROUND = backgroundContext()
const toldElsewhere = (): void => {}
const SYNC_AFTER_MS = 800 // the contract says 1 s, and the sync itself takes time

export interface Durability {
  durableSeq(): number
  /** Bytes of commits that are not durable. */
  dirtyBytes(): number
  /** A commit came: it shall be durable within a second. */
  committed(): void
  /** Everything that is in the log now. Rejects with EIO. Who is alone may make the loop wait, should it be short. */
  sync(ctx: Asker): Promise<void>
  /** The same, and the mark says so. */
  rest(): Promise<void>
  stop(): void
}

export interface DurabilityOptions {
  readonly log: Log
  readonly clock: Clock
  /** Brings what is appended to the page cache; why not, if it failed. */
  write(): PosixError | undefined
  fail(why: string): PosixError
}

export function makeDurability({ log, clock, write, fail }: DurabilityOptions): Durability {
  const brevity = makeBrevity()
  let durable = log.point()
  let running: Promise<void> | undefined
  let runningSeq = 0
  let next: Promise<void> | undefined
  let timer: Timer | undefined
  let markedSeq = durable.seq

  async function run({ alone }: Asker): Promise<void> {
    const failed = write()
    if (failed !== undefined) throw failed
    const upTo = log.point()
    runningSeq = upTo.seq
    const startedUs = clock.monotonicUs()
    const rc = alone && brevity.trusted() ? log.fdatasyncNow() : await log.fdatasync()
    brevity.took(clock.monotonicUs() - startedUs)
    if (rc < 0) throw fail(`fdatasync of the log failed (errno ${-rc})`)
    durable = upTo
  }

  function start(ctx: Asker): Promise<void> {
    const mine = run(ctx).finally(() => (running = undefined))
    running = mine
    return mine
  }

  function sync(ctx: Asker): Promise<void> {
    const point = log.point()
    if (durable.seq >= point.seq) return Promise.resolve()
    if (running === undefined) return start(ctx)
    if (runningSeq >= point.seq) return running
    next ??= running.then(startNext, startNext)
    return next
  }

  function startNext(): Promise<void> {
    next = undefined
    return start(BACKGROUND)
  }

  function due(): void {
    timer = undefined
    sync(BACKGROUND).then(() => {
      if (log.point().seq > durable.seq) arm()
      else return mark()
    }).catch(toldElsewhere) // a failure is the engine's from here on: every later call tells
  }
  async function mark(): Promise<void> {
    if (markedSeq === durable.seq) return
    const rc = log.mark(durable.seq)
    if (rc < 0) throw fail(`writing the mark of the log failed (errno ${-rc})`)
    markedSeq = durable.seq
    const synced = await log.fdatasync()
    if (synced < 0) throw fail(`fdatasync of the log failed (errno ${-synced})`)
  }
  function arm(): void {
    timer ??= clock.after(SYNC_AFTER_MS, due)
  }

  return {
    durableSeq: () => durable.seq,
    dirtyBytes: () => log.point().address - durable.address,
    committed: arm,
    sync,
    async rest() {
      await sync(BACKGROUND)
      await mark()
    },
    stop: () => timer?.stop()
  }
}
