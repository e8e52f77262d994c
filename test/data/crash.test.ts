/**
 * Power cuts: what fsync answered survives; of the rest each byte is one that it had since, and no size covers bytes that were
 * not written; snapshots show what they did; the rows stay sound. The engine keeps a prefix of its commits, the disk any torn subset of unsynced pages.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NOW } from '../../src/data/index.js'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSound, cloneFile, closeAndOpen, contentOf, cutPower, die, makeFile, makeWorld, quiet, readAll, removeSnapshot, resized, sharesOf, snapshot, sweep } from './world.js'

const KIB = 1024
const INOS = [3, 4]
const offset = fc.oneof(fc.integer({ min: 0, max: 5000 }), fc.integer({ min: 0, max: 150 * KIB }), fc.integer({ min: 0, max: 30 }).map((n) => n * 4096))
const length = fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 66 * KIB, max: 140 * KIB }))
const ino = fc.constantFrom(...INOS)
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('write' as const), ino, offset, length }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('append' as const), ino, length }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('stream' as const), ino, count: fc.integer({ min: 2, max: 9 }) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('truncate' as const), ino, size: fc.oneof(offset, fc.constant(0)) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('punch' as const), ino, offset, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('zero' as const), ino, offset, length }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('reserve' as const), ino, offset, length }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant('copy' as const), ino, from: ino, fromOffset: offset.map((n) => n - n % 4096), offset: offset.map((n) => n - n % 4096), length: fc.oneof(length, fc.constant(200 * KIB)), wish: fc.constantFrom('cheapest' as const, 'shared' as const) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('sync' as const), ino }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('wait' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('snapshot' as const) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('unsnapshot' as const), which: fc.nat({ max: 9 }), steps: fc.constantFrom(0, 1, 2, 1000) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('rollback' as const), which: fc.nat({ max: 9 }), ino, cutAfter: fc.integer({ min: 0, max: 6 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('clone' as const), which: fc.nat({ max: 9 }), of: fc.nat({ max: 9 }), ino }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('flatten' as const), ino, how: fc.constantFrom('copy' as const, 'share' as const), turns: fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant(Infinity)) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('cut' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('die' as const) }) })

const tried = { cuts: 0, unsynced: 0, rollbacks: 0, shared: 0, clones: 0, flattened: 0 }

type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

async function cutAndCompare(steps: readonly Step[], seed: number): Promise<void> {
  const options = seed % 2 === 0 ? { groups: 8, data: { directAfterBytes: 8 * KIB } } : { groups: 8 }
  const w = await makeWorld(options)
  const random = seededRandom(seed)
  /** What each file has been since its last sync, newest last. */
  const versions = new Map<number, Uint8Array[]>()
  for (const i of INOS) {
    await makeFile(w, i)
    versions.set(i, [new Uint8Array(0)])
  }
  await w.engine.sync(ctx)
  const snapshots: { readonly epoch: number; readonly files: Map<number, Uint8Array> }[] = []
  const assertSnapshots = async (): Promise<void> => {
    for (const { epoch, files } of snapshots) for (const [i, bytes] of files) assert.ok(Buffer.from(await readAll(w, i, epoch)).equals(bytes), `file ${i} in snapshot ${epoch}`)
  }
  const held = new Set<number>() // views that clones need
  const now = new Map(INOS.map((i) => [i, i])) // a clone takes the place of a file
  let next = 5
  const left = (): number[] => [...snapshots.map(({ epoch }) => epoch), ...held]
  for (const step of [...steps, { op: 'cut' as const }]) {
    const s = 'from' in step ? { ...step, ino: now.get(step.ino)!, from: now.get(step.from)! } : 'ino' in step ? { ...step, ino: now.get(step.ino)! } : step
    if (s.op === 'clone') {
      if (snapshots.length === 0) continue
      const { epoch, files } = snapshots[s.which % snapshots.length]
      const [of, bytes] = [...files][s.of % files.size]
      await cloneFile(w, of, epoch, next)
      await w.engine.sync(ctx)
      tried.clones++
      held.add(epoch)
      versions.set(next, [bytes.slice()])
      now.set((step as { ino: number }).ino, next++)
      assert.ok(Buffer.from(await readAll(w, next - 1)).equals(bytes), `clone ${next - 1} is what ${of} was`)
    } else if (s.op === 'flatten') {
      if (!contentOf(w, s.ino).hasOrigin) continue
      let ended = false
      const flattening = w.data.flatten(ctx, s.ino, s.how, () => undefined).finally(() => (ended = true))
      for (let i = 0; i < s.turns && !ended; i++) await w.clock.advanceAsync(1)
      if (!ended) continue // it may go on, until the power goes
      await flattening
      tried.flattened++
      assert.equal(await w.data.lentBytes(ctx, s.ino), 0)
    } else if (s.op === 'flush') await w.data.flush()
    else if (s.op === 'snapshot') {
      const epoch = await snapshot(w)
      await w.engine.sync(ctx)
      for (const list of versions.values()) list.splice(0, list.length - 1) // all that was written before it is in it for good
      snapshots.push({ epoch, files: new Map([...versions].map(([i, list]) => [i, list[0].slice()])) })
    } else if (s.op === 'unsnapshot') {
      if (snapshots.length > 0) snapshots.splice(s.which % snapshots.length, 1)
      await removeSnapshot(w, left())
      await sweep(w, left(), s.steps)
    } else if (s.op === 'rollback') { // of all files; the power goes after so many steps of one
      if (snapshots.length === 0) continue
      const back = s.which % snapshots.length
      if ([...held].some((e) => e > snapshots[back].epoch) || !snapshots[back].files.has(s.ino)) continue
      snapshots.length = back + 1
      const { epoch, files } = snapshots.at(-1)!
      await w.data.quiesce(ctx, () => removeSnapshot(w, left()))
      await w.engine.sync(ctx)
      void w.data.restore(ctx, s.ino, epoch, quiet) // until the power goes
      for (let i = 0; i < s.cutAfter; i++) await w.clock.advanceAsync(1)
      tried.rollbacks++
      await cutPower(w, random, options)
      await assertSound(w)
      await assertSnapshots()
      for (const [i, list] of versions) {
        if (!files.has(i)) { // made since: what it is after the cut
          list.splice(0, list.length, (await readAll(w, i)).slice())
          continue
        }
        let ended = false
        const restoring = w.data.restore(ctx, i, epoch, quiet).finally(() => (ended = true))
        while (!ended) await w.clock.advanceAsync(1)
        await restoring
        list.splice(0, list.length, files.get(i)!.slice())
        assert.ok(Buffer.from(await readAll(w, i)).equals(list[0]), `file ${i} is what snapshot ${epoch} shows`)
      }
      await w.engine.sync(ctx)
      await assertSound(w)
      await assertSnapshots()
    } else if (s.op === 'die') {
      await die(w, options)
      for (const [i, list] of versions) assert.ok(Buffer.from(await readAll(w, i)).equals(list.at(-1)!), 'the daemon\'s death loses nothing')
    } else if (s.op === 'wait') { // nothing is older than 5 s
      for (let i = 0; i < 10; i++) await w.clock.advanceAsync(500)
      await w.engine.sync(ctx)
      for (const list of versions.values()) list.splice(0, list.length - 1)
    } else if (s.op === 'cut') {
      tried.cuts++
      await cutPower(w, random, options)
      for (const [i, list] of versions) {
        const got = await readAll(w, i)
        if (list.length > 1) tried.unsynced++
        const sizes = list.map((v) => v.length)
        assert.ok(got.length >= Math.min(...sizes) && got.length <= Math.max(...sizes), `size ${got.length} of ${sizes.join()}`)
        for (let at = 0; at < got.length; at++) {
          if (!list.some((v) => at < v.length && v[at] === got[at])) assert.fail(`byte ${at} of file ${i} (${got.length} bytes) was never ${got[at]}: ${list.map((v) => v[at]).join()}`)
        }
        assert.equal(contentOf(w, i).durableSizeBytes, got.length)
        list.splice(0, list.length, got.slice())
        await w.data.truncate(ctx, i, got.length + 200 * KIB, quiet) // nothing of what was lost lies behind the end
        assert.ok((await readAll(w, i)).subarray(got.length).every((b) => b === 0))
        await w.data.truncate(ctx, i, list[0].length, quiet)
      }
      await assertSound(w)
      await assertSnapshots()
      await w.data.syncAll(ctx) // what was found is what stays
    } else {
      const list = versions.get(s.ino)!
      const last = list.at(-1)!
      if (s.op === 'sync') {
        await w.data.sync(ctx, s.ino)
        list.splice(0, list.length - 1)
      } else if (s.op === 'truncate') {
        await w.data.truncate(ctx, s.ino, s.size, quiet)
        list.push(resized(last, s.size))
      } else if (s.op === 'reserve') {
        await w.data.reserve(ctx, s.ino, s.offset, s.length, false, quiet)
        list.push(resized(last, Math.max(last.length, s.offset + s.length)))
      } else if (s.op === 'copy') {
        const n = Math.min(s.length, versions.get(s.from)!.at(-1)!.length - s.fromOffset)
        if (n <= 0 || (s.from === s.ino && Math.abs(s.fromOffset - s.offset) < n)) continue
        const bytes = versions.get(s.from)!.at(-1)!.slice(s.fromOffset, s.fromOffset + n)
        for (let done = 0; done < n;) done += await w.data.copy(ctx, s.from, NOW, s.fromOffset + done, s.ino, s.offset + done, n - done, quiet, s.wish)
        const next = resized(last, Math.max(last.length, s.offset + n))
        next.set(bytes, s.offset)
        list.push(next)
        if ((await sharesOf(w)).some(({ count }) => count > 1)) tried.shared++
      } else if (s.op === 'punch') {
        await w.data.punch(ctx, s.ino, s.offset, s.length, quiet)
        list.push(last.slice().fill(0, s.offset, s.offset + s.length))
      } else if (s.op === 'zero') {
        await w.data.zero(ctx, s.ino, s.offset, s.length, false, quiet)
        list.push(resized(last, Math.max(last.length, s.offset + s.length)).fill(0, s.offset, s.offset + s.length))
      } else if (s.op === 'stream') { // whole units, a sync beside the last
        for (let i = 0; i <= s.count; i++) {
          const before = list.at(-1)!
          const bytes = random.bytes(8192 - before.length % 4096)
          for (let b = 0; b < bytes.length; b++) bytes[b] |= 1
          const syncing = i === s.count ? w.data.sync(ctx, s.ino) : undefined
          const floor = list.length - 1
          await w.data.write(ctx, s.ino, 'end', bytes, 0, bytes.length, quiet)
          const next = resized(before, before.length + bytes.length)
          next.set(bytes, before.length)
          list.push(next)
          await syncing
          if (syncing !== undefined) list.splice(0, floor)
        }
      } else {
        const at = s.op === 'append' ? last.length : s.offset
        const bytes = random.bytes(s.length)
        for (let b = 0; b < bytes.length; b++) bytes[b] |= 1 // never a zero, which a hole is
        await w.data.write(ctx, s.ino, s.op === 'append' ? 'end' : at, bytes, 0, s.length, quiet)
        const next = resized(last, Math.max(last.length, at + s.length))
        next.set(bytes, at)
        list.push(next)
      }
    }
  }
  await assertSnapshots()
  await removeSnapshot(w, [])
  await sweep(w, [])
  for (const i of versions.keys()) while (!(await w.data.reclaimStep(ctx, i))) continue
  await assertSound(w)
  assert.equal(w.store.status().usedBytes, 0)
}

