/**
 * Generated programs against a plain model. A program is bodies, a body is steps; each body leaves its number in the change
 * log, so that the commit order is known afterwards. Whatever ran at once must look as if it ran in that order.
 */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { rootContext } from '../../src/sys/index.js'
import type { Context } from '../../src/sys/index.js'
import { KEY_END } from '../../src/engine/index.js'
import type { Engine, Key, KeyedRow, Tx } from '../../src/engine/index.js'
import type { EngineKit } from './suite.js'

const ctx: Context = { ...rootContext }
export const BIT_ROW = 'b0'
export const BIT_ROW_BITS = 40

/** The plain model: values as text, counters as arrays, bits as a set. */
export interface Model {
  readonly values: Map<Key, string>
  readonly counters: Map<Key, number[]>
  readonly bits: Set<number>
}
export const emptyModel = (): Model => ({ values: new Map(), counters: new Map(), bits: new Set() })
export const copyModel = (m: Model): Model => ({
  values: new Map(m.values), counters: new Map([...m.counters].map(([k, v]) => [k, v.slice()])), bits: new Set(m.bits)
})

const valueKey = fc.nat(11).map((i) => `v${i.toString(36)}`)
const counterKey = fc.nat(2).map((i) => `c${i}`)
const valueText = fc.oneof(fc.string({ maxLength: 12 }), fc.nat(1500).map((n) => 'x'.repeat(n)))
export const step = fc.oneof(
  fc.record({ op: fc.constant('put' as const), key: valueKey, value: valueText }),
  fc.record({ op: fc.constant('delete' as const), key: valueKey }),
  fc.record({ op: fc.constant('read' as const), key: valueKey }),
  fc.record({ op: fc.constant('copy' as const), key: valueKey, to: valueKey }),
  fc.record({ op: fc.constant('count' as const), key: counterKey, by: fc.integer({ min: -2, max: 3 }) }),
  fc.record({ op: fc.constant('set' as const), key: counterKey, to: fc.integer() }),
  fc.record({ op: fc.constant('drop' as const), key: counterKey }),
  fc.record({ op: fc.constant('bit' as const) }),
  fc.record({ op: fc.constant('scan' as const), from: valueKey, to: valueKey, limit: fc.integer({ min: 0, max: 6 }), reverse: fc.boolean() }),
  fc.record({ op: fc.constant('pause' as const) }))
export type Step = typeof step extends fc.Arbitrary<infer S> ? S : never
export const body = fc.array(step, { minLength: 1, maxLength: 8 })

/** What a body did and saw in the run that counts. */
type Done =
  | { did: 'saw'; key: Key; value: string | undefined }
  | { did: 'put'; key: Key; value: string }
  | { did: 'delete'; key: Key }
  | { did: 'create'; key: Key }
  | { did: 'add'; key: Key; by: number }
  | { did: 'set'; key: Key; to: number }
  | { did: 'drop'; key: Key }
  | { did: 'bit'; bit: number; on: boolean }
  | { did: 'scanned'; step: Step & { op: 'scan' }; rows: string[] }

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).latin1Slice()
const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const rowText = ({ key, row }: KeyedRow): string => `${key}=${textOf(row.bytes)}`

/** Runs steps as a body. Bit `mine` of the bit row belongs to this body alone. */
export async function runSteps(tx: Tx, steps: readonly Step[], mine: number): Promise<Done[]> {
  const done: Done[] = []
  const dropped = new Set<Key>()
  const see = async (key: Key): Promise<string | undefined> => {
    const row = await tx.get(key)
    return row === undefined ? undefined : textOf(row.bytes)
  }
  for (const s of steps) {
    if (s.op === 'put') {
      tx.put(s.key, bytesOf(s.value))
      done.push({ did: 'put', key: s.key, value: s.value })
    } else if (s.op === 'delete') {
      tx.delete(s.key)
      done.push({ did: 'delete', key: s.key })
    } else if (s.op === 'read') done.push({ did: 'saw', key: s.key, value: await see(s.key) })
    else if (s.op === 'copy') {
      const value = await see(s.key)
      done.push({ did: 'saw', key: s.key, value })
      tx.put(s.to, bytesOf(`${value}`))
      done.push({ did: 'put', key: s.to, value: `${value}` })
    } else if (s.op === 'count' || s.op === 'set' || s.op === 'drop') {
      if (dropped.has(s.key)) continue
      const slots = await tx.counters(s.key)
      if (slots === undefined) {
        tx.createCounters(s.key, [0, 0])
        done.push({ did: 'create', key: s.key })
      } else if (s.op === 'count') {
        tx.addCounters(s.key, [s.by])
        done.push({ did: 'add', key: s.key, by: s.by })
      } else if (s.op === 'set') {
        tx.setCounters(s.key, [[1, s.to]])
        done.push({ did: 'set', key: s.key, to: s.to })
      } else if (slots[0] === 0) {
        tx.deleteCounters(s.key)
        dropped.add(s.key)
        done.push({ did: 'drop', key: s.key })
      }
    } else if (s.op === 'bit') {
      const bitmap = await tx.bits(BIT_ROW)
      const on = bitmap === undefined || ((bitmap[mine >> 3] >> (mine & 7)) & 1) === 0
      if (on) tx.setBits(BIT_ROW, BIT_ROW_BITS, mine, 1)
      else tx.clearBits(BIT_ROW, BIT_ROW_BITS, mine, 1)
      done.push({ did: 'bit', bit: mine, on })
    } else if (s.op === 'scan') done.push({ did: 'scanned', step: s, rows: (await tx.scan(s)).map(rowText) })
    else await new Promise((resolve) => setImmediate(resolve))
  }
  return done
}

