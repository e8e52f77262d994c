/**
 * What the parts of the vfs share: the floors below, the options, the table of open inodes, and the small steps that every
 * operation begins with.
 *   - An operation takes its time once, outside its transaction's body: a body that runs twice writes the same time.
 *   - What is shown (Attr) is the committed inode itself unless an atime is pending or the mount overrides owner or mode;
 *     nobody changes it.
 *   - A value that is there is passed on without a promise (`then`), so that a cached answer leaves in the same tick.
 */
import { PosixError } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import type { Engine, MaybePromise, Reader, Tx } from '../engine/index.js'
import type { Store } from '../store/index.js'
import { NOW } from '../data/index.js'
import type { Data } from '../data/index.js'
import type { Inode, Op, Timespec, Tree } from '../meta/index.js'
export { isDirectory, isRegular, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../meta/index.js'
import type { Node } from './vfs.js'

export interface VfsOptions {
  /** Every change is EROFS; atimes stand still. */
  readonly readOnly?: boolean
  /** Decide permissions here. False where the kernel does (default_permissions). */
  readonly checkPermissions?: boolean
  /** As the mount options of these names; relatime if absent. */
  readonly atime?: 'relatime' | 'noatime' | 'strictatime'
  /** Shown as every inode's owner, group; permission bits shown become 0777 & ~umask. Stored values stay. */
  readonly uid?: number
  readonly gid?: number
  readonly umask?: number
  /** Whether the door's client knows this node, so that a forget will come. Absent: it always does. */
  readonly isHeld?: (node: Node) => boolean
  /** Whether it knows any node of from <= node < to. Absent: it always does. */
  readonly isHeldBetween?: (from: Node, to: Node) => boolean
}

export interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly store: Store
  readonly clock: Clock
  readonly options: VfsOptions
  /** A clone is gone: history that it alone held may be given back. */
  released?(): void
}

/** An inode with open handles. */
export interface OpenNode {
  readonly ino: number
  /** Open handles, files and directories. */
  opens: number
  /** relatime has nothing to do until the file changes. */
  atimeSettled: boolean
  /** FS_IMMUTABLE_FL was set after the open: writes through open files fail too. */
  immutable: boolean
}

export interface Core extends Parts {
  readonly readOnly: boolean
  readonly checks: boolean
  readonly openNodes: Map<number, OpenNode>
  /** Inode with what the mount shows instead; set up by openVfs (overrides, pending atimes). */
  readonly show: (inode: Inode) => Inode
}

export const FS_IMMUTABLE_FL = 0x10
export const FS_APPEND_FL = 0x20
export const FS_NOATIME_FL = 0x80

export const R_OK = 4
export const W_OK = 2
export const X_OK = 1

export const NAME_MAX_BYTES = 255
export const TARGET_MAX_BYTES = 4095

/** Goes on with a value, or once it is there. */
export function then<A, B>(value: MaybePromise<A>, go: (value: A) => MaybePromise<B>): MaybePromise<B> {
  return value instanceof Promise ? value.then(go) : go(value)
}

/** The inode as committed; ESTALE if there is none (any more). */
export function inodeOf(core: Core, ctx: Context, node: Node): MaybePromise<Inode> {
  const inode = core.tree.inode(core.engine.reader(ctx), node, NOW)
  return inode instanceof Promise ? inode.then(present) : present(inode)
}

function present(inode: Inode | undefined): Inode {
  if (inode === undefined) throw new PosixError('ESTALE')
  return inode
}

/** A fresh reading: bodies and effects keep it. */
export function timeNow(core: Core): Timespec {
  const now = { sec: 0, nsec: 0 }
  core.clock.realtime(now)
  return now
}

/** One changing operation: EROFS or a transaction, told who asks and when. */
export function change<T>(core: Core, ctx: Context, body: (tx: Tx, op: Op) => MaybePromise<T>): Promise<T> {
  requireWritable(core)
  const op: Op = { ctx, now: timeNow(core), check: core.checks, session: core.engine.session, trash: true }
  return core.engine.transact(ctx, (tx) => body(tx, op))
}

export function requireWritable(core: Core): void {
  if (core.readOnly) throw new PosixError('EROFS')
}

/** EACCES unless the caller may; free when the front door decides. */
export function requireAccess(core: Core, ctx: Context, inode: Inode, mask: number): MaybePromise<void> {
  if (!core.checks || mask === 0) return
  const refusal = core.tree.mayAccess(readerOf(core, ctx), ctx, core.show(inode), mask)
  return refusal instanceof Promise ? refusal.then(throwIfAny) : throwIfAny(refusal)
}

const throwIfAny = (refusal: PosixError | undefined): void => {
  if (refusal !== undefined) throw refusal
}

export const readerOf = (core: Core, ctx: Context): Reader => core.engine.reader(ctx)

/** A name that is to be made or removed: 1 to 255 bytes, no slash, no NUL. What '.' and '..' give differs by call. */
export function requireName(name: string, dots: 'EEXIST' | 'EINVAL' | 'EBUSY' | 'EISDIR'): void {
  if (name.length > NAME_MAX_BYTES) throw new PosixError('ENAMETOOLONG')
  if (name === '') throw new PosixError('ENOENT')
  if (name === '.' || name === '..') throw new PosixError(dots)
  if (name.includes('/') || name.includes('\0')) throw new PosixError('EINVAL')
}
