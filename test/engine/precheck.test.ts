/** LMDB's file may end before its last pages: those that a transaction took and gave back were never written. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readSync, statSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { EngineError, openLmdb } from '../../src/engine/index.js'
import { manualClock } from '../../src/sys/index.js'
import { newFolder } from './disk.js'
import { bytes, ctx } from './suite.js'

const LAST_PAGE_AT = 144
const PAGE_BYTES = 4096

async function made(): Promise<string> {
  const folder = newFolder()
  const engine = await openLmdb({ folder, logBytes: 256 * 1024, clock: manualClock() })
  for (let n = 0; n < 200; n++) await engine.transact(ctx, (tx) => tx.put(`v${n}`, bytes('x'.repeat(500))))
  await engine.close()
  return folder
}

/** Both meta pages say so many pages more. */
function claim(folder: string, more: number): void {
  const fd = openSync(join(folder, 'meta', 'data.mdb'), 'r+')
  const last = Buffer.alloc(8)
  for (const page of [0, PAGE_BYTES]) {
    readSync(fd, last, 0, 8, page + LAST_PAGE_AT)
    last.writeUInt32LE(last.readUInt32LE(0) + more, 0)
    writeSync(fd, last, 0, 8, page + LAST_PAGE_AT)
  }
  closeSync(fd)
}

test('a file that ends a few free pages early is whole', async () => {
  const folder = await made()
  claim(folder, 3)
  for (const readOnly of [true, false]) {
    const engine = await openLmdb({ folder, readOnly, clock: manualClock() })
    assert.equal((await engine.reader(ctx).scan({ from: 'v', to: 'w', limit: Infinity })).length, 200)
    if (!readOnly) for (let n = 0; n < 50; n++) await engine.transact(ctx, (tx) => tx.put(`w${n}`, bytes('y'.repeat(900))))
    await engine.close()
  }
  const after = await openLmdb({ folder, clock: manualClock() })
  assert.equal((await after.reader(ctx).scan({ from: 'v', to: 'x', limit: Infinity })).length, 250)
  await after.close()
})

test('a file that was cut is told', async () => {
  const folder = await made()
  const file = join(folder, 'meta', 'data.mdb')
  truncateSync(file, 2 * PAGE_BYTES)
  claim(folder, 1000)
  await assert.rejects(openLmdb({ folder, clock: manualClock() }), (e) => e instanceof EngineError && e.code === 'ENGINE_ROWS_DAMAGED')
  assert.equal(statSync(file).size, 2 * PAGE_BYTES, 'nothing was changed')
})

test('where descriptors run out it is told, and the process lives', { timeout: 60_000 }, () => {
  const said = execFileSync('sh', ['-c', 'ulimit -n 200; exec "$0" --import tsx "$1" "$2"', process.execPath, fileURLToPath(new URL('./crowded.ts', import.meta.url)), newFolder()], { encoding: 'utf8' })
  const { opened, refused } = JSON.parse(said) as { opened: number, refused: number }
  assert.ok(opened > 0 && refused > 0, said)
})
