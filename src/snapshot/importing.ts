/**
 * Puts an image into the pool, record by record: into a folder that is a domain of its own and empty, or that is as the image's base
 * is; or into a volume.
 *   - The image was read to its end before, and fits: what fails from now on is the pool's fault (no space, the disk).
 *   - What is on its way from one name to another lies in a folder of its own in the root, which is gone in the end.
 */
import { PosixError, rootContext } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import type { Engine, MaybePromise, Tx } from '../engine/index.js'
import { NO_TOUCH, NOW } from '../data/index.js'
import type { Data } from '../data/index.js'
import { S_IFDIR, S_IFLNK, S_IFMT } from '../meta/index.js'
import type { Inode, Op, Tree } from '../meta/index.js'
import { isFolder } from './comparison.js'
import { IMPORTING_XATTR, isOurs, ORIGIN_XATTR } from './diff.js'
import type { AttributesRecord, DataRecord, ImageRecord } from './image.js'

export interface ImportParts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly clock: Clock
  /** An inode lost its last name. */
  removed(ino: number): void
  /** What the kernel knew of an inode, or of a name, is old. */
  changed(parent: number, name: string, ino: number): MaybePromise<void>
}

const ASIDE = '.ogee-import'
const SET_MODE = 1 << 0
const SET_OWNER = (1 << 1) | (1 << 2)
const SET_TIMES = (1 << 4) | (1 << 5)
const NO_ATTRIBUTES = { valid: 0, mode: 0, uid: 0, gid: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }
const BLOCK_COUNT = 256
const IMMUTABLE_OR_APPEND = 0x10 | 0x20

export interface Importer {
  /** All but the header and the end. */
  apply(record: ImageRecord | DataRecord): Promise<void>
  /** Says that not all is there, until `ended`. */
  begin(): Promise<void>
  /** Says of what it is the image now. */
  ended(id: string): Promise<void>
}

