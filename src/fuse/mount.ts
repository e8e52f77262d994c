/**
 * Mounting and unmounting: mount(2) as root, fusermount3 for anyone else.
 *   - Nothing here touches a mounted file system from the loop: calls that may ask our own daemon (umount, bind, remount)
 *     run on a pool thread, and what is mounted is learnt from mountinfo.
 *   - The device is open, close-on-exec and non-blocking before the mount exists; the caller serves it at once.
 * Every failure is a SysError or an Error with a sentence.
 */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import * as sys from '../sys/index.js'
import { TRANSFER_BYTES_MAX } from './protocol.js'

export interface MountOptions {
  /** What /proc/mounts shows as the source. */
  readonly source: string
  readonly allowOther: boolean
  /** The kernel checks permissions; without it every request that it passes on is allowed. */
  readonly defaultPermissions: boolean
  /** Options of the kernel that have a flag: ro, nodev, nosuid, noexec, noatime, sync, ... `rw`, `dev`, `suid`, `exec` take it back. */
  readonly flags: readonly string[]
  /** The largest READ; what one transfer may carry if absent. */
  readonly maxReadBytes?: number
}

const readLimit = (options: MountOptions): number => Math.min(options.maxReadBytes ?? TRANSFER_BYTES_MAX, TRANSFER_BYTES_MAX)

const FLAGS: Readonly<Record<string, number>> = {
  ro: sys.MS_RDONLY, nosuid: sys.MS_NOSUID, nodev: sys.MS_NODEV, noexec: sys.MS_NOEXEC, sync: sys.MS_SYNCHRONOUS,
  dirsync: sys.MS_DIRSYNC, noatime: sys.MS_NOATIME, nodiratime: sys.MS_NODIRATIME, relatime: sys.MS_RELATIME,
  strictatime: sys.MS_STRICTATIME, lazytime: sys.MS_LAZYTIME
}
const INVERSE: Readonly<Record<string, number>> = {
  rw: sys.MS_RDONLY, suid: sys.MS_NOSUID, dev: sys.MS_NODEV, exec: sys.MS_NOEXEC, async: sys.MS_SYNCHRONOUS,
  atime: sys.MS_NOATIME, diratime: sys.MS_NODIRATIME, norelatime: sys.MS_RELATIME, nolazytime: sys.MS_LAZYTIME
}

/** Whether the kernel knows the option as a flag of a mount. */
export const isMountFlag = (option: string): boolean => Object.hasOwn(FLAGS, option) || Object.hasOwn(INVERSE, option)

/** The flags of mount(2); of contradicting options the last wins. */
export function mountFlags(options: readonly string[]): number {
  let flags = 0
  for (const option of options) {
    if (Object.hasOwn(FLAGS, option)) flags |= FLAGS[option]
    else if (Object.hasOwn(INVERSE, option)) flags &= ~INVERSE[option]
    else throw new Error(`"${option}" is no option that the kernel knows for a mount.`)
  }
  return flags
}

/** Mounts at DIR (absolute, a directory) and answers the device. */
export async function mountFuse(dir: string, options: MountOptions): Promise<number> {
  return process.geteuid?.() === 0 ? mountAsRoot(dir, options) : mountByHelper(dir, options)
}

async function mountAsRoot(dir: string, options: MountOptions): Promise<number> {
  const fd = sys.check(sys.open('/dev/fuse', sys.O_RDWR | sys.O_NONBLOCK), 'open', '/dev/fuse')
  const data = [`fd=${fd}`, 'rootmode=40000', 'user_id=0', 'group_id=0', `max_read=${readLimit(options)}`]
  if (options.allowOther) data.push('allow_other')
  if (options.defaultPermissions) data.push('default_permissions')
  try {
    sys.check(await sys.mountOffLoop(options.source, dir, sys.MOUNT_TYPE, mountFlags(options.flags), data.join(',')), 'mount', dir)
  } catch (e) {
    sys.close(fd)
    throw e
  }
  return fd
}

/** fusermount3 takes only these; the others it would refuse, and for FUSE they are the kernel's default or without effect. */
const HELPER_FLAGS = ['ro', 'rw', 'suid', 'nosuid', 'dev', 'nodev', 'exec', 'noexec', 'sync', 'async', 'dirsync', 'atime', 'noatime']

const escapeOption = (text: string): string => text.replace(/[\\,]/g, '\\$&')

