/** The hazards of an allocator whose state lies apart from what it is for, each by its name. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeMemoryServer, openMemory } from '../../src/engine/index.js'
import type { Engine, MemoryOptions, MemoryServer } from '../../src/engine/index.js'
import { COUNTERS_KEY, formatSpace, GROUP_BYTES, GROUP_UNITS, openSpace, openUnitsCheck, UNIT_BYTES } from '../../src/store/index.js'
import type { Piece, Store } from '../../src/store/index.js'
import { manualClock, PosixError, rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { makeDisk } from './disk.js'
import type { Disk } from './disk.js'

interface World {
  readonly server: MemoryServer
  readonly disk: Disk
  readonly engine: Engine
  readonly store: Store
}
async function world(groups: number, memory: MemoryOptions = {}): Promise<World> {
  const disk = makeDisk()
  const server = makeMemoryServer()
  await formatSpace({ engine: openMemory({ server }), path: 'space', sizeBytes: groups * GROUP_BYTES, random: seededRandom(1), io: disk })
  return opened(server, disk, memory)
}
async function opened(server: MemoryServer, disk: Disk, memory: MemoryOptions = {}): Promise<World> {
  const engine = openMemory({ ...memory, server })
  return { server, disk, engine, store: await openSpace({ engine, path: 'space', clock: manualClock(), io: disk }) }
}

const FILE = 'x' // a row of a file that tells what it has
const piecesOf = (bytes: Uint8Array): Piece[] => JSON.parse(Buffer.from(bytes).toString()) as Piece[]
/** A file's row and the units that it holds, in one transaction. */
const make = ({ engine, store }: World, name: string, pieces: readonly Piece[]): Promise<void> => engine.transact(ctx, (tx) => {
  store.commitAllocated(tx, pieces)
  tx.put(`${FILE}${name}`, Buffer.from(JSON.stringify(pieces)))
})
/** As a removal does it: who finds no row any more frees nothing. Answers what it freed. */
const remove = ({ engine, store }: World, name: string): Promise<readonly Piece[]> => engine.transact(ctx, async (tx) => {
  const row = await tx.get(`${FILE}${name}`)
  if (row === undefined) return []
  const pieces = piecesOf(row.bytes)
  tx.delete(`${FILE}${name}`)
  await store.commitFreed(tx, pieces)
  return pieces
})
const bytesOf = (pieces: readonly Piece[]): number => pieces.reduce((sum, p) => sum + p.lengthBytes, 0)

/** The allocator's rows are what the files' rows say: no unit leaked, none doubled. */
async function assertWhole({ server }: World, groups: number): Promise<void> {
  const reader = openMemory({ server, readOnly: true }).reader(ctx)
  const check = await openUnitsCheck(reader, groups * GROUP_BYTES)
  check.window(0)
  for (const { row } of await reader.scan({ from: FILE, to: 'y', limit: Infinity })) for (const p of piecesOf(row.bytes)) assert.ok(check.claim(p.startBytes, p.lengthBytes))
  const wrong: string[] = []
  await check.compare(({ group, leaked, missing }) => void (leaked + missing > 0 && wrong.push(`group ${group}: ${leaked} leaked, ${missing} doubled`)))
  const { claimed, counted } = await check.units()
  assert.deepEqual([wrong, check.overlaps, counted], [[], [], claimed])
}

test('an opening reads no extent: its reads are as many, however much is in the space', async () => {
  const reads: number[] = []
  for (const files of [1, 3000]) {
    const groups = 8
    const w = await world(groups)
    for (let i = 0; i < files; i++) await make(w, String(i), await w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area: 'small' }))
    const engine = openMemory({ server: w.server })
    let asked = 0
    const counting = <A extends unknown[], R>(fn: (...args: A) => R) => (...args: A): R => {
      asked++
      return fn(...args)
    }
    const watched: Engine = { ...engine, reader: (c) => {
      const r = engine.reader(c)
      return { ...r, get: counting(r.get), scan: counting(r.scan), bits: counting(r.bits), counters: counting(r.counters) }
    } }
    const store = await openSpace({ engine: watched, path: 'space', clock: manualClock(), io: w.disk })
    assert.equal(store.status().usedBytes, files * UNIT_BYTES)
    reads.push(asked)
  }
  assert.equal(reads[0], reads[1])
})

