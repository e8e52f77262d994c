/** Rollbacks of trees and the trash under power cuts (trees.ts). OGEE_SEED=n runs that history; OGEE_SEEDS, OGEE_FIRST and OGEE_CUTS make it longer. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cutTrees } from './trees-simulation.js'

const only = process.env['OGEE_SEED']
const seeds = Number(process.env['OGEE_SEEDS'] ?? 4)
const first = Number(process.env['OGEE_FIRST'] ?? 1)
const cuts = Number(process.env['OGEE_CUTS'] ?? 8)

test('a tree that goes back, and its trash, are whole after any cut', { timeout: 60_000 + seeds * cuts * 1000 }, async (t) => {
  const numbers = only === undefined ? Array.from({ length: seeds }, (_, n) => n + first) : [Number(only)]
  const { tried, wrong } = await cutTrees({ seeds: numbers, steps: 80, cuts, generations: 2 })
  t.diagnostic(JSON.stringify(tried))
  assert.deepEqual(wrong, [])
  assert.ok(only !== undefined || (tried.lost > 0 && tried.torn > 0 && tried.behind > 0 && tried.inTheMiddle > 0), 'the cuts took something away')
})
