/**
 * Flipped bits in LMDB's file: no get, no scan ever gives a wrong value. LMDB has no checksum over keys and pages: a get may miss a row whose
 * key was flipped (scans and fsck tell it), and a page that leads nowhere may end the process; docs/reliability.md says how often.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLmdb } from '../../src/engine/index.js'
import { manualClock } from '../../src/sys/index.js'
import { newFolder } from './disk.js'
import { ctx } from './suite.js'

const FLIPS = 40

test('flipped bits in LMDB\'s file give errors, never wrong values', { timeout: 90_000 }, async (t) => {
  const top = newFolder()
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
  const tally: Record<string, number> = {}
  for (let from = 0; from < FLIPS; ) {
    const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', new URL('flipped.ts', import.meta.url).pathname, top, 'meta/data.mdb', '1', String(from), String(FLIPS)], { encoding: 'utf8', timeout: 60_000 })
    const told = stdout.trim().split('\n').map((line) => JSON.parse(line) as { n: number; is?: string })
    for (const { is } of told) if (is !== undefined) tally[is] = (tally[is] ?? 0) + 1
    const last = told[told.length - 1]
    if (last.is === undefined) tally['process ended'] = (tally['process ended'] ?? 0) + 1
    from = last.n + 1
  }
  rmSync(top, { recursive: true })
  t.diagnostic(JSON.stringify(tally))
  for (const is of Object.keys(tally)) assert.doesNotMatch(is, /wrong|unexpected/)
  assert.ok(tally['error'] > FLIPS / 4)
})
