/**
 * Inodes without a name. The last unlink leaves an inode on the pool's open-unlinked list; it is reclaimed when no handle is
 * open on it and the door's client has forgotten it: its bytes in small steps, then the inode itself, many in one transaction.
 *   - What is being reclaimed cannot be reached again: `isDead` makes it ESTALE.
 *   - A link() to an unnamed file (O_TMPFILE) takes it off again (`linked`).
 *   - What dead sessions left is reclaimed in the background after opening, a batch at a time with a pause, so that a
 *     mount after a crash is as quick as any.
 *   - Space that is being reclaimed counts as free: statfs waits a moment for it (`soon`), and who finds the pool full waits
 *     until it is there (`makeRoom`).
 *   - The root of a removed subvolume goes after all that was in it (`postponed`): its domain is needed until then.
 *   - An inode whose reclaim fails (its rows are damaged) stays on the list, and keeps nobody else there; the next opening tries again.
 *     Where FAILURES_MAX do it is the pool that fails.
 */
import { backgroundContext, CancelSource, PosixError } from '../sys/index.js'
import type { Timer } from '../sys/index.js'
import type { Forgotten } from '../meta/index.js'
import type { OpenNode, Parts } from './core.js'

const RECLAIM_AFTER_MS = 20 // gathers an rm -rf into few transactions
const RECLAIM_BATCH_MAX = 64
const FAILURES_MAX = 100
const LEFTOVER_PAUSE_MS = 50
/** An embedded engine commits without leaving the tick: after so long the loop gets its turn. */
const WORK_MS = 1
const REST_MS = 1
/** statfs waits no longer: a file of a terabyte takes its time. */
const SOON_MS = 500

interface Orphan {
  readonly ino: number
  readonly session: number
}

interface Waiting {
  forgotten: boolean
}

export interface Orphans {
  /** The inode lost its last name, or never had one. */
  unlinked(ino: number): void
  /** It got a name again. */
  linked(ino: number): void
  /** The door's client dropped it. */
  forgotten(ino: number): void
  /** Its last handle was closed. */
  closed(ino: number): void
  isDead(ino: number): boolean
  /** Resolves when everything that may be reclaimed now is. */
  settle(): Promise<void>
  /** The same, but not for long; undefined: nothing is to be reclaimed. */
  soon(): Promise<void> | undefined
  /** After an ENOSPC: resolves when what is being reclaimed is free and trying again makes sense; else throws the error. */
  makeRoom(e: unknown): Promise<void>
  /** Starts on what dead sessions left. */
  start(): void
  stop(): Promise<void>
}

