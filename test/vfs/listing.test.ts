/** Listings: every name that was there all the time comes exactly once, in any order of calls, makes and removals. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { rootContext as root } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import type { Attr } from '../../src/vfs/index.js'
import { hurriedClock, openRig } from './rig.js'
import type { Rig } from './rig.js'

interface Seen {
  readonly name: string
  readonly ino: number
  readonly attr: Attr | undefined
}

/** Lists with a sink of `room` entries a call; `between` runs after each call. */
async function list(rig: Rig, ino: number, room: () => number, withAttr: boolean, between: () => Promise<void>): Promise<Seen[]> {
  const seen: Seen[] = []
  const { handle } = await rig.vfs.opendir(root, ino)
  let [high, low] = [0, 0]
  for (;;) {
    let left = room()
    const before = seen.length
    await rig.vfs.readdir(root, ino, handle, high, low, {
      entry(name, child, _type, cookieHigh, cookieLow, attr) {
        if (left-- === 0) return false
        seen.push({ name, ino: child, attr })
        high = cookieHigh
        low = cookieLow
        return true
      },
    }, withAttr)
    if (seen.length === before) break
    await between()
  }
  await rig.vfs.releasedir(root, ino, handle)
  return seen
}

const step = fc.record({ make: fc.boolean(), n: fc.nat({ max: 40 }) })

describe('readdir', () => {
  for (const [title, slow] of [['in the tick', false], ['over a remote engine', true]] as const) {
    test(`shows what stays once, ${title}`, async () => {
      await fc.assert(fc.asyncProperty(
        fc.nat({ max: 150 }), fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), fc.array(step, { maxLength: 60 }), fc.boolean(),
        async (count, rooms, steps, withAttr) => {
          const rig = await openRig(slow ? { clock: hurriedClock, memory: { latencyMs: [1, 1] } } : {})
          const stays = new Set<string>()
          await Promise.all(Array.from({ length: count }, async (_, i) => {
            stays.add(`stays-${String(i)}`)
            await rig.vfs.mknod(root, ROOT_NODE, `stays-${String(i)}`, 0o644, 0, 0)
          }))
          const there = new Set<string>()
          let next = 0
          const change = async (): Promise<void> => {
            for (const { make, n } of steps.slice(next, next + 3)) {
              const name = `moves-${String(n)}`
              if (make && !there.has(name)) {
                await rig.vfs.mkdir(root, ROOT_NODE, name, 0o755, 0)
                there.add(name)
              } else if (there.delete(name)) await rig.vfs.rmdir(root, ROOT_NODE, name)
            }
            next += 3
          }
          let call = 0
          const seen = await list(rig, ROOT_NODE, () => rooms[call++ % rooms.length], withAttr, change)
          assert.deepEqual(seen.slice(0, 2).map((s) => [s.name, s.ino]), [['.', 1], ['..', 1]])
          const names = seen.slice(2).map((s) => s.name)
          assert.equal(new Set(names).size, names.length, 'no name twice')
          for (const name of stays) assert.ok(names.includes(name))
          for (const { name, ino, attr } of seen.slice(2)) {
            assert.equal(attr?.ino, withAttr ? ino : undefined)
            assert.ok(stays.has(name) || name.startsWith('moves-'))
          }
          await rig.close()
        }), { numRuns: slow ? 15 : 60 })
    })
  }

  test('of a folder that was removed shows nothing, ".." is the parent elsewhere', async () => {
    const rig = await openRig()
    const a = await rig.vfs.mkdir(root, ROOT_NODE, 'a', 0o755, 0)
    const b = await rig.vfs.mkdir(root, a.ino, 'b', 0o755, 0)
    const all = async (): Promise<unknown> => (await list(rig, b.ino, () => 10, false, async () => undefined)).map((s) => [s.name, s.ino])
    assert.deepEqual(await all(), [['.', b.ino], ['..', a.ino]])
    await rig.vfs.rename(root, a.ino, 'b', ROOT_NODE, 'c', 0)
    assert.deepEqual(await all(), [['.', b.ino], ['..', ROOT_NODE]])
    await rig.vfs.rmdir(root, ROOT_NODE, 'c')
    assert.deepEqual(await all(), [])
    await rig.close()
  })
})
