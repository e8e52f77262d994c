/** A tree in memory, as small as a mount needs: no permissions, no xattrs, no holes. Answers without promises unless told to. */
import { PosixError } from '../../src/sys/index.js'
import type { Context } from '../../src/sys/index.js'
import * as vfs from '../../src/vfs/index.js'
import type { Attr, Created, DirectorySink, Handle, Node, SetAttr, Vfs } from '../../src/vfs/index.js'

interface Inode {
  ino: number
  mode: number
  nlink: number
  uid: number
  gid: number
  rdev: number
  data: Buffer
  size: number
  target: string
  parent: number
  entries: Map<string, number>
  mtimeSec: number
  mtimeNsec: number
}

const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000

export class MemoryVfs implements Vfs {
  readonly inodes = new Map<number, Inode>()
  readonly handles = new Map<Handle, Node>()
  forgotten: number[] = []
  private nextIno = 2
  private nextHandle = 1

  constructor() {
    this.inodes.set(1, this.fresh(1, S_IFDIR | 0o755, 0, 0, 1))
  }

  private fresh(ino: number, mode: number, uid: number, gid: number, parent: number): Inode {
    const dir = (mode & S_IFMT) === S_IFDIR
    return { ino, mode, nlink: dir ? 2 : 1, uid, gid, rdev: 0, data: Buffer.alloc(0), size: 0, target: '', parent,
      entries: new Map(), mtimeSec: 1_700_000_000, mtimeNsec: 5 }
  }

  private inode(node: Node): Inode {
    const inode = this.inodes.get(node)
    if (inode === undefined) throw new PosixError('ESTALE')
    return inode
  }

  private dir(node: Node): Inode {
    const inode = this.inode(node)
    if ((inode.mode & S_IFMT) !== S_IFDIR) throw new PosixError('ENOTDIR')
    return inode
  }

  private child(parent: Node, name: string): Inode {
    const ino = this.dir(parent).entries.get(name)
    if (ino === undefined) throw new PosixError('ENOENT')
    return this.inode(ino)
  }

  private attr(i: Inode): Attr {
    return { ino: i.ino, generation: 1, mode: i.mode, nlink: i.nlink, uid: i.uid, gid: i.gid, rdev: i.rdev, sizeBytes: i.size,
      blocks512: Math.ceil(i.size / 512), atimeSec: i.mtimeSec, atimeNsec: i.mtimeNsec, mtimeSec: i.mtimeSec,
      mtimeNsec: i.mtimeNsec, ctimeSec: i.mtimeSec, ctimeNsec: i.mtimeNsec, btimeSec: 1_600_000_000, btimeNsec: 0 }
  }

  private add(ctx: Context, parent: Node, name: string, mode: number): Inode {
    const dir = this.dir(parent)
    if (dir.entries.has(name)) throw new PosixError('EEXIST')
    if (name.length > 255) throw new PosixError('ENAMETOOLONG')
    const inode = this.fresh(this.nextIno++, mode, ctx.uid, ctx.gid, parent)
    this.inodes.set(inode.ino, inode)
    dir.entries.set(name, inode.ino)
    if ((mode & S_IFMT) === S_IFDIR) dir.nlink++
    return inode
  }

  private handle(node: Node): Handle {
    this.handles.set(this.nextHandle, node)
    return this.nextHandle++
  }

  private resize(i: Inode, size: number): void {
    if (size > 1 << 28) throw new PosixError('EFBIG')
    if (size > i.data.length) i.data = Buffer.concat([i.data, Buffer.alloc(Math.max(size, 2 * i.data.length) - i.data.length)])
    i.data.fill(0, Math.min(i.size, size))
    i.size = size
  }

  lookup(_ctx: Context, parent: Node, name: string): Attr | undefined {
    if (name === '.') return this.attr(this.inode(parent))
    const dir = this.dir(parent)
    const ino = name === '..' ? dir.parent : dir.entries.get(name)
    return ino === undefined ? undefined : this.attr(this.inode(ino))
  }

  forget(node: Node): void {
    this.forgotten.push(node)
    const inode = this.inodes.get(node)
    if (inode !== undefined && inode.nlink === 0) this.inodes.delete(node)
  }

