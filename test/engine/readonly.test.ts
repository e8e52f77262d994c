/** A reader in another process sees one whole state while the writer commits, checkpoints and goes around its log. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openLmdb } from '../../src/engine/index.js'
import { rootContext as ctx } from '../../src/sys/index.js'

test('a read-only engine beside a writer shows one committed state', { timeout: 60_000 }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-readonly-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const engine = await openLmdb({ folder, logBytes: 1024 * 1024, checkpointAtBytes: 200_000 })
  const commit = (): Promise<void> => engine.transact(ctx, async (tx) => {
    const n = Number(Buffer.from((await tx.get('l'))?.bytes ?? Buffer.from('0')).toString()) + 1
    tx.addCounters('u', [1])
    tx.addCounters('z', [1])
    tx.put(`k${n % 3000}`, Buffer.alloc(300, 1))
    tx.put('l', Buffer.from(String(n)))
  })
  await engine.transact(ctx, (tx) => {
    tx.createCounters('u', [0])
    tx.createCounters('z', [0])
  })
  await commit()
  const child = spawn(process.execPath, [...process.execArgv.filter((a) => !a.startsWith('--test')), '--import', 'tsx', fileURLToPath(new URL('./reader.ts', import.meta.url)), folder, '25'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
  let running = true
  void ended.then(() => (running = false))
  while (running) {
    for (let n = 0; n < 20; n++) await commit()
    await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(await ended, 0)
  assert.ok(engine.status().checkpoints > 10, 'checkpoints ran meanwhile')
  await engine.close()
})
