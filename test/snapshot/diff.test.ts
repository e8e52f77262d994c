/** A diff says of two snapshots what looking at all of both says. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NOW } from '../../src/data/index.js'
import type { DiffLine } from '../../src/pool/index.js'
import { rootContext as root, seededRandom } from '../../src/sys/index.js'
import { change } from './churn.js'
import { makeRig, MIB, nodeAt } from './rig.js'
import type { Rig } from './rig.js'

const SEEDS = Number(process.env.RUNS ?? 12)

/** All of a view, by entry and by inode: looked up one by one through `.snapshots`. */
interface Whole {
  readonly entries: Map<string, { readonly path: string; readonly ino: number }>
  readonly inodes: Map<number, { readonly path: string; readonly nlink: number; readonly isDir: boolean; readonly said: Record<string, string> }>
}

async function wholeOf({ now: { vfs } }: Rig, top: string): Promise<Whole> {
  const entries: Whole['entries'] = new Map()
  const inodes: Whole['inodes'] = new Map()
  const inoOf = (node: number): number => node % 2 ** 44
  async function look(node: number, path: string): Promise<void> {
    const attr = await vfs.getattr(root, node, 0)
    const isDir = (attr.mode & 0o170000) === 0o040000
    const bytes = Buffer.alloc((attr.mode & 0o170000) === 0o100000 ? attr.sizeBytes : 0)
    if (bytes.length > 0) await vfs.read(root, node, 0, 0, bytes.length, bytes, 0)
    const xattrs: string[] = []
    for (const name of await vfs.listxattr(root, node)) xattrs.push(`${name}=${Buffer.from((await vfs.getxattr(root, node, name))!).toString('hex')}`)
    inodes.set(inoOf(node), { path, nlink: attr.nlink, isDir, said: {
      content: bytes.toString('latin1'), mode: String(attr.mode), owner: `${attr.uid}:${attr.gid}`, times: isDir ? '' : `${attr.mtimeSec}.${attr.mtimeNsec}`, xattrs: xattrs.sort().join()
    } })
    if (!isDir) return
    const names: string[] = []
    await vfs.readdir(root, node, 0, 0, 0, { entry: (name) => (name === '.' || name === '..' ? true : names.push(name) > 0) }, false)
    for (const name of names) {
      const below = await vfs.lookup(root, node, name)
      assert.ok(below !== undefined)
      entries.set(`${inoOf(node)}/${name}`, { path: `${path}/${name}`, ino: inoOf(below.ino) })
      await look(below.ino, `${path}/${name}`)
    }
  }
  await look(await nodeAt(vfs, top), '')
  return { entries, inodes }
}

/** What was told must be what differs: entries exactly, and of contents at least what differs. */
function assertSays(lines: readonly DiffLine[], was: Whole, is: Whole): void {
  const movable = (ino: number): boolean => {
    const [a, b] = [was.inodes.get(ino), is.inodes.get(ino)]
    return a !== undefined && b !== undefined && (a.isDir || (a.nlink === 1 && b.nlink === 1))
  }
  const expected: string[] = []
  for (const [entry, { path, ino }] of was.entries) if (is.entries.get(entry)?.ino !== ino && !movable(ino)) expected.push(`- ${path}`)
  for (const [entry, { path, ino }] of is.entries) {
    if (was.entries.get(entry)?.ino !== ino) expected.push(movable(ino) ? `> ${was.inodes.get(ino)!.path} ${path}` : `+ ${path}`)
  }
  const told: string[] = []
  const differs = new Map<number, readonly string[]>()
  for (const line of lines) {
    if (line.change === 'added') told.push(`+ ${line.path}`)
    if (line.change === 'removed') told.push(`- ${line.path}`)
    if (line.change === 'renamed') told.push(`> ${line.from} ${line.path}`)
    if (line.change === 'modified' || (line.change === 'renamed' && line.what.length > 0)) {
      const ino = line.path === '/' ? 1 : [...is.entries.values()].find(({ path }) => path === line.path)!.ino
      assert.ok(!differs.has(ino), `${line.path} is told once`)
      differs.set(ino, line.what)
    }
  }
  assert.deepEqual(told.sort(), expected.sort())
  for (const [ino, { said, path }] of is.inodes) {
    const before = was.inodes.get(ino)?.said
    if (before === undefined) continue
    const really = Object.keys(said).filter((aspect) => said[aspect] !== before[aspect] && (aspect !== 'times' || said.content === before.content))
    const what = differs.get(ino) ?? []
    assert.deepEqual(what.filter((aspect) => aspect !== 'content' && aspect !== 'times').sort(), really.filter((aspect) => aspect !== 'content' && aspect !== 'times').sort(), path)
    if (really.includes('content')) assert.ok(what.includes('content'), path)
    if (really.includes('times')) assert.ok(what.includes('times') || what.includes('content'), path)
  }
  const paths = lines.flatMap((line) => ('path' in line ? [line.path] : []))
  assert.ok(lines.length === 0 || paths.length === lines.length)
}

