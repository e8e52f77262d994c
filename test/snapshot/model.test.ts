/** A tree with random changes, snapshots, clones, rollbacks and their removals against a tree in memory, over reopening and kill -9; in the end all space is back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { errnoName, errnoOf, rootContext as root, seededRandom, systemClock } from '../../src/sys/index.js'
import { Refusal } from '../../src/pool/index.js'
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, SET_MODE, SET_SIZE } from '../../src/vfs/index.js'
import { cloneTree, failingReason, historyRows, makeRig, nodeAt, textOfPool, textOfTree } from './rig.js'
import type { Rig, TreeFile, TreeFolder } from './rig.js'

const NOTHING = { valid: 0, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }
const tried = { flattened: 0 }
const HOW = { killSuidgid: false, append: false }
const pick = fc.nat({ max: 1000 })
const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g')
const offset = fc.oneof(fc.constantFrom(0, 100, 2048, 4096, 8192), fc.nat({ max: 300_000 }))
const length = fc.oneof(fc.constantFrom(1, 500, 4096, 70_000, 200_000), fc.nat({ max: 20_000 }).map((n) => n + 1))
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ op: fc.constant('create' as const), dir: pick, name }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('mkdir' as const), dir: pick, name }) },
  fc.record({ op: fc.constant('symlink' as const), dir: pick, name }),
  { weight: 2, arbitrary: fc.record({ op: fc.constant('link' as const), file: pick, dir: pick, name }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('unlink' as const, 'rmdir' as const), dir: pick, name }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('rename' as const), dir: pick, name, to: pick, newName: name }) },
  { weight: 9, arbitrary: fc.record({ op: fc.constant('write' as const), file: pick, offset, length }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('truncate' as const, 'punch' as const), file: pick, offset, length }) },
  fc.record({ op: fc.constantFrom('chmod' as const, 'setxattr' as const), file: pick, value: fc.nat({ max: 511 }) }),
  { weight: 4, arbitrary: fc.record({ op: fc.constant('snapshot' as const), of: fc.oneof(fc.constant(0), pick) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('subvolume' as const, 'unsubvolume' as const), dir: pick, name }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), which: pick }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('clone' as const), which: pick, dir: pick, name }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('rollback' as const), which: pick }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('flatten' as const), which: pick, how: fc.constantFrom('wait' as const, 'beside' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('sync' as const, 'flush' as const, 'settle' as const, 'checkpoint' as const) }) },
  fc.record({ op: fc.constantFrom('reopen' as const, 'die' as const, 'check' as const) }))
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

interface World {
  readonly rig: Rig
  readonly live: TreeFolder
  /** By what they are called; `path` of their subvolume. */
  readonly snapshots: Map<string, { readonly path: string; readonly tree: TreeFolder }>
  /** Of a clone's path, the path of its origin. */
  readonly clones: Map<string, string>
  taken: number
  readonly bytes: (n: number) => Buffer
}

const folders = (dir: TreeFolder, path = ''): [string, TreeFolder][] =>
  [[path, dir], ...[...dir.entries].flatMap(([n, node]): [string, TreeFolder][] => (node.kind === 'dir' ? folders(node, `${path}/${n}`) : []))]
/** The subvolume that a path lies in. */
function domainOf(live: TreeFolder, path: string): string {
  let domain = ''
  let at: TreeFolder = live
  let so = ''
  for (const n of path.split('/').filter((x) => x !== '')) {
    so += `/${n}`
    const node = at.entries.get(n)
    if (node?.kind !== 'dir') break
    at = node
    if (at.sub === true) domain = so
  }
  return domain
}
/** In a clone they are folders like others. */
function withoutSubvolumes(dir: TreeFolder): TreeFolder {
  for (const node of dir.entries.values()) if (node.kind === 'dir') withoutSubvolumes(node)
  delete dir.sub
  return dir
}
const files = (dir: TreeFolder): [string, TreeFile][] =>
  folders(dir).flatMap(([path, d]) => [...d.entries].flatMap(([n, node]): [string, TreeFile][] => (node.kind === 'file' ? [[`${path}/${n}`, node]] : [])))
