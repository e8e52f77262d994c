import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { makePatience } from '../../src/sys/patience.js'

/** A program whose next request comes so long after each answer: how much is spun for how many requests that are met. */
function serve(gapsUs: readonly number[], maxUs = 30): { readonly met: number, readonly spunInVainUs: number } {
  const patience = makePatience(maxUs)
  let met = 0
  let spunInVainUs = 0
  for (const gapUs of gapsUs) {
    if (gapUs <= patience.us) {
      met++
      patience.met()
    } else {
      spunInVainUs += patience.us
      patience.missed()
    }
  }
  return { met, spunInVainUs }
}
const times = (n: number, gapUs: number): number[] => Array.from({ length: n }, () => gapUs)

test('a program that asks again at once is always met', () => {
  assert.deepEqual(serve(times(1000, 20)), { met: 1000, spunInVainUs: 0 })
})

test('one that thinks for longer costs a trial of 16 waits', () => {
  const { met, spunInVainUs } = serve(times(1600, 100))
  assert.equal(met, 0)
  assert.ok(spunInVainUs <= 30 * (1600 / 16 + 4), `${spunInVainUs} us`)
})

test('after a slow time a fast one is noticed within 16 requests', () => {
  assert.ok(serve([...times(1000, 500), ...times(1000, 10)]).met >= 1000 - 16)
})

test('most waits rewarded: it goes on looking; most in vain: it stops', () => {
  const mix = (n: number, every: number, rare: number, usual: number): number[] => Array.from({ length: n }, (_, i) => (i % every === 0 ? rare : usual))
  assert.ok(serve(mix(3000, 3, 200, 10)).met >= 1950)
  assert.ok(serve(mix(3000, 3, 10, 200)).spunInVainUs <= 30 * 500)
})

test('with spin_us=0 there is never more than a look', () => {
  assert.deepEqual(serve(times(100, 1), 0), { met: 0, spunInVainUs: 0 })
})

test('whatever comes: a wait is of the longest patience or of one look', () => {
  fc.assert(fc.property(fc.array(fc.boolean()), (ends) => {
    const patience = makePatience(30)
    for (const met of ends) {
      assert.ok(patience.us === 30 || patience.us === 0)
      if (met) patience.met()
      else patience.missed()
    }
  }))
})
