/** Questions to the table of mounts (read from /proc, so that no mount is touched for it): which are ours, and where. */
import { MOUNT_TYPE } from '../sys/index.js'
import type { MountEntry } from '../sys/index.js'

export { MOUNT_TYPE, readMounts, topMountAt } from '../sys/index.js'
export type { MountEntry } from '../sys/index.js'

export const mountsOfDevice = (mounts: readonly MountEntry[], device: string): MountEntry[] =>
  mounts.filter((m) => m.device === device && m.type === MOUNT_TYPE)

/** The mount that a path lies in: the longest mount point above it, of several on one place the last. */
export function mountAbove(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  let best: MountEntry | undefined
  for (const m of mounts) {
    const above = m.dir === path || m.dir === '/' || path.startsWith(`${m.dir}/`)
    if (above && (best === undefined || m.dir.length >= best.dir.length)) best = m
  }
  return best
}