  getattr(_ctx: Context, node: Node): Attr {
    return this.attr(this.inode(node))
  }

  setattr(_ctx: Context, node: Node, set: SetAttr): Attr {
    const i = this.inode(node)
    if (set.valid & vfs.SET_MODE) i.mode = (i.mode & S_IFMT) | (set.mode & 0o7777)
    if (set.valid & vfs.SET_UID) i.uid = set.uid
    if (set.valid & vfs.SET_GID) i.gid = set.gid
    if (set.valid & vfs.SET_SIZE) this.resize(i, set.sizeBytes)
    if (set.valid & vfs.SET_KILL_SUIDGID) i.mode &= ~0o6000
    if (set.valid & vfs.SET_MTIME && !(set.valid & vfs.SET_MTIME_NOW)) {
      i.mtimeSec = set.mtimeSec
      i.mtimeNsec = set.mtimeNsec
    }
    return this.attr(i)
  }

  readlink(_ctx: Context, node: Node): string {
    return this.inode(node).target
  }

  mknod(ctx: Context, parent: Node, name: string, mode: number, rdev: number, umask: number): Attr {
    const inode = this.add(ctx, parent, name, (mode & S_IFMT || S_IFREG) | (mode & 0o7777 & ~umask))
    inode.rdev = rdev
    return this.attr(inode)
  }

  mkdir(ctx: Context, parent: Node, name: string, mode: number, umask: number): Attr {
    return this.attr(this.add(ctx, parent, name, S_IFDIR | (mode & 0o7777 & ~umask)))
  }

  symlink(ctx: Context, parent: Node, name: string, target: string): Attr {
    const inode = this.add(ctx, parent, name, S_IFLNK | 0o777)
    inode.target = target
    inode.size = target.length
    return this.attr(inode)
  }

  link(_ctx: Context, node: Node, newParent: Node, newName: string): Attr {
    const inode = this.inode(node)
    if (this.dir(newParent).entries.has(newName)) throw new PosixError('EEXIST')
    this.dir(newParent).entries.set(newName, node)
    inode.nlink++
    return this.attr(inode)
  }

  unlink(_ctx: Context, parent: Node, name: string): void {
    const inode = this.child(parent, name)
    if ((inode.mode & S_IFMT) === S_IFDIR) throw new PosixError('EISDIR')
    inode.nlink--
    this.dir(parent).entries.delete(name)
  }

  rmdir(_ctx: Context, parent: Node, name: string): void {
    const inode = this.child(parent, name)
    if (inode.entries.size > 0) throw new PosixError('ENOTEMPTY')
    inode.nlink = 0
    this.dir(parent).entries.delete(name)
    this.dir(parent).nlink--
  }

  rename(_ctx: Context, parent: Node, name: string, newParent: Node, newName: string, flags: number): void {
    if (flags !== 0 && flags !== vfs.RENAME_NOREPLACE) throw new PosixError('EINVAL')
    const inode = this.child(parent, name)
    if (flags === vfs.RENAME_NOREPLACE && this.dir(newParent).entries.has(newName)) throw new PosixError('EEXIST')
    this.dir(parent).entries.delete(name)
    this.dir(newParent).entries.set(newName, inode.ino)
    inode.parent = newParent
  }

  open(_ctx: Context, node: Node, flags: number): vfs.Opened {
    if (flags & 0o1000) this.resize(this.inode(node), 0)
    return { handle: this.handle(this.inode(node).ino), keepCache: true }
  }

  create(ctx: Context, parent: Node, name: string, mode: number, umask: number): Created {
    const inode = this.dir(parent).entries.has(name) ? this.child(parent, name)
      : this.add(ctx, parent, name, S_IFREG | (mode & 0o7777 & ~umask))
    return { handle: this.handle(inode.ino), keepCache: true, attr: this.attr(inode) }
  }

  tmpfile(ctx: Context, parent: Node, mode: number, umask: number): Created {
    const inode = this.fresh(this.nextIno++, S_IFREG | (mode & 0o7777 & ~umask), ctx.uid, ctx.gid, parent)
    inode.nlink = 0
    this.inodes.set(inode.ino, inode)
    return { handle: this.handle(inode.ino), keepCache: true, attr: this.attr(inode) }
  }

