/**
 * Puts the vfs together over the floors below, and takes it apart again.
 *   - Whoever opens the pool has let the data floor recover before; opening the vfs starts to reclaim, in the background,
 *     what dead sessions left.
 *   - close() waits for work in hand, writes pending atimes, and leaves engine, data and store to who opened them.
 */
import { backgroundContext } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { Inode } from '../meta/index.js'
import { openAtimes } from './atime.js'
import { attributesOf, overridden, withOwed } from './attributes.js'
import type { Core, OpenNode, Parts } from './core.js'
import { directoriesOf } from './directories.js'
import { filesOf } from './files.js'
import { openHandles } from './handles.js'
import { inodeNumbers } from './inode-numbers.js'
import { namespaceOf } from './namespace.js'
import { openingOf } from './opening.js'
import { openOrphans } from './orphans.js'
import { withSnapshots } from './snapshots.js'
import { openWriteout } from './writeout.js'
import type { Vfs } from './vfs.js'
import { xattrsOf } from './xattrs.js'

/** A vfs and what only its owner may do with it. */
export interface OpenedVfs extends Vfs {
  /** An inode that nothing leads to any more, and that this floor never showed: its bytes are freed. */
  reclaim(ino: number): void
  /** Everything that may be reclaimed now is reclaimed when this resolves. */
  settle(): Promise<void>
  close(): Promise<void>
}

export function openVfs(parts: Parts): OpenedVfs {
  const { engine, tree, data, options } = parts
  const openNodes = new Map<number, OpenNode>()
  const atimes = openAtimes(parts)
  const writeout = openWriteout(parts)
  const shown = (inode: Inode): Inode => {
    const owed = data.settleTimes(inode.ino)
    return atimes.shown(owed === undefined ? inode : withOwed(inode, owed))
  }
  const overrides = options.uid !== undefined || options.gid !== undefined || options.umask !== undefined
  const show = overrides
    ? (inode: Inode): Inode => overridden(shown(inode), options.uid, options.gid, options.umask)
    : shown
  const readOnly = options.readOnly === true
  const core: Core = { ...parts, readOnly, checks: options.checkPermissions === true, openNodes, show }
  const orphans = openOrphans(parts, openNodes, (ino) => {
    atimes.drop(ino)
    writeout.gone(ino)
  })
  const handles = openHandles(core, writeout, orphans)
  const takeNumber = inodeNumbers(parts)
  if (!readOnly) orphans.start()

  let usage = { inodes: 0, extents: 0 } // as last seen: status() never waits
  const usageNow = (): typeof usage => {
    const now = tree.usage(engine.reader(backgroundContext()))
    if (now instanceof Promise) void now.then((u) => (usage = u), () => undefined)
    else usage = now
    return usage
  }

  const { copyInto, ...files } = filesOf(core, { handles, atimes, orphans, writeout })
  const live: OpenedVfs = {
    ...namespaceOf(core, { takeNumber, atimes, orphans, writeout }),
    ...attributesOf(core, { atimes, orphans, writeout, mayWrite: handles.mayWrite }),
    ...openingOf(core, { handles, writeout, orphans, takeNumber }),
    ...files,
    ...directoriesOf(core, handles, atimes),
    ...xattrsOf(core),

    async syncAll(ctx: Context) {
      await atimes.flush()
      await data.syncAll(ctx)
      await engine.sync(ctx)
    },

    status() {
      const { files, directories } = handles.counts()
      const { inodes, extents } = usageNow()
      return { openFiles: files, openDirectories: directories, inodes, extents, dirtyBytes: data.dirtyBytes() + engine.status().dirtyBytes }
    },

    reclaim(ino) {
      orphans.unlinked(ino)
      orphans.forgotten(ino)
    },
    settle: orphans.settle,

    async close() {
      await orphans.stop()
      await atimes.flush()
      atimes.stop()
    },
  }
  return withSnapshots(core, handles, live, copyInto)
}
