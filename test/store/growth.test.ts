/** A space that grows while it is in use: a model of allocations over growth and reopening, power cuts between the steps; the check in windows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { makeMemoryServer, openMemory } from '../../src/engine/index.js'
import type { Engine } from '../../src/engine/index.js'
import { COUNTERS_KEY, formatSpace, GROUP_BYTES, GROUP_UNITS, groupKey, openSpace, openUnitsCheck, UNIT_BYTES } from '../../src/store/index.js'
import type { Piece, SpaceIo, Store, WrongGroup } from '../../src/store/index.js'
import { ERRNO, manualClock, PosixError, rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { makeDisk } from './disk.js'

interface World {
  engine: Engine
  store: Store
}
const eager = (engine: Engine): Engine => ({ ...engine, durableSeq: () => engine.committedSeq() })

/** What the check says of the rows, given who holds what. */
async function wrongs(engine: Engine, held: readonly Piece[], sizeBytes: number, windowGroups?: number): Promise<{ wrong: WrongGroup[]; claimed: number; counted: number | undefined; overlaps: number; windows: number }> {
  const check = await openUnitsCheck(engine.reader(ctx), sizeBytes, windowGroups)
  const wrong: WrongGroup[] = []
  for (let n = 0; n < check.windows; n++) {
    check.window(n)
    for (const p of held) assert.equal(check.claim(p.startBytes, p.lengthBytes), true)
    await check.compare((w) => void wrong.push(w))
  }
  return { wrong, ...await check.units(), overlaps: check.overlaps.length, windows: check.windows }
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant('allocate' as const), units: fc.integer({ min: 1, max: 1500 }), area: fc.constantFrom('small' as const, 'large' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('free' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('grow' as const), groups: fc.integer({ min: 1, max: 20 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('reopen' as const) }) })

test('no unit is handed out twice and none is lost, while the space grows', { timeout: 60_000 }, () =>
  fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
    const disk = makeDisk()
    const server = makeMemoryServer()
    let groups = 6
    const w: World = { engine: eager(openMemory({ server })), store: undefined as unknown as Store }
    await formatSpace({ engine: w.engine, path: 'space', sizeBytes: groups * GROUP_BYTES, random: seededRandom(1), io: disk })
    const open = async (): Promise<void> => void (w.store = await openSpace({ engine: w.engine, path: 'space', clock: manualClock(), io: disk }))
    await open()
    const held: (readonly Piece[])[] = []
    for (const s of steps) {
      if (s.op === 'grow') {
        groups += s.groups
        await w.store.grow(groups * GROUP_BYTES)
      } else if (s.op === 'reopen') {
        await w.store.close()
        w.engine = eager(openMemory({ server }))
        await open()
      } else if (s.op === 'free') {
        const [pieces] = held.length === 0 ? [undefined] : held.splice(s.pick % held.length, 1)
        if (pieces === undefined) continue
        await w.engine.transact(ctx, (tx) => w.store.commitFreed(tx, pieces))
        w.store.freed(pieces)
      } else {
        const free = w.store.status().freeBytes / UNIT_BYTES
        try {
          const pieces = await w.store.allocate(ctx, { lengthBytes: s.units * UNIT_BYTES, area: s.area })
          await w.engine.transact(ctx, (tx) => w.store.commitAllocated(tx, pieces))
          held.push(pieces)
        } catch (e) {
          if (!(e instanceof PosixError) || e.code !== 'ENOSPC') throw e
          assert.equal(free < s.units + 256, true, `${free} units are free, and ${s.units} not to be had`)
        }
      }
      const { sizeBytes, usedBytes, freeBytes } = w.store.status()
      assert.equal(sizeBytes, groups * GROUP_BYTES)
      assert.equal(usedBytes + freeBytes, sizeBytes)
    }
    const found = await wrongs(w.engine, held.flat(), groups * GROUP_BYTES, 2)
    assert.deepEqual([found.wrong, found.claimed, found.overlaps], [[], found.counted, 0])
    await w.store.close()
  }), { numRuns: 40 }))

test('a power cut between any two steps of growth leaves a space of the old size or the new', async () => {
  const sizes = new Set<number>()
  for (let failAt = 0; failAt < 4; failAt++) {
    for (let seed = 1; seed <= 12; seed++) {
      const disk = makeDisk()
      let syncs = -Infinity
      const io: SpaceIo = {
        create: (path, size) => disk.create(path, size),
        open(path) {
          const file = disk.open(path)
          return { ...file, sync: () => (syncs++ === failAt ? Promise.resolve(-ERRNO.EIO) : file.sync()) }
        }
      }
      const server = makeMemoryServer()
      await formatSpace({ engine: openMemory({ server }), path: 'space', sizeBytes: 4 * GROUP_BYTES, random: seededRandom(1), io: disk })
      const store = await openSpace({ engine: openMemory({ server }), path: 'space', clock: manualClock(), io })
      syncs = 0
      const grown = await store.grow(9 * GROUP_BYTES).then(() => true, () => false)
      assert.equal(grown, failAt === 3, 'growth has three syncs')
      syncs = -Infinity
      disk.cut(seededRandom(seed))
      const again = await openSpace({ engine: openMemory({ server }), path: 'space', clock: manualClock(), io })
      const groups = again.status().sizeBytes / GROUP_BYTES
      assert.equal(groups === 9 || (groups === 4 && !grown), true, `${groups} groups`)
      sizes.add(groups)
      await again.close()
    }
  }
  assert.deepEqual([...sizes].sort(), [4, 9])
})

test('in windows of any size the check finds the same', async () => {
  const engine = openMemory({})
  const held: Piece[] = []
  const units = (group: number, start: number, count: number): Piece => ({ startBytes: (group * GROUP_UNITS + start) * UNIT_BYTES, lengthBytes: count * UNIT_BYTES })
  await engine.transact(ctx, (tx) => {
    tx.createCounters(COUNTERS_KEY, [700])
    tx.setBits('b\0\0\0\0', 32768, 2, 9)
    for (let g = 2; g < 9; g++) tx.setBits(groupKey(g), GROUP_UNITS, 0, 100)
    tx.setBits(groupKey(30), GROUP_UNITS, 0, 5) // not marked, and nobody's
  })
  for (let g = 2; g < 9; g++) if (g !== 5) held.push(units(g, 0, 100)) // group 5: nobody's
  held.push(units(9, 7, 3)) // marked, without bits
  held.push(units(40, 1, 2)) // neither
  held.push(units(3, 99, 1)) // again
  const one = await wrongs(engine, held, 64 * GROUP_BYTES)
  assert.deepEqual(one.wrong.map((w) => [w.group, w.leaked, w.missing, w.isCoarse]).sort((a, b) => Number(a[0]) - Number(b[0])), [[5, 100, 0, true], [9, 0, 3, true], [30, 5, 0, false], [40, 0, 2, false]])
  assert.deepEqual([one.claimed, one.counted, one.overlaps, one.windows], [606, 700, 1, 1])
  for (const windowGroups of [1, 2, 3, 8]) {
    const many = await wrongs(engine, held, 64 * GROUP_BYTES, windowGroups)
    assert.deepEqual(many.wrong.map((w) => w.group).sort((a, b) => a - b), [5, 9, 30, 40])
    assert.deepEqual([many.claimed, many.overlaps, many.windows], [606, 1, Math.ceil(9 / windowGroups)])
  }
})
