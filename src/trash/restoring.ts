/**
 * Restoring: something gets a name again, with the folders on the way that are in the trash too, and a folder with what was in it.
 *   - One transaction for each folder on the way, and for each handful below a folder: after a crash in the middle the rest is still
 *     in the trash.
 *   - With a folder comes back what went together with it: going back in time from its removal, what was removed from it and from
 *     folders below, as long as nothing else changed that folder in between (its mtime tells) and no pause was longer than PAUSE_SEC.
 *     So what was removed long before stays in the trash. With scope 'all' everything comes that was ever removed from there.
 *   - A name that is taken is left alone: of several things of one name the newest comes back. A folder that is there again, as a new
 *     one, takes what was in the old one.
 */
import { NOW } from '../data/index.js'
import type { Engine, Tx } from '../engine/index.js'
import { ROOT_INO, S_IFDIR, S_IFMT } from '../meta/index.js'
import type { Op, Removed, Tree } from '../meta/index.js'
import { PosixError } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import { eachRemoved, foldersIn, isFolder } from './folders.js'
import type { Folders } from './folders.js'

const PAUSE_SEC = 10
const BATCH_ROWS = 64

export type Scope = 'together' | 'all'

/** A name that is there again. */
export interface Restored {
  readonly ino: number
  readonly parent: number
  readonly name: string
}

/** `gone`: the folder that it was in is lost; `taken`: its name, or a folder's on the way, is another's now. */
export class TrashError extends Error {
  readonly reason: 'gone' | 'taken'
  readonly parent: number
  override readonly name: string
  constructor(reason: 'gone' | 'taken', parent: number, name: string) {
    super(reason)
    this.reason = reason
    this.parent = parent
    this.name = name
  }
}

export interface Restoring {
  /** The first told is the thing itself, or a folder on the way. Durable when resolved. Answers how many things below kept in the trash because their names are taken. */
  restore(ctx: Context, removed: Removed, to: { readonly parent: number; readonly name: string } | undefined, scope: Scope, told: (restored: Restored) => void): Promise<{ readonly at: Restored; readonly skipped: number }>
  /** All that was removed from a folder that is there, and from those below it. */
  restoreBelow(ctx: Context, domain: number, folder: number, told: (restored: Restored) => void): Promise<{ readonly skipped: number }>
}

interface Floors {
  readonly engine: Engine
  readonly tree: Tree
  readonly clock: Clock
}

/** Where things of an old folder go, and the mtime that it had after the removal that is looked for next. */
interface Old {
  readonly to: number
  sec: number
  nsec: number
  isWhole: boolean
}

