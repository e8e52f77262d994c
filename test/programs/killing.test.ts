/** kill -9 of the daemon under git, SQLite, PostgreSQL and fio, a few times; bench/soak does it by the hundred. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cannotMount } from '../fuse/mounted.js'
import { killPrograms } from './killing.js'

test('kill -9 under git, SQLite, PostgreSQL and fio: what they were told is there', { skip: cannotMount, timeout: 120_000 }, async (t) => {
  assert.deepEqual(await killPrograms({ count: Number(process.env['OGEE_KILLS'] ?? 4), seed: 1, report: (text) => t.diagnostic(text) }), [])
})
