/**
 * The daemon: opens a pool, mounts it (or only serves its volumes over NBD), serves until the last mount is gone (or NBD is stopped), makes everything durable, ends.
 *   - Its folder is / and everything it needs of the pool is open before it mounts: a call on one's own mount waits for
 *     oneself.
 *   - However the mount goes (umount, fusermount3 -u, SIGTERM, an aborted connection): requests in hand are answered, the
 *     pool is synced and closed, and only then the lock is let go.
 *   - SIGTERM and SIGINT unmount; a busy mount is taken off lazily, and its programs lose it. SIGHUP means nothing.
 */
import { lockState, openPool, Refusal, refusalOf, tryLock } from '../../pool/index.js'
import type { Lock, Pool } from '../../pool/index.js'
import { PR_SET_IO_FLUSHER, prctl, setThreadName, systemClock, systemRandom } from '../../sys/index.js'
import { withVolumesLink } from '../../vfs/index.js'
import { mountsOfDevice, readMounts } from '../mountinfo.js'
import { canonicalOptions } from '../options.js'
import { EXIT_FAILED, sentence, version } from '../output.js'
import { removeNote, unmountedName, writeNote } from '../registry.js'
import { unmount } from '../unmounting.js'
import { answerVolumes } from '../volume-asks.js'
import { askStatus } from './client.js'
import { serveControl } from './control.js'
import type { Control } from './control.js'
import { openDoor } from './door.js'
import type { Door } from './door.js'
import { clearLeftovers } from './leftovers.js'
import { daemonLog } from './log.js'
import { nbdServices } from './nbd.js'
import type { NbdServices } from './nbd.js'
import { noDoor } from './no-door.js'
import type { Logger } from './log.js'
import type { Status } from './messages.js'
import type { DaemonSpec } from './spawn.js'
import { imageStreams } from './images.js'
import { snapshotCalls } from './snapshots.js'
import { trashCalls, trashStreams } from './trash.js'
import { namesSynced } from './synchronous.js'
import { volumesMount, volumesTarget } from './volumes-mount.js'
import type { VolumesMount } from './volumes-mount.js'
import { startWarming } from './warming.js'

export interface DaemonHost {
  readonly log: 'file' | 'terminal'
  note(text: string): void
  /** The mount serves. */
  ready(): void
}

const LOCK_WAIT_MS = 60_000
const LOCK_TRY_MS = 20
const PATIENCE_MS = 1000
const DETACHED_GRACE_MS = 3000

/** The exit code; 'taken' if another daemon serves the pool by now. Throws what is to be shown before the mount serves. */
export async function runDaemon(spec: DaemonSpec, host: DaemonHost): Promise<number | 'taken'> {
  process.chdir('/')
  process.umask(0o077)
  const log = daemonLog(spec.pool, systemClock, host.log)
  const stop = stopSignal()
  const lock = await waitForLock(spec.pool, host, stop)
  if (lock === 'taken') return 'taken'
  let pool: Pool | undefined
  let door: Door | undefined
  try {
    await clearLeftovers(lock.before, (text) => host.note(text))
    pool = await openPool(spec.pool, {
      clock: systemClock, random: systemRandom, note: (text) => host.note(text),
      damaged: (row) => log.error({ row }, 'a row of metadata is damaged, answered as EIO: run ogee fsck on the pool'),
      vfs: vfsOptions(spec, { isHeld: (node) => door?.isHeld(node) ?? true, isHeldBetween: (from, to) => door?.isHeldBetween(from, to) ?? true })
    })
    if (stop.stopped()) throw new Refusal('failed', 'Interrupted before the pool was mounted: nothing is lost, mount again.')
    let volumes: VolumesMount | undefined
    const shown = withVolumesLink(pool.vfs, volumesTarget(pool), async () => volumes?.mount())
    const vfs = spec.options.synchronous || spec.options.dirSync ? namesSynced(shown) : shown
    door = spec.dir === undefined ? noDoor(systemClock, spec.options.latency) : await openDoor({ vfs, clock: systemClock, dir: spec.dir, source: spec.options.fsname ?? spec.pool, options: spec.options, log })
    const files = (volumes = volumesMount(pool, door.hold, log))
    await files.clear()
    const nbd = nbdServices({ pool, hold: door.hold, log, attached: () => (spec.dir === undefined ? files.opens : 0), empty: spec.dir === undefined ? door.abandon : () => undefined })
    if (spec.nbd !== undefined) await nbd.start(spec.nbd)
    return await serve({ spec, host, log, stop, lock, pool, door, nbd, files })
  } catch (e) { // before it served
    if (door !== undefined && spec.dir !== undefined) await unmount(spec.dir, 'lazy').catch((failed: unknown) => log.error(sentence(failed)))
    await door?.close()
    await pool?.close().catch((failed: unknown) => log.error(`closing: ${sentence(failed)}`))
    lock.release()
    throw refusalOf(e, spec.pool)
  }
}

