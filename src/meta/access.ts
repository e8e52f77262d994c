/**
 * Who may do what: permission bits, ACLs, sticky directories, immutable and append-only files. Each function is one of the
 * kernel's and fails in its order; root is uid 0.
 *   - Bits and ACLs are asked only with op.check: else the kernel did (default_permissions).
 *   - Sticky directories and flags count always: the kernel may know an older owner, and knows nothing of a FUSE file's flags.
 * Sources: fs/namei.c (may_create, may_delete, inode_permission), fs/attr.c.
 */
import { PosixError } from '../sys/index.js'
import type { Context, ErrnoName } from '../sys/index.js'
import { NOW } from '../data/index.js'
import type { View } from '../data/index.js'
import type { Reader } from '../engine/index.js'
import { ACL_ACCESS, aclAllows, decodeAcl } from './acl.js'
import { isDirectory } from './inode.js'
import type { Inode, Op } from './words.js'
import { readXattr } from './read.js'
import { NOTHING, wait } from './steps.js'
import type { Steps } from './steps.js'
import { demandVisited } from './unvisited.js'

export const MAY_EXEC = 1
export const MAY_WRITE = 2
export const MAY_READ = 4

export const FS_IMMUTABLE_FL = 0x10
export const FS_APPEND_FL = 0x20

const S_ISVTX = 0o1000
export const NAME_MAX_BYTES = 255

export const fail = (code: ErrnoName): never => {
  throw new PosixError(code)
}

export const isRoot = (ctx: Context): boolean => ctx.uid === 0
/** Groups that are not known count as none. */
export const inGroup = (ctx: Context, gid: number): boolean => ctx.gid === gid || (ctx.groups !== undefined && ctx.groups.includes(gid))
export const isOwnerOrRoot = (ctx: Context, inode: Inode): boolean => ctx.uid === inode.uid || ctx.uid === 0
export const isImmutable = (inode: Inode): boolean => (inode.flags & FS_IMMUTABLE_FL) !== 0
export const isAppendOnly = (inode: Inode): boolean => (inode.flags & FS_APPEND_FL) !== 0

/** inode_permission: the error, if the caller may not. `view` is where the inode was read: its ACL is read there too. */
export function* permission(r: Reader, ctx: Context, inode: Inode, want: number, view: View): Steps<ErrnoName | undefined> {
  if ((want & MAY_WRITE) !== 0 && isImmutable(inode)) return 'EPERM'
  if (yield* allowed(r, ctx, inode, want & 7, view)) return undefined
  if (!isRoot(ctx)) return 'EACCES'
  // root: everything, but a file without any x bit is no program
  return isDirectory(inode) || (want & MAY_EXEC) === 0 || (inode.mode & 0o111) !== 0 ? undefined : 'EACCES'
}

function* allowed(r: Reader, ctx: Context, inode: Inode, want: number, view: View): Steps<boolean> {
  const { mode } = inode
  if (ctx.uid === inode.uid) return ((mode >> 6) & want) === want
  if (inode.hasAccessAcl && (mode & 0o070) !== 0) {
    const bytes = yield* wait(readXattr(r, inode.ino, ACL_ACCESS, view))
    const acl = bytes === undefined ? undefined : decodeAcl(bytes)
    if (acl !== undefined) return aclAllows(acl, want, ctx.uid, (gid) => inGroup(ctx, gid), inode.gid)
  }
  return (((inGroup(ctx, inode.gid) ? mode >> 3 : mode) & want) === want)
}

/** The same in a body, when the front door has not decided. Immutable files are ours to guard in any case. */
export function demand(r: Reader, op: Op, inode: Inode, want: number): Steps<void> {
  if (op.check) return decide(r, op, inode, want)
  if ((want & MAY_WRITE) !== 0 && isImmutable(inode)) fail('EPERM')
  return NOTHING
}

function* decide(r: Reader, op: Op, inode: Inode, want: number): Steps<void> {
  const refused = yield* permission(r, op.ctx, inode, want, NOW)
  if (refused !== undefined) fail(refused)
}

/** What a path walk finds out about a directory before anything of the operation itself. */
export function walkInto(r: Reader, op: Op, dir: Inode): Steps<void> {
  if (!isDirectory(dir)) fail('ENOTDIR')
  demandVisited(dir)
  return op.check ? demand(r, op, dir, MAY_EXEC) : NOTHING
}

export function checkName(name: string): void {
  if (name.length > NAME_MAX_BYTES) fail('ENAMETOOLONG')
  if (name.length === 0) fail('ENOENT')
  if (name.includes('/') || name.includes('\u0000')) fail('EINVAL')
}

/** may_create, once it is known that there is no such entry. */
export function mayCreate(r: Reader, op: Op, dir: Inode): Steps<void> {
  if (dir.nlink === 0) fail('ENOENT')
  return demand(r, op, dir, MAY_WRITE | MAY_EXEC)
}

/** may_delete: the entry is there. `asDirectory`: rmdir, or a directory takes its place. */
export function* mayDelete(r: Reader, op: Op, dir: Inode, victim: Inode, asDirectory: boolean): Steps<void> {
  yield* demand(r, op, dir, MAY_WRITE | MAY_EXEC)
  if (isAppendOnly(dir)) fail('EPERM')
  if (isSticky(op.ctx, dir, victim) || isAppendOnly(victim) || isImmutable(victim)) fail('EPERM')
  if (asDirectory && !isDirectory(victim)) fail('ENOTDIR')
  if (!asDirectory && isDirectory(victim)) fail('EISDIR')
}

/** check_sticky: in a sticky directory only the owner of the entry, of the directory, or root takes away. */
const isSticky = (ctx: Context, dir: Inode, victim: Inode): boolean =>
  (dir.mode & S_ISVTX) !== 0 && ctx.uid !== 0 && ctx.uid !== victim.uid && ctx.uid !== dir.uid
