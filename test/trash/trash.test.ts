/** The trash: what is removed can be had back as it was, with the folders around it; what is thrown away is gone, and nothing else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TrashLine } from '../../src/pool/index.js'
import { orphanKey, trashIno, trashKey } from '../../src/meta/keys.js'
import { encodeOrphan, encodeRemoved } from '../../src/meta/rows.js'
import { fsckPool, Refusal } from '../../src/pool/index.js'
import { rootContext as root, seededRandom, systemClock } from '../../src/sys/index.js'
import type { Clock } from '../../src/sys/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { historyRows, makeRig, MIB, nodeAt, readAll, textOfPool } from '../snapshot/rig.js'
import type { Rig } from '../snapshot/rig.js'

const HOW = { killSuidgid: false, append: false }
const refusedAs = (reason: string) => (e: unknown): boolean => e instanceof Refusal && e.reason === reason && /[.:] .+\.$/.test(e.message)

const split = (path: string): [string, string] => [path.slice(0, path.lastIndexOf('/')), path.slice(path.lastIndexOf('/') + 1)]

async function write(vfs: Vfs, path: string, text: string | Buffer): Promise<number> {
  const [folder, name] = split(path)
  const { ino } = await vfs.mknod(root, await nodeAt(vfs, folder), name, 0o100640, 0, 0)
  const bytes = Buffer.from(text)
  if (bytes.length > 0) await vfs.write(root, ino, 0, 0, bytes, 0, bytes.length, HOW)
  return ino
}
const mkdir = async (vfs: Vfs, path: string, mode = 0o755): Promise<number> => {
  const [folder, name] = split(path)
  return (await vfs.mkdir(root, await nodeAt(vfs, folder), name, mode, 0)).ino
}
const unlink = async (vfs: Vfs, path: string): Promise<void> => {
  const [folder, name] = split(path)
  await vfs.unlink(root, await nodeAt(vfs, folder), name)
}
const rename = async (vfs: Vfs, from: string, to: string): Promise<void> => {
  const [a, b] = [split(from), split(to)]
  await vfs.rename(root, await nodeAt(vfs, a[0]), a[1], await nodeAt(vfs, b[0]), b[1], 0)
}

/** As rm -rf does it. */
async function removeTree(vfs: Vfs, path: string): Promise<void> {
  const [folder, name] = split(path)
  const parent = await nodeAt(vfs, folder)
  const found: { name: string, isDir: boolean }[] = []
  const node = await nodeAt(vfs, path)
  await vfs.readdir(root, node, 0, 0, 0, { entry: (n, _ino, type) => (n === '.' || n === '..' ? true : found.push({ name: n, isDir: type === 0o040000 }) > 0) }, false)
  for (const f of found) {
    if (f.isDir) await removeTree(vfs, `${path}/${f.name}`)
    else await vfs.unlink(root, node, f.name)
  }
  await vfs.rmdir(root, parent, name)
}

/** What stat and the bytes say of a tree, but ctimes. */
async function portrait(vfs: Vfs, path: string): Promise<string[]> {
  const node = await nodeAt(vfs, path)
  const a = await vfs.getattr(root, node, 0)
  const lines = [`${path} ${a.mode.toString(8)} ${a.uid}:${a.gid} ${a.nlink} ${a.sizeBytes} ${a.mtimeSec}.${a.mtimeNsec} ${a.btimeSec}.${a.btimeNsec}`]
  for (const name of await vfs.listxattr(root, node)) lines.push(`${path} ${name} ${Buffer.from((await vfs.getxattr(root, node, name))!).toString('hex')}`)
  if ((a.mode & 0o170000) === 0o120000) return [...lines, await vfs.readlink(root, node)]
  if ((a.mode & 0o170000) !== 0o040000) return [...lines, (await readAll(vfs, node, a.sizeBytes)).toString('latin1')]
  const names: string[] = []
  await vfs.readdir(root, node, 0, 0, 0, { entry: (n) => (n === '.' || n === '..' ? true : names.push(n) > 0) }, false)
  for (const name of names.sort()) lines.push(...await portrait(vfs, `${path}/${name}`))
  return lines
}

