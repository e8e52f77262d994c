/**
 * `ogee umount`: returns when everything is durable and, with the last mount of the pool, when its daemon is gone.
 *   - The daemon's last words are listened for before the mount goes, so that a failure to make bytes durable is told here.
 *   - A mount whose daemon is dead is only taken off.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { inspectFolder, Refusal } from '../../pool/index.js'
import { systemClock } from '../../sys/index.js'
import { attachedIn } from '../attaching.js'
import { askStatus, askSync, watchClosed } from '../daemon/client.js'
import type { ClosedWatch } from '../daemon/client.js'
import { mountPointName } from '../locate.js'
import { MOUNT_TYPE, mountsOfDevice, readMounts, topMountAt } from '../mountinfo.js'
import { note } from '../output.js'
import { mountOwner, noteOf } from '../registry.js'
import { unmount } from '../unmounting.js'
import { stopServing } from './nbd.js'

const PATIENCE_MS = 1000
const CLOSING_MS = 2000
const CLOSE_MS = 600_000
const LOOK_MS = 5

export const addUmount = (program: Command): void => {
  program.command('umount').alias('unmount').argument('<DIR...>', 'where the pool is mounted')
    .summary('unmount; returns when everything is durable')
    .description('Unmounts DIR and returns when everything that was written is durable. With the last mount of a pool its daemon ends.')
    .option('-l, --lazy', 'take a busy mount off: its name goes now, the rest when the last open file is closed')
    .addHelpText('after', '\nExamples:\n  ogee umount /mnt')
    .action(async (dirs: string[], flags: { readonly lazy?: boolean }) => {
      for (const dir of dirs) await umountOne(dir, flags.lazy === true ? 'lazy' : 'plain')
    })
}

async function umountOne(path: string, how: 'plain' | 'lazy'): Promise<void> {
  const mounts = readMounts()
  const dir = mountPointName(path, mounts)
  const mount = topMountAt(mounts, dir)
  if (mount === undefined && inspectFolder(dir) === 'pool' && await stopServing(dir) === 'ended') return
  if (mount === undefined) throw notMounted(dir, mounts)
  if (mount.type !== MOUNT_TYPE) throw new Refusal('usage', `${dir} is a mount of type ${mount.type}, not of Ogee: use umount ${dir}.`)
  const uid = process.getuid?.() ?? 0
  if (uid !== 0 && mountOwner(mount) !== uid) throw new Refusal('denied', `${dir} was mounted by user ${mountOwner(mount)}: unmount it as that user, or as root.`)
  const pool = noteOf(mount)?.pool
  const daemon = pool === undefined ? undefined : await daemonOf(pool, mount.device)
  const watch = daemon?.watch
  if (watch !== undefined && pool !== undefined && how === 'lazy') await askSync(pool) // open files keep it; what is written is safe
  try {
    await unmount(dir, how)
    if (daemon === undefined || watch === undefined || pool === undefined) return
    const last = how === 'plain' && mountsOfDevice(readMounts(), mount.device).length === 0
    if (last && await begins(watch)) return await afterLast(pool, daemon.pid, watch)
    if (last) note(whyItGoesOn(dir, pool))
    await Promise.race([askSync(pool), watch.closed]) // mounted elsewhere, or kept by open files: what was written is safe
  } finally {
    watch?.stop()
  }
}

function whyItGoesOn(dir: string, pool: string): string {
  const volumes = attachedIn(join(pool, 'volumes'))
  if (volumes.length === 0) return `${dir} is unmounted, but its daemon goes on: the pool is in use from another mount namespace.`
  return `${dir} is unmounted, but its daemon goes on: volume ${volumes.join(', ')} is attached. It ends with \`ogee volume detach ${pool} ${volumes[0]}\`.`
}

/** Whether the daemon saw its last mount go. */
function begins(watch: ClosedWatch): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), CLOSING_MS)
    void watch.closing.then(() => {
      clearTimeout(timer)
      resolve(true)
    })
  })
}

function notMounted(dir: string, mounts: ReturnType<typeof readMounts>): Refusal {
  const asPool = mounts.find((m) => m.type === MOUNT_TYPE && noteOf(m)?.pool === dir)
  if (asPool !== undefined) return new Refusal('usage', `${dir} is the pool, mounted at ${asPool.dir}: use ogee umount ${asPool.dir}.`)
  return new Refusal('missing', `${dir} is not mounted: \`ogee status\` lists what is.`)
}

/** Listens to the daemon, if this mount is its. */
async function daemonOf(pool: string, device: string): Promise<{ readonly pid: number, readonly watch: ClosedWatch } | undefined> {
  const status = await askStatus(pool).catch(silence)
  return status?.device === device ? { pid: status.pid, watch: await watchClosed(pool) } : undefined
}

/** A daemon that hangs, or is not for us to ask, must not keep a mount on. */
function silence(e: unknown): undefined {
  if (e instanceof Refusal) return undefined
  throw e
}

/** Zombies without threads hold nothing any more: in a container without an init nobody collects them. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ') // from the third on, see proc(5)
    return !/^[ZX]/.test(fields[0]) || Number(fields[17]) > 1
  } catch {
    return false // gone
  }
}

/** The daemon is closing the pool: to the end of it, when its process is gone. */
async function afterLast(pool: string, pid: number, watch: ClosedWatch): Promise<void> {
  const beganMs = systemClock.monotonicMs()
  const patience = systemClock.after(PATIENCE_MS, () => note(`making everything in pool ${pool} durable: waiting for its daemon.`))
  const failure = await watch.closed
  while (isAlive(pid) && systemClock.monotonicMs() - beganMs < CLOSE_MS) await systemClock.sleep(LOOK_MS)
  patience.stop()
  if (failure !== undefined) throw new Refusal('failed', `${failure.replace(/\.$/, '')}: what was written last may be lost; see ${pool}/daemon.log.`)
}
