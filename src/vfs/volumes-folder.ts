/**
 * Volumes as files of a folder, for loop devices and cp: one flat folder, a file for each volume.
 *   - They behave as block devices do: a size that stays, no truncation (what O_TRUNC or cp asks is passed over), ENOSPC behind the end.
 *   - An open for writing takes the volume's lease (EBUSY if somebody has it), and has it until the close. Nothing of theirs is kept in pages.
 *   - No name can be made, moved or removed here: `ogee volume` does that.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { OpenVolume, VolumeInfo, Volumes } from '../volume/index.js'
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from './vfs.js'
import type { Attr, Handle, Node, Statfs, Vfs } from './vfs.js'

const ROOT: Node = 1
const ACCESS_MODE = 3
const SEEK_DATA = 3
const LAYOUT_PARTS = 256

export interface VolumesFolder {
  readonly vfs: Vfs
  /** Files that are open. */
  readonly opens: number
}

interface OpenFile {
  readonly volume: OpenVolume
  readonly writable: boolean
}

const refuse = (code: ConstructorParameters<typeof PosixError>[0]) => (): never => {
  throw new PosixError(code)
}

export function volumesFolder(volumes: Volumes, statfs: (ctx: Context) => ReturnType<Vfs['statfs']>, owner: { readonly uid: number, readonly gid: number }): VolumesFolder {
  const files = new Map<Handle, OpenFile>()
  let lastHandle = 0

  const attrOf = (v: VolumeInfo): Attr => ({
    ...folder, ino: v.inode, mode: 0o100600, nlink: 1, sizeBytes: v.sizeBytes, blocks512: Math.ceil(v.allocatedBytes / 512),
    atimeSec: v.createdSec, mtimeSec: v.createdSec, ctimeSec: v.createdSec, btimeSec: v.createdSec
  })
  const folder: Attr = {
    ino: ROOT, generation: 1, mode: 0o040700, nlink: 2, ...owner, rdev: 0, sizeBytes: 4096, blocks512: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0, btimeSec: 0, btimeNsec: 0
  }
  const infoOf = async (node: Node): Promise<VolumeInfo> => (await volumes.list()).find(({ inode }) => inode === node) ?? refuse('ESTALE')()
  const getattr = async (node: Node): Promise<Attr> => (node === ROOT ? folder : attrOf(await infoOf(node)))
  const fileOf = (handle: Handle): OpenFile => files.get(handle) ?? refuse('EBADF')()
  const writable = (handle: Handle): OpenVolume => {
    const file = fileOf(handle)
    if (!file.writable) throw new PosixError('EBADF')
    return file.volume
  }
  const opened = (handle: Handle): { readonly handle: Handle, readonly keepCache: false, readonly isDirect: true } => ({ handle, keepCache: false, isDirect: true })

  const vfs: Vfs = {
    async lookup(_ctx, parent, name) {
      if (parent !== ROOT) throw new PosixError('ENOTDIR')
      if (name === '.' || name === '..') return folder
      const found = (await volumes.list()).find((v) => v.name === name)
      return found === undefined ? undefined : attrOf(found)
    },
    forget: () => undefined,
    getattr: (_ctx, node) => getattr(node),
    setattr: (_ctx, node) => getattr(node), // a block device takes no size and no times
    readlink: refuse('EINVAL'), mknod: refuse('EPERM'), mkdir: refuse('EPERM'), symlink: refuse('EPERM'), link: refuse('EPERM'), unlink: refuse('EPERM'), rmdir: refuse('EPERM'),
    rename: refuse('EPERM'), create: refuse('EPERM'), tmpfile: refuse('EPERM'), copyFileRange: refuse('EOPNOTSUPP'),

    async open(ctx, node, flags) {
      if (node === ROOT) throw new PosixError('EISDIR')
      const isWriter = (flags & ACCESS_MODE) !== 0
      const handle = ++lastHandle
      const { name } = await infoOf(node)
      const volume = await volumes.open(name, `pid ${ctx.pid} (open file ${handle})`)
      try {
        if (isWriter) volume.claim()
      } catch {
        volume.close()
        throw new PosixError('EBUSY')
      }
      files.set(handle, { volume, writable: isWriter })
      return opened(handle)
    },
    read(_ctx, _node, handle, offset, length, into, at) {
      const { volume } = fileOf(handle)
      const n = Math.min(length, volume.sizeBytes - offset)
      return n <= 0 ? 0 : volume.read(offset, n, into, at)
    },
    async write(_ctx, _node, handle, offset, from, at, length) {
      const volume = writable(handle)
      const n = Math.min(length, volume.sizeBytes - offset)
      if (n <= 0) throw new PosixError('ENOSPC')
      await volume.write(offset, from, at, n)
      return n
    },
    flush: () => undefined,
    release(_ctx, _node, handle) {
      files.get(handle)?.volume.close()
      files.delete(handle)
    },
    fsync: (_ctx, _node, handle) => fileOf(handle).volume.flush(),
    async fallocate(_ctx, _node, handle, mode, offset, length) {
      const volume = writable(handle)
      if (offset + length > volume.sizeBytes) throw new PosixError('ENOSPC')
      const what = mode & ~FALLOC_KEEP_SIZE
      if (what === FALLOC_PUNCH_HOLE) await volume.trim(offset, length)
      else if (what === FALLOC_ZERO_RANGE) await volume.zero(offset, length, 'hold')
      else throw new PosixError('EOPNOTSUPP')
    },
    async lseek(_ctx, _node, handle, offset, whence) {
      const { volume } = fileOf(handle)
      for (let pos = offset; pos < volume.sizeBytes;) {
        for (const { kind, lengthBytes } of await volume.layout(pos, volume.sizeBytes - pos, LAYOUT_PARTS)) {
          if ((kind === 'data') === (whence === SEEK_DATA)) return pos
          pos += lengthBytes
        }
      }
      if (whence === SEEK_DATA || offset >= volume.sizeBytes) throw new PosixError('ENXIO')
      return volume.sizeBytes
    },

    opendir: () => ({ handle: 0, keepCache: false }),
    async readdir(_ctx, _node, _handle, _high, low, sink, withAttr) {
      const names: readonly (readonly [string, Node, number, Attr | undefined])[] = [['.', ROOT, 0o040000, undefined], ['..', ROOT, 0o040000, undefined],
        ...(await volumes.list()).map((v) => [v.name, v.inode, 0o100000, withAttr ? attrOf(v) : undefined] as const)]
      for (let i = low; i < names.length; i++) {
        const [name, ino, type, attr] = names[i]
        if (!sink.entry(name, ino, type, 0, i + 1, attr)) return
      }
    },
    releasedir: () => undefined, fsyncdir: () => undefined,
    statfs: (ctx): ReturnType<Vfs['statfs']> => statfs(ctx) as Statfs,
    access: () => undefined,
    setxattr: refuse('EOPNOTSUPP'), getxattr: () => undefined, listxattr: () => [], removexattr: refuse('EOPNOTSUPP'), getflags: () => 0, setflags: refuse('EOPNOTSUPP'),
    syncAll: () => Promise.resolve(),
    status: () => ({ openFiles: files.size, openDirectories: 0, inodes: 0, extents: 0, dirtyBytes: 0 })
  }
  return {
    vfs,
    get opens() {
      return files.size
    }
  }
}
