/**
 * The power-cut machine: a pool lies on a file system of our own in another process, exactly as on a disk (LMDB's own writes
 * included), clients work in it, and then the power is cut at many moments of what that file system saw.
 * OGEE_CUTS and OGEE_SECONDS make it longer; OGEE_SEED repeats the choices, but not the machine's timing.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cannotMount } from '../fuse/mounted.js'
import { cutMounted } from './mounted.js'

const cuts = Number(process.env['OGEE_CUTS'] ?? 120)
const seconds = Number(process.env['OGEE_SECONDS'] ?? 5)
const seed = Number(process.env['OGEE_SEED'] ?? 1)

test('a pool on a disk that forgets: every cut leaves what the contract says', { skip: cannotMount, timeout: 110_000 + seconds * 2000 + cuts * 400 }, async (t) => {
  const { tried, wrong, events, operations } = await cutMounted({ cuts, seconds, seed, report: (text) => t.diagnostic(text) })
  t.diagnostic(`${operations} operations, ${events} disk events; ${JSON.stringify(tried)}`)
  assert.deepEqual(wrong, [], `seed ${seed}`)
  assert.ok(tried.cuts > cuts / 2 && tried.lost > cuts && tried.torn > 0 && tried.bytesBehind > 0, 'the cuts took something away')
})
