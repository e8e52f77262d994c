/**
 * Flipped bits in LMDB's file: no get, no scan ever gives a wrong value; a scan that misses rows, or a process that ends, comes only of
 * pages that the walk (pages.ts) calls damaged, and a get that misses one of those, or of a key whose row gives an error in every scan.
 * LMDB has no checksum over keys and pages; docs/reliability.md says how often that matters.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openLmdb } from '../../src/engine/index.js'
import { manualClock } from '../../src/sys/index.js'
import { newFolder } from './disk.js'
import { ctx } from './suite.js'

const FLIPS = 40
const FIRST_FLIPS = 150 // of 2,688 bits
const top = newFolder()

before(async () => {
  mkdirSync(join(top, 'pool'))
  const engine = await openLmdb({ folder: join(top, 'pool'), logBytes: 256 * 1024, clock: manualClock(), bootId: 'one' })
  const rows: Record<string, string> = {}
  for (let i = 0; i < 1000; i++) {
    const key = `k${String((i * 7919) % 1000).padStart(6, '0')}`
    rows[key] = `${key}:`.repeat(1 + (i % 12)) + (i % 500 === 0 ? 'x'.repeat(9000) : '')
    await engine.transact(ctx, (tx) => tx.put(key, Buffer.from(rows[key])))
  }
  await engine.close()
  writeFileSync(join(top, 'rows.json'), JSON.stringify(rows), 'latin1')
})
after(() => rmSync(top, { recursive: true }))

interface Told {
  readonly n: number
  readonly walk?: readonly string[]
  readonly is?: string
}

/** What became of each flip, how often. */
function flip(t: TestContext, seed: string, count: number): Record<string, number> {
  const tally: Record<string, number> = {}
  for (let from = 0; from < count; ) {
    const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('flipped.ts', import.meta.url)), top, 'meta/data.mdb', seed, String(from), String(count)], { encoding: 'utf8', timeout: 80_000 })
    const told = stdout.trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Told)
    assert.ok(told.length > 0, stderr)
    told.forEach(({ n, walk }, i) => {
      if (walk === undefined) return
      const is = told[i + 1]?.is ?? 'process ended'
      if (walk.length === 0) assert.match(is, /^(right|error|get: missing, and errors)$/, `flip ${n} of ${seed}`)
      assert.doesNotMatch(is, /get: wrong|unexpected/, `flip ${n} of ${seed}`)
      const name = `${is}${walk.length > 0 ? ', told by the walk' : ''}`
      tally[name] = (tally[name] ?? 0) + 1
    })
    from = told[told.length - 1].n + 1
  }
  t.diagnostic(JSON.stringify(tally))
  return tally
}

test("flipped bits in LMDB's file give errors, never wrong values", { timeout: 90_000 }, (t) => {
  assert.ok(flip(t, '1', FLIPS)['error'] > FLIPS / 4)
})

test("flipped bits in LMDB's two first pages never end the process", { timeout: 90_000 }, (t) => {
  const tally = flip(t, 'first', FIRST_FLIPS)
  for (const is of Object.keys(tally)) assert.doesNotMatch(is, /ended|missing/)
  assert.ok(tally['error, told by the walk'] > FIRST_FLIPS / 4)
})
