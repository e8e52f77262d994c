/** The sweeper hears whoever wakes it, also in the very moment in which it comes to its end. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openMemory } from '../../src/engine/index.js'
import type { Data } from '../../src/data/index.js'
import type { Tree } from '../../src/meta/index.js'
import { startSweeper } from '../../src/snapshot/sweep.js'
import { manualClock, seededRandom } from '../../src/sys/index.js'

test('a removal while a pass ends is swept too', async () => {
  const clock = manualClock()
  const engine = openMemory({ clock, random: seededRandom(1) })
  let looks = 0
  const tree = { sweepsWanted: () => (looks++, []), treeHolds: () => [] } as unknown as Tree // nothing to do, however often it looks
  for (let steps = 0; steps < 30; steps++) {
    const sweeper = startSweeper({ engine, tree, data: {} as Data, clock })
    sweeper.wake()
    for (let i = 0; i < steps; i++) await null
    const before = looks
    sweeper.wake()
    await sweeper.settle()
    assert.ok(looks > before, `woken after ${steps} steps`)
  }
  await engine.close()
})
