/** What a daemon that died left in the table of mounts: dead mounts of its device number, recorded in the pool's lock. */
import { statfs } from 'node:fs/promises'
import type { Holder } from '../../pool/index.js'
import { bootId, ERRNO, errnoOf, systemClock } from '../../sys/index.js'
import { mountsOfDevice, readMounts } from '../mountinfo.js'
import { sentence } from '../output.js'
import { unmount } from '../unmounting.js'

const ANSWER_MS = 1000

/**
 * Whether nobody serves the mount any more. statfs is never answered from the kernel's caches. Asked off the loop, and not
 * for long: the daemon behind it may hang.
 */
export async function isDead(dir: string): Promise<boolean> {
  const asked = statfs(dir).then(() => false, (e: unknown) => [ERRNO.ENOTCONN, ERRNO.ECONNABORTED].some((errno) => errno === errnoOf(e)))
  return Promise.race([asked, systemClock.sleep(ANSWER_MS).then(() => false)])
}

/** `before`: the last holder of the lock, which did not close the pool. */
export async function clearLeftovers(before: Holder | undefined, note: (text: string) => void): Promise<void> {
  if (before?.device === undefined || before.bootId !== bootId()) return
  for (const mount of mountsOfDevice(readMounts(), before.device).reverse()) {
    if (!await isDead(mount.dir)) continue
    try {
      await unmount(mount.dir, 'lazy')
      note(`took off the mount at ${mount.dir} that a daemon left behind when it died.`)
    } catch (e) {
      note(sentence(e)) // it is in nobody's way but its own
    }
  }
}
