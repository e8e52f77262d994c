/** Open files, bytes, xattrs, directories: the rest of the structures, each a table of offsets from `at`. */
import { getHigh32, getLow32, getU64, set64, setHalves } from '../sys/index.js'
import type { Statfs } from '../vfs/index.js'

// FORGET fuse_forget_in (8); BATCH_FORGET fuse_batch_forget_in (8), then fuse_forget_one (16) each
export const FORGET_IN_BYTES = 8
export const forgetCount = (v: DataView, at: number): number => getU64(v, at)
export const BATCH_FORGET_IN_BYTES = 8
export const batchForgets = (v: DataView, at: number): number => v.getUint32(at, true)
export const FORGET_ONE_BYTES = 16
export const forgetOneNode = (v: DataView, at: number): number => getU64(v, at)
export const forgetOneCount = (v: DataView, at: number): number => getU64(v, at + 8)

// MKNOD fuse_mknod_in (16), MKDIR fuse_mkdir_in (8); names follow
export const MKNOD_IN_BYTES = 16
export const mknodMode = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const mknodRdev = (v: DataView, at: number): number => v.getUint32(at + 4, true)
export const mknodUmask = (v: DataView, at: number): number => v.getUint32(at + 8, true)
export const MKDIR_IN_BYTES = 8
export const mkdirMode = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const mkdirUmask = (v: DataView, at: number): number => v.getUint32(at + 4, true)

// RENAME fuse_rename_in (8), RENAME2 fuse_rename2_in (16), LINK fuse_link_in (8); names follow
export const RENAME_IN_BYTES = 8
export const RENAME2_IN_BYTES = 16
export const renameNewParent = (v: DataView, at: number): number => getU64(v, at + 0)
export const rename2Flags = (v: DataView, at: number): number => v.getUint32(at + 8, true)
export const LINK_IN_BYTES = 8
export const linkNode = (v: DataView, at: number): number => getU64(v, at + 0)

// OPEN, OPENDIR fuse_open_in (8); CREATE, TMPFILE fuse_create_in (16), then the name; answer fuse_open_out (16)
export const OPEN_IN_BYTES = 8
export const openFlags = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const openFuseFlags = (v: DataView, at: number): number => v.getUint32(at + 4, true)
export const CREATE_IN_BYTES = 16
export const createFlags = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const createMode = (v: DataView, at: number): number => v.getUint32(at + 4, true)
export const createUmask = (v: DataView, at: number): number => v.getUint32(at + 8, true)
export const createFuseFlags = (v: DataView, at: number): number => v.getUint32(at + 12, true)
export const OPEN_OUT_BYTES = 16
export function writeOpenOut(v: DataView, at: number, handle: number, fuseFlags: number): void {
  set64(v, at + 0, handle)
  v.setUint32(at + 8, fuseFlags, true)
  v.setUint32(at + 12, 0, true) // backing_id: no passthrough
}

// RELEASE, RELEASEDIR fuse_release_in (24); FLUSH fuse_flush_in (24); FSYNC, FSYNCDIR fuse_fsync_in (16): handle first
export const RELEASE_IN_BYTES = 24
export const FLUSH_IN_BYTES = 24
export const FSYNC_IN_BYTES = 16
export const handleOf = (v: DataView, at: number): number => getU64(v, at + 0)
export const fsyncFlags = (v: DataView, at: number): number => v.getUint32(at + 8, true)

// READ, READDIR, READDIRPLUS fuse_read_in (40); WRITE fuse_write_in (40), then the bytes; answer fuse_write_out (8)
export const READ_IN_BYTES = 40
export const readOffset = (v: DataView, at: number): number => getU64(v, at + 8)
export const readCookieLow = (v: DataView, at: number): number => getLow32(v, at + 8) // a directory's offset is opaque
export const readCookieHigh = (v: DataView, at: number): number => getHigh32(v, at + 8)
export const readSize = (v: DataView, at: number): number => v.getUint32(at + 16, true)
export const readOpenFlags = (v: DataView, at: number): number => v.getUint32(at + 32, true) // lock_owner is at 24
export const WRITE_IN_BYTES = 40
export const writeOffset = (v: DataView, at: number): number => getU64(v, at + 8)
export const writeSize = (v: DataView, at: number): number => v.getUint32(at + 16, true)
export const writeFuseFlags = (v: DataView, at: number): number => v.getUint32(at + 20, true)
export const writeOpenFlags = (v: DataView, at: number): number => v.getUint32(at + 32, true)
export const WRITE_OUT_BYTES = 8
export function writeWriteOut(v: DataView, at: number, bytes: number): void {
  v.setUint32(at + 0, bytes, true)
  v.setUint32(at + 4, 0, true)
}

// FALLOCATE fuse_fallocate_in (32); LSEEK fuse_lseek_in (24), fuse_lseek_out (8)
export const FALLOCATE_IN_BYTES = 32
export const fallocateOffset = (v: DataView, at: number): number => getU64(v, at + 8)
export const fallocateLength = (v: DataView, at: number): number => getU64(v, at + 16)
export const fallocateMode = (v: DataView, at: number): number => v.getUint32(at + 24, true)
export const LSEEK_IN_BYTES = 24
export const lseekOffset = (v: DataView, at: number): number => getU64(v, at + 8)
export const lseekWhence = (v: DataView, at: number): number => v.getUint32(at + 16, true)

