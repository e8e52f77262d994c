import assert from 'node:assert/strict'
import { test } from 'node:test'
import { asks, asksAlone, NBD_CLIENT } from '../../src/sys/index.js'

const times = (n: number, who: number): void => {
  for (let i = 0; i < n; i++) asks(who)
}

test('who asked the last 16 times is alone; anybody else ends that at once', () => {
  times(15, 7)
  assert.equal(asksAlone(), false)
  asks(7)
  assert.equal(asksAlone(), true)
  asks(8)
  assert.equal(asksAlone(), false)
  times(16, 7)
  assert.equal(asksAlone(), true)
})

test('NBD clients, and programs that nobody can tell apart, are never alone', () => {
  times(40, NBD_CLIENT)
  assert.equal(asksAlone(), false)
  times(40, 0)
  assert.equal(asksAlone(), false)
})
