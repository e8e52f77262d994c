/**
 * Messages that we send unasked: forget this cached inode, this name.
 *   - The kernel may hold the inode's lock while it waits for an answer of ours, and makes the notification wait for that
 *     lock. So none is written from the loop: at most two pool threads write them, in the order in which they were asked for.
 *   - Each resolves to 0 or the negative errno. -ENOENT: the kernel had nothing of it. -ENOTEMPTY, -EBUSY (delete): in use.
 *   - The queue is bounded; beyond it a notification resolves to -EAGAIN, and who sent it tries again or lets the
 *     kernel's time-outs do it.
 */
import { ERRNO, offLoop, set64, viewOf, writeByteString } from '../sys/index.js'
import type { Node } from '../vfs/index.js'
import { writeOutHeader } from './codec-header.js'
import { EXPIRE_ONLY, NOTIFY_DELETE, NOTIFY_INVAL_ENTRY, NOTIFY_INVAL_INODE, OUT_HEADER_BYTES } from './protocol.js'

const WRITERS_MAX = 2
const QUEUE_MAX = 16384

interface Waiting {
  readonly message: Buffer
  readonly resolve: (rc: number) => void
}

export class Notifier {
  private readonly fd: number
  private readonly queue: Waiting[] = []
  private writers = 0
  private closed = false
  private whenIdle: (() => void) | undefined

  constructor(fd: number) {
    this.fd = fd
  }

  /** Drops cached attributes, and cached pages of [offset, offset + length): length 0 to the end, offset -1 none. */
  invalInode(node: Node, offsetBytes: number, lengthBytes: number): Promise<number> {
    return this.send(NOTIFY_INVAL_INODE, 24, '', (v, at) => { // fuse_notify_inval_inode_out
      set64(v, at + 0, node)
      set64(v, at + 8, offsetBytes)
      set64(v, at + 16, lengthBytes)
    })
  }

  /** Drops a cached name, known or known to be missing. `expire`: keeps it where it is in use, but looks it up again. */
  invalEntry(parent: Node, name: string, how: 'drop' | 'expire'): Promise<number> {
    return this.send(NOTIFY_INVAL_ENTRY, 16, name, (v, at) => { // fuse_notify_inval_entry_out
      set64(v, at + 0, parent)
      v.setUint32(at + 8, name.length, true)
      v.setUint32(at + 12, how === 'expire' ? EXPIRE_ONLY : 0, true)
    })
  }

  /** The name was removed: as invalEntry, and watchers (inotify) hear of a deletion. Only if it still leads to `child`. */
  deleted(parent: Node, child: Node, name: string): Promise<number> {
    return this.send(NOTIFY_DELETE, 24, name, (v, at) => { // fuse_notify_delete_out
      set64(v, at + 0, parent)
      set64(v, at + 8, child)
      v.setUint32(at + 16, name.length, true)
      v.setUint32(at + 20, 0, true)
    })
  }

  /** The device is gone: what waits is dropped; resolves when no thread writes any more. */
  async close(): Promise<void> {
    this.closed = true
    for (const { resolve } of this.queue.splice(0)) resolve(-ERRNO.ENODEV)
    if (this.writers > 0) await new Promise<void>((resolve) => { this.whenIdle = resolve })
  }

  private send(code: number, bodyBytes: number, name: string, body: (v: DataView, at: number) => void): Promise<number> {
    if (this.closed) return Promise.resolve(-ERRNO.ENODEV)
    if (this.queue.length >= QUEUE_MAX) return Promise.resolve(-ERRNO.EAGAIN)
    const nameBytes = name === '' ? 0 : name.length + 1 // with its NUL, which namelen does not count
    const message = Buffer.alloc(OUT_HEADER_BYTES + bodyBytes + nameBytes)
    const v = viewOf(message)
    writeOutHeader(v, message.length, code, 0, 0)
    body(v, OUT_HEADER_BYTES)
    writeByteString(message, OUT_HEADER_BYTES + bodyBytes, name)
    return new Promise((resolve) => {
      this.queue.push({ message, resolve })
      if (this.writers < WRITERS_MAX) void this.write()
    })
  }

  private async write(): Promise<void> {
    this.writers++
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      const rc = await offLoop.write(this.fd, next.message, 0, next.message.length)
      next.resolve(rc < 0 ? rc : 0)
    }
    this.writers--
    if (this.writers === 0) this.whenIdle?.()
  }
}
