/** A block device as a pool's space: POOL/space is a symbolic link to it. Only a blank one that nobody uses is taken. */
import { DATA_START_BYTES, deviceBytes } from '../store/index.js'
import { check, close, ERRNO, O_EXCL, O_RDONLY, open, pread } from '../sys/index.js'
import { Refusal } from './refusal.js'

/** What must be zero at its start: where file systems and partition tables have their marks. */
const BLANK_BYTES = 1024 * 1024

/** What a space on the device may hold. Refused: no block device, in use, or not blank. */
export function deviceSizeBytes(path: string): number {
  const bytes = deviceBytes(path)
  if (bytes === undefined) throw new Refusal('usage', `${path} is no block device: name one, like /dev/sdb1, or leave --device out.`)
  const fd = open(path, O_RDONLY | O_EXCL)
  if (fd === -ERRNO.EBUSY) throw new Refusal('busy', `${path} is in use: unmount it first.`)
  check(fd, 'open', path)
  try {
    const start = new Uint8Array(Math.min(bytes, BLANK_BYTES))
    check(pread(fd, start, 0, start.length, 0), 'pread', path)
    if (start.some((byte) => byte !== 0)) throw new Refusal('exists', `${path} holds something: wipe it first if you want to lose that (wipefs -a ${path}; dd if=/dev/zero of=${path} bs=1M count=1).`)
  } finally {
    close(fd)
  }
  return bytes - DATA_START_BYTES
}
