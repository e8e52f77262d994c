/**
 * Removes, in the background, what rollbacks took out of trees: as `rm -r` would, deepest first, past the trash and whatever the flags say.
 *   - A row of the pool says of what (meta's replaced.ts), so that the next opening goes on after a crash.
 *   - Files that somebody has open are without a name then, and are reclaimed when they are closed. Programs that still have a folder of it may
 *     make names meanwhile: these go too.
 */
import { PosixError } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import { NOW } from '../data/index.js'
import type { Engine, Tx } from '../engine/index.js'
import { S_IFDIR, S_IFMT } from '../meta/index.js'
import type { DirectoryRow, Op, Replaced, Tree } from '../meta/index.js'
import { startWorker } from './working.js'
import type { Shift, Worker } from './working.js'

const LIST_ROWS = 64

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

export function startRemover({ engine, tree, clock, removed }: Parts): Worker {
  const opNow = (ctx: Context): Op => {
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    return { ctx, now, check: false, session: engine.session }
  }

  const change = <T>(ctx: Context, body: (tx: Tx, op: Op) => T | Promise<T>): Promise<T> => {
    const op = opNow(ctx)
    return engine.transact(ctx, (tx) => body(tx, op))
  }

  /** Flags that forbid it go first. */
  async function plain(tx: Tx, op: Op, ino: number): Promise<void> {
    if (((await tree.inode(tx, ino, NOW))?.flags ?? 0) !== 0) await tree.setflags(tx, op, ino, 0)
  }

  /** Not there any more, or something new in it: the next look tells. */
  async function drop(ctx: Context, parent: number, { name, ino, typeBits }: DirectoryRow): Promise<void> {
    try {
      const { left, isOrphan } = await change(ctx, async (tx, op) => {
        await plain(tx, op, parent)
        await plain(tx, op, ino)
        return (typeBits & S_IFMT) === S_IFDIR ? tree.rmdir(tx, op, parent, name) : tree.unlink(tx, op, parent, name)
      })
      if (isOrphan) removed(left.ino)
    } catch (e) {
      if (!(e instanceof PosixError && ['ENOENT', 'ENOTEMPTY', 'ESTALE', 'ENOTDIR', 'EISDIR'].includes(e.code))) throw e
    }
  }

  async function remove({ ctx, isOver, breathe }: Shift, replaced: Replaced): Promise<void> {
    const path: Folder[] = [{ ino: replaced.ino, name: '' }]
    while (!isOver()) {
      const { ino, name } = path[path.length - 1]
      const rows = await tree.list(engine.reader(ctx), ino, NOW, 0, 0, LIST_ROWS)
      if (rows.length === 0) {
        if (path.length === 1) break
        path.pop()
        const above = path[path.length - 1].ino
        await drop(ctx, above, { name, ino, typeBits: S_IFDIR, cookieHigh: 0, cookieLow: 0 })
        await breathe()
        continue
      }
      const folder = rows.find(({ typeBits }) => (typeBits & S_IFMT) === S_IFDIR)
      for (const row of rows) {
        if ((row.typeBits & S_IFMT) === S_IFDIR) continue
        await drop(ctx, ino, row)
        await breathe()
        if (isOver()) return
      }
      if (folder !== undefined) path.push({ ino: folder.ino, name: folder.name })
    }
    if (isOver()) return
    await change(ctx, (tx, op) => tree.dropReplaced(tx, op, replaced))
    removed(replaced.ino)
  }

  return startWorker(engine, clock, async (shift) => {
    shift.begin()
    for (const replaced of await tree.replaced(engine.reader(shift.ctx))) if (!shift.isOver()) await remove(shift, replaced)
    return false
  })
}