test('space that was given and never recorded is given again after a crash, and once', async () => {
  const groups = 3
  const before = await world(groups)
  const kept = await before.store.allocate(ctx, { lengthBytes: 700 * UNIT_BYTES, area: 'large' })
  const lost = await before.store.allocate(ctx, { lengthBytes: 900 * UNIT_BYTES, area: 'large' })
  await make(before, 'kept', kept)
  const w = await opened(before.server, before.disk)
  const rest = (groups * GROUP_UNITS - 700 - Math.floor((groups * GROUP_UNITS) / 64)) * UNIT_BYTES
  const all = await w.store.allocate(ctx, { lengthBytes: rest, area: 'large' })
  await make(w, 'all', all)
  await assertWhole(w, groups)
  assert.equal(bytesOf(all), rest)
  assert.ok(bytesOf(lost) + bytesOf(kept) + rest > groups * GROUP_BYTES, 'what was lost had to be given again')
})

test('a repeated free hands over nothing of who has the units by now', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const w = await world(2, { random: seededRandom(seed), conflictChance: 0.2, lostAnswerChance: 0.4 })
    for (let round = 0; round < 10; round++) {
      const first = await w.store.allocate(ctx, { lengthBytes: 100 * UNIT_BYTES, area: 'small' })
      await make(w, 'first', first)
      w.store.freed(await remove(w, 'first'))
      await w.engine.sync(ctx)
      const second = await w.store.allocate(ctx, { lengthBytes: 100 * UNIT_BYTES, area: 'small' })
      await make(w, `second${round}`, second)
      assert.deepEqual(await remove(w, 'first'), [])
      await assertWhole(w, 2)
    }
  }
})

test('a crash between the bits and the file\'s row leaks nothing and doubles nothing: they are one commit', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = seededRandom(seed)
    let w = await world(2)
    for (let round = 0; round < 6; round++) {
      const pieces = await w.store.allocate(ctx, { lengthBytes: (1 + (random.uint32() % 300)) * UNIT_BYTES, area: 'small' })
      const died = new Error('died')
      const until = random.uint32() % 4 // bits, row, commit, not at all
      await w.engine.transact(ctx, (tx) => {
        if (until === 0) throw died
        w.store.commitAllocated(tx, pieces)
        if (until === 1) throw died
        tx.put(`${FILE}${round}`, Buffer.from(JSON.stringify(pieces)))
        if (until === 2) throw died
      }).catch((e: unknown) => assert.equal(e, died))
      w = await opened(w.server, w.disk)
      await assertWhole(w, 2)
    }
    const reader = w.engine.reader(ctx)
    assert.equal((await reader.counters(COUNTERS_KEY))![0] * UNIT_BYTES, w.store.status().usedBytes)
  }
})

test('an allocation that is tried again after its answer was lost leaks nothing', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const w = await world(2, { random: seededRandom(seed), lostAnswerChance: 0.6, conflictChance: 0.2 })
    for (let i = 0; i < 20; i++) await make(w, String(i), await w.store.allocate(ctx, { lengthBytes: (1 + i) * UNIT_BYTES, area: i % 2 === 0 ? 'small' : 'large' }))
    assert.equal(w.store.status().usedBytes, 210 * UNIT_BYTES)
    await assertWhole(w, 2)
  }
})

test('every group is somebody\'s and a little is left in each: ENOSPC not before the sum is short', async () => {
  const groups = 40
  const w = await world(groups)
  const reserve = Math.min(256, Math.floor((groups * GROUP_UNITS) / 64))
  const all = await w.store.allocate(ctx, { lengthBytes: (groups * GROUP_UNITS - reserve) * UNIT_BYTES, area: 'large' })
  await make(w, 'all', all)
  const holes = Array.from({ length: groups - 1 }, (_, g) => ({ startBytes: g * GROUP_BYTES + 77 * UNIT_BYTES, lengthBytes: 9 * UNIT_BYTES }))
  const isHeld = (hole: Piece): boolean => all.some((p) => p.startBytes <= hole.startBytes && p.startBytes + p.lengthBytes >= hole.startBytes + hole.lengthBytes)
  const freed = holes.filter(isHeld)
  assert.ok(freed.length > groups / 2)
  await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, freed))
  w.store.freed(freed)
  await w.engine.sync(ctx)
  for (const area of ['large', 'small'] as const) {
    const again = await w.store.allocate(ctx, { lengthBytes: bytesOf(freed), area })
    assert.equal(bytesOf(again), bytesOf(freed))
    await assert.rejects(async () => w.store.allocate(ctx, { lengthBytes: UNIT_BYTES, area }), (e) => e instanceof PosixError && e.code === 'ENOSPC')
    w.store.release(again)
  }
})
