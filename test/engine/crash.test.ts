/**
 * What is left after the daemon's death and after a power cut: always a prefix of the commits in their order, never less
 * than what was synced; after the daemon's death, everything that was answered. Cuts at any byte of the log, with any
 * subset of unsynced sectors, and at each step of a checkpoint. A failure prints its seed (OGEE_SEED repeats it).
 */
import assert from 'node:assert/strict'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { manualClock, PosixError, seededRandom } from '../../src/sys/index.js'
import { openLmdb } from '../../src/engine/index.js'
import type { Engine } from '../../src/engine/index.js'
import { apply, assertSame, body, copyModel, emptyModel, runSteps } from './model.js'
import type { Model, Step } from './model.js'
import { copyFolder, makeDisk, newFolder } from './disk.js'
import type { Disk } from './disk.js'
import { bytes, ctx } from './suite.js'

const SIZES = { logBytes: 256 * 1024, checkpointAtBytes: 128 * 1024 }
const seed = process.env.OGEE_SEED === undefined ? undefined : Number(process.env.OGEE_SEED)

/** Opens, compares with the state after as many commits as it has, writes a little more, opens again: still right. */
async function assertPrefix(folder: string, states: readonly Model[], firstSeq: number, atLeast: number, atMost: number, bootId: string): Promise<void> {
  for (const again of [false, true]) {
    const engine = await openLmdb({ folder, ...SIZES, bootId, clock: manualClock() })
    const seq = engine.committedSeq() - (again ? 1 : 0)
    assert.ok(seq >= atLeast && seq <= atMost, `${seq} commits are left, between ${atLeast} and ${atMost} expected`)
    const model = copyModel(states[seq - firstSeq])
    if (again) model.values.set('v0', 'afterwards')
    await assertSame(engine, model)
    if (!again) {
      await engine.transact(ctx, (tx) => tx.put('v0', bytes('afterwards')))
      atLeast = atMost = seq
      const next = copyFolder(folder) // as a daemon that dies leaves it
      await engine.close()
      rmSync(folder, { recursive: true })
      folder = next
    } else await engine.close()
  }
  rmSync(folder, { recursive: true })
}

interface Ran {
  readonly states: Model[] // by commit, the first is before any
  readonly writesAt: number[] // how many writes of the log each commit had seen when it was answered
  readonly durableAt: { writes: number; seq: number }[]
}

/** Runs bodies, some synced; notes what must be left of them. */
async function runProgram(engine: Engine, disk: Disk, program: readonly (readonly [Step[], boolean])[], model: Model): Promise<Ran> {
  const ran: Ran = { states: [copyModel(model)], writesAt: [disk.writes.length], durableAt: [{ writes: 0, seq: engine.committedSeq() }] }
  for (const [steps, sync] of program) {
    const before = engine.committedSeq()
    apply(model, await engine.transact(ctx, (tx) => runSteps(tx, steps, 0)), 'alone')
    if (engine.committedSeq() > before) {
      ran.states.push(copyModel(model))
      ran.writesAt.push(disk.writes.length)
    }
    if (sync) {
      await engine.sync(ctx)
      ran.durableAt.push({ writes: disk.writes.length, seq: engine.committedSeq() })
    }
  }
  return ran
}

const program = fc.array(fc.tuple(body, fc.boolean()), { minLength: 1, maxLength: 15 })

