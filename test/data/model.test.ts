/** One file against a byte array: every operation, every place its bytes can be in, snapshots, reopening and the daemon's death. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NOW } from '../../src/data/index.js'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSame, assertSound, closeAndOpen, contentOf, die, makeFile, makeWorld, quiet, readAll, resized, snapshot } from './world.js'
import type { World } from './world.js'

const KIB = 1024
const INO = 7
const offset = fc.oneof(fc.integer({ min: 0, max: 6000 }), fc.integer({ min: 0, max: 300 * KIB }), fc.integer({ min: 0, max: 70 }).map((n) => n * 4096))
const length = fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 220 * KIB }), fc.integer({ min: 1, max: 50 }).map((n) => n * 4096))
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('write' as const), offset, length }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('append' as const), length }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('stream' as const), count: fc.integer({ min: 2, max: 20 }), units: fc.constantFrom(1, 2, 3), synced: fc.integer({ min: 0, max: 20 }) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('truncate' as const), size: fc.oneof(offset, fc.constant(0)) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('punch' as const), offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('zero' as const), offset, length, keepSize: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('reserve' as const), offset, length, keepSize: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('sync' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('checkpoint' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('snapshot' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('die' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('wait' as const), ms: fc.constantFrom(600, 4000) }) })

/** SEEK_DATA and SEEK_HOLE agree with the bytes: what is not zero is data. */
async function assertSeeks(w: World, want: Uint8Array): Promise<void> {
  let pos = 0
  while (pos < want.length) {
    const data = (await w.data.seekData(ctx, INO, NOW, pos)) ?? want.length
    assert.ok(data >= pos)
    assert.ok(want.subarray(pos, data).every((b) => b === 0), `a hole at ${pos} to ${data} has bytes`)
    if (data >= want.length) break
    const hole = await w.data.seekHole(ctx, INO, NOW, data)
    assert.ok(hole !== undefined && hole > data && hole <= want.length)
    pos = hole
  }
  assert.equal(await w.data.seekData(ctx, INO, NOW, want.length), undefined)
  assert.equal(await w.data.seekHole(ctx, INO, NOW, want.length), undefined)
}

const run = (conflictChance: number) => fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.integer({ min: 1 }), async (steps, seed) => {
  const options = { conflictChance, data: seed % 2 === 0 ? { directAfterBytes: 8 * KIB } : {} }
  const w = await makeWorld(options)
  await makeFile(w, INO)
  const random = seededRandom(seed)
  let model: Uint8Array = new Uint8Array(0)
  const snapshots: { readonly epoch: number; readonly bytes: Uint8Array }[] = []
  for (const s of steps) {
    if (s.op === 'write' || s.op === 'append') {
      const bytes = random.bytes(s.length)
      const at = s.op === 'append' ? model.length : s.offset
      const content = await w.data.write(ctx, INO, s.op === 'append' ? 'end' : s.offset, bytes, 0, s.length, quiet)
      model = resized(model, Math.max(model.length, at + s.length))
      model.set(bytes, at)
      bytes.fill(0x55) // the caller may use its buffer again
      assert.equal(content.sizeBytes, model.length)
    } else if (s.op === 'stream') { // whole units, up to the next whole unit first, a sync beside them
      let syncing: Promise<void> | undefined
      for (let i = 0; i <= s.count; i++) {
        const at = model.length
        const bytes = random.bytes(i === 0 ? 4096 - at % 4096 : s.units * 4096)
        if (i === s.synced) syncing = w.data.sync(ctx, INO)
        await w.data.write(ctx, INO, 'end', bytes, 0, bytes.length, quiet)
        model = resized(model, at + bytes.length)
        model.set(bytes, at)
      }
      await syncing
    } else if (s.op === 'truncate') {
      await w.data.truncate(ctx, INO, s.size, quiet)
      model = resized(model, s.size)
    } else if (s.op === 'punch') {
      await w.data.punch(ctx, INO, s.offset, s.length, quiet)
      model.fill(0, s.offset, s.offset + s.length)
    } else if (s.op === 'zero') {
      await w.data.zero(ctx, INO, s.offset, s.length, s.keepSize, quiet)
      if (!s.keepSize) model = resized(model, Math.max(model.length, s.offset + s.length))
      model.fill(0, s.offset, s.offset + s.length)
    } else if (s.op === 'reserve') {
      await w.data.reserve(ctx, INO, s.offset, s.length, s.keepSize, quiet)
      if (!s.keepSize) model = resized(model, Math.max(model.length, s.offset + s.length))
    } else if (s.op === 'flush') await w.data.flush()
    else if (s.op === 'sync') await w.data.sync(ctx, INO)
    else if (s.op === 'checkpoint') await w.engine.checkpoint()
    else if (s.op === 'snapshot') snapshots.push({ bytes: model.slice(), epoch: await snapshot(w) })
    else if (s.op === 'reopen') await closeAndOpen(w, options)
    else if (s.op === 'die') await die(w, options)
    else await w.clock.advanceAsync(s.ms)
    assertSame(await readAll(w, INO), model, s.op)
    assert.ok(contentOf(w, INO).durableSizeBytes <= model.length)
  }
  for (const { epoch, bytes } of snapshots) assertSame(await readAll(w, INO, epoch), bytes, `snapshot ${epoch}`)
  await assertSeeks(w, model)
  await assertSound(w)
  await closeAndOpen(w, options)
  assertSame(await readAll(w, INO), model, 'after closing')
  assert.equal(contentOf(w, INO).durableSizeBytes, model.length)
  for (const { epoch, bytes } of snapshots) assertSame(await readAll(w, INO, epoch), bytes, `snapshot ${epoch} after closing`)
  await assertSound(w)
  while (!(await w.data.reclaimStep(ctx, INO))) continue
  await assertSound(w)
  if (snapshots.length === 0) assert.equal(w.store.status().usedBytes, 0)
})

test('a file is what was written, wherever its bytes are', { timeout: 300_000 }, () => fc.assert(run(0), { numRuns: Number(process.env.RUNS ?? 150) }))
test('the same when transactions conflict', { timeout: 300_000 }, () => fc.assert(run(0.2), { numRuns: Number(process.env.RUNS ?? 30) }))

test('a snapshot keeps logged bytes that a flush puts partly into space reserved after it', async () => {
  for (const reserved of [0, 4096]) {
    const w = await makeWorld()
    await makeFile(w, INO)
    const bytes = seededRandom(3).bytes(8192)
    await w.data.write(ctx, INO, 0, bytes, 0, bytes.length, quiet)
    const epoch = await snapshot(w)
    await w.data.reserve(ctx, INO, reserved, 4096, false, quiet)
    await w.data.flush()
    assertSame(await readAll(w, INO, epoch), bytes, `reserved at ${reserved}, the snapshot`)
    assertSame(await readAll(w, INO), bytes, `reserved at ${reserved}, now`)
    await assertSound(w)
  }
})
