/**
 * /proc/self/mountinfo: what is mounted where, as this process sees it (proc_pid_mountinfo(5)). Reading it never touches a
 * mount, so it answers also where a dead daemon's mount would hang or fail.
 */
import { readFileSync } from 'node:fs'

/** What the kernel calls our mounts. */
export const MOUNT_TYPE = 'fuse.ogee'

export interface MountEntry {
  readonly id: number
  readonly parentId: number
  /** "major:minor": all bind mounts of one file system share it. */
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

/** The kernel writes space, tab, newline, backslash and # as \ooo. */
const unescape = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))

export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = []
  for (const line of text.split('\n')) {
    const fields = line.split(' ')
    const dash = fields.indexOf('-', 6) // optional fields end there
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

/** The mount that a path's look-up ends in if the path is a mount point: of several on one place the last. */
export const topMountAt = (mounts: readonly MountEntry[], dir: string): MountEntry | undefined =>
  mounts.findLast((m) => m.dir === dir)