const one = <T>(list: readonly T[], n: number): T => list[n % list.length]

async function failing(act: () => Promise<unknown> | unknown): Promise<string> {
  try {
    await act()
    return ''
  } catch (e) {
    return errnoName(errnoOf(e))
  }
}

/** Nobody remembers what was removed: in the next daemon it is gone. */
async function forgotten(rig: Rig): Promise<void> {
  await rig.reopen()
  while ((await rig.now.engine.reader(root).scan({ from: 'O', to: 'P', limit: 1 })).length > 0) await systemClock.sleep(2)
}

async function run(w: World, s: Step): Promise<void> {
  const { vfs, pool } = w.rig.now
  switch (s.op) {
    case 'create':
    case 'mkdir':
    case 'symlink': {
      const [path, dir] = one(folders(w.live), s.dir)
      const parent = await nodeAt(vfs, path)
      const taken = dir.entries.has(s.name)
      const made = await failing(() => s.op === 'create' ? vfs.mknod(root, parent, s.name, 0o100644, 0, 0) : s.op === 'mkdir' ? vfs.mkdir(root, parent, s.name, 0o755, 0) : vfs.symlink(root, parent, s.name, 'to/there'))
      assert.equal(made, taken ? 'EEXIST' : '')
      if (!taken) dir.entries.set(s.name, s.op === 'create' ? { kind: 'file', bytes: Buffer.alloc(0), mode: 0o644, xattr: '' } : s.op === 'mkdir' ? { kind: 'dir', entries: new Map() } : { kind: 'link', target: 'to/there' })
      return
    }
    case 'link': {
      const all = files(w.live)
      if (all.length === 0) return
      const [path, file] = one(all, s.file)
      const [to, dir] = one(folders(w.live), s.dir)
      if (dir.entries.has(s.name)) return
      const said = await failing(async () => vfs.link(root, await nodeAt(vfs, path), await nodeAt(vfs, to), s.name))
      assert.equal(said, domainOf(w.live, path) === domainOf(w.live, to) ? '' : 'EXDEV')
      if (said !== '') return
      dir.entries.set(s.name, file)
      return
    }
    case 'unlink':
    case 'rmdir': {
      const [path, dir] = one(folders(w.live), s.dir)
      const node = dir.entries.get(s.name)
      const parent = await nodeAt(vfs, path)
      const said = await failing(() => vfs[s.op](root, parent, s.name))
      const expected = node === undefined ? 'ENOENT' : s.op === 'unlink' ? (node.kind === 'dir' ? 'EISDIR' : '') : node.kind !== 'dir' ? 'ENOTDIR' : node.sub === true ? 'EBUSY' : node.entries.size > 0 ? 'ENOTEMPTY' : ''
      assert.equal(said, expected)
      if (said === '') dir.entries.delete(s.name)
      return
    }
    case 'rename': {
      const [path, dir] = one(folders(w.live), s.dir)
      const [to, target] = one(folders(w.live), s.to)
      const node = dir.entries.get(s.name)
      if (node?.kind === 'dir' && folders(node).slice(1).some(([, below]) => below.sub === true)) return // what is below would be called otherwise
      const said = await failing(async () => vfs.rename(root, await nodeAt(vfs, path), s.name, await nodeAt(vfs, to), s.newName, 0))
      const isSame = target === dir && s.newName === s.name
      if (node !== undefined && !isSame && (domainOf(w.live, path) !== domainOf(w.live, to) || (node.kind === 'dir' && node.sub === true))) assert.notEqual(said, '', 'nothing crosses the edge of a subvolume')
      if (said !== '' || node === undefined) return
      if (target.entries.get(s.newName) === node && !(target === dir && s.name === s.newName) && node.kind === 'file') return // two names of one file: nothing happens
      dir.entries.delete(s.name)
      target.entries.set(s.newName, node)
      return
    }
    case 'write':
    case 'truncate':
    case 'punch': {
      const all = files(w.live)
      if (all.length === 0) return
      const [path, file] = one(all, s.file)
      const node = await nodeAt(vfs, path)
      const size = file.bytes.length
      if (s.op === 'write') {
        const bytes = w.bytes(s.length)
        await vfs.write(root, node, 0, s.offset, bytes, 0, s.length, HOW)
        const now = Buffer.alloc(Math.max(size, s.offset + s.length))
        now.set(file.bytes)
        now.set(bytes, s.offset)
        file.bytes = now
      } else if (s.op === 'truncate') {
        await vfs.setattr(root, node, { ...NOTHING, valid: SET_SIZE, sizeBytes: s.offset }, 0)
        const now = Buffer.alloc(s.offset)
        now.set(file.bytes.subarray(0, s.offset))
        file.bytes = now
      } else {
        await vfs.fallocate(root, node, 0, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, s.offset, s.length)
        file.bytes = Buffer.from(file.bytes)
        file.bytes.fill(0, Math.min(size, s.offset), Math.min(size, s.offset + s.length))
      }
      return
    }
    case 'chmod':
    case 'setxattr': {
      const all = files(w.live)
      if (all.length === 0) return
      const [path, file] = one(all, s.file)
      const node = await nodeAt(vfs, path)
      if (s.op === 'chmod') {
        await vfs.setattr(root, node, { ...NOTHING, valid: SET_MODE, mode: s.value }, 0)
        file.mode = s.value
      } else {
        file.xattr = String(s.value)
        await vfs.setxattr(root, node, 'user.x', Buffer.from(file.xattr), 0, false)
      }
      return
    }
    case 'snapshot': {
      const called = `s${w.taken++}`
      const [path, dir] = one(folders(w.live).filter(([at, d]) => at === '' || d.sub === true), s.of)
      const of = `${path === '' ? '/' : path}@${called}`
      await pool.snapshots.create(of)
      w.snapshots.set(of, { path, tree: cloneTree(dir) })
      return
    }
    case 'subvolume':
    case 'unsubvolume': {
      const [path, dir] = one(folders(w.live), s.dir)
      const at = `${path}/${s.name}`
      const node = dir.entries.get(s.name)
      const isEmpty = node?.kind === 'dir' && node.entries.size === 0
      if (s.op === 'subvolume') {
        const said = await failingReason(() => pool.subvolumes.create(at))
        assert.equal(said, node === undefined || (isEmpty && node.sub !== true) ? '' : 'exists')
        if (said === '') dir.entries.set(s.name, { kind: 'dir', sub: true, entries: new Map() })
      } else {
        const isThere = node?.kind === 'dir' && node.sub === true
        const expected = node === undefined ? 'missing' : isThere && isEmpty && ![...w.snapshots.values()].some((x) => x.path === at) ? '' : 'usage'
        const mayBeHeld = [...w.clones.values()].includes(at) // as long as something in a clone, or in its snapshots, is the origin's
        let said = await failingReason(() => pool.subvolumes.remove(at))
        if ((said === 'usage' || said === 'in-use') && expected === '') { // what was in a clone that went, or before a rollback, is not forgotten by who looked at it (below), and nobody has it in the next daemon
          await forgotten(w.rig)
          said = await failingReason(() => w.rig.now.pool.subvolumes.remove(at))
        }
        if (said === 'usage' && mayBeHeld) return
        assert.equal(said, expected)
        if (said !== '') return
        dir.entries.delete(s.name)
        w.clones.delete(at)
        for (const [clone, origin] of w.clones) if (origin === at) w.clones.delete(clone)
      }
      return
    }
    case 'remove': {
      if (w.snapshots.size === 0) return
      const called = one([...w.snapshots.keys()], s.which)
      w.snapshots.delete(called)
      await pool.snapshots.remove(called)
      return
    }
    case 'clone': {
      if (w.snapshots.size === 0) return
      const called = one([...w.snapshots.keys()], s.which)
      const { path: origin, tree } = w.snapshots.get(called)!
      const [path, dir] = one(folders(w.live), s.dir)
      const said = await failingReason(() => pool.clones.clone(called, `${path}/${s.name}`))
      assert.equal(said, dir.entries.has(s.name) ? 'exists' : '')
      if (said !== '') return
      dir.entries.set(s.name, { ...withoutSubvolumes(structuredClone(tree)), sub: true })
      w.clones.set(`${path}/${s.name}`, origin)
      return
    }
    case 'rollback': {
      if (w.snapshots.size === 0) return
      const called = one([...w.snapshots.keys()], s.which)
      const { path, tree } = w.snapshots.get(called)!
      const dir = folders(w.live).find(([at]) => at === path)![1]
      const said = await failingReason(() => pool.snapshots.rollBack(called, 'refuse'))
      assert.equal(said, folders(dir).slice(1).some(([, below]) => below.sub === true) ? 'in-use' : '')
      if (said === '') dir.entries = withoutSubvolumes(structuredClone(tree)).entries
      return
    }
    case 'flatten': {
      const [path] = one(folders(w.live).filter(([at, d]) => at === '' || d.sub === true), s.which)
      const at = path === '' ? '/' : path
      const flattening = pool.subvolumes.flatten(at, () => undefined)
      if (s.how === 'beside') return void flattening.catch((e: unknown) => assert.ok(e instanceof Refusal && ['in-use', 'failed'].includes(e.reason), String(e))) // others go on; or the pool is closed
      if ((await failingReason(() => flattening)) !== '') return // one goes on beside
      await pool.snapshots.settle() // what removed snapshots showed
      const { origin } = (await pool.subvolumes.list()).find((x) => x.path === at)!
      const isShown = [...w.snapshots.values()].some((x) => x.path === path) || [...w.clones.values()].includes(path)
      if (!isShown) assert.equal(origin, null, `${at} is a tree of its own`)
      if (origin === null && w.clones.delete(path)) tried.flattened++
      return
    }
    case 'sync': return pool.sync()
    case 'flush': return w.rig.now.data.flush()
    case 'settle': return pool.snapshots.settle()
    case 'checkpoint': return w.rig.now.engine.checkpoint()
    case 'reopen': return w.rig.reopen()
    case 'die': return w.rig.die()
    case 'check': return w.rig.check()
  }
}

