/**
 * Gives back, in the background, what removed snapshots held: goes once through history and removes the rows that no snapshot
 * needs, some at a time.
 *   - Removal left a mark in the pool. The mark goes when a pass that began after it is through: whatever happens in between (the
 *     daemon's death, a power cut), the next opening begins the pass again.
 *   - Logged bytes are moved first: a flush may still put rows of old epochs into history, and after it none.
 *   - It works WORK_MS, then rests three times as long: a quarter of the loop at most, and none of it for long.
 * A pass looks at all of history, some 2 us a row, whichever snapshot was removed.
 */
import { backgroundContext, CancelSource, errnoOf } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import type { Engine, Key } from '../engine/index.js'
import type { Data } from '../data/index.js'
import type { ReadThrough, Tree } from '../meta/index.js'

const LOOK_ROWS = 256
const DROP_ROWS = 64
const WORK_MS = 1
const REST_FACTOR = 3
const AGAIN_MS = 5000

export interface Sweeper {
  /** A snapshot was removed. */
  wake(): void
  /** Resolves when nothing is left to do (or the pool refuses). */
  settle(): Promise<void>
  stop(): Promise<void>
}

export function startSweeper(parts: { readonly engine: Engine; readonly tree: Tree; readonly data: Data; readonly clock: Clock }): Sweeper {
  const { engine, tree, data, clock } = parts
  const stopped = new CancelSource()
  const ctx = backgroundContext(stopped)
  let running: Promise<void> | undefined
  let isWanted = false
  let beganMs = 0

  async function breathe(): Promise<void> {
    const workedMs = clock.monotonicMs() - beganMs
    if (workedMs < WORK_MS) return
    await clock.sleep(workedMs * REST_FACTOR, stopped)
    beganMs = clock.monotonicMs()
  }

  async function pass(): Promise<void> {
    const marks = await tree.sweepsWanted(engine.reader(ctx))
    if (marks.length === 0) return
    await data.flush()
    beganMs = clock.monotonicMs()
    for (let behind: Key | undefined = ''; behind !== undefined && !stopped.cancelled;) {
      const found: Awaited<ReturnType<Tree['needlessHistory']>> = await tree.needlessHistory(engine.reader(ctx), behind, LOOK_ROWS)
      const keys = found.rows.map(({ key }) => key)
      for (let i = 0; i < keys.length && !stopped.cancelled; i += DROP_ROWS) {
        await data.dropHistory(ctx, keys.slice(i, i + DROP_ROWS))
        await breathe()
      }
      behind = found.behind
      await breathe()
    }
    if (stopped.cancelled) return
    await engine.transact(ctx, async (tx) => {
      for (const mark of marks) await tree.sweepDone(tx, mark)
    })
  }

  /** Views that domains hold of themselves, since they were rolled back, and that nothing reads through to any more. Answers whether there was one. */
  async function release(): Promise<boolean> {
    const own = (await tree.holds(engine.reader(ctx))).filter(({ origin, clone }) => origin === clone)
    if (own.length === 0) return false
    const epochs = new Map<number, number>()
    for (const { origin } of own) epochs.set(origin, (await tree.domain(engine.reader(ctx), origin))?.epoch ?? 0)
    const needed = new Set<string>()
    beganMs = clock.monotonicMs()
    for (let behind: Key | undefined = ''; behind !== undefined && !stopped.cancelled;) {
      const found: ReadThrough = await tree.readThrough(engine.reader(ctx), behind, LOOK_ROWS)
      for (const { domain, epoch } of found.views) needed.add(`${domain}@${epoch}`)
      behind = found.behind
      await breathe()
    }
    let released = false
    for (const { origin, epoch } of own) {
      if (stopped.cancelled || needed.has(`${origin}@${epoch}`)) continue
      if (await engine.transact(ctx, (tx) => tree.releaseOwn(tx, origin, epoch, epochs.get(origin)!))) released = true
    }
    return released
  }

  async function work(): Promise<void> {
    while (isWanted && !stopped.cancelled) {
      isWanted = false
      try {
        await pass()
        if (await release()) isWanted = true // what it held is to be given back
      } catch (e) {
        errnoOf(e) // a mistake of ours is told; a pool that fails says so to those who ask, and the mark stays
        await clock.sleep(AGAIN_MS, stopped)
        isWanted = engine.status().failed === undefined && !stopped.cancelled
      }
    }
    running = undefined // in the step in which nothing was wanted: who comes later begins anew
  }

  const wake = (): void => {
    if (stopped.cancelled) return
    isWanted = true
    running ??= work()
  }

  return {
    wake,
    async settle() {
      while (running !== undefined) await running
    },
    async stop() {
      stopped.cancel()
      await running
    }
  }
}
