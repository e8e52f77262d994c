/**
 * The daemon's front door: mounts at DIR and serves the kernel over the fuse floor.
 *   - An embedded pool changes only through this connection, so the kernel may keep attributes and names as long as it
 *     likes. Opens do not reach us unless -o opens asks for it.
 */
import { abortConnection, Channel, mountedDevice, mountFuse, openSession, setReadAhead } from '../../fuse/index.js'
import { Refusal } from '../../pool/index.js'
import { check, coreHold, O_DIRECTORY, O_RDONLY, AT_FDCWD, offLoop, onUnknownError, SysError } from '../../sys/index.js'
import type { Clock, CoreHold } from '../../sys/index.js'
import type { Vfs } from '../../vfs/index.js'
import type { MountOptions } from '../options.js'
import type { Logger } from './log.js'

export interface DoorOptions {
  readonly vfs: Vfs
  readonly clock: Clock
  readonly dir: string
  readonly source: string
  readonly options: MountOptions
  readonly log: Logger
}

/** How the daemon waits for requests. */
export interface Latency {
  readonly mode: string
  /** The cores are held awake now. */
  readonly inForce: boolean
  /** The longest that it looks for the next request before it sleeps. */
  readonly spinUs: number
  /** What looking in vain has cost so far. */
  readonly spunMs: number
  /** How often it went to sleep. */
  readonly sleeps: number
}

export interface Door {
  /** "major:minor" of the mount. */
  readonly device: string
  /** Every front door of the daemon shares it. */
  readonly hold: CoreHold
  /** The kernel is gone: unmounted, or aborted. Everything that it held is released. */
  readonly ended: Promise<void>
  /** Whether the kernel still refers to the node. */
  isHeld(node: number): boolean
  /** Any of from <= node < to. */
  isHeldBetween(from: number, to: number): boolean
  /** A name in a folder changed without the kernel: it forgets the name, and what it knows of the folder. */
  changed(parent: number, name: string): Promise<void>
  /** All that was in a folder is something else, and the folder's own attributes are. */
  exchanged(folder: number, names: readonly string[]): Promise<void>
  /** The kernel forgets an inode's attributes and bytes. */
  changedInode(ino: number): Promise<void>
  requests(): number
  latency(): Latency
  /** Has the kernel send what programs wrote through mappings. */
  writeBack(dir: string): Promise<void>
  /** Cuts the connection. */
  abandon(): void
  close(): Promise<void>
}

const CACHE_MS = 86_400_000 // a day; only our own kernel changes anything, and it knows what it changed
const BACKGROUND_MAX = 64
const USABLE_MS = 30_000
const READ_AHEAD_KIB = 4096 // four requests of the largest size at once: 1.3 times what one brings of a cold file; more brings no more