test('after a power cut', { timeout: 300_000 }, () =>
  fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), fc.integer({ min: 1 }), cutAndCompare), { numRuns: Number(process.env.RUNS ?? 120) }).then(() => {
    assert.ok(tried.unsynced > 0, JSON.stringify(tried))
    console.log(`# ${tried.cuts} cuts, ${tried.unsynced} files with bytes that nobody had synced, ${tried.clones} clones`)
  }))

const change = step.filter(({ op }) => op !== 'unsnapshot' && op !== 'rollback' && op !== 'clone' && op !== 'flatten')
const some = fc.array(change, { minLength: 2, maxLength: 8, size: 'max' })
const rollback = step.filter(({ op }) => op === 'rollback')
const snapshots: Step[] = [{ op: 'snapshot' }]

/** Nothing of the zeros is a whole unit. */
const zeroedWithin: Step[] = [
  { op: 'write', ino: 4, offset: 0, length: 4097 }, { op: 'snapshot' }, { op: 'zero', ino: 4, offset: 1, length: 1 }, { op: 'rollback', which: 0, ino: 3, cutAfter: 0 }, { op: 'flush' }]

test('a rollback in which the power goes', { timeout: 300_000 }, () =>
  fc.assert(fc.asyncProperty(fc.tuple(some, fc.constant(snapshots), some, fc.tuple(rollback), some).map((parts) => parts.flat()), fc.integer({ min: 1 }), cutAndCompare), { numRuns: Number(process.env.RUNS ?? 60), examples: [[zeroedWithin, 1]] }).then(() => {
    assert.ok(tried.rollbacks > 0, JSON.stringify(tried))
    console.log(`# ${tried.rollbacks} rollbacks`)
  }))

