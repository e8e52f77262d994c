/**
 * A tree that goes back to snapshots and keeps a trash, under power cuts. One client does one thing after the other to the root tree (or to a
 * subvolume); what rollbacks replaced and what left the trash goes in the background meanwhile. The law:
 *   1. Names, trash and snapshots are together what they were after one of the client's steps: none that was durable is missing, nor one that
 *      is older than a second. A rollback is there wholly or not at all, and all snapshots stay, older and younger ones.
 *   2. A step that is several transactions (a folder comes out of the trash; a trash is emptied) lies between before and after: each thing is in one place.
 *   3. A file that was synced, or that a snapshot holds, has all its bytes; any other has the first of them.
 *   4. What goes on in the background changes nothing that anybody sees; after it the check finds nothing; when all is removed, no row is left.
 */
import { checkData } from '../../src/data/index.js'
import type { KeyedRow } from '../../src/engine/index.js'
import { checkTree } from '../../src/meta/index.js'
import { Refusal } from '../../src/pool/index.js'
import { backgroundContext } from '../../src/sys/index.js'
import type { ManualClock, Random } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { signatureText, signedBytes } from './history.js'
import { moving, quiet, SPACE_BYTES } from './machine.js'
import type { OpenedPool } from './machine.js'
import { readFile } from './verdict.js'
import type { Moment } from './verdict.js'

const ctx = backgroundContext()
const how = { killSuidgid: false, append: false } as const
const S_IFDIR = 0o040000
const O_RDWR = 2
const NAMES_BEHIND_MS = 1000
const SNAPSHOTS_MAX = 3
const NAMES_MAX = 60
/** Of what is reclaimed in the background. */
const ROUNDS_MAX = 50
const ROWS_LEFT: readonly string[] = ['H', 'K', 'L', 'F', 'J', 'Y', 'W', 'Q', 'O']

/** Paths below the top to 'd' or 'f'. */
type Names = ReadonlyMap<string, string>
export interface State {
  readonly names: Names
  /** Names, in order; one may be there twice. */
  readonly trash: readonly string[]
  readonly snapshots: ReadonlyMap<string, Names>
}

/** With the lengths of the tree's files, by name. */
export interface Found extends State {
  readonly lengths: ReadonlyMap<string, number>
}

interface Step {
  readonly what: string
  readonly startMs: number
  endMs: number
  /** Undefined: not known, or not yet. */
  after: State | undefined
  /** It makes all before it durable. */
  isSync: boolean
  /** What may be seen in the middle of it. */
  readonly isBetween: (before: State, found: State) => boolean
}

interface Content {
  bytes: Buffer
  syncedMs: number
  isLinked: boolean
}

export interface TreeHistory {
  /** '/' or a subvolume. */
  readonly top: string
  readonly steps: Step[]
  /** By a file's name, which is used once; a link has one of its own. */
  readonly contents: Map<string, Content>
  next: number
}

const never = (): boolean => false

/** What was found after a cut is where the next generation begins: all of it is durable. */
export function makeTreeHistory(top: string, found: Found = { names: new Map(), trash: [], snapshots: new Map(), lengths: new Map() }, before?: TreeHistory): TreeHistory {
  const contents = new Map<string, Content>()
  const copies = new Map<Content, Content>()
  for (const [name, content] of before?.contents ?? []) {
    const length = found.lengths.get(name)
    const copy = copies.get(content) ?? { ...content, syncedMs: Infinity }
    copies.set(content, copy)
    if (length !== undefined) {
      copy.bytes = content.bytes.subarray(0, length)
      copy.syncedMs = -Infinity
    }
    contents.set(name, copy)
  }
  return { top, contents, next: before?.next ?? 0, steps: [{ what: 'begin', startMs: -Infinity, endMs: -Infinity, after: found, isSync: true, isBetween: never }] }
}

