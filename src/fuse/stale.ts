/**
 * Changes whose effect on what it caches the kernel does not see by itself: it is told to forget that before the change is
 * answered, so that nobody decides by the old. All other changes it drops, or reads in our answers.
 *   - A direct write: the kernel drops the cached pages when it begins, and not again when it ends if nobody waited (aio, io_uring).
 *     What was read into the cache meanwhile would stay old for good. Whoever mixes both pays with the file's cached pages.
 *   - setuid and setgid bits that fall with a write: exec would still follow those that the kernel keeps.
 *   - The notification waits for no lock that the caller holds, at most for pages that are being read or written back: those are
 *     served, as a thread of its own writes it.
 */
import { O_DIRECT } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { Node } from '../vfs/index.js'
import type { Session } from './session.js'

const S_ISUID_ISGID = 0o6000

/** The value, once the kernel has forgotten the attributes that it had before. */
export async function forgotten<T>(s: Session, node: Node, change: T | Promise<T>): Promise<T> {
  const value = await change
  await s.stale(node, 'attributes')
  return value
}

/** A change of bytes by somebody in whose hands setuid and setgid bits fall. */
export function disarming<T>(s: Session, ctx: Context, node: Node, change: () => T | Promise<T>): T | Promise<T> {
  const attr = s.vfs.getattr(ctx, node, 0)
  if (attr instanceof Promise) return attr.then(({ mode }) => ((mode & S_ISUID_ISGID) === 0 ? change() : forgotten(s, node, change())))
  return (attr.mode & S_ISUID_ISGID) === 0 ? change() : forgotten(s, node, change())
}

/** A READ came: its bytes go into the page cache, unless it is a direct one. */
export function noteRead(s: Session, node: Node, openFlags: number): void {
  if (s.directWritten.size > 0 && (openFlags & O_DIRECT) === 0 && s.directWritten.has(node)) s.directWritten.set(node, true)
}

/** A write past the page cache. */
export async function bypassing(s: Session, node: Node, write: number | Promise<number>): Promise<number> {
  const bytes = await write
  if (s.directWritten.get(node) !== false) {
    s.directWritten.set(node, false)
    await s.stale(node, 'pages')
  }
  return bytes
}
