/** A volume that goes right after its snapshots did: what they held is given back though its domain is gone. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { historyRows, makeRig, MIB } from './rig.js'

test('a volume removed before its snapshots gave their space back leaves nothing', { timeout: 60_000 }, async () => {
  const rig = await makeRig(3)
  const { pool } = rig.now
  await pool.volumes.create('v', 8 * MIB)
  for (let i = 0; i < 5; i++) {
    const volume = await pool.volumes.open('v', 'test')
    await volume.write(0, Buffer.alloc(MIB, i + 1), 0, MIB)
    await volume.flush()
    volume.close()
    await pool.snapshots.create(`v@s${i}`)
  }
  assert.ok((await historyRows(rig.now)) > 0)
  for (let i = 0; i < 5; i++) await pool.snapshots.remove(`v@s${i}`)
  await pool.volumes.remove('v')
  await rig.die()
  await rig.check()
  await rig.now.pool.snapshots.settle()
  await rig.now.settleOrphans()
  await rig.check()
  await rig.now.pool.snapshots.settle()
  assert.equal(await historyRows(rig.now), 0)
  assert.equal(rig.now.store.status().usedBytes, 0)
  await rig.end()
})