const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
const isSameNames = (a: Names, b: Names): boolean => a.size === b.size && [...a].every(([path, what]) => b.get(path) === what)
const isSameList = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && a.every((x, i) => x === b[i])
const isSame = (a: State, b: State): boolean => isSameNames(a.names, b.names) && isSameList(a.trash, b.trash) && isSameSnapshots(a, b)
const isSameSnapshots = (a: State, b: State): boolean =>
  a.snapshots.size === b.snapshots.size && [...a.snapshots].every(([name, names]) => b.snapshots.has(name) && isSameNames(names, b.snapshots.get(name)!))
/** Nothing is lost or there twice, and what was in the tree is where it was. */
const isRestoring = (before: State, found: State): boolean => isSameSnapshots(before, found) && [...before.names].every(([path, what]) => found.names.get(path) === what) &&
  isSameList([...[...before.names.keys()].map(last), ...before.trash].sort(), [...[...found.names.keys()].map(last), ...found.trash].sort())
const isEmptying = (before: State, found: State): boolean => isSameSnapshots(before, found) && isSameNames(before.names, found.names) &&
  found.trash.every((name) => found.trash.filter((n) => n === name).length <= before.trash.filter((n) => n === name).length)

export async function nodeAt(vfs: Vfs, path: string): Promise<number> {
  let node = ROOT_NODE
  for (const name of path.split('/').filter((n) => n !== '')) node = (await vfs.lookup(ctx, node, name))!.ino
  return node
}

async function namesBelow(vfs: Vfs, dir: number, each: (path: string, ino: number) => Promise<void>, path = '', into = new Map<string, string>()): Promise<Map<string, string>> {
  const entries: { name: string, ino: number, type: number }[] = []
  await vfs.readdir(ctx, dir, 0, 0, 0, { entry: (name, ino, type) => (name === '.' || name === '..' || entries.push({ name, ino, type }) > 0) }, false)
  for (const { name, ino, type } of entries) {
    const at = `${path}/${name}`
    into.set(at, type === S_IFDIR ? 'd' : 'f')
    if (type === S_IFDIR) await namesBelow(vfs, ino, each, at, into)
    else await each(at, ino)
  }
  return into
}

export interface TreeWorld {
  readonly opened: OpenedPool
  readonly history: TreeHistory
  readonly random: Random
  nowMs(): number
}

/** What the pool shows; files are told to `each`, with the name of the snapshot that they are in. */
async function stateOf({ pool }: OpenedPool, top: string, each: (snapshot: string | undefined, path: string, bytes: Buffer) => void): Promise<State> {
  const { vfs } = pool
  const root = await nodeAt(vfs, top)
  const read = (snapshot: string | undefined) => async (path: string, ino: number): Promise<void> => each(snapshot, path, await readFile(vfs, ino))
  const names = await namesBelow(vfs, root, read(undefined))
  const trash: string[] = []
  await pool.trash.list(top, ({ name }) => void trash.push(name))
  const snapshots = new Map<string, Names>()
  for (const { name } of await pool.snapshots.list(top)) {
    const list = (await vfs.lookup(ctx, root, '.snapshots'))!.ino
    snapshots.set(name, await namesBelow(vfs, (await vfs.lookup(ctx, list, name))!.ino, read(name)))
  }
  return { names, trash: trash.sort(), snapshots }
}

