/**
 * Everything at once: writers, readers that miss the page cache, fsyncs, flushes, checkpoints and the background, on few files.
 * A reader sees each byte as it was before or after a write that ran meanwhile, and no length without its bytes.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NOW } from '../../src/data/index.js'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import type { Random } from '../../src/sys/index.js'
import { assertSound, cloneFile, closeAndOpen, makeFile, makeWorld, quiet, readAll, resized, snapshot } from './world.js'
import type { World } from './world.js'

const KIB = 1024
const INOS = [1, 2, 3]
const WRITES = 40

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
const below = (random: Random, n: number): number => random.uint32() % n
const sizeOf = (random: Random): number => 1 + (below(random, 3) === 0 ? below(random, 200 * KIB) : below(random, 9000))

/** Versions of a file: the last is what it is, or will be when the write that runs is answered. Who reads learns of new ones. */
interface Versions { list: Uint8Array[]; readonly watching: Set<Uint8Array[]> }

function becomes(versions: Versions, next: Uint8Array): void {
  versions.list.push(next)
  for (const seen of versions.watching) seen.push(next)
}

async function writer(w: World, random: Random, ino: number, versions: Versions): Promise<void> {
  for (let i = 0; i < WRITES; i++) {
    const last = versions.list.at(-1)!
    const choice = below(random, 12)
    const offset = below(random, 2) === 0 ? below(random, 300 * KIB) : below(random, 70) * 4096
    const length = sizeOf(random)
    if (choice === 0) {
      const size = below(random, 3) === 0 ? 0 : below(random, 300 * KIB)
      becomes(versions, resized(last, size))
      await w.data.truncate(ctx, ino, size, quiet)
    } else if (choice === 1) {
      becomes(versions, last.slice().fill(0, offset, offset + length))
      await w.data.punch(ctx, ino, offset, length, quiet)
    } else if (choice === 2) {
      becomes(versions, resized(last, Math.max(last.length, offset + length)).fill(0, offset, offset + length))
      await w.data.zero(ctx, ino, offset, length, false, quiet)
    } else {
      const at = choice < 7 ? last.length : offset
      const bytes = random.bytes(choice === 5 || choice === 6 ? 4096 * (1 + below(random, 4)) - at % 4096 : length) // some end at a unit's end
      for (let b = 0; b < bytes.length; b++) bytes[b] |= 1
      const next = resized(last, Math.max(last.length, at + bytes.length))
      next.set(bytes, at)
      becomes(versions, next)
      await w.data.write(ctx, ino, choice < 7 ? 'end' : at, bytes, 0, bytes.length, quiet)
      bytes.fill(2)
    }
    versions.list.splice(0, versions.list.length - 1) // answered: nothing older may be seen by who asks from now on
    if (below(random, 4) === 0) await turn()
  }
}

async function reader(w: World, random: Random, ino: number, versions: Versions, isOver: () => boolean): Promise<void> {
  while (!isOver()) {
    const seen: Uint8Array[] = [...versions.list]
    const offset = below(random, 200 * KIB)
    const length = sizeOf(random)
    const into = new Uint8Array(length).fill(2)
    const reading = w.data.read(ctx, ino, NOW, offset, length, into, 0)
    versions.watching.add(seen)
    const n = await reading
    versions.watching.delete(seen)
    assert.ok(seen.some((v) => n === Math.max(0, Math.min(length, v.length - offset))), `${n} bytes of ${seen.map((v) => v.length - offset).join()}`)
    for (let i = 0; i < n; i++) {
      const wasCut = into[i] === 0 && seen.some((v) => v.length <= offset + i) // the flush of a cut's zeros may overtake a slow read, as on ext4
      if (!wasCut && !seen.some((v) => offset + i < v.length && v[offset + i] === into[i])) assert.fail(`byte ${offset + i} of file ${ino} was never ${into[i]}: ${seen.map((v) => v[offset + i]).join()}`)
    }
    await turn()
  }
}

