/**
 * Snapshots of a domain (the root tree, a subvolume, a volume): taking, listing, removing.
 *   - One is begun while nothing is written in place (data.quiesce), so that it lies cleanly between two changes; it has its name when all
 *     that it shows is durable (meta/taking.ts).
 *   - Removing one takes its name away in a transaction; what it alone held comes back in the background (sweep.ts).
 *   - An engine that failed, or a pool opened for reading, refuses both.
 */
import { backgroundContext, CancelSource, PosixError, rootContext } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import type { Engine } from '../engine/index.js'
import type { Data } from '../data/index.js'
import { dropAllBegun, takeView } from '../meta/index.js'
import type { CloneArgs, Inode, MadeSubvolume, Op, Tree, TreeRolledBack, Younger } from '../meta/index.js'
import { flattenTree } from './flattening.js'
import type { FlattenProgress } from './flattening.js'
import { releaseHolds } from './releasing.js'
import { startRemover } from './removing.js'
import { decideRollback, goOnRollingBack, undo } from './rollback.js'
import { startSweeper } from './sweep.js'

/** Who needs what a rollback replaced to be gone waits so long. */
const GONE_MS = 30_000
const LOOK_MS = 20

export interface SnapshotInfo {
  readonly name: string
  /** The view to read it at. */
  readonly epoch: number
  readonly takenSec: number
}

export interface Snapshots {
  /** Answers its epoch. ENOENT: no such domain. EEXIST, ENAMETOOLONG, EINVAL: the name. EBUSY: the domain is being rolled back, or what a rollback replaced is still being removed. ENOSPC: the space that copies on write may need. */
  create(ctx: Context, domain: number, name: string): Promise<number>
  /** Oldest first. */
  list(ctx: Context, domain: number): Promise<readonly SnapshotInfo[]>
  /** ENOENT. */
  remove(ctx: Context, domain: number, name: string): Promise<void>
  /** A volume becomes what a snapshot shows. ENOENT, EBUSY, ENOTEMPTY (there are younger snapshots, and they are not to be removed). */
  rollBack(ctx: Context, domain: number, name: string, younger: Younger): Promise<void>
  /** The root tree, or a subvolume, becomes what a snapshot shows, at once; what it replaces is removed in the background. ENOENT, EBUSY (subvolumes are in it), E2BIG (its root has too many names). */
  rollBackTree(ctx: Context, domain: number, name: string): Promise<TreeRolledBack>
  /** What rollbacks replaced is gone when this resolves: until then a comparison with what there is now may find it. EBUSY: it takes long. */
  replacedGone(ctx: Context, domain: number): Promise<void>
  /** A directory that is a domain of its own, new or in the place of an empty one. As mkdir; ENOTEMPTY, EBUSY. */
  makeSubvolume(ctx: Context, parent: number, name: string): Promise<MadeSubvolume>
  /** A subvolume whose root is a clone of what a snapshot shows. ENOENT (no such snapshot), EEXIST, and as mkdir. */
  cloneTree(ctx: Context, args: Omit<CloneArgs, 'ino'>): Promise<Inode>
  /** A tree's clone, or one that was rolled back, needs its origin no more when this resolves, but for what its snapshots show. Who is stopped (by what `progress` throws), or dies, goes on the next time. EBUSY: it is being done. ENOSPC. EINTR: the pool is being closed. */
  flatten(domain: number, progress: FlattenProgress): Promise<void>
  /** ENOENT, EINVAL (no subvolume), ENOTEMPTY, EBUSY (it has snapshots). Its inode is to be reclaimed. */
  removeSubvolume(ctx: Context, parent: number, name: string): Promise<Inode>
  /** Ends what an earlier daemon left half done of volumes. Answers how many of them could not be, and stay shut. */
  recover(ctx: Context): Promise<number>
  /** Goes on with what an earlier daemon left. */
  start(): void
  /** Everything that removed snapshots held has been given back when this resolves. */
  settle(): Promise<void>
  stop(): Promise<void>
}

export interface SnapshotParts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly clock: Clock
  /** Resolves when the pool says durably that it has epochs: before the first snapshot or subvolume. */
  needEpochs(): Promise<void>
  /** The same of rollbacks of trees. */
  needRollbacks(): Promise<void>
  /** An inode lost its last name: it is to be reclaimed. */
  removed(ino: number): void
}

