/**
 * A tree in memory, mounted for a test. Programs are run as children and awaited: this process must never touch its own
 * mount. Whatever happens, the mount is gone in the end.
 */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { abortConnection, Channel, mountedDevice, mountFuse, openSession, unmount } from '../../src/fuse/index.js'
import type { ChannelOptions, Connection, MountOptions, SessionOptions } from '../../src/fuse/index.js'
import { coreHold, ERRNO, errnoOf, systemClock } from '../../src/sys/index.js'
import type { Vfs } from '../../src/vfs/index.js'

/** Why nothing can be mounted here, or false. */
export const cannotMount: string | false =
  process.geteuid?.() !== 0 ? 'needs root' : !existsSync('/dev/fuse') ? 'needs /dev/fuse' : false

const run = promisify(execFile)
const TIMEOUT_MS = 20_000

/** Runs a shell line in `cwd` (not the mount itself) and answers what it printed; a failure throws with what it said. */
export async function sh(line: string, env: Record<string, string> = {}): Promise<string> {
  const { stdout } = await run('bash', ['-c', `set -e; ${line}`], { timeout: TIMEOUT_MS, killSignal: 'SIGKILL', maxBuffer: 1 << 26,
    env: { ...process.env, LC_ALL: 'C', ...env } })
  return stdout
}

export interface Mounted {
  readonly dir: string
  readonly connection: Connection
  readonly channel: Channel
  readonly device: string
}

export async function withMount(vfs: Vfs, use: (m: Mounted) => Promise<void>, options: Partial<SessionOptions> = {},
  mountOptions: Partial<MountOptions> = {}, channelOptions: Partial<ChannelOptions> = {}): Promise<void> {
  const dir = mkdtempSync(path.join(tmpdir(), 'ogee-mount-'))
  const clock = systemClock
  const hold = coreHold({ mode: 'auto', clock })
  const channel = new Channel({ clock, hold, ...channelOptions })
  const fd = await mountFuse(dir, { source: 'memory', allowOther: true, defaultPermissions: true, flags: ['nodev'], ...mountOptions })
  const connection = channel.serve(fd, (sink) => openSession({ vfs, clock,
    shown: { attrValidMs: 1000, entryValidMs: 1000, uid: undefined, gid: undefined, umask: undefined }, negativeValidMs: 1000,
    requestTimeoutMs: Infinity, interrupts: true, opens: true, writebackCache: false, maxBackground: 64, ...options }, sink))
  const device = mountedDevice(dir) ?? 'none'
  try {
    await use({ dir, connection, channel, device })
  } finally {
    try {
      await unmount(dir, 'lazy')
    } catch (e) {
      if (errnoOf(e) !== ERRNO.EINVAL) throw e // the test has unmounted it
    }
    const late = setTimeout(() => abortConnection(device), 5000) // someone still uses it: cut it off
    await connection.done
    clearTimeout(late)
    hold.close()
    rmSync(dir, { recursive: true })
  }
}
