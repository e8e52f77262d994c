/** Values as LMDB holds them: golden bytes with their checksum, and any other bit or key is seen. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { countersEntry, entryOf, VALUE } from '../../src/engine/rows.js'
import { CHECKSUM_BYTES, hashOfKey, isSealed, seal, sealed, storedBytes, writeStored } from '../../src/engine/lmdb/stored.js'
import type { Entry } from '../../src/engine/rows.js'
import { bytes } from './suite.js'

function stored(key: string, entry: Entry): Buffer {
  const length = storedBytes(entry)
  const into = Buffer.alloc(length + CHECKSUM_BYTES)
  writeStored(entry, into, 0)
  seal(into, 0, length, hashOfKey(key))
  return into
}

test('values and counters with their checksums', () => {
  assert.equal(stored('v\u0000\u00ff', entryOf(VALUE, 7, bytes('val'), undefined)).toString('hex'), '01' + '76616c' + '3ea6a17a')
  assert.equal(stored('c', countersEntry(7, [-2, 2 ** 40])).toString('hex'), '02' + 'feffffffffffffff' + '0000000000010000' + '463ca5b1')
  assert.equal(sealed('session', [bytes('{'), bytes('}')]).toString('hex'), '7b7d' + '19ab4ff1')
  assert.equal(hashOfKey('v\u0000\u00ff') >>> 0, 0x13f0a408)
})

test('a flipped bit of value, checksum or key, a value of another length: none is whole', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), fc.string({ minLength: 1, maxLength: 30, unit: 'binary-ascii' }), fc.nat(), (value, key, pick) => {
    const whole = stored(key, entryOf(VALUE, 0, value, undefined))
    assert.ok(isSealed(whole, whole.length, hashOfKey(key)))
    const bit = pick % (whole.length * 8)
    const flipped = Buffer.from(whole)
    flipped[bit >> 3] ^= 1 << (bit & 7)
    assert.equal(isSealed(flipped, flipped.length, hashOfKey(key)), false)
    const at = pick % key.length
    const other = key.slice(0, at) + String.fromCharCode(key.charCodeAt(at) ^ (1 << (pick % 8))) + key.slice(at + 1)
    assert.equal(isSealed(whole, whole.length, hashOfKey(other)), false)
    for (let length = 0; length < whole.length; length++) assert.equal(isSealed(whole.subarray(0, length), length, hashOfKey(key)), false)
  }), { numRuns: 200 })
})
