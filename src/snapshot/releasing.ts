/**
 * Holds of trees go when nothing reads through to what they hold: neither in the clone (or the tree that was rolled back), nor in a
 * snapshot of it. Looks through the rows that say so, some 2 us each, until each hold is found to be needed: in a tree that was not
 * flattened that is soon.
 */
import type { Engine, Key } from '../engine/index.js'
import type { Hold, ReadThrough, Tree } from '../meta/index.js'
import type { Shift } from './working.js'

const LOOK_ROWS = 256

const named = ({ origin, epoch, clone }: Hold): string => `${clone} of ${origin}@${epoch}`

/** Answers whether one went: what it held is to be swept. */
export async function releaseHolds({ engine, tree }: { readonly engine: Engine; readonly tree: Tree }, { ctx, isOver, begin, breathe }: Shift): Promise<boolean> {
  const left = new Map((await tree.treeHolds(engine.reader(ctx))).map((hold) => [named(hold), hold]))
  const epochs = new Map<number, number>()
  for (const { clone } of left.values()) epochs.set(clone, (await tree.domain(engine.reader(ctx), clone))?.epoch ?? 0)
  begin()
  for (let behind: Key | undefined = ''; behind !== undefined && left.size > 0 && !isOver();) {
    const found: ReadThrough = await tree.readThrough(engine.reader(ctx), behind, LOOK_ROWS)
    for (const hold of found.needed) left.delete(named(hold))
    behind = found.behind
    await breathe()
  }
  let released = false
  for (const hold of left.values()) {
    if (isOver()) break
    if (await engine.transact(ctx, (tx) => tree.releaseHold(tx, hold, epochs.get(hold.clone)!))) released = true
  }
  return released
}
