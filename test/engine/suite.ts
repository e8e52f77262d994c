/**
 * What every engine must do: one table of cases, and generated programs against a plain model (model.ts). An engine's test
 * file says how to open it; that is all it knows of the cases.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PosixError, rootContext } from '../../src/sys/index.js'
import type { Context } from '../../src/sys/index.js'
import { keySuccessor, KEY_END, prefixEnd, prefixRange, RunAfter } from '../../src/engine/index.js'
import type { Engine, Key, MaybePromise, Tx } from '../../src/engine/index.js'
import { checkConcurrent, checkSequential } from './model.js'

export interface EngineKit {
  readonly title: string
  open(): Promise<Engine>
  /** The state of a closed engine, opened again; undefined: it keeps none. */
  reopen?(closed: Engine): Promise<Engine>
  /** Closes and removes. */
  drop(engine: Engine): Promise<void>
  /** Generated programs per property. */
  readonly runs: number
}

export const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')
export const ctx: Context = { ...rootContext, deadlineMs: Infinity }

type Shown = Readonly<Record<Key, string | readonly number[]>>
type Body = (tx: Tx) => MaybePromise<unknown>

export interface EngineCase {
  readonly title: string
  readonly before?: Body
  /** Commits after the body's first run has read and before it commits; `races` says after how many runs. */
  readonly race?: Body
  readonly races?: number
  readonly body: Body
  readonly returns?: unknown
  readonly throws?: string
  readonly after?: Shown
  readonly runs?: number
}

const text = async (tx: Tx, key: Key): Promise<string | undefined> => {
  const row = await tx.get(key)
  return row === undefined ? undefined : Buffer.from(row.bytes).latin1Slice()
}
const put = (...pairs: string[]): Body => (tx) => {
  for (let i = 0; i < pairs.length; i += 2) tx.put(pairs[i], bytes(pairs[i + 1]))
}
const copy = (from: Key, to: Key): Body => async (tx) => tx.put(to, bytes(`${await text(tx, from)}`))
const keys = async (tx: Tx, from: Key, to: Key, limit = 100, reverse = false): Promise<string> =>
  (await tx.scan({ from, to, limit, reverse })).map((r) => r.key).join(' ')
const both = (...bodies: Body[]): Body => async (tx) => {
  for (const body of bodies) await body(tx)
}
const bitList = (bitmap: Uint8Array | undefined): number[] | undefined => {
  if (bitmap === undefined) return undefined
  const set: number[] = []
  for (let i = 0; i < bitmap.length * 8; i++) if (((bitmap[i >> 3] >> (i & 7)) & 1) === 1) set.push(i)
  return set
}

