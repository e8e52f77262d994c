/** Images: what comes out of one is what went in, whole and in increments; one that is cut, damaged or does not fit changes nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Refusal } from '../../src/pool/index.js'
import type { Pool } from '../../src/pool/index.js'
import { VolumeError } from '../../src/volume/index.js'
import { crc32, rootContext as root, seededRandom } from '../../src/sys/index.js'
import { change } from './churn.js'
import { bytesOf, makeRig, MIB, nodeAt } from './rig.js'
import type { Opened } from './rig.js'

const SEEDS = Number(process.env.RUNS ?? 10)

async function imageOf(pool: Pool, snapshot: string, since?: string): Promise<Buffer> {
  const parts: Buffer[] = []
  await pool.images.export(snapshot, since, async (bytes) => void parts.push(Buffer.from(bytes)))
  return Buffer.concat(parts)
}

const importInto = (pool: Pool, to: string, image: Buffer, progress: (done: number, of: number) => Promise<void> | void = () => undefined, halfDone: 'refuse' | 'remove' = 'refuse'): Promise<string> => pool.images.import(to, {
  sizeBytes: image.length,
  read: async (at, into) => image.copy(into, 0, at, at + into.length)
}, halfDone, progress, () => undefined)

const reasonOf = (work: Promise<unknown>): Promise<string> => work.then(() => '', (e: unknown) => {
  assert.ok(e instanceof Refusal, String(e))
  return e.reason
})

/** Everything that an image keeps, path by path: files with several names by their first. */
async function textOf({ vfs, data }: Opened, top: string): Promise<string[]> {
  const lines: string[] = []
  const first = new Map<number, string>()
  async function look(node: number, path: string): Promise<void> {
    const a = await vfs.getattr(root, node, 0)
    const type = a.mode & 0o170000
    const bytes = Buffer.alloc(type === 0o100000 ? a.sizeBytes : 0)
    if (bytes.length > 0) await vfs.read(root, node, 0, 0, bytes.length, bytes, 0)
    const xattrs: string[] = []
    for (const name of await vfs.listxattr(root, node)) if (name !== 'trusted.ogee.origin') xattrs.push(`${name}=${Buffer.from((await vfs.getxattr(root, node, name))!).toString('hex')}`)
    const same = first.get(node)
    first.set(node, same ?? path)
    const target = type === 0o120000 ? await vfs.readlink(root, node) : ''
    const birth = path === '' ? '' : `${a.btimeSec}.${a.btimeNsec}` // the domain's root is made by the import
    lines.push([path, a.mode.toString(8), a.nlink, a.uid, a.gid, a.rdev, type === 0o040000 ? '' : a.sizeBytes, `${a.mtimeSec}.${a.mtimeNsec}`, birth, target, xattrs.sort().join(), same ?? '', crc32(bytes)].join('|'))
    if (type !== 0o040000) return
    const names: string[] = []
    await vfs.readdir(root, node, 0, 0, 0, { entry: (name) => (name === '.' || name === '..' ? true : names.push(name) > 0) }, false)
    for (const name of names.sort()) await look((await vfs.lookup(root, node, name))!.ino, `${path}/${name}`)
  }
  assert.ok(data !== undefined)
  await look(await nodeAt(vfs, top), '')
  return lines
}

test('a tree goes through images as it was, whole and in increments', { timeout: 300_000 }, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = seededRandom(seed)
    const from = await makeRig(seed)
    const to = await makeRig(seed + 1000)
    await from.now.pool.subvolumes.create('/home')
    const home = await nodeAt(from.now.vfs, '/home')
    for (let n = 0; n < 4; n++) {
      for (let i = 0; i < 25; i++) await change(from.now.vfs, home, random)
      await from.now.pool.snapshots.create(`/home@s${n}`)
      const image = await imageOf(from.now.pool, `/home@s${n}`, n === 0 ? undefined : `s${n - 1}`)
      await from.now.data.flush()
      assert.deepEqual(await imageOf(from.now.pool, `/home@s${n}`, n === 0 ? undefined : `s${n - 1}`), image, 'same snapshot, same bytes')
      assert.equal(await importInto(to.now.pool, '/copy', image), `/copy@s${n}`)
      assert.deepEqual(await textOf(to.now, `/copy/.snapshots/s${n}`), await textOf(from.now, `/home/.snapshots/s${n}`), `seed ${seed}, s${n}`)
      if (n === 2) await to.reopen()
    }
    // from the first to the last at once
    await importInto(to.now.pool, '/short', await imageOf(from.now.pool, '/home@s0'))
    await importInto(to.now.pool, '/short', await imageOf(from.now.pool, '/home@s3', 's0'))
    assert.deepEqual(await textOf(to.now, '/short'), await textOf(from.now, '/home/.snapshots/s3'), `seed ${seed}`)
    assert.deepEqual(await textOf(to.now, '/copy/.snapshots/s0'), await textOf(from.now, '/home/.snapshots/s0'), 'what was imported first stays')
    await from.end()
    await to.end()
  }
})

