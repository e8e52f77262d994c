/**
 * In a process of its own (LMDB's own promises are nobody's, which a test runner takes for a failure): fills the disk under an engine so that
 * checkpoints find no room, then makes room. `node --import tsx test/engine/full.ts FOLDER`, on a file system of 12 MiB.
 */
import assert from 'node:assert/strict'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openLmdb } from '../../src/engine/index.js'
import { backgroundContext, PosixError, systemClock } from '../../src/sys/index.js'
import { ctx } from './suite.js'

const SIZES = { logBytes: 2 * 1024 * 1024, checkpointAtBytes: 1024 * 1024 }
const disk = process.argv[2]

const engine = await openLmdb({ folder: disk, ...SIZES })
const value = Buffer.alloc(8000, 1)
const put = (n: number, ms = 3000): Promise<string> => engine.transact(backgroundContext(undefined, systemClock.monotonicMs() + ms), (tx) => tx.put(`v${n}`, value)).then(() => 'ok', (e: unknown) => (e instanceof PosixError ? e.code : String(e)))
const ballast = join(disk, 'ballast')
const { bavail, bsize } = statfsSync(disk)
writeFileSync(ballast, Buffer.alloc(bavail * bsize - 300_000))
const kept: number[] = []
let refused = ''
for (let n = 0; n < 400 && refused === ''; n++) {
  const is = await put(n)
  if (is === 'ok') kept.push(n)
  else refused = is
}
console.log(`${kept.length} commits of 8,000 bytes, then ${refused}`)
assert.ok(kept.length > 60 && kept.length < 400, `${kept.length} commits`)
assert.equal(refused, 'EIO', 'after its deadline')
assert.equal(engine.status().failed, undefined, 'no space is a state that may pass')
assert.equal((await engine.reader(ctx).get('v0'))!.bytes.length, 8000)
rmSync(ballast)
assert.equal(await put(1000, 30_000), 'ok')
kept.push(1000)
await engine.checkpoint()
await engine.close()
const after = await openLmdb({ folder: disk, ...SIZES })
for (const n of kept) assert.equal((await after.reader(ctx).get(`v${n}`))?.bytes.length, 8000, `v${n}`)
await after.close()
