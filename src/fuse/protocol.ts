/**
 * The FUSE protocol's numbers: opcodes, flags, sizes. Source: linux/fuse.h, 7.31 to 7.45; host order, which is
 * little-endian on every machine of ours. Structures are in the codec files.
 */

export const FUSE_MAJOR = 7
export const FUSE_MINOR_MIN = 31 // Linux 5.4
export const FUSE_MINOR_MAX = 45 // Linux 6.18; with a newer kernel we agree on this one
export const FUSE_ROOT_ID = 1

export const LOOKUP = 1
export const FORGET = 2 // no reply
export const GETATTR = 3
export const SETATTR = 4
export const READLINK = 5
export const SYMLINK = 6
export const MKNOD = 8
export const MKDIR = 9
export const UNLINK = 10
export const RMDIR = 11
export const RENAME = 12
export const LINK = 13
export const OPEN = 14
export const READ = 15
export const WRITE = 16
export const STATFS = 17
export const RELEASE = 18
export const FSYNC = 20
export const SETXATTR = 21
export const GETXATTR = 22
export const LISTXATTR = 23
export const REMOVEXATTR = 24
export const FLUSH = 25
export const INIT = 26
export const OPENDIR = 27
export const READDIR = 28
export const RELEASEDIR = 29
export const FSYNCDIR = 30
export const GETLK = 31
export const SETLK = 32
export const SETLKW = 33
export const ACCESS = 34
export const CREATE = 35
export const INTERRUPT = 36 // no reply
export const BMAP = 37
export const DESTROY = 38
export const IOCTL = 39
export const POLL = 40
export const NOTIFY_REPLY = 41
export const BATCH_FORGET = 42 // no reply
export const FALLOCATE = 43
export const READDIRPLUS = 44
export const RENAME2 = 45
export const LSEEK = 46
export const COPY_FILE_RANGE = 47
export const SYNCFS = 50
export const TMPFILE = 51
export const STATX = 52
export const COPY_FILE_RANGE_64 = 53
export const OPCODES = 64 // all known ones are below

const names: readonly (readonly [number, string])[] = [
  [LOOKUP, 'lookup'], [FORGET, 'forget'], [GETATTR, 'getattr'], [SETATTR, 'setattr'], [READLINK, 'readlink'],
  [SYMLINK, 'symlink'], [MKNOD, 'mknod'], [MKDIR, 'mkdir'], [UNLINK, 'unlink'], [RMDIR, 'rmdir'], [RENAME, 'rename'],
  [LINK, 'link'], [OPEN, 'open'], [READ, 'read'], [WRITE, 'write'], [STATFS, 'statfs'], [RELEASE, 'release'],
  [FSYNC, 'fsync'], [SETXATTR, 'setxattr'], [GETXATTR, 'getxattr'], [LISTXATTR, 'listxattr'],
  [REMOVEXATTR, 'removexattr'], [FLUSH, 'flush'], [INIT, 'init'], [OPENDIR, 'opendir'], [READDIR, 'readdir'],
  [RELEASEDIR, 'releasedir'], [FSYNCDIR, 'fsyncdir'], [GETLK, 'getlk'], [SETLK, 'setlk'], [SETLKW, 'setlkw'],
  [ACCESS, 'access'], [CREATE, 'create'], [INTERRUPT, 'interrupt'], [BMAP, 'bmap'], [DESTROY, 'destroy'],
  [IOCTL, 'ioctl'], [POLL, 'poll'], [NOTIFY_REPLY, 'notify_reply'], [BATCH_FORGET, 'batch_forget'],
  [FALLOCATE, 'fallocate'], [READDIRPLUS, 'readdirplus'], [RENAME2, 'rename2'], [LSEEK, 'lseek'],
  [COPY_FILE_RANGE, 'copy_file_range'], [SYNCFS, 'syncfs'], [TMPFILE, 'tmpfile'], [STATX, 'statx'],
  [COPY_FILE_RANGE_64, 'copy_file_range_64']
]
const nameOf = new Map(names)
export const opcodeName = (opcode: number): string => nameOf.get(opcode) ?? `opcode${opcode}`

// INIT flags, first word
export const ASYNC_READ = 1 << 0
export const ATOMIC_O_TRUNC = 1 << 3 // O_TRUNC comes with OPEN
export const EXPORT_SUPPORT = 1 << 4 // lookups of "." and ".." come to us
export const BIG_WRITES = 1 << 5
export const DONT_MASK = 1 << 6 // the umask is ours: a default ACL may replace it
export const DO_READDIRPLUS = 1 << 13
export const READDIRPLUS_AUTO = 1 << 14
export const ASYNC_DIO = 1 << 15
export const WRITEBACK_CACHE = 1 << 16
export const NO_OPEN_SUPPORT = 1 << 17 // the kernel's: ENOSYS to OPEN means "never ask"
export const PARALLEL_DIROPS = 1 << 18
export const POSIX_ACL = 1 << 20
export const ABORT_ERROR = 1 << 21 // an aborted connection reads ECONNABORTED, an unmounted one ENODEV
export const MAX_PAGES = 1 << 22
export const CACHE_SYMLINKS = 1 << 23
export const NO_OPENDIR_SUPPORT = 1 << 24
export const EXPLICIT_INVAL_DATA = 1 << 25 // cached pages go only when we say so, not when mtime moved
export const HANDLE_KILLPRIV_V2 = 1 << 28
export const SETXATTR_EXT = 1 << 29
export const INIT_EXT = 1 << 30 // there is a second word
// second word
export const CREATE_SUPP_GROUP = 1 << 2
export const HAS_EXPIRE_ONLY = 1 << 3
export const DIRECT_IO_ALLOW_MMAP = 1 << 4

export const GETATTR_FH = 1 << 0 // the request names an open file

export const FATTR_FH = 1 << 6 // SETATTR's others are vfs's SET_*
export const FATTR_FOR_VFS = 0xdbf // all known but FATTR_FH and FATTR_LOCKOWNER

export const FOPEN_DIRECT_IO = 1 << 0
export const FOPEN_KEEP_CACHE = 1 << 1
export const FOPEN_CACHE_DIR = 1 << 3
export const FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6

export const OPEN_KILL_SUIDGID = 1 << 0
export const WRITE_CACHE = 1 << 0 // from the page cache: nobody's open file in particular
export const WRITE_KILL_SUIDGID = 1 << 2
export const FSYNC_FDATASYNC = 1 << 0
export const SETXATTR_ACL_KILL_SGID = 1 << 0
export const EXT_GROUPS = 32
export const IOCTL_DIR = 1 << 4

export const NOTIFY_INVAL_INODE = 2
export const NOTIFY_INVAL_ENTRY = 3
export const NOTIFY_DELETE = 6
export const EXPIRE_ONLY = 1 << 0 // of inval_entry: look again, but keep what is in use

export const NAME_MAX_BYTES = 255
export const IN_HEADER_BYTES = 40
export const OUT_HEADER_BYTES = 16
export const TRANSFER_BYTES_MAX = 1 << 20 // what one READ or WRITE may carry: 256 pages
/** The kernel reads a request only into a buffer that could take the largest WRITE. */
export const REQUEST_BYTES_MAX = TRANSFER_BYTES_MAX + 4096
export const XATTR_BYTES_MAX = 65536
