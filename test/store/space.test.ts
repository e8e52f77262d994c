/** The space: its allocator against a model, its state across crashes, its I/O on a simulated disk and on a real file. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { makeMemoryServer, openMemory } from '../../src/engine/index.js'
import type { Engine, MemoryServer } from '../../src/engine/index.js'
import { COUNTERS_KEY, formatSpace, GROUP_BYTES, GROUP_UNITS, groupKey, openSpace, UNIT_BYTES } from '../../src/store/index.js'
import type { Piece, Store } from '../../src/store/index.js'
import { manualClock, PosixError, rootContext as ctx, seededRandom, systemClock } from '../../src/sys/index.js'
import { makeDisk } from './disk.js'
import type { Disk } from './disk.js'

interface World {
  readonly disk: Disk
  readonly server: MemoryServer
  engine: Engine
  store: Store
}
/** An engine whose commits become durable only when told (sync), as a log's do. */
function lazily(engine: Engine): Engine & { durable: number } {
  const lazy = {
    ...engine,
    durable: engine.committedSeq(),
    durableSeq: () => lazy.durable,
    async sync() {
      lazy.durable = engine.committedSeq()
    }
  }
  return lazy
}
async function world(groups: number): Promise<World> {
  const disk = makeDisk()
  const server = makeMemoryServer()
  const engine = lazily(openMemory({ server }))
  await formatSpace({ engine, path: 'space', sizeBytes: groups * GROUP_BYTES, random: seededRandom(1), io: disk })
  return { disk, server, engine, store: await openSpace({ engine, path: 'space', clock: manualClock(), io: disk }) }
}
async function reopen(w: World): Promise<void> {
  w.engine = lazily(openMemory({ server: w.server }))
  w.store = await openSpace({ engine: w.engine, path: 'space', clock: manualClock(), io: w.disk })
}
const record = (w: World, pieces: readonly Piece[]): Promise<void> => w.engine.transact(ctx, (tx) => w.store.commitAllocated(tx, pieces))
const unitsOf = (pieces: readonly Piece[]): number => pieces.reduce((sum, p) => sum + p.lengthBytes / UNIT_BYTES, 0)
const isErrno = (code: string) => (e: unknown): boolean => e instanceof PosixError && e.code === code

function assertApart(pieces: readonly Piece[], limitBytes: number): void {
  const sorted = [...pieces].sort((a, b) => a.startBytes - b.startBytes)
  let end = 0
  for (const p of sorted) {
    assert.ok(p.startBytes >= end, `a unit is held twice at ${p.startBytes}`)
    assert.ok(p.lengthBytes > 0 && p.startBytes % UNIT_BYTES === 0 && p.lengthBytes % UNIT_BYTES === 0)
    end = p.startBytes + p.lengthBytes
  }
  assert.ok(end <= limitBytes)
}

/** The bit rows are exactly the pieces. */
async function assertRows(w: World, groups: number, pieces: readonly Piece[]): Promise<void> {
  const reader = w.engine.reader(ctx)
  let units = 0
  for (let g = 0; g < groups; g++) {
    const row = await reader.bits(groupKey(g))
    const expected = new Uint8Array(GROUP_UNITS / 8)
    for (const p of pieces) {
      for (let u = p.startBytes / UNIT_BYTES; u < (p.startBytes + p.lengthBytes) / UNIT_BYTES; u++) {
        if (Math.floor(u / GROUP_UNITS) === g) expected[(u % GROUP_UNITS) >> 3] |= 1 << (u & 7)
      }
    }
    assert.deepEqual(row ?? new Uint8Array(GROUP_UNITS / 8), expected)
    for (const byte of expected) for (let b = byte; b !== 0; b &= b - 1) units++
  }
  assert.deepEqual(await reader.counters(COUNTERS_KEY), [units])
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('allocate' as const), units: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2500 })), area: fc.constantFrom('small' as const, 'large' as const), hint: fc.nat(9), commit: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('free' as const), pick: fc.nat(), part: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('sync' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('crash' as const) }) })

