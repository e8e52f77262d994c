/** Clones of volumes: random use of origins, clones and clones of clones against byte arrays, with kills; what is refused, and what is given back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Refusal } from '../../src/pool/index.js'
import { rootContext } from '../../src/sys/index.js'
import { VolumeError } from '../../src/volume/index.js'
import { bytesOf, historyRows, makeRig, MIB } from './rig.js'
import type { Opened, Rig } from './rig.js'

const UNIT = 4096
const refusedAs = (reason: string, words: RegExp) => (e: unknown): boolean =>
  (e instanceof Refusal || e instanceof VolumeError) && e.reason === reason && words.test(e.message) && /[.:] .+\.$/.test(e.message)

async function write({ pool }: Opened, name: string, offset: number, bytes: Buffer): Promise<void> {
  const volume = await pool.volumes.open(name, 'me')
  await volume.write(offset, bytes, 0, bytes.length)
  volume.close()
}

/** All of it is given back when everything goes. */
async function removeAll(rig: Rig): Promise<void> {
  const { pool } = rig.now
  for (const v of await pool.volumes.list()) for (const s of await pool.snapshots.list(v.name)) await pool.snapshots.remove(s.snapshot)
  for (let left = await pool.volumes.list(); left.length > 0; left = await pool.volumes.list()) {
    const before = left.length
    for (const { name } of left) await pool.volumes.remove(name).catch(refusedAs('in-use', /clone/))
    assert.ok((await pool.volumes.list()).length < before, 'one of them is nobody\'s origin')
  }
  await rig.now.settleOrphans()
  await pool.snapshots.settle()
  await rig.check()
  await rig.now.pool.snapshots.settle()
  assert.equal(await historyRows(rig.now), 0)
  assert.equal(rig.now.store.status().usedBytes, 0)
}

test('a clone is there at once, holds what is written to it, and its origin stays while it needs that', { timeout: 60_000 }, async () => {
  const rig = await makeRig(11)
  const { pool } = rig.now
  await pool.volumes.create('gold', 8 * MIB)
  const gold = Buffer.alloc(8 * MIB)
  gold.fill(7, 0, 4 * MIB)
  await write(rig.now, 'gold', 0, gold.subarray(0, 4 * MIB))
  await write(rig.now, 'gold', 5 * MIB + 100, Buffer.alloc(300, 9)) // in the log
  gold.fill(9, 5 * MIB + 100, 5 * MIB + 400)
  await pool.snapshots.create('gold@a')
  await pool.snapshots.create('gold@b')
  const used = rig.now.store.status().usedBytes
  const made = await pool.clones.clone('gold@a', 'one')
  assert.deepEqual(made, { made: 'one', touched: undefined })
  const info = await pool.volumes.info('one')
  assert.deepEqual([info.origin, info.sizeBytes, info.allocatedBytes >= info.lentBytes], ['gold@a', 8 * MIB, true])
  assert.ok((await bytesOf(rig.now, 'one')).equals(gold))
  assert.ok(rig.now.store.status().usedBytes - used <= 2 * UNIT, 'nothing was copied')
  await write(rig.now, 'one', MIB, Buffer.alloc(UNIT, 1))
  const one = Buffer.from(gold).fill(1, MIB, MIB + UNIT)
  await write(rig.now, 'gold', 0, Buffer.alloc(MIB, 3))
  assert.ok((await bytesOf(rig.now, 'one')).equals(one))
  await rig.now.data.flush()
  const after = await pool.volumes.info('one')
  assert.equal(after.allocatedBytes - after.lentBytes, UNIT)

  await pool.snapshots.remove('gold@a') // its name goes
  await assert.rejects(pool.volumes.remove('gold'), refusedAs('in-use', /snapshots/))
  await assert.rejects(pool.clones.clone('gold@a', 'two'), refusedAs('missing', /no snapshot/))
  await assert.rejects(pool.clones.clone('gold@b', 'one'), refusedAs('exists', /volume one/))
  await assert.rejects(pool.clones.clone('nothing', 'two'), refusedAs('missing', /no volume/))
  await pool.snapshots.settle()
  assert.equal((await pool.volumes.info('one')).origin, 'gold')
  assert.ok((await bytesOf(rig.now, 'one')).equals(one))
  await pool.snapshots.remove('gold@b')
  await assert.rejects(pool.volumes.remove('gold'), refusedAs('in-use', /one is a clone/))
  await rig.check()
  assert.ok((await bytesOf(rig.now, 'one')).equals(one))
  const done: number[] = []
  const flat = await rig.now.pool.volumes.flatten('one', (n) => void done.push(n))
  assert.deepEqual([flat.origin, flat.lentBytes], [null, 0])
  assert.ok(done.length > 1 && done[0] === 0)
  await rig.now.pool.volumes.remove('gold')
  assert.ok((await bytesOf(rig.now, 'one')).equals(one))
  await removeAll(rig)
  await rig.end()
})

