/** A commit that is heard of late, after a snapshot that came behind it: what it found of epochs is of the past. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rootContext as ctx } from '../../src/sys/index.js'
import { assertSound, makeFile, makeWorld, quiet, readAll, snapshot } from './world.js'
import type { World } from './world.js'

const KIB = 1024
const turns = async (): Promise<void> => {
  for (let n = 0; n < 40; n++) await new Promise((resolve) => setImmediate(resolve))
}
const write = (w: World, ino: number, at: number, length: number, value: number): Promise<unknown> =>
  Promise.resolve(w.data.write(ctx, ino, at, Buffer.alloc(length, value), 0, length, quiet))

test('a commit that is heard of after a snapshot that came behind it does not say what may be overwritten', { timeout: 20_000 }, async () => {
  const w = await makeWorld()
  for (const ino of [1, 2]) await makeFile(w, ino)
  await write(w, 2, 0, 8 * KIB, 2)
  await w.data.flush() // units are at hand now
  await write(w, 1, 0, 8 * KIB, 1)
  let hear = (): void => undefined
  w.late = new Promise((resolve) => (hear = resolve))
  const flushing = w.data.flush()
  await turns()
  assert.equal(w.late, undefined, 'the flush committed')
  const epoch = await snapshot(w)
  hear()
  await flushing
  const inPlace = { ...quiet, inPlace: true }
  await w.data.write(ctx, 1, 0, Buffer.alloc(4096, 2), 0, 4096, inPlace)
  assert.ok(Buffer.from(await readAll(w, 1, epoch)).equals(Buffer.alloc(8 * KIB, 1)))
  await assertSound(w)
})
