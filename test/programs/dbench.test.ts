/** dbench: a file server's day, replayed by a few clients; every operation must end as its script says. */
import assert from 'node:assert/strict'
import { programTest } from './mount.js'
import { run } from './run.js'

for (const more of [[], ['--sync-dir'], ['--fsync']])
  programTest(`dbench: 4 clients ${more.join(' ')}`, {}, async ({ dir }) => {
    const { stdout } = await run('dbench', ['-c', '/usr/share/dbench/client.txt', '-D', dir, '-t', '4', ...more, '4'], { timeoutMs: 90_000 })
    assert.match(stdout, /Throughput [\d.]+ MB\/sec/)
    assert.deepEqual(stdout.split('\n').filter((line) => /failed|ERROR/i.test(line)), [])
  })