test('a clone of a volume as it is now; a snapshot of a flattened clone holds the origin until it goes', { timeout: 60_000 }, async () => {
  const rig = await makeRig(12)
  const { pool } = rig.now
  await pool.volumes.create('gold', MIB)
  const gold = Buffer.alloc(MIB, 5)
  await write(rig.now, 'gold', 0, gold)
  await pool.clones.clone('gold', 'one')
  assert.deepEqual(await pool.snapshots.list('gold'), [])
  await write(rig.now, 'gold', 0, Buffer.alloc(MIB, 6))
  await write(rig.now, 'one', 0, Buffer.alloc(UNIT, 8))
  const one = Buffer.from(gold).fill(8, 0, UNIT)
  await pool.snapshots.create('one@s')
  await pool.clones.clone('one@s', 'two')
  await write(rig.now, 'one', UNIT, Buffer.alloc(UNIT, 2)) // over what the snapshot reads through
  assert.ok((await bytesOf(rig.now, 'two')).equals(one))
  await pool.volumes.flatten('one', () => undefined)
  assert.equal((await pool.volumes.info('one')).origin, null)
  await assert.rejects(pool.volumes.remove('gold'), refusedAs('in-use', /one is a clone/))
  await rig.check()
  for (const name of ['two', 'one@s']) assert.ok((await bytesOf(rig.now, name)).equals(one), name)
  await rig.now.pool.snapshots.remove('one@s')
  await assert.rejects(rig.now.pool.volumes.remove('gold'), refusedAs('in-use', /one is a clone/))
  await rig.now.pool.volumes.remove('two')
  await rig.now.pool.volumes.remove('gold')
  await rig.now.settleOrphans()
  await rig.now.pool.snapshots.settle()
  await rig.check()
  assert.ok((await bytesOf(rig.now, 'one')).equals(Buffer.from(one).fill(2, UNIT, 2 * UNIT)))
  await removeAll(rig)
  await rig.end()
})

test('flattening stops where it is told to or dies, and goes on', { timeout: 110_000 }, async () => {
  const SIZE = 40 * MIB
  const rig = await makeRig(13, 256 * MIB)
  await rig.now.pool.volumes.create('gold', SIZE)
  await write(rig.now, 'gold', 0, Buffer.alloc(SIZE, 4))
  await rig.now.pool.snapshots.create('gold@s')
  await rig.now.pool.clones.clone('gold@s', 'one')
  const want = Buffer.alloc(SIZE, 4)
  let rounds = 0
  await assert.rejects(rig.now.pool.volumes.flatten('one', () => {
    if (++rounds === 3) throw new Refusal('failed', 'Stopped: enough.')
  }), /Stopped/)
  const { lentBytes } = await rig.now.pool.volumes.info('one')
  assert.ok(lentBytes > 0 && lentBytes < SIZE)
  await assert.rejects(rig.now.pool.snapshots.rollBack('gold@s', 'refuse').then(() => rig.now.pool.volumes.remove('gold')), /snapshots/)
  await rig.check()
  for (const steps of [1, 2]) {
    let dies: Promise<void> | undefined
    let seen = 0
    const flattening = rig.now.pool.volumes.flatten('one', () => {
      if (++seen === steps + 1) dies = rig.die()
      return dies
    }).catch(() => undefined)
    while (dies === undefined) await new Promise((resolve) => setImmediate(resolve))
    await dies
    await flattening
    assert.ok((await bytesOf(rig.now, 'one')).equals(want))
    await write(rig.now, 'one', steps * 8 * MIB + 512, Buffer.alloc(3 * UNIT, steps))
    want.fill(steps, steps * 8 * MIB + 512, steps * 8 * MIB + 512 + 3 * UNIT)
    await rig.check()
  }
  // writes and trims meanwhile
  let at = 0
  await rig.now.pool.volumes.flatten('one', async () => {
    await write(rig.now, 'one', at, Buffer.alloc(MIB, 200))
    want.fill(200, at, at + MIB)
    const volume = await rig.now.pool.volumes.open('one', 'me')
    await volume.trim(SIZE - at - MIB, MIB)
    volume.close()
    want.fill(0, SIZE - at - MIB, SIZE - at)
    at += 3 * MIB
  })
  assert.ok((await bytesOf(rig.now, 'one')).equals(want))
  await rig.check()
  assert.ok((await bytesOf(rig.now, 'one')).equals(want))
  await removeAll(rig)
  await rig.end()
})

