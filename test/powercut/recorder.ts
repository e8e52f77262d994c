/**
 * A small file system in memory, served by our own FUSE door in a process of its own, that writes down what it is asked: every
 * write as the kernel sends it, every flush, every change of a name or a size. Run by record.ts: its argument is the mount
 * point; a message 'stop' takes the mount away and sends the events.
 */
import { Channel, mountedDevice, mountFuse, openSession, unmount, abortConnection } from '../../src/fuse/index.js'
import { coreHold, systemClock } from '../../src/sys/index.js'
import * as vfs from '../../src/vfs/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { MemoryVfs } from '../fuse/memory-vfs.js'
import type { DiskEvent } from './journal.js'
import { machineMs } from './record.js'

const O_TRUNC = 0o1000
const BATCH_BYTES = 4 * 1024 * 1024
const events: DiskEvent[] = []

function recording(inner: MemoryVfs): Vfs {
  const childOf = (parent: number, name: string): number | undefined => inner.inodes.get(parent)?.entries.get(name)
  const made = (parent: number, name: string, file: number, directory: boolean): void =>
    void events.push({ kind: 'make', ms: machineMs(), file, parent, name, directory })
  const flushed = (file: number): void => void events.push({ kind: 'flush', ms: machineMs(), file, covers: events.length })
  const resized = (file: number, sizeBytes: number): void => void events.push({ kind: 'size', ms: machineMs(), file, sizeBytes })
  const removed = (parent: number, name: string): void => {
    const file = childOf(parent, name)
    if (file !== undefined) events.push({ kind: 'remove', ms: machineMs(), file, parent, name })
  }
  const own: Partial<Vfs> = {
    mkdir(ctx, parent, name, mode, umask) {
      const attr = inner.mkdir(ctx, parent, name, mode, umask)
      made(parent, name, attr.ino, true)
      return attr
    },
    mknod(ctx, parent, name, mode, rdev, umask) {
      const attr = inner.mknod(ctx, parent, name, mode, rdev, umask)
      made(parent, name, attr.ino, false)
      return attr
    },
    create(ctx, parent, name, mode, umask, flags) {
      const isNew = childOf(parent, name) === undefined
      const created = inner.create(ctx, parent, name, mode, umask)
      if (isNew) made(parent, name, created.attr.ino, false)
      else if ((flags & O_TRUNC) !== 0) resized(created.attr.ino, 0)
      return created
    },
    open(ctx, node, flags) {
      const opened = inner.open(ctx, node, flags)
      if ((flags & O_TRUNC) !== 0) resized(node, 0)
      return opened
    },
    setattr(ctx, node, set) {
      if ((set.valid & vfs.SET_SIZE) !== 0) resized(node, set.sizeBytes)
      return inner.setattr(ctx, node, set)
    },
    unlink(ctx, parent, name) {
      removed(parent, name)
      inner.unlink(ctx, parent, name)
    },
    rmdir(ctx, parent, name) {
      removed(parent, name)
      inner.rmdir(ctx, parent, name)
    },
    rename(ctx, parent, name, newParent, newName, flags) {
      const file = childOf(parent, name)
      inner.rename(ctx, parent, name, newParent, newName, flags)
      if (file !== undefined) events.push({ kind: 'rename', ms: machineMs(), file, parent, name, newParent, newName })
    },
    write(ctx, node, handle, offset, from, at, length, how) {
      events.push({ kind: 'write', ms: machineMs(), file: node, offset, bytes: Buffer.from(from.subarray(at, at + length)) })
      return inner.write(ctx, node, handle, offset, from, at, length, how)
    },
    fsync: (_ctx, node) => flushed(node),
    fsyncdir: (_ctx, node) => flushed(node),
    fallocate(ctx, node, handle, mode, offset, length) {
      if ((mode & vfs.FALLOC_PUNCH_HOLE) !== 0) {
        events.push({ kind: 'punch', ms: machineMs(), file: node, offset, length })
        inner.write(ctx, node, handle, offset, Buffer.alloc(length), 0, length, { append: false })
      } else if ((mode & vfs.FALLOC_KEEP_SIZE) === 0) {
        const before = inner.getattr(ctx, node).sizeBytes
        inner.fallocate(ctx, node, handle, 0, offset, length)
        if (offset + length > before) resized(node, offset + length)
      }
    },
    statfs: () => ({ blockBytes: 4096, blocks: 1e6, blocksFree: 9e5, blocksAvailable: 9e5, files: 1e6, filesFree: 9e5, nameMaxBytes: 255 })
  }
  return new Proxy(inner as Vfs, {
    get(target, name) {
      const method = (Reflect.get(own, name) ?? Reflect.get(target, name)) as unknown
      return typeof method === 'function' ? method.bind(target) as unknown : method
    }
  })
}

async function main(dir: string): Promise<void> {
  const clock = systemClock
  const hold = coreHold({ mode: 'normal', clock })
  const channel = new Channel({ clock, hold })
  const fd = await mountFuse(dir, { source: 'powercut', allowOther: true, defaultPermissions: true, flags: ['nodev'] })
  const connection = channel.serve(fd, (sink) => openSession({ vfs: recording(new MemoryVfs()), clock,
    shown: { attrValidMs: 3_600_000, entryValidMs: 3_600_000, uid: undefined, gid: undefined, umask: undefined }, negativeValidMs: 0,
    requestTimeoutMs: Infinity, interrupts: true, opens: true, writebackCache: false, maxBackground: 64 }, sink))
  const device = mountedDevice(dir) ?? 'none'
  const stop = async (): Promise<void> => {
    await unmount(dir, 'lazy').catch(() => undefined) // gone already: fine
    const late = setTimeout(() => abortConnection(device), 3000)
    await connection.done
    clearTimeout(late)
    hold.close()
  }
  process.on('disconnect', () => void stop().finally(() => process.exit(1)))
  process.on('message', () => void stop().then(async () => {
    let batch: DiskEvent[] = []
    let bytes = 0
    const send = (message: object): Promise<void> => new Promise((resolve) => process.send!(message, undefined, undefined, () => resolve()))
    for (const event of events) {
      batch.push(event)
      if (event.kind === 'write') bytes += event.bytes.length
      if (bytes < BATCH_BYTES && batch.length < 5000) continue
      await send({ batch })
      batch = []
      bytes = 0
    }
    await send({ batch, end: true })
    process.exit(0)
  }))
  process.send!({ ready: true })
}

await main(process.argv[2])