export function openImporter(parts: ImportParts, root: number): Importer {
  const { engine, tree, data, clock } = parts
  const ctx = rootContext
  const made = new Map<number, number>() // new files with several names
  let aside: number | undefined
  let file = root
  let next = 0
  let end = 0

  const opAt = (sec?: number, nsec?: number): Op => {
    const now = { sec: sec ?? 0, nsec: nsec ?? 0 }
    if (sec === undefined) clock.realtime(now)
    return { ctx, now, check: false, session: engine.session }
  }
  const change = <T>(body: (tx: Tx, op: Op) => MaybePromise<T>, op = opAt()): Promise<T> => engine.transact(ctx, (tx) => body(tx, op))

  async function number(): Promise<number> {
    if (next === end) {
      next = await engine.transact(ctx, (tx) => tree.takeInodeNumbers(tx, BLOCK_COUNT))
      end = next + BLOCK_COUNT
    }
    return next++
  }

  /** Immutable and append-only hold for users; the image says in the end what holds. */
  async function free(ino: number): Promise<Inode> {
    const inode = await tree.inode(engine.reader(ctx), ino, NOW)
    if (inode === undefined) throw new PosixError('ESTALE')
    if ((inode.flags & IMMUTABLE_OR_APPEND) !== 0) await change((tx, op) => tree.setflags(tx, op, ino, inode.flags & ~IMMUTABLE_OR_APPEND))
    return inode
  }

  async function inoAt(path: string): Promise<number> {
    let ino = root
    for (const name of path.split('/')) {
      if (name === '') continue
      const found = await tree.lookup(engine.reader(ctx), ino, name, NOW)
      if (found === undefined) throw new PosixError('ENOENT', `${path} is not there`)
      ino = found.ino
    }
    return ino
  }

  async function placeAt(path: string): Promise<{ parent: number, name: string }> {
    const cut = path.lastIndexOf('/')
    const parent = await inoAt(path.slice(0, cut))
    await free(parent)
    return { parent, name: path.slice(cut + 1) }
  }

  async function asideFolder(): Promise<number> {
    if (aside === undefined) {
      await free(root)
      const ino = await number()
      await change((tx, op) => tree.make(tx, op, { parent: root, name: ASIDE, mode: S_IFDIR | 0o700, umask: 0, rdev: 0, target: undefined, ino }))
      aside = ino
    }
    return aside
  }

  async function drop(parent: number, name: string, folder: boolean): Promise<void> {
    const { left } = await change((tx, op) => (folder ? tree.rmdir(tx, op, parent, name) : tree.unlink(tx, op, parent, name)))
    await parts.changed(parent, name, left.ino)
    if (left.nlink === 0) parts.removed(left.ino)
  }

  async function setXattrs(ino: number, { xattrs }: AttributesRecord): Promise<void> {
    const reader = engine.reader(ctx)
    for (const name of await tree.listxattr(reader, ino, NOW)) {
      if (!Object.hasOwn(xattrs, name) && !(isOurs(name) && ino === root)) await change((tx, op) => tree.removexattr(tx, op, ino, name))
    }
    for (const [name, value] of Object.entries(xattrs)) {
      const bytes = Buffer.from(value, 'base64')
      const has = await tree.getxattr(reader, ino, name, NOW)
      if (has === undefined || Buffer.compare(has, bytes) !== 0) await change((tx, op) => tree.setxattr(tx, op, ino, name, bytes, 0, false))
    }
  }

  async function attributes(a: AttributesRecord): Promise<void> {
    const ino = await inoAt(a.path)
    const inode = await free(ino)
    const isLink = (inode.mode & S_IFMT) === S_IFLNK
    if (inode.uid !== a.uid || inode.gid !== a.gid) await change((tx, op) => tree.setattr(tx, op, ino, { ...NO_ATTRIBUTES, valid: SET_OWNER, uid: a.uid, gid: a.gid }))
    if (!isLink) await change((tx, op) => tree.setattr(tx, op, ino, { ...NO_ATTRIBUTES, valid: SET_MODE, mode: a.mode }))
    await setXattrs(ino, a)
    await change((tx, op) => tree.setattr(tx, op, ino, { ...NO_ATTRIBUTES, valid: SET_TIMES, atimeSec: a.atime[0], atimeNsec: a.atime[1], mtimeSec: a.mtime[0], mtimeNsec: a.mtime[1] }))
    if (a.flags !== 0 || inode.flags !== 0) await change((tx, op) => tree.setflags(tx, op, ino, a.flags))
    const { parent } = inode
    await parts.changed(parent, a.path.slice(a.path.lastIndexOf('/') + 1), ino)
  }

  return {
    async apply(r) {
      switch (r.record) {
        case 'hold': {
          const ino = await inoAt(r.path)
          await free(ino)
          const folder = await asideFolder()
          await change((tx, op) => tree.link(tx, op, ino, folder, String(r.ino)))
          return
        }
        case 'take': {
          const { parent, name } = await placeAt(r.path)
          await free(await inoAt(r.path))
          const folder = await asideFolder()
          const { moved } = await change((tx, op) => tree.rename(tx, op, { parent, name, newParent: folder, newName: String(r.ino), flags: 0, whiteoutIno: 0 }))
          return parts.changed(parent, name, moved.ino)
        }
        case 'remove': {
          const { parent, name } = await placeAt(r.path)
          await free(await inoAt(r.path))
          return drop(parent, name, r.folder)
        }
        case 'make': {
          const { parent, name } = await placeAt(r.path)
          const ino = await number()
          await change((tx, op) => tree.make(tx, op, { parent, name, mode: r.mode, umask: 0, rdev: r.rdev, target: r.target, ino }), opAt(r.btime[0], r.btime[1]))
          if (r.links > 1 && (r.mode & S_IFMT) !== S_IFDIR) made.set(r.ino, ino)
          return parts.changed(parent, name, ino)
        }
        case 'place': {
          const { parent, name } = await placeAt(r.path)
          const folder = await asideFolder()
          const { moved } = await change((tx, op) => tree.rename(tx, op, { parent: folder, name: String(r.ino), newParent: parent, newName: name, flags: 0, whiteoutIno: 0 }))
          return parts.changed(parent, name, moved.ino)
        }
        case 'link': {
          const { parent, name } = await placeAt(r.path)
          const ino = made.get(r.ino) ?? (await tree.lookup(engine.reader(ctx), await asideFolder(), String(r.ino), NOW))?.ino
          if (ino === undefined) throw new PosixError('ENOENT', `${r.path} leads nowhere`)
          await change((tx, op) => tree.link(tx, op, ino, parent, name))
          return parts.changed(parent, name, ino)
        }
        case 'file': {
          file = await inoAt(r.path)
          const { sizeBytes } = await free(file)
          if (sizeBytes !== r.sizeBytes) await data.truncate(ctx, file, r.sizeBytes, NO_TOUCH)
          return
        }
        case 'data':
          await data.write(ctx, file, r.offsetBytes, r.bytes, 0, r.bytes.length, NO_TOUCH)
          return
        case 'hole':
          await data.punch(ctx, file, r.offsetBytes, r.lengthBytes, NO_TOUCH)
          return
        case 'settle': {
          if (aside === undefined) return
          for (const { name, ino } of await tree.list(engine.reader(ctx), aside, NOW, 0, 0, Number.MAX_SAFE_INTEGER)) {
            const inode = await free(ino)
            await drop(aside, name, isFolder(inode))
          }
          await drop(root, ASIDE, true)
          aside = undefined
          return
        }
        case 'attributes': return attributes(r)
        case 'header': case 'end': return
      }
    },
    async begin() {
      await change((tx, op) => tree.setxattr(tx, op, root, IMPORTING_XATTR, Buffer.alloc(0), 0, false))
    },
    async ended(id) {
      await change(async (tx, op) => {
        await tree.setxattr(tx, op, root, ORIGIN_XATTR, Buffer.from(id), 0, false)
        await tree.removexattr(tx, op, root, IMPORTING_XATTR)
      })
    }
  }
}