test('a diff says what differs, in both directions, and nothing of what does not', { timeout: 300_000 }, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = seededRandom(seed)
    const rig = await makeRig(seed)
    const snapshots = 4
    for (let n = 0; n < snapshots; n++) {
      for (let i = 0; i < 25; i++) await change(rig.now.vfs, 1, random)
      if (n === 1) await rig.now.pool.subvolumes.create(`/sub${seed}`)
      if (random.uint32() % 2 === 0) await rig.now.data.flush()
      await rig.now.pool.snapshots.create(`/@s${n}`)
    }
    const wholes: Whole[] = []
    for (let n = 0; n < snapshots; n++) wholes.push(await wholeOf(rig, `/.snapshots/s${n}`))
    for (let a = 0; a < snapshots; a++) {
      for (let b = 0; b < snapshots; b++) {
        const lines: DiffLine[] = []
        await rig.now.pool.diffs.diff(`/@s${a}`, `/@s${b}`, (line) => void lines.push(line))
        if (a === b) assert.deepEqual(lines, [])
        assertSays(lines, wholes[a], wholes[b])
      }
    }
    for (let i = 0; i < 10; i++) await change(rig.now.vfs, 1, random)
    const now: DiffLine[] = []
    await rig.now.pool.diffs.diff('/@s1', '/', (line) => void now.push(line))
    await rig.now.pool.snapshots.create('/@end')
    assertSays(now, wholes[1], await wholeOf(rig, '/.snapshots/end'))
    await rig.end()
  }
})

test('a diff of a clone says what changed in it since it was made', { timeout: 300_000 }, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = seededRandom(seed + 900)
    const rig = await makeRig(seed)
    for (let i = 0; i < 40; i++) await change(rig.now.vfs, 1, random)
    await rig.now.pool.snapshots.create('/@s')
    await rig.now.pool.clones.clone('/@s', '/clone')
    await rig.now.pool.snapshots.create('/clone@a')
    const clone = await nodeAt(rig.now.vfs, '/clone')
    for (let i = 0; i < 20; i++) await change(rig.now.vfs, clone, random)
    if (seed % 2 === 0) await rig.now.data.flush()
    await rig.now.pool.snapshots.create('/clone@b')
    const lines: DiffLine[] = []
    await rig.now.pool.diffs.diff('/clone@a', '/clone@b', (line) => void lines.push(line))
    const none: DiffLine[] = []
    await rig.now.pool.diffs.diff('/clone@b', '/clone', (line) => void none.push(line))
    assert.deepEqual(none, [])
    assertSays(lines, await wholeOf(rig, '/clone/.snapshots/a'), await wholeOf(rig, '/clone/.snapshots/b'))
    await rig.end()
  }
})

