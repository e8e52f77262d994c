/**
 * A damaged log is told from a torn one. Any bit of what was synced may be flipped: if a later record, the mark page or the
 * session's row knows that it was durable, opening is refused with a sentence, else replay ends there; what is replayed is right in
 * any case. What a power cut leaves never looks like damage: crash.test.ts opens every cut.
 */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { EngineError, inspectLog, openLmdb } from '../../src/engine/index.js'
import type { Engine, LmdbOptions } from '../../src/engine/index.js'
import { RECORD_HEADER_BYTES, RING_AT } from '../../src/engine/lmdb/format.js'
import { manualClock } from '../../src/sys/index.js'
import { copyFolder, makeDisk, newFolder } from './disk.js'
import { bytes, ctx } from './suite.js'

const SIZES = { logBytes: 256 * 1024, checkpointAtBytes: 128 * 1024 }
const seed = process.env.OGEE_SEED === undefined ? undefined : Number(process.env.OGEE_SEED)
const isDamaged = (e: unknown): boolean => e instanceof EngineError && e.code === 'ENGINE_LOG_DAMAGED' && /^The log is damaged: change \d+ cannot be read, .*: run ogee fsck on the pool\.$/.test(e.message)

function flip(folder: string, file: string, at: number, bit = 0): void {
  const fd = openSync(join(folder, file), 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, at)
  byte[0] ^= 1 << bit
  writeSync(fd, byte, 0, 1, at)
  closeSync(fd)
}

/** Offsets in the file of the records that lie one behind the other from the ring's begin. */
function recordsIn(folder: string): { at: number; length: number }[] {
  const log = readFileSync(join(folder, 'log'))
  const found: { at: number; length: number }[] = []
  for (let at = RING_AT; log.latin1Slice(at, at + 4) === 'OGCR'; at += found[found.length - 1].length) found.push({ at, length: log.readUInt32LE(at + 4) })
  return found
}

interface Made {
  readonly folder: string
  /** Of the last record that the last sync covered, from 0. */
  readonly synced: number
}

/** `count` commits, each row v<n> = n; synced after some; then the power is cut, or the daemon dies, with everything on the disk. */
async function made(count: number, syncAfter: readonly number[], rest: 'busy' | 'rests' | 'closed'): Promise<Made> {
  const clock = manualClock()
  const disk = makeDisk()
  const folder = newFolder()
  const engine = await openLmdb({ folder, ...SIZES, clock, bootId: 'one', io: disk.io })
  let synced = -1
  for (let n = 0; n < count; n++) {
    await engine.transact(ctx, (tx) => tx.put(`v${n}`, bytes(`${n}`)))
    if (!syncAfter.includes(n)) continue
    await engine.sync(ctx)
    synced = n
  }
  if (rest === 'rests') {
    for (let i = 0; i < 3; i++) {
      await clock.advanceAsync(1000)
      await new Promise((resolve) => setImmediate(resolve))
    }
    synced = count - 1
  }
  const left = rest === 'closed' ? folder : copyFolder(folder)
  await engine.close()
  if (rest !== 'closed') rmSync(folder, { recursive: true })
  return { folder: left, synced }
}

const reopen = (folder: string, more: Partial<LmdbOptions> = {}): Promise<Engine> => openLmdb({ folder, ...SIZES, clock: manualClock(), bootId: 'two', ...more })

async function holds(engine: Engine, count: number): Promise<void> {
  const rows = await engine.reader(ctx).scan({ from: 'v', to: 'w', limit: Infinity })
  assert.deepEqual(rows.map(({ key, row }) => `${key}=${Buffer.from(row.bytes).latin1Slice()}`).sort(), Array.from({ length: count }, (_, n) => `v${n}=${n}`).sort())
}