export function restoring(floors: Floors): Restoring {
  const { engine, tree, clock } = floors

  const opOf = (ctx: Context): Op => {
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    return { ctx, now, check: false, session: engine.session }
  }

  async function one(ctx: Context, removed: Removed, parent: number, name: string, told: (restored: Restored) => void): Promise<Restored> {
    const op = opOf(ctx)
    try {
      await engine.transact(ctx, (tx) => tree.restore(tx, op, removed, parent, name))
    } catch (e) {
      if (e instanceof PosixError && e.code === 'EEXIST') throw new TrashError('taken', parent, name)
      throw e
    }
    const restored = { ino: removed.ino, parent, name }
    told(restored)
    return restored
  }

  const isThere = async (ctx: Context, ino: number): Promise<boolean> => ((await tree.inode(engine.reader(ctx), ino, NOW))?.nlink ?? 0) > 0

  /** The folder for what was in `folder`: itself, restored if need be, or the one that is in its place now. */
  async function landing(ctx: Context, domain: number, folder: number, folders: Folders, told: (restored: Restored) => void): Promise<number> {
    if (await isThere(ctx, folder)) return folder
    const old = folders.removed.get(folder)
    if (old === undefined) throw new TrashError('gone', folder, '')
    const parent = await landing(ctx, domain, old.parent, folders, told)
    const there = await tree.lookup(engine.reader(ctx), parent, old.name, NOW)
    if (there === undefined) return (await one(ctx, old, parent, old.name, told)).ino
    if (!await isFolderOf(ctx, there.ino, domain)) throw new TrashError('taken', parent, old.name)
    return there.ino
  }

  async function isFolderOf(ctx: Context, ino: number, domain: number): Promise<boolean> {
    const inode = await tree.inode(engine.reader(ctx), ino, NOW)
    return inode !== undefined && (inode.mode & S_IFMT) === S_IFDIR && inode.domain === domain
  }

  /** From a key of the trash back in time. */
  async function below(ctx: Context, domain: number, start: { readonly folder: number; readonly behind: string; readonly sec: number }, scope: Scope, told: (restored: Restored) => void): Promise<number> {
    const olds = new Map<number, Old>([[start.folder, await oldOf(ctx, start.folder)]])
    const known = new Map<number, boolean>([[ROOT_INO, false], [start.folder, true]])
    let lastSec = start.sec
    let skipped = 0
    let batch: Removed[] = []
    const flush = async (): Promise<void> => {
      const done = await putBack(ctx, domain, batch, olds)
      done.restored.forEach(told)
      skipped += done.skipped
      batch = []
    }
    for await (const r of eachRemoved(floors, ctx, domain, 'newest first', start.behind)) {
      if (scope === 'together' && lastSec - r.sec > PAUSE_SEC) break
      let old = olds.get(r.parent)
      if (old === undefined && scope === 'all' && await isBelow(ctx, r.parent, start.folder, known)) olds.set(r.parent, (old = await oldOf(ctx, r.parent)))
      if (old === undefined) continue
      if (scope === 'together') {
        old.isWhole &&= old.sec === r.sec && old.nsec === r.nsec
        if (!old.isWhole) continue
        old.sec = r.beforeSec
        old.nsec = r.beforeNsec
        lastSec = r.sec
      }
      batch.push(r)
      if (isFolder(r)) olds.set(r.ino, await oldOf(ctx, r.ino))
      if (batch.length === BATCH_ROWS) await flush()
    }
    await flush()
    return skipped
  }

  /** Whether a folder that is there lies below another. */
  async function isBelow(ctx: Context, ino: number, above: number, known: Map<number, boolean>): Promise<boolean> {
    const on: number[] = []
    let at = ino
    while (!known.has(at)) {
      on.push(at)
      at = (await tree.inode(engine.reader(ctx), at, NOW))?.parent ?? 0
      if (at === 0) known.set(at, false) // in the trash, or gone
    }
    const is = known.get(at)!
    for (const each of on) known.set(each, is)
    return is
  }

  async function oldOf(ctx: Context, ino: number): Promise<Old> {
    const inode = await tree.inode(engine.reader(ctx), ino, NOW)
    return { to: ino, sec: inode?.mtimeSec ?? 0, nsec: inode?.mtimeNsec ?? 0, isWhole: true }
  }

  /** In one transaction; of a folder whose name a folder has, what was in it goes there. */
  async function putBack(ctx: Context, domain: number, batch: readonly Removed[], olds: Map<number, Old>): Promise<{ readonly restored: readonly Restored[]; readonly skipped: number }> {
    const op = opOf(ctx)
    let merged = new Map<number, number>()
    const outcome = await engine.transact(ctx, async (tx) => {
      const restored: Restored[] = []
      merged = new Map()
      let skipped = 0
      for (const r of batch) {
        const parent = merged.get(r.parent) ?? olds.get(r.parent)!.to
        try {
          await tree.restore(tx, op, r, parent, r.name)
          restored.push({ ino: r.ino, parent, name: r.name })
        } catch (e) { // ENOENT: somebody else was quicker; ENOTDIR, ESTALE: its folder stayed behind
          if (!(e instanceof PosixError) || !['EEXIST', 'ENOENT', 'ENOTDIR', 'ESTALE'].includes(e.code)) throw e
          const there = isFolder(r) && e.code === 'EEXIST' ? await folderAt(tx, parent, r.name, domain) : undefined
          if (there === undefined) skipped++
          else merged.set(r.ino, there)
        }
      }
      return { restored, skipped }
    })
    for (const [ino, to] of merged) olds.set(ino, { ...olds.get(ino)!, to })
    return outcome
  }

  async function folderAt(tx: Tx, parent: number, name: string, domain: number): Promise<number | undefined> {
    const there = await tree.lookup(tx, parent, name, NOW)
    const inode = there === undefined ? undefined : await tree.inode(tx, there.ino, NOW)
    return inode !== undefined && (inode.mode & S_IFMT) === S_IFDIR && inode.domain === domain ? inode.ino : undefined
  }

  return {
    async restore(ctx, removed, to, scope, told) {
      const { domain } = removed
      const folders = to !== undefined || await isThere(ctx, removed.parent) ? undefined : await foldersIn(floors, ctx, domain)
      const parent = to?.parent ?? (folders === undefined ? removed.parent : await landing(ctx, domain, removed.parent, folders, told))
      const at = await one(ctx, removed, parent, to?.name ?? removed.name, told)
      const skipped = isFolder(removed) ? await below(ctx, domain, { folder: removed.ino, behind: removed.key, sec: removed.sec }, scope, told) : 0
      await engine.sync(ctx)
      return { at, skipped }
    },
    async restoreBelow(ctx, domain, folder, told) {
      const skipped = await below(ctx, domain, { folder, behind: '', sec: Infinity }, 'all', told)
      await engine.sync(ctx)
      return { skipped }
    }
  }
}
