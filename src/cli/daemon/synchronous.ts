/**
 * -o sync and -o dirsync: a change of names is durable before it is answered. For bytes the kernel does it: with -o sync it
 * sends FSYNC after each write.
 */
import type { Vfs } from '../../vfs/index.js'

/** The same vfs, whose changes of names wait for the disk. One flush serves all that wait. */
export function namesSynced(vfs: Vfs): Vfs {
  const synced = <A extends readonly [Parameters<Vfs['syncAll']>[0], ...unknown[]], R>(change: (...args: A) => R | Promise<R>) => async (...args: A): Promise<R> => {
    const result = await change(...args)
    await vfs.syncAll(args[0])
    return result
  }
  return {
    ...vfs,
    mknod: synced(vfs.mknod), mkdir: synced(vfs.mkdir), symlink: synced(vfs.symlink), link: synced(vfs.link), create: synced(vfs.create),
    unlink: synced(vfs.unlink), rmdir: synced(vfs.rmdir), rename: synced(vfs.rename)
  }
}
