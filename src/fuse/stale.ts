/**
 * Changes whose effect on an inode's attributes the kernel does not see by itself: it is told to forget what it keeps of them
 * before the change is answered, so that nobody decides by the old ones. All other changes it drops, or reads in our answers.
 *   - setuid and setgid bits that fall with a write: exec would still follow those that the kernel keeps.
 *   - The notification waits for no lock that the caller may hold (it names no pages), and a thread of its own writes it.
 */
import type { Context } from '../sys/index.js'
import type { Node } from '../vfs/index.js'
import type { Session } from './session.js'

const S_ISUID_ISGID = 0o6000

/** The value, once the kernel has forgotten the attributes that it had before. */
export async function forgotten<T>(s: Session, node: Node, change: T | Promise<T>): Promise<T> {
  const value = await change
  await s.stale(node)
  return value
}

/** A change of bytes by somebody in whose hands setuid and setgid bits fall. */
export function disarming<T>(s: Session, ctx: Context, node: Node, change: () => T | Promise<T>): T | Promise<T> {
  const attr = s.vfs.getattr(ctx, node, 0)
  if (attr instanceof Promise) return attr.then(({ mode }) => ((mode & S_ISUID_ISGID) === 0 ? change() : forgotten(s, node, change())))
  return (attr.mode & S_ISUID_ISGID) === 0 ? change() : forgotten(s, node, change())
}
