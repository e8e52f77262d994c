/**
 * From a name on the command line to a pool: the name may be a mount point of ours, anything inside one, or the pool's
 * folder.
 *   - No mount of ours is touched on the way: a dead or hanging daemon must not hang the command that asks about it.
 */
import { realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { inspectFolder, Refusal, resolvePool } from '../pool/index.js'
import { MOUNT_TYPE, mountAbove, readMounts, topMountAt } from './mountinfo.js'
import type { MountEntry } from './mountinfo.js'
import { noteOf } from './registry.js'

export interface Located {
  readonly pool: string
  /** The mount that was named, if it was one. */
  readonly mount: MountEntry | undefined
}

/** As the kernel's table of mounts has it: symbolic links above the last name are followed, the last name is not touched. */
export function mountPointName(path: string, mounts: readonly MountEntry[]): string {
  const full = resolve(path)
  if (topMountAt(mounts, full) !== undefined) return full
  try {
    const parent = realpathSync(dirname(full))
    const named = join(parent, basename(full))
    return topMountAt(mounts, named) === undefined ? realpathSync(full) : named
  } catch {
    return full // absent, or a dead mount above: it names nothing else
  }
}

const unknownPool = (dir: string): Refusal =>
  new Refusal('failed', `${dir} is a mount of Ogee, but its pool is not known here: name the pool's folder instead.`)

/** The pool of a mount of ours. */
export function poolOfMount(mount: MountEntry): string {
  const note = noteOf(mount)
  if (note === undefined) throw unknownPool(mount.dir)
  return note.pool
}

export function locate(path: string): Located {
  const mounts = readMounts()
  const dir = mountPointName(path, mounts)
  const mount = mountAbove(mounts, dir)
  if (mount?.type === MOUNT_TYPE) return { pool: poolOfMount(mount), mount }
  const pool = resolvePool(path)
  const state = inspectFolder(pool)
  if (state === 'absent') throw new Refusal('missing', `There is no ${pool}: name a pool's folder, or a folder where one is mounted (\`ogee status\` lists them).`)
  if (state !== 'pool') throw new Refusal('not-a-pool', `${pool} is neither a pool nor mounted: \`ogee mount ${pool} DIR\` would make a pool there.`)
  return { pool, mount: undefined }
}
