/** What a check and its repairs do to a space that nobody has open. */
import { check, close, fallocate, fdatasync, O_RDONLY, O_RDWR, open, pread, pwrite, ERRNO, FALLOC_FL_KEEP_SIZE, PosixError } from '../../sys/index.js'
import type { Random } from '../../sys/index.js'
import { COPIES_BYTES, DATA_START_BYTES, decodeCopies, encodeHeader, HEADER_BYTES, SECOND_COPY_AT } from './header.js'
import type { SpaceHeader } from './header.js'
import { GROUP_BYTES } from './keys.js'

/** The header. EUCLEAN with a sentence if no copy of it is whole, or the file is shorter than it says. */
export function checkSpaceHeader(path: string): SpaceHeader & { readonly damagedCopies: number } {
  const fd = check(open(path, O_RDONLY), 'open', path)
  try {
    const bytes = new Uint8Array(COPIES_BYTES)
    check(pread(fd, bytes, 0, COPIES_BYTES, 0), 'pread', path)
    const header = decodeCopies(bytes, path)
    const last = new Uint8Array(1)
    if (check(pread(fd, last, 0, 1, DATA_START_BYTES + header.sizeBytes - 1), 'pread', path) !== 1) throw new PosixError('EUCLEAN', `${path} is shorter than its header says`)
    return header
  } finally {
    close(fd)
  }
}

/** Writes both copies anew: what they said is known from elsewhere. */
export function repairSpaceHeader(path: string, sizeBytes: number, random: Random): void {
  const fd = check(open(path, O_RDWR), 'open', path)
  try {
    const old = new Uint8Array(COPIES_BYTES)
    check(pread(fd, old, 0, COPIES_BYTES, 0), 'pread', path)
    let header: SpaceHeader = { sizeBytes, preallocated: false, uuid: random.bytes(16) }
    try {
      header = decodeCopies(old, path)
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
    }
    const bytes = encodeHeader(header)
    for (const at of [SECOND_COPY_AT, 0]) {
      check(pwrite(fd, bytes, 0, HEADER_BYTES, at), 'pwrite', path)
      check(fdatasync(fd), 'fdatasync', path)
    }
  } finally {
    close(fd)
  }
}

/** Has the host hold a group's space, as it must before anything in it is used. */
export function promiseGroup(path: string, group: number): void {
  const fd = check(open(path, O_RDWR), 'open', path)
  try {
    const rc = fallocate(fd, FALLOC_FL_KEEP_SIZE, DATA_START_BYTES + group * GROUP_BYTES, GROUP_BYTES)
    if (rc !== -ERRNO.EOPNOTSUPP) check(rc, 'fallocate', path)
  } finally {
    close(fd)
  }
}
