/**
 * Snapshots in the mount: `.snapshots` in the root of each domain leads to `.snapshots/NAME/...`, read-only.
 *   - `.snapshots` is not listed in its folder, always there to go into, and cannot be made, removed or renamed.
 *   - A node of a snapshot stays what it is while the snapshot is there, and is ESTALE afterwards. What would change it is EROFS;
 *     a link between it and the live tree is EXDEV.
 *   - The root of another domain inside a snapshot is an empty folder: that domain has snapshots of its own.
 *   - Live nodes pass through: one comparison a call, and one of the name for names.
 */
import { O_ACCMODE, O_RDONLY, O_TRUNC, PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { DirectoryRow, Inode } from '../meta/index.js'
import { FIRST_VIEW_NODE, inoOf, isList, listNode, nodeOf, openViews } from '../snapshot/index.js'
import type { Shown } from '../snapshot/index.js'
import { isDirectory, isRegular, NAME_MAX_BYTES, R_OK, readerOf, S_IFDIR, S_IFLNK, S_IFMT, then, W_OK, X_OK } from './core.js'
import type { Core } from './core.js'
import { overridden } from './attributes.js'
import type { CopyInto } from './files.js'
import type { Handles } from './handles.js'
import { ROOT_NODE } from './vfs.js'
import type { Attr, DirectorySink, Node, Vfs } from './vfs.js'

export const SNAPSHOTS_NAME = '.snapshots'
const BATCH_ROWS = 64
const DOT_COOKIE = 1
const DOTDOT_COOKIE = 2
const SEEK_DATA = 3
const SEEK_HOLE = 4

type Calls = Omit<Vfs, 'status' | 'syncAll'>

/** An inode of a snapshot. */
interface Past {
  readonly shown: Shown
  readonly inode: Inode
  /** The root of another domain. */
  readonly isForeign: boolean
}

const isView = (node: Node): boolean => node >= FIRST_VIEW_NODE
const fail = (code: 'EROFS' | 'EXDEV' | 'ENOTDIR' | 'ESTALE' | 'EISDIR' | 'EINVAL' | 'EEXIST'): never => {
  throw new PosixError(code)
}

/** The live vfs with its snapshots beside it. */
export function withSnapshots<V extends Vfs>(core: Core, handles: Handles, live: V, copyInto: CopyInto): V {
  const past = pastOf(core, handles, copyInto)

  const isLists = (ctx: Context, parent: Node, name: string): MaybePromise<number | undefined> =>
    name === SNAPSHOTS_NAME ? past.listIn(ctx, parent) : undefined

  /** Refuses to make or remove the name `.snapshots` of a domain's root; else goes on. */
  const guarded = <T>(ctx: Context, parent: Node, name: string, code: 'EEXIST' | 'EROFS', go: () => MaybePromise<T>): MaybePromise<T> => {
    if (isView(parent)) throw new PosixError('EROFS')
    if (name !== SNAPSHOTS_NAME) return go()
    return then(past.listIn(ctx, parent), (list) => (list === undefined ? go() : fail(code)))
  }

  const calls: Calls = {
    lookup(ctx, parent, name) {
      if (isView(parent)) return past.lookup(ctx, parent, name)
      if (name !== SNAPSHOTS_NAME) return live.lookup(ctx, parent, name)
      return then(isLists(ctx, parent, name), (list) => (list === undefined ? live.lookup(ctx, parent, name) : past.getattr(ctx, list)))
    },
    forget: (node) => (isView(node) ? undefined : live.forget(node)),
    getattr: (ctx, node, handle) => (isView(node) ? past.getattr(ctx, node) : live.getattr(ctx, node, handle)),
    setattr: (ctx, node, set, handle) => (isView(node) ? fail('EROFS') : live.setattr(ctx, node, set, handle)),
    readlink: (ctx, node) => (isView(node) ? past.readlink(ctx, node) : live.readlink(ctx, node)),
    mknod: (ctx, parent, name, mode, rdev, umask) => guarded(ctx, parent, name, 'EEXIST', () => live.mknod(ctx, parent, name, mode, rdev, umask)),
    mkdir: (ctx, parent, name, mode, umask) => guarded(ctx, parent, name, 'EEXIST', () => live.mkdir(ctx, parent, name, mode, umask)),
    symlink: (ctx, parent, name, target) => guarded(ctx, parent, name, 'EEXIST', () => live.symlink(ctx, parent, name, target)),
    link(ctx, node, newParent, newName) {
      if (isView(node) !== isView(newParent)) throw new PosixError('EXDEV')
      return guarded(ctx, newParent, newName, 'EEXIST', () => live.link(ctx, node, newParent, newName))
    },
    unlink: (ctx, parent, name) => guarded(ctx, parent, name, 'EROFS', () => live.unlink(ctx, parent, name)),
    rmdir: (ctx, parent, name) => guarded(ctx, parent, name, 'EROFS', () => live.rmdir(ctx, parent, name)),
    rename(ctx, parent, name, newParent, newName, flags) {
      if (isView(parent) !== isView(newParent)) throw new PosixError('EXDEV')
      return guarded(ctx, parent, name, 'EROFS', () => guarded(ctx, newParent, newName, 'EROFS', () => live.rename(ctx, parent, name, newParent, newName, flags)))
    },
    open: (ctx, node, flags) => (isView(node) ? past.open(ctx, node, flags) : live.open(ctx, node, flags)),
    create(ctx, parent, name, mode, umask, flags) {
      if (isView(parent)) return past.create(ctx, parent, name, flags)
      return guarded(ctx, parent, name, 'EEXIST', () => live.create(ctx, parent, name, mode, umask, flags))
    },
    tmpfile: (ctx, parent, mode, umask, flags) => (isView(parent) ? fail('EROFS') : live.tmpfile(ctx, parent, mode, umask, flags)),
    read(ctx, node, handle, offset, length, into, at, flags) {
      return isView(node) ? past.read(ctx, node, handle, offset, length, into, at) : live.read(ctx, node, handle, offset, length, into, at, flags)
    },
    write: (ctx, node, handle, offset, from, at, length, how) => (isView(node) ? fail('EROFS') : live.write(ctx, node, handle, offset, from, at, length, how)),
    flush: (ctx, node, handle) => (isView(node) ? undefined : live.flush(ctx, node, handle)),
    release: (ctx, node, handle) => live.release(ctx, node, handle),
    fsync: (ctx, node, handle, dataOnly) => (isView(node) ? undefined : live.fsync(ctx, node, handle, dataOnly)),
    fallocate: (ctx, node, handle, mode, offset, length) => (isView(node) ? fail('EROFS') : live.fallocate(ctx, node, handle, mode, offset, length)),
    lseek: (ctx, node, handle, offset, whence) => (isView(node) ? past.lseek(ctx, node, offset, whence) : live.lseek(ctx, node, handle, offset, whence)),
    copyFileRange(ctx, from, fromHandle, fromOffset, to, toHandle, toOffset, length) {
      if (isView(to)) throw new PosixError('EROFS')
      if (!isView(from)) return live.copyFileRange(ctx, from, fromHandle, fromOffset, to, toHandle, toOffset, length)
      return past.copyOut(ctx, from, fromOffset, to, toHandle, toOffset, length)
    },
    opendir: (ctx, node) => (isView(node) ? past.opendir(ctx, node) : live.opendir(ctx, node)),
    readdir(ctx, node, handle, high, low, sink, withAttr) {
      return isView(node) ? past.readdir(ctx, node, high, low, sink, withAttr) : live.readdir(ctx, node, handle, high, low, sink, withAttr)
    },
    releasedir: (ctx, node, handle) => live.releasedir(ctx, node, handle),
    fsyncdir: (ctx, node, handle, dataOnly) => (isView(node) ? undefined : live.fsyncdir(ctx, node, handle, dataOnly)),
    statfs: (ctx, node) => live.statfs(ctx, isView(node) ? ROOT_NODE : node),
    access: (ctx, node, mask) => (isView(node) ? past.access(ctx, node, mask) : live.access(ctx, node, mask)),
    setxattr: (ctx, node, name, value, flags, killSgid) => (isView(node) ? fail('EROFS') : live.setxattr(ctx, node, name, value, flags, killSgid)),
    getxattr: (ctx, node, name) => (isView(node) ? past.getxattr(ctx, node, name) : live.getxattr(ctx, node, name)),
    listxattr: (ctx, node) => (isView(node) ? past.listxattr(ctx, node) : live.listxattr(ctx, node)),
    removexattr: (ctx, node, name) => (isView(node) ? fail('EROFS') : live.removexattr(ctx, node, name)),
    getflags: (ctx, node) => (isView(node) ? then(past.find(ctx, node), ({ inode }) => inode.flags) : live.getflags(ctx, node)),
    setflags: (ctx, node, flags) => (isView(node) ? fail('EROFS') : live.setflags(ctx, node, flags))
  }
  return { ...live, ...calls }
}

function pastOf(core: Core, handles: Handles, copyInto: CopyInto) {
  const { tree, data, options } = core
  const views = openViews(tree, options.isHeldBetween ?? (() => true))
  const hasOverrides = options.uid !== undefined || options.gid !== undefined || options.umask !== undefined

  const shownAs = (inode: Inode, node: Node): Attr => {
    const seen = hasOverrides ? overridden(inode, options.uid, options.gid, options.umask) : inode
    return { ...seen, ino: node }
  }

  // ------------------------------------------------------------------------------------------------------- the lists

  const listIn = (ctx: Context, parent: Node): MaybePromise<number | undefined> =>
    then(tree.inode(readerOf(core, ctx), parent, NOW), (inode) => {
      if (inode === undefined || !isDirectory(inode)) return undefined
      return then(tree.domain(readerOf(core, ctx), inode.domain), (d) => (d?.root === parent ? listNode(parent) : undefined))
    })

  /** The folder `.snapshots`: its times are the newest snapshot's. */
  const listAttr = (ctx: Context, node: Node): MaybePromise<Attr> => {
    const reader = readerOf(core, ctx)
    return then(views.list(reader, node), ({ domain, root }) =>
      then(tree.inode(reader, root, NOW), (inode) => then(tree.snapshots(reader, domain), (all) => {
        if (inode === undefined) throw new PosixError('ESTALE')
        const newest = all.at(-1)
        const sec = newest?.sec ?? inode.btimeSec
        const nsec = newest?.nsec ?? inode.btimeNsec
        return shownAs({
          ...inode, mode: S_IFDIR | 0o555, nlink: 2 + all.length, sizeBytes: 0, blocks512: 0, flags: 0, hasAccessAcl: false, hasDefaultAcl: false,
          atimeSec: sec, atimeNsec: nsec, mtimeSec: sec, mtimeNsec: nsec, ctimeSec: sec, ctimeNsec: nsec
        }, node)
      })))
  }

  // --------------------------------------------------------------------------------------------------------- inodes

  /** What a snapshot shows of an inode; `undefined`: nothing. */
  const inodeIn = (ctx: Context, shown: Shown, ino: number): MaybePromise<Past | undefined> => {
    const inode = tree.inode(readerOf(core, ctx), ino, shown.epoch)
    return then(inode, (found) => (found === undefined ? foreignIn(ctx, shown, ino) : pastFrom(shown, found)))
  }

  /** The root of another domain, whose epochs are its own: what the view says of it means nothing. */
  const foreignIn = (ctx: Context, shown: Shown, ino: number): MaybePromise<Past | undefined> =>
    then(tree.inode(readerOf(core, ctx), ino, NOW), (now) => (now === undefined || now.domain === shown.domain || now.domain !== ino ? undefined : pastFrom(shown, now)))

  const pastFrom = (shown: Shown, inode: Inode): Past => {
    if (inode.domain === shown.domain) return { shown, inode, isForeign: false }
    return { shown, inode: { ...inode, mode: S_IFDIR | 0o555, nlink: 2, hasAccessAcl: false, hasDefaultAcl: false }, isForeign: true }
  }

  /** ESTALE: the snapshot was removed. */
  const find = (ctx: Context, node: Node): MaybePromise<Past> => {
    if (isList(node)) throw new PosixError('EISDIR')
    return then(views.of(readerOf(core, ctx), node), (shown) => then(inodeIn(ctx, shown, inoOf(node)), (past) => past ?? fail('ESTALE')))
  }

  const attrOf = ({ shown, inode }: Past): Attr => shownAs(inode, nodeOf(shown.slot, inode.ino))

  const getattr = (ctx: Context, node: Node): MaybePromise<Attr> => (isList(node) ? listAttr(ctx, node) : then(find(ctx, node), attrOf))

  const directory = (ctx: Context, node: Node): MaybePromise<Past> => then(find(ctx, node), (past) => (isDirectory(past.inode) ? past : fail('ENOTDIR')))

  const mayAccess = (ctx: Context, { shown, inode }: Past, mask: number): MaybePromise<void> =>
    then(tree.mayAccess(readerOf(core, ctx), ctx, hasOverrides ? overridden(inode, options.uid, options.gid, options.umask) : inode, mask, shown.epoch), (refusal) => {
      if (refusal !== undefined) throw refusal
    })
  const requireAccess = (ctx: Context, past: Past, mask: number): MaybePromise<void> => (core.checks ? mayAccess(ctx, past, mask) : undefined)

  const lookupSnapshot = (ctx: Context, list: Node, name: string): MaybePromise<Attr | undefined> => {
    const reader = readerOf(core, ctx)
    if (name === '.') return listAttr(ctx, list)
    return then(views.list(reader, list), ({ domain, root }): MaybePromise<Attr | undefined> => {
      if (name === '..') return then(tree.inode(reader, root, NOW), (inode) => (inode === undefined ? fail('ESTALE') : core.show(inode)))
      return then(views.open(reader, domain, name), (shown) => (shown === undefined ? undefined
        : then(inodeIn(ctx, shown, shown.root), (past) => (past === undefined ? undefined : attrOf(past)))))
    })
  }

  const lookupIn = (ctx: Context, dir: Past, name: string): MaybePromise<Attr | undefined> => {
    const { shown, inode, isForeign } = dir
    if (name === '.') return attrOf(dir)
    if (name === '..') return inode.ino === shown.root ? listAttr(ctx, listNode(shown.root)) : getattr(ctx, nodeOf(shown.slot, inode.parent))
    if (isForeign) return undefined
    return then(tree.lookup(readerOf(core, ctx), inode.ino, name, shown.epoch), (found) => {
      if (found === undefined) return undefined
      return then(inodeIn(ctx, shown, found.ino), (past) => (past === undefined ? undefined : attrOf(past)))
    })
  }

  // -------------------------------------------------------------------------------------------------------- listing

  const listSnapshots = (ctx: Context, list: Node, low: number, sink: DirectorySink, withAttr: boolean): MaybePromise<void> => {
    const reader = readerOf(core, ctx)
    return then(views.list(reader, list), ({ domain, root }) => then(tree.snapshots(reader, domain), async (all) => {
      if (low < DOT_COOKIE && !sink.entry('.', list, S_IFDIR, 0, DOT_COOKIE, undefined)) return
      if (low < DOTDOT_COOKIE && !sink.entry('..', root, S_IFDIR, 0, DOTDOT_COOKIE, undefined)) return
      for (const { name, epoch } of all) { // a cookie is an epoch: no two are the same, none comes again
        if (epoch + DOTDOT_COOKIE <= low) continue
        const attr = await lookupSnapshot(ctx, list, name)
        if (attr === undefined) continue
        if (!sink.entry(name, attr.ino, S_IFDIR, 0, epoch + DOTDOT_COOKIE, withAttr ? attr : undefined)) return
      }
    }))
  }

  const listNames = async (ctx: Context, dir: Past, high: number, low: number, sink: DirectorySink, withAttr: boolean): Promise<void> => {
    const { shown, inode, isForeign } = dir
    const parent = inode.ino === shown.root ? listNode(shown.root) : nodeOf(shown.slot, inode.parent)
    if (high === 0 && low < DOT_COOKIE && !sink.entry('.', nodeOf(shown.slot, inode.ino), S_IFDIR, 0, DOT_COOKIE, undefined)) return
    if (high === 0 && low < DOTDOT_COOKIE && !sink.entry('..', parent, S_IFDIR, 0, DOTDOT_COOKIE, undefined)) return
    if (isForeign) return
    let rows: readonly DirectoryRow[]
    let [atHigh, atLow] = high === 0 && low < DOTDOT_COOKIE ? [0, DOTDOT_COOKIE] : [high, low]
    do {
      rows = await tree.list(readerOf(core, ctx), inode.ino, shown.epoch, atHigh, atLow, BATCH_ROWS)
      for (const row of rows) {
        const past = withAttr ? await inodeIn(ctx, shown, row.ino) : undefined
        const attr = past === undefined ? undefined : attrOf(past)
        if (!sink.entry(row.name, nodeOf(shown.slot, row.ino), row.typeBits & S_IFMT, row.cookieHigh, row.cookieLow, attr)) return
        atHigh = row.cookieHigh
        atLow = row.cookieLow
      }
    } while (rows.length === BATCH_ROWS)
  }

  const regular = (ctx: Context, node: Node): MaybePromise<Past> => then(find(ctx, node), (past) => {
    if (isRegular(past.inode)) return past
    return fail(isDirectory(past.inode) ? 'EISDIR' : 'EINVAL')
  })

  return {
    listIn,
    find,
    getattr,

    lookup(ctx: Context, parent: Node, name: string): MaybePromise<Attr | undefined> {
      if (name.length > NAME_MAX_BYTES) throw new PosixError('ENAMETOOLONG')
      if (isList(parent)) return lookupSnapshot(ctx, parent, name)
      return then(directory(ctx, parent), (dir) => then(requireAccess(ctx, dir, X_OK), () => lookupIn(ctx, dir, name)))
    },

    readlink: (ctx: Context, node: Node): MaybePromise<string> => then(find(ctx, node), ({ inode }) => {
      if ((inode.mode & S_IFMT) !== S_IFLNK || inode.inline === undefined) throw new PosixError('EINVAL')
      return Buffer.from(inode.inline).latin1Slice()
    }),

    open(ctx: Context, node: Node, flags: number) {
      if (isList(node)) return fail('EISDIR')
      return then(find(ctx, node), (past) => {
        if ((flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0) throw new PosixError('EROFS')
        if ((past.inode.mode & S_IFMT) === S_IFLNK) throw new PosixError('ELOOP')
        if (!isRegular(past.inode) && !isDirectory(past.inode)) throw new PosixError('ENXIO')
        return then(requireAccess(ctx, past, R_OK), () => ({ handle: handles.openFile({ ...past.inode, ino: node }, flags), keepCache: true }))
      })
    },

    /** open(2) with O_CREAT of a file that is there. */
    async create(ctx: Context, parent: Node, name: string, flags: number) {
      const attr = await this.lookup(ctx, parent, name)
      if (attr === undefined) throw new PosixError('EROFS')
      const opened = await this.open(ctx, attr.ino, flags)
      return { ...opened, attr }
    },

    read: (ctx: Context, node: Node, handle: number, offset: number, length: number, into: Uint8Array, at: number): MaybePromise<number> => {
      const file = handles.file(handle, node)
      if (file !== undefined && !file.readable) throw new PosixError('EBADF')
      if (offset < 0) throw new PosixError('EINVAL')
      return then(regular(ctx, node), ({ shown, inode }) => data.read(ctx, inode.ino, shown.epoch, offset, length, into, at))
    },

    lseek: (ctx: Context, node: Node, offset: number, whence: number): MaybePromise<number> => {
      if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new PosixError('EINVAL')
      if (offset < 0) throw new PosixError('ENXIO')
      return then(regular(ctx, node), ({ shown, inode }) => {
        const found = whence === SEEK_DATA ? data.seekData(ctx, inode.ino, shown.epoch, offset) : data.seekHole(ctx, inode.ino, shown.epoch, offset)
        return then(found, (to) => {
          if (to === undefined) throw new PosixError('ENXIO')
          return to
        })
      })
    },

    /** From a snapshot into a live file, as any write of it. */
    async copyOut(ctx: Context, from: Node, fromOffset: number, to: Node, toHandle: number, toOffset: number, length: number): Promise<number> {
      const { shown, inode } = await regular(ctx, from)
      return copyInto(ctx, { ino: inode.ino, view: shown.epoch, sizeBytes: inode.sizeBytes }, fromOffset, to, toHandle, toOffset, length)
    },

    opendir(ctx: Context, node: Node) {
      if (isList(node)) return then(listAttr(ctx, node), (attr) => ({ handle: handles.openDirectory(attr as Inode), keepCache: true }))
      return then(directory(ctx, node), (dir) => then(requireAccess(ctx, dir, R_OK), () => ({ handle: handles.openDirectory({ ...dir.inode, ino: node }), keepCache: true })))
    },

    readdir(ctx: Context, node: Node, high: number, low: number, sink: DirectorySink, withAttr: boolean): MaybePromise<void> {
      if (isList(node)) return listSnapshots(ctx, node, low, sink, withAttr)
      return then(directory(ctx, node), (dir) => listNames(ctx, dir, high, low, sink, withAttr))
    },

    access: (ctx: Context, node: Node, mask: number): MaybePromise<void> => {
      if ((mask & W_OK) !== 0) throw new PosixError('EROFS')
      return isList(node) ? undefined : then(find(ctx, node), (past) => mayAccess(ctx, past, mask))
    },

    getxattr: (ctx: Context, node: Node, name: string): MaybePromise<Uint8Array> => {
      if (isList(node)) throw new PosixError('ENODATA')
      return then(find(ctx, node), (past) => then(requireXattr(ctx, past, name), () => {
        if (past.isForeign) throw new PosixError('ENODATA')
        return then(tree.getxattr(readerOf(core, ctx), past.inode.ino, name, past.shown.epoch), (value) => {
          if (value === undefined) throw new PosixError('ENODATA')
          return value
        })
      }))
    },

    listxattr: (ctx: Context, node: Node): MaybePromise<readonly string[]> => {
      if (isList(node)) return []
      return then(find(ctx, node), ({ shown, inode, isForeign }) => (isForeign ? []
        : then(tree.listxattr(readerOf(core, ctx), inode.ino, shown.epoch), (names) => (ctx.uid === 0 ? names : names.filter((name) => !name.startsWith('trusted.'))))))
    }
  }

  function requireXattr(ctx: Context, past: Past, name: string): MaybePromise<void> {
    if (!core.checks) return
    if (name.startsWith('trusted.') && ctx.uid !== 0) throw new PosixError('ENODATA')
    if (name.startsWith('user.')) return mayAccess(ctx, past, R_OK)
  }
}