export function openOrphans(parts: Parts, openNodes: ReadonlyMap<number, OpenNode>, gone: (ino: number) => void): Orphans {
  const { engine, tree, data, clock, options } = parts
  const stopped = new CancelSource()
  const ctx = backgroundContext(stopped)
  const waiting = new Map<number, Waiting>() // unlinked, still open or known to the door
  const queue: Orphan[] = []
  const postponed: Orphan[] = []
  const dead = new Set<number>()
  let timer: Timer | undefined
  let working: Promise<void> | undefined
  let leftovers: Promise<void> | undefined
  let restedMs = 0
  const stuck = new Set<number>() // whose reclaim failed

  const reclaimable = (ino: number): void => {
    waiting.delete(ino)
    dead.add(ino)
    enqueue({ ino, session: engine.session })
  }

  const enqueue = (orphan: Orphan): void => {
    queue.push(orphan)
    if (working === undefined) timer ??= clock.after(RECLAIM_AFTER_MS, () => void settle())
  }

  /** Asked anew each time where the door can tell: it learns of a node only with our answer. */
  const isHeld = (ino: number, orphan: Waiting): boolean => (options.isHeld === undefined ? !orphan.forgotten : options.isHeld(ino))

  const judge = (ino: number): void => {
    const orphan = waiting.get(ino)
    if (orphan !== undefined && !openNodes.has(ino) && !isHeld(ino, orphan)) reclaimable(ino)
  }

  /** Bytes first, those of small files together, of others one after the other; then all of these inodes go in one transaction. */
  const reclaim = async (batch: readonly Orphan[]): Promise<'some' | 'none'> => {
    const stuckBefore = stuck.size
    const bare = new Set(await data.reclaimTogether(ctx, batch.map(({ ino }) => ino).filter((ino) => !stuck.has(ino))))
    const empty: Orphan[] = []
    for (const orphan of batch) {
      if (stuck.has(orphan.ino)) continue
      if (bare.has(orphan.ino) || await freeBytes(orphan.ino)) empty.push(orphan)
    }
    if (empty.length === 0 || stopped.cancelled) return stuck.size > stuckBefore ? 'some' : 'none'
    const forgotten = await engine.transact(ctx, async (tx) => {
      const outcomes: Forgotten[] = []
      for (const { session, ino } of empty) outcomes.push(await tree.forgetInode(tx, session, ino))
      return outcomes
    })
    if (forgotten.includes('released')) parts.released?.()
    const late = empty.filter((_, i) => forgotten[i] === 'later')
    if (late.length < empty.length) { // roots of subvolumes, whose last file may just have gone
      for (const { session, ino } of postponed.splice(0)) enqueue({ session, ino })
    }
    postponed.push(...late)
    for (const { ino } of empty) {
      if (late.some((orphan) => orphan.ino === ino)) continue
      dead.delete(ino)
      gone(ino)
    }
    return late.length < empty.length || stuck.size > stuckBefore ? 'some' : 'none'
  }

  const freeBytes = async (ino: number): Promise<boolean> => {
    while (!stopped.cancelled) {
      try {
        if (await data.reclaimStep(ctx, ino)) return true
      } catch (e) {
        stuck.add(ino)
        if (!(e instanceof PosixError) || stuck.size > FAILURES_MAX) throw e
        return false
      }
      await breathe()
    }
    return false
  }

  const breathe = async (): Promise<void> => {
    if (clock.monotonicMs() - restedMs < WORK_MS) return
    await clock.sleep(REST_MS, stopped)
    restedMs = clock.monotonicMs()
  }

  const work = async (): Promise<void> => {
    restedMs = clock.monotonicMs()
    while (queue.length > 0 && !stopped.cancelled) {
      await reclaim(queue.splice(0, RECLAIM_BATCH_MAX))
      await breathe()
    }
  }

  const settle = (): Promise<void> => {
    timer?.stop()
    timer = undefined
    // A failed pool says so to those who ask; here the rest waits for the next opening.
    working ??= work()
      .catch(() => void queue.splice(0))
      .finally(() => (working = undefined))
    return working
  }

  const isBusy = (): boolean => queue.length > 0 || working !== undefined

  const settleAll = async (): Promise<void> => {
    await settle()
    if (queue.length > 0) await settle()
  }

  const reclaimLeftovers = async (): Promise<void> => {
    while (!stopped.cancelled) {
      const batch = await tree.orphans(engine.reader(ctx), engine.session, RECLAIM_BATCH_MAX + stuck.size)
      if (batch.every(({ ino }) => stuck.has(ino))) return
      if (await reclaim(batch) === 'none') return
      await clock.sleep(LEFTOVER_PAUSE_MS, stopped)
    }
  }

  return {
    unlinked(ino) {
      if (waiting.has(ino) || dead.has(ino)) return
      waiting.set(ino, { forgotten: false })
      judge(ino)
    },
    linked: (ino) => void waiting.delete(ino),
    forgotten(ino) {
      if (waiting.size === 0) return
      const orphan = waiting.get(ino)
      if (orphan === undefined) return
      orphan.forgotten = true
      judge(ino)
    },
    closed(ino) {
      if (waiting.size > 0) judge(ino)
    },
    isDead: (ino) => dead.size > 0 && dead.has(ino),
    settle: settleAll,
    soon: () => (isBusy() ? new Promise((resolve) => {
      const patience = clock.after(SOON_MS, resolve)
      void settleAll().then(() => {
        patience.stop()
        resolve()
      })
    }) : undefined),
    async makeRoom(e) {
      if (!(e instanceof PosixError) || e.code !== 'ENOSPC' || !isBusy()) throw e
      await settleAll()
    },
    start() {
      leftovers = reclaimLeftovers().catch(() => undefined) // as above: the next opening tries again
    },
    async stop() {
      timer?.stop()
      timer = undefined
      stopped.cancel()
      await working
      await leftovers
    },
  }
}