const listed = async ({ now: { pool } }: Rig, of = '/'): Promise<TrashLine[]> => {
  const lines: TrashLine[] = []
  await pool.trash.list(of, (line) => void lines.push(line))
  return lines
}
const paths = async (rig: Rig, of = '/'): Promise<(string | null)[]> => (await listed(rig, of)).map((line) => line.path)
const restore = (rig: Rig, what: string, to?: string, scope: 'together' | 'all' = 'together') => rig.now.pool.trash.restore(what, to, scope, () => undefined)

test('off, nothing is kept; on, what loses its last name is, and comes back as it was', { timeout: 60_000 }, async () => {
  const rig = await makeRig(1)
  const { vfs, pool } = rig.now
  await write(vfs, '/gone', 'x')
  await unlink(vfs, '/gone')
  assert.deepEqual(await paths(rig), [])
  assert.equal(pool.superblock.incompatible, 0)
  assert.deepEqual(await pool.trash.enable('/', 2), { of: '/', on: true, keepDays: 2, items: 0, bytes: 0 })
  assert.equal(pool.superblock.incompatible, 2)
  await mkdir(vfs, '/d')
  const f = await write(vfs, '/d/f', 'some bytes')
  await vfs.setxattr(root, f, 'user.x', Buffer.from('1'), 0, false)
  const before = await portrait(vfs, '/d')
  await unlink(vfs, '/d/f')
  assert.equal(await vfs.lookup(root, await nodeAt(vfs, '/d'), 'f'), undefined)
  await rig.now.settleOrphans()
  assert.deepEqual((await listed(rig)).map(({ removedSec: _, ...line }) => line), [{ id: f, path: '/d/f', name: 'f', type: 'file', sizeBytes: 10 }])
  assert.deepEqual((await pool.status()).trash, [{ of: '/', on: true, keepDays: 2, items: 1, bytes: 10 }])
  await rig.check()
  assert.deepEqual(await restore(rig, '/d/f'), { path: '/d/f', restored: 1, skipped: 0 })
  assert.deepEqual(await portrait(rig.now.vfs, '/d'), before)
  assert.deepEqual(await paths(rig), [])
  await assert.rejects(restore(rig, '/d/f'), refusedAs('exists'))
  await assert.rejects(restore(rig, '/d/g'), refusedAs('missing'))
  await rig.end()
})

test('a file that is replaced by a rename is kept; the newest of one path comes back, a taken name is refused', { timeout: 60_000 }, async () => {
  const rig = await makeRig(2)
  const { vfs, pool } = rig.now
  await pool.trash.enable('/', undefined)
  const inos: number[] = []
  for (const text of ['one', 'two', 'three']) {
    inos.push(await write(vfs, '/new', text))
    await rename(vfs, '/new', '/f')
  }
  assert.deepEqual(await paths(rig), ['/f', '/f'])
  await assert.rejects(restore(rig, '/f'), refusedAs('exists'))
  assert.equal((await restore(rig, '/f', '/old')).path, '/old')
  assert.equal((await readAll(vfs, await nodeAt(vfs, '/old'), 10)).toString(), 'two')
  await mkdir(vfs, '/into')
  assert.equal((await restore(rig, String(inos[0]), '/into')).path, '/into/f')
  assert.equal((await readAll(vfs, await nodeAt(vfs, '/into/f'), 10)).toString(), 'one')
  await assert.rejects(restore(rig, 'f'), refusedAs('usage'))
  await assert.rejects(restore(rig, String(inos[0]), '/no/such'), refusedAs('missing'))
  await rig.end()
})