test('a clone in an image, and its changes told', { timeout: 60_000 }, async () => {
  const rig = await makeRig(14)
  const { pool } = rig.now
  await pool.volumes.create('gold', MIB)
  await write(rig.now, 'gold', 0, Buffer.alloc(MIB / 2, 5))
  await pool.snapshots.create('gold@s')
  await pool.clones.clone('gold@s', 'one')
  await pool.snapshots.create('one@a')
  await write(rig.now, 'one', 16 * UNIT, Buffer.alloc(UNIT, 8))
  const volume = await pool.volumes.open('one', 'me')
  await volume.trim(32 * UNIT, 2 * UNIT)
  const kinds: string[] = []
  for (let pos = 0; pos < 40 * UNIT;) {
    for (const { kind, lengthBytes } of await volume.layout(pos, 40 * UNIT - pos, 16)) {
      kinds.push(`${kind} ${pos / UNIT}`)
      pos += lengthBytes
    }
  }
  volume.close()
  assert.deepEqual(kinds.filter((k) => k.startsWith('hole')), ['hole 32'])
  await pool.volumes.flatten('one', () => undefined)
  await pool.snapshots.create('one@b')
  const told: string[] = []
  await pool.diffs.diff('one@a', 'one@b', (line) => void told.push(line.change === 'range' ? `${line.offsetBytes / UNIT} ${line.lengthBytes / UNIT}` : line.change))
  assert.deepEqual(told, ['16 1', '32 2'])
  for (const [since, to] of [[undefined, 'copy'], ['a', 'copy']] as const) {
    const parts: Buffer[] = []
    await pool.images.export(`one@${since === undefined ? 'a' : 'b'}`, since, async (bytes) => void parts.push(Buffer.from(bytes)))
    const image = Buffer.concat(parts)
    await pool.images.import(to, { sizeBytes: image.length, read: (from, into) => Promise.resolve(image.copy(into, 0, from)) }, 'refuse', () => undefined, () => undefined)
  }
  assert.ok((await bytesOf(rig.now, 'copy')).equals(await bytesOf(rig.now, 'one@b')))
  assert.ok((await bytesOf(rig.now, 'copy@a')).equals(await bytesOf(rig.now, 'one@a')))
  await removeAll(rig)
  await rig.end()
})

const SIZE = MIB
const range = fc.record({ offset: fc.nat(2 * SIZE / 512), sectors: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 1024 })) })
const on = fc.nat(20)
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('write' as const), on, at: range, fill: fc.integer({ min: 1, max: 255 }) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('trim' as const, 'free' as const, 'hold' as const), on, at: range }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('resize' as const), on, sectors: fc.integer({ min: 1, max: 2 * SIZE / 512 }) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('snapshot' as const), on }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unsnapshot' as const), on, pick: fc.nat() }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('clone' as const), on, pick: fc.nat(5) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('rollback' as const), on, pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('flatten' as const), on, turns: fc.option(fc.nat(30)) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('remove' as const), on }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('flush' as const, 'move' as const, 'die' as const, 'check' as const, 'settle' as const) }) })

interface Model { name: string; bytes: Buffer; snaps: { name: string; bytes: Buffer }[] }

