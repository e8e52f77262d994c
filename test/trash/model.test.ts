/** A tree with random changes, removals and restorations against a tree and a trash in memory, with snapshots, reopening and kill -9; in the end all space is back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TrashLine } from '../../src/pool/index.js'
import { rootContext as root } from '../../src/sys/index.js'
import { failingReason, historyRows, makeRig, nodeAt, readAll } from '../snapshot/rig.js'
import type { Rig } from '../snapshot/rig.js'

const HOW = { killSuidgid: false, append: false }
const pick = fc.nat({ max: 1000 })
const name = fc.constantFrom('a', 'b', 'c', 'd')
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constant('create' as const), dir: pick, name, bytes: fc.nat({ max: 9000 }) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('mkdir' as const), dir: pick, name }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('link' as const), file: pick, dir: pick, name }) },
  { weight: 6, arbitrary: fc.record({ op: fc.constant('remove' as const), dir: pick, name }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('rename' as const), dir: pick, name, to: pick, newName: name }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('restore' as const), which: pick }) },
  fc.record({ op: fc.constantFrom('empty' as const, 'snapshot' as const, 'unsnapshot' as const, 'flush' as const, 'settle' as const) }),
  fc.record({ op: fc.constantFrom('reopen' as const, 'die' as const, 'check' as const) }))
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

interface Node {
  readonly ino: number
  readonly bytes: Buffer
  /** Of a folder. */
  readonly entries: Map<string, Node> | undefined
  links: number
}
interface Removed {
  readonly node: Node
  readonly isName: boolean
  readonly parent: Node
  readonly name: string
}
interface World {
  readonly rig: Rig
  readonly live: Node
  /** Oldest first. */
  trash: Removed[]
  readonly snapshots: Map<string, string[]>
  taken: number
}

const folders = (dir: Node, path = ''): [string, Node][] =>
  [[path, dir], ...[...dir.entries!].flatMap(([n, node]): [string, Node][] => (node.entries === undefined ? [] : folders(node, `${path}/${n}`)))]
const files = (dir: Node): [string, Node][] =>
  folders(dir).flatMap(([path, d]) => [...d.entries!].flatMap(([n, node]): [string, Node][] => (node.entries === undefined ? [[`${path}/${n}`, node]] : [])))
const one = <T>(list: readonly T[], n: number): T => list[n % list.length]
const textOf = (dir: Node, path = ''): string[] => [...dir.entries!].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([n, node]) =>
  [`${path}/${n} ${node.ino} ${node.entries === undefined ? `${node.links} ${node.bytes.toString('latin1')}` : ''}`, ...(node.entries === undefined ? [] : textOf(node, `${path}/${n}`))])

async function textOfMount({ rig: { now: { vfs } } }: World, node = 1, path = ''): Promise<string[]> {
  const names: string[] = []
  await vfs.readdir(root, node, 0, 0, 0, { entry: (n) => (n === '.' || n === '..' ? true : names.push(n) > 0) }, false)
  const lines: string[] = []
  for (const n of names.sort()) {
    const a = (await vfs.lookup(root, node, n))!
    const isDir = (a.mode & 0o170000) === 0o040000
    lines.push(`${path}/${n} ${a.ino} ${isDir ? '' : `${a.nlink} ${(await readAll(vfs, a.ino, a.sizeBytes)).toString('latin1')}`}`, ...(isDir ? await textOfMount({ rig: { now: { vfs } } } as World, a.ino, `${path}/${n}`) : []))
  }
  return lines
}

/** A name goes: what the model's trash holds then. */
function drop(w: World, parent: Node, called: string): void {
  const node = parent.entries!.get(called)!
  parent.entries!.delete(called)
  node.links--
  w.trash.push({ node, isName: node.entries === undefined && node.links > 0, parent, name: called })
}

const isLive = (w: World, node: Node): boolean => folders(w.live).some(([, dir]) => dir === node)

function put(w: World, r: Removed, parent: Node): boolean {
  if (parent.entries!.has(r.name) || (r.isName && r.node.links === 0)) return false
  parent.entries!.set(r.name, r.node)
  r.node.links++
  w.trash = w.trash.filter((other) => other !== r)
  return true
}

/** The folder for what was in `dir`; undefined: something is in the way. */
function landing(w: World, dir: Node): Node | undefined {
  if (isLive(w, dir)) return dir
  const r = w.trash.findLast((x) => x.node === dir)!
  const parent = landing(w, r.parent)
  if (parent === undefined) return undefined
  const there = parent.entries!.get(r.name)
  if (there !== undefined) return there.entries === undefined ? undefined : there
  return put(w, r, parent) ? dir : undefined
}

/** A folder that is back gets all that was removed from it. */
function below(w: World, folder: Node): void {
  const to = new Map<Node, Node>([[folder, folder]])
  for (const r of [...w.trash].reverse()) {
    const parent = to.get(r.parent) ?? (folders(folder).some(([, dir]) => dir === r.parent) ? r.parent : undefined)
    if (parent === undefined || !isLive(w, parent)) continue
    const there = parent.entries!.get(r.name)
    if (put(w, r, parent)) to.set(r.node, r.node)
    else if (r.node.entries !== undefined && there?.entries !== undefined) to.set(r.node, there)
  }
}

