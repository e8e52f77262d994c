/**
 * Whole pools (vfs, tree, data, store, engine) on a simulated machine: one seed gives one history of clients, completions,
 * checkpoints and time; it is cut at many moments, each cut is judged. The same seed gives the same history, to the byte.
 * OGEE_SEED=n runs that one; OGEE_SEEDS and OGEE_CUTS make it longer.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cutSimulated, runSimulated } from './simulation.js'

const only = process.env['OGEE_SEED']
const seeds = Number(process.env['OGEE_SEEDS'] ?? 6)
const first = Number(process.env['OGEE_FIRST'] ?? 1)
const cuts = Number(process.env['OGEE_CUTS'] ?? 9)

test('one seed is one history', { timeout: 60_000 }, async () => {
  const seed = Number(only ?? 4711)
  const [a, b] = [await runSimulated({ seed, operations: 120 }), await runSimulated({ seed, operations: 120 })]
  assert.equal(a.digest, b.digest)
  assert.notEqual(a.digest, (await runSimulated({ seed: seed + 1, operations: 120 })).digest)
})

test('every cut of every history leaves what the contract says', { timeout: 60_000 + seeds * cuts * 500 }, async (t) => {
  const numbers = only === undefined ? Array.from({ length: seeds }, (_, n) => n + first) : [Number(only)]
  const { tried, wrong, text } = await cutSimulated({ seeds: numbers, cuts, operations: 200, generations: 2 })
  t.diagnostic(text)
  assert.deepEqual(wrong, [])
  assert.ok(only !== undefined || (tried.lost > tried.cuts && tried.torn > 0 && tried.bytesBehind > 0), 'the cuts took something away')
})
