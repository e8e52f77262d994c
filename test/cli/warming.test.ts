/** What the daemon does in its first quiet moments: it leaves nothing behind, gives way, and asks only what is answered. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { startWarming } from '../../src/cli/daemon/warming.js'
import { rehearse } from '../../src/fuse/index.js'
import { openPool } from '../../src/pool/index.js'
import { rootContext, systemClock, systemRandom } from '../../src/sys/index.js'
import type { Vfs } from '../../src/vfs/index.js'

const ours = (): string[] => readdirSync('/proc/self/fd').flatMap((fd) => {
  try {
    return [readlinkSync(`/proc/self/fd/${fd}`)]
  } catch {
    return []
  }
}).filter((path) => path.includes('ogee-warming-'))

test('a rehearsal removes what it made; everything that it asks is answered without an error', { timeout: 60_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-rehearsal-'))
  const pool = await openPool(folder, { clock: systemClock, random: systemRandom, vfs: {}, note() {} })
  try {
    const called = new Map<string, number>()
    const failed: string[] = []
    const vfs = new Proxy(pool.vfs, {
      get(target, name: keyof Vfs & string) {
        const method = target[name] as (...args: unknown[]) => unknown
        return (...args: unknown[]): unknown => {
          called.set(name, (called.get(name) ?? 0) + 1)
          const answer = method.apply(target, args)
          if (answer instanceof Promise) answer.catch((e: unknown) => failed.push(`${name}: ${String(e)}`))
          return answer
        }
      }
    })
    let rests = 0
    await rehearse({ vfs, clock: systemClock, folders: 2, rest: () => ++rests > 0 })
    assert.deepEqual(failed, [])
    for (const name of ['lookup', 'mknod', 'getattr', 'getxattr', 'mkdir', 'write', 'fsync', 'fsyncdir', 'read', 'readdir', 'setattr', 'rename', 'unlink', 'rmdir', 'forget'])
      assert.ok(called.get(name)! >= 2, `${name}: ${called.get(name)}`)
    assert.equal(rests, 2 * (3 * 50 + 16 + 4 * 2) + 2 * 32) // files three times, appends, journals; in the first folder a stream and writes over it
    const names: string[] = []
    await pool.vfs.readdir(rootContext, 1, 0, 0, 0, { entry: (name) => names.push(name) > 0 }, false)
    assert.deepEqual(names.filter((name) => name !== '.' && name !== '..'), [])
    await pool.sync()
    while ((await pool.status()).inodes > 1) await systemClock.sleep(5) // reclaimed in the background
    await rehearse({ vfs, clock: systemClock, folders: 9, rest: () => ++rests % 20 !== 0 }) // told to end in the middle
    assert.ok(rests < 500)
  } finally {
    await pool.close()
    rmSync(folder, { recursive: true })
  }
})

test('warming leaves no file and no descriptor, gives way to requests, and ends when it is told to', { timeout: 60_000 }, async () => {
  const said: string[] = []
  const options = { clock: systemClock, random: systemRandom, debug: (text: string) => void said.push(text) }
  let requests = 0
  const busy = startWarming({ ...options, requests: () => ++requests })
  const idle = startWarming({ ...options, requests: () => 7 })
  while (ours().length === 0) await systemClock.sleep(5)
  await idle.stop()
  assert.deepEqual(ours(), [])
  await busy.stop()
  assert.ok(requests > 1)
  assert.deepEqual(said, [])
})
