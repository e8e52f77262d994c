/** A file written in scattered places gets its extents in order while nobody writes, and loses nothing by a power cut in between. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSound, closeAndOpen, cutPower, die, makeFile, makeWorld, quiet, readAll, snapshot, sweep } from './world.js'
import type { World } from './world.js'

const MIB = 1024 * 1024
const UNIT = 4096
const INO = 3
const turns = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve))
}
const extents = async (w: World): Promise<number> => (await w.engine.reader(ctx).scan({ from: 'E', to: 'F', limit: Infinity })).length

/** Time passes, half a second after half a second. */
async function pass(w: World, seconds: number): Promise<void> {
  for (let i = 0; i < seconds * 2; i++) {
    w.clock.advance(500)
    await turns(60)
  }
}

/** Every unit of `mib` MiB, in an order that is none, a flush after each quarter. */
async function fill(w: World, mib: number): Promise<Uint8Array> {
  const want = new Uint8Array(mib * MIB)
  seededRandom(5).bytes(want.length).forEach((b, i) => (want[i] = b))
  await makeFile(w, INO)
  await w.data.truncate(ctx, INO, want.length, quiet)
  const units = want.length / UNIT
  for (let i = 0; i < units; i++) {
    const at = (i * 389 % units) * UNIT
    await w.data.write(ctx, INO, at, want.slice(at, at + UNIT), 0, UNIT, quiet)
    if (i % (units / 8) === 0) await w.data.flush()
  }
  await w.data.flush()
  await w.data.sync(ctx, INO)
  return want
}

test('a file filled in random order has at most one extent in a MiB afterwards', async () => {
  const w = await makeWorld()
  const want = await fill(w, 3)
  assert.ok(await extents(w) > 100, `${await extents(w)} extents before`)
  await pass(w, 12)
  assert.ok(await extents(w) <= 3, `${await extents(w)} extents`)
  assert.ok(Buffer.from(await readAll(w, INO)).equals(want))
  await assertSound(w)
  assert.equal(w.store.status().usedBytes, want.length, 'what was merged gave its space back')
  await closeAndOpen(w)
  assert.ok(Buffer.from(await readAll(w, INO)).equals(want))
})

test('what a snapshot shows is not merged, and nothing is while somebody writes', async () => {
  const w = await makeWorld()
  const want = await fill(w, 3)
  const before = await extents(w)
  for (let i = 0; i < 8; i++) {
    await w.data.write(ctx, INO, 0, want, 0, 128 * 1024, quiet)
    await pass(w, 0.5)
  }
  assert.equal(await extents(w), before)
  const epoch = await snapshot(w)
  await pass(w, 12)
  assert.equal(await extents(w), before)
  assert.ok(Buffer.from(await readAll(w, INO, epoch)).equals(want))
  await sweep(w, [epoch])
  await assertSound(w)
})

test('power cuts and deaths in between: every byte is there', async () => {
  let undone = 0
  for (let seed = 1; seed <= 12; seed++) {
    const w = await makeWorld()
    const want = await fill(w, 3)
    await w.engine.sync(ctx)
    const before = await extents(w)
    await pass(w, 1 + seed % 6) // merged after one second, synced after four more
    want.fill(seed, UNIT, 3 * UNIT)
    await w.data.write(ctx, INO, UNIT, want, UNIT, 2 * UNIT, quiet)
    await w.data.sync(ctx, INO)
    await pass(w, seed % 3)
    if (seed % 4 === 0) await die(w)
    else await cutPower(w, seededRandom(seed))
    if (await extents(w) === before) undone++
    assert.ok(Buffer.from(await readAll(w, INO)).equals(want), `seed ${seed}`)
    await assertSound(w)
  }
  assert.ok(undone < 12)
})
