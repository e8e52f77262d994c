/**
 * System calls on files. Each returns its result >= 0 or the negative errno (see native.ts); `offLoop` has the same ones
 * on a pool thread. Offsets are numbers, exact to 2^53. A short read or write is the caller's to continue.
 */
import { constants } from 'node:fs'
import { get64, set64 } from './bytes.js'
import { addressOf, bind, offLoop as run, pathArgument, pointerAt, result, viewAt } from './native.js'
import { ring } from './ring.js'

export const { O_RDONLY, O_WRONLY, O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_SYNC, O_DSYNC, O_NONBLOCK, O_DIRECT,
  O_DIRECTORY, O_NOFOLLOW, O_NOATIME } = constants // O_DIRECT, O_DIRECTORY and O_NOFOLLOW differ by machine
export const O_ACCMODE = 3
export const O_CLOEXEC = 0x80000
export const O_PATH = 0x200000
export const O_TMPFILE = 0x400000 | O_DIRECTORY
export const AT_FDCWD = -100

export const RWF_DSYNC = 2
export const RWF_NOWAIT = 8
export const FALLOC_FL_KEEP_SIZE = 1
export const FALLOC_FL_PUNCH_HOLE = 2
export const FALLOC_FL_COLLAPSE_RANGE = 8
export const FALLOC_FL_ZERO_RANGE = 16
export const SYNC_FILE_RANGE_WAIT_BEFORE = 1
export const SYNC_FILE_RANGE_WRITE = 2
export const SYNC_FILE_RANGE_WAIT_AFTER = 4
export const SEEK_SET = 0
export const SEEK_CUR = 1
export const SEEK_END = 2
export const SEEK_DATA = 3
export const SEEK_HOLE = 4
export const LOCK_SH = 1
export const LOCK_EX = 2
export const LOCK_NB = 4
export const LOCK_UN = 8
export const POSIX_FADV_RANDOM = 1
export const POSIX_FADV_WILLNEED = 3
export const POSIX_FADV_DONTNEED = 4

type Fd = number
type Pointer = Uint8Array | number
type Path = string | Buffer

