/**
 * The table of open files and directories. A handle is a number that is never used twice while the daemon lives; it names
 * one open file description, and keeps its inode from being reclaimed.
 *   - openNodes has an inode as long as a handle of any kind is open on it.
 *   - A handle that is unknown, or that belongs to another node, is EBADF; 0 stands for none.
 */
import { O_ACCMODE, O_APPEND, O_DSYNC, O_NOATIME, O_RDONLY, O_WRONLY, PosixError } from '../sys/index.js'
import type { Inode } from '../meta/index.js'
import { FS_APPEND_FL } from './core.js'
import type { Core, OpenNode } from './core.js'
import type { Handle, Node } from './vfs.js'
import type { ErrorCursor, Writeout } from './writeout.js'
import type { Orphans } from './orphans.js'

export interface OpenFile extends ErrorCursor {
  readonly node: OpenNode
  readonly readable: boolean
  readonly writable: boolean
  readonly append: boolean
  /** The file must be append-only (FS_APPEND_FL): no fallocate either. */
  readonly appendOnly: boolean
  /** O_DSYNC or O_SYNC: a write is answered when it is durable. */
  readonly synchronous: boolean
  readonly noAtime: boolean
}

export interface Handles {
  openFile(inode: Inode, flags: number): Handle
  openDirectory(inode: Inode): Handle
  /** undefined for handle 0. */
  file(handle: Handle, node: Node): OpenFile | undefined
  directory(handle: Handle, node: Node): OpenNode | undefined
  /** An open file for writing stands behind this handle. */
  mayWrite(handle: Handle, node: Node): boolean
  closeFile(handle: Handle): void
  closeDirectory(handle: Handle): void
  counts(): { readonly files: number; readonly directories: number }
}

export function openHandles(core: Core, writeout: Writeout, orphans: Orphans): Handles {
  const { openNodes } = core
  const files = new Map<Handle, OpenFile>()
  const directories = new Map<Handle, OpenNode>()
  let last = 0

  const hold = (ino: number): OpenNode => {
    let node = openNodes.get(ino)
    if (node === undefined) {
      node = { ino, opens: 0, atimeSettled: false, immutable: false }
      openNodes.set(ino, node)
    }
    node.opens++
    return node
  }

  const letGo = (node: OpenNode): void => {
    if (--node.opens > 0) return
    openNodes.delete(node.ino)
    writeout.closed(node.ino)
    orphans.closed(node.ino)
  }

  return {
    openFile(inode, flags) {
      const access = flags & O_ACCMODE
      files.set(++last, {
        node: hold(inode.ino),
        readable: access !== O_WRONLY,
        writable: access !== O_RDONLY,
        append: (flags & O_APPEND) !== 0,
        appendOnly: (inode.flags & FS_APPEND_FL) !== 0,
        synchronous: (flags & O_DSYNC) !== 0,
        noAtime: (flags & O_NOATIME) !== 0,
        failuresSeen: writeout.cursor(inode.ino),
      })
      return last
    },
    openDirectory(inode) {
      directories.set(++last, hold(inode.ino))
      return last
    },
    file(handle, node) {
      if (handle === 0) return undefined
      const file = files.get(handle)
      if (file === undefined || file.node.ino !== node) throw new PosixError('EBADF')
      return file
    },
    directory(handle, node) {
      if (handle === 0) return undefined
      const open = directories.get(handle)
      if (open === undefined || open.ino !== node) throw new PosixError('EBADF')
      return open
    },
    mayWrite(handle, node) {
      if (handle === 0) return false
      const file = files.get(handle)
      return file !== undefined && file.node.ino === node && file.writable
    },
    closeFile(handle) {
      const file = files.get(handle)
      if (file === undefined) return
      files.delete(handle)
      letGo(file.node)
    },
    closeDirectory(handle) {
      const open = directories.get(handle)
      if (open === undefined) return
      directories.delete(handle)
      letGo(open)
    },
    counts: () => ({ files: files.size, directories: directories.size }),
  }
}
