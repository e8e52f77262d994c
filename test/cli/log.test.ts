/** The daemon's log stays small: beyond its limit the bytes move to a second file, and stderr goes on in the first. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)

test('beyond its limit the log starts again, in place', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-log-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const fd = openSync(join(folder, 'daemon.log'), 'a', 0o600)
  const script = `
    const { daemonLog } = await import(${source('cli/daemon/log.ts')})
    const { manualClock } = await import(${source('sys/index.ts')})
    const clock = manualClock()
    const log = daemonLog(${JSON.stringify(folder)}, clock, 'file')
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 8000; i++) log.info('x'.repeat(100))
      process.stderr.write('printed by the runtime\\n')
    }
    log.info('last')`
  const ran = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script],
    { stdio: ['ignore', 'inherit', fd], cwd: fileURLToPath(new URL('../..', import.meta.url)), timeout: 60_000 })
  closeSync(fd)
  assert.equal(ran.status, 0, readFileSync(join(folder, 'daemon.log'), 'utf8').slice(-2000))
  const [now, before] = ['daemon.log', 'daemon.log.1'].map((name) => readFileSync(join(folder, name), 'utf8'))
  assert.ok(statSync(join(folder, 'daemon.log')).size < 1024 * 1024)
  const [printed, last] = now.trim().split('\n').slice(-2)
  assert.equal(printed, 'printed by the runtime')
  assert.match(last, /"msg":"last"/)
  assert.ok(before.length > 1024 * 1024 && before.length < 1024 * 1024 + 1000 && before.endsWith('}\n'), `${before.length} bytes, whole lines`)
  assert.doesNotMatch(now, /\0/)
})
