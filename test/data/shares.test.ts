/**
 * Files that share extents, against byte arrays: ranges copied between them and within one, then written over, cut, punched, snapshotted,
 * swept and removed. Nothing of it is seen in another file, the counts are right all along, and in the end no unit is left.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NOW } from '../../src/data/index.js'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSame, assertSound, closeAndOpen, contentOf, die, makeFile, makeWorld, quiet, readAll, removeSnapshot, resized, sharesOf, snapshot, sweep } from './world.js'
import type { World } from './world.js'

const KIB = 1024
const MIB = 1024 * KIB
const INOS = [3, 4, 5]
const ino = fc.constantFrom(...INOS)
const unit = (most: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: most }).map((n) => n * 4096)
const offset = fc.oneof({ weight: 3, arbitrary: unit(100) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 400 * KIB }) })
const length = fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 300 * KIB }), unit(75).map((n) => n + 4096))
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('write' as const), ino, offset, length }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('copy' as const), ino, from: ino, fromOffset: offset, offset, length, how: fc.constantFrom('cheapest' as const, 'shared' as const), aligned: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('whole' as const), ino, from: ino }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('back' as const), ino, from: ino, which: fc.nat({ max: 9 }), offset, length, whole: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('truncate' as const), ino, size: fc.oneof(offset, fc.constant(0)) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('punch' as const), ino, offset, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('zero' as const), ino, offset, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('reserve' as const), ino, offset, length }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unlink' as const), ino }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('sync' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('snapshot' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unsnapshot' as const), which: fc.nat({ max: 9 }), steps: fc.constantFrom(0, 1, 1000) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('reopen' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('die' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('wait' as const), ms: fc.constantFrom(600, 4000) }) })

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never
/** There is something to share at once. */
const begin: readonly Step[] = [{ op: 'write', ino: 3, offset: 0, length: 300 * KIB }, { op: 'sync' }, { op: 'copy', ino: 4, from: 3, fromOffset: 0, offset: 4096, length: 200 * KIB, how: 'shared', aligned: true }]

/** copy_file_range until all is copied, as cp does. */
async function copyAll(w: World, from: number, fromOffset: number, to: number, toOffset: number, length: number, how: 'cheapest' | 'shared', view = NOW): Promise<void> {
  for (let done = 0; done < length;) {
    const n = await w.data.copy(ctx, from, view, fromOffset + done, to, toOffset + done, length - done, quiet, how)
    assert.ok(n > 0)
    done += n
  }
}

const tried = { shared: 0 }