function modelScan(model: Model, range: { from: Key; to: Key; limit: number; reverse: boolean }): string[] {
  const keys = [...model.values.keys()].filter((k) => k >= range.from && k < range.to).sort()
  if (range.reverse) keys.reverse()
  return keys.slice(0, range.limit).map((k) => `${k}=${model.values.get(k)}`)
}

/** Does what a body did to the model; what it saw must be what the model shows. */
export function apply(model: Model, done: readonly Done[], alone: 'alone' | 'among others'): void {
  for (const d of done) {
    if (d.did === 'saw') assert.equal(d.value, model.values.get(d.key), `read of ${d.key}`)
    else if (d.did === 'put') model.values.set(d.key, d.value)
    else if (d.did === 'delete') model.values.delete(d.key)
    else if (d.did === 'create') {
      assert.ok(!model.counters.has(d.key), 'counters are made once')
      model.counters.set(d.key, [0, 0])
    } else if (d.did === 'bit') {
      assert.equal(model.bits.has(d.bit), !d.on)
      if (d.on) model.bits.add(d.bit)
      else model.bits.delete(d.bit)
    } else if (d.did === 'scanned') {
      if (alone === 'alone') assert.deepEqual(d.rows, modelScan(model, d.step))
    } else {
      const slots = model.counters.get(d.key)
      assert.ok(slots !== undefined, 'the guard held')
      if (d.did === 'add') slots[0] += d.by
      else if (d.did === 'set') slots[1] = d.to
      else {
        assert.equal(slots[0], 0, 'deleted at 0 only')
        model.counters.delete(d.key)
      }
    }
  }
}

/** The whole engine is what the model is: by scan, by get, forwards and backwards. */
export async function assertSame(engine: Engine, model: Model): Promise<void> {
  const reader = engine.reader(ctx)
  const rows = await reader.scan({ from: 'v', to: 'w', limit: Infinity })
  assert.deepEqual(rows.map(rowText), modelScan(model, { from: 'v', to: 'w', limit: Infinity, reverse: false }))
  const back = await reader.scan({ from: 'v', to: 'w', limit: Infinity, reverse: true })
  assert.deepEqual(back.map(rowText).reverse(), rows.map(rowText))
  for (let i = 0; i < 12; i++) {
    const key = `v${i.toString(36)}`
    const row = await reader.get(key)
    assert.equal(row === undefined ? undefined : textOf(row.bytes), model.values.get(key))
  }
  for (let i = 0; i < 3; i++) assert.deepEqual(await reader.counters(`c${i}`), model.counters.get(`c${i}`))
  const bitmap = await reader.bits(BIT_ROW)
  const set = new Set<number>()
  for (let i = 0; bitmap !== undefined && i < BIT_ROW_BITS; i++) if (((bitmap[i >> 3] >> (i & 7)) & 1) === 1) set.add(i)
  assert.deepEqual(set, model.bits)
  const all = await reader.scan({ from: 'a', to: KEY_END, limit: Infinity })
  assert.equal(all.length, model.values.size + model.counters.size + (model.bits.size > 0 ? 1 : 0), 'no row too many')
}

const maintenance = fc.constantFrom('nothing' as const, 'nothing' as const, 'checkpoint' as const, 'checkpoint beside' as const, 'reopen' as const)

export async function checkSequential(kit: EngineKit): Promise<void> {
  await fc.assert(fc.asyncProperty(fc.array(fc.tuple(body, maintenance), { maxLength: 12 }), async (program) => {
    let engine = await kit.open()
    try {
      const model = emptyModel()
      for (const [steps, then] of program) {
        apply(model, await engine.transact(ctx, (tx) => runSteps(tx, steps, 0)), 'alone')
        if (then === 'checkpoint') await engine.checkpoint()
        else if (then === 'checkpoint beside') void engine.checkpoint().catch(() => {}) // of an engine that is closed meanwhile
        else if (then === 'reopen' && kit.reopen !== undefined) {
          await engine.close()
          engine = await kit.reopen(engine)
        }
        await assertSame(engine, model)
      }
    } finally {
      await kit.drop(engine)
    }
  }), { numRuns: kit.runs })
}

export async function checkConcurrent(kit: EngineKit): Promise<void> {
  await fc.assert(fc.asyncProperty(fc.array(fc.array(body, { minLength: 2, maxLength: 6 }), { maxLength: 5 }), fc.boolean(), async (rounds, checkpoints) => {
    const engine = await kit.open()
    try {
      const model = emptyModel()
      const done = new Map<number, Done[]>()
      let number = 0
      for (const bodies of rounds) {
        const checkpoint = checkpoints ? engine.checkpoint() : Promise.resolve()
        await Promise.all(bodies.map(async (steps, mine) => {
          const id = number++
          done.set(id, await engine.transact(ctx, async (tx) => {
            tx.change(Buffer.from(`${id}`))
            return runSteps(tx, steps, mine)
          }))
        }))
        await checkpoint
      }
      const order = await engine.changes(engine.session, 1, Infinity)
      assert.deepEqual(order.map((e) => e.n), order.map((_, i) => i + 1))
      assert.equal(order.length, number, 'each body committed once')
      for (const event of order) apply(model, done.get(Number(textOf(event.bytes)))!, 'among others')
      await assertSame(engine, model)
    } finally {
      await kit.drop(engine)
    }
  }), { numRuns: kit.runs })
}
