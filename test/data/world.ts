/**
 * A pool without a tree, for tests of the data floor: inodes are rows of size, durable size, allocated bytes and inline bytes, in
 * one domain that can be snapshotted. The engine is `memory`, with a journal, so that a power cut keeps a prefix of its commits;
 * the disk is simulated. When the daemon died, or the power went, what it had under way comes to nothing: nothing is committed, no promise ends.
 */
import assert from 'node:assert/strict'
import { makeMemoryServer, openMemory } from '../../src/engine/index.js'
import type { Engine, MaybePromise, MemoryServer, Row, Tx } from '../../src/engine/index.js'
import { birthOf, checkData, decodePast, NOW, openData, pastAt, putOrigin, retire } from '../../src/data/index.js'
import type { ChangeContent, ChangeContents, Content, ContentAfter, Data, DataOptions, FileRef, ReadContent } from '../../src/data/index.js'
import { formatSpace, GROUP_BYTES, openSpace } from '../../src/store/index.js'
import type { Store } from '../../src/store/index.js'
import { get64, manualClock, PosixError, rootContext as ctx, seededRandom, set64, viewOf } from '../../src/sys/index.js'
import type { ManualClock, Random } from '../../src/sys/index.js'
import { makeDisk } from '../store/disk.js'
import type { Disk } from '../store/disk.js'

export const quiet = { touch: undefined, killSuidgid: false } as const
const inodeKey = (ino: number): string => `I${String.fromCharCode(ino >> 8, ino & 255)}`
const DOMAIN = 'M'

function encodeInode(birth: number, c: Content): Uint8Array {
  const bytes = new Uint8Array(34 + (c.inline?.length ?? 0))
  const v = viewOf(bytes)
  bytes[0] = 1
  set64(v, 1, birth)
  set64(v, 9, c.sizeBytes)
  set64(v, 17, c.durableSizeBytes)
  set64(v, 25, c.allocatedBytes)
  bytes[33] = (c.inline === undefined ? 0 : 1) | (c.hasOrigin ? 2 : 0)
  bytes.set(c.inline ?? [], 34)
  return bytes
}
function decodeInode(bytes: Uint8Array): Content {
  const v = viewOf(bytes)
  return { sizeBytes: get64(v, 9), durableSizeBytes: get64(v, 17), allocatedBytes: get64(v, 25), inline: (bytes[33] & 1) !== 0 ? bytes.slice(34) : undefined, hasOrigin: (bytes[33] & 2) !== 0 }
}

/** Decoded once per row, as meta does: the data floor tells by the object whether somebody changed the inode. */
const contentOfRow = (row: Row): Content => (row.decoded ??= decodeInode(row.bytes)) as Content

type Call = (tx: Tx) => void
export interface World {
  readonly disk: Disk
  readonly groups: number
  clock: ManualClock
  server: MemoryServer
  engine: Engine
  store: Store
  data: Data
  readContent: ReadContent
  journal: Call[][]
  durable: number
  /** Transactions so far, tries included. */
  bodies: number
  /** The next commit is heard of when this resolves. */
  late: Promise<void> | undefined
  /** Transactions fail when their bodies ran. */
  isFailing: boolean
  /** The daemon's. */
  life: { isOver: boolean }
}
export interface WorldOptions {
  readonly groups?: number
  readonly conflictChance?: number
  readonly data?: Partial<DataOptions>
}

/** The tx, with what changes rows written down. */
function recorded(tx: Tx, calls: Call[]): Tx {
  const names = ['put', 'delete', 'createCounters', 'addCounters', 'setCounters', 'deleteCounters', 'setBits', 'clearBits'] as const
  return new Proxy(tx, {
    get(target, name) {
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      const call = value as (...args: unknown[]) => unknown
      if (!(names as readonly string[]).includes(name as string)) return call.bind(target)
      return (...args: unknown[]) => {
        calls.push((t) => void (Reflect.get(t, name) as (...a: unknown[]) => unknown).apply(t, args))
        return call.apply(target, args)
      }
    }
  })
}

const never = <T>(): Promise<T> => new Promise<T>(() => undefined)

function openEngine(w: World, options: WorldOptions, recovery?: Partial<Engine['recovery']>): void {
  const inner = openMemory({ server: w.server, clock: w.clock, random: seededRandom(7), conflictChance: options.conflictChance ?? 0 })
  const { life, journal } = w
  w.engine = {
    ...inner,
    recovery: { ...inner.recovery, ...recovery },
    async transact(c, body, request) {
      if (life.isOver) return never()
      let calls: Call[] = []
      const result = await inner.transact(c, (tx) => {
        w.bodies++
        calls = []
        const answer = body(recorded(tx, calls))
        const ended = <T>(value: T): MaybePromise<T> => {
          if (w.isFailing) throw new Error('no')
          return life.isOver ? never() : value
        }
        return answer instanceof Promise ? answer.then(ended) : ended(answer)
      }, request)
      if (calls.length > 0) journal.push(calls)
      const { late } = w
      w.late = undefined
      await late
      return life.isOver ? never() : result
    },
    committedSeq: () => w.journal.length,
    durableSeq: () => w.durable,
    async sync() {
      const upTo = journal.length
      await new Promise((resolve) => setImmediate(resolve))
      if (life.isOver) return never()
      w.durable = Math.max(w.durable, upTo)
    }
  }
}

