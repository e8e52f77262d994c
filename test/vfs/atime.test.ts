/** Access times: when they move, when they are written, and who wins. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { manualClock, O_CREAT, O_RDWR, rootContext as root } from '../../src/sys/index.js'
import type { ManualClock } from '../../src/sys/index.js'
import { NOW } from '../../src/data/index.js'
import { ROOT_NODE, SET_ATIME } from '../../src/vfs/index.js'
import type { SetAttr, VfsOptions } from '../../src/vfs/index.js'
import { openRig } from './rig.js'
import type { Rig } from './rig.js'

interface Fixture extends Rig {
  readonly ino: number
  readonly handle: number
  readonly clock: ManualClock
  read(): Promise<void>
  /** Seconds as shown, and as in the pool. */
  shown(): Promise<number>
  stored(): Promise<number | undefined>
}

async function fixture(options: VfsOptions): Promise<Fixture> {
  const clock = manualClock(1_000_000)
  const rig = await openRig({ clock, vfs: options })
  const { handle, attr } = await rig.vfs.create(root, ROOT_NODE, 'f', 0o644, 0, O_CREAT | O_RDWR)
  const into = new Uint8Array(16)
  return {
    ...rig, clock, handle, ino: attr.ino,
    read: async () => void (await rig.vfs.read(root, attr.ino, handle, 0, 16, into, 0)),
    shown: async () => (await rig.vfs.getattr(root, attr.ino, handle)).atimeSec,
    stored: async () => (await rig.tree.inode(rig.engine.reader(root), attr.ino, NOW))?.atimeSec,
  }
}

const setAtime = (sec: number): SetAttr =>
  ({ valid: SET_ATIME, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: sec, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 })

describe('atime', () => {
  test('relatime: moves at the first read after a change, then once a day', async () => {
    const f = await fixture({})
    f.clock.advance(10_000)
    await f.read()
    assert.equal(await f.shown(), 1_000_010)
    f.clock.advance(10_000)
    await f.read()
    assert.equal(await f.shown(), 1_000_010)
    f.clock.advance(10_000)
    await f.vfs.write(root, f.ino, f.handle, 0, Buffer.from('x'), 0, 1, { killSuidgid: false, append: false })
    f.clock.advance(10_000)
    await f.read()
    assert.equal(await f.shown(), 1_000_040)
    await f.vfs.release(root, f.ino, f.handle)
    f.clock.advance(86_400_000)
    await f.vfs.read(root, f.ino, 0, 0, 1, new Uint8Array(1), 0)
    assert.equal(await f.shown(), 1_086_440)
    await f.close()
  })

  test('strictatime: every read; noatime and a read-only mount: none', async () => {
    for (const [options, want] of [[{ atime: 'strictatime' }, 1_000_020], [{ atime: 'noatime' }, 1_000_000]] as const) {
      const f = await fixture(options)
      for (let i = 0; i < 2; i++) {
        f.clock.advance(10_000)
        await f.read()
      }
      assert.equal(await f.shown(), want)
      await f.close()
    }
  })

  test('is shown at once, written within seconds, and at sync', async () => {
    const f = await fixture({})
    f.clock.advance(10_000)
    await f.read()
    assert.equal(await f.stored(), 1_000_000)
    await f.clock.advanceAsync(4000)
    assert.equal(await f.stored(), 1_000_010)
    await f.vfs.setattr(root, f.ino, setAtime(5), 0)
    await f.read()
    await f.vfs.syncAll(root)
    assert.equal(await f.stored(), 1_000_014)
    await f.close()
  })

  test('one that is set wins over one that is pending', async () => {
    const f = await fixture({})
    f.clock.advance(10_000)
    await f.read()
    const [attr] = await Promise.all([f.vfs.setattr(root, f.ino, setAtime(77), 0), f.vfs.syncAll(root)])
    assert.equal(attr.atimeSec, 77)
    await f.vfs.syncAll(root)
    assert.deepEqual([await f.shown(), await f.stored()], [77, 77])
    await f.close()
  })

  test('moves of a folder that is listed and of a symlink that is read', async () => {
    const f = await fixture({})
    const dir = await f.vfs.mkdir(root, ROOT_NODE, 'd', 0o755, 0)
    const link = await f.vfs.symlink(root, ROOT_NODE, 's', 'target')
    f.clock.advance(10_000)
    const { handle } = await f.vfs.opendir(root, dir.ino)
    await f.vfs.readdir(root, dir.ino, handle, 0, 0, { entry: () => true }, false)
    await f.vfs.readlink(root, link.ino)
    assert.equal((await f.vfs.getattr(root, dir.ino, 0)).atimeSec, 1_000_010)
    assert.equal((await f.vfs.getattr(root, link.ino, 0)).atimeSec, 1_000_010)
    await f.close()
  })
})