// COPY_FILE_RANGE and COPY_FILE_RANGE_64 fuse_copy_file_range_in (56); answers fuse_write_out and a 64-bit count
export const COPY_IN_BYTES = 56
export const copyFromHandle = (v: DataView, at: number): number => getU64(v, at + 0)
export const copyFromOffset = (v: DataView, at: number): number => getU64(v, at + 8)
export const copyToNode = (v: DataView, at: number): number => getU64(v, at + 16)
export const copyToHandle = (v: DataView, at: number): number => getU64(v, at + 24)
export const copyToOffset = (v: DataView, at: number): number => getU64(v, at + 32)
export const copyLength = (v: DataView, at: number): number => getU64(v, at + 40)
export const copyFlags = (v: DataView, at: number): number => getU64(v, at + 48)

// ACCESS fuse_access_in (8)
export const ACCESS_IN_BYTES = 8
export const accessMask = (v: DataView, at: number): number => v.getUint32(at + 0, true)

// SETXATTR fuse_setxattr_in (8, with SETXATTR_EXT 16), then name and value; GETXATTR, LISTXATTR fuse_getxattr_in (8)
export const SETXATTR_IN_BYTES = 8
export const SETXATTR_EXT_IN_BYTES = 16
export const setxattrSize = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const setxattrFlags = (v: DataView, at: number): number => v.getUint32(at + 4, true)
export const setxattrFuseFlags = (v: DataView, at: number): number => v.getUint32(at + 8, true)
export const GETXATTR_IN_BYTES = 8
export const getxattrSize = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const GETXATTR_OUT_BYTES = 8
export const writeGetxattrOut = writeWriteOut // size, padding

// IOCTL fuse_ioctl_in (32), then what goes in; answer fuse_ioctl_out (16), then what comes out
export const IOCTL_IN_BYTES = 32
export const ioctlFuseFlags = (v: DataView, at: number): number => v.getUint32(at + 8, true)
export const ioctlCommand = (v: DataView, at: number): number => v.getUint32(at + 12, true)
export const ioctlInSize = (v: DataView, at: number): number => v.getUint32(at + 24, true)
export const ioctlOutSize = (v: DataView, at: number): number => v.getUint32(at + 28, true)
export const IOCTL_OUT_BYTES = 16
export function writeIoctlOut(v: DataView, at: number, result: number): void {
  v.setInt32(at + 0, result, true)
  for (let i = 4; i < IOCTL_OUT_BYTES; i += 4) v.setUint32(at + i, 0, true) // flags, in_iovs, out_iovs
}

// INTERRUPT fuse_interrupt_in (8): the unique of the request that shall stop
export const INTERRUPT_IN_BYTES = 8
export const interruptedLow = (v: DataView, at: number): number => getLow32(v, at)
export const interruptedHigh = (v: DataView, at: number): number => getHigh32(v, at)

// STATFS: no structure in; fuse_kstatfs (80) out
export const STATFS_OUT_BYTES = 80
export function writeStatfsOut(v: DataView, at: number, s: Statfs): void {
  set64(v, at + 0, s.blocks)
  set64(v, at + 8, s.blocksFree)
  set64(v, at + 16, s.blocksAvailable)
  set64(v, at + 24, s.files)
  set64(v, at + 32, s.filesFree)
  v.setUint32(at + 40, s.blockBytes, true)
  v.setUint32(at + 44, s.nameMaxBytes, true)
  v.setUint32(at + 48, s.blockBytes, true) // frsize: the unit of the counts above
  for (let i = 52; i < STATFS_OUT_BYTES; i += 4) v.setUint32(at + i, 0, true)
}

// fuse_dirent (24, then the name, then up to a multiple of 8)
export const DIRENT_BYTES = 24
export const direntBytes = (nameBytes: number): number => (DIRENT_BYTES + nameBytes + 7) & ~7
export function writeDirent(v: DataView, at: number, ino: number, cookieHigh: number, cookieLow: number,
  nameBytes: number, typeBits: number): void {
  set64(v, at + 0, ino)
  setHalves(v, at + 8, cookieLow, cookieHigh) // off: where to go on behind this entry
  v.setUint32(at + 16, nameBytes, true)
  v.setUint32(at + 20, (typeBits & 0o170000) >>> 12, true) // DT_*
}

// the extension of create requests: fuse_ext_header (8), then by its type; EXT_GROUPS: a count and so many group ids
export const EXT_HEADER_BYTES = 8
export const extSize = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const extType = (v: DataView, at: number): number => v.getUint32(at + 4, true)
export const extGroups = (v: DataView, at: number): number => v.getUint32(at + 8, true)
export const extGroup = (v: DataView, at: number, i: number): number => v.getUint32(at + 12 + 4 * i, true)
