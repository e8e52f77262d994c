/** What volumes refuse: a reason from a closed list, and one sentence with the way out. */
import { FILE_MAX_BYTES } from '../data/index.js'

export type VolumeReason = 'usage' | 'missing' | 'exists' | 'in-use' | 'full' | 'read-only'

export class VolumeError extends Error {
  readonly reason: VolumeReason

  constructor(reason: VolumeReason, sentence: string) {
    super(sentence)
    this.reason = reason
  }
}

export const VOLUME_MAX_BYTES = FILE_MAX_BYTES
const SECTOR_BYTES = 512
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._+-]*$/
const NAME_MAX_BYTES = 128

/** Names are part of NBD URIs, file names and VOLUME@SNAP. */
export function checkVolumeName(name: string): void {
  if (NAME.test(name) && name.length <= NAME_MAX_BYTES) return
  throw new VolumeError('usage', `"${name}" cannot name a volume: use up to ${NAME_MAX_BYTES} letters, digits and . _ + - (not . + - at the start).`)
}

export function checkVolumeSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < SECTOR_BYTES) throw new VolumeError('usage', `A volume has at least ${SECTOR_BYTES} bytes: choose a larger --size.`)
  if (sizeBytes > VOLUME_MAX_BYTES) throw new VolumeError('usage', `A volume has at most ${VOLUME_MAX_BYTES / 1024 ** 4} TiB: choose a smaller --size.`)
  if (sizeBytes % SECTOR_BYTES !== 0) throw new VolumeError('usage', `A volume's size is a multiple of ${SECTOR_BYTES} bytes: choose ${Math.ceil(sizeBytes / SECTOR_BYTES) * SECTOR_BYTES} instead of ${sizeBytes}.`)
}
