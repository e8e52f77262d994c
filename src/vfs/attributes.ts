/**
 * What stat shows and what chmod, chown, utimensat, truncate and FS_IOC_SETFLAGS change; access; statfs.
 *   - getattr answers with the committed inode itself, in the same tick when it is cached.
 *   - A change of size is the data floor's transaction, everything else one of meta's; a request for both is two, size first.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { FILE_MAX_BYTES } from '../data/index.js'
import type { Owed } from '../data/index.js'
import type { Inode } from '../meta/index.js'
import {
  change, FS_APPEND_FL, FS_IMMUTABLE_FL, inodeOf, isDirectory, isRegular, NAME_MAX_BYTES, readerOf, requireAccess,
  requireWritable, then, timeNow, W_OK,
} from './core.js'
import type { Core } from './core.js'
import { SET_ATIME, SET_ATIME_NOW, SET_KILL_SUIDGID, SET_SIZE } from './vfs.js'
import type { Handle, Node, SetAttr, Vfs } from './vfs.js'
import type { Atimes } from './atime.js'
import type { Orphans } from './orphans.js'
import type { Writeout } from './writeout.js'

type Attributes = Pick<Vfs, 'getattr' | 'setattr' | 'access' | 'statfs' | 'getflags' | 'setflags'>

const BLOCK_BYTES = 4096
/** An inode takes its place in the engine, not in the store: a generous guess of how many more there may be. */
const BYTES_PER_INODE = 4096

/** The two sides of the mount's overrides, as libfuse shows them. */
export function overridden(inode: Inode, uid: number | undefined, gid: number | undefined, umask: number | undefined): Inode {
  return {
    ...inode,
    uid: uid ?? inode.uid,
    gid: gid ?? inode.gid,
    mode: umask === undefined ? inode.mode : (inode.mode & ~0o777) | (0o777 & ~umask),
  }
}

/** As the commit of what it is owed leaves it. */
export function withOwed(inode: Inode, { touch, since }: Owed): Inode {
  const m = inode.mtimeSec === since.sec && inode.mtimeNsec === since.nsec
  const c = inode.ctimeSec === since.sec && inode.ctimeNsec === since.nsec
  return {
    ...inode,
    mtimeSec: m ? touch.sec : inode.mtimeSec, mtimeNsec: m ? touch.nsec : inode.mtimeNsec,
    ctimeSec: c ? touch.sec : inode.ctimeSec, ctimeNsec: c ? touch.nsec : inode.ctimeNsec,
  }
}

/** Cuts or grows a file; the caller was found to be allowed to. Shared with O_TRUNC. */
export async function resize(core: Core, writeout: Writeout, ctx: Context, inode: Inode, sizeBytes: number, killSuidgid: boolean): Promise<void> {
  requireWritable(core)
  if (isDirectory(inode)) throw new PosixError('EISDIR')
  if (!isRegular(inode) || sizeBytes < 0) throw new PosixError('EINVAL')
  if ((inode.flags & (FS_IMMUTABLE_FL | FS_APPEND_FL)) !== 0) throw new PosixError('EPERM')
  if (sizeBytes > FILE_MAX_BYTES) throw new PosixError('EFBIG')
  const open = core.openNodes.get(inode.ino)
  if (open !== undefined) open.atimeSettled = false
  if (sizeBytes === 0 && inode.sizeBytes > 0) writeout.truncatedToZero(inode.ino)
  await core.data.truncate(ctx, inode.ino, sizeBytes, { touch: timeNow(core), killSuidgid })
}

interface AttributesParts {
  readonly atimes: Atimes
  readonly orphans: Orphans
  readonly writeout: Writeout
  readonly mayWrite: (handle: Handle, node: Node) => boolean
}

export function attributesOf(core: Core, { atimes, orphans, writeout, mayWrite }: AttributesParts): Attributes {
  const { tree } = core

  const setSize = async (ctx: Context, node: Node, set: SetAttr, handle: Handle): Promise<void> => {
    const inode = await inodeOf(core, ctx, node)
    if (isDirectory(inode)) throw new PosixError('EISDIR')
    if (!mayWrite(handle, node)) await requireAccess(core, ctx, inode, W_OK)
    const kill = (set.valid & SET_KILL_SUIDGID) !== 0 || (core.checks && ctx.uid !== 0)
    await resize(core, writeout, ctx, inode, set.sizeBytes, kill)
  }

  const setRest = async (ctx: Context, node: Node, set: SetAttr): Promise<Inode> => {
    if ((set.valid & (SET_ATIME | SET_ATIME_NOW)) !== 0) atimes.drop(node)
    core.data.settleTimes(node)
    const inode = await change(core, ctx, (tx, op) => tree.setattr(tx, op, node, set))
    const open = core.openNodes.get(node)
    if (open !== undefined) open.atimeSettled = false
    return inode
  }

  return {
    getattr(ctx, node) {
      const inode = inodeOf(core, ctx, node)
      return inode instanceof Promise ? inode.then(core.show) : core.show(inode)
    },

    async setattr(ctx, node, set, handle) {
      requireWritable(core)
      let valid = set.valid
      if ((valid & SET_SIZE) !== 0) {
        await setSize(ctx, node, set, handle)
        valid &= ~(SET_SIZE | SET_KILL_SUIDGID)
        if (valid === 0) return then(inodeOf(core, ctx, node), core.show)
      }
      return core.show(await setRest(ctx, node, valid === set.valid ? set : { ...set, valid }))
    },

    access: (ctx, node, mask) => then(inodeOf(core, ctx, node), (inode) => {
      if ((mask & W_OK) !== 0 && core.readOnly) throw new PosixError('EROFS')
      const refusal = tree.mayAccess(readerOf(core, ctx), ctx, core.show(inode), mask)
      return then(refusal, (error) => {
        if (error !== undefined) throw error
      })
    }),

    statfs: (ctx) => then(orphans.soon(), () => then(tree.usage(readerOf(core, ctx)), (usage) => {
      const { sizeBytes, freeBytes, keptBytes } = core.store.status()
      const free = Math.floor(freeBytes / BLOCK_BYTES)
      const filesFree = Math.floor(freeBytes / BYTES_PER_INODE)
      return {
        blockBytes: BLOCK_BYTES,
        blocks: Math.floor(sizeBytes / BLOCK_BYTES),
        blocksFree: free,
        blocksAvailable: Math.floor(Math.max(0, freeBytes - keptBytes) / BLOCK_BYTES),
        files: usage.inodes + filesFree,
        filesFree,
        nameMaxBytes: NAME_MAX_BYTES,
      }
    })),

    getflags: (ctx, node): MaybePromise<number> => then(inodeOf(core, ctx, node), (inode) => inode.flags),

    async setflags(ctx, node, flags) {
      await change(core, ctx, (tx, op) => tree.setflags(tx, op, node, flags))
      const open = core.openNodes.get(node)
      if (open !== undefined) open.immutable = (flags & FS_IMMUTABLE_FL) !== 0
    },
  }
}
