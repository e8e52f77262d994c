/**
 * The vfs as front doors see it: POSIX semantics by messages. Every argument and every result is plain data (numbers,
 * byte strings, buffers), so that a door may one day live in another thread.
 *   - A node is (inode, view). Today view is always `now`, and a node's number is its inode number; 1 is the root.
 *   - Names, link targets and xattr names are byte strings (one latin1 character a byte): POSIX names are bytes.
 *   - Methods answer without a promise when everything they need is in memory. Errors are thrown (or rejected) as
 *     PosixError; an expected miss (lookup) is undefined.
 *   - Before a change is answered its bytes are outside the process (contract 1).
 */
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'

export type Node = number
/** An open file or directory. 0 means: none. Exact in a double. */
export type Handle = number
export const ROOT_NODE: Node = 1

/** What stat shows. Nothing in it may be changed by the reader (it may be the cached inode itself). */
export interface Attr {
  readonly ino: number
  readonly generation: number
  /** st_mode: type and permission bits. */
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  /** As the kernel encodes it in a 32-bit dev_t (new_encode_dev). */
  readonly rdev: number
  readonly sizeBytes: number
  /** 512-byte blocks, whatever blksize. */
  readonly blocks512: number
  /** Seconds may be negative and may exceed 2^32. */
  readonly atimeSec: number
  readonly atimeNsec: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  readonly ctimeSec: number
  readonly ctimeNsec: number
  readonly btimeSec: number
  readonly btimeNsec: number
}

/** Bits of SetAttr.valid; the numbers are FATTR_* of linux/fuse.h. */
export const SET_MODE = 1 << 0
export const SET_UID = 1 << 1
export const SET_GID = 1 << 2
export const SET_SIZE = 1 << 3
export const SET_ATIME = 1 << 4
export const SET_MTIME = 1 << 5
export const SET_ATIME_NOW = 1 << 7
export const SET_MTIME_NOW = 1 << 8
export const SET_CTIME = 1 << 10
export const SET_KILL_SUIDGID = 1 << 11

export interface SetAttr {
  readonly valid: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly sizeBytes: number
  readonly atimeSec: number
  readonly atimeNsec: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  readonly ctimeSec: number
  readonly ctimeNsec: number
}

export interface Opened {
  readonly handle: Handle
  /** Bits the door may pass to its client: the kernel may keep its cached pages; may cache the directory. */
  readonly keepCache: boolean
  /** Nothing of it goes through the kernel's cache. */
  readonly isDirect?: true
}
export interface Created extends Opened {
  readonly attr: Attr
}

/** A position in a directory: an opaque 63-bit cookie in two halves; (0, 0) is the start. Stable across restarts. */
export interface DirectorySink {
  /** Takes one entry; false means it did not fit: the listing stops and this entry comes first next time. `attr` is undefined unless asked for. '.' and '..' come with ino only. */
  entry(name: string, ino: number, typeBits: number, cookieHigh: number, cookieLow: number, attr: Attr | undefined): boolean
}

export interface Statfs {
  readonly blockBytes: number
  readonly blocks: number
  readonly blocksFree: number
  readonly blocksAvailable: number
  readonly files: number
  readonly filesFree: number
  readonly nameMaxBytes: number
}

export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2
export const RENAME_WHITEOUT = 4

export const FALLOC_KEEP_SIZE = 1
export const FALLOC_PUNCH_HOLE = 2
export const FALLOC_ZERO_RANGE = 16

export const SETXATTR_CREATE = 1
export const SETXATTR_REPLACE = 2

export interface Vfs {
  /** undefined: no such name. '.' gives the directory itself (or any live node, for open_by_handle_at), '..' its parent. ENOTDIR, ESTALE, ENAMETOOLONG, EACCES. */
  lookup(ctx: Context, parent: Node, name: string): MaybePromise<Attr | undefined>
  /** The door's client holds no reference to this node any more. Never throws. */
  forget(node: Node): void
  getattr(ctx: Context, node: Node, handle: Handle): MaybePromise<Attr>
  setattr(ctx: Context, node: Node, set: SetAttr, handle: Handle): MaybePromise<Attr>
  readlink(ctx: Context, node: Node): MaybePromise<string>

  /** `mode` comes with the type bits or without; `umask` is applied here unless the parent has a default ACL. */
  mknod(ctx: Context, parent: Node, name: string, mode: number, rdev: number, umask: number): MaybePromise<Attr>
  mkdir(ctx: Context, parent: Node, name: string, mode: number, umask: number): MaybePromise<Attr>
  symlink(ctx: Context, parent: Node, name: string, target: string): MaybePromise<Attr>
  link(ctx: Context, node: Node, newParent: Node, newName: string): MaybePromise<Attr>
  unlink(ctx: Context, parent: Node, name: string): MaybePromise<void>
  rmdir(ctx: Context, parent: Node, name: string): MaybePromise<void>
  rename(ctx: Context, parent: Node, name: string, newParent: Node, newName: string, flags: number): MaybePromise<void>