export const cases: readonly EngineCase[] = [
  // value rows
  { title: 'a put is there afterwards', body: put('va', '1'), after: { va: '1' }, runs: 1 },
  { title: 'an empty value is a value', body: put('va', ''), after: { va: '' } },
  { title: 'any byte is good in a key and in a value', body: put('v\u0000\u00ff', '\u0000\u00ff'), after: { 'v\u0000\u00ff': '\u0000\u00ff' } },
  { title: 'a body sees its own writes', body: async (tx) => (tx.put('va', bytes('1')), tx.delete('vb'), [await text(tx, 'va'), await text(tx, 'vb')]),
    before: put('vb', '1'), returns: ['1', undefined], after: { va: '1' } },
  { title: 'a miss is a value, not an error', body: (tx) => text(tx, 'va'), returns: undefined, after: {} },
  { title: 'what a body throws is thrown, and nothing of it stays', before: put('va', '1'),
    body: (tx) => { tx.put('va', bytes('2')); throw new PosixError('ENOENT') }, throws: 'ENOENT', after: { va: '1' } },
  { title: 'a body whose read went stale runs again', before: put('va', '1'), race: put('va', '2'), body: copy('va', 'vb'), after: { va: '2', vb: '2' }, runs: 2 },
  { title: 'a read of a row that was made since is stale', race: put('va', '2'), body: copy('va', 'vb'), after: { va: '2', vb: '2' }, runs: 2 },
  { title: 'a read of a row that was deleted since is stale', before: put('va', '1'), race: (tx) => tx.delete('va'), body: copy('va', 'vb'), after: { vb: 'undefined' }, runs: 2 },
  { title: 'a row written since and not read makes nothing stale', before: put('va', '1'), race: put('vc', '2'), body: copy('va', 'vb'), after: { va: '1', vb: '1', vc: '2' }, runs: 1 },
  { title: 'a put without a read is never stale', race: put('va', '2'), body: put('va', '3'), after: { va: '3' }, runs: 1 },
  { title: 'a body without writes answers one state', before: put('va', '1'), race: put('va', '2'), body: (tx) => text(tx, 'va'), returns: '2', after: { va: '2' }, runs: 2 },
  { title: 'an error that a stale read led to is not thrown', before: put('va', '1'), race: (tx) => tx.delete('va'), returns: 'gone', runs: 2,
    body: async (tx) => { if (await text(tx, 'va') !== undefined) throw new PosixError('EEXIST'); return 'gone' }, after: {} },
  { title: 'a body that loses again and again runs alone', before: put('va', '0'), race: async (tx) => tx.put('va', bytes(`${Number(await text(tx, 'va')) + 1}`)), races: 3,
    body: copy('va', 'vb'), after: { va: '3', vb: '3' }, runs: 4 },
  // ranges
  { title: 'a scan stops before its end key', before: put('va', '1', 'vb', '2'), body: (tx) => keys(tx, 'va', 'vb'), returns: 'va' },
  { title: 'a scan starts at its first key', before: put('va', '1', 'vb', '2'), body: (tx) => keys(tx, 'vb', 'vz'), returns: 'vb' },
  { title: 'a scan gives no more than its limit', before: put('va', '1', 'vb', '2', 'vc', '3'), body: (tx) => keys(tx, 'va', 'vz', 2), returns: 'va vb' },
  { title: 'a scan of nothing gives nothing', before: put('va', '1'), body: (tx) => keys(tx, 'vb', 'va'), returns: '' },
  { title: 'a reverse scan starts below its end and stops at its start', before: put('va', '1', 'vb', '2', 'vc', '3'), body: (tx) => keys(tx, 'va', 'vc', 9, true), returns: 'vb va' },
  { title: 'a scan is in byte order', before: put('v\u00ff', '1', 'v', '2', 'v\u0000', '3', 'v\u007f', '4'), body: (tx) => keys(tx, 'v', KEY_END), returns: 'v v\u0000 v\u007f v\u00ff' },
  { title: 'a scan sees own puts and deletes', before: put('va', '1', 'vb', '2', 'vd', '4'), returns: 'va vc vd|vd vc|va',
    body: async (tx) => {
      tx.delete('vb')
      tx.put('vc', bytes('3'))
      return `${await keys(tx, 'va', 'vz')}|${await keys(tx, 'va', 'vz', 2, true)}|${await keys(tx, 'va', 'vz', 1)}`
    } },
  { title: 'a scan that a race changed makes no conflict', before: put('va', '1'), race: put('vb', '2'), runs: 1, returns: 'va',
    body: async (tx) => { const seen = await keys(tx, 'va', 'vz'); tx.put('vz', bytes(seen)); return seen }, after: { va: '1', vb: '2', vz: 'va' } },
  { title: 'a scan shows counter rows and bit rows too', before: both((tx) => tx.createCounters('ca', [1, -2]), (tx) => tx.setBits('ba', 9, 8, 1), put('va', 'x')), returns: [[0, 1], [1, -2], 'x'],
    body: async (tx) => {
      const [ba, ca, va] = await tx.scan({ from: 'a', to: 'z', limit: 9 })
      return [[...ba.row.bytes], ca.row.decoded, Buffer.from(va.row.bytes).latin1Slice()]
    } },
  // counter rows
  { title: 'counters are made with their slots', body: (tx) => tx.createCounters('ca', [1, -2, 2 ** 53 - 1]), after: { ca: [1, -2, 9007199254740991] } },
  { title: 'deltas add up, in one body and in several', before: (tx) => tx.createCounters('ca', [1, 1]), race: (tx) => tx.addCounters('ca', [10]), runs: 1,
    body: (tx) => { tx.addCounters('ca', [1, 2]); tx.addCounters('ca', [1]) }, after: { ca: [13, 3] } },
  { title: 'a body sees its deltas', before: (tx) => tx.createCounters('ca', [5]), returns: [7], body: (tx) => { tx.addCounters('ca', [2]); return tx.counters('ca') }, after: { ca: [7] } },
  { title: 'a body sees the counters that it made', returns: [7], body: (tx) => { tx.createCounters('ca', [5]); tx.addCounters('ca', [2]); return tx.counters('ca') }, after: { ca: [7] } },
  { title: 'a delta beyond the last slot makes slots', before: (tx) => tx.createCounters('ca', [1]), body: (tx) => tx.addCounters('ca', [0, 0, 5]), after: { ca: [1, 0, 5] } },
  { title: 'a slot that is set forgets what was there, deltas of the body too', before: (tx) => tx.createCounters('ca', [5, 5]), race: (tx) => tx.addCounters('ca', [1, 1]), runs: 1,
    body: (tx) => { tx.addCounters('ca', [1, 1]); tx.setCounters('ca', [[1, 100]]); tx.addCounters('ca', [1, 1]) }, after: { ca: [8, 101] } },
  { title: 'counters that are read make nothing stale', before: (tx) => tx.createCounters('ca', [1]), race: (tx) => tx.addCounters('ca', [1]), runs: 1,
    body: async (tx) => tx.put('va', bytes(`${(await tx.counters('ca'))?.[0]}`)), after: { ca: [2], va: '1' } },
  { title: 'a guard that is gone makes the body run again', before: (tx) => tx.createCounters('ca', [0]), race: (tx) => tx.deleteCounters('ca'), runs: 2, throws: 'ENOENT',
    body: async (tx) => { if ((await tx.counters('ca')) === undefined) throw new PosixError('ENOENT'); tx.guard('ca'); tx.put('va', bytes('1')) }, after: {} },
  { title: 'a delta to a row that is gone makes the body run again', before: (tx) => tx.createCounters('ca', [0]), race: (tx) => tx.deleteCounters('ca'), runs: 2, returns: 'gone',
    body: async (tx) => { if ((await tx.counters('ca')) === undefined) return 'gone'; tx.addCounters('ca', [1]); return 'there' }, after: {} },
  { title: 'two that make the same counters: the second runs again', race: (tx) => tx.createCounters('ca', [1]), runs: 2,
    body: async (tx) => { if ((await tx.counters('ca')) === undefined) tx.createCounters('ca', [5]); else tx.addCounters('ca', [5]) }, after: { ca: [6] } },
  { title: 'counters are deleted only when slot 0 is 0', before: (tx) => tx.createCounters('ca', [0, 3]), race: (tx) => tx.addCounters('ca', [1]), runs: 2, throws: 'ENOTEMPTY',
    body: async (tx) => { if ((await tx.counters('ca'))![0] !== 0) throw new PosixError('ENOTEMPTY'); tx.deleteCounters('ca') }, after: { ca: [1, 3] } },
  { title: 'a guard of slot 0 makes the body run again when somebody else added to it', before: (tx) => tx.createCounters('ca', [1, 3]), race: (tx) => tx.addCounters('ca', [1]), runs: 2,
    body: async (tx) => { const n = (await tx.counters('ca'))![0]; tx.addCounters('ca', [-n]); tx.guardExactly('ca', 0) }, after: { ca: [0, 3] } },
  { title: 'the deltas of the body count before its delete', before: (tx) => tx.createCounters('ca', [1]), body: (tx) => { tx.addCounters('ca', [-1]); tx.deleteCounters('ca') }, after: {} },
  { title: 'a body that relies on what is not there ends with EIO, not never', body: (tx) => tx.guard('ca'), throws: 'EIO', after: {} },
  { title: 'counters that a body makes and deletes were never there', body: (tx) => { tx.createCounters('ca', [0]); tx.deleteCounters('ca') }, after: {} },
  // bit rows
  { title: 'bits come with the first set bit', body: async (tx) => { tx.setBits('ba', 20, 3, 9); return bitList(await tx.bits('ba')) }, returns: [3, 4, 5, 6, 7, 8, 9, 10, 11], after: { ba: [3, 4, 5, 6, 7, 8, 9, 10, 11] } },
  { title: 'bits go with the last clear', before: (tx) => tx.setBits('ba', 20, 0, 20), body: (tx) => { tx.clearBits('ba', 20, 0, 13); tx.clearBits('ba', 20, 13, 7) }, after: {} },
  { title: 'bits of several commits make no conflict', race: (tx) => tx.setBits('ba', 20, 0, 2), runs: 1, body: (tx) => tx.setBits('ba', 20, 2, 2), after: { ba: [0, 1, 2, 3] } },
  { title: 'bits set and cleared in one body', before: (tx) => tx.setBits('ba', 20, 0, 2), body: (tx) => { tx.clearBits('ba', 20, 0, 1); tx.setBits('ba', 20, 0, 1); tx.setBits('ba', 20, 19, 1) }, after: { ba: [0, 1, 19] } },
  { title: 'setting a set bit fails the commit', before: (tx) => tx.setBits('ba', 20, 5, 1), body: (tx) => { tx.put('va', bytes('1')); tx.setBits('ba', 20, 4, 3) }, throws: 'EIO', after: { ba: [5] } },
  { title: 'clearing a clear bit fails the commit', before: (tx) => tx.setBits('ba', 20, 5, 1), body: (tx) => tx.clearBits('ba', 20, 5, 2), throws: 'EIO', after: { ba: [5] } },
  { title: 'clearing bits of no row fails the commit', body: (tx) => tx.clearBits('ba', 20, 5, 2), throws: 'EIO', after: {} }
]