const run = (conflictChance: number) => fc.asyncProperty(fc.array(step, { maxLength: 30, size: 'max' }).map((steps) => [...begin, ...steps]), fc.integer({ min: 1 }), async (steps, seed) => {
  const options = { conflictChance, data: seed % 2 === 0 ? { directAfterBytes: 8 * KIB } : {} }
  const w = await makeWorld(options)
  const random = seededRandom(seed)
  const models = new Map<number, Uint8Array>()
  for (const i of INOS) {
    await makeFile(w, i)
    models.set(i, new Uint8Array(0))
  }
  const snapshots: { readonly epoch: number; readonly files: Map<number, Uint8Array> }[] = []
  const assertAll = async (what: string): Promise<void> => {
    for (const [i, bytes] of models) assertSame(await readAll(w, i), bytes, `${what}: file ${i}`)
    if (what !== 'write') for (const { epoch, files } of snapshots) for (const [i, bytes] of files) assertSame(await readAll(w, i, epoch), bytes, `${what}: file ${i} in snapshot ${epoch}`)
  }
  const grow = (i: number, size: number): Uint8Array => {
    const grown = resized(models.get(i)!, Math.max(models.get(i)!.length, size))
    models.set(i, grown)
    return grown
  }
  for (const s of steps) {
    if (s.op === 'write') {
      const bytes = random.bytes(s.length)
      await w.data.write(ctx, s.ino, s.offset, bytes, 0, s.length, quiet)
      grow(s.ino, s.offset + s.length).set(bytes, s.offset)
    } else if (s.op === 'copy') {
      const at = s.aligned ? s.offset - s.offset % 4096 + s.fromOffset % 4096 : s.offset
      const n = Math.min(s.length, models.get(s.from)!.length - s.fromOffset)
      if (n <= 0 || (s.ino === s.from && Math.abs(at - s.fromOffset) < n)) continue
      const bytes = models.get(s.from)!.slice(s.fromOffset, s.fromOffset + n)
      await copyAll(w, s.from, s.fromOffset, s.ino, at, n, s.how)
      grow(s.ino, at + n).set(bytes, at)
    } else if (s.op === 'whole') {
      if (s.ino === s.from) continue
      await w.data.truncate(ctx, s.ino, 0, quiet)
      const bytes = models.get(s.from)!.slice()
      await copyAll(w, s.from, 0, s.ino, 0, bytes.length, 'shared')
      models.set(s.ino, bytes)
    } else if (s.op === 'back') { // out of a snapshot
      if (snapshots.length === 0) continue
      const { epoch, files } = snapshots[s.which % snapshots.length]
      const was = files.get(s.from)!
      const at = s.whole ? 0 : s.offset - s.offset % 4096
      if (s.whole) {
        await w.data.truncate(ctx, s.ino, 0, quiet)
        models.set(s.ino, new Uint8Array(0))
      }
      const n = Math.min(s.whole ? Infinity : s.length, was.length - at)
      if (n <= 0) continue
      await copyAll(w, s.from, at, s.ino, at, n, 'shared', epoch)
      grow(s.ino, at + n).set(was.subarray(at, at + n), at)
    } else if (s.op === 'truncate') {
      await w.data.truncate(ctx, s.ino, s.size, quiet)
      models.set(s.ino, resized(models.get(s.ino)!, s.size))
    } else if (s.op === 'punch') {
      await w.data.punch(ctx, s.ino, s.offset, s.length, quiet)
      models.get(s.ino)!.fill(0, s.offset, s.offset + s.length)
    } else if (s.op === 'zero') {
      await w.data.zero(ctx, s.ino, s.offset, s.length, false, quiet)
      grow(s.ino, s.offset + s.length).fill(0, s.offset, s.offset + s.length)
    } else if (s.op === 'reserve') {
      await w.data.reserve(ctx, s.ino, s.offset, s.length, false, quiet)
      grow(s.ino, s.offset + s.length)
    } else if (s.op === 'unlink') { // what is left of it is only what snapshots show
      await w.data.truncate(ctx, s.ino, 0, quiet)
      models.set(s.ino, new Uint8Array(0))
    } else if (s.op === 'flush') await w.data.flush()
    else if (s.op === 'sync') await w.data.syncAll(ctx)
    else if (s.op === 'snapshot') snapshots.push({ files: new Map([...models].map(([i, bytes]) => [i, bytes.slice()])), epoch: await snapshot(w) })
    else if (s.op === 'unsnapshot') {
      if (snapshots.length > 0) snapshots.splice(s.which % snapshots.length, 1)
      const left = snapshots.map(({ epoch }) => epoch)
      await removeSnapshot(w, left)
      await sweep(w, left, s.steps)
    } else if (s.op === 'reopen') await closeAndOpen(w, options)
    else if (s.op === 'die') await die(w, options)
    else await w.clock.advanceAsync(s.ms)
    await assertAll(s.op)
  }
  await assertSound(w)
  if ((await sharesOf(w)).some(({ count }) => count > 1)) tried.shared++
  await closeAndOpen(w, options)
  await assertAll('after closing')
  await assertSound(w)
  await removeSnapshot(w, [])
  await sweep(w, [])
  for (const i of INOS) while (!(await w.data.reclaimStep(ctx, i))) continue
  await assertSound(w)
  assert.deepEqual(await sharesOf(w), [])
  assert.equal(w.store.status().usedBytes, 0)
})

test('files that share extents are what was written to each', { timeout: 300_000 }, () => fc.assert(run(0), { numRuns: Number(process.env.RUNS ?? 40) }).then(() => {
  assert.ok(tried.shared > Number(process.env.RUNS ?? 40) / 8, JSON.stringify(tried))
  console.log(`# ${tried.shared} runs ended with shared extents`)
}))
test('the same when transactions conflict', { timeout: 300_000 }, () => fc.assert(run(0.2), { numRuns: Number(process.env.RUNS ?? 10) }))

