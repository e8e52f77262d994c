/** Flattening by sharing: what a clone shows of its origin becomes its own without a copy, and stays when the origin goes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NOW } from '../../src/data/index.js'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSame, assertSound, closeAndOpen, cloneFile, contentOf, makeFile, makeWorld, quiet, readAll, removeSnapshot, sharesOf, snapshot, sweep } from './world.js'

const MIB = 1024 * 1024

test('of a clone of a clone, each written to, only what was written has units of its own', async () => {
  const w = await makeWorld()
  await makeFile(w, 3)
  const bytes = seededRandom(1).bytes(3 * MIB)
  await w.data.write(ctx, 3, 0, bytes, 0, bytes.length, quiet)
  await w.data.syncAll(ctx)
  const first = await snapshot(w)
  await cloneFile(w, 3, first, 4)
  await w.data.write(ctx, 3, MIB, Buffer.alloc(MIB, 7), 0, MIB, quiet) // the first view shows a row of history there
  await w.data.write(ctx, 4, 77, Buffer.alloc(1, 7), 0, 1, quiet)
  await w.data.write(ctx, 4, 2 * MIB, Buffer.alloc(8192, 7), 0, 8192, quiet)
  await w.data.flush()
  await w.data.syncAll(ctx)
  const second = await snapshot(w)
  await cloneFile(w, 4, second, 5)
  await w.data.write(ctx, 5, 10_000, Buffer.alloc(1, 9), 0, 1, quiet)
  await w.data.punch(ctx, 5, 2 * MIB + 8192, 8192, quiet)
  await w.data.flush()
  const used = w.store.status().usedBytes
  const wanted = Buffer.from(bytes)
  wanted[77] = 7
  wanted.fill(7, 2 * MIB, 2 * MIB + 8192)
  const middle = Buffer.from(wanted)
  wanted[10_000] = 9
  wanted.fill(0, 2 * MIB + 8192, 2 * MIB + 16384)
  await w.data.flatten(ctx, 5, 'share', () => undefined)
  assert.deepEqual([contentOf(w, 5).hasOrigin, await w.data.lentBytes(ctx, 5)], [false, 0])
  assert.equal(w.store.status().usedBytes, used, 'nothing was copied')
  assert.ok((await sharesOf(w)).some(({ count }) => count > 1))
  assertSame(await readAll(w, 5), wanted, 'the clone of the clone')
  await assertSound(w)
  await closeAndOpen(w)
  for (const ino of [3, 4]) while (!(await w.data.reclaimStep(ctx, ino))) continue
  await removeSnapshot(w, [])
  await sweep(w, [])
  assertSame(await readAll(w, 5, NOW), wanted, 'when its origins are gone')
  assert.ok(middle.length > 0)
  await w.data.write(ctx, 5, 0, Buffer.alloc(MIB, 1), 0, MIB, quiet)
  assertSame(await readAll(w, 5), Buffer.from(wanted).fill(1, 0, MIB), 'written to')
  await assertSound(w)
  while (!(await w.data.reclaimStep(ctx, 5))) continue
  await assertSound(w)
  assert.equal(w.store.status().usedBytes, 0)
})
