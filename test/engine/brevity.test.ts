/** Where an fdatasync of the log is called: in the tick only for who is alone, and only while it is short. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openLmdb, systemIo } from '../../src/engine/index.js'
import type { LogIo } from '../../src/engine/index.js'
import { backgroundContext, ERRNO, manualClock } from '../../src/sys/index.js'

const MIB = 1024 * 1024

async function rig(work: (r: { sync(alone: boolean): Promise<string>, take(us: number): void, fail(): void }) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-brevity-'))
  const clock = manualClock()
  let [tookMs, rc, where] = [0, 0, '']
  const called = (how: string): number => {
    clock.advance(tookMs)
    where = how
    return rc
  }
  const io: LogIo = { ...systemIo, fdatasyncNow: () => called('in the tick'), fdatasync: () => Promise.resolve(called('off the loop')) }
  const engine = await openLmdb({ folder, clock, io, logBytes: MIB })
  let n = 0
  try {
    await work({
      take: (us) => void (tookMs = us / 1000),
      fail: () => void (rc = -ERRNO.EIO),
      async sync(alone) {
        const ctx = { ...backgroundContext(), alone }
        await engine.transact(ctx, (tx) => tx.put('k', Uint8Array.of(n++ % 256)))
        where = ''
        await engine.sync(ctx)
        return where
      }
    })
  } finally {
    await engine.close()
    rmSync(folder, { recursive: true })
  }
}

test('16 short ones, then who is alone has it in the tick; one that is long, and 16 are off the loop again', () => rig(async ({ sync, take }) => {
  take(100)
  for (let i = 0; i < 16; i++) assert.equal(await sync(true), 'off the loop')
  assert.equal(await sync(true), 'in the tick')
  assert.equal(await sync(false), 'off the loop')
  take(2000)
  assert.equal(await sync(true), 'in the tick')
  take(100)
  for (let i = 0; i < 16; i++) assert.equal(await sync(true), 'off the loop')
  assert.equal(await sync(true), 'in the tick')
}))

test('one that fails in the tick fails the engine, for good', () => rig(async ({ sync, take, fail }) => {
  take(100)
  for (let i = 0; i < 16; i++) await sync(true)
  fail()
  await assert.rejects(sync(true), { code: 'EIO' })
  await assert.rejects(sync(true), { code: 'EIO' })
}))