  /** `flags` are open(2)'s. O_TRUNC is honoured if given; O_CREAT never is (see create). */
  open(ctx: Context, node: Node, flags: number): MaybePromise<Opened>
  /** Makes the file unless it exists (then opens it; EEXIST with O_EXCL). */
  create(ctx: Context, parent: Node, name: string, mode: number, umask: number, flags: number): MaybePromise<Created>
  /** An unnamed file in `parent`'s file system, open; linkable with link() until the last handle goes. */
  tmpfile(ctx: Context, parent: Node, mode: number, umask: number, flags: number): MaybePromise<Created>
  /** Bytes put into `into` at `at`; fewer than asked only at the end of the file. `flags`: open(2)'s of the file that it is read through, where handle 0 does not tell (O_NOATIME counts). */
  read(ctx: Context, node: Node, handle: Handle, offsetBytes: number, lengthBytes: number, into: Uint8Array, at: number, flags?: number): MaybePromise<number>
  /** All or an error. `from` may be reused as soon as this returned or its promise resolved. killSuidgid: drop setuid/setgid bits (HANDLE_KILLPRIV_V2). append: at the end of the file, whatever offset says. */
  write(ctx: Context, node: Node, handle: Handle, offsetBytes: number, from: Uint8Array, at: number, lengthBytes: number, how: { readonly killSuidgid: boolean; readonly append: boolean }): MaybePromise<number>
  /** close(2) of one descriptor: reports what was lost (EIO once per open file), waits for nothing else. */
  flush(ctx: Context, node: Node, handle: Handle): MaybePromise<void>
  release(ctx: Context, node: Node, handle: Handle): MaybePromise<void>
  fsync(ctx: Context, node: Node, handle: Handle, dataOnly: boolean): MaybePromise<void>
  fallocate(ctx: Context, node: Node, handle: Handle, mode: number, offsetBytes: number, lengthBytes: number): MaybePromise<void>
  /** SEEK_DATA (3) and SEEK_HOLE (4) only. ENXIO past the end. */
  lseek(ctx: Context, node: Node, handle: Handle, offsetBytes: number, whence: number): MaybePromise<number>
  copyFileRange(ctx: Context, fromNode: Node, fromHandle: Handle, fromOffset: number, toNode: Node, toHandle: Handle, toOffset: number, lengthBytes: number): MaybePromise<number>

  opendir(ctx: Context, node: Node): MaybePromise<Opened>
  /** From the cookie on, into the sink until it is full or the directory ends. withAttr: as lookup would give (readdirplus). */
  readdir(ctx: Context, node: Node, handle: Handle, cookieHigh: number, cookieLow: number, sink: DirectorySink, withAttr: boolean): MaybePromise<void>
  releasedir(ctx: Context, node: Node, handle: Handle): MaybePromise<void>
  fsyncdir(ctx: Context, node: Node, handle: Handle, dataOnly: boolean): MaybePromise<void>

  statfs(ctx: Context, node: Node): MaybePromise<Statfs>
  /** `mask` of R_OK 4, W_OK 2, X_OK 1. EACCES. */
  access(ctx: Context, node: Node, mask: number): MaybePromise<void>
  setxattr(ctx: Context, node: Node, name: string, value: Uint8Array, flags: number, killSgid: boolean): MaybePromise<void>
  /** Undefined: there is none of that name (ENODATA), as the kernel hears once for each file that is written. */
  getxattr(ctx: Context, node: Node, name: string): MaybePromise<Uint8Array | undefined>
  listxattr(ctx: Context, node: Node): MaybePromise<readonly string[]>
  removexattr(ctx: Context, node: Node, name: string): MaybePromise<void>
  /** FS_IOC_GETFLAGS's bits (FS_*_FL). */
  getflags(ctx: Context, node: Node): MaybePromise<number>
  setflags(ctx: Context, node: Node, flags: number): MaybePromise<void>

  /** Everything answered so far is durable when this resolves: what `ogee sync` calls. */
  syncAll(ctx: Context): Promise<void>
  status(): VfsStatus
}

export interface VfsStatus {
  readonly openFiles: number
  readonly openDirectories: number
  readonly inodes: number
  readonly extents: number
  readonly dirtyBytes: number
}
