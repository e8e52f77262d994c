/**
 * The trash of a domain: switched on and off, looked through, restored from, emptied; and emptied by age in the background.
 *   - What is thrown away leaves the trash some at a time, oldest first, one transaction for each handful, and is reclaimed like
 *     anything else that lost its last name. A quarter of the loop is what that has at most.
 *   - A trash that is off goes on to empty itself by age.
 */
import { backgroundContext, CancelSource, errnoOf, makePace } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import type { Engine } from '../engine/index.js'
import type { Op, Removed, Tree, TrashSums } from '../meta/index.js'
import { eachRemoved } from './folders.js'
import type { Order } from './folders.js'
import { restoring } from './restoring.js'
import type { Restoring } from './restoring.js'

const DISCARD_ROWS = 64
const REST_FACTOR = 3
const LOOK_EVERY_MS = 60_000

export interface Trash extends Restoring {
  /** Durable when resolved. ENOENT: no such domain. */
  configure(ctx: Context, domain: number, trash: 'on' | 'off', keepSec: number): Promise<void>
  /** Of each domain that keeps a trash, or did. */
  sums(ctx: Context): Promise<readonly TrashSums[]>
  each(ctx: Context, domain: number, order: Order): AsyncGenerator<Removed>
  /** Throws away what was removed before then (seconds since 1970). Answers how many. */
  empty(ctx: Context, domain: number, beforeSec: number): Promise<number>
  /** Throws away, now and later, what is older than its domain keeps it. */
  start(): void
  stop(): Promise<void>
}

export interface TrashParts {
  readonly engine: Engine
  readonly tree: Tree
  readonly clock: Clock
  /** Resolves when the pool says durably that it has a trash: before there is one. */
  needTrash(): Promise<void>
  /** Left the trash for good: its bytes are to be reclaimed. */
  removed(ino: number): void
}

export function openTrash(parts: TrashParts): Trash {
  const { engine, tree, clock } = parts
  const stopped = new CancelSource()
  const background = backgroundContext(stopped)
  let running: Promise<void> | undefined
  let timer: { stop(): void } | undefined

  const nowSec = (): number => {
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    return now.sec
  }
  const op = (ctx: Context): Op => {
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    return { ctx, now, check: false, session: engine.session }
  }

  async function empty(ctx: Context, domain: number, beforeSec: number): Promise<number> {
    let count = 0
    const pace = makePace(clock, REST_FACTOR, stopped)
    while (!stopped.cancelled) {
      const rows = await tree.removed(engine.reader(ctx), domain, '', DISCARD_ROWS, 'oldest first')
      const old = rows.filter(({ sec }) => sec < beforeSec)
      if (old.length === 0) break
      const by = op(ctx)
      const gone = await engine.transact(ctx, async (tx) => {
        const inos: number[] = []
        for (const r of old) if (await tree.discard(tx, by, r)) inos.push(r.ino)
        return inos
      })
      gone.forEach((ino) => parts.removed(ino))
      count += old.length
      await pace.breathe()
    }
    return count
  }

  async function throwAway(): Promise<void> {
    for (const { domain, keepSec, items } of await tree.trashes(engine.reader(background))) {
      if (items > 0) await empty(background, domain, nowSec() - keepSec)
    }
  }

  /** What fails is tried again later; a pool that failed says so to those who ask. */
  const look = (): void => {
    running ??= throwAway().catch((e: unknown) => void errnoOf(e)).finally(() => {
      running = undefined
      if (!stopped.cancelled) timer = clock.after(LOOK_EVERY_MS, look)
    })
  }

  return {
    ...restoring(parts),
    async configure(ctx, domain, trash, keepSec) {
      await parts.needTrash()
      await engine.transact(ctx, (tx) => tree.setTrash(tx, domain, trash, keepSec))
      await engine.sync(ctx)
    },
    sums: async (ctx) => tree.trashes(engine.reader(ctx)),
    each: (ctx, domain, order) => eachRemoved(parts, ctx, domain, order),
    async empty(ctx, domain, beforeSec) {
      const count = await empty(ctx, domain, beforeSec)
      await engine.sync(ctx)
      return count
    },
    start: look,
    async stop() {
      stopped.cancel()
      timer?.stop()
      await running
    }
  }
}