/** Nothing of the daemon comes to pass from now on. */
function endLife(w: World): void {
  w.life.isOver = true
  w.life = { isOver: false }
  w.server = { ...w.server, gate: makeMemoryServer().gate } // somebody may be inside, for ever
  w.disk.died()
}

export const domainOf = async (r: { get: Tx['get'] }): Promise<{ epoch: number; newestSnapshot: number }> => {
  const row = await r.get(DOMAIN)
  if (row === undefined) return { epoch: 1, newestSnapshot: 0 }
  const v = viewOf(row.bytes)
  return { epoch: get64(v, 1), newestSnapshot: get64(v, 9) }
}

async function openFloors(w: World, options: WorldOptions): Promise<void> {
  const { engine } = w // this daemon's
  w.store = await openSpace({ engine: engine, path: 'space', clock: w.clock, io: w.disk })
  const changeIn = async (tx: Tx, ino: number, body: Parameters<ChangeContent>[3]): Promise<ContentAfter> => {
    const domain = await domainOf(tx)
    const row = await tx.get(inodeKey(ino))
    if (row === undefined) throw new PosixError('ESTALE')
    const before = contentOfRow(row)
    const ref: FileRef = { ino, ...domain }
    const after = await body(tx, ref, before)
    retire(tx, inodeKey(ino), birthOf(row.bytes), row.bytes, domain)
    tx.put(inodeKey(ino), encodeInode(domain.epoch, after), after)
    return after
  }
  const changeContent: ChangeContent = (c, ino, _effects, body) => engine.transact(c, (tx) => changeIn(tx, ino, body))
  const changeContents: ChangeContents = (c, _effects, changes) => engine.transact(c, async (tx) => {
    const contents: ContentAfter[] = []
    for (const { ino, body } of changes) contents.push(await changeIn(tx, ino, body))
    return contents
  })
  const readContent: ReadContent = (c, ino, view) => {
    const row = engine.reader(c).get(inodeKey(ino))
    assert.ok(!(row instanceof Promise))
    if (row !== undefined && (view === NOW || birthOf(row.bytes) <= view)) return contentOfRow(row)
    const past = row === undefined ? undefined : pastAt(engine.reader(c), inodeKey(ino), view)
    assert.ok(!(past instanceof Promise))
    if (past === undefined) throw new PosixError('ESTALE')
    return decodeInode(past.bytes)
  }
  w.readContent = readContent
  w.data = openData({ engine: engine, store: w.store, clock: w.clock, changeContent, changeContents, readContent, ...options.data })
  await w.data.recover(ctx)
}

export async function makeWorld(options: WorldOptions = {}): Promise<World> {
  const groups = options.groups ?? 16
  const w = { disk: makeDisk(), groups, clock: manualClock(), server: makeMemoryServer(), journal: [] as Call[][], durable: 0, bodies: 0, isFailing: false, life: { isOver: false } } as unknown as World
  openEngine(w, options)
  await formatSpace({ engine: w.engine, path: 'space', sizeBytes: groups * GROUP_BYTES, random: seededRandom(1), io: w.disk })
  await openFloors(w, options)
  return w
}

export const makeFile = (w: World, ino: number): Promise<void> => w.engine.transact(ctx, async (tx) => {
  tx.put(inodeKey(ino), encodeInode((await domainOf(tx)).epoch, { sizeBytes: 0, durableSizeBytes: 0, allocatedBytes: 0, inline: undefined, hasOrigin: false }))
})
/** A new file that shows what another one shows at a view. The caller holds the view. */
export const cloneFile = (w: World, from: number, epoch: number, ino: number): Promise<void> => w.engine.transact(ctx, async (tx) => {
  const past = await w.readContent(ctx, from, epoch)
  const { epoch: birth } = await domainOf(tx)
  tx.put(inodeKey(ino), encodeInode(birth, { ...past, hasOrigin: true }))
  putOrigin(tx, ino, { birth, ino: from, epoch, limit: Math.ceil(past.sizeBytes / 4096) * 4096 })
})
export const contentOf = (w: World, ino: number): Content => {
  const row = w.engine.reader(ctx).get(inodeKey(ino))
  assert.ok(row !== undefined && !(row instanceof Promise))
  return decodeInode(row.bytes)
}