const shared: Step[] = [
  { op: 'write', ino: 3, offset: 0, length: 140 * KIB }, { op: 'sync', ino: 3 }, { op: 'copy', ino: 4, from: 3, fromOffset: 0, offset: 8192, length: 130 * KIB, wish: 'shared' }]
const further = fc.array(step, { maxLength: 25, size: 'max' })
const clone = step.filter(({ op }) => op === 'clone')
const flatten = step.filter(({ op }) => op === 'flatten')
const any = fc.array(step, { minLength: 1, maxLength: 6, size: 'max' })

test('files that share extents, and the power goes', { timeout: 300_000 }, () => {
  tried.shared = 0
  return fc.assert(fc.asyncProperty(further.map((steps) => [...shared, ...steps]), fc.integer({ min: 1 }), cutAndCompare), { numRuns: Number(process.env.RUNS ?? 40) }).then(() => {
    assert.ok(tried.shared > Number(process.env.RUNS ?? 40), JSON.stringify(tried))
    console.log(`# ${tried.shared} copies after which files shared extents`)
  })
})

test('clones of files that share extents are flattened, and the power goes', { timeout: 300_000 }, () => {
  tried.flattened = 0
  return fc.assert(fc.asyncProperty(fc.tuple(fc.constant([...shared, ...snapshots]), any, fc.tuple(clone), any, fc.tuple(flatten), any, fc.tuple(flatten), any).map((parts) => parts.flat()), fc.integer({ min: 1 }), cutAndCompare), { numRuns: Number(process.env.RUNS ?? 40) }).then(() => {
    assert.ok(tried.flattened > 0, JSON.stringify(tried))
    console.log(`# ${tried.flattened} clones were flattened`)
  })
})

