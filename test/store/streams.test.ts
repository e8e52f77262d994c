/** What a space does for writers that go on: groups that are ready before they are wanted, and write-out that begins before the sync. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeMemoryServer, openMemory } from '../../src/engine/index.js'
import { formatSpace, GROUP_BYTES, openSpace, UNIT_BYTES } from '../../src/store/index.js'
import type { Piece, SpaceFile, SpaceIo, Store } from '../../src/store/index.js'
import { manualClock, rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { makeDisk } from './disk.js'

const MIB = 1024 * 1024
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A space whose file tells what write-out it was asked for. */
async function open(groups: number) {
  const disk = makeDisk()
  const engine = openMemory({ server: makeMemoryServer() })
  const started: { from: number; bytes: number }[] = []
  const told = (file: SpaceFile): SpaceFile => ({
    ...file,
    startWriteOut(offset, length) {
      started.push({ from: offset, bytes: length })
      return file.startWriteOut(offset, length)
    }
  })
  const io: SpaceIo = { create: (path, sizeBytes) => told(disk.create(path, sizeBytes)), open: (path) => told(disk.open(path)) }
  await formatSpace({ engine, path: 'space', sizeBytes: groups * GROUP_BYTES, random: seededRandom(1), io })
  const store: Store = await openSpace({ engine, path: 'space', clock: manualClock(), io })
  const record = (pieces: readonly Piece[]): Promise<void> => engine.transact(ctx, (tx) => store.commitAllocated(tx, pieces))
  return { disk, engine, store, started, record }
}

test('a stream finds its next groups promised, once it is under way', async () => {
  const { store, record } = await open(64)
  let end: number | undefined
  let waited = 0
  for (let mib = 0; mib < 100; mib++) {
    const answer = store.allocate(ctx, { lengthBytes: MIB, area: 'large', ...(end === undefined ? {} : { leftHintBytes: end }) })
    if (answer instanceof Promise) waited++
    const pieces = await answer
    assert.equal(pieces.length, 1)
    if (end !== undefined) assert.equal(pieces[0].startBytes, end)
    end = pieces[0].startBytes + MIB
    await record(pieces)
    for (let i = 0; i < 5; i++) await turn()
  }
  assert.ok(waited <= 2, `waited ${waited} times`)
  await store.close()
})

test('groups that are ready are used before new ones', async () => {
  const { disk, engine, store, record } = await open(64)
  const pieces = await store.allocate(ctx, { lengthBytes: 8 * GROUP_BYTES, area: 'large' })
  await record(pieces)
  const promised = disk.promised()
  await engine.transact(ctx, (tx) => store.commitFreed(tx, pieces))
  store.freed(pieces)
  const again = await store.allocate(ctx, { lengthBytes: 8 * GROUP_BYTES, area: 'large' })
  assert.deepEqual(again, pieces)
  assert.equal(disk.promised(), promised)
  await store.close()
})

test('writes that follow nothing are written out together, in steps of 2 MiB, 4 MiB and so on up to 16 MiB, until a sync', async () => {
  const { store, started, record } = await open(8)
  const [piece] = await store.allocate(ctx, { lengthBytes: 2 * GROUP_BYTES, area: 'large' })
  await record([piece])
  const units = 2 * GROUP_BYTES / UNIT_BYTES
  const writeMib = async (mib: number): Promise<void> => {
    for (let i = 0; i < mib * 256; i++) {
      await store.write(ctx, piece.startBytes + (i * 797 % units) * UNIT_BYTES, new Uint8Array(UNIT_BYTES), 0, UNIT_BYTES)
      if (i % 256 === 255) await turn()
    }
  }
  const starts = (mib: number): Promise<number> => writeMib(mib).then(() => started.length)
  assert.deepEqual([await starts(2), await starts(4), await starts(7), await starts(1), await starts(16), await starts(40)], [1, 2, 2, 3, 4, 4])
  for (const { bytes } of started) assert.ok(bytes > GROUP_BYTES && bytes <= 2 * GROUP_BYTES)
  await store.sync(ctx)
  assert.equal(await starts(2), 5)
  await store.close()
})