test('a tree that was removed comes back whole, with its times; a file of it brings the folders on the way', { timeout: 60_000 }, async () => {
  const rig = await makeRig(3)
  const { vfs, pool } = rig.now
  await pool.trash.enable('/', 3)
  await mkdir(vfs, '/a', 0o750)
  await mkdir(vfs, '/a/b', 0o700)
  const deep = await mkdir(vfs, '/a/b/c')
  await vfs.setxattr(root, deep, 'user.k', Buffer.from('v'), 0, false)
  await write(vfs, '/a/b/c/old', 'removed long before')
  await unlink(vfs, '/a/b/c/old')
  for (let i = 0; i < 200; i++) await write(vfs, `/a/b/c/f${i}`, Buffer.alloc(i * 50, i))
  await write(vfs, '/a/one', 'hard')
  await vfs.link(root, await nodeAt(vfs, '/a/one'), await nodeAt(vfs, '/a/b'), 'two')
  await vfs.link(root, await nodeAt(vfs, '/a/one'), 1, 'outside')
  await vfs.symlink(root, await nodeAt(vfs, '/a/b'), 'link', 'to/there')
  const before = await portrait(vfs, '/a')
  await removeTree(vfs, '/a')
  assert.equal((await vfs.getattr(root, await nodeAt(vfs, '/outside'), 0)).nlink, 1)
  const { inodes } = await pool.status()
  await rig.die()
  await rig.check()
  assert.equal((await rig.now.pool.status()).inodes, inodes, 'the trash counts as used')
  assert.ok((await paths(rig)).includes('/a/b/c/f7'))
  const done = await restore(rig, '/a')
  assert.deepEqual(done, { path: '/a', restored: 206, skipped: 0 })
  await rig.check()
  assert.deepEqual(await portrait(rig.now.vfs, '/a'), before)
  assert.equal((await rig.now.vfs.getattr(root, await nodeAt(rig.now.vfs, '/outside'), 0)).nlink, 3)
  assert.deepEqual(await paths(rig), ['/a/b/c/old'])
  await removeTree(rig.now.vfs, '/a')
  assert.deepEqual(await restore(rig, '/a/b/c/f7'), { path: '/a/b/c/f7', restored: 4, skipped: 0 })
  const again = await portrait(rig.now.vfs, '/a')
  assert.ok(again[0].startsWith('/a 40750') && again[1].startsWith('/a/b 40700') && again.includes(`/a/b/c user.k 76`))
  assert.deepEqual(again.filter((line) => line.includes(' 100')).map((line) => line.split(' ')[0]), ['/a/b/c/f7'])
  await mkdir(rig.now.vfs, '/elsewhere')
  const rest = await restore(rig, '/a', undefined, 'all')
  assert.deepEqual([rest.path, rest.skipped], ['/a', 0])
  await write(rig.now.vfs, '/a/b/c/f7.new', '')
  await unlink(rig.now.vfs, '/a/b/c/f7.new')
  await unlink(rig.now.vfs, '/a/b/c/old')
  assert.deepEqual((await portrait(rig.now.vfs, '/a')).filter((l) => !/^\/a(\/b\/c)? /.test(l)), before.filter((l) => !/^\/a(\/b\/c)? /.test(l)), 'but for the mtimes of folders that were changed in between')
  await rig.end()
})

test('a new folder in the place of the old one takes what was in that; what cannot be placed is told', { timeout: 60_000 }, async () => {
  const rig = await makeRig(4)
  const { vfs, pool } = rig.now
  await pool.trash.enable('/', 3)
  const tree = async (): Promise<void> => {
    await mkdir(vfs, '/p')
    await mkdir(vfs, '/p/q')
    await write(vfs, '/p/q/f', 'f')
    await write(vfs, '/p/g', 'g')
    await removeTree(vfs, '/p')
  }
  await tree()
  await mkdir(vfs, '/p')
  await restore(rig, '/p/q/f')
  assert.deepEqual(await textOfPool(vfs, 1), ['/p/', '/p/q/', (await textOfPool(vfs, 1))[2]])
  await assert.rejects(restore(rig, '/p'), refusedAs('exists')) // the old one is in the trash, the new one in its place
  assert.deepEqual(await restore(rig, '/p', '/p2', 'all'), { path: '/p2', restored: 2, skipped: 0 }, 'g came with it, q is elsewhere')
  await removeTree(vfs, '/p')
  await removeTree(vfs, '/p2')
  await write(vfs, '/p', 'a file')
  await assert.rejects(restore(rig, '/p/q/f'), refusedAs('exists'))
  await unlink(vfs, '/p')
  await tree()
  await pool.trash.disable('/')
  await mkdir(vfs, '/lost')
  await pool.trash.enable('/', 3)
  const lost = await write(vfs, '/lost/f', 'lost')
  await unlink(vfs, '/lost/f')
  await pool.trash.disable('/')
  await vfs.rmdir(root, 1, 'lost')
  assert.equal((await paths(rig)).at(-1), null)
  await assert.rejects(restore(rig, String(lost)), refusedAs('missing'))
  assert.equal((await restore(rig, String(lost), '/found')).path, '/found')
  assert.equal((await pool.status()).trash[0].on, false)
  await rig.end()
})

