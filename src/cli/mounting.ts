/**
 * `ogee mount`, whoever asks: the command, mount.ogee, mount.fuse. Decides between a new daemon, a bind mount of a pool that
 * is mounted already, and a remount.
 *   - Everything that can be refused is refused before a daemon starts; the daemon refuses what only the lock decides.
 *   - Between asking and starting another command may win: then the daemon says so, and we look again.
 */
import { readdirSync, realpathSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { checkApart, inspectFolder, makeFolder, Refusal, resolvePool } from '../pool/index.js'
import { ERRNO, errnoName, errnoOf, mountOffLoop, MS_BIND, MS_DIRSYNC, MS_NOATIME, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT,
  MS_SYNCHRONOUS } from '../sys/index.js'
import { askStatus } from './daemon/client.js'
import { startNbd } from './commands/nbd.js'
import { isDead } from './daemon/leftovers.js'
import type { NbdSpec } from './daemon/nbd-spec.js'
import type { Status } from './daemon/messages.js'
import { spawnDaemon } from './daemon/spawn.js'
import { MOUNT_TYPE, mountsOfDevice, readMounts, topMountAt } from './mountinfo.js'
import type { MountEntry } from './mountinfo.js'
import { unlikeOptions } from './options.js'
import type { MountOptions } from './options.js'
import { mountPointName } from './locate.js'
import { unmount } from './unmounting.js'

export interface MountRequest {
  readonly pool: string
  readonly dir: string
  readonly options: MountOptions
  readonly where: 'background' | 'foreground'
  readonly note: (text: string) => void
  /** Serve volumes over NBD too. */
  readonly nbd?: (pool: string) => NbdSpec
}

const TRIES = 3
const isRoot = (): boolean => process.geteuid?.() === 0

/** Resolves when DIR is usable; in the foreground when it was unmounted. The exit code. */
export async function mountPool(request: MountRequest): Promise<number> {
  const { options, note } = request
  if (options.remount) return remount(request.dir, options)
  const dir = await checkDir(request.dir, options, note)
  const pool = resolvePool(request.pool)
  checkApart(pool, dir)
  for (let i = 0; i < TRIES; i++) {
    const serving = inspectFolder(pool) === 'pool' ? await askStatus(pool) : undefined
    if (serving?.state === 'serving') {
      if (serving.device === '') throw new Refusal('in-use', `Pool ${pool} is served over NBD by pid ${serving.pid}, without a mount: stop that (ogee nbd ${pool} --stop), then mount it with --nbd.`)
      await bindMount(serving, dir, options)
      if (request.nbd !== undefined) await startNbd(pool, request.nbd(pool))
      return 0
    }
    makeFolder(pool)
    const spec = { pool, dir, options, nbd: request.nbd?.(pool) }
    if (request.where === 'foreground') {
      const { runDaemon } = await import('./daemon/daemon.js')
      const ended = await runDaemon(spec, { log: 'terminal', note, ready: () => note(`pool ${pool} is mounted at ${dir}; Ctrl-C unmounts it.`) })
      if (ended !== 'taken') return ended
    } else if (await spawnDaemon(spec, note) === 'ready') return 0
  }
  throw new Refusal('in-use', `Pool ${pool} is being mounted and unmounted by others at the same time: try again.`)
}

/** A folder that may be mounted on; its real path. */
async function checkDir(path: string, options: MountOptions, note: (text: string) => void): Promise<string> {
  const name = mountPointName(path, readMounts())
  await clearDead(name, note)
  let dir: string
  let names: string[]
  try {
    dir = realpathSync(path)
    if (!statSync(dir).isDirectory()) throw new Refusal('usage', `${path} is not a folder: name an empty folder to mount the pool at.`)
    refuseMounted(dir)
    names = readdirSync(dir)
  } catch (e) {
    if (e instanceof Refusal) throw e
    const errno = errnoOf(e)
    if (errno === ERRNO.ENOENT) throw new Refusal('missing', `There is no folder ${resolve(path)}: make it first (mkdir -p ${resolve(path)}).`)
    if (errno === ERRNO.EACCES) throw new Refusal('denied', `No permission to look into ${path}: mount at a folder of your own.`)
    if (errno === ERRNO.ENOTDIR) throw new Refusal('usage', `${path} is not a folder: name an empty folder to mount the pool at.`)
    throw new Refusal('failed', `${path} cannot be used (${errnoName(errno)}): mount the pool at another folder.`)
  }
  if (names.length > 0 && !options.nonEmpty) {
    throw new Refusal('busy', `${dir} is not empty, and the mount would hide what is in it: name an empty folder, or mount with -o nonempty.`)
  }
  return dir
}

function refuseMounted(dir: string): void {
  const there = topMountAt(readMounts(), dir)
  if (there?.type !== MOUNT_TYPE) return
  throw new Refusal('busy', `${dir} is busy: a pool is mounted there already (${there.source}); unmount it first (ogee umount ${dir}), or name another folder.`)
}

/** A mount of ours whose daemon died is only in the way. */
async function clearDead(dir: string, note: (text: string) => void): Promise<void> {
  for (let there = topMountAt(readMounts(), dir); there?.type === MOUNT_TYPE && await isDead(dir); there = topMountAt(readMounts(), dir)) {
    await unmount(dir, 'lazy')
    note(`took off the mount at ${dir} that a daemon left behind when it died.`)
  }
}

const mountFlags = (o: MountOptions): number =>
  (o.readOnly ? MS_RDONLY : 0) | (o.noSuid ? MS_NOSUID : 0) | (o.noDev ? MS_NODEV : 0) | (o.noExec ? MS_NOEXEC : 0) |
  (o.atime === 'none' ? MS_NOATIME : 0)

/** What only the whole file system has. */
const fileSystemFlags = (o: MountOptions): number => (o.synchronous ? MS_SYNCHRONOUS : 0) | (o.dirSync ? MS_DIRSYNC : 0)

/** The same pool at a second folder. */
async function bindMount(serving: Status, dir: string, options: MountOptions): Promise<void> {
  const inUse = `Pool ${serving.pool} is mounted already by pid ${serving.pid}`
  if (!isRoot()) {
    const first = serving.mounts[0]?.dir
    throw new Refusal('in-use', `${inUse}${first === undefined ? '' : ` at ${first}`}: use it there; only root can mount it a second time.`)
  }
  if (serving.uid !== 0) throw new Refusal('in-use', `${inUse}, a daemon of user ${serving.uid}: unmount it there before root mounts it.`)
  const mounts = mountsOfDevice(readMounts(), serving.device)
  const first = mounts.find((m) => m.root === '/')
  if (first === undefined) throw new Refusal('in-use', `${inUse}, but where this process cannot see it (another mount namespace): unmount it there.`)
  const unlike = unlikeOptions(options, serving.options)
  if (unlike !== undefined) {
    throw new Refusal('in-use', `${inUse} at ${first.dir} without ${unlike}, and a second mount shares its options but ro, nosuid, nodev, noexec: leave ${unlike} out, or unmount the first.`)
  }
  if (!options.readOnly && first.superOptions.includes('ro')) {
    throw new Refusal('in-use', `${inUse} at ${first.dir} read-only, and so is every mount of it: add -o ro, or remount the first (mount -o remount,rw ${first.dir}).`)
  }
  await required(mountOffLoop(first.dir, dir, null, MS_BIND, null), 'mount', dir)
  const rc = await mountOffLoop('none', dir, null, MS_BIND | MS_REMOUNT | mountFlags(options), null)
  if (rc >= 0) return
  await unmount(dir, 'lazy')
  await required(Promise.resolve(rc), 'mount', dir)
}

async function required(rc: Promise<number>, what: string, dir: string): Promise<void> {
  const code = await rc
  if (code >= 0) return
  const errno = errnoName(-code)
  if (code === -ERRNO.EPERM || code === -ERRNO.EACCES) throw new Refusal('denied', `${what} at ${dir} is not permitted (${errno}): do it as root.`)
  if (code === -ERRNO.EBUSY) throw new Refusal('busy', `${dir} is busy: files on it are open for writing (\`fuser -vm ${dir}\` lists who has them), close them first.`)
  throw new Refusal('failed', `${what} at ${dir} failed (${errno}): see the kernel's log (dmesg).`)
}

/** mount -o remount: the kernel's flags. One of several mounts is changed alone. */
async function remount(path: string, options: MountOptions): Promise<number> {
  const mounts = readMounts()
  const dir = mountPointName(path, mounts)
  const there = topMountAt(mounts, dir)
  if (there === undefined || there.type !== MOUNT_TYPE) throw new Refusal('usage', `${dir} is no mount of Ogee, so there is nothing to remount: \`ogee status\` lists what is mounted.`)
  if (!isRoot()) throw new Refusal('denied', `Only root can remount ${dir}: unmount it and mount it again.`)
  if (!options.readOnly && there.superOptions.includes('ro')) await makeWritable(there, mounts)
  const alone = mountsOfDevice(mounts, there.device).length === 1
  const flags = MS_REMOUNT | mountFlags(options)
  // The file system's own ro follows its only mount, so that it is as if mounted that way; else the mount's flags change.
  if (alone) await required(mountOffLoop(there.source, dir, MOUNT_TYPE, flags | fileSystemFlags(options), null), 'remount', dir)
  await required(mountOffLoop('none', dir, null, flags | MS_BIND, null), 'remount', dir)
  return 0
}

/** The file system was mounted read-only. Its other mounts keep the ro that each has. */
async function makeWritable(there: MountEntry, mounts: readonly MountEntry[]): Promise<void> {
  const flagOf: Record<string, number> = { nosuid: MS_NOSUID, nodev: MS_NODEV, noexec: MS_NOEXEC }
  const others = mountsOfDevice(mounts, there.device).filter((m) => m.id !== there.id)
  for (const m of others) {
    const kept = m.options.reduce((flags, option) => flags | (flagOf[option] ?? 0), MS_BIND | MS_REMOUNT | MS_RDONLY)
    await required(mountOffLoop('none', m.dir, null, kept, null), 'remount', m.dir)
  }
  await required(mountOffLoop(there.source, there.dir, MOUNT_TYPE, MS_REMOUNT, null), 'remount', there.dir)
}