async function filled(bytes: number, groups = 16): Promise<{ readonly w: World; readonly model: Uint8Array }> {
  const w = await makeWorld({ groups })
  for (const i of INOS) await makeFile(w, i)
  const model = seededRandom(1).bytes(bytes)
  for (let at = 0; at < bytes; at += MIB) await w.data.write(ctx, 3, at, model, at, Math.min(MIB, bytes - at), quiet)
  await w.data.flush()
  await w.data.syncAll(ctx)
  return { w, model }
}
const used = (w: World): number => w.store.status().usedBytes

test('a copy of a whole file takes no space, and each goes its own way', async () => {
  const { w, model } = await filled(3 * MIB + 1000)
  const before = used(w)
  const copied = await w.data.copy(ctx, 3, NOW, 0, 4, 0, model.length, quiet, 'cheapest')
  assert.equal(copied, model.length, 'in one call')
  assert.equal(used(w), before)
  assert.equal(contentOf(w, 4).allocatedBytes, contentOf(w, 3).allocatedBytes)
  assert.equal(contentOf(w, 4).durableSizeBytes, model.length)
  assert.deepEqual((await sharesOf(w)).map(({ len, count }) => [len, count]), [[3 * MIB + 4096, 2]])
  for (const [i, byte] of [[3, 1], [4, 2]] as const) await w.data.write(ctx, i, 8192, new Uint8Array(4096).fill(byte), 0, 4096, quiet)
  await w.data.flush()
  assert.equal(used(w), before + 4096, 'two new units, and one that nobody holds any more')
  const [a, b] = [model.slice().fill(1, 8192, 12288), model.slice().fill(2, 8192, 12288)]
  assertSame(await readAll(w, 3), a, 'the source')
  assertSame(await readAll(w, 4), b, 'the copy')
  await assertSound(w)
  while (!(await w.data.reclaimStep(ctx, 3))) continue
  assertSame(await readAll(w, 4), b, 'the copy without its source')
  await w.engine.sync(ctx)
  await assertSound(w)
})

test('bytes that nobody synced are synced before they are shared, if they are many', async () => {
  const { w } = await filled(64 * KIB)
  const big = seededRandom(2).bytes(9 * MIB)
  await w.data.write(ctx, 5, 0, big, 0, big.length, quiet)
  const before = used(w)
  await w.data.copy(ctx, 5, NOW, 0, 4, 0, big.length, quiet, 'cheapest')
  assert.equal(used(w), before)
  assert.equal(contentOf(w, 5).durableSizeBytes, big.length)
  assertSame((await readAll(w, 4)).subarray(0, 4 * MIB), big.subarray(0, 4 * MIB), 'the copy')
  await assertSound(w)
})

test('few bytes that nobody synced are copied as they are', async () => {
  const { w, model } = await filled(MIB)
  await w.data.write(ctx, 3, 100_000, new Uint8Array(100), 0, 100, quiet)
  const { bodies } = w
  await w.data.copy(ctx, 3, NOW, 0, 4, 0, MIB, quiet, 'cheapest')
  assert.equal(w.data.status().loggedBytes > 0, true, 'nothing was flushed')
  assert.ok(w.bodies - bodies < 12, `${w.bodies - bodies} transactions`)
  assertSame(await readAll(w, 4), model.slice().fill(0, 100_000, 100_100), 'the copy')
  await assertSound(w)
})

test('a shared extent is written elsewhere, and the space for it is there when the answer is', async () => {
  const { w, model } = await filled(3 * MIB)
  await w.data.copy(ctx, 3, NOW, 0, 4, 0, model.length, quiet, 'cheapest')
  await w.data.truncate(ctx, 5, 0, quiet)
  const { freeBytes, keptBytes } = w.store.status()
  const rest = freeBytes - keptBytes - 40 * 4096
  await w.data.reserve(ctx, 5, 0, rest, false, quiet) // all but some units
  let answered = 0
  const want = model.slice()
  for (let at = 0; at < model.length; at += 8192) {
    try {
      await w.data.write(ctx, 4, at, new Uint8Array(100).fill(7), 0, 100, quiet)
    } catch (e) {
      assert.match(String(e), /ENOSPC/)
      break
    }
    want.fill(7, at, at + 100)
    answered++
  }
  assert.ok(answered > 0 && answered <= 40, `${answered} writes found room`)
  await w.data.flush()
  assert.equal(w.data.status().loggedBytes, 0, 'and all of them a place')
  assertSame(await readAll(w, 4), want, 'the copy')
  assertSame(await readAll(w, 3), model, 'the source')
  await assertSound(w)
})

