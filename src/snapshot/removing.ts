/**
 * Removes, in the background, what rollbacks took out of trees: as `rm -r` would, deepest first, past the trash and whatever the flags say.
 *   - A row of the pool says of what (meta's replaced.ts), so that the next opening goes on after a crash.
 *   - Files that somebody has open are without a name then, and are reclaimed when they are closed. Programs that still have a folder of it may
 *     make names meanwhile: these go too.
 */
import { PosixError } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import { NOW } from '../data/index.js'
import type { Engine, MaybePromise, Tx } from '../engine/index.js'
import { S_IFDIR, S_IFMT } from '../meta/index.js'
import type { DirectoryRow, Op, Replaced, Tree } from '../meta/index.js'
import { startWorker } from './working.js'
import type { Shift, Worker } from './working.js'

const LIST_ROWS = 64

export interface RemovingParts {
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

function change<T>({ engine, clock }: RemovingParts, ctx: Context, body: (tx: Tx, op: Op) => T | Promise<T>): Promise<T> {
  const now = { sec: 0, nsec: 0 }
  clock.realtime(now)
  return engine.transact(ctx, (tx) => body(tx, { ctx, now, check: false, session: engine.session }))
}

/** All that is in a folder goes. `told`: of each name, when it went. EBUSY: a subvolume is in it. */
export async function emptyFolder(parts: RemovingParts, { ctx, isOver, breathe }: Omit<Shift, 'begin'>, top: number, told: (parent: number, name: string, ino: number) => MaybePromise<void>): Promise<void> {
  const { engine, tree, removed } = parts

  /** Flags that forbid it go first. */
  async function plain(tx: Tx, op: Op, ino: number): Promise<void> {
    if (((await tree.inode(tx, ino, NOW))?.flags ?? 0) !== 0) await tree.setflags(tx, op, ino, 0)
  }

  /** Not there any more, or something new in it: the next look tells. */
  async function drop(parent: number, { name, ino, typeBits }: DirectoryRow): Promise<void> {
    try {
      const { left, isOrphan } = await change(parts, ctx, async (tx, op) => {
        await plain(tx, op, parent)
        await plain(tx, op, ino)
        return (typeBits & S_IFMT) === S_IFDIR ? tree.rmdir(tx, op, parent, name) : tree.unlink(tx, op, parent, name)
      })
      await told(parent, name, ino)
      if (isOrphan) removed(left.ino)
    } catch (e) {
      if (!(e instanceof PosixError && ['ENOENT', 'ENOTEMPTY', 'ESTALE', 'ENOTDIR', 'EISDIR'].includes(e.code))) throw e
    }
  }

  const path: Folder[] = [{ ino: top, name: '' }]
  while (!isOver()) {
    const { ino, name } = path[path.length - 1]
    const rows = await tree.list(engine.reader(ctx), ino, NOW, 0, 0, LIST_ROWS)
    if (rows.length === 0) {
      if (path.length === 1) return
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
      if (isOver()) return
    }
    if (folder !== undefined) path.push({ ino: folder.ino, name: folder.name })
  }
}

export function startRemover(parts: RemovingParts): Worker {
  const { engine, tree, clock, removed } = parts

  async function remove(shift: Shift, replaced: Replaced): Promise<void> {
    await emptyFolder(parts, shift, replaced.ino, () => undefined)
    if (shift.isOver()) return
    await change(parts, shift.ctx, (tx, op) => tree.dropReplaced(tx, op, replaced))
    removed(replaced.ino)
  }

  return startWorker(engine, clock, async (shift) => {
    shift.begin()
    for (const replaced of await tree.replaced(engine.reader(shift.ctx))) if (!shift.isOver()) await remove(shift, replaced)
    return false
  })
}