/** fusermount3 is setuid root: it opens /dev/fuse, mounts, and sends us the device through a socket. */
async function mountByHelper(dir: string, options: MountOptions): Promise<number> {
  mountFlags(options.flags) // refuses what is no flag
  const list = [`fsname=${escapeOption(options.source)}`, 'subtype=ogee', `max_read=${readLimit(options)}`,
    ...options.flags.filter((flag) => HELPER_FLAGS.includes(flag))]
  if (options.allowOther) list.push('allow_other')
  if (options.defaultPermissions) list.push('default_permissions')
  const pair = sys.socketPair()
  if (typeof pair === 'number') throw new sys.SysError('socketpair', -pair)
  const [ours, theirs] = pair
  try {
    const device = sys.receiveFd(ours)
    const said = runHelper(['-o', list.join(','), '--', dir], theirs)
    await said.started.finally(() => sys.close(theirs)) // only the helper holds it now: its end is ours to see
    const fd = await device
    const message = await said.ended
    if (fd < 0 && /open \/dev\/fuse: Permission/.test(message))
      throw new Error('/dev/fuse is closed to you: have root run `chmod 666 /dev/fuse` (udev does it), or mount as root.')
    if (fd < 0) throw new Error(message === '' ? `fusermount3 could not mount ${dir}.` : message)
    sys.check(sys.setNonBlocking(fd), 'fcntl', '/dev/fuse')
    return fd
  } finally {
    sys.close(ours)
  }
}

/** Runs fusermount3. `started` rejects if there is none; `ended` resolves to what it said, empty if it went well. */
function runHelper(args: readonly string[], socket: number | undefined): { started: Promise<void>, ended: Promise<string> } {
  const child = spawn('fusermount3', args, {
    stdio: ['ignore', 'ignore', 'pipe', ...(socket === undefined ? [] : [socket])],
    env: { ...process.env, LC_ALL: 'C', ...(socket === undefined ? {} : { _FUSE_COMMFD: '3' }) }
  })
  let said = ''
  child.stderr!.setEncoding('utf8').on('data', (text: string) => { said += text })
  const started = new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve)
    child.once('error', (e) => reject('code' in e && e.code === 'ENOENT'
      ? new Error('There is no fusermount3: install the package fuse3, or mount as root.') : e))
  })
  const ended = new Promise<string>((resolve) => {
    child.once('error', () => resolve('fusermount3 did not run.'))
    child.once('close', (code) => resolve(code === 0 ? '' : said.trim() || `fusermount3 failed with exit code ${code}.`))
  })
  return { started, ended }
}

/** lazy: out of sight at once, gone when nobody uses it any more. Plain: EBUSY while someone does. */
export async function unmount(dir: string, how: 'plain' | 'lazy' = 'plain'): Promise<void> {
  if (process.geteuid?.() === 0) {
    const flags = sys.UMOUNT_NOFOLLOW | (how === 'lazy' ? sys.MNT_DETACH : 0)
    sys.check(await sys.umountOffLoop(dir, flags), 'umount', dir)
    return
  }
  const helper = runHelper(['-u', ...(how === 'lazy' ? ['-z'] : []), '--', dir], undefined)
  await helper.started
  const message = await helper.ended
  if (message === '') return
  if (/busy/i.test(message)) throw new sys.SysError('umount', sys.ERRNO.EBUSY, dir)
  throw new Error(message)
}

/** Shows a mounted tree at a second place; `flags` (ro, nodev, ...) hold for that place alone. Root only. */
export async function bindMount(from: string, to: string, flags: readonly string[]): Promise<void> {
  sys.check(await sys.mountOffLoop(from, to, null, sys.MS_BIND, null), 'mount --bind', to)
  const own = mountFlags(flags)
  if (own === 0) return
  try {
    await remountBind(to, flags)
  } catch (e) {
    await sys.umountOffLoop(to, sys.MNT_DETACH)
    throw e
  }
}

/** Changes the flags of one mount, not of the file system. All flags are given anew. */
export async function remountBind(dir: string, flags: readonly string[]): Promise<void> {
  const rc = await sys.mountOffLoop('none', dir, null, sys.MS_REMOUNT | sys.MS_BIND | mountFlags(flags), null)
  sys.check(rc, 'mount -o remount,bind', dir)
}

/** Changes the flags of the file system, at all places where it is mounted. All flags are given anew. */
export async function remount(dir: string, flags: readonly string[]): Promise<void> {
  sys.check(await sys.mountOffLoop('none', dir, null, sys.MS_REMOUNT | mountFlags(flags), null), 'mount -o remount', dir)
}

/** "0:57" of the mount at DIR, without touching it. */
export const mountedDevice = (dir: string): string | undefined => sys.topMountAt(sys.readMounts(), dir)?.device

const CONNECTIONS = '/sys/fs/fuse/connections'

/**
 * Cuts the connection: all its requests fail, in flight and later (ECONNABORTED, ENOTCONN). For a daemon that hangs.
 * Mounts the kernel's control file system if nobody has (a minimal system or a container). Root, or who mounted.
 */
export function abortConnection(device: string): void {
  if (sys.topMountAt(sys.readMounts(), CONNECTIONS) === undefined)
    sys.check(sys.mount('fusectl', CONNECTIONS, 'fusectl', 0, null), 'mount', CONNECTIONS)
  writeFileSync(`${CONNECTIONS}/${device.split(':')[1]}/abort`, '1')
}

/** Lets the kernel read ahead further than its 128 KiB. Root only; elsewhere the default stays. False: it stayed. */
export function setReadAhead(device: string, kib: number): boolean {
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, String(kib))
    return true
  } catch (e) {
    sys.errnoOf(e) // an errno: no such file, or not ours to write
    return false
  }
}
