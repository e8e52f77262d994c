/**
 * Clones of the tree's snapshots under power cuts: made while others work, some folders of them looked into. The law: one that was
 * answered is there, and one that is there shows what its snapshot shows, or showed before the last cut.
 */
import type { Pool } from '../../src/pool/index.js'
import { backgroundContext } from '../../src/sys/index.js'
import type { Random } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import type { History } from './history.js'
import { readFile } from './verdict.js'

export interface CloneHistory {
  /** Of this snapshot of the tree. */
  readonly of: string
  /** Infinity until it is answered. */
  endMs: number
  /** What it showed when this generation began. */
  readonly found: readonly string[] | undefined
}

export const isClone = (name: string): boolean => name.startsWith('clone-')
const nameOf = (of: string): string => `clone-${of}`
const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000
const ctx = backgroundContext()

async function namesIn(vfs: Vfs, dir: number): Promise<string[]> {
  const names: string[] = []
  await vfs.readdir(ctx, dir, 0, 0, 0, { entry: (name) => (name === '.' || name === '..' ? true : names.push(name) > 0) }, false)
  return names.sort()
}

/** Everything below a folder but what tells a clone from its snapshot: inode numbers, and what subvolumes became. */
async function textOf(vfs: Vfs, dir: number, path = ''): Promise<string[]> {
  const lines: string[] = []
  for (const name of await namesIn(vfs, dir)) {
    const attr = (await vfs.lookup(ctx, dir, name))!
    const at = `${path}/${name}`
    const type = attr.mode & S_IFMT
    if (path === '' && isClone(name)) lines.push(at)
    else if (type === S_IFDIR) lines.push(`${at} ${attr.mode} ${attr.nlink} ${attr.mtimeSec}.${attr.mtimeNsec}`, ...await textOf(vfs, attr.ino, at))
    else if (type === S_IFLNK) lines.push(`${at} -> ${await vfs.readlink(ctx, attr.ino)}`)
    else lines.push(`${at} ${attr.mode} ${attr.nlink} ${attr.mtimeSec}.${attr.mtimeNsec} ${(await readFile(vfs, attr.ino)).toString('base64')}`)
  }
  return lines
}

export async function makeClone(pool: Pool, history: History, of: string, random: Random, nowMs: () => number): Promise<void> {
  const clone: CloneHistory = { of, endMs: Infinity, found: undefined }
  history.clones.push(clone)
  await pool.clones.clone(`/@${of}`, `/${nameOf(of)}`)
  clone.endMs = nowMs()
  const look = async (dir: number): Promise<void> => {
    for (const name of await namesIn(pool.vfs, dir)) {
      const attr = (await pool.vfs.lookup(ctx, dir, name))!
      if ((attr.mode & S_IFMT) === S_IFDIR && random.uint32() % 2 === 0) await look(attr.ino)
    }
  }
  if (random.uint32() % 4 > 0) await look((await pool.vfs.lookup(ctx, ROOT_NODE, nameOf(of)))!.ino)
}

/** What clones there are, and what they show. */
export async function judgeClones({ vfs }: Pool, history: History, ms: number, wrong: string[]): Promise<ReadonlyMap<string, readonly string[]>> {
  const shown = new Map<string, readonly string[]>()
  const list = await vfs.lookup(ctx, ROOT_NODE, '.snapshots')
  for (const { of, endMs, found } of history.clones) {
    const clone = await vfs.lookup(ctx, ROOT_NODE, nameOf(of))
    if (clone === undefined) {
      if (endMs <= ms) wrong.push(`the clone of ${of} is gone, which was answered ${(ms - endMs).toFixed(1)} ms before`)
      continue
    }
    const snapshot = await vfs.lookup(ctx, list!.ino, of)
    const was = found ?? (snapshot === undefined ? undefined : await textOf(vfs, snapshot.ino))
    const is = await textOf(vfs, clone.ino)
    const at = was?.findIndex((line, i) => line !== is[i]) ?? -1
    if (was !== undefined && (at >= 0 || is.length !== was.length)) wrong.push(`the clone of ${of} shows ${is[at < 0 ? was.length : at]?.slice(0, 200)}, its snapshot ${was[at]?.slice(0, 200)}`)
    shown.set(of, is)
  }
  return shown
}

/** They go, and with them what they hold. */
export async function dropClones({ vfs, subvolumes }: Pool): Promise<void> {
  const clear = async (dir: number): Promise<void> => {
    for (const name of await namesIn(vfs, dir)) {
      const attr = (await vfs.lookup(ctx, dir, name))!
      if ((attr.mode & S_IFMT) !== S_IFDIR) await vfs.unlink(ctx, dir, name)
      else {
        await clear(attr.ino)
        await vfs.rmdir(ctx, dir, name)
      }
      vfs.forget(attr.ino)
    }
  }
  for (const name of (await namesIn(vfs, ROOT_NODE)).filter(isClone)) {
    await clear((await vfs.lookup(ctx, ROOT_NODE, name))!.ino)
    await subvolumes.remove(`/${name}`)
  }
}