test('a flatten of what shares its extents, and the power goes before it began', () => cutAndCompare([
  { op: 'write', ino: 3, offset: 0, length: 140 * KIB }, { op: 'sync', ino: 3 },
  { op: 'copy', ino: 4, from: 3, fromOffset: 0, offset: 8192, length: 130 * KIB, wish: 'shared' },
  { op: 'snapshot' }, { op: 'clone', which: 0, of: 0, ino: 3 }, { op: 'flatten', ino: 3, how: 'copy', turns: 0 }], 1))

test('clones, clones of clones, and what becomes of them when the power goes', { timeout: 300_000 }, () =>
  fc.assert(fc.asyncProperty(fc.tuple(some, fc.constant(snapshots), some, fc.tuple(clone), some, fc.tuple(clone), fc.constant(snapshots), any, fc.tuple(clone), any).map((parts) => parts.flat()), fc.integer({ min: 1 }), cutAndCompare), { numRuns: Number(process.env.RUNS ?? 60) }).then(() => {
    assert.ok(tried.clones > 0, JSON.stringify(tried))
  }))

test('a large write over inline bytes that were synced: they are there until the new ones are', async () => {
  const w = await makeWorld({ groups: 8 })
  await makeFile(w, 3)
  const old = Buffer.alloc(161, 7)
  await w.data.write(ctx, 3, 0, old, 0, old.length, quiet)
  await w.data.sync(ctx, 3)
  await w.data.write(ctx, 3, 0, Buffer.alloc(160_000, 9), 0, 160_000, quiet)
  await w.engine.sync(ctx) // the log is ahead of the store
  await cutPower(w, seededRandom(1))
  const got = await readAll(w, 3)
  assert.ok(got.length >= old.length && got.every((b) => b === 7 || b === 9), `${got.length} bytes, beginning with ${got[0]}`)
  await assertSound(w)
})

/** Nothing is kept that need not be. */
const least = { uint32: () => 0, bytes: (length: number) => new Uint8Array(length) }