/** One step of the client's; a step that is refused, as it may be, is none. */
export async function stepInTree({ opened, history, random, nowMs }: TreeWorld): Promise<void> {
  const { pool } = opened
  const { vfs } = pool
  const { top, steps, contents } = history
  const at = top === '/' ? '' : top
  const upTo = (n: number): number => random.uint32() % n
  const pick = <T>(from: readonly T[]): T | undefined => (from.length === 0 ? undefined : from[upTo(from.length)])
  const { names, trash, snapshots } = steps.at(-1)!.after!
  const folders = ['', ...[...names].filter(([, what]) => what === 'd').map(([path]) => path)]
  const files = [...names].filter(([, what]) => what === 'f').map(([path]) => path)
  const parentOf = (path: string): Promise<number> => nodeAt(vfs, at + path.slice(0, path.lastIndexOf('/')))
  const fresh = (kind: string): string => `${pick(folders)}/${kind}${history.next++}`
  const synced = (): void => void contents.forEach((c, name) => {
    if ([...names.keys()].some((path) => last(path) === name)) c.syncedMs = Math.min(c.syncedMs, nowMs())
  })

  async function step(what: string, after: Partial<State> | undefined, act: () => Promise<unknown>, more: { isSync?: boolean, isBetween?: Step['isBetween'] } = {}): Promise<void> {
    const made: Step = { what, startMs: nowMs(), endMs: Infinity, after: after === undefined ? undefined : { names, trash, snapshots, ...after }, isSync: more.isSync === true, isBetween: more.isBetween ?? never }
    steps.push(made)
    try {
      await act()
    } catch (e) {
      if (!(e instanceof Refusal)) throw e
      steps.pop()
      return
    }
    made.after ??= await stateOf(opened, top, () => undefined)
    made.endMs = nowMs()
    if (what === 'sync' || what.startsWith('snapshot ')) synced() // bytes too
  }
  const isOn = async (): Promise<boolean> => (await pool.trash.states()).some((t) => t.of === top && t.on)
  const without = (path: string): Map<string, string> => new Map([...names].filter(([p]) => p !== path))
  const removed = async (path: string): Promise<Partial<State>> => ({ names: without(path), trash: await isOn() ? [...trash, last(path)].sort() : trash })

  const chance = upTo(100)
  if (chance < 24 && names.size < NAMES_MAX) {
    const path = fresh('f')
    const isSync = upTo(3) > 0
    const content: Content = { bytes: signedBytes(history.next, 1, 0, 1 + upTo([200, 3000, 20_000, 150_000][upTo(4)])), syncedMs: Infinity, isLinked: false }
    contents.set(last(path), content)
    await step(`create ${path}`, { names: new Map([...names, [path, 'f']]) }, async () => {
      const { attr: { ino }, handle } = await vfs.create(ctx, await parentOf(path), last(path), 0o644, 0, O_RDWR)
      await vfs.write(ctx, ino, handle, 0, content.bytes, 0, content.bytes.length, how)
      if (isSync) await vfs.fsync(ctx, ino, handle, false)
      await vfs.release(ctx, ino, handle)
      if (isSync) content.syncedMs = nowMs()
    })
    if (isSync) steps.at(-1)!.isSync = true
  } else if (chance < 32) {
    const path = fresh('d')
    await step(`mkdir ${path}`, { names: new Map([...names, [path, 'd']]) }, async () => vfs.mkdir(ctx, await parentOf(path), last(path), 0o755, 0))
  } else if (chance < 37) {
    const from = pick(files)
    const path = fresh('l')
    if (from === undefined) return
    const content = contents.get(last(from))!
    content.isLinked = true
    contents.set(last(path), content)
    await step(`link ${from} ${path}`, { names: new Map([...names, [path, 'f']]) }, async () => vfs.link(ctx, await nodeAt(vfs, at + from), await parentOf(path), last(path)))
  } else if (chance < 42) {
    const from = pick(files)
    const path = fresh('r')
    if (from === undefined) return
    contents.set(last(path), contents.get(last(from))!)
    await step(`rename ${from} ${path}`, { names: new Map([...without(from), [path, 'f']]) }, async () => vfs.rename(ctx, await parentOf(from), last(from), await parentOf(path), last(path), 0))
  } else if (chance < 56) {
    const path = pick(files)
    if (path !== undefined) await step(`unlink ${path}`, await removed(path), async () => vfs.unlink(ctx, await parentOf(path), last(path)))
  } else if (chance < 64) {
    const path = pick(folders.filter((p) => p !== '' && ![...names.keys()].some((other) => other.startsWith(`${p}/`))))
    if (path !== undefined) await step(`rmdir ${path}`, await removed(path), async () => vfs.rmdir(ctx, await parentOf(path), last(path)))
  } else if (chance < 71 && snapshots.size < SNAPSHOTS_MAX) {
    const name = `s${history.next++}`
    await step(`snapshot ${name}`, { snapshots: new Map([...snapshots, [name, names]]) }, () => pool.snapshots.create(`${top}@${name}`), { isSync: true })
  } else if (chance < 75) {
    const name = pick([...snapshots.keys()])
    if (name !== undefined) await step(`remove snapshot ${name}`, { snapshots: new Map([...snapshots].filter(([n]) => n !== name)) }, () => pool.snapshots.remove(`${top}@${name}`), { isSync: true })
  } else if (chance < 84) {
    const name = pick([...snapshots.keys()])
    if (name !== undefined) await step(`back to ${name}`, { names: snapshots.get(name)! }, () => pool.snapshots.rollBack(`${top}@${name}`, 'refuse'), { isSync: true })
  } else if (chance < 87) {
    if (upTo(3) > 0) await step('trash on', {}, () => pool.trash.enable(top, 1), { isSync: true })
    else await step('trash off', {}, () => pool.trash.disable(top))
  } else if (chance < 95) {
    const lines: { readonly id: number, readonly name: string }[] = []
    await pool.trash.list(top, (line) => void lines.push(line))
    const line = pick(lines.filter(({ id, name }) => contents.get(name)?.isLinked !== true && lines.filter((other) => other.id === id).length === 1))
    if (line !== undefined) await step(`restore ${line.name}`, undefined, () => pool.trash.restore(String(line.id), top, 'together', () => undefined), { isSync: true, isBetween: isRestoring })
    const made = steps.at(-1)!
    if (line !== undefined && made.what === `restore ${line.name}` && !isRestoring({ names, trash, snapshots }, made.after!)) throw new Error(`${made.what}: something is lost or there twice`)
  } else if (chance < 97) await step('empty the trash', { trash: [] }, () => pool.trash.empty(top, undefined), { isSync: true, isBetween: isEmptying })
  else if (chance < 99) await step('sync', {}, () => pool.sync(), { isSync: true })
  else await opened.engine.checkpoint()
}