test('cut at any byte, with any subset of unsynced sectors: a prefix, not less than what was synced', async () => {
  await fc.assert(fc.asyncProperty(program, program, fc.nat(), async (first, second, cutSeed) => {
    const random = seededRandom(cutSeed)
    const folder = newFolder()
    const disk = makeDisk()
    const engine = await openLmdb({ folder, ...SIZES, io: disk.io, bootId: 'one', clock: manualClock() })
    const model = emptyModel()
    for (const part of [first, second]) { // the second after a checkpoint: the log starts in its middle
      await engine.checkpoint()
      disk.settle(readFileSync(join(folder, 'log')))
      const base = copyFolder(folder)
      const firstSeq = engine.committedSeq()
      const ran = await runProgram(engine, disk, part, model)
      for (let cut = 0; cut < 4; cut++) {
        const count = random.uint32() % (disk.writes.length + 1)
        const torn = count < disk.writes.length ? random.uint32() % (disk.writes[count].bytes.length + 1) : 0
        const answered = firstSeq + ran.writesAt.filter((w) => w <= count).length - 1
        await assertPrefix(copyFolder(base, disk.imageAt(count, torn)), ran.states, firstSeq, answered, engine.committedSeq(), 'one')
        const durable = ran.durableAt.filter((d) => d.writes <= count).pop()!
        await assertPrefix(copyFolder(base, disk.imageAfterCut(count, durable.writes, random)), ran.states, firstSeq, durable.seq, engine.committedSeq(), 'two')
      }
    }
    await engine.close()
    rmSync(folder, { recursive: true })
  }), { numRuns: 12, seed })
})

test('killed, or without power, at each step of a checkpoint that commits race', async () => {
  await fc.assert(fc.asyncProperty(program, fc.array(body, { maxLength: 8 }), fc.nat(), async (before, beside, cutSeed) => {
    const random = seededRandom(cutSeed)
    const folder = newFolder()
    const model = emptyModel()
    const states: Model[] = []
    const left: { step: string; folder: string; seq: number; durable: number; bootId: string }[] = []
    let engine: Engine | undefined
    let watch = false
    let racing = 0
    const fill = async (into: Engine, part: number): Promise<void> => {
      while (into.status().logUsedBytes < SIZES.logBytes * part) {
        const value = String.fromCharCode(65 + (states.length % 26)).repeat(20_000)
        await into.transact(ctx, (tx) => tx.put('v1', bytes(value)))
        model.values.set('v1', value)
        states.push(copyModel(model))
      }
    }
    const disk: Disk = makeDisk(async (step) => {
      if (!watch || engine === undefined) return
      if (racing < beside.length && engine.status().logUsedBytes < SIZES.logBytes * 0.75) { // a full log would wait for us
        apply(model, await engine.transact(ctx, (tx) => runSteps(tx, beside[racing++], 0)), 'alone')
        while (states.length <= engine.committedSeq()) states.push(copyModel(model))
      }
      await fill(engine, 0.65) // nothing of the log that replay needs may be overwritten
      const seq = engine.committedSeq()
      left.push({ step, folder: copyFolder(folder), seq, durable: seq, bootId: 'one' })
      left.push({ step, folder: copyFolder(folder, disk.imageAfterCut(disk.writes.length, disk.synced, random)), seq, durable: engine.durableSeq(), bootId: 'two' })
    })
    engine = await openLmdb({ folder, ...SIZES, io: disk.io, bootId: 'one', clock: manualClock() })
    states.push(copyModel(model))
    disk.settle(readFileSync(join(folder, 'log')))
    for (const [steps] of before) {
      apply(model, await engine.transact(ctx, (tx) => runSteps(tx, steps, 0)), 'alone')
      while (states.length <= engine.committedSeq()) states.push(copyModel(model))
    }
    await fill(engine, 0.4)
    watch = true
    await engine.checkpoint()
    watch = false
    if (engine.committedSeq() > 0) assert.ok(left.length >= 2 * 5, 'each step was seen')
    for (const l of left) await assertPrefix(l.folder, states, 0, l.durable, l.seq, l.bootId)
    await assertSame(engine, model)
    await engine.close()
    rmSync(folder, { recursive: true })
  }), { numRuns: 8, seed })
})

const isEio = (e: unknown): boolean => e instanceof PosixError && e.code === 'EIO'

