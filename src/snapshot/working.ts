/**
 * Work in the background that somebody asks for: what removed snapshots held (sweep.ts), what rollbacks took out of trees (removing.ts).
 *   - Asked for while it runs, it runs once more. What fails is tried again, until the pool itself has failed.
 *   - It has a quarter of the loop at most, and none of it for long.
 */
import { backgroundContext, CancelSource, errnoOf, makePace } from '../sys/index.js'
import type { Clock, Context, Pace } from '../sys/index.js'
import type { Engine } from '../engine/index.js'

const REST_FACTOR = 3
const AGAIN_MS = 5000

export interface Worker {
  /** There is something to do. */
  wake(): void
  /** Resolves when nothing is left to do (or the pool refuses). */
  settle(): Promise<void>
  stop(): Promise<void>
}

/** What the work has while it runs. */
export interface Shift extends Pace {
  readonly ctx: Context
  isOver(): boolean
}

/** `work` answers whether it is to run once more. */
export function startWorker(engine: Engine, clock: Clock, work: (shift: Shift) => Promise<boolean>): Worker {
  const stopped = new CancelSource()
  let running: Promise<void> | undefined
  let isWanted = false
  const shift: Shift = { ctx: backgroundContext(stopped), isOver: () => stopped.cancelled, ...makePace(clock, REST_FACTOR, stopped) }

  async function run(): Promise<void> {
    while (isWanted && !stopped.cancelled) {
      isWanted = false
      try {
        if (await work(shift)) isWanted = true
      } catch (e) {
        errnoOf(e) // a mistake of ours is told; a pool that fails says so to those who ask, and what is to be done stays
        await clock.sleep(AGAIN_MS, stopped)
        isWanted = engine.status().failed === undefined && !stopped.cancelled
      }
    }
    running = undefined // in the step in which nothing was wanted: who comes later begins anew
  }

  return {
    wake() {
      if (stopped.cancelled) return
      isWanted = true
      running ??= run()
    },
    async settle() {
      while (running !== undefined) await running
    },
    async stop() {
      stopped.cancel()
      await running
    }
  }
}