export function openSnapshots(parts: SnapshotParts): Snapshots {
  const { engine, tree, data, clock } = parts
  const sweeper = startSweeper(parts)
  const remover = startRemover(parts)
  const stopped = new CancelSource()
  const flattening = new Map<number, Promise<void>>()
  const opOf = (ctx: Context): Op => {
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    return { ctx, now, check: false, session: engine.session }
  }
  let turn: Promise<unknown> = Promise.resolve()
  /** One after the other: what is begun looks like a clone to others. */
  const inTurn = <T>(fn: () => Promise<T>): Promise<T> => {
    const mine = turn.then(fn)
    turn = mine.catch(() => undefined) // told to whom it concerns
    return mine
  }
  return {
    async create(ctx, domain, name) {
      await parts.needEpochs()
      await replacedGone(ctx, domain)
      const op = opOf(ctx)
      const taken = await inTurn(() => takeView({ ...parts, dropped: () => sweeper.wake() }, ctx, domain, name, async (tx, epoch) => {
        await tree.nameSnapshot(tx, op, domain, epoch, name)
        return epoch
      }))
      await engine.sync(ctx)
      return taken
    },
    async list(ctx, domain) {
      const found = await tree.snapshots(engine.reader(ctx), domain)
      return found.map(({ name, epoch, sec }) => ({ name, epoch, takenSec: sec }))
    },
    async remove(ctx, domain, name) {
      await engine.transact(ctx, (tx) => tree.removeSnapshot(tx, domain, name))
      await engine.sync(ctx)
      sweeper.wake()
    },
    async rollBack(ctx, domain, name, younger) {
      await undo(parts, ctx, await inTurn(() => decideRollback(parts, ctx, domain, name, younger)))
      sweeper.wake()
    },
    async rollBackTree(ctx, domain, name) {
      await parts.needRollbacks()
      const op = opOf(ctx)
      const done = await inTurn(() => data.quiesce(ctx, () => engine.transact(ctx, async (tx) => tree.rollBackTree(tx, op, { domain, snapshot: name, ino: await tree.takeInodeNumbers(tx, 1) }))))
      await engine.sync(ctx)
      remover.wake()
      return done
    },
    replacedGone,
    async makeSubvolume(ctx, parent, name) {
      await parts.needEpochs()
      const op = opOf(ctx)
      const made = await engine.transact(ctx, async (tx) => tree.makeSubvolume(tx, op, parent, name, 0o755, await tree.takeInodeNumbers(tx, 1)))
      await engine.sync(ctx)
      return made
    },
    async cloneTree(ctx, args) {
      const op = opOf(ctx)
      const made = await engine.transact(ctx, async (tx) => tree.cloneTree(tx, op, { ...args, ino: await tree.takeInodeNumbers(tx, 1) }))
      await engine.sync(ctx)
      return made
    },
    async flatten(domain, progress) {
      if (flattening.has(domain)) throw new PosixError('EBUSY')
      const work = async (): Promise<void> => {
        await flattenTree(parts, backgroundContext(stopped), domain, progress)
        await releaseHolds(parts, { ctx: backgroundContext(stopped), isOver: () => stopped.cancelled, begin: () => undefined, breathe: () => clock.sleep(0, stopped) })
        await engine.sync(rootContext)
      }
      const working = work().finally(() => {
        flattening.delete(domain)
        sweeper.wake()
      })
      flattening.set(domain, working)
      return working
    },
    async removeSubvolume(ctx, parent, name) {
      for (const untilMs = clock.monotonicMs() + GONE_MS; ;) {
        try {
          const op = opOf(ctx)
          const left = await inTurn(() => engine.transact(ctx, async (tx) => tree.removeSubvolume(tx, op, parent, name)))
          await engine.sync(ctx)
          return left
        } catch (e) {
          if (!(e instanceof PosixError && e.code === 'EAGAIN')) throw e
          if (clock.monotonicMs() > untilMs) throw new PosixError('ETXTBSY') // somebody has a file open that was in it before a rollback
          await clock.sleep(LOOK_MS)
          await remover.settle()
          sweeper.wake()
          await sweeper.settle()
        }
      }
    },
    async recover(ctx) {
      await dropAllBegun(parts, ctx)
      return goOnRollingBack(parts, ctx)
    },
    start() {
      sweeper.wake()
      remover.wake()
    },
    async settle() {
      await remover.settle()
      sweeper.wake() // what was removed may have been the last that needed a view
      await sweeper.settle()
    },
    async stop() {
      stopped.cancel()
      await Promise.allSettled(flattening.values())
      await remover.stop()
      await sweeper.stop()
    }
  }

  /** No snapshot shows what was replaced, and none holds it. */
  async function replacedGone(ctx: Context, domain: number): Promise<void> {
    for (const untilMs = clock.monotonicMs() + GONE_MS; (await tree.replaced(engine.reader(ctx), domain)).length > 0; await clock.sleep(LOOK_MS)) {
      if (clock.monotonicMs() > untilMs) throw new PosixError('EBUSY')
    }
  }

}