interface Serving {
  readonly spec: DaemonSpec
  readonly host: DaemonHost
  readonly log: Logger
  readonly stop: Stop
  readonly lock: Lock
  readonly pool: Pool
  readonly door: Door
  readonly nbd: NbdServices
  readonly files: VolumesMount
}

async function serve(s: Serving): Promise<number> {
  const { spec, host, log, lock, pool, door, nbd, files } = s
  const startedMs = systemClock.monotonicMs()
  let state: Status['state'] = 'serving'
  if (spec.dir !== undefined) lock.setDevice(door.device)
  writeNote(noteName(s), { pid: process.pid, pool: spec.pool })
  if (process.geteuid?.() === 0) prctl(PR_SET_IO_FLUSHER, 1) // refused by old kernels, which then may write back into us
  process.title = `ogee ${spec.pool} ${spec.dir ?? 'nbd'}`
  setThreadName('ogee')

  const control = await serveControl(spec.pool, {
    sync: () => pool.sync(),
    grow: (sizeBytes) => pool.grow(sizeBytes),
    volumes: (ask) => answerVolumes(pool.volumes, ask),
    streams: { ...imageStreams(pool, door), ...trashStreams(pool) },
    calls: { ...snapshotCalls(pool, door), ...trashCalls(pool, door), ...nbd.calls, ...files.calls },
    status: () => pool.status().then((figures) => ({
      version: version(), pid: process.pid, pool: spec.pool, name: pool.superblock.name, uuid: pool.superblock.uuid, state,
      device: door.device, uid: process.getuid?.() ?? 0, options: canonicalOptions(spec.options),
      mounts: mountsOfDevice(readMounts(), door.device).map((m) => ({ dir: m.dir, options: shownOptions(m.options, m.superOptions) })),
      ...figures,
      openFiles: spec.options.opens ? figures.openFiles : null,
      openDirectories: spec.options.opens ? figures.openDirectories : null,
      uptimeSec: (systemClock.monotonicMs() - startedMs) / 1000, latency: door.latency(), requests: door.requests(), nbd: nbd.status()
    }))
  })
  s.stop.onStop(() => void leave(s).catch((e: unknown) => log.error(`unmounting: ${sentence(e)}`)))
  const { opening } = await pool.status()
  log.info({ opening }, spec.dir === undefined ? `pool ${spec.pool} is open, and not mounted` : `pool ${spec.pool} is mounted at ${spec.dir}`)
  host.ready()
  const warming = process.env.OGEE_TRACE === undefined && spec.dir !== undefined // else its requests would be in the trace
    ? startWarming({ clock: systemClock, random: systemRandom, requests: door.requests, debug: (text) => log.debug(text) }) : undefined

  await door.ended
  await Promise.race([files.idle(), s.stop.asked])
  await files.close(s.stop.stopped() ? 'force' : 'plain').catch((e: unknown) => log.error(`unmounting the volumes: ${sentence(e)}`))
  await warming?.stop()
  state = 'closing'
  log.info('nobody uses the pool any more: making everything durable')
  control.closing()
  const failure = await close(s, control)
  return failure === undefined ? 0 : EXIT_FAILED
}

const noteName = ({ spec, door }: Serving): string => (spec.dir === undefined ? unmountedName(process.pid) : door.device)

