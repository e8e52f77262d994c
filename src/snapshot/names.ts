/**
 * What a snapshot is called outside: `/path@NAME`, where /path leads to the root of a domain (`/` or a subvolume), or `VOLUME@NAME`.
 * Paths are text; names in the tree are the bytes of its UTF-8.
 */
import type { Context } from '../sys/index.js'
import type { Engine } from '../engine/index.js'
import { NOW } from '../data/index.js'
import { ROOT_INO } from '../meta/index.js'
import type { Inode, Tree } from '../meta/index.js'

export interface Named {
  /** Absolute; '/' is the root tree. Without a '/': a volume's name. */
  readonly path: string
  readonly name: string
}

/** undefined: it has no '@', or something is wrong with the name behind it. */
export function parseNamed(text: string): Named | undefined {
  const at = text.lastIndexOf('@')
  const path = text.slice(0, at)
  const name = text.slice(at + 1)
  if (at < 1 || name === '' || name === '.' || name === '..' || name.includes('/')) return undefined
  return { path, name }
}

export const bytesOf = (text: string): string => Buffer.from(text, 'utf8').latin1Slice()
export const textOf = (bytes: string): string => Buffer.from(bytes, 'latin1').toString('utf8')

export const namesOf = (path: string): string[] => path.split('/').filter((name) => name !== '' && name !== '.').map(bytesOf)

/** The inode at a path, no link followed; undefined: nothing is there. */
export async function inodeAtPath(engine: Engine, tree: Tree, ctx: Context, path: string): Promise<Inode | undefined> {
  const reader = engine.reader(ctx)
  let inode = await tree.inode(reader, ROOT_INO, NOW)
  for (const name of namesOf(path)) {
    if (inode === undefined) return undefined
    const found = await tree.lookup(reader, inode.ino, name, NOW)
    if (found === undefined) return undefined
    inode = await tree.inode(reader, found.ino, NOW)
  }
  return inode
}