async function run(w: World, s: Step): Promise<void> {
  const { vfs, pool } = w.rig.now
  switch (s.op) {
    case 'create':
    case 'mkdir': {
      const [path, dir] = one(folders(w.live), s.dir)
      if (dir.entries!.has(s.name)) return
      const parent = await nodeAt(vfs, path)
      const { ino } = s.op === 'mkdir' ? await vfs.mkdir(root, parent, s.name, 0o755, 0) : await vfs.mknod(root, parent, s.name, 0o100644, 0, 0)
      const bytes = Buffer.alloc(s.op === 'mkdir' ? 0 : s.bytes, ino)
      if (bytes.length > 0) await vfs.write(root, ino, 0, 0, bytes, 0, bytes.length, HOW)
      dir.entries!.set(s.name, { ino, bytes, entries: s.op === 'mkdir' ? new Map() : undefined, links: 1 })
      return
    }
    case 'link': {
      const all = files(w.live)
      const [to, dir] = one(folders(w.live), s.dir)
      if (all.length === 0 || dir.entries!.has(s.name)) return
      const [, node] = one(all, s.file)
      await vfs.link(root, node.ino, await nodeAt(vfs, to), s.name)
      dir.entries!.set(s.name, node)
      node.links++
      return
    }
    case 'remove': {
      const [path, dir] = one(folders(w.live), s.dir)
      const node = dir.entries!.get(s.name)
      if (node === undefined || (node.entries?.size ?? 0) > 0) return
      await vfs[node.entries === undefined ? 'unlink' : 'rmdir'](root, await nodeAt(vfs, path), s.name)
      return drop(w, dir, s.name)
    }
    case 'rename': {
      const [path, dir] = one(folders(w.live), s.dir)
      const [to, target] = one(folders(w.live), s.to)
      const node = dir.entries!.get(s.name)
      const there = target.entries!.get(s.newName)
      if (node === undefined || node === there || (node.entries === undefined) !== ((there ?? node).entries === undefined) || (there?.entries?.size ?? 0) > 0 || `${to}/`.startsWith(`${path}/${s.name}/`)) return
      await vfs.rename(root, await nodeAt(vfs, path), s.name, await nodeAt(vfs, to), s.newName, 0)
      if (there !== undefined) drop(w, target, s.newName)
      dir.entries!.delete(s.name)
      target.entries!.set(s.newName, node)
      return
    }
    case 'restore': {
      if (w.trash.length === 0) return
      const { node } = one(w.trash, s.which)
      const r = w.trash.findLast((x) => x.node === node)!
      const said = await failingReason(() => pool.trash.restore(String(node.ino), undefined, 'all', () => undefined))
      const parent = landing(w, r.parent)
      const isTaken = parent === undefined || parent.entries!.has(r.name)
      const isLost = r.isName && r.node.links === 0
      assert.equal(said, isTaken ? 'exists' : isLost ? 'missing' : '')
      if (said === '' && put(w, r, parent!) && node.entries !== undefined) below(w, node)
      return
    }
    case 'empty': {
      assert.equal(await pool.trash.empty('/', undefined), w.trash.length)
      w.trash = []
      return
    }
    case 'snapshot': {
      const called = `/@s${w.taken++}`
      await pool.snapshots.create(called)
      w.snapshots.set(called, textOf(w.live).map((line) => line.split(' ')[0]))
      return
    }
    case 'unsnapshot': {
      const [called] = w.snapshots.keys()
      if (called === undefined) return
      w.snapshots.delete(called)
      await pool.snapshots.remove(called)
      return
    }
    case 'flush': return w.rig.now.data.flush()
    case 'settle': return w.rig.now.settleOrphans()
    case 'reopen': return w.rig.reopen()
    case 'die': return w.rig.die()
    case 'check': return w.rig.check()
  }
}

async function assertShown(w: World): Promise<void> {
  assert.deepEqual(await textOfMount(w), textOf(w.live))
  const listed: TrashLine[] = []
  await w.rig.now.pool.trash.list('/', (line) => void listed.push(line))
  assert.deepEqual(listed.map((l) => `${l.id} ${l.name} ${l.path !== null}`), w.trash.map((r) => `${r.node.ino} ${r.name} true`))
  for (const [called, paths] of w.snapshots) {
    const shown = await textOfMount(w, await nodeAt(w.rig.now.vfs, `/.snapshots/${called.slice(2)}`))
    assert.deepEqual(shown.map((line) => line.split(' ')[0]), paths, called)
  }
}

test('random use of a tree with a trash gives what a tree and a trash in memory give', { timeout: 110_000 }, async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), fc.nat(), async (steps, seed) => {
    const rig = await makeRig(seed)
    await rig.now.pool.trash.enable('/', 1)
    const w: World = { rig, live: { ino: 1, bytes: Buffer.alloc(0), entries: new Map(), links: 1 }, trash: [], snapshots: new Map(), taken: 0 }
    for (const s of steps) await run(w, s)
    await assertShown(w)
    await rig.check()
    await assertShown(w)
    const { pool, vfs } = rig.now
    for (const [path, dir] of folders(w.live).reverse()) {
      const parent = await nodeAt(vfs, path)
      for (const [n, node] of dir.entries!) await vfs[node.entries === undefined ? 'unlink' : 'rmdir'](root, parent, n)
    }
    await pool.trash.empty('/', undefined)
    for (const called of w.snapshots.keys()) await pool.snapshots.remove(called)
    await rig.now.data.flush()
    await rig.now.settleOrphans()
    await pool.snapshots.settle()
    assert.deepEqual([(await pool.status()).inodes, rig.now.store.status().usedBytes, await historyRows(rig.now)], [1, 0, 0])
    await rig.end()
  }), { numRuns: Number(process.env.OGEE_RUNS ?? 25), endOnFailure: false, ...(process.env.OGEE_SEED === undefined ? {} : { seed: Number(process.env.OGEE_SEED) }) })
})
