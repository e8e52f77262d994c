/**
 * When commits survive a power cut. One fdatasync off the loop serves all who wait; who comes while one runs and needs more
 * than it covers waits for the next. The first commit that nobody synced is synced within a second.
 *   - When the log comes to rest the mark beside it is written: which of its records are durable no record behind them can say then.
 *   - A failed fdatasync fails the engine: the kernel may have dropped the pages, a second one would lie. It is never repeated.
 */
import type { Clock, Timer } from '../../sys/index.js'
import type { PosixError } from '../../sys/index.js'
import type { Log } from './log.js'

const toldElsewhere = (): void => {}
const SYNC_AFTER_MS = 800 // the contract says 1 s, and the sync itself takes time

export interface Durability {
  durableSeq(): number
  /** Bytes of commits that are not durable. */
  dirtyBytes(): number
  /** A commit came: it shall be durable within a second. */
  committed(): void
  /** Everything that is in the log now. Rejects with EIO. */
  sync(): Promise<void>
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
  let durable = log.point()
  let running: Promise<void> | undefined
  let runningSeq = 0
  let next: Promise<void> | undefined
  let timer: Timer | undefined
  let markedSeq = durable.seq

  async function run(): Promise<void> {
    const failed = write()
    if (failed !== undefined) throw failed
    const upTo = log.point()
    runningSeq = upTo.seq
    const rc = await log.fdatasync()
    if (rc < 0) throw fail(`fdatasync of the log failed (errno ${-rc})`)
    durable = upTo
  }

  function start(): Promise<void> {
    const mine = run().finally(() => (running = undefined))
    running = mine
    return mine
  }

  function sync(): Promise<void> {
    const point = log.point()
    if (durable.seq >= point.seq) return Promise.resolve()
    if (running === undefined) return start()
    if (runningSeq >= point.seq) return running
    next ??= running.then(startNext, startNext)
    return next
  }

  function startNext(): Promise<void> {
    next = undefined
    return start()
  }

  function due(): void {
    timer = undefined
    sync().then(() => {
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
      await sync()
      await mark()
    },
    stop: () => timer?.stop()
  }
}
