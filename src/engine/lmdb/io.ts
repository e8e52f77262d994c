/** The calls that the log makes, as a parameter: a test puts a recorder, a fault or a power cut between. Results as in sys. */
import { LOCK_EX, LOCK_NB, O_RDONLY, O_RDWR, close, fallocate, fdatasync, flock, offLoop, open, pread, pwrite } from '../../sys/index.js'

export interface LogIo {
  open(path: string, flags: number): number
  close(fd: number): number
  /** Exclusive, without waiting; let go by close. */
  lock(fd: number): number
  pread(fd: number, buf: Uint8Array, at: number, length: number, offset: number): number
  /** In the tick: into the page cache. */
  pwrite(fd: number, buf: Uint8Array, at: number, length: number, offset: number): number
  fallocate(fd: number, offset: number, length: number): number
  /** In the tick: whoever calls knows that it is short. */
  fdatasyncNow(fd: number): number
  /** Off the loop. */
  fdatasync(fd: number): Promise<number>
  /** A checkpoint came to this step, and LMDB has nothing under way: a test copies the folder here. */
  step?(name: CheckpointStep): Promise<void>
}

export type CheckpointStep = 'frozen' | 'synced' | 'moving' | 'moved' | 'marked' | 'thawed'

export const OPEN_TO_READ = O_RDONLY
export const OPEN_TO_WRITE = O_RDWR

export const systemIo: LogIo = {
  open: (path, flags) => open(path, flags, 0o600),
  close,
  lock: (fd) => flock(fd, LOCK_EX | LOCK_NB),
  pread,
  pwrite,
  fallocate: (fd, offset, length) => fallocate(fd, 0, offset, length),
  fdatasyncNow: fdatasync,
  fdatasync: (fd) => offLoop.fdatasync(fd)
}

/** All of it, whatever the kernel does at once: the negative errno, or 0. A short read at the end of the file is an error. */
export function preadAll(io: LogIo, fd: number, buf: Uint8Array, at: number, length: number, offset: number): number {
  for (let done = 0; done < length; ) {
    const rc = io.pread(fd, buf, at + done, length - done, offset + done)
    if (rc < 0) return rc
    if (rc === 0) return -EIO
    done += rc
  }
  return 0
}

export function pwriteAll(io: LogIo, fd: number, buf: Uint8Array, at: number, length: number, offset: number): number {
  for (let done = 0; done < length; ) {
    const rc = io.pwrite(fd, buf, at + done, length - done, offset + done)
    if (rc < 0) return rc
    if (rc === 0) return -EIO
    done += rc
  }
  return 0
}

const EIO = 5
