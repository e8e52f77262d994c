/**
 * Volumes of a pool: made, listed, resized, renamed, removed, and opened by whoever reads and writes them.
 *   - One writer: the first client that changes a volume has its lease until its last handle closes. Who else tries gets EPERM, with a
 *     sentence. All handles of one client (its name says who) are one writer. Readers need nothing.
 *   - takeOver fences the writer: when it resolves, nothing of the old one is on its way any more, and all that it tries later is EIO.
 *   - A change answers when its bytes outlive the daemon; flush when everything that was answered before it outlives a power cut.
 *   - Bytes in place commit no metadata: a volume's times say when it was made, not when it was written.
 */
import { NOW } from '../data/index.js'
import type { Content, ContentEffects, Data } from '../data/index.js'
import type { Engine, MaybePromise, Tx } from '../engine/index.js'
import { NOBODY, takeView } from '../meta/index.js'
import type { Inode, Op, Tree } from '../meta/index.js'
import { backgroundContext, PosixError, rootContext } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import { checkVolumeName, checkVolumeSize, VolumeError } from './errors.js'
import type { OpenVolume } from './open-volume.js'
import { openPast } from './past.js'

export interface VolumeParts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly clock: Clock
  /** Resolves when the pool says durably that it has domains besides its root tree: before the first volume. */
  needEpochs(): Promise<void>
  /** Before the first clone. */
  needClones(): Promise<void>
  /** A removed volume's inode: its bytes are to be reclaimed. */
  removed(ino: number): void
  /** A view is held no more: what it alone held is to be given back. */
  released(): void
}

export interface VolumeInfo {
  readonly name: string
  readonly sizeBytes: number
  /** What it shows that lies in the pool's space. */
  readonly allocatedBytes: number
  /** Of that, what is its origin's; it holds the rest. */
  readonly lentBytes: number
  /** Of what it is a clone: VOLUME@SNAP, or VOLUME if that snapshot has no name. */
  readonly origin: string | null
  readonly createdSec: number
  /** The number of its inode and of its domain. */
  readonly inode: number
  /** Who may change it now: the lease's holder. */
  readonly writer: string | null
  /** How many have it open. */
  readonly opens: number
}

export interface Volumes {
  list(): Promise<VolumeInfo[]>
  info(name: string): Promise<VolumeInfo>
  create(name: string, sizeBytes: number): Promise<VolumeInfo>
  /** A volume that begins as NAME, or NAME@SNAPSHOT, is: in an instant, whatever that holds. */
  clone(from: string, name: string): Promise<VolumeInfo>
  /** A clone copies what it shows of its origin, and is one no more. Others may use it meanwhile. Who throws in `progress` stops it; called again it goes on. */
  flatten(name: string, progress: (doneBytes: number, ofBytes: number) => MaybePromise<void>): Promise<VolumeInfo>
  /** Larger at any time; smaller only if nobody has it open and `cut` says that bytes may go. */
  resize(name: string, sizeBytes: number, cut: 'keep' | 'cut'): Promise<VolumeInfo>
  rename(name: string, newName: string): Promise<VolumeInfo>
  remove(name: string): Promise<void>
  /** NAME, or NAME@SNAPSHOT to read it as it was. `client` names who asks ("pid 12 over nbd"): handles of one client are one writer. */
  open(name: string, client: string): Promise<OpenVolume>
  /** Does something to a volume that nobody may have open meanwhile; `what` says it to who has it open. */
  whileClosed<T>(name: string, what: string, fn: (ino: number) => Promise<T>): Promise<T>
  /** Fences the writer; answers who that was. */
  takeOver(name: string): Promise<string | undefined>
}

interface Client {
  readonly who: string
  handles: number
  /** Changes on their way. */
  inFlight: number
  fenced: boolean
  drained: () => void
}

/** What is known of a volume while somebody has it open. */
interface Shared {
  readonly ino: number
  name: string
  sizeBytes: number
  readonly clients: Map<string, Client>
  writer: Client | undefined
}

const QUIET: ContentEffects = { touch: undefined, killSuidgid: false, inPlace: true }

