/**
 * Open directories and their listing.
 *   - A cookie names an entry for ever: hash and tie of its name. A listing that goes on behind a cookie shows every entry
 *     that was there all the time exactly once, whatever is made and removed meanwhile.
 *   - '.' and '..' come first, under cookies that no name has.
 *   - Rows are read in batches and handed on at once; nothing is kept between two calls, so that an attribute that goes
 *     along (readdirplus) is never older than the call.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { DirectoryRow, Inode } from '../meta/index.js'
import { inodeOf, isDirectory, R_OK, readerOf, requireAccess, S_IFDIR, S_IFMT, then } from './core.js'
import type { Core } from './core.js'
import type { Atimes } from './atime.js'
import type { Handles } from './handles.js'
import { ROOT_NODE } from './vfs.js'
import type { DirectorySink, Node, Vfs } from './vfs.js'

type Directories = Pick<Vfs, 'opendir' | 'readdir' | 'releasedir' | 'fsyncdir'>

const BATCH_ROWS = 64
const DOT_COOKIE = 1
const DOTDOT_COOKIE = 2

interface Listing {
  readonly ctx: Context
  readonly node: Node
  readonly sink: DirectorySink
  readonly withAttr: boolean
}

export function directoriesOf(core: Core, handles: Handles, atimes: Atimes): Directories {
  const { tree } = core

  const directory = (ctx: Context, node: Node): MaybePromise<Inode> => then(inodeOf(core, ctx, node), (inode) => {
    if (!isDirectory(inode)) throw new PosixError('ENOTDIR')
    return inode
  })

  /** '.' and '..', then the names; the sink may stop it anywhere. */
  const begin = (l: Listing, inode: Inode, cookieLow: number): MaybePromise<void> => {
    const parent = l.node === ROOT_NODE ? ROOT_NODE : inode.parent
    if (parent === 0) return // removed: nothing is in it, not even itself
    if (cookieLow < DOT_COOKIE && !l.sink.entry('.', l.node, S_IFDIR, 0, DOT_COOKIE, undefined)) return
    if (cookieLow < DOTDOT_COOKIE && !l.sink.entry('..', parent, S_IFDIR, 0, DOTDOT_COOKIE, undefined)) return
    return names(l, 0, DOTDOT_COOKIE)
  }

  /** Batch after batch. A loop while the engine answers at once, a chain of promises where it does not. */
  const names = (l: Listing, cookieHigh: number, cookieLow: number): MaybePromise<void> => {
    for (;;) {
      const rows = tree.list(readerOf(core, l.ctx), l.node, NOW, cookieHigh, cookieLow, BATCH_ROWS)
      if (rows instanceof Promise) return rows.then((r) => batch(l, r, 0))
      const rest = hand(l, rows, 0)
      if (rest === undefined) return
      if (rest instanceof Promise) return rest.then((last) => (last === undefined ? undefined : names(l, last.cookieHigh, last.cookieLow)))
      cookieHigh = rest.cookieHigh
      cookieLow = rest.cookieLow
    }
  }

  const batch = (l: Listing, rows: readonly DirectoryRow[], from: number): MaybePromise<void> =>
    then(hand(l, rows, from), (last) => (last === undefined ? undefined : names(l, last.cookieHigh, last.cookieLow)))

  /** Hands rows on; the last one if the listing goes on behind it, undefined if it is over. */
  const hand = (l: Listing, rows: readonly DirectoryRow[], from: number): MaybePromise<DirectoryRow | undefined> => {
    for (let i = from; i < rows.length; i++) {
      const row = rows[i]
      let inode: Inode | undefined
      if (l.withAttr) {
        const found = tree.inode(readerOf(core, l.ctx), row.ino, NOW)
        if (found instanceof Promise) return found.then((late) => (give(l, row, late) ? hand(l, rows, i + 1) : undefined))
        inode = found
      }
      if (!give(l, row, inode)) return undefined
    }
    return rows.length < BATCH_ROWS ? undefined : rows[rows.length - 1]
  }

  const give = (l: Listing, row: DirectoryRow, inode: Inode | undefined): boolean =>
    l.sink.entry(row.name, row.ino, row.typeBits & S_IFMT, row.cookieHigh, row.cookieLow, inode === undefined ? undefined : core.show(inode))

  return {
    opendir: (ctx, node) => then(directory(ctx, node), (inode) =>
      then(requireAccess(core, ctx, inode, R_OK), () => ({ handle: handles.openDirectory(inode), keepCache: true }))),

    readdir(ctx, node, handle, cookieHigh, cookieLow, sink, withAttr) {
      const open = handles.directory(handle, node)
      atimes.touch(node, open)
      const listing: Listing = { ctx, node, sink, withAttr }
      if (cookieHigh !== 0 || cookieLow > DOTDOT_COOKIE) return names(listing, cookieHigh, cookieLow)
      return then(directory(ctx, node), (inode) => begin(listing, inode, cookieLow))
    },

    releasedir: (_ctx, _node, handle) => handles.closeDirectory(handle),

    fsyncdir(ctx, node, handle) {
      handles.directory(handle, node)
      return core.engine.sync(ctx)
    },
  }
}