const run = (withSnapshots: boolean) => fc.asyncProperty(fc.integer({ min: 1 }), async (seed) => {
  const random = seededRandom(seed)
  const options = { conflictChance: 0.05, data: { flushBytes: 256 * KIB, directAfterBytes: below(random, 2) * 64 * KIB } }
  const w = await makeWorld(options)
  w.disk.cold = true
  const all = new Map<number, Versions>()
  for (const ino of INOS) {
    await makeFile(w, ino)
    all.set(ino, { list: [new Uint8Array(0)], watching: new Set() })
  }
  let writing = true
  const isOver = (): boolean => !writing
  const aside = async (fn: () => Promise<unknown>): Promise<void> => {
    while (writing) {
      for (let n = below(random, 6); n >= 0; n--) await turn()
      await fn()
    }
  }
  const others = [
    ...INOS.map((ino) => reader(w, random, ino, all.get(ino)!, isOver)),
    aside(() => w.data.sync(ctx, INOS[below(random, INOS.length)])),
    aside(() => w.data.sync(ctx, INOS[below(random, INOS.length)])),
    aside(() => w.data.flush()),
    aside(() => w.engine.checkpoint()),
    aside(() => w.clock.advanceAsync(200)),
    ...(withSnapshots ? [aside(() => snapshot(w))] : [])
  ]
  const failing = Promise.all(others)
  await Promise.race([Promise.all(INOS.map((ino) => writer(w, random, ino, all.get(ino)!))), failing])
  writing = false
  await failing
  for (const ino of INOS) assert.ok(Buffer.from(await readAll(w, ino)).equals(all.get(ino)!.list.at(-1)!), `file ${ino}`)
  await assertSound(w)
  await closeAndOpen(w, options)
  for (const ino of INOS) assert.ok(Buffer.from(await readAll(w, ino)).equals(all.get(ino)!.list.at(-1)!), `file ${ino} after closing`)
  await assertSound(w)
})

test('everything at once', { timeout: 200_000 }, () => fc.assert(run(false), { numRuns: Number(process.env.RUNS ?? 25) }))
test('with snapshots as well', { timeout: 200_000 }, () => fc.assert(run(true), { numRuns: Number(process.env.RUNS ?? 10) }))

/** All that goes on meanwhile of a look at a view: each may wait for another one, and none for ever. */
test('a rollback, a snapshot, and who first looks at a clone of what is rolled back do not wait for each other', { timeout: 100_000 }, () => {
  const what = ['rollback', 'snapshot', 'write', 'read', 'flatten'] as const
  const start = fc.record({ turns: fc.integer({ min: 0, max: 3 }), ticks: fc.integer({ min: 0, max: 3 }) })
  const orders = fc.tuple(fc.shuffledSubarray([...what], { minLength: what.length }), fc.array(start, { minLength: what.length, maxLength: what.length }), fc.boolean())
  const noTurns = what.map(() => ({ turns: 0, ticks: 0 }))
  return fc.assert(fc.asyncProperty(orders, async ([order, starts, isCold]) => {
    const w = await makeWorld()
    await makeFile(w, 1)
    const then = Buffer.alloc(150 * KIB, 1)
    await w.data.write(ctx, 1, 0, then, 0, then.length, quiet)
    await w.data.write(ctx, 1, 70 * KIB, then, 0, 5 * KIB, quiet) // logged
    const epoch = await snapshot(w)
    await cloneFile(w, 1, epoch, 2)
    await cloneFile(w, 2, await snapshot(w), 3)
    await w.data.write(ctx, 1, 0, Buffer.alloc(100 * KIB, 2), 0, 100 * KIB, quiet)
    await w.data.sync(ctx, 1)
    w.disk.cold = isCold
    const written = Buffer.from(then).fill(5, 4096, 4096 + 2 * KIB)
    const seen = Buffer.alloc(then.length)
    const does = {
      rollback: () => w.data.restore(ctx, 1, epoch, quiet),
      snapshot: () => w.data.quiesce(ctx, () => Promise.resolve()), // of another domain
      write: () => w.data.write(ctx, 3, 4096, written, 4096, 2 * KIB, quiet),
      read: () => w.data.read(ctx, 2, NOW, 0, seen.length, seen, 0),
      flatten: () => w.data.flatten(ctx, 3, 'copy', () => undefined)
    }
    const left = new Set<string>(order)
    const doing = order.map(async (name, i) => {
      for (let n = starts.slice(0, i + 1).reduce((sum, s) => sum + s.turns, 0); n > 0; n--) await turn()
      await does[name]()
      left.delete(name)
    })
    const all = Promise.all(doing)
    for (let n = 0; n < 20; n++) await turn() // the snapshot's gate is closed before the rollback's first step
    for (const { ticks } of starts) {
      await w.clock.advanceAsync(ticks)
      for (let n = 0; n < ticks; n++) await turn()
    }
    for (let n = 0; n < 200 && left.size > 0; n++) await w.clock.advanceAsync(1)
    assert.deepEqual([...left], [], 'they wait for each other')
    await all
    assert.ok(seen.equals(then))
    for (const [ino, bytes] of [[1, then], [2, then], [3, written]] as const) assert.ok(Buffer.from(await readAll(w, ino)).equals(bytes), `file ${ino}`)
    await assertSound(w)
    await closeAndOpen(w)
    assert.ok(Buffer.from(await readAll(w, 3)).equals(written))
    await assertSound(w)
  }), { numRuns: Number(process.env.RUNS ?? 60), examples: [[[['rollback', 'write', 'snapshot', 'read', 'flatten'], noTurns, false]]] })
})