test('no unit is handed out twice and none is lost', { timeout: 120_000 }, () =>
  fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
    const groups = 6
    const w = await world(groups)
    let held: Piece[] = [] // committed
    let loose: Piece[] = [] // handed out, not recorded
    let freed: Piece[] = [] // freed, not durable
    let freedSeq = 0 // of the last of them
    for (const s of steps) {
      if (s.op === 'allocate') {
        const near = s.hint < 5 ? held[s.hint % Math.max(1, held.length)] : undefined
        const total = groups * GROUP_UNITS
        try {
          const pieces = await w.store.allocate(ctx, {
            lengthBytes: s.units * UNIT_BYTES, area: s.area, leftHintBytes: near && s.hint < 4 ? near.startBytes + near.lengthBytes : undefined, rightHintBytes: near?.startBytes
          })
          assert.equal(unitsOf(pieces), s.units)
          if (w.engine.durableSeq() >= freedSeq) freed = [] // it waited for them; then it may have committed that a group is taken
          assertApart([...held, ...loose, ...freed, ...pieces], groups * GROUP_BYTES)
          if (s.commit) {
            await record(w, pieces)
            held.push(...pieces)
          } else loose.push(...pieces)
        } catch (e) {
          if (!isErrno('ENOSPC')(e)) throw e
          freed = [] // it waited for them
          const reserve = Math.floor(total / 64)
          assert.ok(total - unitsOf(held) - unitsOf(loose) < s.units + reserve, 'ENOSPC only when the sum is short')
        }
      } else if (s.op === 'free' && s.part === 0 && loose.length > 0) {
        w.store.release(loose.splice(s.pick % loose.length, 1))
      } else if (s.op === 'free' && held.length > 0) {
        const piece = held.splice(s.pick % held.length, 1)[0]
        const units = piece.lengthBytes / UNIT_BYTES
        const keep = s.part === 2 ? Math.floor(units / 2) : 0 // the head stays
        const gone = { startBytes: piece.startBytes + keep * UNIT_BYTES, lengthBytes: (units - keep) * UNIT_BYTES }
        await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, [gone]))
        w.store.freed([gone])
        freedSeq = w.engine.committedSeq()
        if (keep > 0) held.push({ startBytes: piece.startBytes, lengthBytes: keep * UNIT_BYTES })
        freed.push(gone)
      } else if (s.op === 'sync') {
        await w.engine.sync(ctx)
        freed = []
      } else if (s.op === 'crash') {
        await reopen(w)
        loose = []
        freed = []
      }
      assert.equal(w.store.status().usedBytes / UNIT_BYTES, unitsOf(held) + unitsOf(loose))
    }
    await assertRows(w, groups, held)
    // all given back: everything merges to whole groups
    w.store.release(loose)
    await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, held))
    w.store.freed(held)
    await w.engine.sync(ctx)
    const reserve = Math.floor((groups * GROUP_UNITS) / 64)
    const all = await w.store.allocate(ctx, { lengthBytes: (groups * GROUP_UNITS - reserve) * UNIT_BYTES, area: 'large' })
    assert.equal(unitsOf(all), groups * GROUP_UNITS - reserve)
    w.store.release(all)
    assert.equal(w.store.status().freeExtents, 0)
    assert.equal(w.disk.unpromised, 0)
  }), { numRuns: 150, examples: [[[
    { op: 'allocate', units: 1951, area: 'small', hint: 0, commit: false }, { op: 'allocate', units: 26, area: 'small', hint: 0, commit: false },
    { op: 'allocate', units: 2017, area: 'small', hint: 0, commit: true }, { op: 'free', pick: 0, part: 1 },
    { op: 'allocate', units: 2055, area: 'large', hint: 0, commit: false }
  ]]] }))

