/** Volumes in a pool on a real folder: making and removing them, one writer, and random use against a byte array, with kills in between. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import fc from 'fast-check'
import { formatPool, fsckPool, makeFolder, openPool } from '../../src/pool/index.js'
import type { Pool, Seams } from '../../src/pool/index.js'
import type { Engine } from '../../src/engine/index.js'
import { openTree } from '../../src/meta/index.js'
import { snapshotKey, volumeKey } from '../../src/meta/keys.js'
import { encodeVolume } from '../../src/meta/rows.js'
import { PosixError, rootContext, seededRandom, systemClock } from '../../src/sys/index.js'
import { VolumeError } from '../../src/volume/index.js'
import type { OpenVolume } from '../../src/volume/index.js'
import { takeSnapshot } from '../meta/pools.js'

const MIB = 1024 ** 2
const parts = { clock: systemClock, random: seededRandom(7) }
const open = (folder: string): Promise<Pool> => openPool(folder, { ...parts, vfs: {}, note: () => undefined })

async function folderFor(t: TestContext): Promise<string> {
  const top = mkdtempSync(join(tmpdir(), 'ogee-volume-'))
  t.after(() => rmSync(top, { recursive: true, force: true }))
  const folder = join(top, 'pool')
  makeFolder(folder)
  await formatPool(folder, { ...parts, sizeBytes: 256 * MIB, seams: { logBytes: 8 * MIB } })
  return folder
}

const refusedAs = (reason: string) => (e: unknown): boolean => e instanceof VolumeError && e.reason === reason && /: .+\.$/.test(e.message)
const fails = (code: string) => (e: unknown): boolean => e instanceof PosixError && e.code === code

async function isWhole(folder: string): Promise<void> {
  const findings: string[] = []
  await fsckPool(folder, { ...parts, isLive: false, repair: false, found: ({ ino, what }) => findings.push(`${ino} ${what}`), did: () => undefined })
  assert.deepEqual(findings, [])
}

async function bytesOf(volume: OpenVolume, from = 0, to = volume.sizeBytes): Promise<Buffer> {
  const into = Buffer.alloc(to - from, 0xee)
  assert.equal(await volume.read(from, into.length, into, 0), into.length)
  return into
}

test('a volume is made, listed, resized, renamed and removed, and the pool is whole all along', async (t) => {
  const folder = await folderFor(t)
  let pool = await open(folder)
  const { volumes } = pool
  const before = (await pool.status()).space.usedBytes
  const made = await volumes.create('db', 64 * MIB)
  assert.deepEqual([made.name, made.sizeBytes, made.allocatedBytes, made.writer, made.opens], ['db', 64 * MIB, 0, null, 0])
  await volumes.create('a', 512)
  assert.deepEqual((await volumes.list()).map((v) => v.name), ['a', 'db'])
  for (const name of ['', '.x', '-x', 'a/b', 'a@b', 'a b', 'x'.repeat(129)]) await assert.rejects(volumes.create(name, 512), refusedAs('usage'), name)
  for (const size of [0, -512, 511, 513, 16 * 1024 ** 4 + 512, NaN]) await assert.rejects(volumes.create('n', size), refusedAs('usage'), `${size}`)
  await assert.rejects(volumes.create('db', 512), refusedAs('exists'))
  await assert.rejects(volumes.rename('db', 'a'), refusedAs('exists'))
  await assert.rejects(volumes.rename('x', 'y'), refusedAs('missing'))
  await assert.rejects(volumes.info('x'), refusedAs('missing'))
  await assert.rejects(volumes.open('x', 'me'), refusedAs('missing'))

  const volume = await volumes.open('db', 'me')
  await volume.write(MIB, Buffer.alloc(MIB, 7), 0, MIB)
  await volume.flush()
  assert.equal((await volumes.rename('db', 'data')).writer, 'me')
  assert.equal(volume.name, 'data')
  await volumes.resize('data', 128 * MIB, 'keep')
  assert.equal(volume.sizeBytes, 128 * MIB)
  await volume.write(127 * MIB, Buffer.alloc(4096, 8), 0, 4096)
  await assert.rejects(volumes.resize('data', MIB, 'keep'), refusedAs('usage'))
  await assert.rejects(volumes.resize('data', MIB, 'cut'), refusedAs('in-use'))
  await assert.rejects(volumes.remove('data'), refusedAs('in-use'))
  volume.close()
  await pool.close()
  await isWhole(folder)

  pool = await open(folder)
  const again = await pool.volumes.open('data', 'me')
  assert.ok((await bytesOf(again, MIB, 2 * MIB)).equals(Buffer.alloc(MIB, 7)))
  assert.ok((await bytesOf(again, 127 * MIB, 127 * MIB + 8192)).equals(Buffer.concat([Buffer.alloc(4096, 8), Buffer.alloc(4096)])))
  again.close()
  await pool.volumes.resize('data', MIB, 'cut')
  await pool.volumes.remove('data')
  await pool.volumes.remove('a')
  assert.deepEqual(await pool.volumes.list(), [])
  await pool.close()
  await isWhole(folder)
  pool = await open(folder)
  await pool.close()
  pool = await open(folder)
  assert.equal((await pool.status()).space.usedBytes, before)
  await pool.close()
  await isWhole(folder)
})

test('a write over what the volume has goes in place in the tick, small ones after a flush too', async (t) => {
  const pool = await open(await folderFor(t))
  await pool.volumes.create('v', 8 * MIB)
  const volume = await pool.volumes.open('v', 'me')
  await volume.write(0, Buffer.alloc(MIB, 1), 0, MIB)
  await volume.flush()
  for (const [offset, length] of [[0, 4096], [512, 512], [4000, 5000], [MIB - 4096, 4096]]) {
    assert.equal(volume.write(offset, Buffer.alloc(length, 2), 0, length), undefined)
    await volume.flush()
  }
  assert.ok(volume.write(MIB - 4096, Buffer.alloc(8192, 3), 0, 8192) instanceof Promise, 'in part over nothing')
  volume.close()
  await pool.close()
})

test('one writer: others read, and write after it has gone; who is taken over writes nothing more', async (t) => {
  const pool = await open(await folderFor(t))
  await pool.volumes.create('v', MIB)
  const one = await pool.volumes.open('v', 'one')
  const second = await pool.volumes.open('v', 'one')
  const other = await pool.volumes.open('v', 'other')
  const bytes = Buffer.alloc(4096, 1)
  assert.equal(other.refusal, undefined)
  await one.write(0, bytes, 0, 4096)
  await second.write(4096, bytes, 0, 4096)
  assert.equal(second.refusal, undefined)
  assert.match(other.refusal ?? '', /written by one: .*--takeover\)\.$/)
  await assert.rejects(async () => other.write(0, bytes, 0, 4096), fails('EPERM'))
  await assert.rejects(other.trim(0, 4096), fails('EPERM'))
  await assert.rejects(other.zero(0, 4096, 'hold'), fails('EPERM'))
  assert.ok((await bytesOf(other, 0, 4096)).equals(bytes))

  const late = one.write(8192, bytes, 0, 4096)
  assert.equal(await pool.volumes.takeOver('v'), 'one')
  await late // it was on its way: it is done before the lease has gone
  await other.write(0, Buffer.alloc(4096, 2), 0, 4096)
  await assert.rejects(async () => one.write(0, bytes, 0, 4096), fails('EIO'))
  await assert.rejects(async () => second.write(0, bytes, 0, 4096), fails('EIO'))
  assert.ok((await bytesOf(other, 0, 4096)).equals(Buffer.alloc(4096, 2)))
  assert.equal((await pool.volumes.info('v')).writer, 'other')

  other.close()
  await assert.rejects(async () => one.write(0, bytes, 0, 4096), fails('EIO')) // nobody writes, and still
  one.close()
  second.close()
  const back = await pool.volumes.open('v', 'one')
  await back.write(0, bytes, 0, 4096)
  back.close()
  assert.equal(await pool.volumes.takeOver('v'), undefined)
  await pool.close()
})

test('a snapshot of a volume is read as it was, and gives EIO when it is gone', async (t) => {
  let floors: Parameters<NonNullable<Seams['opened']>>[0] | undefined
  const pool = await openPool(await folderFor(t), { ...parts, vfs: {}, note: () => undefined, seams: { opened: (f) => { floors = f } } })
  const { inode } = await pool.volumes.create('v', MIB)
  const volume = await pool.volumes.open('v', 'me')
  await volume.write(4096, Buffer.alloc(100_000, 1), 0, 100_000)
  const { engine, data } = floors!
  const tree = openTree({ hashKey: pool.superblock.nameKey })
  const op = { ctx: rootContext, now: { sec: 1, nsec: 2 }, check: false, session: engine.session }
  await data.quiesce(rootContext, () => engine.transact(rootContext, (tx) => takeSnapshot(tree, tx, op, inode, 's')))
  await volume.write(8192, Buffer.alloc(4096, 2), 0, 4096)
  await volume.trim(65536, 4096)
  await assert.rejects(pool.volumes.open('v@t', 'me'), refusedAs('missing'))
  await assert.rejects(pool.volumes.remove('v'), refusedAs('in-use'))
  const past = await pool.volumes.open('v@s', 'me')
  const want = Buffer.alloc(MIB)
  want.fill(1, 4096, 104_096)
  assert.ok((await bytesOf(past)).equals(want))
  assert.deepEqual((await past.layout(0, 4096, 1)).map(({ kind }) => kind), ['hole'])
  assert.match(past.refusal ?? '', /is a snapshot/)
  await assert.rejects(async () => past.write(0, want, 0, 512), fails('EPERM'))
  await engine.transact(rootContext, (tx) => tx.delete(snapshotKey(inode, 's')))
  await assert.rejects(bytesOf(past), fails('EIO'))
  past.close()
  volume.close()
  await pool.close()
})

test('fsck finds what is wrong with the table of volumes, and repairs it', async (t) => {
  const folder = await folderFor(t)
  const fsck = async (repair: boolean): Promise<string[]> => {
    const said: string[] = []
    await fsckPool(folder, { ...parts, isLive: false, repair, found: ({ ino, what }) => said.push(`${ino} ${what}`), did: (ino, what) => said.push(`${ino}: ${what}`) })
    return said
  }
  let engine: Engine | undefined
  const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined, seams: { opened: (floors) => { engine = floors.engine } } })
  const { inode } = await pool.volumes.create('kept', MIB)
  const lost = await pool.volumes.create('lost', MIB)
  const volume = await pool.volumes.open('lost', 'me')
  await volume.write(4096, Buffer.alloc(4096, 3), 0, 4096)
  volume.close()
  await engine!.transact(rootContext, (tx) => {
    tx.delete(volumeKey('lost'))
    tx.put(volumeKey('twice'), encodeVolume(inode))
    tx.put(volumeKey('nothing'), encodeVolume(lost.inode + 1))
    tx.put(volumeKey('torn'), new Uint8Array([1, 2]))
  })
  await pool.close()
  assert.deepEqual((await fsck(false)).sort(), [
    `${inode} is volume "twice" and "kept"`, `${lost.inode + 1} is volume "nothing", and is none`, '0 volume "torn" cannot be read', `${lost.inode} is a volume that has no name`].sort())
  const did = await fsck(true)
  for (const name of ['twice', 'nothing', 'torn']) assert.ok(did.some((line) => line.includes(`"${name}" led to no volume`)), did.join('; '))
  assert.ok(did.includes(`${lost.inode}: was a volume without a name, and is volume lost-${lost.inode} now`), did.join('; '))
  await isWhole(folder)
  const again = await open(folder)
  assert.deepEqual((await again.volumes.list()).map((v) => v.name), ['kept', `lost-${lost.inode}`])
  const back = await again.volumes.open(`lost-${lost.inode}`, 'me')
  assert.ok((await bytesOf(back, 4096, 8192)).equals(Buffer.alloc(4096, 3)))
  back.close()
  await again.close()
})

// ------------------------------------------------------------------------------------------------------ against a byte array

const SIZE = 2 * MIB
const range = fc.record({ offset: fc.integer({ min: 0, max: 2 * SIZE / 512 }), sectors: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 1024 })), byte: fc.boolean() })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('write' as const), at: range, fill: fc.integer({ min: 1, max: 255 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('trim' as const), at: range }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('free' as const, 'hold' as const), at: range }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('resize' as const), sectors: fc.integer({ min: 1, max: 2 * SIZE / 512 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('kill' as const) }) })

/** What a killed daemon leaves: the folder as it is now, page cache included. */
function killed(folder: string, to: string): void {
  rmSync(to, { recursive: true, force: true })
  execFileSync('cp', ['-r', '--sparse=always', folder, to])
}