export function openVolumes(parts: VolumeParts): Volumes {
  const { engine, tree, data, clock } = parts
  const shared = new Map<number, Shared>()
  const flattened = new Set<number>() // while they are
  const kept = new Map<number, string>() // whom nobody may open or change now, and why
  const ctx = backgroundContext()

  const op = (): Op => {
    const now = { sec: 0, nsec: 0 }
    clock.realtime(now)
    return { ctx: rootContext, now, check: false, session: engine.session }
  }

  const inoOf = async (name: string): Promise<number> => {
    const ino = await tree.volume(engine.reader(ctx), name)
    if (ino === undefined) throw missing(name)
    return ino
  }
  const refuseKept = (name: string, ino: number): void => {
    const why = kept.get(ino)
    if (why !== undefined) throw new VolumeError('in-use', `Volume ${name} cannot be used while you ${why}: try again when that is done.`)
  }

  const infoOf = async (name: string, ino: number): Promise<VolumeInfo> => {
    const inode: Inode | undefined = await tree.inode(engine.reader(ctx), ino, NOW)
    if (inode === undefined) throw missing(name)
    const open = shared.get(ino)
    let opens = 0
    for (const { handles } of open?.clients.values() ?? []) opens += handles
    const origin = inode.hasOrigin ? await originText(ino) : null
    const lentBytes = origin === null ? 0 : await data.lentBytes(ctx, ino)
    return { name, sizeBytes: inode.sizeBytes, allocatedBytes: inode.allocatedBytes, lentBytes, origin, createdSec: inode.btimeSec, inode: ino, writer: open?.writer?.who ?? null, opens }
  }

  const nameOf = async (ino: number): Promise<string> => (await tree.volumes(engine.reader(ctx))).find((v) => v.ino === ino)?.name ?? `number ${ino}`

  const originText = async (ino: number): Promise<string | null> => {
    const reader = engine.reader(ctx)
    const origin = await tree.originOf(reader, ino)
    if (origin === undefined) return null
    const snapshot = (await tree.snapshots(reader, origin.ino)).find((s) => s.epoch === origin.epoch)
    const name = await nameOf(origin.ino)
    return snapshot === undefined ? name : `${name}@${Buffer.from(snapshot.name, 'latin1').toString('utf8')}`
  }

  /** Why what clones need cannot go. */
  const hasClones = async (name: string, ino: number): Promise<VolumeError> => {
    const clones = await Promise.all((await tree.clonesOf(engine.reader(ctx), ino)).filter(({ clone }) => clone !== NOBODY).map(({ clone }) => nameOf(clone)))
    if (clones.length === 0) return new VolumeError('in-use', `A snapshot or a clone of volume ${name} is being made: try again when that is done.`)
    return new VolumeError('in-use', `Volume ${name} is what ${clones.join(', ')} ${clones.length === 1 ? 'is a clone' : 'are clones'} of: remove ${clones.length === 1 ? 'it' : 'them'} first, or have ${clones.length === 1 ? 'it' : 'them'} copy what ${clones.length === 1 ? 'it needs' : 'they need'} (ogee volume flatten POOL ${clones[0]}).`)
  }

  const durable = async (): Promise<void> => engine.sync(ctx)

  return {
    async list() {
      const out: VolumeInfo[] = []
      for (const { name, ino } of await tree.volumes(engine.reader(ctx))) out.push(await infoOf(name, ino))
      return out
    },
    info: async (name) => infoOf(name, await inoOf(name)),

    async create(name, sizeBytes) {
      checkVolumeName(name)
      checkVolumeSize(sizeBytes)
      await parts.needEpochs()
      const made = op()
      const inode = await refusing(name, engine.transact(ctx, async (tx) => tree.makeVolume(tx, made, name, await tree.takeInodeNumbers(tx, 1), sizeBytes)))
      await durable()
      return infoOf(name, inode.ino)
    },

    async clone(from, name) {
      checkVolumeName(name)
      const at = from.indexOf('@')
      const [of, snap] = at < 0 ? [from, undefined] : [from.slice(0, at), from.slice(at + 1)]
      const origin = await inoOf(of)
      refuseKept(of, origin)
      await parts.needClones()
      const made = op()
      const snapshot = snap === undefined ? undefined : Buffer.from(snap, 'utf8').latin1Slice()
      const clone = async (tx: Tx, at: string | number): Promise<Inode> => tree.cloneVolume(tx, made, { origin, snapshot: at, name, ino: await tree.takeInodeNumbers(tx, 1) })
      const inode = await (snapshot === undefined ? takeView({ ...parts, dropped: parts.released }, ctx, origin, undefined, clone) : engine.transact(ctx, (tx) => clone(tx, snapshot))).catch((e: unknown) => {
        if (!(e instanceof PosixError)) throw e
        if (e.code === 'ENOENT') throw new VolumeError('missing', `There is no snapshot ${from}: \`ogee snapshot list\` names those that are there.`)
        if (e.code === 'EBUSY') throw new VolumeError('in-use', `Volume ${of} is being rolled back: try again when that is done.`)
        throw existing(name, e)
      })
      await durable()
      return infoOf(name, inode.ino)
    },

    async flatten(name, progress) {
      const ino = await inoOf(name)
      refuseKept(name, ino)
      if (flattened.has(ino)) throw new VolumeError('in-use', `Volume ${name} is being flattened already.`)
      if ((await infoOf(name, ino)).origin === null) return infoOf(name, ino)
      flattened.add(ino)
      try {
        await data.flatten(ctx, ino, 'copy', progress, async (tx) => void await tree.settleHolds(tx, ino))
      } catch (e) {
        if (e instanceof PosixError && e.code === 'ENOSPC') throw new VolumeError('full', `The pool has too little space for all that ${name} shows: free some, or enlarge the pool (ogee grow), and call it again. What was copied is its own now.`)
        throw e
      } finally {
        flattened.delete(ino)
      }
      await durable()
      parts.released()
      return infoOf(name, ino)
    },

    async resize(name, sizeBytes, cut) {
      checkVolumeSize(sizeBytes)
      const ino = await inoOf(name)
      refuseKept(name, ino)
      const before = await infoOf(name, ino)
      if (sizeBytes < before.sizeBytes) {
        if (cut === 'keep') throw new VolumeError('usage', `Volume ${name} has ${before.sizeBytes} bytes, and a smaller one loses what lies behind ${sizeBytes}: make what is on it smaller first, then add --shrink.`)
        if (before.opens > 0) throw inUse(name, shared.get(ino)!, 'make it smaller')
      }
      const { sizeBytes: now } = await data.truncate(ctx, ino, sizeBytes, QUIET)
      const open = shared.get(ino)
      if (open !== undefined) open.sizeBytes = now
      await data.sync(ctx, ino)
      await durable()
      return infoOf(name, ino)
    },

    async rename(name, newName) {
      checkVolumeName(newName)
      const ino = await inoOf(name)
      await refusing(newName, engine.transact(ctx, (tx) => tree.renameVolume(tx, name, newName)))
      const open = shared.get(ino)
      if (open !== undefined) open.name = newName
      await durable()
      return infoOf(newName, ino)
    },

    async remove(name) {
      const ino = await inoOf(name)
      refuseKept(name, ino)
      const open = shared.get(ino)
      if (open !== undefined) throw inUse(name, open, 'remove it')
      if (flattened.has(ino)) throw new VolumeError('in-use', `Volume ${name} is being flattened: stop that first.`)
      const removing = op()
      await refusing(name, engine.transact(ctx, (tx) => {
        const there = shared.get(ino) // opened meanwhile
        if (there !== undefined) throw inUse(name, there, 'remove it')
        return tree.removeVolume(tx, removing, name)
      }).catch(async (e: unknown) => {
        throw e instanceof PosixError && e.code === 'ETXTBSY' ? await hasClones(name, ino) : e
      }))
      await durable()
      parts.removed(ino)
      parts.released()
    },

    async open(asked, who) {
      const at = asked.indexOf('@')
      const name = at < 0 ? asked : asked.slice(0, at)
      if (at >= 0) return openPast(parts, ctx, name, await inoOf(name), asked.slice(at + 1))
      const ino = await inoOf(name)
      if (await tree.isRollingBack(engine.reader(ctx), ino) && !kept.has(ino)) throw new VolumeError('in-use', `Volume ${name} could not be rolled back to the end: unmount the pool and run "ogee fsck".`)
      const { sizeBytes } = await infoOf(name, ino)
      refuseKept(name, ino)
      let volume = shared.get(ino)
      if (volume === undefined) shared.set(ino, (volume = { ino, name, sizeBytes, clients: new Map(), writer: undefined }))
      let client = volume.clients.get(who)
      if (client === undefined) volume.clients.set(who, (client = { who, handles: 0, inFlight: 0, fenced: false, drained: () => undefined }))
      client.handles++
      if (await tree.volume(engine.reader(ctx), name) !== ino) { // removed or renamed while we asked
        leave(shared, volume, client)
        throw missing(name)
      }
      return handleOf(data, engine, ctx, volume, client, () => leave(shared, volume, client))
    },

    async whileClosed(name, what, fn) {
      const ino = await inoOf(name)
      refuseKept(name, ino)
      const open = shared.get(ino)
      if (open !== undefined) throw inUse(name, open, what)
      if (flattened.has(ino)) throw new VolumeError('in-use', `Volume ${name} is being flattened: stop that before you ${what}.`)
      kept.set(ino, what)
      try {
        return await fn(ino)
      } finally {
        kept.delete(ino)
      }
    },

    async takeOver(name) {
      const open = shared.get(await inoOf(name))
      const writer = open?.writer
      if (open === undefined || writer === undefined) return undefined
      writer.fenced = true
      open.writer = undefined
      if (writer.inFlight > 0) await new Promise<void>((resolve) => (writer.drained = resolve))
      return writer.who
    }
  }
}

