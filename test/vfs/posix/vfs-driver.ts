/**
 * Drives a vfs without a kernel: walks paths, follows symlinks, keeps open files, applies umask, and says of each call who
 * asks. The vfs decides permissions (checkPermissions). What the kernel alone does (path lengths, protected links) is not here.
 */
import { PosixError } from '../../../src/sys/index.js'
import type { Context } from '../../../src/sys/index.js'
import * as V from '../../../src/vfs/index.js'
import type { Attr, Vfs, SetAttr } from '../../../src/vfs/index.js'
import { O_APPEND, O_CREAT, O_EXCL, TYPE_BITS } from './table.js'
import type { CallName, Calls, Driver, FileType, Moment, Stat, User } from './table.js'

const LINKS_MAX = 40
const O_DIRECTORY = 0o200_000
const O_TMPFILE = 0o20_200_000
const S_IFMT = 0o170000

interface Description {
  readonly handle: number
  readonly node: number
  readonly directory: boolean
  readonly flags: number
  position: number
}

interface Caller {
  readonly ctx: Context
  umask: number
}

interface Place {
  readonly parent: number
  readonly name: string
}

const NOTHING: SetAttr = {
  valid: 0, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0,
}
const typeOf = (mode: number): FileType =>
  (Object.keys(TYPE_BITS) as FileType[]).find((type) => TYPE_BITS[type] === (mode & S_IFMT)) ?? 'file'
const isLink = (a: Attr): boolean => (a.mode & S_IFMT) === TYPE_BITS.link
const ns = (sec: number, nsec: number): bigint => BigInt(sec) * 1_000_000_000n + BigInt(nsec)

const statOf = (a: Attr): Stat => ({
  type: typeOf(a.mode), mode: a.mode & 0o7777, nlink: a.nlink, uid: a.uid, gid: a.gid, size: a.sizeBytes, blocks: a.blocks512,
  ino: a.ino, major: (a.rdev >> 8) & 0xfff, minor: a.rdev & 0xff,
  atime: ns(a.atimeSec, a.atimeNsec), mtime: ns(a.mtimeSec, a.mtimeNsec), ctime: ns(a.ctimeSec, a.ctimeNsec),
})

export interface DriveOptions {
  tick(): Promise<void>
  close(): Promise<void>
}

