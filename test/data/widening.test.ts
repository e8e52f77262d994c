/** Small writes over what a snapshot or an origin shows: few transactions where they lie close, no more space than theirs where they do not, and never another byte. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NOW } from '../../src/data/index.js'
import { PosixError, rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSound, assertSame, closeAndOpen, cloneFile, cutPower, die, makeFile, makeWorld, quiet, readAll, snapshot } from './world.js'
import type { World } from './world.js'

const UNIT = 4096
const AROUND = 16 // units
const INO = 3
const direct = { data: { directAfterBytes: 0 } }

async function makeFilled(w: World, units: number): Promise<Uint8Array> {
  const bytes = seededRandom(9).bytes(units * UNIT)
  await makeFile(w, INO)
  await w.data.write(ctx, INO, 0, bytes, 0, bytes.length, quiet)
  await w.data.sync(ctx, INO)
  return bytes
}
const unitOf = (n: number): Uint8Array => new Uint8Array(UNIT).fill(n)
const write = (w: World, ino: number, unit: number, bytes: Uint8Array): unknown => w.data.write(ctx, ino, unit * UNIT, bytes, 0, bytes.length, quiet)

async function denseWrites(w: World, ino: number, was: Uint8Array): Promise<void> {
  const want = was.slice()
  const units = want.length / UNIT
  const before = w.bodies
  for (let i = 0; i < units; i++) {
    const unit = i * 77 % units
    want.set(unitOf(i + 1), unit * UNIT)
    await write(w, ino, unit, unitOf(i + 1))
  }
  assert.ok(w.bodies - before < units / 3, `${w.bodies - before} transactions for ${units} writes`)
  assertSame(await readAll(w, ino), want, 'after the writes')
  await w.data.sync(ctx, ino)
  await closeAndOpen(w, direct)
  assertSame(await readAll(w, ino), want, 'opened again')
  await assertSound(w)
}

test('each unit over a snapshot, in any order: most writes need no transaction', async () => {
  const w = await makeWorld(direct)
  const was = await makeFilled(w, 256)
  const epoch = await snapshot(w)
  await denseWrites(w, INO, was)
  assertSame(await readAll(w, INO, epoch), was, 'the snapshot')
  assert.equal(w.store.status().usedBytes, 2 * was.length)
})

test('the same over what a clone shows of its origin', async () => {
  const w = await makeWorld(direct)
  const was = await makeFilled(w, 256)
  await cloneFile(w, INO, await snapshot(w), INO + 1)
  await denseWrites(w, INO + 1, was)
  assertSame(await readAll(w, INO), was, 'the origin')
})

test('a write with nothing of its own near takes its units alone', async () => {
  const w = await makeWorld(direct)
  const was = await makeFilled(w, 256)
  await snapshot(w)
  for (let unit = 5; unit < 256; unit += AROUND) await write(w, INO, unit, unitOf(1))
  assert.equal(w.store.status().usedBytes, was.length + 256 / AROUND * UNIT)
})

test('what lies around cannot be read: the write is done', async () => {
  const w = await makeWorld(direct)
  const want = await makeFilled(w, 64)
  await snapshot(w)
  const { read } = w.store
  let failed = 0
  Object.assign(w.store, { read: () => { failed++; throw new PosixError('EIO') } })
  for (let unit = 0; unit < 8; unit++) {
    want.set(unitOf(unit), unit * UNIT)
    await write(w, INO, unit, unitOf(unit))
  }
  Object.assign(w.store, { read })
  assert.equal(failed, 7)
  assertSame(await readAll(w, INO), want, 'after the writes')
  await assertSound(w)
})

test('no room for what lies around: the write is done as long as there is room for it', async () => {
  const w = await makeWorld({ groups: 4, ...direct })
  await makeFilled(w, 64)
  await snapshot(w)
  await makeFile(w, INO + 1)
  const big = new Uint8Array(1024 * 1024)
  for (let at = 0, length = big.length; length >= UNIT;) { // until nothing more goes in
    try {
      await w.data.write(ctx, INO + 1, at, big, 0, length, quiet)
      at += length
    } catch (e) {
      assert.ok(e instanceof PosixError && e.code === 'ENOSPC')
      length /= 2
    }
  }
  await w.data.flush()
  await w.data.truncate(ctx, INO + 1, (await w.data.write(ctx, INO + 1, 0, big, 0, UNIT, quiet)).sizeBytes - 4 * UNIT, quiet)
  await w.data.syncAll(ctx)
  for (const unit of [0, 2, 4, 6]) await write(w, INO, unit, unitOf(unit))
  await assert.rejects(async () => write(w, INO, 8, unitOf(8)), (e) => e instanceof PosixError && e.code === 'ENOSPC')
  for (const unit of [0, 2, 4, 6]) assertSame((await readAll(w, INO)).subarray(unit * UNIT, (unit + 1) * UNIT), unitOf(unit), `unit ${unit}`)
  await assertSound(w)
})

const UNITS = 64
const SECTOR = 512 // what a power cut leaves whole
const step = fc.oneof(
  { weight: 12, arbitrary: fc.record({ op: fc.constant('write' as const), unit: fc.nat(UNITS - 4), units: fc.integer({ min: 1, max: 4 }) }) },
  fc.record({ op: fc.constant('part' as const), unit: fc.nat(UNITS - 1), sector: fc.nat(7) }),
  fc.record({ op: fc.constant('punch' as const), unit: fc.nat(UNITS - 4), units: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ op: fc.constantFrom('snapshot' as const, 'sync' as const, 'flush' as const, 'die' as const, 'reopen' as const, 'cut' as const, 'time' as const) }))

test('writes of units, snapshots, deaths and power cuts in any order', { timeout: 100_000 }, () => fc.assert(
  fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 80 }), fc.integer({ min: 1 }), async (steps, seed) => {
    const w = await makeWorld(direct)
    const random = seededRandom(seed)
    let now: Uint8Array = (await makeFilled(w, UNITS)).slice()
    let since: Uint8Array[] = [now.slice()] // what was synced, and every state after it
    const snapshots: { readonly epoch: number, readonly bytes: Uint8Array }[] = []
    for (const s of steps) {
      if (s.op === 'write' || s.op === 'part') {
        const at = s.unit * UNIT + (s.op === 'part' ? s.sector * SECTOR : 0)
        const bytes = random.bytes(s.op === 'part' ? SECTOR : s.units * UNIT)
        await w.data.write(ctx, INO, at, bytes, 0, bytes.length, quiet)
        now.set(bytes, at)
      } else if (s.op === 'punch') {
        await w.data.punch(ctx, INO, s.unit * UNIT, s.units * UNIT, quiet)
        now.fill(0, s.unit * UNIT, (s.unit + s.units) * UNIT)
      } else if (s.op === 'snapshot') {
        snapshots.push({ epoch: await snapshot(w), bytes: now.slice() })
        await w.data.syncAll(ctx)
        since = []
      } else if (s.op === 'sync') {
        await w.data.sync(ctx, INO)
        since = []
      } else if (s.op === 'flush') await w.data.flush()
      else if (s.op === 'die') await die(w, direct)
      else if (s.op === 'reopen') {
        await closeAndOpen(w, direct)
        since = []
      } else if (s.op === 'time') await w.clock.advanceAsync(600)
      else {
        await cutPower(w, random, direct)
        const is = await readAll(w, INO)
        for (let at = 0; at < is.length; at += SECTOR) {
          const sector = Buffer.from(is.subarray(at, at + SECTOR))
          assert.ok(since.some((bytes) => sector.equals(bytes.subarray(at, at + SECTOR))), `at ${at} is what nobody wrote there since the last sync`)
        }
        now = is.slice()
        since = []
      }
      since.push(now.slice())
      assertSame(await readAll(w, INO, NOW), now, s.op)
    }
    for (const { epoch, bytes } of snapshots) assertSame(await readAll(w, INO, epoch), bytes, `snapshot ${epoch}`)
    await assertSound(w)
  }), { numRuns: Number(process.env.RUNS ?? 60) }))
