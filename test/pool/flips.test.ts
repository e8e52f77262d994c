/** A flipped bit anywhere in a pool's log, rows, superblock or space header: right answers or an error; fsck names it, a repair gives a pool. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flipPools } from './flips.js'

test('flipped bits of a whole pool', { timeout: 110_000 }, async (t) => {
  const { wrong, tried } = await flipPools({ count: 30, seed: 1, report: () => undefined })
  t.diagnostic(JSON.stringify(tried))
  assert.deepEqual(wrong, [])
  assert.equal(Object.values(tried).reduce((a, b) => a + b), 30)
})
