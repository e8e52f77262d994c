/**
 * The seam between a space and the machine: what it asks of the host's file. Offsets are in the file. Results are >= 0 or the
 * negative errno, as everywhere in sys. Tests put a simulated disk here that forgets what was not synced.
 */
import { statfsSync, statSync } from 'node:fs'
import * as sys from '../../sys/index.js'

/** What a space leaves free on the host when it takes block groups: checkpoints of the metadata need room there, and deleting needs checkpoints. */
export const HOST_RESERVE_BYTES = 32 * 1024 * 1024

export interface SpaceFile {
  /** In the tick, what the page cache holds: -EAGAIN if it does not, or less than asked. */
  readNow(into: Uint8Array, at: number, length: number, offset: number): number
  read(into: Uint8Array, at: number, length: number, offset: number): Promise<number>
  /** Past the page cache, which then holds nothing of it: for what is large and in nobody's memory. Undefined: not here, or not this. */
  readPast?(into: Uint8Array, at: number, length: number, offset: number): Promise<number> | undefined
  writeNow(from: Uint8Array, at: number, length: number, offset: number): number
  write(from: Uint8Array, at: number, length: number, offset: number): Promise<number>
  /** Space of the host for a range, contents kept. -EOPNOTSUPP where the host cannot promise. */
  fallocate(offset: number, length: number): Promise<number>
  /** Gives a range back to the host. */
  punch(offset: number, length: number): Promise<number>
  /** Starts write-out and does not wait for it. */
  startWriteOut(offset: number, length: number): Promise<number>
  sync(): Promise<number>
  /** Free on the host, as far as we may use it. Absent: nothing else lives there. */
  hostFreeBytes?(): number
  /** Makes the file longer, sparse. Absent: this kind of file cannot grow. */
  resize?(sizeBytes: number): Promise<number>
  close(): number
}

export interface SpaceIo {
  /** Makes a new file of this size, sparse. EEXIST if there is one. */
  create(path: string, sizeBytes: number): SpaceFile
  open(path: string): SpaceFile
}

const DIRECT_MIN_BYTES = 256 * 1024 // smaller ones gain from the read-ahead of the file system below
const DIRECT_UNIT_BYTES = 4096 // no disk wants coarser places in memory and in the file

/**
 * A write makes folios as large as itself, and ext4 walks a folio's list of blocks up to the place of every later 4 KiB write in it: in a space that was
 * filled by writes of 1 MiB two thirds of the CPU time of random 4 KiB writes (perf: ext4_block_write_begin).
 */
const WRITE_PART_BYTES = 64 * 1024

const TMPFS_MAGIC = 0x01021994

/** Bytes of a block device; undefined: the path is none. Symbolic links are followed. */
export function deviceBytes(path: string): number | undefined {
  if (statSync(path, { throwIfNoEntry: false })?.isBlockDevice() !== true) return undefined
  const fd = sys.check(sys.open(path, sys.O_RDONLY), 'open', path)
  try {
    return sys.check(sys.lseek(fd, 0, sys.SEEK_END), 'lseek', path)
  } finally {
    sys.close(fd)
  }
}

/** O_EXCL: nobody else mounts the device, or has it as a space. */
function openDevice(path: string, bytes: number, sizeBytes: number): SpaceFile {
  if (bytes < sizeBytes) throw new sys.PosixError('ENOSPC', `${path} has ${bytes} bytes, and ${sizeBytes} are wanted`)
  return hostFile(sys.check(sys.open(path, sys.O_RDWR | sys.O_EXCL), 'open', path), path)
}

/** The host's own files, and block devices. */
export const hostIo: SpaceIo = {
  create(path, sizeBytes) {
    const bytes = deviceBytes(path)
    if (bytes !== undefined) return openDevice(path, bytes, sizeBytes)
    const fd = sys.check(sys.open(path, sys.O_RDWR | sys.O_CREAT | sys.O_EXCL, 0o600), 'open', path)
    const rc = sys.ftruncate(fd, sizeBytes)
    if (rc < 0) sys.close(fd)
    sys.check(rc, 'ftruncate', path)
    return hostFile(fd, path)
  },
  open(path) {
    const bytes = deviceBytes(path)
    return bytes === undefined ? hostFile(sys.check(sys.open(path, sys.O_RDWR), 'open', path), path) : openDevice(path, bytes, 0)
  }
}

function hostFile(fd: number, path: string): SpaceFile {
  const isDevice = deviceBytes(path) !== undefined
  const inMemory = !isDevice && statfsSync(path).type === TMPFS_MAGIC // tmpfs knows no NOWAIT and never waits
  let canTell = true
  const { offLoop } = sys
  const ring = sys.ring()
  let direct = inMemory || ring === undefined ? -1 : sys.open(`/proc/self/fd/${fd}`, sys.O_RDONLY | sys.O_DIRECT)
  return {
    readNow(into, at, length, offset) {
      if (inMemory) return sys.pread(fd, into, at, length, offset)
      if (!canTell) return -sys.ERRNO.EAGAIN
      const rc = sys.preadv2(fd, into, at, length, offset, sys.RWF_NOWAIT)
      if (rc !== -sys.ERRNO.EOPNOTSUPP) return rc
      canTell = false
      return -sys.ERRNO.EAGAIN
    },
    read: (into, at, length, offset) => offLoop.pread(fd, into, at, length, offset),
    readPast(into, at, length, offset) {
      if (direct < 0 || length < DIRECT_MIN_BYTES || length % DIRECT_UNIT_BYTES !== 0 || offset % DIRECT_UNIT_BYTES !== 0) return undefined
      if ((sys.addressOf(into) + at) % DIRECT_UNIT_BYTES !== 0) return undefined
      if (sys.cachedPages(fd, offset, length) !== 0) return undefined // some of it is there, or on its way; or this kernel cannot tell
      return ring!.readDirect(direct, into, at, length, offset)
    },
    writeNow: (from, at, length, offset) => sys.pwrite(fd, from, at, length, offset),
    write: (from, at, length, offset) => (ring === undefined || length <= WRITE_PART_BYTES ? offLoop.pwrite(fd, from, at, length, offset)
      : ring.write(fd, from, at, length, offset, WRITE_PART_BYTES)),
    fallocate: (offset, length) => offLoop.fallocate(fd, sys.FALLOC_FL_KEEP_SIZE, offset, length),
    punch: (offset, length) => offLoop.fallocate(fd, sys.FALLOC_FL_PUNCH_HOLE | sys.FALLOC_FL_KEEP_SIZE, offset, length),
    startWriteOut: (offset, length) => offLoop.syncFileRange(fd, offset, length, sys.SYNC_FILE_RANGE_WRITE),
    sync: () => offLoop.fdatasync(fd),
    hostFreeBytes() {
      const host = statfsSync(path)
      return host.bavail * host.bsize
    },
    resize: (sizeBytes) => (isDevice ? Promise.resolve(deviceBytes(path)! < sizeBytes ? -sys.ERRNO.ENOSPC : 0) : offLoop.ftruncate(fd, sizeBytes)),
    close() {
      if (direct >= 0) sys.close(direct)
      direct = -1
      return sys.close(fd)
    }
  }
}
