/** The embedded engine passes the suite, and says what is wrong with a folder that it cannot open. */
import assert from 'node:assert/strict'
import { copyFileSync, cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ERRNO, PosixError } from '../../src/sys/index.js'
import { EngineError, openLmdb, systemIo } from '../../src/engine/index.js'
import type { Engine, LmdbOptions } from '../../src/engine/index.js'
import { mapBytes } from '../../src/engine/lmdb/precheck.js'
import { newFolder } from './disk.js'
import { bytes, ctx, runSuite } from './suite.js'

const folders = new WeakMap<Engine, string>()
const SMALL = { logBytes: 512 * 1024, checkpointAtBytes: 64 * 1024 }

async function openIn(folder: string, options: Partial<LmdbOptions> = {}): Promise<Engine> {
  const engine = await openLmdb({ folder, ...SMALL, ...options })
  folders.set(engine, folder)
  return engine
}

runSuite({
  title: 'lmdb',
  runs: 25,
  open: () => openIn(newFolder()),
  reopen: (closed) => openIn(folders.get(closed)!),
  async drop(engine) {
    await engine.close()
    rmSync(folders.get(engine)!, { recursive: true })
  }
})

const refuses = (folder: string, code: string, options: Partial<LmdbOptions> = {}): Promise<void> =>
  assert.rejects(openIn(folder, options), (e) => e instanceof EngineError && e.code === code && e.message.endsWith('.'))

async function filled(): Promise<string> {
  const folder = newFolder()
  const engine = await openIn(folder)
  await engine.transact(ctx, (tx) => tx.put('va', bytes('1')))
  await engine.close()
  return folder
}

test('a pool that is open for writing is refused a second time', async () => {
  const folder = newFolder()
  const engine = await openIn(folder)
  await refuses(folder, 'ENGINE_IN_USE')
  await engine.close()
  await (await openIn(folder)).close()
})

test('the lock of a writer that was killed may outlive it a little', async () => {
  const folder = await filled()
  let tries = 0
  const engine = await openIn(folder, { io: { ...systemIo, lock: (fd) => ++tries < 5 ? -ERRNO.EAGAIN : systemIo.lock(fd) } })
  assert.equal(tries, 5)
  await engine.close()
})

test('what is missing, foreign or damaged is told', async () => {
  await refuses(newFolder(), 'ENGINE_ROWS_MISSING', { readOnly: true })
  await refuses(newFolder(), 'ENGINE_OPTIONS', { logBytes: 4096 })
  const folder = await filled()
  const log = readFileSync(join(folder, 'log'))

  rmSync(join(folder, 'log'))
  await refuses(folder, 'ENGINE_LOG_MISSING')
  const other = await filled()
  copyFileSync(join(other, 'log'), join(folder, 'log'))
  await refuses(folder, 'ENGINE_LOG_FOREIGN')
  const change = (at: number, value: number): void => {
    const copy = Buffer.from(log)
    copy[at] = value
    writeFileSync(join(folder, 'log'), copy)
  }
  change(0, 0)
  await refuses(folder, 'ENGINE_LOG_FOREIGN')
  change(8, 9)
  await refuses(folder, 'ENGINE_NEWER_FORMAT')
  for (const at of [9, 12, 16, 32, 36, 100]) {
    change(at, log[at] ^ 1)
    await assert.rejects(openIn(folder), (e) => e instanceof EngineError && (e.code === 'ENGINE_LOG_DAMAGED' || e.code === 'ENGINE_NEWER_FORMAT'))
  }
  writeFileSync(join(folder, 'log'), log.subarray(0, 100))
  await refuses(folder, 'ENGINE_LOG_DAMAGED')
  writeFileSync(join(folder, 'log'), log)

  renameSync(join(folder, 'meta'), join(folder, 'elsewhere'))
  await refuses(folder, 'ENGINE_ROWS_MISSING')
  renameSync(join(folder, 'elsewhere'), join(folder, 'meta'))
  await (await openIn(folder)).close()
})

test('a damaged LMDB file is told', async () => {
  const folder = await filled()
  const path = join(folder, 'meta', 'data.mdb')
  const good = readFileSync(path)
  for (const bad of [Buffer.alloc(65536, 1), Buffer.alloc(65536), Buffer.alloc(0), good.subarray(0, 100), good.subarray(0, 8192), good.subarray(4096)]) {
    writeFileSync(path, bad)
    await refuses(folder, 'ENGINE_ROWS_DAMAGED')
  }
  const newer = Buffer.from(good)
  newer[28] = 9
  writeFileSync(path, newer)
  await refuses(folder, 'ENGINE_NEWER_FORMAT')
  rmSync(path)
  await refuses(folder, 'ENGINE_ROWS_MISSING')
})

test('the map takes 1 TiB, or a quarter of a limited address space', () => {
  assert.equal(mapBytes('Max address space         unlimited            unlimited            bytes'), 2 ** 40)
  assert.equal(mapBytes('Max cpu time 5\nMax address space         4294967296            4294967296            bytes'), 2 ** 30)
})

test('a pool whose making was cut short is made anew', async () => {
  const folder = await filled()
  renameSync(join(folder, 'meta'), join(folder, 'meta.new'))
  const engine = await openIn(folder)
  assert.equal(engine.session, 1)
  assert.ok(!existsSync(join(folder, 'meta.new')))
  await engine.close()
})

test('read-only: the log is replayed, nothing is written', async () => {
  const folder = newFolder()
  const writer = await openIn(folder)
  await writer.transact(ctx, (tx) => tx.put('va', bytes('1')))
  await writer.checkpoint()
  await writer.transact(ctx, (tx) => tx.put('vb', bytes('2')))
  const copy = newFolder()
  cpSync(folder, copy, { recursive: true })
  await writer.close()
  const before = readFileSync(join(copy, 'meta', 'data.mdb'))
  const engine = await openIn(copy, { readOnly: true })
  assert.equal(engine.recovery.replayedRecords, 1)
  assert.equal(engine.recovery.clean, false)
  const rows = await engine.reader(ctx).scan({ from: 'v', to: 'w', limit: 9 })
  assert.deepEqual(rows.map((r) => r.key), ['va', 'vb'])
  await assert.rejects(engine.transact(ctx, (tx) => tx.put('vc', bytes('3'))), (e) => e instanceof PosixError && e.code === 'EROFS')
  await engine.close()
  assert.deepEqual(readFileSync(join(copy, 'meta', 'data.mdb')), before)
})