async function shown(engine: Engine): Promise<Record<Key, string | number[]>> {
  const out: Record<Key, string | number[]> = {}
  for (const { key, row } of await engine.reader(ctx).scan({ from: 'a', to: KEY_END, limit: Infinity })) {
    out[key] = key[0] === 'c' ? [...(await engine.reader(ctx).counters(key))!] : key[0] === 'b' ? bitList(await engine.reader(ctx).bits(key))! : Buffer.from(row.bytes).latin1Slice()
  }
  return out
}

async function check(engine: Engine, c: EngineCase, maintain: (engine: Engine) => Promise<Engine>): Promise<void> {
  if (c.before !== undefined) await engine.transact(ctx, c.before)
  engine = await maintain(engine)
  let runs = 0
  const races = c.race === undefined ? 0 : (c.races ?? 1)
  const run = engine.transact(ctx, async (tx) => {
    const mine = ++runs
    try {
      return await c.body(tx)
    } finally { // a body that throws is raced too
      if (mine <= races) await engine.transact(ctx, c.race!)
    }
  })
  if (c.throws !== undefined) await assert.rejects(run, (e) => e instanceof PosixError && e.code === c.throws)
  else assert.deepEqual(await run, 'returns' in c ? c.returns : await run)
  if (c.runs !== undefined) assert.equal(runs, c.runs, 'runs of the body')
  if (c.after === undefined) return
  assert.deepEqual(await shown(engine), c.after)
  engine = await maintain(engine)
  assert.deepEqual(await shown(engine), c.after, 'and still after maintenance')
}

