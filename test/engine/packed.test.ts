/** The packed overlay against a plain sorted Map: random keys, values of every kind, replaced and deleted, emptied and filled again. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BITS, compareKeys, countersEntry, entryOf, GONE, goneEntry, slotsOf, VALUE } from '../../src/engine/rows.js'
import type { Entry } from '../../src/engine/rows.js'
import { makeOverlay } from '../../src/engine/lmdb/overlay.js'
import { hashOfKey, makePackedRows } from '../../src/engine/lmdb/packed.js'
import type { PackedRows } from '../../src/engine/lmdb/packed.js'
import { entryFrom, storedBytes, writeStored } from '../../src/engine/lmdb/stored.js'

const key = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 6 }).map((bytes) => Buffer.from(bytes).latin1Slice()),
  fc.tuple(fc.constantFrom('D', 'I'), fc.nat(40)).map(([kind, n]) => kind + '\0\0\0\0\0\0\0' + String.fromCharCode(n) + '\xff\x80\x7f\x00'.slice(0, n & 3)),
  fc.string({ minLength: 200, maxLength: 1024, unit: fc.constantFrom('a', 'b') })
)
const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.integer({ min: 1000, max: 300_000 }).map((n) => Buffer.alloc(n, n)))
const entry = fc.oneof(
  bytes.map((b) => entryOf(VALUE, 0, b, 'decoded')),
  fc.uint8Array({ minLength: 1, maxLength: 64 }).map((b) => entryOf(BITS, 0, b, undefined)),
  fc.array(fc.integer({ min: -(2 ** 53) + 1, max: 2 ** 53 - 1 }), { maxLength: 12 }).map((slots) => countersEntry(0, slots)),
  fc.constant(goneEntry(0))
)

const shown = (e: Entry): unknown[] => [e.kind, e.seq, e.kind === GONE ? [] : e.kind === VALUE || e.kind === BITS ? Buffer.from(e.bytes).toString('hex') : slotsOf(e)]

function assertSame(rows: PackedRows, model: ReadonlyMap<string, Entry>, from: string, to: string): void {
  const sorted = [...model.keys()].sort(compareKeys)
  assert.equal(rows.size, model.size)
  for (const k of sorted) assert.deepEqual(shown(rows.entry(rows.find(k, hashOfKey(k)))), shown(model.get(k)!))
  const walked: string[] = []
  for (let row = rows.after(0); row !== 0; row = rows.after(row)) walked.push(rows.key(row))
  assert.deepEqual(walked, sorted)
  for (const reverse of [false, true]) {
    const seen: string[] = []
    for (const c = rows.cursor(from, to, reverse); c.key !== undefined; c.next()) {
      seen.push(c.key)
      assert.deepEqual(shown(c.entry), shown(model.get(c.key)!))
    }
    const expected = sorted.filter((k) => k >= from && k < to)
    assert.deepEqual(seen, reverse ? expected.reverse() : expected)
  }
}

/** As replay does it: key and value somewhere in a buffer. */
function setRaw(rows: PackedRows, k: string, e: Entry): void {
  const from = Buffer.alloc(3 + k.length + 5 + (e.kind === GONE ? 0 : storedBytes(e)), 0xee)
  from.latin1Write(k, 3)
  const keyEnd = 3 + k.length
  if (e.kind === GONE) return rows.remove(from, 3, keyEnd, e.seq)
  writeStored(e, from, keyEnd + 5)
  rows.setStored(from, 3, keyEnd, e.kind, keyEnd + 6, from.length, e.seq)
}

test('packed rows are what a sorted map is', () => {
  fc.assert(fc.property(fc.array(fc.array(fc.tuple(key, entry), { maxLength: 80 }), { minLength: 1, maxLength: 3 }), key, key, (fillings, a, b) => {
    const rows = makePackedRows()
    let seq = 2 ** 33
    for (const filling of fillings) {
      const model = new Map<string, Entry>()
      for (const [k, e] of filling) {
        const now = entryOf(e.kind, ++seq, e.bytes, e.decoded)
        if (seq % 3 === 0) rows.set(k, hashOfKey(k), now)
        else setRaw(rows, k, now)
        model.set(k, now)
        assert.equal(rows.seq(rows.find(k, hashOfKey(k))), seq)
      }
      assert.equal(rows.find('not there', hashOfKey('not there')), 0)
      assertSame(rows, model, a < b ? a : b, a < b ? b : a)
      rows.clear()
      assertSame(rows, new Map(), a, b)
    }
  }), { numRuns: 60 })
})

test('what is stored is what LMDB gets', () => {
  const rows = makePackedRows()
  const e = countersEntry(7, [1, -1, 2 ** 52, -(2 ** 52)])
  rows.set('c', hashOfKey('c'), e)
  rows.set('v', hashOfKey('v'), entryOf(VALUE, 8, Buffer.from('value'), undefined))
  const row = rows.find('v', hashOfKey('v'))
  const { bytes: chunk, start, end } = rows.stored(row)!
  assert.equal(chunk.latin1Slice(start, end), '\x01value')
  const counters = rows.stored(rows.find('c', hashOfKey('c')))!
  assert.deepEqual(slotsOf(entryFrom(counters.bytes, counters.start, counters.end, 0)), slotsOf(e))
})

test('a row costs its key, its value and at most 64 bytes; a million overwritten cost nothing more', () => {
  const rows = makePackedRows()
  const value = entryOf(VALUE, 1, Buffer.alloc(140, 1), undefined)
  const COUNT = 100_000
  const keyOf = (i: number): string => `I0000${String.fromCharCode(i >> 24, (i >> 16) & 255, (i >> 8) & 255, i & 255)}`
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < COUNT; i++) {
      const k = keyOf((i * 7919) % COUNT)
      rows.set(k, hashOfKey(k), value)
    }
    assert.equal(rows.size, COUNT)
    const perRow = rows.heldBytes / COUNT
    assert.ok(perRow < 9 + 141 + 64, `${perRow} bytes a row`)
  }
  const before = rows.heldBytes
  rows.clear()
  assert.equal(rows.size, 0)
  for (let i = 0; i < COUNT; i++) rows.set(keyOf(i), hashOfKey(keyOf(i)), value)
  assert.ok(rows.heldBytes <= before * 1.05, 'the second filling uses the memory of the first')
})

test('events come in order, and cost their bytes and 24', () => {
  const { events } = makeOverlay()
  for (let n = 1; n <= 50_000; n++) events.add(3, n + 2 ** 40, Buffer.from(`event ${n}`))
  let n = 0
  for (let event = events.after(-1); event !== -1; event = events.after(event)) {
    n++
    const { bytes: chunk, start, end } = events.stored(event)
    assert.equal(chunk.latin1Slice(start, end), `event ${n}`)
    assert.equal(events.n(event), n + 2 ** 40)
    assert.equal(events.session(event), 3)
  }
  assert.equal(n, 50_000)
  assert.ok(events.heldBytes < 50_000 * (12 + 24) + 256 * 1024, 'and a chunk')
})