/** Problems, none if all is well; and what is there. */
export async function judgeTree(opened: OpenedPool, clock: ManualClock, history: TreeHistory, moment: Moment): Promise<{ wrong: string[], found: Found, hasLost: boolean }> {
  const wrong: string[] = []
  const lengths = new Map<string, number>()
  const found = await moving(clock, 0, stateOf(opened, history.top, (snapshot, path, bytes) => {
    if (snapshot === undefined) lengths.set(last(path), bytes.length)
    const content = history.contents.get(last(path))
    const isWhole = snapshot !== undefined || (content?.syncedMs ?? Infinity) <= moment.ms
    const rest = content === undefined ? undefined : content.bytes.compare(bytes, 0, bytes.length, 0, bytes.length)
    if (content === undefined || rest !== 0 || (isWhole && bytes.length < content.bytes.length)) wrong.push(`${snapshot ?? ''}${path} has ${bytes.length} of ${content?.bytes.length} bytes, the first of ${signatureText(bytes, 0)}`)
  }))
  const { steps } = history
  const begun = steps.filter((s) => s.startMs <= moment.ms)
  let needed = 0
  begun.forEach((s, n) => {
    if (s.endMs > moment.ms) return
    if (s.isSync || moment.kind === 'death' || s.endMs < moment.ms - NAMES_BEHIND_MS - moment.slackMs) needed = n
  })
  const fits = (n: number): boolean => {
    const { after, endMs, isBetween } = begun[n]
    if (after !== undefined && isSame(after, found)) return true
    return endMs > moment.ms && n > 0 && isBetween(begun[n - 1].after!, found)
  }
  const at = begun.findLastIndex((_, n) => fits(n))
  if (at < needed) wrong.push(at < 0 ? `nothing that was ever so; after "${begun[needed].what}" it was ${differenceOf(begun[needed].after!, found)}` : `"${begun[needed].what}" is gone, there is "${begun[at].what}": ${differenceOf(begun[needed].after!, found)}`)
  for await (const { ino, what } of checkTree(opened.engine.reader(ctx))) wrong.push(`tree: inode ${ino} ${what}`)
  for (const what of await checkData(opened.engine, SPACE_BYTES)) wrong.push(`data: ${what}`)
  return { wrong, found: { ...found, lengths }, hasLost: at < begun.length - 1 }
}

