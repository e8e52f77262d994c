/**
 * Taking a snapshot, or a view for a clone alone, in two transactions.
 *   - The first begins it: the domain's epoch grows, and the view is held for nobody (holds.ts). Others wait for that only.
 *   - Then all that it shows is made durable, beside everybody's work. The second transaction gives it its name, or its clone: before that
 *     nobody sees it.
 *   - What fails, or ends with the daemon, in between was never taken: the hold is dropped, at the next opening if not now.
 */
import type { Data } from '../data/index.js'
import type { Engine, Tx } from '../engine/index.js'
import { backgroundContext, errnoOf } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import { NOBODY } from './holds.js'
import type { Tree } from './meta.js'

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  /** What was begun came to nothing: what it kept is to be swept. */
  dropped(): void
}

/** `end` uses the view, and ends what holds it for nobody. What `name` is for: tree.beginSnapshot. */
export async function takeView<T>({ engine, tree, data, dropped }: Parts, ctx: Context, domain: number, name: string | undefined, end: (tx: Tx, epoch: number) => Promise<T>): Promise<T> {
  let begun: number | undefined
  try {
    const epoch = await data.quiesce(ctx, async () => (begun = await engine.transact(ctx, async (tx) => tree.beginSnapshot(tx, domain, name))))
    return await engine.transact(ctx, async (tx) => end(tx, epoch))
  } catch (e) {
    const epoch = begun
    if (epoch !== undefined) await engine.transact(backgroundContext(), async (tx) => tree.dropBegun(tx, domain, epoch)).then(dropped, (left: unknown) => void errnoOf(left)) // the next opening does
    throw e
  }
}

/** Of a daemon that died. */
export async function dropAllBegun({ engine, tree }: Pick<Parts, 'engine' | 'tree'>, ctx: Context): Promise<void> {
  for (const { origin, epoch, clone } of await tree.holds(engine.reader(ctx))) {
    if (clone === NOBODY) await engine.transact(ctx, async (tx) => tree.dropBegun(tx, origin, epoch))
  }
}
