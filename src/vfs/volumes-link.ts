/**
 * `.volumes` in the root of the tree: a symbolic link to the folder where volumes are files (volumes-folder.ts).
 *   - Not listed, like `.snapshots`; a name of that kind that somebody made himself is before it.
 *   - Whoever follows it has the folder mounted first. It lies elsewhere: a mount inside this one would keep umount(8) from taking it off.
 */
import { PosixError } from '../sys/index.js'
import { then } from './core.js'
import { ROOT_NODE } from './vfs.js'
import type { Attr, Node, Vfs } from './vfs.js'

const VOLUMES_NAME = '.volumes'
/** Inodes of the tree begin behind it. */
const LINK_NODE: Node = 2
const S_IFLNK_ALL = 0o120777

/** `follow` answers when the folder is there; `target` is its path, a byte string. */
export function withVolumesLink<V extends Vfs>(live: V, target: string, follow: () => Promise<void>): V {
  const linkOf = (root: Attr): Attr => ({ ...root, ino: LINK_NODE, mode: S_IFLNK_ALL, nlink: 1, sizeBytes: target.length, blocks512: 0 })
  const refuse = (): never => {
    throw new PosixError('EPERM')
  }
  const calls: Partial<Vfs> = {
    lookup(ctx, parent, name) {
      const found = live.lookup(ctx, parent, name)
      if (name !== VOLUMES_NAME || parent !== ROOT_NODE) return found
      return then(found, (own) => own ?? then(live.getattr(ctx, ROOT_NODE, 0), linkOf))
    },
    getattr: (ctx, node, handle) => (node === LINK_NODE ? then(live.getattr(ctx, ROOT_NODE, 0), linkOf) : live.getattr(ctx, node, handle)),
    readlink: (ctx, node) => (node === LINK_NODE ? follow().then(() => target) : live.readlink(ctx, node)),
    setattr: (ctx, node, set, handle) => (node === LINK_NODE ? refuse() : live.setattr(ctx, node, set, handle)),
    link: (ctx, node, newParent, newName) => (node === LINK_NODE ? refuse() : live.link(ctx, node, newParent, newName)),
    access: (ctx, node, mask) => (node === LINK_NODE ? undefined : live.access(ctx, node, mask)),
    setxattr: (ctx, node, name, value, flags, killSgid) => (node === LINK_NODE ? refuse() : live.setxattr(ctx, node, name, value, flags, killSgid)),
    getxattr: (ctx, node, name) => (node === LINK_NODE ? undefined : live.getxattr(ctx, node, name)),
    listxattr: (ctx, node) => (node === LINK_NODE ? [] : live.listxattr(ctx, node)),
    removexattr: (ctx, node, name) => (node === LINK_NODE ? refuse() : live.removexattr(ctx, node, name)),
    forget: (node) => (node === LINK_NODE ? undefined : live.forget(node))
  }
  return { ...live, ...calls }
}
