/**
 * /proc/self/mountinfo: what is mounted where, as this process sees it (see proc_pid_mountinfo(5)). Bind mounts of one
 * file system share its device number.
 *   - Reading it never touches a mount, so it answers also where a dead daemon's mount would hang or fail.
 */
import { readFileSync } from 'node:fs'

export interface MountEntry {
  readonly id: number
  readonly parentId: number
  /** "major:minor" */
  readonly device: string
  /** What of the file system is mounted: "/" or a folder in it. */
  readonly root: string
  readonly dir: string
  /** Of this mount: ro, nosuid, nodev, noexec, noatime, ... */
  readonly options: readonly string[]
  readonly type: string
  readonly source: string
  /** Of the file system: ro, user_id=, allow_other, ... */
  readonly superOptions: readonly string[]
}

export const MOUNT_TYPE = 'fuse.ogee'

const ESCAPED = /\\([0-7]{3})/g
/** The kernel writes space, tab, newline and backslash as \ooo. */
const unescape = (text: string): string => text.replace(ESCAPED, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    const dash = fields.indexOf('-', 6)
    if (dash < 0) continue
    entries.push({
      id: Number(fields[0]),
      parentId: Number(fields[1]),
      device: fields[2],
      root: unescape(fields[3]),
      dir: unescape(fields[4]),
      options: fields[5].split(','),
      type: fields[dash + 1],
      source: unescape(fields[dash + 2]),
      superOptions: (fields[dash + 3] ?? '').split(',')
    })
  }
  return entries
}

export const readMounts = (): MountEntry[] => parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'))

/** The mount that a look-up of `dir` reaches: of several on one place the last. */
export const topMountAt = (mounts: readonly MountEntry[], dir: string): MountEntry | undefined =>
  mounts.findLast((m) => m.dir === dir)

export const mountsOfDevice = (mounts: readonly MountEntry[], device: string): MountEntry[] =>
  mounts.filter((m) => m.device === device && m.type === MOUNT_TYPE)

/** The mount that a path lies in: the longest mount point above it. */
export function mountAbove(mounts: readonly MountEntry[], path: string): MountEntry | undefined {
  let best: MountEntry | undefined
  for (const m of mounts) {
    const above = m.dir === path || m.dir === '/' || path.startsWith(`${m.dir}/`)
    if (above && (best === undefined || m.dir.length >= best.dir.length)) best = m
  }
  return best
}