test('random writes, trims, zeroes, resizes and kills give what a byte array gives', async (t) => {
  const base = await folderFor(t)
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 24 }), async (steps) => {
    const top = mkdtempSync(join(tmpdir(), 'ogee-volume-'))
    try {
      let generation = 0
      let folder = join(top, '0')
      killed(base, folder)
      let pool = await open(folder)
      await pool.volumes.create('v', SIZE)
      let volume = await pool.volumes.open('v', 'me')
      let want = Buffer.alloc(SIZE)
      const check = async (): Promise<void> => {
        assert.equal(volume.sizeBytes, want.length)
        assert.ok((await bytesOf(volume)).equals(want))
        let at = 0
        while (at < want.length) {
          for (const { kind, lengthBytes } of await volume.layout(at, want.length - at, 4)) {
            assert.ok(lengthBytes > 0)
            if (kind !== 'data') assert.ok(want.subarray(at, at + lengthBytes).every((b) => b === 0))
            at += lengthBytes
          }
        }
        assert.equal(at, want.length)
      }
      for (const s of steps) {
        if (s.op === 'flush') await volume.flush()
        else if (s.op === 'kill') {
          const next = join(top, `${++generation}`)
          killed(folder, next)
          volume.close()
          await pool.close()
          pool = await open((folder = next))
          volume = await pool.volumes.open('v', 'me')
          await check()
        } else if (s.op === 'resize') {
          const size = s.sectors * 512
          volume.close()
          await pool.volumes.resize('v', size, 'cut')
          volume = await pool.volumes.open('v', 'me')
          const was = want
          want = Buffer.alloc(size)
          was.copy(want)
        } else {
          const offset = Math.min(want.length - 1, (s.at.offset * 512) % want.length + (s.at.byte ? 7 : 0))
          const length = Math.min(want.length - offset, s.at.sectors * 512)
          if (s.op === 'write') {
            await volume.write(offset, Buffer.alloc(length + 3, s.fill), 3, length)
            want.fill(s.fill, offset, offset + length)
          } else {
            if (s.op === 'trim') await volume.trim(offset, length)
            else await volume.zero(offset, length, s.op)
            want.fill(0, offset, offset + length)
          }
        }
      }
      await check()
      volume.close()
      await pool.close()
      await isWhole(folder)
    } finally {
      rmSync(top, { recursive: true, force: true })
    }
  }), { numRuns: Number(process.env.OGEE_RUNS ?? 25), ...(process.env.OGEE_SEED === undefined ? {} : { seed: Number(process.env.OGEE_SEED) }) })
})
