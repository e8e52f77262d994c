/**
 * Removes, in the background, what rollbacks took out of trees: as `rm -r` would, deepest first, past the trash and whatever the flags say.
 *   - A row of the pool says of what (meta's replaced.ts), so that the next opening goes on after a crash.
 *   - Files that somebody has open are without a name then, and are reclaimed when they are closed. Programs that still have a folder of it may
 *     make names meanwhile: these go too.
 *   - It works WORK_MS, then rests three times as long.
 */
import { backgroundContext, CancelSource, errnoOf, PosixError } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import { NOW } from '../data/index.js'
import type { Engine, Tx } from '../engine/index.js'
import { S_IFDIR, S_IFMT } from '../meta/index.js'
import type { DirectoryRow, Op, Replaced, Tree } from '../meta/index.js'

const LIST_ROWS = 64
const WORK_MS = 1
const REST_FACTOR = 3
const AGAIN_MS = 5000

export interface Remover {
  /** A tree was rolled back. */
  wake(): void
  /** Resolves when nothing is left to do (or the pool refuses). */
  settle(): Promise<void>
  stop(): Promise<void>
}

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly clock: Clock
  /** An inode lost its last name: it is to be reclaimed. */
  removed(ino: number): void
}

/** A folder on the way down. */
interface Folder {
  readonly ino: number
  readonly name: string
}

export function startRemover({ engine, tree, clock, removed }: Parts): Remover {
  const stopped = new CancelSource()
  const ctx = backgroundContext(stopped)
  let running: Promise<void> | undefined
  let isWanted = false
  let beganMs = 0

  const opNow = (): Op => {
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    return { ctx, now, check: false, session: engine.session }
  }

  async function breathe(): Promise<void> {
    const workedMs = clock.monotonicMs() - beganMs
    if (workedMs < WORK_MS) return
    await clock.sleep(workedMs * REST_FACTOR, stopped)
    beganMs = clock.monotonicMs()
  }

  const change = <T>(body: (tx: Tx, op: Op) => T | Promise<T>): Promise<T> => {
    const op = opNow()
    return engine.transact(ctx, (tx) => body(tx, op))
  }

  /** Flags that forbid it go first. */
  async function plain(tx: Tx, op: Op, ino: number): Promise<void> {
    if (((await tree.inode(tx, ino, NOW))?.flags ?? 0) !== 0) await tree.setflags(tx, op, ino, 0)
  }

  /** Not there any more, or something new in it: the next look tells. */
  async function drop(parent: number, { name, ino, typeBits }: DirectoryRow): Promise<void> {
    try {
      const { left, isOrphan } = await change(async (tx, op) => {
        await plain(tx, op, parent)
        await plain(tx, op, ino)
        return (typeBits & S_IFMT) === S_IFDIR ? tree.rmdir(tx, op, parent, name) : tree.unlink(tx, op, parent, name)
      })
      if (isOrphan) removed(left.ino)
    } catch (e) {
      if (!(e instanceof PosixError && ['ENOENT', 'ENOTEMPTY', 'ESTALE', 'ENOTDIR', 'EISDIR'].includes(e.code))) throw e
    }
  }

  async function remove(replaced: Replaced): Promise<void> {
    const path: Folder[] = [{ ino: replaced.ino, name: '' }]
    while (!stopped.cancelled) {
      const { ino, name } = path[path.length - 1]
      const rows = await tree.list(engine.reader(ctx), ino, NOW, 0, 0, LIST_ROWS)
      if (rows.length === 0) {
        if (path.length === 1) break
        path.pop()
        const above = path[path.length - 1].ino
        await drop(above, { name, ino, typeBits: S_IFDIR, cookieHigh: 0, cookieLow: 0 })
        await breathe()
        continue
      }
      const folder = rows.find(({ typeBits }) => (typeBits & S_IFMT) === S_IFDIR)
      for (const row of rows) {
        if ((row.typeBits & S_IFMT) === S_IFDIR) continue
        await drop(ino, row)
        await breathe()
        if (stopped.cancelled) return
      }
      if (folder !== undefined) path.push({ ino: folder.ino, name: folder.name })
    }
    if (stopped.cancelled) return
    await change((tx, op) => tree.dropReplaced(tx, op, replaced))
    removed(replaced.ino)
  }

  async function work(): Promise<void> {
    while (isWanted && !stopped.cancelled) {
      isWanted = false
      try {
        beganMs = clock.monotonicMs()
        for (const replaced of await tree.replaced(engine.reader(ctx))) if (!stopped.cancelled) await remove(replaced)
      } catch (e) {
        errnoOf(e) // a mistake of ours is told; a pool that fails says so to those who ask, and the row stays
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
      running ??= work()
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