/** A snapshot; answers its epoch. */
export const snapshot = (w: World): Promise<number> => w.data.quiesce(ctx, () => w.engine.transact(ctx, async (tx) => {
  const { epoch } = await domainOf(tx)
  const bytes = new Uint8Array(17)
  set64(viewOf(bytes), 1, epoch + 1)
  set64(viewOf(bytes), 9, epoch)
  tx.put(DOMAIN, bytes)
  return epoch
}))

/** Removes a snapshot's name: `left` are the epochs of the others. What nobody needs then goes by `sweep`. */
export const removeSnapshot = (w: World, left: readonly number[]): Promise<void> => w.engine.transact(ctx, async (tx) => {
  const bytes = new Uint8Array(17)
  set64(viewOf(bytes), 1, (await domainOf(tx)).epoch)
  set64(viewOf(bytes), 9, Math.max(0, ...left))
  tx.put(DOMAIN, bytes)
})

/** Gives back what none of these epochs shows, in small steps; `steps` of them at most. */
export async function sweep(w: World, epochs: readonly number[], steps = Infinity): Promise<void> {
  await w.data.flush()
  const rows = (await w.engine.reader(ctx).scan({ from: 'H', to: 'I', limit: Infinity })).map((row) => ({ key: row.key, past: decodePast(row) }))
  const keys = rows.filter(({ past }) => !epochs.some((e) => past.birth <= e && e < past.death)).map(({ key }) => key)
  for (let i = 0; i < keys.length && i < steps * 3; i += 3) await w.data.dropHistory(ctx, keys.slice(i, i + 3))
}

export async function closeAndOpen(w: World, options: WorldOptions = {}): Promise<void> {
  await w.data.close()
  await w.store.close()
  assert.equal(w.clock.pending, 0, 'no timer is left')
  w.clock = manualClock()
  openEngine(w, options, { clean: true })
  await openFloors(w, options)
}

/** The daemon dies: everything committed and the page cache are still there. */
export async function die(w: World, options: WorldOptions = {}): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve)) // who has committed has written that down
  endLife(w)
  w.clock = manualClock()
  w.durable = w.journal.length // the next opening syncs the log before it answers for what it replayed
  openEngine(w, options, { clean: false, sameBoot: true })
  await openFloors(w, options)
}

/** A power cut: a prefix of the commits, at least the durable ones, and what the disk made of the page cache. */
export async function cutPower(w: World, random: Random, options: WorldOptions = {}): Promise<void> {
  endLife(w)
  const kept = w.journal.slice(0, w.durable + (random.uint32() % (w.journal.length - w.durable + 1)))
  w.disk.cut(random)
  w.server = makeMemoryServer()
  const replay = openMemory({ server: w.server })
  for (const calls of kept) await replay.transact(ctx, (tx) => calls.forEach((call) => call(tx)))
  w.journal = kept
  w.durable = kept.length
  w.clock = manualClock()
  openEngine(w, options, { clean: false, sameBoot: false })
  await openFloors(w, options)
}

export async function readAll(w: World, ino: number, view = NOW): Promise<Uint8Array> {
  const bytes = new Uint8Array(4 * 1024 * 1024).fill(0xee)
  const n = await w.data.read(ctx, ino, view, 0, bytes.length, bytes, 0)
  return bytes.subarray(0, n)
}

export async function assertSound(w: World): Promise<void> {
  assert.deepEqual(await checkData(w.engine, w.groups * GROUP_BYTES, (ino) => contentOf(w, ino)), [])
  let logged = 0
  for (const { row } of await w.engine.reader(ctx).scan({ from: 'P', to: 'Q', limit: Infinity })) if (row.bytes[9] === 1) logged += row.bytes.length - 10
  assert.equal(w.data.status().loggedBytes, logged, 'logged bytes are counted: writers wait for them')
  assert.equal(w.disk.unpromised, 0, 'nothing is written to what the host never promised')
}

/** The rows that count shared units; ranges that lie together and count alike as one. */
export async function sharesOf(w: World): Promise<{ readonly start: number; readonly len: number; readonly count: number }[]> {
  const out: { start: number; len: number; count: number }[] = []
  for (const { key, row } of await w.engine.reader(ctx).scan({ from: 'Z', to: '[', limit: Infinity })) {
    const v = viewOf(row.bytes)
    const start = Number(Buffer.from(key, 'latin1').readBigUInt64BE(1))
    const [len, count] = [v.getUint32(9, true), v.getUint32(13, true)]
    const last = out.at(-1)
    if (last !== undefined && last.start + last.len === start && last.count === count) last.len += len
    else out.push({ start, len, count })
  }
  return out
}

/** Cut, or longer by zeros. */
export function resized(bytes: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(size)
  out.set(bytes.subarray(0, size))
  return out
}

export function assertSame(got: Uint8Array, want: Uint8Array, what: string): void {
  assert.equal(got.length, want.length, `${what}: size`)
  const at = got.findIndex((byte, i) => byte !== want[i])
  assert.equal(at, -1, `${what}: byte ${at} of ${want.length} is ${got[at]}, not ${want[at]}`)
}
