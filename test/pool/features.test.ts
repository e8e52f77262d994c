/** Feature bits: set in the superblock, and in its copy, before the first of what an older Ogee would misread. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FEATURE, liveSuperblock } from '../../src/pool/features.js'
import { readCopy, readSuperblock } from '../../src/pool/superblock.js'
import { rootContext } from '../../src/sys/index.js'
import { makeRig, MIB } from '../snapshot/rig.js'
import type { Rig } from '../snapshot/rig.js'

const bits = async ({ now: { pool, engine } }: Rig): Promise<number> => {
  const { incompatible } = readSuperblock(pool.folder)
  assert.equal(pool.superblock.incompatible, incompatible)
  assert.equal((await readCopy(engine.reader(rootContext), pool.folder))?.incompatible, incompatible)
  return incompatible
}

const first: readonly (readonly [string, (rig: Rig) => Promise<unknown>])[] = [
  ['snapshot', ({ now: { pool } }) => pool.snapshots.create('/@a')],
  ['subvolume', ({ now: { pool } }) => pool.subvolumes.create('/s')],
  ['volume', ({ now: { pool } }) => pool.volumes.create('v', MIB)]
]
for (const [what, make] of first) test(`the first ${what} sets its bit, which stays`, async () => {
  const rig = await makeRig(1)
  assert.equal(await bits(rig), 0)
  await make(rig)
  assert.equal(await bits(rig), FEATURE.epochs)
  await rig.now.pool.grow(256 * MIB)
  await rig.die()
  assert.equal(await bits(rig), FEATURE.epochs)
  assert.equal(rig.now.pool.superblock.sizeBytes, 256 * MIB)
  await rig.end()
})

test('changes at once leave what each of them asked for', async () => {
  const rig = await makeRig(2)
  const { pool, engine } = rig.now
  const live = liveSuperblock(pool.folder, engine, pool.superblock)
  await Promise.all([live.need(FEATURE.epochs), live.grown(256 * MIB), live.need(FEATURE.trash), live.need(FEATURE.trash)])
  const { incompatible, sizeBytes } = readSuperblock(pool.folder)
  assert.deepEqual([incompatible, sizeBytes, live.now.incompatible], [3, 256 * MIB, 3])
  await live.grown(pool.superblock.sizeBytes)
  await rig.end()
})