function leave(shared: Map<number, Shared>, volume: Shared, client: Client): void {
  if (--client.handles > 0) return
  volume.clients.delete(client.who)
  if (volume.writer === client) volume.writer = undefined
  if (volume.clients.size === 0) shared.delete(volume.ino)
}

function handleOf(data: Data, engine: Engine, ctx: Context, volume: Shared, client: Client, left: () => void): OpenVolume {
  const { ino } = volume
  let closed = false

  /** The lease, or why not. */
  const take = (): void => {
    if (volume.writer === client) return
    if (closed || client.fenced) throw new PosixError('EIO', refusalOf(volume, client))
    if (volume.writer !== undefined) throw new PosixError('EPERM', refusalOf(volume, client))
    volume.writer = client
  }

  const done = (): void => {
    if (--client.inFlight === 0) client.drained()
  }

  const change = async (work: () => Promise<Content>): Promise<void> => {
    take()
    client.inFlight++
    try {
      await work()
    } finally {
      done()
    }
  }

  return {
    get name() {
      return volume.name
    },
    get sizeBytes() {
      return volume.sizeBytes
    },
    claim: take,
    get refusal() {
      return refusalOf(volume, client)
    },
    read: (offset, length, into, at) => data.read(ctx, ino, NOW, offset, length, into, at),
    write(offset, from, at, length) {
      take()
      const answer = data.write(ctx, ino, offset, from, at, length, QUIET)
      return answer instanceof Promise ? change(() => answer) : undefined
    },
    trim: (offset, length) => change(() => data.punch(ctx, ino, offset, length, QUIET)),
    zero: (offset, length, space) => change(() => (space === 'free' ? data.punch(ctx, ino, offset, length, QUIET) : data.zero(ctx, ino, offset, length, true, QUIET))),
    layout: (offset, length, limit) => data.layout(ctx, ino, NOW, offset, length, limit),
    async flush() {
      const committed = engine.committedSeq()
      await data.sync(ctx, ino)
      if (engine.durableSeq() < committed) await engine.sync(ctx)
    },
    close() {
      if (closed) return
      closed = true
      left()
    }
  }
}