test('subvolumes keep trash of their own, and go when it is empty', { timeout: 60_000 }, async () => {
  const rig = await makeRig(5)
  const { vfs, pool } = rig.now
  await pool.subvolumes.create('/s')
  await pool.trash.enable('/s', 1)
  await write(vfs, '/f', 'f')
  await unlink(vfs, '/f')
  await write(vfs, '/s/f', 'f')
  await unlink(vfs, '/s/f')
  assert.deepEqual([await paths(rig), await paths(rig, '/s')], [[], ['/s/f']])
  await assert.rejects(restore(rig, '/s/f', '/g'), refusedAs('usage'))
  await restore(rig, '/s/f', '/s/g')
  await unlink(vfs, '/s/g')
  await assert.rejects(pool.subvolumes.remove('/s'), refusedAs('usage'))
  await assert.rejects(pool.trash.enable('/f', 1), refusedAs('missing'))
  await assert.rejects(pool.trash.enable('v', 1), refusedAs('usage'))
  for (const days of [NaN, 0, -1, 1e9]) await assert.rejects(pool.trash.enable('/s', days), refusedAs('usage'))
  await rig.check()
  assert.equal(await rig.now.pool.trash.empty('/s', undefined), 1)
  await rig.now.pool.subvolumes.remove('/s')
  await rig.now.settleOrphans()
  assert.deepEqual((await rig.now.pool.status()).trash, [])
  await rig.end()
})

test('snapshots show no trash, and hold nothing of what was in it before them', { timeout: 60_000 }, async () => {
  const rig = await makeRig(6)
  const { vfs, pool, store } = rig.now
  await pool.trash.enable('/', 1)
  const f = await write(vfs, '/f', Buffer.alloc(3 * MIB, 1))
  await vfs.setxattr(root, f, 'user.x', Buffer.from('1'), 0, false)
  await unlink(vfs, '/f')
  await pool.snapshots.create('/@s')
  assert.deepEqual(await textOfPool(vfs, await nodeAt(vfs, '/.snapshots/s')), [])
  await write(vfs, '/h', 'h')
  await unlink(vfs, '/h')
  await pool.snapshots.create('/@r')
  await restore(rig, '/h')
  assert.deepEqual(await textOfPool(vfs, await nodeAt(vfs, '/.snapshots/r')), [])
  assert.equal((await textOfPool(vfs, 1)).length, 1)
  await rig.now.data.flush()
  assert.equal(await pool.trash.empty('/', undefined), 1)
  await rig.now.settleOrphans()
  assert.equal(store.status().usedBytes, 0)

  await write(vfs, '/g', Buffer.alloc(MIB, 2))
  await pool.snapshots.create('/@t')
  await unlink(vfs, '/g')
  await pool.snapshots.create('/@u')
  await rig.now.data.flush()
  await pool.trash.empty('/', undefined)
  await rig.now.settleOrphans()
  assert.equal(store.status().usedBytes, MIB, 't shows it')
  const shown = await nodeAt(vfs, '/.snapshots/t/g')
  assert.ok((await readAll(vfs, shown, MIB)).equals(Buffer.alloc(MIB, 2)))
  await rig.check()
  await rig.now.pool.snapshots.remove('/@t')
  await rig.now.pool.snapshots.settle()
  assert.equal(rig.now.store.status().usedBytes, 0, 'u holds nothing of it')
  await rig.now.pool.snapshots.remove('/@s')
  await rig.now.pool.snapshots.remove('/@r')
  await rig.now.pool.snapshots.remove('/@u')
  await rig.now.pool.snapshots.settle()
  assert.equal(await historyRows(rig.now), 0)
  await rig.end()
})