export function runSuite(kit: EngineKit): void {
  describe(`engine suite: ${kit.title}`, () => {
    const open = async <T>(use: (engine: Engine) => Promise<T>): Promise<T> => {
      const engine = await kit.open()
      try {
        return await use(engine)
      } finally {
        await kit.drop(engine)
      }
    }
    describe('cases', () => {
      for (const c of cases) test(c.title, () => open((engine) => check(engine, c, async (e) => e)))
    })
    describe('cases, with checkpoints between', () => {
      for (const c of cases) test(c.title, () => open((engine) => check(engine, c, async (e) => (await e.checkpoint(), e))))
    })
    test('generated bodies one after another do what the model does', () => checkSequential(kit))
    test('generated bodies at once are as if one after another', () => checkConcurrent(kit))

    test('changes are numbered without a gap, in commit order', () => open(async (engine) => {
      for (let i = 1; i <= 5; i++) {
        await engine.transact(ctx, (tx) => {
          tx.change(bytes(`a${i}`))
          tx.change(bytes(`b${i}`))
        })
        if (i === 3) await engine.checkpoint()
      }
      await engine.transact(ctx, (tx) => { tx.change(bytes('lost')); throw new PosixError('EPERM') }).catch(() => {})
      const seen = await engine.changes(engine.session, 2, 100)
      assert.deepEqual(seen.map((e) => `${e.n}${Buffer.from(e.bytes).latin1Slice()}`), ['2b1', '3a2', '4b2', '5a3', '6b3', '7a4', '8b4', '9a5', '10b5'])
      assert.equal((await engine.changes(engine.session, 2, 3)).length, 3)
      assert.equal((await engine.changes(engine.session + 1, 1, 3)).length, 0)
    }))

    test('a result is kept with its commit', () => open(async (engine) => {
      const answer = await engine.transact(ctx, (tx) => (tx.put('va', bytes('1')), 42), { id: '\u0001\u00ff', encodeResult: (n) => bytes(`${n}`) })
      assert.equal(answer, 42)
      assert.deepEqual(Buffer.from(engine.answered(engine.session, '\u0001\u00ff')!).latin1Slice(), '42')
      assert.equal(engine.answered(engine.session, '\u0001'), undefined)
      await engine.transact(ctx, (tx) => { tx.put('va', bytes('2')); throw new PosixError('EPERM') }, { id: 'x', encodeResult: () => bytes('') }).catch(() => {})
      assert.equal(engine.answered(engine.session, 'x'), undefined)
    }))

    test('the newest 4,096 results are kept', () => open(async (engine) => {
      const runs: Promise<unknown>[] = []
      for (let i = 0; i < 4100; i++) {
        runs.push(engine.transact(ctx, (tx) => tx.put('va', bytes(`${i}`)), { id: `${i}`, encodeResult: () => bytes(`r${i}`) }))
        if (i % 100 === 0) await Promise.all(runs)
      }
      await Promise.all(runs)
      let kept = 0
      for (let i = 0; i < 4100; i++) if (engine.answered(engine.session, `${i}`) !== undefined) kept++
      assert.equal(kept, 4096)
    }))

    test('sync makes what was committed durable', () => open(async (engine) => {
      await engine.transact(ctx, put('va', '1'))
      const seq = engine.committedSeq()
      await Promise.all([engine.sync(ctx), engine.sync(ctx)])
      assert.ok(engine.durableSeq() >= seq)
    }))

    test('a deadline that passed ends a transaction with EIO', () => open(async (engine) => {
      const late = { ...ctx, deadlineMs: 0 }
      await assert.rejects(engine.transact(late, (tx) => tx.guard('ca')), (e) => e instanceof PosixError && e.code === 'EIO')
    }))

    test('a read that went stale before a checkpoint is stale after it', () => open(async (engine) => {
      await engine.transact(ctx, put('va', '1'))
      let runs = 0
      await engine.transact(ctx, async (tx) => {
        const seen = await text(tx, 'va')
        if (++runs === 1) {
          await engine.transact(ctx, put('va', '2'))
          await engine.checkpoint()
        }
        tx.put('vb', bytes(`${seen}`))
      })
      assert.deepEqual([runs, await shown(engine)], [2, { va: '2', vb: '2' }])
    }))

    test('what a reader was given never changes', () => open(async (engine) => {
      await engine.transact(ctx, both(put('va', '1'), (tx) => tx.createCounters('ca', [1]), (tx) => tx.setBits('ba', 8, 0, 1)))
      const reader = engine.reader(ctx)
      const [row, slots, bits] = [await reader.get('va'), await reader.counters('ca'), await reader.bits('ba')]
      await engine.transact(ctx, both(put('va', '2'), (tx) => tx.addCounters('ca', [1]), (tx) => tx.setBits('ba', 8, 1, 1)))
      assert.equal(Buffer.from(row!.bytes).latin1Slice(), '1')
      assert.deepEqual(slots, [1])
      assert.deepEqual([...bits!], [1])
    }))

    test('what a body needs first is done, and the body runs again', () => open(async (engine) => {
      let asked = 0
      const first = async (): Promise<void> => {
        asked++
        await engine.transact(ctx, put('va', '1'))
      }
      const body = async (tx: Tx): Promise<string> => {
        const found = await text(tx, 'va')
        if (found === undefined) throw new RunAfter(first)
        tx.put('vb', bytes('2'))
        return found
      }
      assert.equal(await engine.transact(ctx, body), '1')
      assert.equal(asked, 1)
      assert.deepEqual(await shown(engine), { va: '1', vb: '2' })
    }))

    test('what a body needs first is done though the body ran alone', () => open(async (engine) => {
      await engine.transact(ctx, put('va', '0'))
      let runs = 0
      const value = await engine.transact(ctx, async (tx) => {
        const found = await text(tx, 'va')
        if (++runs <= 3) await engine.transact(ctx, put('va', `${runs}`)) // loses
        else if (found === '3') throw new RunAfter(async () => void (await engine.transact(ctx, put('va', 'done'))))
        tx.put('vb', bytes('2'))
        return found
      })
      assert.equal(value, 'done')
    }))

    test('decoded stays with a row that is read again and again', () => open(async (engine) => {
      const read = async () => (await engine.reader(ctx).get('va'))!
      await engine.transact(ctx, (tx) => tx.put('va', bytes('1'), 'first'))
      for (let i = 0; i < 3; i++) (await read()).decoded ??= 'first'
      assert.equal((await read()).decoded, 'first')
      await engine.transact(ctx, (tx) => tx.put('va', bytes('2'), 'second'))
      assert.equal((await read()).decoded, 'second')
    }))

    test('checkpoint hooks run before, and may transact', () => open(async (engine) => {
      let ran = 0
      engine.onBeforeCheckpoint(async (hookCtx) => {
        ran++
        await engine.transact(hookCtx, put('vh', `${ran}`))
      })
      await engine.transact(ctx, put('va', '1'))
      await engine.checkpoint()
      assert.equal(ran, 1)
      assert.deepEqual(await shown(engine), { va: '1', vh: '1' })
    }))

    const { reopen } = kit
    if (reopen !== undefined) {
      test('everything is there when it is opened again, and the session grew', async () => {
        let engine = await kit.open()
        const { session } = engine
        await engine.transact(ctx, both(put('va', '1', 've', ''), (tx) => tx.createCounters('ca', [1, -5]), (tx) => tx.setBits('ba', 9, 1, 3), (tx) => tx.change(bytes('e'))), { id: 'r', encodeResult: () => bytes('res') })
        await engine.close()
        await engine.close()
        await assert.rejects(engine.transact(ctx, put('va', '2')), (e) => e instanceof PosixError && e.code === 'EIO')
        engine = await reopen(engine)
        assert.equal(engine.session, session + 1)
        assert.equal(engine.recovery.clean, true)
        assert.deepEqual(await shown(engine), { va: '1', ve: '', ca: [1, -5], ba: [1, 2, 3] })
        assert.equal(Buffer.from(engine.answered(session, 'r')!).latin1Slice(), 'res')
        assert.equal((await engine.changes(session, 1, 9)).length, 1)
        await kit.drop(engine)
      })
    }
  })

  test('ranges of keys', () => {
    assert.equal(keySuccessor('a'), 'a\u0000')
    assert.equal(prefixEnd('a\u00ff\u00ff'), 'b')
    assert.equal(prefixEnd('\u00ff'), undefined)
    assert.deepEqual(prefixRange('ab'), { from: 'ab', to: 'ac', limit: Infinity })
    assert.ok('\u00ff'.repeat(1024) < KEY_END)
  })
}