test('a diff tells of a file whose only name lies where nobody looked', async () => {
  const rig = await makeRig(5)
  const { vfs, pool } = rig.now
  for (const dir of ['a', 'b', 'c']) await vfs.mkdir(root, 1, dir, 0o755, 0)
  const file = await vfs.mknod(root, await nodeAt(vfs, '/a'), 'x', 0o100644, 0, 0)
  await vfs.link(root, file.ino, await nodeAt(vfs, '/b'), 'y')
  await pool.snapshots.create('/@s')
  await pool.clones.clone('/@s', '/clone')
  await pool.snapshots.create('/clone@a')
  const found = await nodeAt(vfs, '/clone/a/x')
  await vfs.write(root, found, 0, 0, Buffer.from('new'), 0, 3, { killSuidgid: false, append: false })
  await vfs.unlink(root, await nodeAt(vfs, '/clone/a'), 'x')
  await pool.snapshots.create('/clone@b')
  await vfs.setattr(root, found, { valid: 1, mode: 0o600, uid: 0, gid: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }, 0)
  for (let visited = 0; visited < 2; visited++) {
    const lines: DiffLine[] = []
    await pool.diffs.diff('/clone@a', '/clone@b', (line) => void lines.push(line))
    assert.deepEqual(lines.map((line) => ('path' in line ? `${line.change} ${line.path}` : line.change)).sort(), ['modified /b/y', 'removed /a/x'])
    await nodeAt(vfs, '/clone/b/y')
  }
  await rig.end()
})

test('a diff looks at what changed, not at the rest', async () => {
  const rig = await makeRig(1)
  const { vfs, pool, engine } = rig.now
  for (const dir of ['much', 'little']) await vfs.mkdir(root, 1, dir, 0o755, 0)
  const much = await nodeAt(vfs, '/much')
  for (let i = 0; i < 3000; i++) await vfs.mknod(root, much, `f${i}`, 0o100644, 0, 0)
  await pool.snapshots.create('/@a')
  await vfs.mknod(root, await nodeAt(vfs, '/little'), 'new', 0o100644, 0, 0)
  await pool.snapshots.create('/@b')
  let rows = 0
  const reader = engine.reader(root)
  const { scan } = reader
  reader.scan = (range) => {
    const found = scan.call(reader, range)
    if (!(found instanceof Promise)) rows += found.length
    return found
  }
  const lines: DiffLine[] = []
  await pool.diffs.diff('/@a', '/@b', (line) => void lines.push(line))
  reader.scan = scan
  assert.deepEqual(lines, [{ change: 'added', path: '/little/new', type: 'file' }])
  assert.ok(rows > 0 && rows < 100, `${rows} rows`)
  await rig.end()
})

test('a diff of a volume tells the ranges that were written and trimmed, and its size', async () => {
  const rig = await makeRig(3)
  const { pool, data } = rig.now
  await pool.volumes.create('v', 64 * MIB)
  const v = await pool.volumes.open('v', 'test')
  const bytes = Buffer.alloc(MIB, 1)
  await v.write(0, bytes, 0, MIB)
  await v.write(8 * MIB, bytes, 0, MIB)
  await pool.snapshots.create('v@a')
  await v.write(4096, bytes, 0, 8192)
  await v.write(20 * MIB, bytes, 0, 100)
  await v.trim(8 * MIB, 4096)
  await pool.volumes.resize('v', 65 * MIB, 'keep')
  const { inode } = await pool.volumes.info('v')
  for (let round = 0; round < 2; round++) { // logged, then in the store
    const lines: DiffLine[] = []
    await pool.diffs.diff('v@a', 'v', (line) => void lines.push(line))
    assert.deepEqual(lines[0], { change: 'resized', fromBytes: 64 * MIB, toBytes: 65 * MIB })
    const ranges = lines.slice(1).map((line) => (line.change === 'range' ? [line.offsetBytes, line.lengthBytes] : []))
    assert.deepEqual(ranges.slice(0, 2), [[4096, 8192], [8 * MIB, 4096]])
    assert.equal(ranges[2][0], 20 * MIB)
    assert.equal(ranges.length, 3)
    await data.flush()
  }
  assert.deepEqual(await data.changes(root, inode, NOW, NOW), [])
  v.close()
  await rig.end()
})