const libc = {
  openat: bind<[Fd, Path, number, number]>('int openat(int dirfd, const char *path, int flags, uint32_t mode)'),
  close: bind<[Fd]>('int close(int fd)'),
  read: bind<[Fd, Pointer, number]>('int64_t read(int fd, void *buf, size_t count)'),
  write: bind<[Fd, Pointer, number]>('int64_t write(int fd, void *buf, size_t count)'),
  writev: bind<[Fd, Uint8Array, number]>('int64_t writev(int fd, void *iov, int iovcnt)'),
  pread: bind<[Fd, Pointer, number, number]>('int64_t pread(int fd, void *buf, size_t count, int64_t offset)'),
  pwrite: bind<[Fd, Pointer, number, number]>('int64_t pwrite(int fd, void *buf, size_t count, int64_t offset)'),
  preadv2: bind<[Fd, Uint8Array, number, number, number]>(
    'int64_t preadv2(int fd, void *iov, int iovcnt, int64_t offset, int flags)'),
  pwritev2: bind<[Fd, Uint8Array, number, number, number]>(
    'int64_t pwritev2(int fd, void *iov, int iovcnt, int64_t offset, int flags)'),
  fallocate: bind<[Fd, number, number, number]>('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  ftruncate: bind<[Fd, number]>('int ftruncate(int fd, int64_t length)'),
  fsync: bind<[Fd]>('int fsync(int fd)'),
  fdatasync: bind<[Fd]>('int fdatasync(int fd)'),
  syncfs: bind<[Fd]>('int syncfs(int fd)'),
  sync_file_range: bind<[Fd, number, number, number]>(
    'int sync_file_range(int fd, int64_t offset, int64_t nbytes, unsigned int flags)'),
  lseek: bind<[Fd, number, number]>('int64_t lseek(int fd, int64_t offset, int whence)'),
  flock: bind<[Fd, number]>('int flock(int fd, int operation)'),
  ioctl: bind<[Fd, number, Pointer | null]>('int ioctl(int fd, unsigned long request, void *argument)'),
  fcntl: bind<[Fd, number, number]>('int fcntl(int fd, int command, int64_t argument)'),
  posix_fadvise: bind<[Fd, number, number, number]>( // answers the errno itself, positive
    'int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)'),
  cachestat: bind<[number, Fd, Uint8Array, Uint8Array, number]>('long syscall(long number, int fd, void *range, void *into, unsigned int flags)'),
  copy_file_range: bind<[Fd, Uint8Array, Fd, Uint8Array, number, number]>(
    'int64_t copy_file_range(int in, void *off_in, int out, void *off_out, size_t len, unsigned int flags)')
}

export const open = (path: Path, flags: number, mode = 0o666): number =>
  result(libc.openat(AT_FDCWD, pathArgument(path), flags | O_CLOEXEC, mode))
export const openat = (dirfd: Fd, path: Path, flags: number, mode = 0o666): number =>
  result(libc.openat(dirfd, pathArgument(path), flags | O_CLOEXEC, mode))
export const close = (fd: Fd): number => result(libc.close(fd))

export const read = (fd: Fd, buf: Uint8Array, at: number, length: number): number =>
  result(libc.read(fd, pointerAt(buf, at, length), length))
export const write = (fd: Fd, buf: Uint8Array, at: number, length: number): number =>
  result(libc.write(fd, pointerAt(buf, at, length), length))
export const pread = (fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number): number =>
  result(libc.pread(fd, pointerAt(buf, at, length), length, fileOffset))
export const pwrite = (fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number): number =>
  result(libc.pwrite(fd, pointerAt(buf, at, length), length, fileOffset))

const oneVector = new BigUint64Array(2) // struct iovec: address, length; written as halves, so that no BigInt is made
const oneVectorBytes = new Uint8Array(oneVector.buffer)
const oneVectorView = new DataView(oneVector.buffer)
const TWO_32 = 4294967296

function vectorOf(view: DataView, slot: number, buf: Uint8Array, at: number, length: number): void {
  if (at < 0 || length < 0 || at + length > buf.length) throw new RangeError(`bytes ${at}+${length} of ${buf.length}`)
  const address = addressOf(buf) + at
  view.setUint32(slot * 16, address % TWO_32, true)
  view.setUint32(slot * 16 + 4, Math.floor(address / TWO_32), true)
  view.setUint32(slot * 16 + 8, length, true)
  view.setUint32(slot * 16 + 12, 0, true)
}

/** With RWF_NOWAIT: -EAGAIN if the page cache does not hold it, -EOPNOTSUPP where the file system cannot tell. */
export function preadv2(fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number, flags: number): number {
  vectorOf(oneVectorView, 0, buf, at, length)
  return result(libc.preadv2(fd, oneVectorBytes, 1, fileOffset, flags))
}

export function pwritev2(fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number, flags: number): number {
  vectorOf(oneVectorView, 0, buf, at, length)
  return result(libc.pwritev2(fd, oneVectorBytes, 1, fileOffset, flags))
}

const VECTORS_MAX = 64
const vectorBytes = new Uint8Array(VECTORS_MAX * 16)
const vectorView = new DataView(vectorBytes.buffer)

/** Gathers at most 64 buffers in one call. */
export function writev(fd: Fd, bufs: readonly Uint8Array[]): number {
  if (bufs.length > VECTORS_MAX) throw new RangeError(`writev of ${bufs.length} buffers, at most ${VECTORS_MAX}`)
  for (let i = 0; i < bufs.length; i++) vectorOf(vectorView, i, bufs[i], 0, bufs[i].length)
  return result(libc.writev(fd, vectorBytes, bufs.length))
}

export const fallocate = (fd: Fd, mode: number, offset: number, length: number): number =>
  result(libc.fallocate(fd, mode, offset, length))
export const ftruncate = (fd: Fd, length: number): number => result(libc.ftruncate(fd, length))
export const fsync = (fd: Fd): number => result(libc.fsync(fd))
export const fdatasync = (fd: Fd): number => result(libc.fdatasync(fd))
/** Starts or awaits write-out of pages; says nothing about the device's cache or the file's size. */
export const syncFileRange = (fd: Fd, offset: number, length: number, flags: number): number =>
  result(libc.sync_file_range(fd, offset, length, flags))
export const lseek = (fd: Fd, offset: number, whence: number): number => result(libc.lseek(fd, offset, whence))
export const flock = (fd: Fd, operation: number): number => result(libc.flock(fd, operation))
export const fadvise = (fd: Fd, offset: number, length: number, advice: number): number =>
  0 - libc.posix_fadvise(fd, offset, length, advice)
const SYS_CACHESTAT = 451 // on every machine
const cacheRange = new DataView(new ArrayBuffer(16))
const cacheRangeBytes = new Uint8Array(cacheRange.buffer)
const cacheFound = new DataView(new ArrayBuffer(40))
const cacheFoundBytes = new Uint8Array(cacheFound.buffer)

/** How many pages of a range the page cache has, those included that are being read; -ENOSYS before Linux 6.5. */
export function cachedPages(fd: Fd, offset: number, length: number): number {
  set64(cacheRange, 0, offset)
  set64(cacheRange, 8, length)
  const rc = result(libc.cachestat(SYS_CACHESTAT, fd, cacheRangeBytes, cacheFoundBytes, 0))
  return rc < 0 ? rc : get64(cacheFound, 0)
}

/** `argument` is read and written in place. */
export const ioctl = (fd: Fd, request: number, argument: Uint8Array | number | null): number =>
  result(libc.ioctl(fd, request, argument))

const F_GETFD = 1
const F_SETFD = 2
const F_GETFL = 3
const F_SETFL = 4
const FD_CLOEXEC = 1

export function setNonBlocking(fd: Fd): number {
  const flags = result(libc.fcntl(fd, F_GETFL, 0))
  return flags < 0 ? flags : result(libc.fcntl(fd, F_SETFL, flags | O_NONBLOCK))
}

/** Lets a child that is executed inherit the descriptor. */
export function setInheritable(fd: Fd): number {
  const flags = result(libc.fcntl(fd, F_GETFD, 0))
  return flags < 0 ? flags : result(libc.fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC))
}

