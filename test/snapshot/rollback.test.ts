/** Rolling volumes back: random use against byte arrays, with kills; and kills in the middle of one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { extentKey } from '../../src/data/rows.js'
import { rollbackKey } from '../../src/meta/keys.js'
import { encodeRollback } from '../../src/meta/rows.js'
import { VolumeError } from '../../src/volume/index.js'
import { Refusal } from '../../src/pool/index.js'
import { rootContext } from '../../src/sys/index.js'
import { bytesOf, historyRows, makeRig, MIB } from './rig.js'

const UNIT = 4096
const refusedAs = (reason: string) => (e: unknown): boolean => e instanceof Refusal && e.reason === reason && /[.:] .+\.$/.test(e.message)

test('younger snapshots are removed only when told; a volume in use is refused', { timeout: 60_000 }, async () => {
  const rig = await makeRig(5)
  const { pool } = rig.now
  await pool.volumes.create('v', MIB)
  const volume = await pool.volumes.open('v', 'me')
  await volume.write(0, Buffer.alloc(9000, 1), 0, 9000)
  await pool.snapshots.create('v@a')
  await volume.write(0, Buffer.alloc(UNIT, 2), 0, UNIT)
  await pool.snapshots.create('v@b')
  await assert.rejects(pool.snapshots.rollBack('v@b', 'refuse'), refusedAs('in-use'))
  volume.close()
  await assert.rejects(pool.snapshots.rollBack('v@x', 'refuse'), refusedAs('missing'))
  await assert.rejects(pool.snapshots.rollBack('v@a', 'refuse'), refusedAs('exists'))
  const back = pool.snapshots.rollBack('v@a', 'remove')
  await assert.rejects(pool.snapshots.rollBack('v@a', 'remove'), refusedAs('in-use'))
  assert.deepEqual(await back, { removed: ['b'], touched: undefined })
  assert.deepEqual((await pool.snapshots.list('v')).map((s) => s.name), ['a'])
  assert.ok((await bytesOf(rig.now, 'v')).equals(Buffer.concat([Buffer.alloc(9000, 1), Buffer.alloc(MIB - 9000)])))
  await pool.snapshots.settle()
  assert.equal(await historyRows(rig.now), 1) // the inode's
  await rig.check()
  await rig.now.pool.snapshots.remove('v@a')
  await rig.now.pool.volumes.remove('v')
  await rig.now.settleOrphans()
  await rig.now.pool.snapshots.settle()
  await rig.check()
  await rig.now.pool.snapshots.settle()
  assert.equal(await historyRows(rig.now), 0)
  assert.equal(rig.now.store.status().usedBytes, 0)
  await rig.end()
})

test('a kill in the middle of a rollback: it goes on, or never began', { timeout: 110_000 }, async () => {
  const SIZE = 16 * MIB
  const rig = await makeRig(6, undefined, { directAfterBytes: Infinity }) // each write a row of history
  await rig.now.pool.volumes.create('v', SIZE)
  const volume = await rig.now.pool.volumes.open('v', 'me')
  await volume.write(0, Buffer.alloc(SIZE, 1), 0, SIZE)
  await volume.flush()
  await rig.now.pool.snapshots.create('v@s')
  const old = Buffer.alloc(SIZE, 1)
  const now = Buffer.from(old)
  for (let at = 0; at < SIZE; at += 2 * UNIT) now.fill(2, at, at + UNIT)
  volume.close()
  let halves = 0
  for (const commits of [0, 2, 4, 7]) {
    const writer = await rig.now.pool.volumes.open('v', 'me')
    for (let at = 0; at < SIZE; at += 2 * UNIT) await writer.write(at, now, at, UNIT)
    await writer.flush()
    writer.close()
    await rig.now.data.flush()
    assert.ok((await historyRows(rig.now)) > 1500)
    const { engine, pool } = rig.now
    let ended = false
    const rolling = pool.snapshots.rollBack('v@s', 'refuse').catch(() => undefined).finally(() => (ended = true))
    const from = engine.status().committedSeq
    while (!ended && engine.status().committedSeq < from + commits) await new Promise((resolve) => setImmediate(resolve))
    const marked = (await engine.reader(rootContext).scan({ from: 'U', to: 'V', limit: 1 })).length > 0
    await rig.die()
    await rolling
    const is = await bytesOf(rig.now, 'v')
    assert.ok(is.equals(old) || (!marked && is.equals(now)), `after ${commits} transactions`)
    if (marked) halves++
    await rig.check()
    assert.ok((await bytesOf(rig.now, 'v@s')).equals(old))
  }
  assert.ok(halves > 0, 'some kill came in the middle')
  await rig.now.pool.snapshots.rollBack('v@s', 'refuse')
  assert.ok((await bytesOf(rig.now, 'v')).equals(old))
  await rig.now.pool.snapshots.settle()
  assert.equal(rig.now.store.status().usedBytes, SIZE)
  await rig.end()
})

test('a volume that cannot be rolled back to the end stays shut, and the pool opens', { timeout: 60_000 }, async () => {
  const rig = await makeRig(8)
  const { inode } = await rig.now.pool.volumes.create('v', MIB)
  await rig.now.pool.volumes.create('other', MIB)
  await rig.now.pool.snapshots.create('v@s')
  const volume = await rig.now.pool.volumes.open('v', 'me')
  await volume.write(0, Buffer.alloc(MIB, 2), 0, MIB)
  await volume.flush()
  volume.close()
  const { engine } = rig.now
  const extent = (await engine.reader(rootContext).scan({ from: extentKey(inode, 0), to: extentKey(inode + 1, 0), limit: 1 }))[0]
  await engine.transact(rootContext, (tx) => {
    tx.put(rollbackKey(inode), encodeRollback(1))
    tx.put(extent.key, new Uint8Array([1, 2]))
  })
  await rig.reopen()
  await assert.rejects(rig.now.pool.volumes.open('v', 'me'), (e) => e instanceof VolumeError && e.reason === 'in-use')
  await bytesOf(rig.now, 'other')
  await rig.now.engine.transact(rootContext, (tx) => tx.put(extent.key, extent.row.bytes))
  await rig.reopen()
  assert.ok((await bytesOf(rig.now, 'v')).equals(Buffer.alloc(MIB)))
  await rig.end()
})

const SIZE = MIB
const range = fc.record({ offset: fc.nat(2 * SIZE / 512), sectors: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: 1024 })) })
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('write' as const), at: range, fill: fc.integer({ min: 1, max: 255 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('trim' as const, 'free' as const, 'hold' as const), at: range }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('resize' as const), sectors: fc.integer({ min: 1, max: 2 * SIZE / 512 }) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('snapshot' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('remove' as const), pick: fc.nat() }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('rollback' as const), pick: fc.nat(), turns: fc.nat(12), dies: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constantFrom('flush' as const, 'move' as const, 'die' as const, 'check' as const) }) })

test('random use, snapshots, rollbacks and kills give what byte arrays give', { timeout: 110_000 }, async () => {
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 30 }), async (steps) => {
    const rig = await makeRig(7, 64 * MIB)
    try {
      await rig.now.pool.volumes.create('v', SIZE)
      let want = Buffer.alloc(SIZE)
      const snaps: { name: string; bytes: Buffer }[] = []
      let named = 0
      const check = async (): Promise<void> => {
        assert.ok((await bytesOf(rig.now, 'v')).equals(want))
        for (const { name, bytes } of snaps) assert.ok((await bytesOf(rig.now, `v@${name}`)).equals(bytes), name)
      }
      for (const s of steps) {
        const { pool } = rig.now
        if (s.op === 'snapshot') {
          snaps.push({ name: `s${++named}`, bytes: Buffer.from(want) })
          await pool.snapshots.create(`v@s${named}`)
        } else if (s.op === 'remove') {
          if (snaps.length > 0) await pool.snapshots.remove(`v@${snaps.splice(s.pick % snaps.length, 1)[0].name}`)
        } else if (s.op === 'rollback') {
          if (snaps.length === 0) continue
          const at = s.pick % snaps.length
          const then = Buffer.from(snaps[at].bytes)
          const rolling = pool.snapshots.rollBack(`v@${snaps[at].name}`, 'remove')
          if (s.dies) {
            rolling.catch(() => undefined)
            for (let i = 0; i < s.turns; i++) await new Promise((resolve) => setImmediate(resolve))
            await rig.die()
            await rolling.catch(() => undefined)
            if ((await rig.now.pool.snapshots.list('v')).length === snaps.length && at < snaps.length - 1) continue // it never began
            if (at === snaps.length - 1 && (await bytesOf(rig.now, 'v')).equals(want)) continue
          } else await rolling
          snaps.length = at + 1
          want = then
          await check()
        } else if (s.op === 'flush') await rig.now.data.syncAll(rootContext)
        else if (s.op === 'move') await rig.now.data.flush()
        else if (s.op === 'die') await rig.die()
        else if (s.op === 'check') {
          await check()
          await rig.check()
        } else if (s.op === 'resize') {
          await pool.volumes.resize('v', s.sectors * 512, 'cut')
          const was = want
          want = Buffer.alloc(s.sectors * 512)
          was.copy(want)
        } else if ('at' in s) {
          const offset = Math.min(want.length - 1, (s.at.offset * 512) % want.length)
          const length = Math.min(want.length - offset, s.at.sectors * 512)
          const volume = await pool.volumes.open('v', 'me')
          if (s.op === 'write') await volume.write(offset, Buffer.alloc(length, s.fill), 0, length)
          else if (s.op === 'trim') await volume.trim(offset, length)
          else await volume.zero(offset, length, s.op)
          volume.close()
          want.fill(s.op === 'write' ? s.fill : 0, offset, offset + length)
        }
      }
      await check()
      await rig.check()
      await check()
    } finally {
      await rig.end()
    }
  }), { numRuns: Number(process.env.OGEE_RUNS ?? 15), ...(process.env.OGEE_SEED === undefined ? {} : { seed: Number(process.env.OGEE_SEED) }) })
})

test('what is compared with a tree as it is now, while a rollback of it still removes what was there, does not know that', { timeout: 60_000 }, async () => {
  const rig = await makeRig(8)
  const { pool, vfs } = rig.now
  const made: string[] = []
  for (let i = 0; i < 300; i++) {
    await vfs.mknod(rootContext, 1, `f${i}`, 0o100644, 0, 0)
    made.push(`f${i}`)
  }
  await pool.snapshots.create('/@a')
  await pool.snapshots.create('/@b')
  await pool.snapshots.rollBack('/@a', 'refuse')
  const told = new Map<string, string[]>()
  await pool.diffs.diff('/@b', '/', (line) => void ('path' in line && told.set(line.change, [...told.get(line.change) ?? [], line.path])))
  for (const change of ['removed', 'added']) assert.deepEqual(told.get(change)?.sort(), made.map((n) => `/${n}`).sort(), change)
  await rig.end()
})