test('the flush writes in place only what the log holds durably', async () => {
  for (const change of ['append', 'truncate'] as const) {
    const w = await makeWorld({ groups: 8 })
    await makeFile(w, 3)
    await w.data.write(ctx, 3, 0, Buffer.alloc(100_001, 7), 0, 100_001, quiet)
    await w.data.sync(ctx, 3)
    if (change === 'append') await w.data.write(ctx, 3, 'end', Buffer.alloc(50, 9), 0, 50, quiet)
    else await w.data.truncate(ctx, 3, 50_001, quiet)
    await w.data.flush()
    await cutPower(w, least)
    const got = await readAll(w, 3)
    assert.ok(got.every((b, at) => b === (at < 100_001 ? 7 : 9)), `${change}: ${got.length} bytes, zeros from ${got.indexOf(0)}`)
    await w.data.truncate(ctx, 3, got.length + 8192, quiet)
    assert.ok((await readAll(w, 3)).subarray(got.length).every((b) => b === 0), `${change}: a file that grows shows zeros`)
    await assertSound(w)
  }
})

test('what is hurried is durable within a second, whatever else is under way', async () => {
  const w = await makeWorld({ groups: 8 })
  for (const i of INOS) await makeFile(w, i)
  await w.engine.sync(ctx)
  await w.data.write(ctx, 4, 0, Buffer.alloc(100_000, 7), 0, 100_000, quiet)
  await w.clock.advanceAsync(450)
  await w.data.write(ctx, 3, 0, Buffer.alloc(100_000, 9), 0, 100_000, quiet)
  w.data.hurry(3)
  await w.clock.advanceAsync(900)
  await cutPower(w, least)
  assert.equal((await readAll(w, 3)).length, 100_000)
  await closeAndOpen(w)
})

test('an append that fails, or that the daemon dies in, leaves zeros behind the end of the file', async () => {
  for (const end of [100_001, 99_000]) {
    const w = await makeWorld({ groups: 8 })
    await makeFile(w, 3)
    await w.data.write(ctx, 3, 0, Buffer.alloc(99_000, 7), 0, 99_000, quiet)
    w.isFailing = true
    await assert.rejects(async () => w.data.write(ctx, 3, end, Buffer.alloc(120, 9), 0, 120, quiet), /no/)
    await assert.rejects(async () => w.data.write(ctx, 3, end, Buffer.alloc(120_000, 9), 0, 120_000, quiet), /no/)
    w.isFailing = false
    await w.data.truncate(ctx, 3, 300_000, quiet)
    assert.ok((await readAll(w, 3)).subarray(99_000).every((b) => b === 0))
    await w.data.write(ctx, 3, 99_500, Buffer.alloc(120_000, 5), 0, 120_000, quiet)
    const got = await readAll(w, 3)
    assert.ok(got.every((b, at) => b === (at < 99_000 ? 7 : at < 99_500 || at >= 219_500 ? 0 : 5)))
    await assertSound(w)
  }
})

test('a large write over the end of a file that grew shortly before: what a power cut takes back is not seen behind the end', async () => {
  for (const grow of ['append', 'truncate', 'reserve'] as const) {
    const w = await makeWorld({ groups: 8 })
    await makeFile(w, 3)
    await w.data.write(ctx, 3, 0, Buffer.alloc(8_113, 7), 0, 8_113, quiet)
    await w.data.flush()
    await w.data.syncAll(ctx)
    if (grow === 'append') await w.data.write(ctx, 3, 14_960, Buffer.alloc(23, 8), 0, 23, quiet)
    else if (grow === 'truncate') await w.data.truncate(ctx, 3, 14_983, quiet)
    else await w.data.reserve(ctx, 3, 8_000, 6_983, false, quiet)
    await w.data.write(ctx, 3, 3_683, Buffer.alloc(165_017, 9), 0, 165_017, quiet)
    await w.store.sync(ctx) // the store is ahead of the log
    await cutPower(w, least)
    const got = await readAll(w, 3)
    assert.equal(got.length, 8_113)
    await w.data.truncate(ctx, 3, 20_000, quiet)
    assert.ok((await readAll(w, 3)).subarray(8_113).every((b) => b === 0), grow)
    await assertSound(w)
  }
})
