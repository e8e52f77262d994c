/**
 * Power cuts under a volume's bytes: what a flush answered is there, and every other sector of 512 bytes is as it was or as somebody wrote it since.
 * The data floor as volumes use it, on a disk that forgets any part of what was not synced.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { rootContext as ctx, seededRandom } from '../../src/sys/index.js'
import { assertSound, cutPower, die, makeFile, makeWorld, quiet, readAll } from '../data/world.js'

const SECTOR = 512
const SECTORS = 4096 // 2 MiB: what merging takes as it comes by
const INO = 3
const VOLUME = { ...quiet, inPlace: true } as const
const range = { from: fc.integer({ min: 0, max: SECTORS - 1 }), length: fc.oneof(fc.constantFrom(1, 8), fc.integer({ min: 1, max: 300 })), aligned: fc.boolean() }
const step = fc.oneof(
  { weight: 10, arbitrary: fc.record({ op: fc.constant('write' as const), ...range }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('fill' as const), stride: fc.constantFrom(3, 5, 7, 11) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('trim' as const), ...range }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('zero' as const), ...range }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant('flush' as const) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('wait' as const), halfSeconds: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('cut' as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('die' as const) }) })

const turns = async (n: number): Promise<void> => {
  for (let i = 0; i < n; i++) await new Promise((resolve) => setImmediate(resolve))
}

test('a volume after power cuts', { timeout: 300_000 }, () =>
  fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 30 }), fc.integer({ min: 1 }), async (steps, seed) => {
    const w = await makeWorld()
    const random = seededRandom(seed)
    await makeFile(w, INO)
    await w.data.truncate(ctx, INO, SECTORS * SECTOR, VOLUME)
    await w.engine.sync(ctx)
    /** What each sector may be, newest last. */
    const may: number[][] = Array.from({ length: SECTORS }, () => [0])
    let n = 0
    const note = (from: number, to: number, value: number): void => {
      for (let i = from; i < to; i++) may[i].push(value)
    }
    const settle = async (newest: boolean): Promise<void> => {
      const bytes = await readAll(w, INO)
      assert.equal(bytes.length, SECTORS * SECTOR)
      for (let i = 0; i < SECTORS; i++) {
        const value = bytes[i * SECTOR]
        for (let at = i * SECTOR; at < (i + 1) * SECTOR; at++) if (bytes[at] !== value) assert.fail(`sector ${i} is torn`)
        if (newest ? value !== may[i].at(-1) : !may[i].includes(value)) assert.fail(`sector ${i} is ${value}, may be ${may[i].join(' ')}`)
        may[i] = newest ? may[i] : [value]
      }
      if (newest) return
      await w.data.sync(ctx, INO)
      await w.engine.sync(ctx)
    }
    for (const s of [...steps, { op: 'flush' as const }, { op: 'cut' as const }]) {
      if ('from' in s) {
        const from = s.aligned ? s.from - s.from % 8 : s.from
        const to = Math.min(SECTORS, from + (s.aligned ? Math.ceil(s.length / 8) * 8 : s.length))
        const [at, length] = [from * SECTOR, (to - from) * SECTOR]
        if (s.op === 'write') {
          n = n % 255 + 1
          note(from, to, n)
          await w.data.write(ctx, INO, at, new Uint8Array(length).fill(n), 0, length, VOLUME)
        } else {
          note(from, to, 0)
          if (s.op === 'trim') await w.data.punch(ctx, INO, at, length, VOLUME)
          else await w.data.zero(ctx, INO, at, length, true, VOLUME)
        }
      } else if (s.op === 'fill') { // every unit, in an order that is none
        n = n % 255 + 1
        for (let i = 0, unit = 0; i < SECTORS / 8; i++, unit = (unit + s.stride * 37) % (SECTORS / 8)) {
          note(unit * 8, unit * 8 + 8, n)
          await w.data.write(ctx, INO, unit * 4096, new Uint8Array(4096).fill(n), 0, 4096, VOLUME)
        }
      } else if (s.op === 'flush') {
        await w.data.sync(ctx, INO)
        await w.engine.sync(ctx)
        for (const list of may) list.splice(0, list.length - 1)
      } else if (s.op === 'wait') {
        for (let i = 0; i < s.halfSeconds; i++) {
          w.clock.advance(500)
          await turns(40)
        }
      } else if (s.op === 'die') {
        await die(w)
        await settle(true)
      } else {
        await cutPower(w, random)
        await settle(false)
        await assertSound(w)
      }
    }
  }), {
    numRuns: 25,
    examples: [[[ // written in place, by a daemon that died
      { op: 'write', from: 0, length: 1, aligned: false }, { op: 'write', from: 8, length: 1, aligned: false }, { op: 'wait', halfSeconds: 6 }, { op: 'fill', stride: 3 }, { op: 'die' }
    ], 1]]
  }))
