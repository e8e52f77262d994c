/**
 * POOL/lock: one process at a time has a pool open. The lock is flock(2)'s, so it goes with the process however that ends;
 * the text in the file says who holds it and serves people and messages only.
 *   - A process that holds the lock is the only one that writes the file, so its text is the holder's, or (lock free)
 *     that of the last one, whose mounts may be left behind dead.
 *   - The descriptor is close-on-exec: helpers that the daemon starts do not keep a pool locked.
 */
import { hostname } from 'node:os'
import { bootId, check, close, ERRNO, flock, fsync, ftruncate, LOCK_EX, LOCK_NB, LOCK_SH, O_CREAT, O_RDONLY, O_RDWR, open, pread, pwrite } from '../sys/index.js'

export const LOCK_FILE = 'lock'

export interface Holder {
  readonly pid: number
  readonly host: string
  readonly bootId: string
  /** What holds it: a daemon that serves mounts, or a command at work. */
  readonly what: 'daemon' | 'format' | 'fsck' | 'grow' | 'volume' | 'command'
  /** Device number of the daemon's mount, "major:minor" as in mountinfo, once there is one. */
  readonly device: string | undefined
}

export interface Lock {
  /** What the last holder left behind: a daemon that closed cleanly leaves nothing. */
  readonly before: Holder | undefined
  /** Notes the device number of the mount, for whoever must clean up after us. */
  setDevice(device: string): void
  /** The pool is closed: forgets the holder, lets go. */
  release(): void
}

const WHATS: readonly Holder['what'][] = ['daemon', 'format', 'fsck', 'grow', 'volume', 'command']
const TEXT_MAX_BYTES = 4096

function parse(text: string): Holder | undefined {
  try {
    const h = JSON.parse(text) as Partial<Holder>
    if (typeof h.pid !== 'number' || typeof h.host !== 'string' || typeof h.bootId !== 'string') return undefined
    return { pid: h.pid, host: h.host, bootId: h.bootId, what: WHATS.find((what) => what === h.what) ?? 'daemon', device: typeof h.device === 'string' ? h.device : undefined }
  } catch {
    return undefined // torn or empty: nobody known
  }
}

function readHolder(fd: number): Holder | undefined {
  const bytes = Buffer.alloc(TEXT_MAX_BYTES)
  const n = pread(fd, bytes, 0, bytes.length, 0)
  return n <= 0 ? undefined : parse(bytes.toString('utf8', 0, n))
}

function write(fd: number, holder: Holder | undefined): void {
  const bytes = Buffer.from(holder === undefined ? '' : `${JSON.stringify(holder)}\n`)
  check(ftruncate(fd, 0), 'ftruncate', LOCK_FILE)
  if (bytes.length > 0) check(pwrite(fd, bytes, 0, bytes.length, 0), 'pwrite', LOCK_FILE)
}

/** Takes the lock, or says who has it (undefined: a holder that has not written its name yet). Never waits. */
export function tryLock(folder: string, what: Holder['what']): Lock | { readonly heldBy: Holder | undefined } {
  const path = `${folder}/${LOCK_FILE}`
  const fd = check(open(path, O_RDWR | O_CREAT, 0o600), 'open', path)
  const rc = flock(fd, LOCK_EX | LOCK_NB)
  if (rc < 0) {
    const heldBy = readHolder(fd)
    close(fd)
    if (rc !== -ERRNO.EAGAIN) check(rc, 'flock', path)
    return { heldBy }
  }
  const before = readHolder(fd)
  let holder: Holder = { pid: process.pid, host: hostname(), bootId: bootId(), what, device: undefined }
  write(fd, holder)
  fsync(fd) // for whoever reads it after a power cut; a failure changes nothing for us
  return {
    before,
    setDevice(device) {
      holder = { ...holder, device }
      write(fd, holder)
    },
    release() {
      write(fd, undefined)
      close(fd)
    }
  }
}

export type LockState = { readonly held: false } | { readonly held: true, readonly by: Holder | undefined }

/** Whether somebody has the pool open. Looks for an instant with a shared lock, which whoever wants to open it outwaits. */
export function lockState(folder: string): LockState {
  const path = `${folder}/${LOCK_FILE}`
  const fd = open(path, O_RDONLY)
  if (fd === -ERRNO.ENOENT) return { held: false }
  check(fd, 'open', path)
  const rc = flock(fd, LOCK_SH | LOCK_NB)
  const by = rc < 0 ? readHolder(fd) : undefined
  close(fd)
  return rc < 0 ? { held: true, by } : { held: false }
}

/** "pid 4121 on db1", for sentences. */
export const holderText = (h: Holder | undefined): string =>
  h === undefined ? 'another process' : `pid ${h.pid}${h.host === hostname() ? '' : ` on ${h.host}`}`