test('what is older than its days goes by itself, also of a trash that is off; what is open stays until it is closed', { timeout: 60_000 }, async () => {
  let skewSec = 0
  const clock: Clock = { ...systemClock, realtime(out) {
    systemClock.realtime(out)
    out.sec += skewSec
  } }
  const rig = await makeRig(7, undefined, undefined, clock)
  const { vfs, pool } = rig.now
  await pool.trash.enable('/', 2)
  await write(vfs, '/old', 'old')
  const open = await write(vfs, '/open', 'open')
  const { handle } = await vfs.open(root, open, 2)
  await unlink(vfs, '/old')
  await unlink(vfs, '/open')
  skewSec += 86400
  await write(vfs, '/young', 'young')
  await unlink(vfs, '/young')
  assert.equal(await pool.trash.empty('/', 2), 0)
  skewSec += 86400 + 10
  assert.deepEqual(await paths(rig), ['/old', '/open', '/young'])
  assert.equal(await pool.trash.empty('/', 2), 2)
  await rig.now.settleOrphans()
  assert.equal((await readAll(vfs, open, 10)).toString(), 'open')
  assert.equal((await pool.status()).inodes, 3)
  await vfs.release(root, open, handle)
  await rig.now.settleOrphans()
  assert.equal((await pool.status()).inodes, 2)
  await pool.trash.disable('/')
  skewSec += 86400
  await rig.reopen()
  for (let i = 0; (await paths(rig)).length > 0; i++) {
    assert.ok(i < 500, 'emptied in the background')
    await systemClock.sleep(10)
  }
  await rig.now.settleOrphans()
  assert.equal((await rig.now.pool.status()).inodes, 1)
  await rig.end()
})

test('a kill in the middle of a restoration: the rest is in the trash, and comes with --all', { timeout: 60_000 }, async () => {
  const rig = await makeRig(8)
  await rig.now.pool.trash.enable('/', 1)
  await mkdir(rig.now.vfs, '/a')
  for (let i = 0; i < 300; i++) await write(rig.now.vfs, `/a/f${i}`, String(i))
  const whole = await textOfPool(rig.now.vfs, 1)
  await removeTree(rig.now.vfs, '/a')
  let told = 0
  let dying: Promise<void> | undefined
  await rig.now.pool.trash.restore('/a', undefined, 'together', () => {
    if (++told === 100) dying = rig.die() // copies the files as they are now, at once
  }).catch(() => undefined)
  await dying
  const left = (await paths(rig)).length
  assert.ok(left > 0 && left < 300, `${left} are left`)
  await rig.check()
  assert.equal((await restore(rig, '/a', undefined, 'all')).restored, left)
  assert.deepEqual(await textOfPool(rig.now.vfs, 1), whole)
  await rig.end()
})

test('fsck sees a trash that is wrong, and repairs it', { timeout: 60_000 }, async () => {
  const rig = await makeRig(9)
  const { vfs, engine, pool } = rig.now
  await pool.trash.enable('/', 1)
  const [lost, both] = [await write(vfs, '/lost', 'lost'), await write(vfs, '/both', 'both')]
  await unlink(vfs, '/lost')
  await unlink(vfs, '/both')
  const rows = await engine.reader(root).scan({ from: 'Q', to: 'R', limit: 10 })
  const rowOf = (ino: number): string => rows.find(({ key }) => trashIno(key) === ino)!.key
  await engine.transact(root, (tx) => {
    tx.delete(rowOf(lost)) // an inode that is nowhere, sums that are wrong
    tx.put(orphanKey(engine.session, both), encodeOrphan(1, 0)) // on two lists
    tx.put(trashKey(1, { sec: 5, nsec: 6 }, 999), encodeRemoved(1, { parent: 1, name: 'no', typeBits: 0o100000, sizeBytes: 7, beforeSec: 0, beforeNsec: 0 })) // no such inode
  })
  const { folder } = pool
  await pool.close()
  const look = async (repair: boolean): Promise<string[]> => {
    const found: string[] = []
    await fsckPool(folder, { clock: systemClock, random: seededRandom(1), repair, isLive: false, found: ({ what }) => found.push(what), did: () => undefined })
    return found
  }
  assert.deepEqual((await look(true)).sort(), [
    'has no links and is on no list', 'is on 2 lists of inodes without links', 'is on a list and is no inode', 'the trash of domain 1 says 2 things of 8 bytes, and holds 2 of 11'
  ])
  assert.deepEqual(await look(false), [])
  await rig.reopen()
  assert.deepEqual(await paths(rig), [])
  assert.equal((await readAll(rig.now.vfs, await nodeAt(rig.now.vfs, `/lost+found/#${lost}`), 9)).toString(), 'lost')
  await rig.end()
})