/** Everything durable, everything shut; what went wrong, if so. */
async function close(s: Serving, control: Control): Promise<string | undefined> {
  let failure: string | undefined
  const step = async (what: string, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (e) {
      failure ??= `${what} failed: ${sentence(e)}`
      s.log.error(`${what} failed: ${sentence(e)}`)
    }
  }
  await step('Closing NBD connections', () => s.nbd.close())
  await step('Releasing open files', () => s.door.close())
  await step('Making everything durable', () => s.pool.sync())
  await step('Closing the pool', () => s.pool.close())
  removeNote(noteName(s))
  s.log.info(failure === undefined ? 'closed, everything is durable' : 'closed')
  await control.closed(failure)
  s.lock.release()
  return failure
}

/** SIGTERM: off with every mount of ours; a busy one goes lazily, and does not keep us. */
async function leave(s: Serving): Promise<void> {
  const { door, log } = s
  if (s.spec.dir === undefined) return door.abandon()
  const ours = (): string[] => mountsOfDevice(readMounts(), door.device).map((m) => m.dir)
  let detached = false
  for (const dir of ours().reverse()) {
    try {
      await unmount(dir, 'plain')
    } catch (e) {
      log.warn(`${sentence(e)} Taking it off lazily.`)
      detached = true
      await door.writeBack(dir).catch((failed: unknown) => log.error(`writing back: ${sentence(failed)}`))
      await unmount(dir, 'lazy')
    }
  }
  if (!detached) return
  await systemClock.sleep(DETACHED_GRACE_MS)
  door.abandon() // programs that still have files open get ENOTCONN from now on
}

interface Stop {
  stopped(): boolean
  /** Resolves when a signal came. */
  readonly asked: Promise<void>
  onStop(fn: () => void): void
}

function stopSignal(): Stop {
  let stopped = false
  const listeners: (() => void)[] = []
  const onSignal = (): void => {
    if (stopped) return
    stopped = true
    for (const fn of listeners) fn()
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  process.on('SIGHUP', () => {})
  process.on('SIGPIPE', () => {})
  return {
    stopped: () => stopped,
    asked: new Promise((resolve) => listeners.push(resolve)),
    onStop(fn) {
      if (stopped) fn()
      else listeners.push(fn)
    }
  }
}

/** An old daemon that is closing is waited for; one that serves is not. */
async function waitForLock(folder: string, host: DaemonHost, stop: Stop): Promise<Lock | 'taken'> {
  const beganMs = systemClock.monotonicMs()
  let told = false
  for (;;) {
    let attempt: ReturnType<typeof tryLock>
    try {
      attempt = tryLock(folder, 'daemon')
    } catch (e) {
      throw refusalOf(e, folder)
    }
    if ('release' in attempt) return attempt
    const waitedMs = systemClock.monotonicMs() - beganMs
    if ((await askStatus(folder).catch(() => undefined))?.state === 'serving') return 'taken'
    const held = lockState(folder)
    const by = held.held && held.by !== undefined ? held.by : attempt.heldBy
    if (waitedMs > LOCK_WAIT_MS || stop.stopped()) throw inUse(folder, by)
    if (waitedMs > PATIENCE_MS && !told) {
      told = true
      host.note(`pool ${folder} is being closed by ${by === undefined ? 'another process' : `pid ${by.pid}`}: waiting for it.`)
    }
    await systemClock.sleep(LOCK_TRY_MS)
  }
}

const inUse = (folder: string, by: { readonly pid: number } | undefined): Refusal =>
  new Refusal('in-use', `Pool ${folder} is in use by ${by === undefined ? 'another process' : `pid ${by.pid}`}: wait until that has ended, or end it (kill ${by?.pid ?? 'PID'}).`)

type VfsOptions = Parameters<typeof openPool>[1]['vfs']

function vfsOptions(spec: DaemonSpec, held: Pick<VfsOptions, 'isHeld' | 'isHeldBetween'>): VfsOptions {
  const { options: o } = spec
  return {
    checkPermissions: !o.defaultPermissions,
    atime: ({ relative: 'relatime', strict: 'strictatime', none: 'noatime' } as const)[o.atime],
    ...(o.uid === undefined ? {} : { uid: o.uid }),
    ...(o.gid === undefined ? {} : { gid: o.gid }),
    ...(o.umask === undefined ? {} : { umask: o.umask }),
    ...held
  }
}

/** As mount(8) prints them. */
const shownOptions = (own: readonly string[], fileSystem: readonly string[]): string[] => [...new Set([...own, ...fileSystem.filter((o) => o !== 'rw' && o !== 'ro')])]