test('a power cut is not forgotten until what it asks for was done', async () => {
  let folder = newFolder()
  const dies = async (bootId: string, use: (engine: Engine) => Promise<void>): Promise<Engine['recovery']> => {
    const engine = await openLmdb({ folder, ...SIZES, bootId, clock: manualClock() })
    await use(engine)
    await engine.transact(ctx, (tx) => tx.put('v', bytes(bootId)))
    const copy = copyFolder(folder)
    await engine.close()
    folder = copy
    return engine.recovery
  }
  const nothing = (): Promise<void> => Promise.resolve()
  await dies('one', nothing)
  for (const use of [nothing, nothing, (engine: Engine) => engine.recovered()]) assert.deepEqual((({ clean, sameBoot }) => ({ clean, sameBoot }))(await dies('two', use)), { clean: false, sameBoot: false })
  assert.equal((await dies('two', nothing)).sameBoot, true)
  assert.equal((await dies('three', nothing)).sameBoot, false)
  await (await openLmdb({ folder, ...SIZES, bootId: 'three', clock: manualClock() })).close() // in order, but nobody recovered
  assert.deepEqual([(await dies('three', (engine) => engine.recovered())).sameBoot, (await dies('three', nothing)).sameBoot], [false, true])
})

test('a write of the log that fails: EIO, no more commits, reads go on, and what was answered is left', async () => {
  for (const rc of [-5, -28]) {
    const folder = newFolder()
    const disk = makeDisk()
    const engine = await openLmdb({ folder, ...SIZES, io: disk.io, clock: manualClock() })
    await engine.transact(ctx, (tx) => tx.put('v0', bytes('1')))
    await engine.sync(ctx)
    disk.failNext('pwrite', rc, 1)
    const lost = await Promise.allSettled([1, 2].map((i) => engine.transact(ctx, (tx) => tx.put(`v${i}`, bytes('2')))))
    for (const l of lost) assert.ok(l.status === 'rejected' && isEio(l.reason))
    await assert.rejects(engine.transact(ctx, (tx) => tx.put('v3', bytes('3'))), isEio)
    await assert.rejects(engine.sync(ctx), isEio)
    await assert.rejects(engine.checkpoint(), isEio)
    assert.equal(Buffer.from((await engine.reader(ctx).get('v0'))!.bytes).latin1Slice(), '1')
    assert.match(engine.status().failed!, /writing the log failed/)
    await engine.close()
    const after = await openLmdb({ folder, ...SIZES, clock: manualClock() })
    assert.deepEqual((await after.reader(ctx).scan({ from: 'v', to: 'w', limit: 9 })).map((r) => r.key), ['v0'])
    assert.equal(after.recovery.clean, false)
    await after.close()
  }
})

test('a short write of the log goes on where it stopped', async () => {
  const folder = newFolder()
  const disk = makeDisk()
  const engine = await openLmdb({ folder, ...SIZES, io: disk.io, clock: manualClock() })
  disk.failNext('pwrite', 100, 3)
  await engine.transact(ctx, (tx) => tx.put('v0', Buffer.alloc(9000, 7)))
  const copy = copyFolder(folder)
  await engine.close()
  const after = await openLmdb({ folder: copy, ...SIZES, clock: manualClock() })
  assert.deepEqual(Buffer.from((await after.reader(ctx).get('v0'))!.bytes), Buffer.alloc(9000, 7))
  await after.close()
})

test('an fdatasync that fails: EIO for all who wait, never called good later', async () => {
  const folder = newFolder()
  const disk = makeDisk()
  const engine = await openLmdb({ folder, ...SIZES, io: disk.io, clock: manualClock() })
  await engine.transact(ctx, (tx) => tx.put('v0', bytes('1')))
  await engine.sync(ctx)
  await engine.sync(ctx) // nothing to do: good
  await engine.transact(ctx, (tx) => tx.put('v1', bytes('1')))
  disk.failNext('fdatasync', -5, 1)
  for (const r of await Promise.allSettled([engine.sync(ctx), engine.sync(ctx)])) assert.ok(r.status === 'rejected' && isEio(r.reason))
  await assert.rejects(engine.sync(ctx), isEio)
  await assert.rejects(engine.transact(ctx, (tx) => tx.put('v2', bytes('1'))), isEio)
  assert.equal(engine.durableSeq(), 1)
  assert.match(engine.status().failed!, /fdatasync/)
  await engine.close()
})

