/**
 * open, create, O_TMPFILE, close. The permission to open is decided once, here or by the kernel; later calls only ask what
 * the open file allows.
 *   - create looks the name up and makes the file in one transaction: of two racing creates with O_EXCL one wins, without
 *     it both open the same file. Its creator may write a file of any mode; who finds it there is checked, whoever else
 *     checks permissions, for the kernel believed that there was nothing to check.
 *   - O_TRUNC cuts the file before the open is answered.
 */
import { O_ACCMODE, O_APPEND, O_EXCL, O_NOATIME, O_RDONLY, O_RDWR, O_TRUNC, PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { Inode } from '../meta/index.js'
import {
  change, FS_APPEND_FL, FS_IMMUTABLE_FL, inodeOf, R_OK, readerOf, requireAccess, requireName, requireWritable, S_IFDIR,
  S_IFLNK, S_IFMT, S_IFREG, then, W_OK, X_OK,
} from './core.js'
import type { Core } from './core.js'
import { resize } from './attributes.js'
import type { Handles } from './handles.js'
import type { Orphans } from './orphans.js'
import type { Node, Opened, Vfs } from './vfs.js'
import type { Writeout } from './writeout.js'

type Opening = Pick<Vfs, 'open' | 'create' | 'tmpfile' | 'flush' | 'release'>

export interface OpeningParts {
  readonly handles: Handles
  readonly writeout: Writeout
  readonly orphans: Orphans
  readonly takeNumber: () => MaybePromise<number>
}

/** What access(2) would be asked for these flags of open(2). */
function accessMask(flags: number): number {
  const access = flags & O_ACCMODE
  const mask = access === O_RDONLY ? R_OK : access === O_RDWR ? R_OK | W_OK : W_OK
  return (flags & O_TRUNC) !== 0 ? mask | W_OK : mask
}

export function openingOf(core: Core, { handles, writeout, orphans, takeNumber }: OpeningParts): Opening {
  const { tree } = core

  /** What no permission can give. */
  const requireOpenable = (ctx: Context, inode: Inode, flags: number): void => {
    const writes = (accessMask(flags) & W_OK) !== 0
    switch (inode.mode & S_IFMT) {
      case S_IFREG: break
      case S_IFDIR: if (writes) throw new PosixError('EISDIR'); break
      case S_IFLNK: throw new PosixError('ELOOP')
      default: throw new PosixError('ENXIO') // the kernel opens what is not a file itself
    }
    if (orphans.isDead(inode.ino)) throw new PosixError('ESTALE')
    if (writes) {
      requireWritable(core)
      if ((inode.flags & FS_IMMUTABLE_FL) !== 0) throw new PosixError('EPERM')
      const appends = (flags & O_APPEND) !== 0 && (flags & O_TRUNC) === 0
      if ((inode.flags & FS_APPEND_FL) !== 0 && !appends) throw new PosixError('EPERM')
    }
    if (core.checks && (flags & O_NOATIME) !== 0 && ctx.uid !== 0 && ctx.uid !== inode.uid) throw new PosixError('EPERM')
  }

  const admit = (ctx: Context, inode: Inode, flags: number): MaybePromise<Opened> => {
    if ((flags & O_TRUNC) === 0) return register(inode, flags)
    return resize(core, writeout, ctx, inode, 0, ctx.uid !== 0).then(() => register(inode, flags))
  }

  const register = (inode: Inode, flags: number): Opened => ({ handle: handles.openFile(inode, flags), keepCache: true })

  const openFound = (ctx: Context, inode: Inode, flags: number): MaybePromise<Opened> => {
    requireOpenable(ctx, inode, flags)
    return core.checks ? then(requireAccess(core, ctx, inode, accessMask(flags)), () => admit(ctx, inode, flags)) : admit(ctx, inode, flags)
  }

  const openExisting = async (ctx: Context, ino: number, flags: number) => {
    if ((flags & O_EXCL) !== 0) throw new PosixError('EEXIST')
    const inode = await inodeOf(core, ctx, ino)
    if ((inode.mode & S_IFMT) === S_IFDIR) throw new PosixError('EISDIR')
    requireOpenable(ctx, inode, flags)
    const refusal = await tree.mayAccess(readerOf(core, ctx), ctx, core.show(inode), accessMask(flags))
    if (refusal !== undefined) throw refusal
    const { handle } = await admit(ctx, inode, flags)
    return { handle, keepCache: true, attr: core.show(await inodeOf(core, ctx, ino)) }
  }

  return {
    open: (ctx, node, flags) => then(inodeOf(core, ctx, node), (inode) => openFound(ctx, inode, flags)),

    async create(ctx, parent, name, mode, umask, flags) {
      requireName(name, 'EEXIST')
      if (core.checks) await requireAccess(core, ctx, await inodeOf(core, ctx, parent), X_OK)
      const found = await tree.lookup(readerOf(core, ctx), parent, name, NOW)
      if (found !== undefined) return openExisting(ctx, found.ino, flags)
      requireWritable(core)
      const args = { parent, name, mode: (mode & ~S_IFMT) | S_IFREG, umask, rdev: 0, target: undefined, ino: await takeNumber() }
      const made = await change(core, ctx, (tx, op) =>
        then(tree.lookup(tx, parent, name, NOW), (other): MaybePromise<Inode | number> => other?.ino ?? tree.make(tx, op, args)))
      if (typeof made === 'number') return openExisting(ctx, made, flags)
      return { handle: handles.openFile(made, flags), keepCache: true, attr: core.show(made) }
    },

    async tmpfile(ctx, parent, mode, umask, flags) {
      if ((flags & O_ACCMODE) === O_RDONLY) throw new PosixError('EINVAL')
      requireWritable(core)
      const args = { parent, name: '', mode: (mode & ~S_IFMT) | S_IFREG, umask, rdev: 0, target: undefined, ino: await takeNumber() }
      const inode = await change(core, ctx, (tx, op) => tree.makeUnnamed(tx, op, args))
      const handle = handles.openFile(inode, flags)
      orphans.unlinked(inode.ino)
      return { handle, keepCache: true, attr: core.show(inode) }
    },

    flush(_ctx, node: Node, handle) {
      const file = handles.file(handle, node)
      if (file !== undefined) writeout.report(node, file)
    },

    release: (_ctx, _node, handle) => handles.closeFile(handle),
  }
}