async function assertShown({ rig, live, snapshots }: World): Promise<void> {
  const { vfs, pool } = rig.now
  assert.deepEqual(await textOfPool(vfs, 1), textOfTree(live))
  const domains = folders(live).filter(([path, dir]) => path === '' || dir.sub === true).map(([path]) => path)
  assert.deepEqual((await pool.subvolumes.list()).map((s) => s.path).sort(), domains.map((path) => (path === '' ? '/' : path)).sort())
  for (const path of domains) assert.deepEqual((await pool.snapshots.list(path === '' ? '/' : path)).map((s) => s.snapshot), [...snapshots].filter(([, x]) => x.path === path).map(([called]) => called))
  for (const [called, { path, tree }] of snapshots) assert.deepEqual(await textOfPool(vfs, await nodeAt(vfs, `${path}/.snapshots/${called.slice(called.indexOf('@') + 1)}`)), textOfTree(tree), called)
}

async function runAll(steps: readonly Step[], seed: number): Promise<void> {
  const random = seededRandom(seed)
  const isHeld = (): boolean => seed % 8 === 7 // who looked at something forgets it at once, or never: then who needs it to be gone waits for half a minute
  const rig = await makeRig(seed, undefined, seed % 2 === 0 ? { directAfterBytes: 8192 } : {}, systemClock, { isHeld })
  const w: World = { rig, live: { kind: 'dir', entries: new Map() }, snapshots: new Map(), clones: new Map(), taken: 0, bytes: (n) => Buffer.from(random.bytes(n)) }
  for (const s of steps) await run(w, s)
  await assertShown(w)
  await rig.check()
  await assertShown(w)
  while (w.snapshots.size > 0) {
    await run(w, { op: 'remove', which: random.uint32() % 1000 })
    if (random.uint32() % 2 === 0) await rig.die() // in the middle of giving back
    await rig.now.pool.snapshots.settle()
    await assertShown(w)
  }
  // an empty pool is empty; what something is a clone of goes after it
  while (w.live.entries.size > 0) {
    for (const [path, dir] of folders(w.live).reverse()) {
      const parent = await nodeAt(rig.now.vfs, path)
      for (const [n, node] of [...dir.entries]) {
        if (node.kind === 'dir' && node.entries.size > 0) continue
        if (node.kind === 'dir' && node.sub === true) {
          await forgotten(rig) // else the removal waits for who looked at what was in it
          await run(w, { op: 'unsubvolume', dir: folders(w.live).findIndex(([, d]) => d === dir), name: n as 'a' })
        } else {
          await rig.now.vfs[node.kind === 'dir' ? 'rmdir' : 'unlink'](root, parent, n)
          dir.entries.delete(n)
        }
      }
    }
    await rig.now.settleOrphans()
  }
  await rig.reopen()
  const left = async (kind: string): Promise<number> => (await rig.now.engine.reader(root).scan({ from: kind, to: String.fromCharCode(kind.charCodeAt(0) + 1), limit: 1 })).length
  while (await left('O') + await left('Y') > 0) await systemClock.sleep(5) // of those who died
  await rig.now.pool.snapshots.settle()
  assert.equal(await historyRows(rig.now), 0, 'nothing is kept that no snapshot needs')
  for (const kind of ['W', 'L', 'K', 'F', 'J', 'Y']) assert.equal(await left(kind), 0, kind)
  await rig.end()
}