/** The same calls off the loop: on a pool thread, reads at an offset through the kernel's ring where there is one. */
export const offLoop = {
  openat: (dirfd: Fd, path: Path, flags: number, mode = 0o666): Promise<number> =>
    run(libc.openat, dirfd, pathArgument(path), flags | O_CLOEXEC, mode),
  close: (fd: Fd): Promise<number> => run(libc.close, fd),
  read: (fd: Fd, buf: Uint8Array, at: number, length: number): Promise<number> =>
    run(libc.read, fd, viewAt(buf, at, length), length),
  write: (fd: Fd, buf: Uint8Array, at: number, length: number): Promise<number> =>
    run(libc.write, fd, viewAt(buf, at, length), length),
  pread: (fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number): Promise<number> =>
    ring()?.read(fd, buf, at, length, fileOffset) ?? run(libc.pread, fd, viewAt(buf, at, length), length, fileOffset),
  pwrite: (fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number): Promise<number> =>
    run(libc.pwrite, fd, viewAt(buf, at, length), length, fileOffset),
  fallocate: (fd: Fd, mode: number, offset: number, length: number): Promise<number> =>
    run(libc.fallocate, fd, mode, offset, length),
  ftruncate: (fd: Fd, length: number): Promise<number> => run(libc.ftruncate, fd, length),
  fsync: (fd: Fd): Promise<number> => run(libc.fsync, fd),
  /** Through the ring where there is one. */
  fdatasync: (fd: Fd): Promise<number> => ring()?.fdatasync(fd) ?? run(libc.fdatasync, fd),
  syncfs: (fd: Fd): Promise<number> => run(libc.syncfs, fd),
  syncFileRange: (fd: Fd, offset: number, length: number, flags: number): Promise<number> =>
    run(libc.sync_file_range, fd, offset, length, flags),
  lseek: (fd: Fd, offset: number, whence: number): Promise<number> => run(libc.lseek, fd, offset, whence),
  flock: (fd: Fd, operation: number): Promise<number> => run(libc.flock, fd, operation),
  ioctl: (fd: Fd, request: number, argument: Uint8Array | null): Promise<number> =>
    run(libc.ioctl, fd, request, argument),

  async preadv2(fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number, flags: number): Promise<number> {
    const vector = new Uint8Array(16)
    vectorOf(new DataView(vector.buffer), 0, buf, at, length)
    const rc = await run(libc.preadv2, fd, vector, 1, fileOffset, flags)
    addressOf(buf) // the vector holds only an address: mentioned here, the buffer outlives the call
    return rc
  },

  async pwritev2(fd: Fd, buf: Uint8Array, at: number, length: number, fileOffset: number, flags: number): Promise<number> {
    const vector = new Uint8Array(16)
    vectorOf(new DataView(vector.buffer), 0, buf, at, length)
    const rc = await run(libc.pwritev2, fd, vector, 1, fileOffset, flags)
    addressOf(buf)
    return rc
  },

  async copyFileRange(from: Fd, fromOffset: number, to: Fd, toOffset: number, length: number): Promise<number> {
    const offsets = new DataView(new ArrayBuffer(16))
    offsets.setBigInt64(0, BigInt(fromOffset), true)
    offsets.setBigInt64(8, BigInt(toOffset), true)
    return run(libc.copy_file_range, from, new Uint8Array(offsets.buffer, 0, 8), to, new Uint8Array(offsets.buffer, 8, 8), length, 0)
  }
}
