/**
 * POOL/volumes: the volumes as files, mounted when somebody asks for it (`ogee volume attach`, `.volumes` in the mount), a FUSE connection of its own.
 *   - Not inside DIR: a mount in a mount would keep umount(8) from taking DIR off.
 *   - While a file in it is open (a loop device, a copy) the daemon stays, whatever becomes of its other doors.
 */
import { mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { abortConnection, Channel, mountedDevice, mountFuse, openSession } from '../../fuse/index.js'
import type { Connection } from '../../fuse/index.js'
import { Refusal } from '../../pool/index.js'
import type { Pool } from '../../pool/index.js'
import { systemClock } from '../../sys/index.js'
import type { CoreHold } from '../../sys/index.js'
import { volumesFolder } from '../../vfs/index.js'
import { readMounts, topMountAt } from '../mountinfo.js'
import { unmount } from '../unmounting.js'
import type { Calls } from './control.js'
import type { Logger } from './log.js'

const FOLDER = 'volumes'
const LOOK_MS = 100
const PATIENCE_MS = 2000

export interface VolumesMount {
  /** Resolves when it is there. */
  mount(): Promise<void>
  readonly calls: Calls
  /** Files in it that are open. */
  readonly opens: number
  /** Takes off what a daemon that died left there: the pool's lock is ours. */
  clear(): Promise<void>
  /** Resolves when no file in it is open. */
  idle(): Promise<void>
  /** Takes it off; `force`: whoever has a file open loses it. */
  close(how: 'plain' | 'force'): Promise<void>
}

/** Where `.volumes` in the mount leads to: a byte string. */
export const volumesTarget = (pool: Pool): string => Buffer.from(join(pool.folder, FOLDER)).latin1Slice()

export function volumesMount(pool: Pool, hold: CoreHold, log: Logger): VolumesMount {
  const dir = join(pool.folder, FOLDER)
  const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  const folder = volumesFolder(pool.volumes, (ctx) => pool.vfs.statfs(ctx, 1), owner)
  let mounting: Promise<Connection> | undefined

  const mount = async (): Promise<Connection> => {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const fd = await mountFuse(dir, { source: pool.folder, allowOther: false, defaultPermissions: true, flags: ['nosuid', 'nodev', 'noexec'] })
    const channel = new Channel({ clock: systemClock, hold })
    let refuse: (e: Error) => void = () => undefined
    let agree: () => void = () => undefined
    const usable = new Promise<void>((resolve, reject) => {
      agree = resolve
      refuse = reject
    })
    const connection = channel.serve(fd, (sink) => openSession({
      vfs: folder.vfs, clock: systemClock, opens: true, writebackCache: false, maxBackground: 64,
      shown: { attrValidMs: 0, entryValidMs: 0, uid: undefined, gid: undefined, umask: undefined }, negativeValidMs: 0, requestTimeoutMs: Infinity, interrupts: false,
      onReady: () => agree(), onRefused: (sentence) => refuse(new Refusal('unsupported', sentence))
    }, sink))
    await Promise.race([usable, connection.done])
    void connection.done.then(() => { mounting = undefined })
    log.info(`volumes are files in ${dir}`)
    return connection
  }

  const mounted = async (): Promise<void> => {
    mounting ??= mount().catch((e: unknown) => {
      mounting = undefined
      throw e
    })
    await mounting
  }

  return {
    mount: mounted,
    get opens() {
      return folder.opens
    },
    calls: {
      async 'volumes/folder'() {
        await mounted()
        return { dir }
      }
    },
    async clear() {
      while (topMountAt(readMounts(), dir) !== undefined) await unmount(dir, 'lazy')
    },
    async idle() {
      if (folder.opens > 0) log.info(`the pool stays open: ${folder.opens} volumes are in use in ${dir}`)
      while (folder.opens > 0) await systemClock.sleep(LOOK_MS)
    },
    async close(how) {
      const connection = await mounting
      if (connection === undefined) return
      const device = mountedDevice(dir)
      await unmount(dir, how === 'force' ? 'lazy' : 'plain').catch(() => unmount(dir, 'lazy'))
      if (how === 'force' && device !== undefined && folder.opens > 0) abortConnection(device)
      await Promise.race([connection.done, systemClock.sleep(PATIENCE_MS)])
      rmdirSync(dir)
    }
  }
}
