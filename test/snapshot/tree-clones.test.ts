/** Clones of trees and what they hold: space comes back when the last who reads through goes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rootContext as root, seededRandom } from '../../src/sys/index.js'
import { failingReason, historyRows, makeRig, MIB, nodeAt, textOfPool } from './rig.js'

const HOW = { killSuidgid: false, append: false }

test('a file that is open when its clone is removed reads on, and what it needs stays until it is closed', async () => {
  const rig = await makeRig(1)
  const { vfs, pool, engine } = rig.now
  const holds = async (): Promise<number> => (await engine.reader(root).scan({ from: 'K', to: 'L', limit: 10 })).length
  const bytes = Buffer.from(seededRandom(3).bytes(300_000))
  const { ino } = await vfs.mknod(root, 1, 'f', 0o100644, 0, 0)
  await vfs.write(root, ino, 0, 0, bytes, 0, bytes.length, HOW)
  await pool.snapshots.create('/@s')
  await pool.clones.clone('/@s', '/clone')
  await vfs.unlink(root, 1, 'f')
  vfs.forget(ino)
  await pool.snapshots.remove('/@s')
  const file = await nodeAt(vfs, '/clone/f')
  const { handle } = await vfs.open(root, file, 0)
  await vfs.unlink(root, await nodeAt(vfs, '/clone'), 'f')
  vfs.forget(file)
  await pool.subvolumes.remove('/clone')
  await rig.now.settleOrphans()
  await pool.snapshots.settle()
  assert.equal(await holds(), 1)
  const into = Buffer.alloc(bytes.length)
  assert.equal(await vfs.read(root, file, handle, 0, into.length, into, 0), bytes.length)
  assert.ok(into.equals(bytes))
  const used = rig.now.store.status().usedBytes
  await vfs.release(root, file, handle)
  await rig.now.settleOrphans()
  await rig.now.settleOrphans()
  assert.equal(await holds(), 0)
  await pool.snapshots.settle()
  assert.equal(await historyRows(rig.now), 0)
  assert.ok(rig.now.store.status().usedBytes <= used - bytes.length)
  await rig.end()
})

test('a snapshot of the tree around a removed subvolume shows an empty folder, also while somebody has that open', async () => {
  const rig = await makeRig(4)
  const { vfs, pool } = rig.now
  await pool.subvolumes.create('/sub')
  await pool.snapshots.create('/@s')
  const sub = await nodeAt(vfs, '/sub')
  const { handle } = await vfs.opendir(root, sub)
  await pool.subvolumes.remove('/sub')
  const seen = await nodeAt(vfs, '/.snapshots/s/sub')
  assert.equal((await vfs.lookup(root, seen, '..'))?.ino, await nodeAt(vfs, '/.snapshots/s'))
  assert.deepEqual(await textOfPool(vfs, await nodeAt(vfs, '/.snapshots/s')), ['/sub/'])
  await vfs.releasedir(root, sub, handle)
  await rig.now.settleOrphans()
  assert.deepEqual(await textOfPool(vfs, await nodeAt(vfs, '/.snapshots/s')), ['/sub/'])
  await rig.end()
})

test('a tree whose root has too much for one transaction is not rolled back, and stays as it is', async () => {
  const rig = await makeRig(6, 128 * MIB, { logBytes: MIB })
  const { vfs, pool } = rig.now
  for (let n = 0; n < 200; n++) await vfs.mknod(root, 1, `${n}`.padEnd(255, 'x'), 0o100644, 0, 0)
  await pool.snapshots.create('/@s')
  await vfs.mkdir(root, 1, 'later', 0o755, 0)
  const before = await textOfPool(vfs, 1)
  assert.equal(await failingReason(() => pool.snapshots.rollBack('/@s', 'refuse')), 'usage')
  assert.deepEqual(await textOfPool(vfs, 1), before)
  for (let n = 100; n < 200; n++) await vfs.unlink(root, 1, `${n}`.padEnd(255, 'x'))
  await pool.snapshots.rollBack('/@s', 'refuse')
  assert.deepEqual(await textOfPool(vfs, 1), before.filter((line) => line !== '/later/'))
  await rig.end()
})
