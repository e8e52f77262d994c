/**
 * `ogee clone POOL /a /b`: a new file that shares every extent of another, with its owner, mode, times, ACLs and extended attributes.
 *   - It has no name before it is whole: a crash in between leaves nothing.
 *   - What is written to the original meanwhile may be in it or not.
 */
import { NO_TOUCH, NOW } from '../data/index.js'
import type { Data } from '../data/index.js'
import type { Engine } from '../engine/index.js'
import { S_IFDIR, S_IFMT, S_IFREG } from '../meta/index.js'
import type { Inode, Tree } from '../meta/index.js'
import { inodeAtPath } from '../snapshot/index.js'
import { O_RDWR, PosixError, rootContext } from '../sys/index.js'
import { SET_ATIME, SET_GID, SET_MODE, SET_MTIME, SET_UID } from '../vfs/index.js'
import type { Node, Vfs } from '../vfs/index.js'
import { poolNames } from './names.js'
import type { Place } from './names.js'
import { Refusal, saying } from './refusal.js'

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly vfs: Vfs
}

/** What FROM is, if it is a file. */
export async function fileAt({ engine, tree }: Parts, from: string): Promise<Inode | undefined> {
  const inode = await inodeAtPath(engine, tree, rootContext, from)
  return inode !== undefined && (inode.mode & S_IFMT) === S_IFREG ? inode : undefined
}

/** Why FROM cannot be cloned, which is a path and no file. */
export async function noFile({ engine, tree }: Parts, from: string): Promise<Refusal> {
  const inode = await inodeAtPath(engine, tree, rootContext, from)
  if (inode === undefined) return new Refusal('missing', `There is no ${from} in the pool.`)
  if ((inode.mode & S_IFMT) !== S_IFDIR) return new Refusal('usage', `${from} is no regular file: cp -a copies it.`)
  return new Refusal('usage', `${from} is a folder: clone a snapshot of it (\`ogee snapshot create\`, then ${from === '/' ? '' : from}/@NAME), or its files.`)
}

export async function cloneFile(parts: Parts, source: Inode, to: string): Promise<Place> {
  const { engine, tree, vfs } = parts
  const place = await poolNames({ engine, tree }).placeAt(to)
  await saying({
    EEXIST: () => new Refusal('exists', `There is something at ${place.path} already: choose another path, or remove it first.`),
    ENOTDIR: () => new Refusal('usage', `What ${place.path} would be in is no folder: choose another path.`),
    ENAMETOOLONG: () => new Refusal('usage', 'A name has at most 255 bytes: choose a shorter one.'),
    ENOSPC: () => new Refusal('full', `The pool has too little space for what of ${place.path} cannot be shared: free some, or enlarge the pool (\`ogee grow\`).`),
    EROFS: () => new Refusal('read-only', 'The pool is mounted read-only: mount it read-write first.')
  }, async () => {
    if (await vfs.lookup(rootContext, place.parent, place.name) !== undefined) throw new PosixError('EEXIST')
    await make(parts, source, place)
  })
  return place
}

async function make(parts: Parts, source: Inode, { parent, name }: Place): Promise<void> {
  const { vfs, data } = parts
  const { attr, handle } = await vfs.tmpfile(rootContext, parent, S_IFREG | 0o600, 0, O_RDWR)
  const node = attr.ino
  try {
    await copyBytes(parts, source.ino, node)
    await copyAttributes(vfs, source, node)
    await data.sync(rootContext, node)
    await vfs.link(rootContext, node, parent, name)
  } finally {
    await vfs.release(rootContext, node, handle)
  }
  await vfs.syncAll(rootContext)
}

async function copyBytes({ data, tree, engine }: Parts, from: number, to: number): Promise<void> {
  const sizeBytes = (await tree.inode(engine.reader(rootContext), from, NOW))?.sizeBytes ?? 0
  for (let done = 0; done < sizeBytes;) {
    const n = await data.copy(rootContext, from, NOW, done, to, done, sizeBytes - done, NO_TOUCH, 'shared')
    if (n === 0) return
    done += n
  }
}

/** Owner first: it takes bits of the mode away. */
async function copyAttributes(vfs: Vfs, source: Inode, node: Node): Promise<void> {
  const names = await vfs.listxattr(rootContext, source.ino)
  for (const extra of await vfs.listxattr(rootContext, node)) if (!names.includes(extra)) await vfs.removexattr(rootContext, node, extra) // a folder's default ACL
  await vfs.setattr(rootContext, node, { ...source, valid: SET_UID | SET_GID }, 0)
  await vfs.setattr(rootContext, node, { ...source, mode: source.mode & ~S_IFMT, valid: SET_MODE }, 0)
  for (const name of names) {
    const value = await vfs.getxattr(rootContext, source.ino, name)
    if (value !== undefined) await vfs.setxattr(rootContext, node, name, value, 0, false)
  }
  await vfs.setattr(rootContext, node, { ...source, valid: SET_ATIME | SET_MTIME }, 0)
}