test('snapshots show what was, whatever came and went', { timeout: 300_000 }, () => fc.assert(
  fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 60 }), fc.nat(), runAll), { numRuns: Number(process.env.RUNS ?? 25) }))

const some = fc.array(step, { minLength: 2, maxLength: 10, size: 'max' })
const just = (...steps: Step[]): fc.Arbitrary<readonly Step[]> => fc.constant(steps)
const begin = just(
  { op: 'mkdir', dir: 0, name: 'd' }, { op: 'create', dir: 1, name: 'e' }, { op: 'create', dir: 0, name: 'f' }, { op: 'write', file: 0, offset: 0, length: 200_000 }, { op: 'write', file: 1, offset: 4096, length: 20_000 },
  { op: 'link', file: 0, dir: 0, name: 'g' }, { op: 'sync' }, { op: 'snapshot', of: 0 })
const flattened = fc.record({ op: fc.constant('flatten' as const), which: fc.nat({ max: 3 }), how: fc.constantFrom('wait' as const, 'beside' as const) }).map((s) => [s])

test('clones, clones of clones and what was rolled back are flattened', { timeout: 300_000 }, () => {
  tried.flattened = 0
  return fc.assert(fc.asyncProperty(
    fc.tuple(begin, just({ op: 'clone', which: 0, dir: 0, name: 'a' }), some, flattened, just({ op: 'snapshot', of: 1 }, { op: 'clone', which: 1, dir: 0, name: 'b' }), some, flattened, just({ op: 'rollback', which: 0 }), some, flattened, some,
      just({ op: 'flatten', which: 1, how: 'wait' }, { op: 'flatten', which: 0, how: 'wait' })).map((parts) => parts.flat()), fc.nat(), runAll), { numRuns: Number(process.env.RUNS ?? 8) }).then(() => {
    assert.ok(tried.flattened > 0)
    console.log(`# ${tried.flattened} trees were flattened`)
  })
})
