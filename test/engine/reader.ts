/** A process that opens a folder read-only again and again while another one writes: what it sees is whole, and stands still. */
import assert from 'node:assert/strict'
import { openLmdb } from '../../src/engine/index.js'
import { rootContext as ctx } from '../../src/sys/index.js'

const [folder, rounds] = process.argv.slice(2)
let last = 0
for (let n = 0; n < Number(rounds); n++) {
  const engine = await openLmdb({ folder, readOnly: true })
  const reader = engine.reader(ctx)
  const look = async (): Promise<readonly number[]> => {
    const u = (await reader.counters('u'))![0]
    const z = (await reader.counters('z'))![0]
    const newest = Number(Buffer.from((await reader.get('l'))!.bytes).toString())
    return [u, z, newest, (await reader.scan({ from: 'k', to: 'l', limit: Infinity })).length]
  }
  const before = await look()
  assert.equal(before[0], before[1])
  assert.equal(before[0], before[2])
  assert.ok(before[0] >= last, 'never older than the one before')
  last = before[0]
  await new Promise((resolve) => setTimeout(resolve, 15))
  assert.deepEqual(await look(), before)
  await engine.close()
}
process.stdout.write(`${last}\n`)