test('a clone goes through images as any tree, also where nobody looked into it', { timeout: 300_000 }, async () => {
  for (let seed = 1; seed <= Math.ceil(SEEDS / 2); seed++) {
    const random = seededRandom(seed + 500)
    const from = await makeRig(seed)
    const to = await makeRig(seed + 1000)
    await from.now.pool.subvolumes.create('/home')
    const home = await nodeAt(from.now.vfs, '/home')
    for (let i = 0; i < 40; i++) await change(from.now.vfs, home, random)
    await from.now.pool.snapshots.create('/home@s')
    for (let i = 0; i < 10; i++) await change(from.now.vfs, home, random)
    await from.now.pool.clones.clone('/home@s', '/clone')
    await from.now.pool.snapshots.create('/clone@a')
    await importInto(to.now.pool, '/a', await imageOf(from.now.pool, '/clone@a'))
    assert.deepEqual(await textOf(to.now, '/a'), await textOf(from.now, '/home/.snapshots/s'), `seed ${seed}`)
    await from.now.pool.clones.clone('/clone@a', '/second')
    const second = await nodeAt(from.now.vfs, '/second')
    await from.now.pool.snapshots.create('/second@a')
    for (let i = 0; i < 15; i++) await change(from.now.vfs, second, random)
    await from.now.pool.snapshots.create('/second@b')
    await importInto(to.now.pool, '/b', await imageOf(from.now.pool, '/second@a'))
    await importInto(to.now.pool, '/b', await imageOf(from.now.pool, '/second@b', 'a'))
    assert.deepEqual(await textOf(to.now, '/b'), await textOf(from.now, '/second'), `seed ${seed}`)
    assert.deepEqual(await textOf(from.now, '/second/.snapshots/a'), await textOf(from.now, '/home/.snapshots/s'), `seed ${seed}`)
    await importInto(to.now.pool, '/c', await imageOf(from.now.pool, '/clone@a')) // and again, visited now
    await from.end()
    await to.end()
  }
})

test('an image that is cut, damaged or does not fit changes nothing', async () => {
  const rig = await makeRig(7)
  const { pool, vfs } = rig.now
  const random = seededRandom(7)
  await pool.subvolumes.create('/a')
  const a = await nodeAt(vfs, '/a')
  for (let i = 0; i < 30; i++) await change(vfs, a, random)
  await pool.snapshots.create('/a@one')
  await vfs.mknod(root, a, 'new', 0o100644, 0, 0)
  await pool.snapshots.create('/a@two')
  const whole = await imageOf(pool, '/a@one')
  const more = await imageOf(pool, '/a@two', 'one')
  const names = async (): Promise<string[]> => (await pool.subvolumes.list()).map((s) => s.path)
  for (let i = 0; i < 40; i++) {
    const cut = random.uint32() % whole.length
    assert.equal(await reasonOf(importInto(pool, '/b', whole.subarray(0, cut))), 'damaged', `cut after ${cut}`)
    const wrong = Buffer.from(whole)
    wrong[random.uint32() % wrong.length] ^= 1 << (random.uint32() % 8)
    assert.equal(await reasonOf(importInto(pool, '/b', wrong)), 'damaged')
  }
  assert.equal(await reasonOf(importInto(pool, '/b', Buffer.concat([whole.subarray(0, whole.length / 2), more.subarray(more.length / 2)]))), 'damaged', 'two images')
  assert.deepEqual(await names(), ['/', '/a'])
  assert.equal(await reasonOf(importInto(pool, '/b', more)), 'missing', 'an increment needs its base')
  await pool.subvolumes.create('/c')
  await pool.snapshots.create('/c@one')
  assert.equal(await reasonOf(importInto(pool, '/c', more)), 'usage', 'another one of that name')
  await importInto(pool, '/b', whole)
  assert.equal(await reasonOf(importInto(pool, '/b', whole)), 'exists')
  await vfs.mkdir(root, await nodeAt(vfs, '/b'), 'mine', 0o755, 0)
  assert.equal(await reasonOf(importInto(pool, '/b', more)), 'in-use', 'changed since')
  await vfs.rmdir(root, await nodeAt(vfs, '/b'), 'mine')
  assert.deepEqual(await reasonOf(pool.images.export('/a', undefined, async () => undefined)), 'usage')
  assert.deepEqual(await reasonOf(pool.images.export('/a@one', 'two', async () => undefined)), 'usage')
  await rig.end()
})