test('appends are one extent, also across groups, and beside another stream', async () => {
  const w = await world(64)
  const files: Piece[][] = [[], []]
  for (let i = 0; i < 64; i++) {
    for (const file of files) {
      const last = file.at(-1)
      const pieces = await w.store.allocate(ctx, { lengthBytes: GROUP_BYTES / 8, area: 'large', leftHintBytes: last && last.startBytes + last.lengthBytes })
      for (const p of pieces) {
        const end = file.at(-1)
        if (end && end.startBytes + end.lengthBytes === p.startBytes) file[file.length - 1] = { startBytes: end.startBytes, lengthBytes: end.lengthBytes + p.lengthBytes }
        else file.push(p)
      }
    }
  }
  for (const file of files) assert.ok(file.length <= 1, `${file.length} extents`)
})

test('a stream takes what is long, wherever it is, before the holes of the large area', async () => {
  const w = await world(64)
  const LARGE_GROUPS = 52
  const STREAM = 32
  for (let g = 0; g < LARGE_GROUPS; g++) {
    const [{ startBytes }] = await w.store.allocate(ctx, { lengthBytes: GROUP_BYTES, area: 'large' })
    w.store.release([{ startBytes: startBytes + GROUP_BYTES / 2, lengthBytes: GROUP_BYTES / (g % 2 === 0 ? 4 : 2) }])
  }
  let end: number | undefined
  let extents = 0
  for (let i = 0; i < STREAM; i++) {
    for (const p of await w.store.allocate(ctx, { lengthBytes: GROUP_BYTES / 4, area: 'large', leftHintBytes: end })) {
      if (p.startBytes !== end) extents++
      end = p.startBytes + p.lengthBytes
    }
  }
  assert.ok(extents <= STREAM / 4 + 1, `${extents} extents`)
})

test('a file that grows takes a tail with room for it, and leaves the clear groups', async () => {
  const w = await world(64)
  const CHUNK = GROUP_BYTES / 4
  const inUse = new Set<number>()
  for (let g = 0; g < 32; g++) { // holes of one chunk and of two
    const [{ startBytes }] = await w.store.allocate(ctx, { lengthBytes: GROUP_BYTES, area: 'large' })
    w.store.release([{ startBytes: startBytes + CHUNK, lengthBytes: g % 2 === 0 ? CHUNK : 2 * CHUNK }])
    inUse.add(startBytes / GROUP_BYTES)
  }
  for (let file = 0; file < 12; file++) {
    const [head] = await w.store.allocate(ctx, { lengthBytes: CHUNK, area: 'large', fileBytes: CHUNK })
    const [more] = await w.store.allocate(ctx, { lengthBytes: CHUNK, area: 'large', leftHintBytes: head.startBytes + CHUNK, fileBytes: 2 * CHUNK })
    assert.equal(more.lengthBytes, CHUNK)
    for (const { startBytes } of [head, more]) assert.ok(inUse.has(Math.floor(startBytes / GROUP_BYTES)), `file ${file} has taken a clear group`)
  }
  const [head] = await w.store.allocate(ctx, { lengthBytes: CHUNK, area: 'large', fileBytes: CHUNK })
  const [long] = await w.store.allocate(ctx, { lengthBytes: CHUNK, area: 'large', leftHintBytes: head.startBytes + CHUNK, fileBytes: GROUP_BYTES })
  assert.ok(!inUse.has(Math.floor(long.startBytes / GROUP_BYTES)), 'no tail has room for a long file')
})

test('small files stay together, away from large ones', async () => {
  const w = await world(64)
  const small: Piece[] = []
  for (let i = 0; i < 100; i++) {
    small.push(...(await w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area: 'small' })))
    await w.store.allocate(ctx, { lengthBytes: 2 * GROUP_BYTES / 8, area: 'large' })
  }
  for (let i = 1; i < small.length; i++) assert.equal(small[i].startBytes, small[i - 1].startBytes + UNIT_BYTES)
})

test('a repeated free fails, and hands over nothing', async () => {
  const w = await world(4)
  const pieces = await w.store.allocate(ctx, { lengthBytes: 8 * UNIT_BYTES, area: 'small' })
  await record(w, pieces)
  await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, pieces))
  w.store.freed(pieces)
  await w.engine.sync(ctx)
  await w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area: 'large' })
  await assert.rejects(w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, pieces)), isErrno('EIO'))
})