test('what a snapshot shows is copied out without its bytes: rows of now, of history, and of a file that is gone', async () => {
  const { w, model } = await filled(3 * MIB)
  const epoch = await snapshot(w)
  await w.data.write(ctx, 3, 0, new Uint8Array(MIB), 0, MIB, quiet) // replaced since: in history
  await w.data.syncAll(ctx)
  const before = used(w)
  assert.equal(await w.data.copy(ctx, 3, epoch, 0, 4, 0, model.length, quiet, 'cheapest'), model.length)
  assert.equal(used(w), before)
  assertSame(await readAll(w, 4), model, 'the copy')
  await assertSound(w)
  assert.equal(await w.data.copy(ctx, 3, epoch, 0, 3, 0, model.length, quiet, 'cheapest'), model.length, 'the file itself')
  assertSame(await readAll(w, 3), model, 'as it was')
  await w.engine.sync(ctx)
  assert.equal(used(w), before - MIB)
  while (!(await w.data.reclaimStep(ctx, 3))) continue
  await w.data.copy(ctx, 3, epoch, 0, 5, 0, model.length, quiet, 'cheapest')
  assertSame(await readAll(w, 3, epoch), model, 'the snapshot')
  await assertSound(w)
  await removeSnapshot(w, [])
  await sweep(w, [])
  for (const i of [4, 5]) assertSame(await readAll(w, i), model, `copy ${i} without the snapshot`)
  await assertSound(w)
  assert.deepEqual((await sharesOf(w)).map(({ len, count }) => [len, count]), [[3 * MIB, 2]])
})

test('a snapshot that is removed while it is copied out of', async () => {
  const { w, model } = await filled(3 * MIB)
  const epoch = await snapshot(w)
  await w.data.write(ctx, 3, 0, new Uint8Array(3 * MIB), 0, 3 * MIB, quiet)
  await w.data.syncAll(ctx)
  await removeSnapshot(w, [])
  const copying = w.data.copy(ctx, 3, epoch, 0, 4, 0, model.length, quiet, 'shared').then(() => true, () => false) // its bytes, or an error
  const writing = (async () => {
    await sweep(w, [])
    for (let i = 0; i < 6; i++) await w.data.write(ctx, 5, i * MIB, new Uint8Array(MIB).fill(9), 0, MIB, quiet)
    await w.data.syncAll(ctx)
  })()
  await Promise.all([copying, writing])
  assert.equal((await readAll(w, 5)).every((b) => b === 9), true)
  await assertSound(w)
})

test('two files copied to each other at once: no order in which they wait for each other', { timeout: 20_000 }, async () => {
  const { w } = await filled(MIB)
  await w.data.copy(ctx, 3, NOW, 0, 4, 0, MIB, quiet, 'cheapest')
  await Promise.all([0, 1, 2, 3, 4, 5].flatMap((i) => [
    w.data.copy(ctx, 3, NOW, 0, 4, (i + 1) * MIB / 4, MIB / 2, quiet, 'cheapest'), w.data.copy(ctx, 4, NOW, 0, 3, (i + 1) * MIB / 4, MIB / 2, quiet, 'cheapest'),
    w.data.write(ctx, i % 2 + 3, i * 5000, new Uint8Array(5000), 0, 5000, quiet), w.data.flush(), snapshot(w)
  ]))
  await w.data.syncAll(ctx)
  await assertSound(w)
})

test('an older version is kept out before the first shared extent', async () => {
  let asked = 0
  const w = await makeWorld({ data: { needSharing: () => { asked++; return Promise.resolve() } } })
  for (const i of INOS) await makeFile(w, i)
  await w.data.write(ctx, 3, 0, new Uint8Array(MIB).fill(1), 0, MIB, quiet)
  await w.data.syncAll(ctx)
  assert.equal(asked, 0)
  await w.data.copy(ctx, 3, NOW, 0, 4, 0, MIB, quiet, 'shared')
  assert.ok(asked > 0)
})