test('random use of volumes, their clones and clones of those gives what byte arrays give', { timeout: 300_000 }, async () => {
  let clones = 0
  const runs = Number(process.env.OGEE_RUNS ?? 12)
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 15, maxLength: 45, size: 'max' }), async (steps) => {
    const rig = await makeRig(7, 128 * MIB)
    try {
      await rig.now.pool.volumes.create('v0', SIZE)
      const volumes: Model[] = [{ name: 'v0', bytes: Buffer.alloc(SIZE), snaps: [] }]
      let named = 0
      const check = async (): Promise<void> => {
        for (const v of volumes) {
          assert.ok((await bytesOf(rig.now, v.name)).equals(v.bytes), v.name)
          for (const s of v.snaps) assert.ok((await bytesOf(rig.now, `${v.name}@${s.name}`)).equals(s.bytes), `${v.name}@${s.name}`)
        }
      }
      for (const s of steps) {
        const { pool } = rig.now
        if (s.op === 'flush') await rig.now.data.syncAll(rootContext)
        else if (s.op === 'move') await rig.now.data.flush()
        else if (s.op === 'settle') await pool.snapshots.settle()
        else if (s.op === 'die') await rig.die()
        else if (s.op === 'check') {
          await check()
          await rig.check()
        }
        if (!('on' in s)) continue
        const v = volumes[s.on % volumes.length]
        if (s.op === 'snapshot') {
          v.snaps.push({ name: `s${++named}`, bytes: Buffer.from(v.bytes) })
          await pool.snapshots.create(`${v.name}@s${named}`)
        } else if (s.op === 'unsnapshot') {
          if (v.snaps.length > 0) await pool.snapshots.remove(`${v.name}@${v.snaps.splice(s.pick % v.snaps.length, 1)[0].name}`)
        } else if (s.op === 'clone') {
          const snap = v.snaps[s.pick]
          await pool.clones.clone(snap === undefined ? v.name : `${v.name}@${snap.name}`, `v${++named}`)
          volumes.push({ name: `v${named}`, bytes: Buffer.from(snap?.bytes ?? v.bytes), snaps: [] })
          clones++
        } else if (s.op === 'rollback') {
          if (v.snaps.length === 0) continue
          const at = s.pick % v.snaps.length
          const done = await pool.snapshots.rollBack(`${v.name}@${v.snaps[at].name}`, 'remove').then(() => true, (e: unknown) => !refusedAs('in-use', /clones of what it was after/)(e) && Promise.reject(e))
          if (!done) continue
          v.snaps.length = at + 1
          v.bytes = Buffer.from(v.snaps[at].bytes)
        } else if (s.op === 'flatten') {
          if (s.turns === null) {
            await pool.volumes.flatten(v.name, () => undefined)
            assert.equal((await pool.volumes.info(v.name)).lentBytes, 0)
            continue
          }
          const flattening = pool.volumes.flatten(v.name, () => undefined).catch(() => undefined)
          for (let i = 0; i < s.turns; i++) await new Promise((resolve) => setImmediate(resolve))
          await rig.die()
          await flattening
        } else if (s.op === 'remove') {
          if (volumes.length === 1) continue
          const gone = await pool.volumes.remove(v.name).then(() => true, (e: unknown) => !refusedAs('in-use', /clone|snapshots/)(e) && Promise.reject(e))
          if (gone) {
            assert.equal(v.snaps.length, 0)
            volumes.splice(volumes.indexOf(v), 1)
          }
        } else if (s.op === 'resize') {
          await pool.volumes.resize(v.name, s.sectors * 512, 'cut')
          const was = v.bytes
          v.bytes = Buffer.alloc(s.sectors * 512)
          was.copy(v.bytes)
        } else {
          const offset = Math.min(v.bytes.length - 1, (s.at.offset * 512) % v.bytes.length)
          const length = Math.min(v.bytes.length - offset, s.at.sectors * 512)
          const volume = await pool.volumes.open(v.name, 'me')
          if (s.op === 'write') await volume.write(offset, Buffer.alloc(length, s.fill), 0, length)
          else if (s.op === 'trim') await volume.trim(offset, length)
          else await volume.zero(offset, length, s.op)
          volume.close()
          v.bytes.fill(s.op === 'write' ? s.fill : 0, offset, offset + length)
        }
      }
      await check()
      await rig.check()
      await check()
      await removeAll(rig)
    } finally {
      await rig.end()
    }
  }), { numRuns: runs, endOnFailure: process.env.OGEE_SEED !== undefined, includeErrorInReport: true, ...(process.env.OGEE_SEED === undefined ? {} : { seed: Number(process.env.OGEE_SEED) }) })
  assert.ok(clones > runs / 2)
})