export function driveVfs(vfs: Vfs, { tick, close }: DriveOptions): Driver {
  const callers = new Map<string, Caller>()
  const open = new Map<number, Description>()
  let nextFd = 3

  const callerOf = (user: User): Caller => {
    let caller = callers.get(user.name)
    if (caller === undefined) {
      const ctx: Context = { uid: user.uid, gid: user.gid, pid: 1, groups: user.groups, deadlineMs: Infinity, signal: undefined, traceId: 0, alone: false }
      callers.set(user.name, (caller = { ctx, umask: 0 }))
    }
    return caller
  }

  const found = async (ctx: Context, parent: number, name: string): Promise<Attr> => {
    const attr = await vfs.lookup(ctx, parent, name)
    if (attr === undefined) throw new PosixError('ENOENT')
    return attr
  }

  /** The folder and the name that a path ends in; `from`: where it starts. */
  const place = async (ctx: Context, from: number, path: string, links = { left: LINKS_MAX }): Promise<Place> => {
    const names = path.split('/').filter((part) => part !== '')
    const name = names.pop() ?? '.'
    let node = path.startsWith('/') ? V.ROOT_NODE : from
    for (const part of names) node = await follow(ctx, node, part, links)
    return { parent: node, name }
  }

  /** The node of a name, through symlinks. */
  const follow = async (ctx: Context, parent: number, name: string, links: { left: number }): Promise<number> => {
    const attr = await found(ctx, parent, name)
    if (!isLink(attr)) return attr.ino
    if (links.left-- === 0) throw new PosixError('ELOOP')
    const next = await place(ctx, parent, await vfs.readlink(ctx, attr.ino), links)
    return follow(ctx, next.parent, next.name, links)
  }

  const nodeOf = async (ctx: Context, path: string): Promise<number> => {
    const links = { left: LINKS_MAX }
    const at = await place(ctx, V.ROOT_NODE, path, links)
    return follow(ctx, at.parent, at.name, links)
  }
  const nodeItself = async (ctx: Context, path: string): Promise<number> => {
    const at = await place(ctx, V.ROOT_NODE, path)
    return (await found(ctx, at.parent, at.name)).ino
  }

  const keep = (d: Omit<Description, 'position'>): number => {
    open.set(nextFd, { ...d, position: 0 })
    return nextFd++
  }
  const description = (fd: number): Description => {
    const d = open.get(fd)
    if (d === undefined) throw new PosixError('EBADF')
    return d
  }

  const openNode = async (ctx: Context, node: number, flags: number): Promise<number> => {
    const attr = await vfs.getattr(ctx, node, 0)
    if (isLink(attr)) throw new PosixError('ELOOP')
    const directory = (attr.mode & S_IFMT) === TYPE_BITS.dir
    if (!directory && (flags & O_DIRECTORY) !== 0) throw new PosixError('ENOTDIR')
    if (directory && (flags & O_CREAT) !== 0) throw new PosixError('EISDIR')
    const readsDirectory = directory && (flags & 3) === 0 && (flags & 0o1000) === 0
    const { handle } = readsDirectory ? await vfs.opendir(ctx, node) : await vfs.open(ctx, node, flags & ~(O_CREAT | O_EXCL))
    return keep({ handle, node, directory, flags })
  }

  const openPath = async ({ ctx, umask }: Caller, path: string, flags: number, mode: number): Promise<number> => {
    if ((flags & O_TMPFILE) === O_TMPFILE) {
      const made = await vfs.tmpfile(ctx, await nodeOf(ctx, path), mode, umask, flags & ~O_TMPFILE)
      return keep({ handle: made.handle, node: made.attr.ino, directory: false, flags })
    }
    if ((flags & O_CREAT) === 0) return openNode(ctx, await nodeOf(ctx, path), flags)
    const links = { left: LINKS_MAX }
    let at = await place(ctx, V.ROOT_NODE, path, links)
    for (;;) {
      const old = await vfs.lookup(ctx, at.parent, at.name)
      if (old !== undefined && isLink(old) && (flags & O_EXCL) === 0) {
        if (links.left-- === 0) throw new PosixError('ELOOP')
        at = await place(ctx, at.parent, await vfs.readlink(ctx, old.ino), links)
        continue
      }
      if (old !== undefined && (flags & O_EXCL) === 0) return openNode(ctx, old.ino, flags)
      const made = await vfs.create(ctx, at.parent, at.name, mode, umask, flags)
      return keep({ handle: made.handle, node: made.attr.ino, directory: false, flags })
    }
  }

  const set = async (ctx: Context, node: number, change: Partial<SetAttr>, handle = 0): Promise<void> => {
    await vfs.setattr(ctx, node, { ...NOTHING, ...change }, handle)
  }
  const owner = (uid: number, gid: number): Partial<SetAttr> =>
    ({ valid: (uid === -1 ? 0 : V.SET_UID) | (gid === -1 ? 0 : V.SET_GID), uid, gid })

  const list = async (ctx: Context, node: number): Promise<string[]> => {
    const names: string[] = []
    const { handle } = await vfs.opendir(ctx, node)
    let [high, low, room, taken] = [0, 0, 0, 0]
    const sink = {
      entry(name: string, _ino: number, _type: number, cookieHigh: number, cookieLow: number): boolean {
        if (room-- === 0) return false
        names.push(name)
        taken++
        high = cookieHigh
        low = cookieLow
        return true
      },
    }
    do {
      taken = 0
      room = 37
      await vfs.readdir(ctx, node, handle, high, low, sink, names.length % 2 === 0)
    } while (taken > 0)
    await vfs.releasedir(ctx, node, handle)
    return names.filter((name) => name !== '.' && name !== '..')
  }

  const callsOf = (caller: Caller): Calls => {
    const { ctx } = caller
    return {
      umask: async (mask) => void (caller.umask = mask),
      open: (path, flags, mode = 0o644) => openPath(caller, path, flags, mode),
      async close(fd) {
        const { handle, node, directory } = description(fd)
        open.delete(fd)
        if (directory) return vfs.releasedir(ctx, node, handle)
        await vfs.flush(ctx, node, handle)
        await vfs.release(ctx, node, handle)
      },
      async pread(fd, length, offset) {
        const { handle, node } = description(fd)
        const into = Buffer.alloc(length)
        return into.latin1Slice(0, await vfs.read(ctx, node, handle, offset, length, into, 0))
      },
      async pwrite(fd, text, offset) {
        const { handle, node } = description(fd)
        return vfs.write(ctx, node, handle, offset, Buffer.from(text, 'latin1'), 0, text.length, { killSuidgid: ctx.uid !== 0, append: false })
      },
      async write(fd, text) {
        const d = description(fd)
        const append = (d.flags & O_APPEND) !== 0
        const n = await vfs.write(ctx, d.node, d.handle, d.position, Buffer.from(text, 'latin1'), 0, text.length, { killSuidgid: ctx.uid !== 0, append })
        d.position += n
        return n
      },
      async ftruncate(fd, size) {
        const { handle, node, flags } = description(fd)
        if ((flags & 3) === 0) throw new PosixError('EINVAL') // as the kernel does
        await set(ctx, node, { valid: V.SET_SIZE, sizeBytes: size }, handle)
      },
      fsync: async (fd) => vfs.fsync(ctx, description(fd).node, description(fd).handle, false),
      fstat: async (fd) => statOf(await vfs.getattr(ctx, description(fd).node, description(fd).handle)),
      fchmod: async (fd, mode) => set(ctx, description(fd).node, { valid: V.SET_MODE, mode }),
      fchown: async (fd, uid, gid) => set(ctx, description(fd).node, owner(uid, gid)),
      fallocate: async (fd, mode, offset, length) => vfs.fallocate(ctx, description(fd).node, description(fd).handle, mode, offset, length),
      lseek: async (fd, offset, whence) => vfs.lseek(ctx, description(fd).node, description(fd).handle, offset, whence),
      async copyRange(from, fromOffset, to, toOffset, length) {
        const [a, b] = [description(from), description(to)]
        return vfs.copyFileRange(ctx, a.node, a.handle, fromOffset, b.node, b.handle, toOffset, length)
      },
      async linkOpen(fd, path) {
        const at = await place(ctx, V.ROOT_NODE, path)
        await vfs.link(ctx, description(fd).node, at.parent, at.name)
      },
      stat: async (path) => statOf(await vfs.getattr(ctx, await nodeOf(ctx, path), 0)),
      lstat: async (path) => statOf(await vfs.getattr(ctx, await nodeItself(ctx, path), 0)),
      access: async (path, mask) => vfs.access(ctx, await nodeOf(ctx, path), mask),
      chmod: async (path, mode) => set(ctx, await nodeOf(ctx, path), { valid: V.SET_MODE, mode }),
      chown: async (path, uid, gid) => set(ctx, await nodeOf(ctx, path), owner(uid, gid)),
      lchown: async (path, uid, gid) => set(ctx, await nodeItself(ctx, path), owner(uid, gid)),
      async mkdir(path, mode) {
        const at = await place(ctx, V.ROOT_NODE, path)
        await vfs.mkdir(ctx, at.parent, at.name, mode, caller.umask)
      },
      async mknod(path, mode, major, minor) {
        const at = await place(ctx, V.ROOT_NODE, path)
        await vfs.mknod(ctx, at.parent, at.name, mode, (major << 8) | minor, caller.umask)
      },
      async link(from, to) {
        const node = await nodeItself(ctx, from)
        const at = await place(ctx, V.ROOT_NODE, to)
        await vfs.link(ctx, node, at.parent, at.name)
      },
      async symlink(target, path) {
        const at = await place(ctx, V.ROOT_NODE, path)
        await vfs.symlink(ctx, at.parent, at.name, target)
      },
      readlink: async (path) => vfs.readlink(ctx, await nodeItself(ctx, path)),
      async rename(from, to, flags = 0) {
        const [a, b] = [await place(ctx, V.ROOT_NODE, from), await place(ctx, V.ROOT_NODE, to)]
        await vfs.rename(ctx, a.parent, a.name, b.parent, b.name, flags)
      },
      async unlink(path) {
        const at = await place(ctx, V.ROOT_NODE, path)
        await vfs.unlink(ctx, at.parent, at.name)
      },
      async rmdir(path) {
        const at = await place(ctx, V.ROOT_NODE, path)
        await vfs.rmdir(ctx, at.parent, at.name)
      },
      truncate: async (path, size) => set(ctx, await nodeOf(ctx, path), { valid: V.SET_SIZE, sizeBytes: size }),
      async utimens(path, atime, mtime, followLinks) {
        const node = followLinks ? await nodeOf(ctx, path) : await nodeItself(ctx, path)
        const bits = (m: Moment, given: number, now: number): number => (m === 'omit' ? 0 : m === 'now' ? given | now : given)
        const [a, m] = [atime, mtime].map((moment) => (typeof moment === 'string' ? [0, 0] : moment))
        const valid = bits(atime, V.SET_ATIME, V.SET_ATIME_NOW) | bits(mtime, V.SET_MTIME, V.SET_MTIME_NOW)
        if (valid !== 0) await set(ctx, node, { valid, atimeSec: a[0], atimeNsec: a[1], mtimeSec: m[0], mtimeNsec: m[1] })
      },
      readdir: async (path) => list(ctx, await nodeOf(ctx, path)),
      setxattr: async (path, name, value, flags) => vfs.setxattr(ctx, await nodeOf(ctx, path), name, Buffer.from(value, 'latin1'), flags, false),
      async getxattr(path, name) {
        const value = await vfs.getxattr(ctx, await nodeOf(ctx, path), name)
        if (value === undefined) throw new PosixError('ENODATA')
        return Buffer.from(value).latin1Slice()
      },
      listxattr: async (path) => [...(await vfs.listxattr(ctx, await nodeOf(ctx, path)))],
      removexattr: async (path, name) => vfs.removexattr(ctx, await nodeOf(ctx, path), name),
    }
  }

  const calls = new Map<string, Calls>()
  return {
    call(user, name: CallName, args) {
      let mine = calls.get(user.name)
      if (mine === undefined) calls.set(user.name, (mine = callsOf(callerOf(user))))
      return (mine[name] as (...a: readonly unknown[]) => Promise<unknown>)(...args)
    },
    tick,
    close,
  }
}
