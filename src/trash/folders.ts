/**
 * Where things in the trash were: a folder that is in the trash itself is known by its number, and so is the one that it was in.
 * One that was removed while nothing kept it is known to nobody: what was in it has no path any more.
 */
import type { Context } from '../sys/index.js'
import { NOW } from '../data/index.js'
import type { Engine } from '../engine/index.js'
import { S_IFDIR } from '../meta/index.js'
import type { Removed, Tree } from '../meta/index.js'

const PAGE_ROWS = 256

export type Order = 'oldest first' | 'newest first'
interface Floors {
  readonly engine: Engine
  readonly tree: Tree
}

export const isFolder = ({ typeBits }: Removed): boolean => typeBits === S_IFDIR

/** All that is in a trash, a page at a time; what comes or goes meanwhile may or may not be among it. */
export async function* eachRemoved({ engine, tree }: Floors, ctx: Context, domain: number, order: Order, behind = ''): AsyncGenerator<Removed> {
  for (let last = behind; ;) {
    const rows = await tree.removed(engine.reader(ctx), domain, last, PAGE_ROWS, order)
    yield* rows
    if (rows.length < PAGE_ROWS) return
    last = rows[rows.length - 1].key
  }
}

export interface Folders {
  /** A folder in the trash, by its number. */
  readonly removed: ReadonlyMap<number, Removed>
  /** Names from the root of the pool on, of where it was; folders that were renamed since are called as they are now. */
  pathOf(removed: Removed): Promise<readonly string[] | undefined>
}

/** Reads a trash once. Memory: the folders in it. */
export async function foldersIn(floors: Floors, ctx: Context, domain: number): Promise<Folders> {
  const { engine, tree } = floors
  const removed = new Map<number, Removed>()
  for await (const r of eachRemoved(floors, ctx, domain, 'oldest first')) if (isFolder(r)) removed.set(r.ino, r)
  const paths = new Map<number, readonly string[] | undefined>([[1, []]])

  async function folderPath(ino: number): Promise<readonly string[] | undefined> {
    const names: string[] = []
    const on: number[] = []
    let at = ino
    while (!paths.has(at)) {
      on.push(at)
      const inode = await tree.inode(engine.reader(ctx), at, NOW)
      const live = inode === undefined || inode.nlink === 0 ? undefined : await tree.home(engine.reader(ctx), at, NOW)
      const up = live ?? removed.get(at)
      if (up === undefined || on.length > 4096) {
        for (const below of on) paths.set(below, undefined)
        return undefined
      }
      names.push(up.name)
      at = up.parent
    }
    let path = paths.get(at)
    while (on.length > 0) {
      const name = names.pop()!
      path = path === undefined ? undefined : [...path, name]
      paths.set(on.pop()!, path)
    }
    return path
  }

  return {
    removed,
    async pathOf(r) {
      const folder = await folderPath(r.parent)
      return folder === undefined ? undefined : [...folder, r.name]
    }
  }
}
