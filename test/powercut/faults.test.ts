/**
 * Faults in the calls of log and space, on the simulated machine: each gives the error that is promised, what was answered
 * stays, and a pool that is opened when the cause is gone is sound. Flipped bits: a sentence, or a pool without a wrong byte.
 */
import assert from 'node:assert/strict'

import { execFile } from 'node:child_process'
import { closeSync, fstatSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { Refusal } from '../../src/pool/index.js'
import { backgroundContext, ERRNO, manualClock, PosixError, seededRandom } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { makeCutter } from './journal.js'
import { cutAndJudge, imageOf, judged, makeTried, newFolder, openStill, quiet, SPACE_BYTES } from './machine.js'
import { bootIdOf, startSimulated, work } from './simulation.js'
import type { Machine } from './simulation.js'
import { judge } from './verdict.js'
import type { Call, Faults } from './simulated.js'

const ctx = backgroundContext()
const run = promisify(execFile)
const O_RDWR = 2
const how = { killSuidgid: false, append: false } as const
const SEEDS = [1, 2, 3]

const codeOf = (e: unknown): string => (e instanceof PosixError ? e.code : String(e))
/** 'ok', or the error's code. */
const outcome = (done: unknown): Promise<string> => Promise.resolve(done).then(() => 'ok', codeOf)

interface Probe {
  readonly ino: number
  readonly handle: number
  small(): Promise<string>
  large(): Promise<string>
  sync(): Promise<string>
  read(): Promise<string>
}

async function probe({ sim, opened }: Machine): Promise<Probe> {
  const vfs: Vfs = opened.vfs
  const { attr, handle } = await sim.run(Promise.resolve(vfs.create(ctx, ROOT_NODE, 'probe', 0o644, 0, O_RDWR)))
  const write = (length: number): Promise<string> => sim.run(outcome((async () => vfs.write(ctx, attr.ino, handle, 0, Buffer.alloc(length, 1), 0, length, how))()))
  return {
    ino: attr.ino, handle,
    small: () => write(5000),
    large: () => write(200_000),
    sync: () => sim.run(outcome((async () => vfs.fsync(ctx, attr.ino, handle, false))())),
    read: () => sim.run(outcome((async () => vfs.read(ctx, attr.ino, handle, 0, 200_000, Buffer.alloc(200_000), 0))()))
  }
}

const once = (call: Call, answer: number): Faults => {
  let left = 1
  return (c) => (c === call && left-- > 0 ? answer : undefined)
}

/** A pool at work, then a fault; after it the daemon dies, and the pool is opened without the fault. */
async function withFault(seed: number, use: (m: Machine, p: Probe) => Promise<void>): Promise<void> {
  const machine = await startSimulated({ seed })
  const { sim, history, random } = machine
  await work(machine, 60)
  const p = await probe(machine)
  assert.deepEqual([await p.large(), await p.sync(), await p.read()], ['ok', 'ok', 'ok'])
  await use(machine, p)
  sim.faults = () => undefined
  await sim.run(outcome(machine.opened.vfs.unlink(ctx, ROOT_NODE, 'probe'))) // a pool that failed refuses; then it stays
  sim.direct(true)
  await machine.opened.pool.close().catch((e: unknown) => assert.equal(codeOf(e), 'EIO'))
  const cutter = makeCutter(sim.events)
  cutter.advance(sim.events.length)
  const wrong = await cutAndJudge({ cutter, history, random, fate: 'all', ms: sim.nowMs(), slackMs: 0, bootIdBefore: bootIdOf(0), tried: makeTried() })
  assert.deepEqual(wrong.filter((w) => !w.includes('probe')), [])
}

test('a write of the log that fails: EIO, then nothing is taken any more, and all that was answered is there', async () => {
  for (const errno of [ERRNO.EIO, ERRNO.ENOSPC]) {
    for (const seed of SEEDS) {
      await withFault(seed, async ({ sim }, p) => {
        sim.faults = once('log write', -errno)
        assert.equal(await p.small(), 'EIO')
        assert.equal(await p.read(), 'ok')
        assert.equal(await p.small(), 'EIO')
        assert.notEqual(await p.sync(), 'ok')
      })
    }
  }
})

test('a sync of the log that fails: EIO, never called good later', async () => {
  for (const seed of SEEDS) {
    await withFault(seed, async ({ sim }, p) => {
      assert.equal(await p.small(), 'ok')
      sim.faults = once('log sync', -ERRNO.EIO)
      assert.equal(await p.sync(), 'EIO')
      for (let n = 0; n < 3; n++) assert.notEqual(await p.sync(), 'ok')
      assert.notEqual(await p.small(), 'ok')
      assert.equal(await p.read(), 'ok')
    })
  }
})

test('a sync of the space that fails: EIO, never called good later; what needs no space goes on', async () => {
  for (const seed of SEEDS) {
    await withFault(seed, async ({ sim }, p) => {
      assert.equal(await p.large(), 'ok')
      sim.faults = once('space sync', -ERRNO.EIO)
      assert.equal(await p.sync(), 'EIO')
      assert.notEqual(await p.sync(), 'ok')
      assert.equal(await p.large(), 'EROFS')
      assert.equal(await p.read(), 'ok')
    })
  }
})

test('a read or a write of the space that fails: that call\'s error, and the next one is good', async () => {
  for (const [call, errno, code] of [['space read', ERRNO.EIO, 'EIO'], ['space write', ERRNO.EIO, 'EIO'], ['space write', ERRNO.ENOSPC, 'ENOSPC']] as const) {
    for (const seed of SEEDS) {
      await withFault(seed, async ({ sim }, p) => {
        const ask = call === 'space read' ? p.read : p.large
        sim.faults = once(call, -errno)
        assert.equal(await ask(), code)
        assert.deepEqual([await ask(), await p.sync(), await p.read()], ['ok', 'ok', 'ok'])
      })
    }
  }
})

test('short writes and short reads are gone on with', async () => {
  for (const seed of SEEDS) {
    await withFault(seed, async (m, p) => {
      const random = seededRandom(seed)
      m.sim.faults = (call, length) => ((call === 'log write' || call === 'space write') && length > 1 && random.uint32() % 2 === 0 ? 1 + (random.uint32() % (length - 1)) : undefined)
      assert.deepEqual([await p.small(), await p.large(), await p.sync(), await p.read()], ['ok', 'ok', 'ok', 'ok'])
      await work(m, 60)
    })
  }
})

test('a device thirty times as slow: no error, nothing lost', async () => {
  for (const seed of SEEDS) {
    await withFault(seed, async (m, p) => {
      m.sim.slowness = 30
      assert.deepEqual([await p.small(), await p.large(), await p.sync(), await p.read()], ['ok', 'ok', 'ok', 'ok'])
      await work(m, 60)
    })
  }
})

// A log whose flushes lie has promised what it does not hold: its marks know more than it can replay. Where they do not, it may be
// behind LMDB, whose flushes do not lie: then half of a lost commit is there, which no code can know. What recovery runs into then
// (units that are free already) it refuses with a sentence.
test('flushes that lie: after a power cut the pool is sound if only those of the space lied; else it opens, or is refused', async (t) => {
  let cuts = 0
  let unsound = 0
  let refused = 0
  let known = 0
  for (const seed of [...SEEDS, ...SEEDS]) {
    const liar = cuts < 24 ? 'space sync' : 'sync'
    const machine = await startSimulated({ seed })
    const { sim, random } = machine
    sim.faults = (call) => (call.endsWith(liar) ? 'lie' : undefined)
    await work(machine, 150)
    sim.direct(true)
    const cutter = makeCutter(sim.events)
    for (let n = 0; n < 8; n++) {
      cutter.advance(Math.floor((sim.events.length * (n + 1)) / 8))
      const last = sim.events[cutter.at - 1]
      if (last.kind === 'write' && last.file === 5) cutter.advance(cutter.at + 1)
      const image = imageOf({ cutter, random, fate: 'any', tried: makeTried() })
      const clock = manualClock()
      const opened = await openStill(image.folder, clock, random, { bootId: 'later' }).catch((e: unknown) => {
        if (liar === 'space sync' || !(e instanceof Refusal)) throw e
        refused++
        if (/^The log is damaged: change \d+ cannot be read, .*: run ogee fsck on the pool\.$/.test(e.message)) known++
      })
      cuts++
      if (opened === undefined) {
        image.remove()
        continue
      }
      await quiet(clock, opened.engine)
      const { wrong } = await judge({ pool: opened.pool, engine: opened.engine, spaceBytes: SPACE_BYTES }, { ...machine.history, syncs: [] }, { kind: 'cut', ms: sim.nowMs(), slackMs: Infinity })
      const problems = wrong.filter((w) => w.startsWith('tree') || w.startsWith('data'))
      if (liar === 'space sync') assert.deepEqual(problems, [])
      else if (problems.length > 0) unsound++
      await opened.pool.close()
      image.remove()
    }
    await machine.opened.pool.close()
  }
  assert.equal(cuts, 48)
  t.diagnostic(`${cuts} cuts; of 24 where the log's flushes lied, ${refused} were refused, ${known} of them as the log knew of it, ${unsound} left something for fsck`)
  assert.ok(known > 0)
})

test('flipped bits in superblock, header of the space, header of the log: a sentence, or the second copy; in the log\'s records: an older state, and sound', async (t) => {
  const machine = await startSimulated({ seed: 5 })
  const { sim, history, random } = machine
  await work(machine, 150)
  const cutter = makeCutter(sim.events)
  cutter.advance(sim.events.length)
  const image = imageOf({ cutter, random, fate: 'all', tried: makeTried() })
  sim.direct(true)
  await machine.opened.pool.close()
  const told = { refused: 0, sound: 0 }
  const places: readonly (readonly [file: string, from: number, to: number])[] =
    [['superblock', 0, 4096], ['space', 0, 4096], ['log', 0, 4096], ['log', 4096, 200 * 1024]]
  for (const [file, from, to] of places) {
    for (let n = 0; n < 6; n++) {
      const folder = path.join(newFolder(), 'flipped')
      await run('cp', ['-a', '--sparse=always', image.folder, folder])
      const fd = openSync(path.join(folder, file), 'r+')
      const byte = Buffer.alloc(1)
      const place = from + (random.uint32() % (Math.min(to, fstatSync(fd).size) - from))
      readSync(fd, byte, 0, 1, place)
      byte[0] ^= 1 << (random.uint32() % 8)
      writeSync(fd, byte, 0, 1, place)
      closeSync(fd)
      const clock = manualClock()
      try {
        const opened = await openStill(folder, clock, random, { bootId: 'later' })
        await quiet(clock, opened.engine)
        const { wrong } = await judged(opened, clock, { ...history, syncs: [], files: new Map([...history.files].map(([ino, f]) => [ino, { ...f, syncs: [] }])) },
          { kind: 'cut', ms: sim.nowMs(), slackMs: Infinity }, makeTried())
        assert.deepEqual(wrong, [])
        told.sound++
        await opened.pool.close()
      } catch (e) {
        if (!(e instanceof Refusal)) throw e
        assert.match(e.message, /: .+/)
        told.refused++
      }
      rmSync(path.dirname(folder), { recursive: true })
    }
  }
  assert.ok(told.refused >= 12)
  t.diagnostic(JSON.stringify(told))
  image.remove()
})