test('without a sync, commits are durable within a second', async () => {
  const clock = manualClock()
  const disk = makeDisk()
  const engine = await openLmdb({ folder: newFolder(), ...SIZES, io: disk.io, clock })
  for (let i = 1; i <= 3; i++) {
    await engine.transact(ctx, (tx) => tx.put('v0', bytes(`${i}`)))
    assert.equal(engine.durableSeq(), i - 1)
    await clock.advanceAsync(1000)
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(engine.durableSeq(), i)
  }
  assert.equal(clock.pending, 0, 'an idle engine has no timer')
  await engine.close()
})

test('one fdatasync serves all who wait; who comes later waits for the next', async () => {
  const disk = makeDisk()
  let syncs = 0
  const io = { ...disk.io, fdatasync: (fd: number) => (syncs++, disk.io.fdatasync(fd)) }
  const engine = await openLmdb({ folder: newFolder(), ...SIZES, io, clock: manualClock() })
  syncs = 0
  await engine.transact(ctx, (tx) => tx.put('v0', bytes('1')))
  const first = [engine.sync(ctx), engine.sync(ctx), engine.sync(ctx)]
  await engine.transact(ctx, (tx) => tx.put('v0', bytes('2')))
  const second = [engine.sync(ctx), engine.sync(ctx)]
  await Promise.all(first)
  await Promise.all(second)
  assert.equal(engine.durableSeq(), 2)
  assert.equal(syncs, 2)
  await engine.close()
})

test('a full log: commits wait for the checkpoint, its hooks do not, and the ring turns many times', async () => {
  const folder = newFolder()
  const engine = await openLmdb({ folder, ...SIZES, io: makeDisk().io, clock: manualClock() })
  let hooks = 0
  engine.onBeforeCheckpoint(async (hookCtx) => {
    hooks++
    await engine.transact(hookCtx, (tx) => tx.put('vh', Buffer.alloc(3000, hooks)))
  })
  const value = Buffer.alloc(2000, 1)
  for (let round = 0; round < 20; round++) { // 40 at once are 80 KiB, 20 rounds 1.6 MiB: six times the ring
    await Promise.all(Array.from({ length: 40 }, (_, i) => engine.transact(ctx, async (tx) => {
      if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
      tx.put(`v${round}.${i}`, value)
      tx.change(bytes('e'))
    })))
  }
  assert.ok(hooks >= 6, `${hooks} checkpoints`)
  const copy = copyFolder(folder)
  await engine.close()
  const after = await openLmdb({ folder: copy, ...SIZES, clock: manualClock() })
  assert.equal((await after.reader(ctx).scan({ from: 'v', to: 'w', limit: Infinity })).length, 801)
  assert.equal((await after.changes(1, 1, Infinity)).length, 800)
  await after.close()
  const big = await openLmdb({ folder, ...SIZES, clock: manualClock() })
  await assert.rejects(big.transact(ctx, (tx) => tx.put('v', Buffer.alloc(100_000))), (e) => e instanceof PosixError && e.code === 'E2BIG')
  await big.close()
})

test('old events go, the newest stay', async () => {
  const engine = await openLmdb({ folder: newFolder(), ...SIZES, io: makeDisk().io, clock: manualClock(), eventsKept: 50 })
  for (let i = 0; i < 120; i++) await engine.transact(ctx, (tx) => tx.change(bytes(`${i}`)))
  await engine.checkpoint()
  const kept = await engine.changes(1, 1, Infinity)
  assert.deepEqual([kept.length, kept[0].n, kept[49].n], [50, 71, 120])
  await engine.close()
})
