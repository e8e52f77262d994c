/**
 * Gives back, in the background, what removed snapshots held: goes once through history and removes the rows that no snapshot
 * needs, some at a time.
 *   - Removal left a mark in the pool. The mark goes when a pass that began after it is through: whatever happens in between (the
 *     daemon's death, a power cut), the next opening begins the pass again.
 *   - A pass begins when the removal is durable, and lets what was shown be written over: not before, for a power cut might bring the snapshot back.
 *   - Logged bytes are moved then: a flush may still put rows of old epochs into history, and after it none.
 * A pass looks at all of history, some 2 us a row, whichever snapshot was removed.
 */
import type { Clock } from '../sys/index.js'
import type { Engine, Key } from '../engine/index.js'
import type { Data } from '../data/index.js'
import type { Tree } from '../meta/index.js'
import { releaseHolds } from './releasing.js'
import { startWorker } from './working.js'
import type { Shift, Worker } from './working.js'

const LOOK_ROWS = 256
const DROP_ROWS = 64

export function startSweeper(parts: { readonly engine: Engine; readonly tree: Tree; readonly data: Data; readonly clock: Clock }): Worker {
  const { engine, tree, data, clock } = parts

  async function pass({ ctx, isOver, begin, breathe }: Shift): Promise<void> {
    const marks = await tree.sweepsWanted(engine.reader(ctx))
    if (marks.length === 0) return
    await engine.sync(ctx)
    await engine.transact(ctx, async (tx) => {
      for (const mark of marks) await tree.sweepBegun(tx, mark)
    })
    await data.flush()
    begin()
    for (let behind: Key | undefined = ''; behind !== undefined && !isOver();) {
      const found: Awaited<ReturnType<Tree['needlessHistory']>> = await tree.needlessHistory(engine.reader(ctx), behind, LOOK_ROWS)
      const keys = found.rows.map(({ key }) => key)
      for (let i = 0; i < keys.length && !isOver(); i += DROP_ROWS) {
        await data.dropHistory(ctx, keys.slice(i, i + DROP_ROWS))
        await breathe()
      }
      behind = found.behind
      await breathe()
    }
    if (isOver()) return
    await engine.transact(ctx, async (tx) => {
      for (const mark of marks) await tree.sweepDone(tx, mark)
    })
  }

  return startWorker(engine, clock, async (shift) => {
    await pass(shift)
    return releaseHolds(parts, shift) // what they held is to be given back
  })
}