test('a volume goes through images, and holes stay holes', async () => {
  const from = await makeRig(8)
  const to = await makeRig(9)
  await from.now.pool.volumes.create('v', 64 * MIB)
  const v = await from.now.pool.volumes.open('v', 'test')
  const bytes = Buffer.from(seededRandom(1).bytes(MIB))
  await v.write(MIB, bytes, 0, MIB)
  await from.now.pool.snapshots.create('v@one')
  await v.write(8 * MIB + 512, bytes, 0, 512)
  await v.trim(MIB, MIB / 2)
  await from.now.pool.volumes.resize('v', 65 * MIB, 'keep')
  await from.now.pool.snapshots.create('v@two')
  v.close()
  assert.equal(await importInto(to.now.pool, 'w', await imageOf(from.now.pool, 'v@one')), 'w@one')
  assert.equal((await to.now.pool.volumes.info('w')).allocatedBytes, MIB)
  const increment = await imageOf(from.now.pool, 'v@two', 'v@one')
  assert.ok(increment.length < 16 * 1024, `${increment.length} bytes for 512`)
  const reader = await to.now.pool.volumes.open('w', 'reader')
  assert.equal(await reasonOf(importInto(to.now.pool, 'w', increment)), 'in-use')
  reader.close()
  let tried = 0
  assert.equal(await importInto(to.now.pool, 'w', increment, async (done, of) => {
    if (done > of / 2) tried++ // what is half made is nobody's to see
    if (done > of / 2) await assert.rejects(to.now.pool.volumes.open('w', 'reader'), VolumeError)
  }), 'w@two')
  assert.ok(tried > 0)
  for (const snapshot of ['one', 'two']) {
    const raw = async (pool: Pool, name: string): Promise<Buffer> => {
      const parts: Buffer[] = []
      await pool.images.exportRaw(`${name}@${snapshot}`, async (part) => void parts.push(Buffer.from(part)))
      return Buffer.concat(parts)
    }
    const [a, b] = [await raw(from.now.pool, 'v'), await raw(to.now.pool, 'w')]
    assert.equal(a.length, (snapshot === 'one' ? 64 : 65) * MIB)
    assert.ok(a.equals(b), snapshot)
  }
  await from.end()
  await to.end()
})

test('what an import left half done goes with the next one, when that is told to', async () => {
  const from = await makeRig(21)
  const to = await makeRig(22)
  const random = seededRandom(21)
  await from.now.pool.subvolumes.create('/home')
  const home = await nodeAt(from.now.vfs, '/home')
  const images = new Map<string, Buffer[]>([['/home', []], ['v', []]])
  await from.now.pool.volumes.create('v', 2 * MIB)
  for (const name of ['a', 'b']) {
    for (let i = 0; i < 40; i++) await change(from.now.vfs, home, random)
    const volume = await from.now.pool.volumes.open('v', 'me')
    for (let i = 0; i < 20; i++) await volume.write((random.uint32() % 500) * 4096, Buffer.from(random.bytes(4096)), 0, 4096)
    volume.close()
    for (const of of ['/home', 'v']) {
      await from.now.pool.snapshots.create(`${of}@${name}`)
      images.get(of)!.push(await imageOf(from.now.pool, `${of}@${name}`, name === 'a' ? undefined : 'a'))
    }
  }
  for (const [of, [whole, more]] of images) {
    const same = async (name: string): Promise<void> => of === 'v'
      ? assert.ok((await bytesOf(to.now, `v@${name}`)).equals(await bytesOf(from.now, `v@${name}`)))
      : assert.deepEqual(await textOf(to.now, `/home/.snapshots/${name}`), await textOf(from.now, `/home/.snapshots/${name}`))
    for (const image of [whole, more]) {
      for (const part of [0.55, 0.75, 0.95]) {
        const isAnew = part === 0.55 ? 'refuse' : 'remove'
        await assert.rejects(importInto(to.now.pool, of, image, (done, all) => {
          if (done > all * part) throw new Error('enough')
        }, isAnew), /enough/)
        if (part !== 0.75) await to.die()
        assert.equal(await reasonOf(importInto(to.now.pool, of, image)), 'exists')
      }
      const importing = importInto(to.now.pool, of, image, undefined, 'remove')
      await importing
      await same(image === whole ? 'a' : 'b')
      assert.notEqual(await reasonOf(importInto(to.now.pool, of, image, undefined, 'remove')), '', 'what is whole stays')
      await same('a')
    }
  }
  await from.end()
  await to.end()
})