function refusalOf(volume: Shared, client: Client): string | undefined {
  if (client.fenced) return `Another client took over volume ${volume.name}: nothing of this one is written any more; connect again.`
  const { writer } = volume
  return writer === undefined || writer === client ? undefined : `Volume ${volume.name} is being written by ${writer.who}: disconnect it there, or take over (--takeover).`
}

const missing = (name: string): VolumeError => new VolumeError('missing', `There is no volume ${name}: \`ogee volume list\` names those that are there.`)

function inUse(name: string, { clients }: Shared, what: string): VolumeError {
  return new VolumeError('in-use', `Volume ${name} is in use by ${[...clients.keys()].join(', ')}: disconnect it there before you ${what}.`)
}

const existing = (name: string, e: PosixError): Error => e.code !== 'EEXIST' ? e
  : new VolumeError('exists', `There is a volume ${name} already: choose another name, or remove that one first (ogee volume rm POOL ${name}).`)

async function refusing<T>(name: string, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (e) {
    if (!(e instanceof PosixError)) throw e
    if (e.code === 'EEXIST') throw existing(name, e)
    if (e.code === 'ENOENT') throw missing(name)
    if (e.code === 'ENOTEMPTY') throw new VolumeError('in-use', `Volume ${name} has snapshots: remove them first (ogee snapshot list POOL ${name}).`)
    throw e
  }
}
