/**
 * A pool, put together out of the floors below, and taken apart again.
 *   - Whoever opens a pool holds its lock; formatting takes it too.
 *   - Opened bottom up (engine, store, tree, data with its recovery, vfs), closed top down: open files' bytes, then
 *     everything durable, then the engine's last checkpoint, which marks the pool clean.
 *   - The superblock is written last of a format, after everything that it promises is durable.
 */
import { statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import prettyBytes from 'pretty-bytes'
import { DamagedError, EngineError, openLmdb, rowName } from '../engine/index.js'
import type { DamagedRow, Engine, LogIo } from '../engine/index.js'
import { openData } from '../data/index.js'
import type { Data } from '../data/index.js'
import { changeContent, changeContents, openTree, readContent } from '../meta/index.js'
import { deviceBytes, formatSpace, GROUP_BYTES, HOST_RESERVE_BYTES, openSpace } from '../store/index.js'
import type { SpaceIo, Store } from '../store/index.js'
import { backgroundContext, PosixError, rootContext } from '../sys/index.js'
import type { Clock, Random } from '../sys/index.js'
import { openSnapshots } from '../snapshot/index.js'
import type { Snapshots } from '../snapshot/index.js'
import { openTrash } from '../trash/index.js'
import { openVfs } from '../vfs/index.js'
import type { OpenedVfs, Vfs, VfsOptions } from '../vfs/index.js'
import { openVolumes } from '../volume/index.js'
import type { Volumes } from '../volume/index.js'
import { deviceSizeBytes } from './device.js'
import { FEATURE, liveSuperblock } from './features.js'
import type { LiveSuperblock } from './features.js'
import { beginFormat, endFormat, hostSpace, inspectFolder, refusalOf, SPACE_FILE } from './folder.js'
import { Refusal } from './refusal.js'
import { keepCopy, makeUuid, readSuperblock, SIZE_MIN_BYTES, writeSuperblock } from './superblock.js'
import { poolClones } from './clones.js'
import type { PoolClones } from './clones.js'
import { poolDiffs } from './comparing.js'
import type { PoolDiffs } from './comparing.js'
import { poolImages } from './images.js'
import type { PoolImages } from './images.js'
import { poolSnapshots, poolSubvolumes } from './snapshots.js'
import type { PoolSnapshots, PoolSubvolumes } from './snapshots.js'
import { poolTrash } from './trash.js'
import type { PoolTrash, TrashState } from './trash.js'
import { defaultSizeBytes, grownSize } from './size.js'
import type { Superblock } from './superblock.js'

/** What a new pool takes at once: its log, LMDB's first pages, a block group; and the reserve. */
const FORMAT_NEEDS_BYTES = 128 * 1024 ** 2
const HOST_ASKED_EVERY_MS = 1000
const DAMAGED_TOLD_MAX = 1000

/** Where a test stands between a pool and its machine; what is absent is production's. */
export interface Seams {
  /** Another one than the last opening's: the machine has rebooted since. */
  readonly bootId?: string
  readonly logBytes?: number
  readonly checkpointAtBytes?: number
  readonly directAfterBytes?: number
  readonly flushBytes?: number
  readonly logIo?: LogIo
  readonly spaceIo?: SpaceIo
  /** The floors of a pool that is open now. */
  opened?(floors: { readonly engine: Engine, readonly data: Data, readonly store: Store, readonly vfs: OpenedVfs }): void
}

export interface FormatOptions {
  readonly clock: Clock
  readonly random: Random
  readonly seams?: Seams
  readonly sizeBytes?: number
  readonly name?: string
  /** The host's space for all of it now. */
  readonly preallocate?: boolean
  /** A block device that holds the bytes of files; its name, as it shall be kept. */
  readonly devicePath?: string
}

export interface OpenOptions {
  readonly clock: Clock
  readonly random: Random
  readonly vfs: VfsOptions
  readonly seams?: Seams
  note(text: string): void
  /** A row of metadata is damaged: whoever needs it gets EIO. Told once for each. */
  damaged?(row: string): void
}

/** Figures of a pool in use. */
export interface PoolStatus {
  readonly space: {
    readonly sizeBytes: number, readonly usedBytes: number, readonly freeBytes: number
    /** Of all files as they are now; runs of free space inside block groups in use, of those that were looked at since the opening. */
    readonly extents: number, readonly freeExtents: number
  }
  /** How the pool was found, and what opening it took. `clean`: it had been closed; `sameBoot`: else only its daemon died. */
  readonly opening: { readonly ms: number, readonly clean: boolean, readonly sameBoot: boolean, readonly replayedRecords: number, readonly replayedBytes: number }
  /** Of each domain that keeps one, or has things in it. */
  readonly trash: TrashState[]
  readonly inodes: number
  readonly openFiles: number
  readonly openDirectories: number
  readonly dirtyBytes: number
  readonly engine: {
    readonly kind: string, readonly failed: string | null, readonly committedSeq: number, readonly durableSeq: number,
    readonly logUsedBytes: number, readonly logSizeBytes: number, readonly checkpoints: number, readonly conflicts: number
  }
}

export interface Pool {
  readonly folder: string
  readonly superblock: Superblock
  readonly vfs: Vfs
  readonly volumes: Volumes
  readonly snapshots: PoolSnapshots
  readonly subvolumes: PoolSubvolumes
  readonly clones: PoolClones
  readonly diffs: PoolDiffs
  readonly images: PoolImages
  readonly trash: PoolTrash
  status(): Promise<PoolStatus>
  /** Everything that was answered so far is durable. */
  sync(): Promise<void>
  /** Makes the pool larger while it is in use; durable when resolved. Answers the new size, whole block groups. */
  grow(sizeBytes: number): Promise<number>
  /** Idempotent. Throws what made bytes that were answered less than durable. */
  close(): Promise<void>
}

function engineOf(folder: string, { clock, random, seams = {}, damaged }: Pick<OpenOptions, 'clock' | 'random' | 'seams' | 'damaged'>): Promise<Engine> {
  const { bootId, logBytes, checkpointAtBytes, logIo } = seams
  const told = new Set<string>()
  const onDamaged = (row: DamagedRow): 'fail' => {
    const name = rowName(row)
    if (!told.has(name) && told.size < DAMAGED_TOLD_MAX) {
      told.add(name)
      damaged?.(name)
    }
    return 'fail'
  }
  return openLmdb({ folder, clock, random, bootId, logBytes, checkpointAtBytes, io: logIo, onDamaged })
}

/** Makes a pool in a folder that exists and holds none. The caller has the lock. */
export async function formatPool(folder: string, options: FormatOptions): Promise<Superblock> {
  const { clock, random } = options
  if (inspectFolder(folder) === 'pool') {
    throw new Refusal('exists', `There is a pool in ${folder} already: name another folder, or remove that one first if you want to lose what is in it (rm -r ${folder}).`)
  }
  try {
    const { freeBytes } = hostSpace(folder)
    const wantsBytes = options.preallocate === true ? (options.sizeBytes ?? defaultSizeBytes(folder)) + FORMAT_NEEDS_BYTES : FORMAT_NEEDS_BYTES
    if (freeBytes < wantsBytes && wantsBytes > FORMAT_NEEDS_BYTES) {
      throw new Refusal('full', `The disk under ${folder} has ${Math.floor(freeBytes / 1024 ** 2)} MiB free, a preallocated pool of that size needs ${Math.ceil(wantsBytes / 1024 ** 2)}: choose a smaller --size, or leave --preallocate out.`)
    }
    if (freeBytes < FORMAT_NEEDS_BYTES) {
      throw new Refusal('full', `The disk under ${folder} has ${Math.floor(freeBytes / 1024 ** 2)} MiB free, a new pool needs ${FORMAT_NEEDS_BYTES / 1024 ** 2}: free some space there, or put the pool elsewhere.`)
    }
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    const deviceSize = options.devicePath === undefined ? undefined : deviceSizeBytes(options.devicePath)
    if (deviceSize !== undefined && deviceSize < (options.sizeBytes ?? SIZE_MIN_BYTES)) {
      throw new Refusal('full', `${options.devicePath} has room for ${Math.floor(deviceSize / 1024 ** 2)} MiB: choose a smaller --size (at least ${SIZE_MIN_BYTES / 1024 ** 2} MiB), or a larger device.`)
    }
    const superblock: Superblock = {
      uuid: makeUuid(random.bytes(16)), name: options.name ?? folder.slice(folder.lastIndexOf('/') + 1), createdSec: now.sec, store: 'space',
      sizeBytes: Math.floor((options.sizeBytes ?? deviceSize ?? defaultSizeBytes(folder)) / GROUP_BYTES) * GROUP_BYTES,
      nameKey: random.bytes(16), compatible: 0, roCompatible: 0, incompatible: 0
    }
    beginFormat(folder)
    if (options.devicePath !== undefined) symlinkSync(options.devicePath, join(folder, SPACE_FILE))
    const engine = await engineOf(folder, options)
    try {
      await formatSpace({ engine, path: join(folder, SPACE_FILE), sizeBytes: superblock.sizeBytes, random, preallocate: options.preallocate, io: options.seams?.spaceIo })
      const tree = openTree({ hashKey: superblock.nameKey })
      const root = { mode: 0o755, uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
      const op = { ctx: rootContext, now, check: false, session: engine.session }
      await engine.transact(rootContext, (tx) => tree.format(tx, op, root))
      await keepCopy(engine, superblock)
      await engine.sync(rootContext)
    } finally {
      await engine.close()
    }
    writeSuperblock(folder, superblock)
    endFormat(folder)
    return superblock
  } catch (e) {
    throw poolRefusal(e, folder)
  }
}

/** Opens the pool, which is made first if the folder is empty. The caller has the lock. */
export async function openPool(folder: string, options: OpenOptions): Promise<Pool> {
  try {
    if (inspectFolder(folder) !== 'pool') {
      const made = await formatPool(folder, options)
      options.note(`made pool ${folder} (${prettyBytes(made.sizeBytes, { binary: true })} at most; its files grow as it fills).`)
    }
    return await assemble(folder, readSuperblock(folder), options)
  } catch (e) {
    throw poolRefusal(e, folder)
  }
}

async function assemble(folder: string, found: Superblock, options: OpenOptions): Promise<Pool> {
  const { clock } = options
  const beganMs = clock.monotonicMs()
  const closers: (() => Promise<void>)[] = []
  try {
    const engine = await engineOf(folder, options)
    closers.push(() => engine.close())
    const superblock = liveSuperblock(folder, engine, found)
    const space = await openSpace({ engine, path: join(folder, SPACE_FILE), clock, io: options.seams?.spaceIo })
    closers.push(() => space.close())
    const store = withinHost(space, folder, clock)
    const tree = openTree({ hashKey: found.nameKey, engine })
    const data = openData({ engine, store, clock, changeContent: changeContent(engine), changeContents: changeContents(engine), readContent: readContent(engine), directAfterBytes: options.seams?.directAfterBytes, flushBytes: options.seams?.flushBytes, needSharing: () => superblock.need(FEATURE.shared) })
    closers.push(() => data.close())
    await data.recover(backgroundContext())
    let sweeps: Snapshots | undefined
    const vfs = openVfs({ engine, tree, data, store, clock, options: options.vfs, released: () => sweeps?.start() })
    closers.push(() => vfs.close())
    const needEpochs = (): Promise<void> => superblock.need(FEATURE.epochs)
    const volumes = openVolumes({
      engine, tree, data, clock, needEpochs, needClones: () => superblock.need(FEATURE.epochs | FEATURE.clones), removed: (ino) => vfs.reclaim(ino), released: () => sweeps?.start()
    })
    const snapshots = openSnapshots({ engine, tree, data, clock, needEpochs, needRollbacks: () => superblock.need(FEATURE.epochs | FEATURE.clones | FEATURE.rollbacks), removed: (ino) => vfs.reclaim(ino) })
    closers.push(() => snapshots.stop())
    sweeps = snapshots
    const trash = openTrash({ engine, tree, clock, needTrash: () => superblock.need(FEATURE.trash), removed: (ino) => vfs.reclaim(ino) })
    closers.push(() => trash.stop())
    const stuck = await snapshots.recover(backgroundContext())
    if (stuck > 0) options.note(`${stuck === 1 ? 'a volume' : `${stuck} volumes`} could not be rolled back to the end, and cannot be opened: run ogee fsck.`)
    if (options.vfs.readOnly !== true) {
      snapshots.start()
      trash.start()
    }
    const { sizeBytes } = space.status()
    if (sizeBytes > found.sizeBytes) await superblock.grown(sizeBytes) // the power went before the superblock knew
    await keepCopy(engine, superblock.now)
    options.seams?.opened?.({ engine, data, store, vfs })
    const ofEpochs = { engine, tree, snapshots, volumes, removed: (ino: number) => vfs.reclaim(ino) }
    const named = poolSnapshots(ofEpochs)
    const subvolumes = poolSubvolumes(ofEpochs)
    const images = poolImages({ uuid: found.uuid, engine, tree, data, store, clock, snapshots, rollBack: named.rollBack, subvolumes, volumes, removed: ofEpochs.removed })
    return poolOf({ openingMs: Math.round(clock.monotonicMs() - beganMs), folder, superblock, engine, store, data, vfs, volumes, snapshots: named, subvolumes, clones: poolClones({ engine, tree, data, vfs, snapshots, volumes, superblock }), diffs: poolDiffs({ engine, tree, data, snapshots }), images, trash: poolTrash({ engine, tree, trash, clock }), closers })
  } catch (e) {
    await closeAll(closers).catch(() => undefined) // what failed first is what counts
    throw e
  }
}

interface Assembled {
  readonly openingMs: number
  readonly folder: string
  readonly superblock: LiveSuperblock
  readonly engine: Engine
  readonly store: Store
  readonly data: Data
  readonly vfs: OpenedVfs
  readonly volumes: Volumes
  readonly snapshots: PoolSnapshots
  readonly subvolumes: PoolSubvolumes
  readonly clones: PoolClones
  readonly diffs: PoolDiffs
  readonly images: PoolImages
  readonly trash: PoolTrash
  readonly closers: (() => Promise<void>)[]
}

function poolOf({ openingMs, folder, superblock, engine, store, vfs, volumes, snapshots, subvolumes, clones, diffs, images, trash, closers }: Assembled): Pool {
  let closing: Promise<void> | undefined
  return {
    folder,
    get superblock() {
      return superblock.now
    },
    vfs,
    volumes,
    snapshots,
    subvolumes,
    clones,
    diffs,
    images,
    trash,
    async status() {
      const { usedBytes, freeBytes, freeExtents } = store.status()
      const { sizeBytes } = superblock.now
      const { inodes, extents, openFiles, openDirectories, dirtyBytes } = vfs.status()
      const e = engine.status()
      return {
        space: { sizeBytes, usedBytes, freeBytes, extents, freeExtents }, opening: { ms: openingMs, ...engine.recovery }, trash: await trash.states(), inodes, openFiles, openDirectories, dirtyBytes,
        engine: {
          kind: engine.kind, failed: e.failed ?? null, committedSeq: e.committedSeq, durableSeq: e.durableSeq, logUsedBytes: e.logUsedBytes,
          logSizeBytes: e.logSizeBytes, checkpoints: e.checkpoints, conflicts: e.conflicts
        }
      }
    },
    sync: () => vfs.syncAll(backgroundContext()),
    async grow(wanted) {
      const sizeBytes = grownSize(superblock.now, wanted)
      try {
        await store.grow(sizeBytes)
      } catch (e) {
        const device = deviceBytes(join(folder, SPACE_FILE))
        if (device !== undefined && device < sizeBytes) throw new Refusal('full', `The device of pool ${folder} has ${prettyBytes(device, { binary: true })}: enlarge it first.`)
        throw poolRefusal(e, folder)
      }
      await superblock.grown(sizeBytes)
      return sizeBytes
    },
    close() {
      closing ??= closeAll(closers)
      return closing
    }
  }
}

/** The last opened first. All are closed even if one fails; the first failure is thrown. */
async function closeAll(closers: (() => Promise<void>)[]): Promise<void> {
  let failed = false
  let first: unknown
  for (const close of closers.splice(0).reverse()) {
    try {
      await close()
    } catch (e) {
      if (!failed) first = e
      failed = true
    }
  }
  if (failed) throw first
}

/**
 * The space is sparse: what is free in it is free only as far as the host's disk has room, or as the space holds room already
 * (groups once used stay allocated). The size that df sees is what is used and what is free, so that its "used" is the
 * pool's own.
 */
function withinHost(store: Store, folder: string, clock: Clock): Store {
  const path = join(folder, SPACE_FILE)
  if (deviceBytes(path) !== undefined) return store // nobody else takes its room
  let roomBytes = Infinity // what the host could still give, and what it gave the space
  let askedMs = -Infinity
  return {
    ...store,
    status() {
      const status = store.status()
      const nowMs = clock.monotonicMs()
      if (nowMs - askedMs > HOST_ASKED_EVERY_MS) {
        roomBytes = Math.max(0, hostSpace(folder).freeBytes - HOST_RESERVE_BYTES) + statSync(path).blocks * 512
        askedMs = nowMs
      }
      const freeBytes = Math.min(status.freeBytes, Math.max(0, roomBytes - status.usedBytes))
      return { ...status, freeBytes, sizeBytes: status.sizeBytes - status.freeBytes + freeBytes }
    }
  }
}

/** A floor's refusal as a pool's. */
export function poolRefusal(e: unknown, folder: string): unknown {
  if (e instanceof EngineError) {
    const reason = e.code === 'ENGINE_NEWER_FORMAT' ? 'newer' : e.code === 'ENGINE_IO' || e.code === 'ENGINE_OPTIONS' ? 'failed' : 'damaged'
    const known = e.cause === undefined ? e : refusalOf(e.cause, folder)
    return known instanceof Refusal && known.reason !== 'failed' ? known : new Refusal(reason, e.message)
  }
  if (e instanceof DamagedError) return new Refusal('damaged', e.message)
  if (e instanceof PosixError && e.code === 'ENOENT') return new Refusal('damaged', `A file of pool ${folder} is gone (${e.message}): put it back from a copy of the pool.`)
  if (e instanceof PosixError && e.code === 'EUCLEAN') return new Refusal('damaged', `${e.message}.`)
  return refusalOf(e, folder)
}