test('what was handed out and not recorded is free after a crash', async () => {
  const w = await world(2)
  await w.store.allocate(ctx, { lengthBytes: GROUP_BYTES, area: 'large' })
  await reopen(w)
  assert.equal(w.store.status().freeBytes, 2 * GROUP_BYTES)
  assert.equal(unitsOf(await w.store.allocate(ctx, { lengthBytes: GROUP_BYTES + 900 * UNIT_BYTES, area: 'large' })), GROUP_UNITS + 900)
})

test('freed units wait for their transaction to be durable', async () => {
  const w = await world(1)
  const pieces = await w.store.allocate(ctx, { lengthBytes: 1000 * UNIT_BYTES, area: 'large' })
  await record(w, pieces)
  await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, pieces))
  w.store.freed(pieces)
  const eng = w.engine as Engine & { durable: number }
  assert.ok(eng.durable < eng.committedSeq())
  await w.store.allocate(ctx, { lengthBytes: 1000 * UNIT_BYTES, area: 'large' }) // it syncs the engine rather than giving up
  assert.equal(eng.durable, eng.committedSeq())
})

test('the host is full: ENOSPC before anything is promised', async () => {
  const w = await world(16)
  w.disk.hostGroups = 3
  let units = 0
  await assert.rejects(async () => {
    for (;;) units += unitsOf(await w.store.allocate(ctx, { lengthBytes: 100 * UNIT_BYTES, area: 'large' }))
  }, isErrno('ENOSPC'))
  assert.equal(Math.floor(units / 100), Math.floor((3 * GROUP_UNITS) / 100))
  w.disk.hostGroups = 4
  await w.store.allocate(ctx, { lengthBytes: 500 * UNIT_BYTES, area: 'small' }) // goes on when the cause is gone
})

test('held space is left alone', async () => {
  const w = await world(2)
  w.disk.hostGroups = 2
  await w.store.hold(ctx, 600 * UNIT_BYTES)
  assert.equal(w.store.status().freeBytes, 2 * GROUP_BYTES - 600 * UNIT_BYTES)
  await assert.rejects(async () => {
    for (;;) await w.store.allocate(ctx, { lengthBytes: 64 * UNIT_BYTES, area: 'large' })
  }, isErrno('ENOSPC'))
  w.store.unhold(600 * UNIT_BYTES)
  const pieces = await w.store.allocate(ctx, { lengthBytes: 600 * UNIT_BYTES, area: 'small', fromHold: true, readyOnly: true })
  assert.equal(unitsOf(pieces), 600)
})

test('an emptied space goes back to the host', async () => {
  const w = await world(40)
  const clock = manualClock()
  w.store = await openSpace({ engine: w.engine, path: 'space', clock, io: w.disk })
  const pieces = await w.store.allocate(ctx, { lengthBytes: 32 * GROUP_BYTES, area: 'large' })
  await record(w, pieces)
  await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, pieces))
  w.store.freed(pieces)
  await w.engine.sync(ctx)
  for (let i = 0; i < 20; i++) await clock.advanceAsync(1000)
  w.disk.hostGroups = 8
  await w.store.allocate(ctx, { lengthBytes: 8 * GROUP_BYTES, area: 'large' })
  assert.deepEqual(await w.engine.reader(ctx).scan({ from: 'B', to: 'C', limit: 10 }), [])
  await w.store.close()
  assert.equal(clock.pending, 0)
})

test('a close right after a removal gives everything back', async () => {
  const w = await world(40)
  const pieces = await w.store.allocate(ctx, { lengthBytes: 20 * GROUP_BYTES, area: 'large' })
  await record(w, pieces)
  const [kept] = await w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area: 'small' })
  await record(w, [kept])
  await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, pieces))
  w.store.freed(pieces)
  await w.store.close()
  assert.equal(w.disk.promised(), 1)
  await reopen(w)
  assert.equal(w.store.status().usedBytes, UNIT_BYTES)
  assert.equal(unitsOf(await w.store.allocate(ctx, { lengthBytes: 39 * GROUP_BYTES, area: 'large' })), 39 * GROUP_UNITS)
})