test('any flipped bit of any record: an error if a later record knows that it was synced, else the records before it', async () => {
  await fc.assert(fc.asyncProperty(fc.integer({ min: 2, max: 12 }), fc.array(fc.nat(11), { maxLength: 3 }), fc.nat(), fc.nat(), async (count, syncs, pickRecord, pickBit) => {
    const { folder } = await made(count, syncs.filter((n) => n < count), 'busy')
    const records = recordsIn(folder)
    assert.equal(records.length, count)
    const broken = pickRecord % count
    const { at, length } = records[broken]
    const bit = pickBit % (length * 8)
    // what was durable when a later record was made; durable syncs happen before the next commit
    const known = Math.max(-1, ...syncs.filter((n) => n < count - 1))
    flip(folder, 'log', at + (bit >> 3), bit & 7)
    const findings = await inspectLog(folder, undefined, 'two')
    if (known >= broken) {
      for (const readOnly of [true, false]) await assert.rejects(reopen(folder, { readOnly }), isDamaged)
      assert.deepEqual([findings.lost >= known - broken + 1, findings.lostSynced], [true, known - broken + 1])
      const cut = await reopen(folder, { damagedLog: 'cut' })
      await holds(cut, broken)
      await cut.transact(ctx, (tx) => tx.put(`v${broken}`, bytes(`${broken}`)))
      await cut.sync(ctx)
      const died = copyFolder(folder)
      await cut.close()
      const after = await reopen(died) // what the damage left never speaks again
      await holds(after, broken + 1)
      await after.close()
      rmSync(died, { recursive: true })
    } else {
      assert.equal(findings.damage, undefined)
      const engine = await reopen(folder)
      await holds(engine, broken)
      await engine.close()
    }
    rmSync(folder, { recursive: true })
  }), { numRuns: 60, seed })
})

test('the last record of a log that came to rest, and of one that was closed: the mark and the session\'s row know', async () => {
  for (const rest of ['rests', 'closed'] as const) {
    const { folder } = await made(5, [], rest)
    const records = recordsIn(folder)
    if (rest === 'closed') { // a checkpoint at closing needs nothing of the log any more
      flip(folder, 'log', records[4].at + 20)
      const engine = await reopen(folder)
      await holds(engine, 5)
      await engine.close()
      continue
    }
    flip(folder, 'log', records[4].at + RECORD_HEADER_BYTES + 3)
    await assert.rejects(reopen(folder), isDamaged)
    flip(folder, 'log', records[4].at + RECORD_HEADER_BYTES + 3)
    flip(folder, 'log', 4096 + 17) // a mark that cannot be read is none
    const engine = await reopen(folder)
    await holds(engine, 5)
    await engine.close()
  }
})

test('while the machine has not rebooted, a record behind a broken one is proof enough; the last record may be torn', async () => {
  const { folder } = await made(5, [], 'busy')
  const records = recordsIn(folder)
  for (const [broken, wrong] of [[2, true], [4, false]] as const) {
    const copy = copyFolder(folder)
    flip(copy, 'log', records[broken].at + RECORD_HEADER_BYTES)
    if (wrong) await assert.rejects(reopen(copy, { bootId: 'one' }), isDamaged)
    const engine = await reopen(copy, { bootId: wrong ? 'two' : 'one' })
    await holds(engine, broken)
    await engine.close()
  }
})

test('records of a lost tail, and the bytes of a log in a row, accuse nobody', async () => {
  const first = await made(6, [1], 'busy')
  const copied = readFileSync(join(first.folder, 'log')).subarray(RING_AT, RING_AT + 3000)
  flip(first.folder, 'log', recordsIn(first.folder)[3].at + 20) // the power took record 3, not 4 and 5
  const engine = await reopen(first.folder)
  await holds(engine, 3)
  await engine.transact(ctx, (tx) => tx.put('u', copied)) // now the ring holds them twice
  await engine.sync(ctx)
  await engine.transact(ctx, (tx) => tx.put('u', bytes('last')))
  const cut = copyFolder(first.folder)
  await engine.close()
  const log = readFileSync(join(cut, 'log'))
  flip(cut, 'log', log.lastIndexOf('last'))
  const again = await reopen(cut, { bootId: 'three' })
  assert.equal(Buffer.from((await again.reader(ctx).get('u'))!.bytes).equals(copied), true)
  await again.close()
})

test('who reads beside a writer never takes its newest records for damage', async () => {
  const folder = newFolder()
  const engine = await openLmdb({ folder, ...SIZES, clock: manualClock() })
  for (let n = 0; n < 30; n++) {
    await engine.transact(ctx, (tx) => tx.put('v', bytes(`${n}`)))
    if (n % 3 === 0) await engine.sync(ctx)
    const writing = (async () => {
      for (let i = 0; i < 5; i++) {
        await engine.transact(ctx, (tx) => tx.put('w', bytes(`${i}`)))
        await engine.sync(ctx)
      }
    })()
    const reader = await openLmdb({ folder, ...SIZES, clock: manualClock(), readOnly: true })
    await reader.close()
    await writing
  }
  await engine.close()
})
