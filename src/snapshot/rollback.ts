/**
 * Rolling a volume back to a snapshot. The decision is one transaction, while nothing is written; what was written since then is
 * undone in small ones, and after a crash the next opening goes on before anybody sees the volume.
 * Costs what was changed since the snapshot, whatever the volume holds.
 */
import { errnoOf } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import type { Engine } from '../engine/index.js'
import type { ContentEffects, Data } from '../data/index.js'
import type { Rollback, Tree, Younger } from '../meta/index.js'

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly clock: Clock
}

/** ENOENT, EBUSY, ENOTEMPTY (there are younger snapshots). The caller keeps others out of the volume, until what was decided is done. */
export const decideRollback = ({ engine, tree, data }: Parts, ctx: Context, domain: number, name: string, younger: Younger): Promise<Rollback> =>
  data.quiesce(ctx, async () => {
    const decision = await engine.transact(ctx, async (tx) => tree.rollBack(tx, domain, name, younger))
    await engine.sync(ctx) // before a flush writes over what younger snapshots show
    return decision
  })

/** What an earlier daemon decided and did not end. Of a volume whose rows cannot be read the mark stays, and nobody opens it; answers how many. */
export async function goOnRollingBack(parts: Parts, ctx: Context): Promise<number> {
  let stuck = 0
  for (const decided of await parts.tree.rollbacksWanted(parts.engine.reader(ctx))) {
    try {
      await undo(parts, ctx, decided)
    } catch (e) {
      errnoOf(e) // a mistake of ours is told
      stuck++
    }
  }
  return stuck
}

export async function undo({ engine, tree, data, clock }: Parts, ctx: Context, { domain, root, epoch }: Rollback): Promise<void> {
  const touch = { sec: 0, nsec: 0 }
  clock.realtime(touch)
  const effects: ContentEffects = { touch, killSuidgid: false }
  await data.restore(ctx, root, epoch, effects)
  await engine.transact(ctx, (tx) => tree.rollbackDone(tx, domain))
  await engine.sync(ctx)
}
