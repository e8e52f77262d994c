/**
 * Hostile kernels in front of a whole pool: sizes and offsets that no program may ask for reach all floors. Every request is answered with
 * an errno or done, none hangs; what nobody asked about keeps its bytes, and afterwards the pool is whole.
 */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatPool, fsckPool, makeFolder, openPool } from '../../src/pool/index.js'
import { rootContext as ctx, ERRNO, onUnknownError, seededRandom, systemClock } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import { SET_ATIME, SET_MTIME } from '../../src/vfs/vfs.js'
import { hostileRequests } from '../fuse/hostile.js'
import { Kernel } from '../fuse/kernel.js'

const MIB = 1024 ** 2
const KEPT = Buffer.alloc(300_000, 'kept')
const HANG_MS = 20_000
const seed = process.env.OGEE_SEED === undefined ? undefined : Number(process.env.OGEE_SEED)
const parts = { clock: systemClock, random: seededRandom(5) }
const known = new Set<number>(Object.values(ERRNO))

for (const opens of [false, true]) {
  test(`requests that no kernel sends, to a pool ${opens ? 'that is asked to open' : 'whose files the kernel opens alone'}`, { timeout: 120_000 }, async (t) => {
    const folder = join(mkdtempSync(join(tmpdir(), 'ogee-requests-')), 'pool')
    t.after(() => rmSync(join(folder, '..'), { recursive: true, force: true }))
    makeFolder(folder)
    await formatPool(folder, { ...parts, sizeBytes: 64 * MIB, seams: { logBytes: MIB } })
    const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
    const { vfs } = pool
    const write = async (name: string, bytes: Buffer): Promise<number> => {
      const { attr, handle } = await vfs.create(ctx, ROOT_NODE, name, 0o644, 0, 2)
      await vfs.write(ctx, attr.ino, handle, 0, bytes, 0, bytes.length, { killSuidgid: false, append: false })
      await vfs.release(ctx, attr.ino, handle)
      return attr.ino
    }
    const keptDir = (await vfs.mkdir(ctx, ROOT_NODE, 'kept', 0o755, 0)).ino
    const kept = await write('kept file', KEPT)
    await vfs.rename(ctx, ROOT_NODE, 'kept file', keptDir, 'file', 0)
    const dir = (await vfs.mkdir(ctx, ROOT_NODE, 'b', 0o777, 0)).ino
    const nodes = [ROOT_NODE, dir, await write('small', Buffer.from('small')), await write('a', Buffer.alloc(50_000, 'a')), await write('large', Buffer.alloc(3 * MIB, 'l'))]
    await vfs.rename(ctx, ROOT_NODE, 'a', dir, 'a', 0)

    const strange: string[] = []
    const hook = onUnknownError((e) => strange.push(e instanceof Error ? e.stack ?? e.message : String(e)))
    try {
      const spares = (message: Buffer): boolean => !names64(message, kept) && !names64(message, keptDir)
      await fc.assert(fc.asyncProperty(fc.array(hostileRequests(fc.constantFrom(...nodes).map(BigInt)).filter(spares), { minLength: 10, maxLength: 60 }), async (messages) => {
        const kernel = new Kernel(vfs, { opens, interrupts: false })
        kernel.init()
        let asked = 0
        for (const message of messages) {
          if (message.length >= 16) asked++
          kernel.deliver(message)
          if (asked % 8 === 0) await idle(kernel)
        }
        await idle(kernel)
        for (const { error } of kernel.replies) assert.ok(error === 0 || known.has(-error), `errno ${error}`)
        await kernel.session.close()
        assert.deepEqual([kernel.keptFrames, kernel.session.inFlight, strange.splice(0)], [0, 0, []])
      }), { numRuns: Number(process.env.OGEE_RUNS ?? 150), includeErrorInReport: true, ...(seed === undefined ? {} : { seed }) })
      const bytes = Buffer.alloc(KEPT.length)
      assert.equal(await vfs.read(ctx, kept, 0, 0, KEPT.length, bytes, 0), KEPT.length)
      assert.ok(bytes.equals(KEPT), 'what nobody asked about is as it was')
    } finally {
      onUnknownError(hook)
      await pool.close()
    }
    const said: string[] = []
    await fsckPool(folder, { ...parts, isLive: false, repair: false, found: ({ what }) => void said.push(what), did: () => undefined })
    assert.deepEqual(said, [])
  })
}

test('a time beyond all is the last that there is, for a file and for a folder, and still is after a death', async (t) => {
  const top = mkdtempSync(join(tmpdir(), 'ogee-requests-'))
  t.after(() => rmSync(top, { recursive: true, force: true }))
  const folder = join(top, 'pool')
  makeFolder(folder)
  await formatPool(folder, { ...parts, sizeBytes: 64 * MIB, seams: { logBytes: MIB } })
  const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
  const nodes = [(await pool.vfs.mkdir(ctx, ROOT_NODE, 'd', 0o755, 0)).ino, (await pool.vfs.mknod(ctx, ROOT_NODE, 'f', 0o100644, 0, 0)).ino]
  const set = { valid: SET_ATIME | SET_MTIME, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: -(2 ** 63), atimeNsec: 5, mtimeSec: 2 ** 63, mtimeNsec: 5, ctimeSec: 0, ctimeNsec: 0 }
  for (const node of nodes) await pool.vfs.setattr(ctx, node, set, 0)
  const died = join(top, 'died')
  cpSync(folder, died, { recursive: true })
  await pool.close()
  for (const of of [folder, died]) {
    const again = await openPool(of, { ...parts, vfs: {}, note: () => undefined })
    for (const node of nodes) {
      const { atimeSec, mtimeSec } = await again.vfs.getattr(ctx, node, 0)
      assert.deepEqual([atimeSec, mtimeSec], [1 - 2 ** 53, 2 ** 53 - 1])
    }
    await again.close()
  }
})

/** Whether a number is in a request, in its header (the node) or behind it: any number may be guessed, and then somebody did ask about it. */
function names64(message: Buffer, number: number): boolean {
  for (let at = 16; at + 8 <= message.length; at += 8) if (message.readBigUInt64LE(at) === BigInt(number)) return true
  return false
}

/** Every request was answered. */
async function idle(kernel: Kernel): Promise<void> {
  const until = systemClock.monotonicMs() + HANG_MS
  while (kernel.session.inFlight > 0) {
    assert.ok(systemClock.monotonicMs() < until, 'a request hangs')
    await new Promise((resolve) => setImmediate(resolve))
  }
}
