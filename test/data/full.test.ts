/** A full space under a snapshot: ENOSPC comes before the answer, never from a flush afterwards. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PosixError, rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSound, contentOf, makeFile, makeWorld, quiet, readAll, snapshot } from './world.js'
import type { World } from './world.js'

const MIB = 1024 * 1024
const isFull = (e: unknown): boolean => e instanceof PosixError && e.code === 'ENOSPC'

/** Small writes at random until the space is full; what was answered, in order. */
async function overwrite(w: World, size: number, seed: number, model: Uint8Array, most = 20_000): Promise<number> {
  const random = seededRandom(seed)
  for (let n = 0; n < most; n++) {
    const at = random.uint32() % (size - 5000)
    const bytes = random.bytes(1 + random.uint32() % 5000)
    try {
      await w.data.write(ctx, 7, at, bytes, 0, bytes.length, quiet)
    } catch (e) {
      assert.ok(isFull(e), String(e))
      return n
    }
    model.set(bytes, at)
  }
  return most
}

for (const flushed of [true, false]) test(`what was answered over a snapshot has its space${flushed ? '' : ', logged before the snapshot too'}`, { timeout: 120_000 }, async () => {
  const options = { groups: 16, data: { flushBytes: 1024 * MIB, flushAgeMs: 1e9, directAfterBytes: 1e12 } } // nothing is flushed unless we say so
  const w = await makeWorld(options)
  await makeFile(w, 7)
  const size = 3 * MIB
  const model = seededRandom(1).bytes(size)
  await w.data.write(ctx, 7, 0, model, 0, size, quiet)
  await w.data.sync(ctx, 7)
  await snapshot(w)
  if (!flushed) await overwrite(w, size, 5, model, 200) // these are over extents of before a snapshot; and the next snapshot shows them
  const second = await snapshot(w)
  const was = model.slice()
  // another file takes all but some 400 units
  await makeFile(w, 8)
  const rest = w.store.status().freeBytes - 400 * 4096
  for (let at = 0; at < rest; at += MIB) await w.data.write(ctx, 8, at, seededRandom(2).bytes(Math.min(MIB, rest - at)), 0, Math.min(MIB, rest - at), quiet)
  await w.data.sync(ctx, 8)
  const done = await overwrite(w, size, 3, model)
  assert.ok(done > 20 && done < 5000, `${done} writes fit`)
  await w.data.flush()
  assert.equal(w.data.status().loggedBytes, 0)
  assert.deepEqual(Buffer.compare(await readAll(w, 7), model), 0)
  assert.deepEqual(Buffer.compare(await readAll(w, 7, second), was), 0)
  await assertSound(w)
  assert.equal(contentOf(w, 7).sizeBytes, size)
})

test('a snapshot is refused if what is logged would have no place beside it', { timeout: 120_000 }, async () => {
  const w = await makeWorld({ groups: 16, data: { flushBytes: 1024 * MIB, flushAgeMs: 1e9, directAfterBytes: 1e12 } })
  await makeFile(w, 7)
  const size = 4 * MIB
  const model = seededRandom(1).bytes(size)
  await w.data.write(ctx, 7, 0, model, 0, size, quiet)
  await w.data.sync(ctx, 7)
  await w.engine.transact(ctx, async (tx) => tx.put('M', bytesOfDomain(9, 0))) // as after snapshots that were removed: extents are older than what is logged
  await overwrite(w, size, 3, model, 2000)
  await makeFile(w, 8)
  const rest = w.store.status().freeBytes - 400 * 4096
  for (let at = 0; at < rest; at += MIB) await w.data.write(ctx, 8, at, seededRandom(2).bytes(Math.min(MIB, rest - at)), 0, Math.min(MIB, rest - at), quiet)
  await w.data.sync(ctx, 8)
  await assert.rejects(snapshot(w), isFull)
  await w.data.flush()
  await snapshot(w)
  assert.deepEqual(Buffer.compare(await readAll(w, 7), model), 0)
  await assertSound(w)
})

function bytesOfDomain(epoch: number, newestSnapshot: number): Uint8Array {
  const bytes = new Uint8Array(17)
  new DataView(bytes.buffer).setUint32(1, epoch, true)
  new DataView(bytes.buffer).setUint32(9, newestSnapshot, true)
  return bytes
}