  read(_ctx: Context, node: Node, _handle: Handle, offset: number, length: number, into: Uint8Array, at: number): number {
    const i = this.inode(node)
    const bytes = Math.max(0, Math.min(length, i.size - offset))
    into.set(i.data.subarray(offset, offset + bytes), at)
    return bytes
  }

  write(_ctx: Context, node: Node, _handle: Handle, offset: number, from: Uint8Array, at: number, length: number,
    how: { readonly append: boolean }): number {
    const i = this.inode(node)
    const start = how.append ? i.size : offset
    if (start + length > i.size) this.resize(i, start + length)
    i.data.set(from.subarray(at, at + length), start)
    return length
  }

  flush(): void {}

  release(_ctx: Context, _node: Node, handle: Handle): void {
    if (!this.handles.delete(handle)) throw new PosixError('EBADF')
  }

  fsync(): void {}

  fallocate(_ctx: Context, node: Node, _handle: Handle, mode: number, offset: number, length: number): void {
    if (mode !== 0) throw new PosixError('EOPNOTSUPP')
    const i = this.inode(node)
    if (offset + length > i.size) this.resize(i, offset + length)
  }

  lseek(_ctx: Context, node: Node, _handle: Handle, offset: number, whence: number): number {
    const size = this.inode(node).size
    if (offset >= size) throw new PosixError('ENXIO')
    return whence === 3 ? offset : size
  }

  copyFileRange(ctx: Context, fromNode: Node, fromHandle: Handle, fromOffset: number, toNode: Node, toHandle: Handle,
    toOffset: number, length: number): number {
    const size = this.inode(fromNode).size
    const bytes = Buffer.alloc(Math.max(0, Math.min(length, size - fromOffset)))
    this.read(ctx, fromNode, fromHandle, fromOffset, bytes.length, bytes, 0)
    return this.write(ctx, toNode, toHandle, toOffset, bytes, 0, bytes.length, { append: false })
  }

  opendir(_ctx: Context, node: Node): vfs.Opened {
    return { handle: this.handle(this.dir(node).ino), keepCache: false }
  }

  readdir(_ctx: Context, node: Node, _handle: Handle, _high: number, low: number, sink: DirectorySink, withAttr: boolean): void {
    const dir = this.dir(node)
    const all: [string, number][] = [['.', node], ['..', dir.parent], ...dir.entries]
    for (let i = low; i < all.length; i++) {
      const inode = this.inode(all[i][1])
      const attr = withAttr && i > 1 ? this.attr(inode) : undefined
      if (!sink.entry(all[i][0], inode.ino, inode.mode & S_IFMT, 0, i + 1, attr)) return
    }
  }

  releasedir(ctx: Context, node: Node, handle: Handle): void {
    this.release(ctx, node, handle)
  }

  fsyncdir(): void {}

  statfs(): vfs.Statfs {
    return { blockBytes: 4096, blocks: 1000, blocksFree: 900, blocksAvailable: 800, files: 700, filesFree: 600, nameMaxBytes: 255 }
  }

  access(): void {}

  setxattr(): void {
    throw new PosixError('EOPNOTSUPP')
  }

  getxattr(): Uint8Array {
    throw new PosixError('ENODATA')
  }

  listxattr(): readonly string[] {
    return []
  }

  removexattr(): void {
    throw new PosixError('ENODATA')
  }

  getflags(): number {
    return 0
  }

  setflags(): void {
    throw new PosixError('EOPNOTSUPP')
  }

  async syncAll(): Promise<void> {}

  status(): vfs.VfsStatus {
    return { openFiles: this.handles.size, openDirectories: 0, inodes: this.inodes.size, extents: 0, dirtyBytes: 0 }
  }
}

/** The same with every answer a promise that takes a few microtasks, as a transaction does; or a trip off the loop. */
export function delayed(inner: Vfs, delay: () => Promise<void>): Vfs {
  return new Proxy(inner, {
    get(target, name) {
      const method = Reflect.get(target, name) as unknown
      if (typeof method !== 'function') return method
      if (name === 'forget' || name === 'status') return method.bind(target) as unknown
      return async (...args: unknown[]): Promise<unknown> => {
        await delay()
        return Reflect.apply(method, target, args)
      }
    }
  })
}