test('after a death, groups that hold nothing are found and given back', async () => {
  for (const sameBoot of [true, false]) {
    const w = await world(700)
    const pieces = await w.store.allocate(ctx, { lengthBytes: 600 * GROUP_BYTES, area: 'large' })
    const kept = { startBytes: pieces[0].startBytes, lengthBytes: UNIT_BYTES }
    await record(w, [kept]) // the rest was handed out and never recorded
    assert.ok(w.disk.promised() >= 600)
    const clock = manualClock()
    w.engine = lazily({ ...openMemory({ server: w.server }), recovery: { clean: false, sameBoot, replayedRecords: 0, replayedBytes: 0 } })
    w.store = await openSpace({ engine: w.engine, path: 'space', clock, io: w.disk })
    for (let i = 0; i < 100; i++) await clock.advanceAsync(200)
    assert.equal(w.store.status().usedBytes, UNIT_BYTES)
    assert.ok(w.disk.promised() <= 1 + 8, `${w.disk.promised()} groups`)
    await w.store.close()
    assert.equal(w.disk.promised(), 1)
    assert.equal(clock.pending, 0)
  }
})

test('a failed fdatasync is final', async () => {
  const w = await world(2)
  const [piece] = await w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area: 'small' })
  await w.store.write(ctx, piece.startBytes, new Uint8Array(UNIT_BYTES), 0, UNIT_BYTES)
  w.disk.syncFails = true
  const both = await Promise.allSettled([w.store.sync(ctx), w.store.sync(ctx)])
  assert.deepEqual(both.map((r) => r.status), ['rejected', 'rejected'])
  w.disk.syncFails = false
  await assert.rejects(w.store.sync(ctx), isErrno('EIO'))
  assert.throws(() => w.store.write(ctx, piece.startBytes, new Uint8Array(UNIT_BYTES), 0, UNIT_BYTES), isErrno('EROFS'))
  assert.throws(() => w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area: 'small' }), isErrno('EROFS'))
})

test('concurrent syncs share one fdatasync; a write in between asks for another', async () => {
  const w = await world(2)
  const [piece] = await w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area: 'small' })
  const write = () => w.store.write(ctx, piece.startBytes, new Uint8Array(UNIT_BYTES), 0, UNIT_BYTES)
  await write()
  const before = w.disk.syncs
  const first = [w.store.sync(ctx)]
  await write()
  await Promise.all([...first, ...Array.from({ length: 20 }, () => w.store.sync(ctx))])
  assert.equal(w.disk.syncs - before, 2)
  await w.store.sync(ctx)
  assert.equal(w.disk.syncs - before, 2)
})

test('a real file: bytes come back, in the tick when they are hot', async () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'ogee-space-'))
  try {
    const engine = openMemory()
    const file = path.join(dir, 'space')
    await formatSpace({ engine, path: file, sizeBytes: 64 * GROUP_BYTES, random: seededRandom(1) })
    const store = await openSpace({ engine, path: file, clock: systemClock })
    const bytes = seededRandom(2).bytes(GROUP_BYTES + UNIT_BYTES)
    const pieces = await store.allocate(ctx, { lengthBytes: bytes.length, area: 'large' })
    let at = 0
    for (const p of pieces) {
      await store.write(ctx, p.startBytes, bytes, at, p.lengthBytes)
      at += p.lengthBytes
    }
    await store.sync(ctx)
    assert.equal(store.status().dirtyBytes, 0)
    const back = new Uint8Array(bytes.length)
    at = 0
    for (const p of pieces) {
      assert.equal(store.read(ctx, p.startBytes, p.lengthBytes, back, at), undefined)
      at += p.lengthBytes
    }
    assert.deepEqual(back, bytes)
    await store.close()
    await assert.rejects(formatSpace({ engine, path: file, sizeBytes: GROUP_BYTES, random: seededRandom(1) }), isErrno('EEXIST'))
  } finally {
    rmSync(dir, { recursive: true })
  }
})
