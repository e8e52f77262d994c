/** A snapshot that is begun and not yet durable: nobody waits for the disk, but who would change what it shows and no power cut would leave. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSound, cutPower, makeFile, makeWorld, quiet, readAll, snapshot } from './world.js'
import type { World } from './world.js'

const KIB = 1024
const LENGTH = 200 * KIB
const turns = async (): Promise<void> => {
  for (let n = 0; n < 40; n++) await new Promise((resolve) => setImmediate(resolve))
}
const write = (w: World, ino: number, at: number, length: number, value: number): Promise<unknown> =>
  Promise.resolve(w.data.write(ctx, ino, at, Buffer.alloc(length, value), 0, length, quiet))

interface Begun {
  readonly w: World
  /** Resolves with its epoch. */
  readonly taking: Promise<number>
  sync(): void
}

/** File 1 is on the disk, file 2 was written in a large piece while the disk was at work, and nobody synced it since. */
async function begin(): Promise<Begun> {
  const w = await makeWorld()
  for (const ino of [1, 2, 3]) await makeFile(w, ino)
  await write(w, 1, 0, LENGTH, 1)
  await w.data.sync(ctx, 1)
  await write(w, 3, 0, LENGTH, 3)
  const waiting: (() => void)[] = []
  w.disk.beforeSync = () => new Promise((resolve) => waiting.push(resolve))
  const taking = snapshot(w)
  await turns()
  assert.equal(waiting.length, 1, 'what is there goes to the disk first')
  await write(w, 2, 0, LENGTH, 2)
  waiting.shift()!()
  await turns()
  assert.equal(waiting.length, 1, 'and then what came meanwhile')
  return {
    w, taking,
    sync() {
      w.disk.beforeSync = undefined
      waiting.shift()!()
    }
  }
}

const isOver = async (doing: Promise<unknown>): Promise<boolean> => {
  let over = false
  void doing.then(() => (over = true))
  await turns()
  return over
}

async function endsAsItBegan({ w, taking, sync }: Begun, doing: readonly Promise<unknown>[]): Promise<void> {
  sync()
  await turns()
  const epoch = await taking
  await Promise.all(doing)
  const shows = async (): Promise<void> => {
    for (const ino of [1, 2]) assert.ok(Buffer.from(await readAll(w, ino, epoch)).equals(Buffer.alloc(LENGTH, ino)), `file ${ino} is as it was when the snapshot began`)
    await assertSound(w)
  }
  await shows()
  await w.data.flush()
  await w.data.syncAll(ctx)
  await shows()
  await cutPower(w, seededRandom(1))
  await shows()
}

for (const [what, act] of Object.entries({
  'a small write over bytes on the disk': (w: World) => write(w, 1, 8 * KIB, 4096, 9),
  'a large write over bytes on the disk': (w: World) => write(w, 1, 0, LENGTH, 9),
  'an append to a file that was written just now': (w: World) => write(w, 2, LENGTH, 100 * KIB, 9),
  'a truncation of a file on the disk': (w: World) => w.data.truncate(ctx, 1, 0, quiet)
})) {
  test(`${what} does not wait for the disk`, { timeout: 20_000 }, async () => {
    const begun = await begin()
    const doing = act(begun.w)
    assert.ok(await isOver(doing))
    await endsAsItBegan(begun, [doing])
  })
}

for (const [what, act] of Object.entries({
  'a small write': (w: World) => write(w, 2, 8 * KIB, 4096, 9),
  'a large write': (w: World) => write(w, 2, 4 * KIB, LENGTH, 9),
  'a truncation': (w: World) => w.data.truncate(ctx, 2, 5000, quiet),
  'a hole': (w: World) => w.data.punch(ctx, 2, 4096, 50 * KIB, quiet),
  'zeros': (w: World) => w.data.zero(ctx, 2, 5000, 50 * KIB, false, quiet),
  'a copy': (w: World) => w.data.copy(ctx, 1, Number.MAX_SAFE_INTEGER, 0, 2, 0, LENGTH, quiet, 'shared'),
  'a step of reclaim': (w: World) => w.data.reclaimStep(ctx, 2)
})) {
  test(`${what} over what was written just now waits, and the snapshot shows nothing of it`, { timeout: 20_000 }, async () => {
    const begun = await begin()
    const doing = act(begun.w)
    assert.ok(!await isOver(doing))
    await endsAsItBegan(begun, [doing])
  })
}

test('files that are reclaimed together leave out one of which a snapshot is begun', { timeout: 20_000 }, async () => {
  const begun = await begin()
  assert.deepEqual(await begun.w.data.reclaimTogether(ctx, [2]), [])
  await endsAsItBegan(begun, [])
})

test('a sync that fails takes no snapshot, and what waited for it goes on', { timeout: 20_000 }, async () => {
  const { w, taking, sync } = await begin()
  const doing = write(w, 2, 8 * KIB, 4096, 9)
  w.disk.syncFails = true
  sync()
  await assert.rejects(taking, { code: 'EIO' })
  await assert.rejects(doing, { code: 'EROFS' })
})
