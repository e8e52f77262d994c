/** A daemon that dies while it takes a snapshot has taken none; the same for a clone of a volume as it is. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rootContext as root } from '../../src/sys/index.js'
import { makeRig, MIB } from './rig.js'

for (const [what, of, take] of [
  ['a snapshot of the tree', '/', (pool) => pool.snapshots.create('/@s')],
  ['a snapshot of a volume', 'v', (pool) => pool.snapshots.create('v@s')],
  ['a clone of a volume', 'v', (pool) => pool.volumes.clone('v', 'w')]
] as const satisfies readonly (readonly [string, string, (pool: Awaited<ReturnType<typeof makeRig>>['now']['pool']) => Promise<unknown>])[]) {
  test(`${what} that the daemon's death ended`, { timeout: 60_000 }, async () => {
    const rig = await makeRig(11)
    const holds = async (): Promise<number> => (await rig.now.engine.reader(root).scan({ from: 'K', to: 'L', limit: 9 })).length
    await rig.now.pool.volumes.create('v', 4 * MIB)
    const volume = await rig.now.pool.volumes.open('v', 'test')
    await volume.write(0, Buffer.alloc(MIB, 1), 0, MIB)
    const { data } = rig.now
    const { quiesce } = data
    const begun = new Promise<void>((resolve) => Object.assign(data, { // never ends, as a disk that does not answer
      quiesce: async (...args: Parameters<typeof quiesce>) => {
        await quiesce(...args)
        resolve()
        return new Promise(() => undefined)
      }
    }))
    void take(rig.now.pool)
    await begun
    assert.equal(await holds(), 1)
    await volume.write(0, Buffer.alloc(MIB, 2), 0, MIB)
    await volume.flush()
    volume.close()
    await rig.die()
    assert.deepEqual([await holds(), await rig.now.pool.snapshots.list(of), (await rig.now.pool.volumes.list()).map(({ name }) => name)], [0, [], ['v']])
    await rig.now.pool.snapshots.settle()
    assert.deepEqual(await rig.now.engine.reader(root).scan({ from: 'H', to: 'I', limit: 1 }), [], 'nothing is kept for it')
    await rig.check()
    await take(rig.now.pool)
    await rig.end()
  })
}
