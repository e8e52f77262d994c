/** The kernel's references, counted: against a plain Map, and within their bound of bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Lookups } from '../../src/fuse/lookups.js'

const node = fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 40 }).map((n) => n * 2 ** 32 + 1), fc.integer({ min: 2 ** 52, max: 2 ** 53 - 1 }))
const step = fc.record({ op: fc.constantFrom('add', 'add', 'remove'), node, count: fc.integer({ min: 1, max: 3 }) })

test('counts are what was given less what was given back', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
    const forgotten: number[] = []
    const lookups = new Lookups((n) => void forgotten.push(n))
    const model = new Map<number, number>()
    const gone: number[] = []
    for (const s of steps) {
      const held = model.get(s.node) ?? 0
      if (s.op === 'add') {
        lookups.add(s.node)
        model.set(s.node, held + 1)
      } else {
        lookups.remove(s.node, s.count)
        if (held > s.count) model.set(s.node, held - s.count)
        else if (model.delete(s.node) && s.node !== 1) gone.push(s.node)
      }
      assert.equal(lookups.count(s.node), model.get(s.node) ?? 0)
      assert.equal(lookups.nodes, model.size)
    }
    for (const [n, count] of model) assert.equal(lookups.count(n), count)
    assert.deepEqual(forgotten, gone)
    lookups.removeAll()
    assert.equal(lookups.nodes, 0)
    assert.deepEqual(forgotten.slice(gone.length).sort(), [...model.keys()].filter((n) => n !== 1).sort())
  }))
})

test('what no peer may send changes nothing', () => {
  const lookups = new Lookups(() => assert.fail('nothing was held'))
  for (const n of [0, -1, NaN, 2 ** 64]) {
    lookups.remove(n, 1)
    assert.equal(lookups.count(n), 0)
  }
  assert.equal(lookups.nodes, 0)
})

test('a million nodes in a row cost at most 32 bytes each, and their room is given back', () => {
  const COUNT = 1_000_000
  const lookups = new Lookups(() => undefined)
  const empty = lookups.heldBytes
  for (let n = 2; n < COUNT + 2; n++) lookups.add(n)
  assert.equal(lookups.nodes, COUNT)
  assert.ok(lookups.heldBytes <= 33 * COUNT, `${lookups.heldBytes / COUNT} bytes a node`)
  for (let n = 2; n < COUNT + 2; n++) lookups.remove(n, 1)
  assert.equal(lookups.nodes, 0)
  assert.ok(lookups.heldBytes <= 2 * empty)
})
