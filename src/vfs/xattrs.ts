/**
 * Extended attributes. The kernel decides who may touch which namespace where it checks permissions; with `checks` that is
 * done here, by xattr(7): user.* on files and directories only, with read or write permission; trusted.* for root alone;
 * security.* written by root alone; POSIX ACLs by the owner (meta decides, with the rest of what an ACL changes).
 * That only root sees trusted.* in a list is ours in any case: the kernel leaves it to the file system.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { Inode } from '../meta/index.js'
import { change, inodeOf, isDirectory, isRegular, R_OK, readerOf, requireAccess, requireWritable, then, W_OK } from './core.js'
import type { Core } from './core.js'
import { SETXATTR_CREATE, SETXATTR_REPLACE } from './vfs.js'
import type { Node, Vfs } from './vfs.js'

type Xattrs = Pick<Vfs, 'setxattr' | 'getxattr' | 'listxattr' | 'removexattr'>

const XATTR_NAME_MAX_BYTES = 255
const XATTR_VALUE_MAX_BYTES = 65_536
const S_ISVTX = 0o1000

export function xattrsOf(core: Core): Xattrs {
  const { tree } = core

  const readChecked = (ctx: Context, inode: Inode, name: string): MaybePromise<Uint8Array | undefined> => {
    if (name.startsWith('trusted.') && ctx.uid !== 0) return undefined
    if (!name.startsWith('user.')) return read(ctx, inode.ino, name)
    if (!isRegular(inode) && !isDirectory(inode)) return undefined
    return then(requireAccess(core, ctx, inode, R_OK), () => read(ctx, inode.ino, name))
  }

  const requireMayWrite = (ctx: Context, node: Node, name: string): MaybePromise<void> => {
    requireWritable(core)
    if (name === '' || name.length > XATTR_NAME_MAX_BYTES) throw new PosixError('ERANGE')
    if (!core.checks) return
    return then(inodeOf(core, ctx, node), (inode) => {
      const privileged = name.startsWith('trusted.') || name.startsWith('security.')
      if (privileged && ctx.uid !== 0) throw new PosixError('EPERM')
      if (!name.startsWith('user.')) return
      if (!isRegular(inode) && !isDirectory(inode)) throw new PosixError('EPERM')
      const othersSticky = isDirectory(inode) && (inode.mode & S_ISVTX) !== 0 && ctx.uid !== 0 && ctx.uid !== inode.uid
      if (othersSticky) throw new PosixError('EPERM')
      return requireAccess(core, ctx, inode, W_OK)
    })
  }

  const read = (ctx: Context, node: Node, name: string): MaybePromise<Uint8Array | undefined> => {
    const value = tree.getxattr(readerOf(core, ctx), node, name, NOW)
    return value instanceof Promise ? value.then((found) => found ?? noneOf(ctx, node)) : value ?? noneOf(ctx, node)
  }

  /** ESTALE if it is the inode that is missing. */
  const noneOf = (ctx: Context, node: Node): MaybePromise<undefined> => {
    const inode = inodeOf(core, ctx, node)
    return inode instanceof Promise ? inode.then(() => undefined) : undefined
  }

  return {
    getxattr(ctx, node, name) {
      if (!core.checks) return read(ctx, node, name)
      return then(inodeOf(core, ctx, node), (inode) => readChecked(ctx, inode, name))
    },

    listxattr: (ctx, node) => then(inodeOf(core, ctx, node), () =>
      then(tree.listxattr(readerOf(core, ctx), node, NOW), (names) =>
        ctx.uid !== 0 ? names.filter((name) => !name.startsWith('trusted.')) : names)),

    async setxattr(ctx, node, name, value, flags, killSgid) {
      if ((flags & ~(SETXATTR_CREATE | SETXATTR_REPLACE)) !== 0) throw new PosixError('EINVAL')
      if (value.length > XATTR_VALUE_MAX_BYTES) throw new PosixError('E2BIG')
      await requireMayWrite(ctx, node, name)
      await change(core, ctx, (tx, op) => tree.setxattr(tx, op, node, name, value, flags, killSgid))
    },

    async removexattr(ctx, node, name) {
      await requireMayWrite(ctx, node, name)
      await change(core, ctx, (tx, op) => tree.removexattr(tx, op, node, name))
    },
  }
}
