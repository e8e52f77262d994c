/**
 * Names: lookup, make, link, unlink, rename. Each change is one transaction; what its body needs besides (an inode number,
 * the time) is taken before it.
 *   - lookup of a cached name answers in the same tick. A miss is undefined; only a miss asks what the parent is.
 *   - A rename over a file has the moved file's bytes on the disk first, so that a power cut never leaves neither.
 *   - What loses its last name goes to orphans.ts, or stays in the trash.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { Inode } from '../meta/index.js'
import {
  change, inodeOf, isDirectory, NAME_MAX_BYTES, readerOf, requireAccess, requireName, requireWritable,
  S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, TARGET_MAX_BYTES, then, X_OK,
} from './core.js'
import type { Core } from './core.js'
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, ROOT_NODE } from './vfs.js'
import type { Attr, Node, Vfs } from './vfs.js'
import type { Atimes } from './atime.js'
import type { Orphans } from './orphans.js'
import type { Writeout } from './writeout.js'

type Names = Pick<Vfs, 'lookup' | 'forget' | 'readlink' | 'mknod' | 'mkdir' | 'symlink' | 'link' | 'unlink' | 'rmdir' | 'rename'>
type Found = { readonly ino: number; readonly typeBits: number } | undefined

export interface NamespaceParts {
  readonly takeNumber: () => MaybePromise<number>
  readonly atimes: Atimes
  readonly orphans: Orphans
  readonly writeout: Writeout
}

export function namespaceOf(core: Core, { takeNumber, atimes, orphans, writeout }: NamespaceParts): Names {
  const { tree } = core

  const find = (ctx: Context, parent: Node, name: string): MaybePromise<Attr | undefined> => {
    const found = tree.lookup(readerOf(core, ctx), parent, name, NOW)
    return found instanceof Promise ? found.then((f) => show(ctx, parent, name, f)) : show(ctx, parent, name, found)
  }

  const show = (ctx: Context, parent: Node, name: string, found: Found): MaybePromise<Attr | undefined> => {
    if (found === undefined) return then(directory(ctx, parent), () => undefined)
    const inode = tree.inode(readerOf(core, ctx), found.ino, NOW)
    if (inode instanceof Promise) return inode.then((i) => i === undefined ? vanished(ctx, parent, name, found.ino) : core.show(i))
    return inode === undefined ? vanished(ctx, parent, name, found.ino) : core.show(inode)
  }

  /** The name pointed to nothing: it was removed between our two reads, or the pool is damaged. */
  const vanished = async (ctx: Context, parent: Node, name: string, ino: number): Promise<undefined> => {
    const again = await tree.lookup(readerOf(core, ctx), parent, name, NOW)
    if (again?.ino === ino && (await tree.inode(readerOf(core, ctx), ino, NOW)) === undefined) throw new PosixError('EIO')
    return undefined
  }

  const directory = (ctx: Context, node: Node): MaybePromise<Inode> => then(inodeOf(core, ctx, node), (inode) => {
    if (!isDirectory(inode)) throw new PosixError('ENOTDIR')
    return inode
  })

  const self = (ctx: Context, node: Node): MaybePromise<Attr> => {
    if (orphans.isDead(node)) throw new PosixError('ESTALE')
    return then(inodeOf(core, ctx, node), core.show)
  }

  const parentOf = (ctx: Context, node: Node): MaybePromise<Attr> => {
    if (node === ROOT_NODE) return self(ctx, node)
    return then(directory(ctx, node), (inode) => {
      if (inode.parent === 0) throw new PosixError('ESTALE')
      return self(ctx, inode.parent)
    })
  }

  const make = (ctx: Context, parent: Node, name: string, mode: number, rdev: number, umask: number, target: string | undefined): Promise<Attr> => {
    requireName(name, 'EEXIST')
    requireWritable(core)
    const ino = takeNumber()
    const made = (given: number): Promise<Inode> => {
      const args = { parent, name, mode, umask, rdev, target, ino: given }
      return change(core, ctx, (tx, op) => tree.make(tx, op, args))
    }
    return (ino instanceof Promise ? ino.then(made) : made(ino)).then(core.show)
  }

  return {
    lookup(ctx, parent, name) {
      if (name.length > NAME_MAX_BYTES) throw new PosixError('ENAMETOOLONG')
      if (name === '.') return self(ctx, parent)
      if (name === '..') return parentOf(ctx, parent)
      if (!core.checks) return find(ctx, parent, name)
      return then(directory(ctx, parent), (dir) => then(requireAccess(core, ctx, dir, X_OK), () => find(ctx, parent, name)))
    },

    forget: (node) => orphans.forgotten(node),

    readlink: (ctx, node) => then(inodeOf(core, ctx, node), (inode) => {
      if ((inode.mode & S_IFMT) !== S_IFLNK || inode.inline === undefined) throw new PosixError('EINVAL')
      atimes.touch(node, undefined)
      return Buffer.from(inode.inline.buffer, inode.inline.byteOffset, inode.inline.byteLength).latin1Slice()
    }),

    mknod(ctx, parent, name, mode, rdev, umask) {
      const type = mode & S_IFMT
      switch (type === 0 ? S_IFREG : type) {
        case S_IFREG: return make(ctx, parent, name, (mode & ~S_IFMT) | S_IFREG, 0, umask, undefined)
        case S_IFIFO:
        case S_IFSOCK: return make(ctx, parent, name, mode, 0, umask, undefined)
        case S_IFCHR:
        case S_IFBLK: {
          const whiteout = type === S_IFCHR && rdev === 0
          if (core.checks && ctx.uid !== 0 && !whiteout) throw new PosixError('EPERM')
          return make(ctx, parent, name, mode, rdev, umask, undefined)
        }
        default: throw new PosixError(type === S_IFDIR ? 'EPERM' : 'EINVAL')
      }
    },

    mkdir: (ctx, parent, name, mode, umask) => make(ctx, parent, name, (mode & ~S_IFMT) | S_IFDIR, 0, umask, undefined),

    symlink(ctx, parent, name, target) {
      if (target === '') throw new PosixError('ENOENT')
      if (target.length > TARGET_MAX_BYTES) throw new PosixError('ENAMETOOLONG')
      return make(ctx, parent, name, S_IFLNK | 0o777, 0, 0, target)
    },

    async link(ctx, node, newParent, newName) {
      requireName(newName, 'EEXIST')
      if (orphans.isDead(node)) throw new PosixError('ENOENT')
      const inode = await change(core, ctx, (tx, op) => tree.link(tx, op, node, newParent, newName))
      orphans.linked(node)
      return core.show(inode)
    },

    async unlink(ctx, parent, name) {
      requireName(name, 'EISDIR')
      const { left, isOrphan } = await change(core, ctx, (tx, op) => tree.unlink(tx, op, parent, name))
      if (isOrphan) orphans.unlinked(left.ino)
    },

    async rmdir(ctx, parent, name) {
      if (name === '..') throw new PosixError('ENOTEMPTY')
      requireName(name, 'EINVAL')
      const { left, isOrphan } = await change(core, ctx, (tx, op) => tree.rmdir(tx, op, parent, name))
      if (isOrphan) orphans.unlinked(left.ino)
    },

    async rename(ctx, parent, name, newParent, newName, flags) {
      requireName(name, 'EBUSY')
      requireName(newName, (flags & RENAME_NOREPLACE) !== 0 ? 'EEXIST' : 'EBUSY')
      const known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT
      const contradicts = (flags & RENAME_EXCHANGE) !== 0 && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0
      if ((flags & ~known) !== 0 || contradicts) throw new PosixError('EINVAL')
      requireWritable(core)
      if ((flags & (RENAME_NOREPLACE | RENAME_EXCHANGE)) === 0) {
        const before = bytesFirst(ctx, parent, name, newParent, newName)
        if (before instanceof Promise) await before
      }
      const whiteoutIno = (flags & RENAME_WHITEOUT) !== 0 ? await takeNumber() : 0
      const args = { parent, name, newParent, newName, flags, whiteoutIno }
      const { replaced, isOrphan } = await change(core, ctx, (tx, op) => tree.rename(tx, op, args))
      if (isOrphan && replaced !== undefined) orphans.unlinked(replaced.ino)
    },
  }

  /** If a file is to be replaced: what the store holds of the moved one is synced. What else may be wrong, rename tells. */
  function bytesFirst(ctx: Context, parent: Node, name: string, newParent: Node, newName: string): MaybePromise<void> {
    const reader = readerOf(core, ctx)
    return then(tree.lookup(reader, newParent, newName, NOW), (old) => {
      if (old === undefined) return
      return then(tree.lookup(reader, parent, name, NOW), (moved) => {
        if (moved === undefined || moved.ino === old.ino) return
        return then(tree.inode(reader, moved.ino, NOW), (inode) => inode === undefined ? undefined : writeout.syncBeforeReplace(ctx, inode))
      })
    })
  }
}
