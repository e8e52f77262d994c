/**
 * Until the removal of a snapshot, or the end of a clone, is durable a power cut may bring it back: what it shows is not written over in place
 * before, and is afterwards.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Engine } from '../../src/engine/index.js'
import { rootContext } from '../../src/sys/index.js'
import { makeRig, MIB } from './rig.js'
import type { Opened, Rig } from './rig.js'

/** Runs `act` up to the first sync of the log after `isCommitted`, which hangs while `beside` runs. */
async function whileNotDurable({ engine }: Opened, act: () => Promise<unknown>, isCommitted: () => Promise<boolean>, beside: () => Promise<void>): Promise<void> {
  const hooked = engine as { sync: Engine['sync'] }
  const { sync } = hooked
  let goOn = (): void => undefined
  const held = new Promise<void>((resolve) => (goOn = resolve))
  const begun = new Promise<void>((resolve) => {
    hooked.sync = async (ctx) => {
      if (await isCommitted()) {
        resolve()
        await held
      }
      await sync(ctx)
    }
  })
  const acting = act()
  await Promise.race([begun, acting])
  await beside()
  hooked.sync = sync
  goOn()
  await acting
}

async function write(rig: Rig, fill: number): Promise<void> {
  const volume = await rig.now.pool.volumes.open('v', 'test')
  await volume.write(0, Buffer.alloc(MIB, fill), 0, MIB)
  volume.close()
}

const usedBytes = ({ now }: Rig): number => now.store.status().usedBytes

/** A volume of one MiB of ones, and the view that its snapshot `s` shows. */
async function withSnapshot(): Promise<{ rig: Rig, ino: number, epoch: number, shown: () => Promise<Buffer> }> {
  const rig = await makeRig(5)
  const { pool, data } = rig.now
  await pool.volumes.create('v', MIB)
  await write(rig, 1)
  await pool.sync()
  const { snapshot: { epoch } } = await pool.snapshots.create('v@s')
  const { inode: ino } = await pool.volumes.info('v')
  const shown = async (): Promise<Buffer> => {
    const into = Buffer.alloc(MIB)
    await data.read(rootContext, ino, epoch, 0, MIB, into, 0)
    return into
  }
  return { rig, ino, epoch, shown }
}

async function endsInPlace(rig: Rig): Promise<void> {
  const { pool } = rig.now
  await pool.snapshots.settle()
  await pool.sync()
  const before = usedBytes(rig)
  await write(rig, 3)
  assert.equal(usedBytes(rig), before, 'then it is written in place')
  await rig.end()
}

test('nothing is written over what a snapshot shows before its removal is durable', { timeout: 60_000 }, async () => {
  const { rig, shown } = await withSnapshot()
  const { pool } = rig.now
  await whileNotDurable(rig.now, () => pool.snapshots.remove('v@s'), async () => (await pool.snapshots.list('v')).length === 0, async () => {
    await write(rig, 2)
    assert.ok((await shown()).equals(Buffer.alloc(MIB, 1)), 'and its bytes are as they were')
  })
  await endsInPlace(rig)
})

test('nor over what a clone shows before the end of its flattening is', { timeout: 60_000 }, async () => {
  const { rig, shown } = await withSnapshot()
  const { pool } = rig.now
  await pool.clones.clone('v@s', 'c')
  await pool.snapshots.remove('v@s')
  await pool.snapshots.settle()
  await whileNotDurable(rig.now, () => pool.volumes.flatten('c', () => undefined), async () => (await pool.volumes.info('c')).origin === null, async () => {
    await write(rig, 2)
    assert.ok((await shown()).equals(Buffer.alloc(MIB, 1)), 'the origin is as the clone needs it')
  })
  await endsInPlace(rig)
})