function differenceOf(wanted: State, found: State): string {
  const texts = ({ names, trash, snapshots }: State): string[] => [...[...names.keys()].map((p) => `name ${p}`), ...trash.map((n) => `trash ${n}`), ...[...snapshots].flatMap(([s, below]) => [`snapshot ${s}`, ...[...below.keys()].map((p) => `@${s}${p}`)])]
  const [a, b] = [texts(wanted), texts(found)]
  return `without ${a.filter((x) => !b.includes(x)).slice(0, 5).join(', ')}, with ${b.filter((x) => !a.includes(x)).slice(0, 5).join(', ')}`
}

/** What goes on in the background is seen by nobody. */
export async function judgeSettled(opened: OpenedPool, clock: ManualClock, { top }: TreeHistory, before: State, wrong: string[]): Promise<void> {
  await quiet(clock, opened.engine)
  await moving(clock, 1, opened.pool.snapshots.settle())
  await quiet(clock, opened.engine)
  const after = await moving(clock, 0, stateOf(opened, top, () => undefined))
  if (!isSame(before, after)) wrong.push(`the background changed what is seen: ${differenceOf(before, after)}`)
  if ((await opened.engine.reader(ctx).scan({ from: 'Y', to: 'Z', limit: 1 })).length > 0) wrong.push('what a rollback replaced is still there')
  for await (const { ino, what } of checkTree(opened.engine.reader(ctx))) wrong.push(`tree, settled: inode ${ino} ${what}`)
}

/** All is removed, and nothing is left of it. */
export async function judgeRemoved(opened: OpenedPool, clock: ManualClock, { top }: TreeHistory, wrong: string[]): Promise<void> {
  const { pool, engine } = opened
  const clear = async (dir: number): Promise<void> => {
    const names = await namesBelow(pool.vfs, dir, () => Promise.resolve())
    for (const [path, what] of [...names].reverse()) {
      const parent = await nodeAt(pool.vfs, `${top === '/' ? '' : top}${path.slice(0, path.lastIndexOf('/'))}`)
      await (what === 'd' ? pool.vfs.rmdir(ctx, parent, last(path)) : pool.vfs.unlink(ctx, parent, last(path)))
    }
  }
  await moving(clock, 1, (async () => {
    await pool.trash.disable(top)
    await clear(await nodeAt(pool.vfs, top))
    await pool.trash.empty(top, undefined)
    for (const { name } of await pool.snapshots.list(top)) await pool.snapshots.remove(`${top}@${name}`)
    await pool.snapshots.settle()
  })())
  const rowsOf = async (kind: string): Promise<readonly KeyedRow[]> => engine.reader(ctx).scan({ from: kind, to: String.fromCharCode(kind.charCodeAt(0) + 1), limit: 10 })
  for (let round = 0; round < ROUNDS_MAX && (await rowsOf('O')).length > 0; round++) { // a batch at a time, and then what they held
    await moving(clock, 1, opened.vfs.settle())
    await quiet(clock, engine)
  }
  await moving(clock, 1, pool.snapshots.settle())
  for (const kind of ROWS_LEFT) {
    const rows = await rowsOf(kind)
    if (rows.length > 0) wrong.push(`with all removed, rows ${kind} are left: ${rows.map(({ key }) => Buffer.from(key, 'latin1').toString('hex')).join(', ')}`)
  }
  for await (const { ino, what } of checkTree(engine.reader(ctx))) wrong.push(`tree, with all removed: inode ${ino} ${what}`)
  for (const what of await checkData(engine, SPACE_BYTES)) wrong.push(`data, with all removed: ${what}`)
}
