/** Times of writes in place: they move in ticks of 4 ms, and nobody can tell (src/data/times.ts). */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import type { Engine } from '../../src/engine/index.js'
import { openPool } from '../../src/pool/index.js'
import { manualClock, rootContext as root, systemRandom } from '../../src/sys/index.js'
import { ROOT_NODE, SET_MODE, SET_MTIME } from '../../src/vfs/index.js'

const BLOCK = 128 * 1024
const HOW = { killSuidgid: false, append: false }
const SET = { valid: 0, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }
const MS = 1_000_000

/** A file of 1 MiB that is synced, last written at 0 ms, in a pool whose clock stands still. */
async function setUp(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-times-'))
  const clock = manualClock()
  let engine!: Engine
  const pool = await openPool(folder, { clock, random: systemRandom, note: () => undefined, vfs: {}, seams: { opened: (floors) => { engine = floors.engine } } })
  t.after(async () => {
    await pool.close()
    rmSync(folder, { recursive: true })
  })
  const { vfs } = pool
  const { attr: { ino } } = await vfs.create(root, ROOT_NODE, 'f', 0o644, 0, 2)
  const write = async (fill = 1): Promise<void> => void (await vfs.write(root, ino, 0, BLOCK, Buffer.alloc(BLOCK, fill), 0, BLOCK, HOW))
  await vfs.write(root, ino, 0, 0, Buffer.alloc(8 * BLOCK), 0, 8 * BLOCK, HOW)
  await vfs.fsync(root, ino, 0, false)
  await write() // the first commits its time
  const commits = () => engine.committedSeq()
  const times = async () => {
    const { mtimeSec, mtimeNsec, ctimeNsec } = await vfs.getattr(root, ino, 0)
    return { mtime: (mtimeSec - 1_700_000_000) * 1000 + mtimeNsec / MS, ctime: ctimeNsec / MS }
  }
  return { clock, vfs, ino, write, commits, times }
}

test('writes in place of one tick commit once, and stat shows the last one', async (t) => {
  const { clock, ino, vfs, write, commits, times } = await setUp(t)
  const before = commits()
  clock.advance(1)
  await write()
  clock.advance(1)
  await write(7)
  assert.equal(commits(), before)
  assert.deepEqual(await times(), { mtime: 2, ctime: 2 })
  assert.equal(commits(), before + 1)
  assert.deepEqual(await times(), { mtime: 2, ctime: 2 })
  clock.advance(1)
  await write()
  assert.deepEqual(await times(), { mtime: 3, ctime: 3 }) // who looked sees that it changed again
  clock.advance(1)
  await write(9)
  assert.equal(commits(), before + 3) // the next tick's first
  const into = Buffer.alloc(2)
  await vfs.read(root, ino, 0, BLOCK, 2, into, 0)
  assert.deepEqual([...into], [9, 9])
})

test('what nobody looks at is committed when the tick is over, and at fsync', async (t) => {
  const { clock, ino, vfs, write, commits, times } = await setUp(t)
  const before = commits()
  clock.advance(1)
  await write()
  await clock.advanceAsync(5)
  assert.equal(commits(), before + 1)
  assert.deepEqual(await times(), { mtime: 1, ctime: 1 })
  clock.advance(2) // 8
  await write()
  clock.advance(1)
  await write()
  await vfs.fsync(root, ino, 0, false)
  assert.equal(commits(), before + 3)
  assert.equal((await times()).mtime, 9)
})

test('a time that was set stays, and so does the ctime of a later change', async (t) => {
  const { clock, ino, vfs, write, times } = await setUp(t)
  clock.advance(1)
  await write()
  clock.advance(1)
  await vfs.setattr(root, ino, { ...SET, valid: SET_MTIME, mtimeSec: 1_700_000_000, mtimeNsec: 77 * MS }, 0)
  await clock.advanceAsync(6)
  assert.deepEqual(await times(), { mtime: 77, ctime: 2 })
  await write() // 8: commits
  clock.advance(1)
  await write()
  clock.advance(1)
  await vfs.setattr(root, ino, { ...SET, valid: SET_MODE, mode: 0o600 }, 0)
  await clock.advanceAsync(6)
  assert.deepEqual(await times(), { mtime: 9, ctime: 10 })
})

test('a change of the same tick by somebody else is seen: a capability goes with the next write', async (t) => {
  const { clock, ino, vfs, write } = await setUp(t)
  clock.advance(1)
  await write()
  const capability = Buffer.from('01000002000400000000000000000000', 'hex')
  await vfs.setxattr(root, ino, 'security.capability', capability, 0, false)
  await write()
  assert.equal(await vfs.getxattr(root, ino, 'security.capability'), undefined)
})