export async function openDoor(o: DoorOptions): Promise<Door> {
  const { options, log, clock } = o
  onUnknownError((e) => log.error({ err: e }, 'unexpected error, answered as EIO'))
  const hold = coreHold({ mode: options.latency, clock })
  const fd = await mountFuse(o.dir, {
    source: o.source, allowOther: options.allowOther, defaultPermissions: options.defaultPermissions, flags: kernelFlags(options),
    ...(options.maxReadBytes === undefined ? {} : { maxReadBytes: options.maxReadBytes })
  }).catch((e: unknown) => {
    hold.close()
    throw refusalOfMount(e, o.dir)
  })
  const channel = new Channel({ clock, hold, ...(options.spinUs === undefined ? {} : { spinUs: options.spinUs }) })
  let agree: () => void = () => {}
  let refuse: (e: Error) => void = () => {}
  const usable = new Promise<void>((resolve, reject) => {
    agree = resolve
    refuse = reject
  })
  const connection = channel.serve(fd, (sink) => openSession({
    vfs: o.vfs, clock, opens: options.opens, writebackCache: options.writebackCache, maxBackground: BACKGROUND_MAX,
    shown: { attrValidMs: CACHE_MS, entryValidMs: CACHE_MS, uid: options.uid, gid: options.gid, umask: options.umask },
    negativeValidMs: CACHE_MS, requestTimeoutMs: Infinity, interrupts: false,
    onReady: () => agree(),
    onRefused: (sentence) => refuse(new Refusal('unsupported', sentence))
  }, sink))
  let cut: () => void = () => {}
  const abandoned = new Promise<void>((resolve) => { cut = resolve })
  clock.after(USABLE_MS, () => refuse(new Refusal('failed', `The kernel did not begin to use the mount at ${o.dir} within ${USABLE_MS / 1000} s: unmount it (umount -l ${o.dir}) and see its log (dmesg).`)))
  await Promise.race([usable, connection.done])
  const device = mountedDevice(o.dir)
  if (device === undefined) throw new Refusal('failed', `The mount at ${o.dir} was taken off as soon as it was there: somebody unmounted it; try again.`)
  setReadAhead(device, READ_AHEAD_KIB)

  return {
    device,
    hold,
    ended: Promise.race([connection.done, abandoned]),
    isHeld: (node) => connection.session.lookups.count(node) > 0,
    isHeldBetween: (from, to) => connection.session.lookups.anyBetween(from, to),
    async changed(parent, name) { // what it answers matters to nobody: mostly that it knew nothing
      await connection.notifier.invalEntry(parent, name, 'drop')
      await connection.notifier.invalInode(parent, 0, 0)
    },
    async exchanged(folder, names) {
      for (const name of names) await connection.notifier.invalEntry(folder, name, 'drop')
      await connection.notifier.invalInode(folder, 0, 0)
    },
    async changedInode(ino) {
      await connection.notifier.invalInode(ino, 0, 0)
    },
    requests: () => connection.session.requests,
    latency() {
      const { spinUs, spunUs, sleeps } = channel.figures()
      return { mode: hold.mode, inForce: hold.inForce, spinUs, spunMs: Math.round(spunUs / 1000), sleeps }
    },
    async writeBack(dir) {
      const root = check(await offLoop.openat(AT_FDCWD, dir, O_RDONLY | O_DIRECTORY), 'open', dir)
      try {
        check(await offLoop.syncfs(root), 'syncfs', dir)
      } finally {
        await offLoop.close(root)
      }
    },
    abandon() {
      try {
        abortConnection(device)
      } catch (e) {
        log.warn({ err: e }, 'the connection could not be aborted: leaving it')
        cut()
      }
    },
    async close() {
      hold.close()
      await connection.session.close()
    }
  }
}

function kernelFlags(o: MountOptions): string[] {
  const flags: [boolean, string][] = [[o.readOnly, 'ro'], [o.noSuid, 'nosuid'], [o.noDev, 'nodev'], [o.noExec, 'noexec'],
    [o.synchronous, 'sync'], [o.dirSync, 'dirsync'], [o.atime === 'none', 'noatime']]
  return flags.flatMap(([on, word]) => (on ? [word] : []))
}

function refusalOfMount(e: unknown, dir: string): Refusal {
  const said = e instanceof Error ? e.message.replace(/^fusermount3: /, '') : String(e)
  const noDevice = 'There is no /dev/fuse: load the kernel\'s module (modprobe fuse), or give it to the container (--device /dev/fuse --cap-add SYS_ADMIN).'
  if (e instanceof SysError && e.call === 'open') {
    if (e.code === 'ENOENT' || e.code === 'ENODEV' || e.code === 'ENXIO') return new Refusal('unsupported', noDevice)
    return new Refusal('unsupported', `/dev/fuse cannot be opened (${e.code}): give it to the container (--device /dev/fuse --cap-add SYS_ADMIN).`)
  }
  if (e instanceof SysError) {
    if (e.code === 'EPERM') return new Refusal('unsupported', `Mounting at ${dir} is not permitted (EPERM): the container needs CAP_SYS_ADMIN (--cap-add SYS_ADMIN --device /dev/fuse).`)
    if (e.code === 'EBUSY') return new Refusal('busy', `${dir} is busy: unmount what is mounted there, or name another folder.`)
    return new Refusal('failed', `Mounting at ${dir} failed (${e.code}): see the kernel's log (dmesg).`)
  }
  if (said.startsWith('There is no fusermount3')) return new Refusal('unsupported', said)
  if (/allow_other/.test(said)) return new Refusal('denied', `fusermount3 refuses allow_other to plain users: put the line user_allow_other into /etc/fuse.conf, or leave the option out.`)
  if (said.startsWith('/dev/fuse is closed')) return new Refusal('unsupported', said)
  if (/device not found|\/dev\/fuse/.test(said)) return new Refusal('unsupported', noDevice)
  if (/no write access|Permission denied|not permitted/i.test(said)) return new Refusal('denied', `fusermount3 refuses to mount at ${dir} (${said}): mount at a folder of your own.`)
  return new Refusal('failed', `fusermount3 could not mount at ${dir} (${said}): see fusermount3(1), or mount as root.`)
}
