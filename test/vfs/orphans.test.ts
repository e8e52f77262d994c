/** Inodes without a name: kept while somebody holds them, reclaimed afterwards, by the next session if need be. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { manualClock, O_CREAT, O_RDWR, rootContext as root } from '../../src/sys/index.js'
import { makeMemoryServer } from '../../src/engine/index.js'
import { NOW } from '../../src/data/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import { expectErrno } from './posix/table.js'
import { openRig } from './rig.js'
import type { Rig } from './rig.js'

const inodeOf = (rig: Rig, ino: number): unknown => rig.tree.inode(rig.engine.reader(root), ino, NOW)
/** Of all sessions. */
const listed = async (rig: Rig): Promise<number> => (await rig.tree.orphans(rig.engine.reader(root), 1_000_000, 1000)).length
const makeFile = (rig: Rig, name: string) => rig.vfs.create(root, ROOT_NODE, name, 0o644, 0, O_CREAT | O_RDWR)
const isHeld = (): boolean => false

describe('an unlinked inode', () => {
  test('is kept while it is open, and reclaimed with its bytes once it is closed', async () => {
    const rig = await openRig({ vfs: { isHeld } })
    const { handle, attr } = await makeFile(rig, 'f')
    await rig.vfs.write(root, attr.ino, handle, 0, Buffer.alloc(1_000_000), 0, 1_000_000, { killSuidgid: false, append: false })
    await rig.vfs.unlink(root, ROOT_NODE, 'f')
    await rig.vfs.settle()
    assert.equal((await rig.vfs.getattr(root, attr.ino, handle)).nlink, 0)
    assert.equal(rig.data.reclaimSteps, 0)
    await rig.vfs.release(root, attr.ino, handle)
    await rig.vfs.settle()
    assert.ok(rig.data.reclaimSteps > 1)
    assert.equal(inodeOf(rig, attr.ino), undefined)
    assert.equal(await listed(rig), 0)
    await rig.close()
  })

  test('is kept while the door knows it', async () => {
    const rig = await openRig() // a door that says nothing holds all
    const { ino } = await rig.vfs.mknod(root, ROOT_NODE, 'f', 0o644, 0, 0)
    await rig.vfs.unlink(root, ROOT_NODE, 'f')
    await rig.vfs.settle()
    assert.equal((await rig.vfs.getattr(root, ino, 0)).nlink, 0)
    const { handle } = await rig.vfs.open(root, ino, O_RDWR)
    rig.vfs.forget(ino)
    await rig.vfs.settle()
    assert.equal((await rig.vfs.getattr(root, ino, 0)).nlink, 0)
    await rig.vfs.release(root, ino, handle)
    await rig.vfs.settle()
    await expectErrno('ESTALE', (async () => rig.vfs.getattr(root, ino, 0))())
    await rig.close()
  })

  test('a replaced file and a removed folder go the same way', async () => {
    const rig = await openRig({ vfs: { isHeld } })
    const old = await rig.vfs.mknod(root, ROOT_NODE, 'old', 0o644, 0, 0)
    await rig.vfs.mknod(root, ROOT_NODE, 'new', 0o644, 0, 0)
    const dir = await rig.vfs.mkdir(root, ROOT_NODE, 'd', 0o755, 0)
    await rig.vfs.rename(root, ROOT_NODE, 'new', ROOT_NODE, 'old', 0)
    await rig.vfs.rmdir(root, ROOT_NODE, 'd')
    await rig.vfs.settle()
    assert.deepEqual([inodeOf(rig, old.ino), inodeOf(rig, dir.ino)], [undefined, undefined])
    await rig.close()
  })

  test('is reclaimed a moment later without being asked', async () => {
    const clock = manualClock()
    const rig = await openRig({ clock, vfs: { isHeld } })
    const inos: number[] = []
    for (let i = 0; i < 200; i++) inos.push((await rig.vfs.mknod(root, ROOT_NODE, `f${String(i)}`, 0o644, 0, 0)).ino)
    for (let i = 0; i < 200; i++) await rig.vfs.unlink(root, ROOT_NODE, `f${String(i)}`)
    const before = rig.engine.committedSeq()
    await clock.advanceAsync(1000)
    await rig.vfs.settle()
    assert.ok(inos.every((ino) => inodeOf(rig, ino) === undefined))
    assert.ok(rig.engine.committedSeq() - before <= 5, 'many in one transaction')
    await rig.close()
  })

  test('counts as free: statfs waits for it, and so does who finds no space', async () => {
    const rig = await openRig({ clock: manualClock(), vfs: { isHeld } })
    const write = (ino: number, handle: number): Promise<number> =>
      Promise.resolve(rig.vfs.write(root, ino, handle, 0, Buffer.alloc(100_000), 0, 100_000, { killSuidgid: false, append: false }))
    const a = await makeFile(rig, 'a')
    const b = await makeFile(rig, 'b')
    rig.data.roomBytes = 150_000
    await write(a.attr.ino, a.handle)
    await expectErrno('ENOSPC', write(b.attr.ino, b.handle))
    await rig.vfs.unlink(root, ROOT_NODE, 'a')
    await expectErrno('ENOSPC', write(b.attr.ino, b.handle)) // it is open
    await rig.vfs.release(root, a.attr.ino, a.handle)
    assert.equal(await write(b.attr.ino, b.handle), 100_000)
    const before = await rig.vfs.statfs(root, ROOT_NODE)
    await rig.vfs.release(root, b.attr.ino, b.handle)
    await rig.vfs.unlink(root, ROOT_NODE, 'b')
    const after = await rig.vfs.statfs(root, ROOT_NODE)
    assert.deepEqual([before.files - before.filesFree, after.files - after.filesFree], [2, 1])
    await rig.close()
  })

  test('with a link made meanwhile stays', async () => {
    const rig = await openRig({ vfs: { isHeld } })
    const { handle, attr } = await rig.vfs.tmpfile(root, ROOT_NODE, 0o600, 0, O_RDWR)
    await rig.vfs.link(root, attr.ino, ROOT_NODE, 'named')
    await rig.vfs.release(root, attr.ino, handle)
    await rig.vfs.settle()
    assert.equal((await rig.vfs.lookup(root, ROOT_NODE, 'named'))?.ino, attr.ino)
    await rig.close()
  })

  test('of a session that died is reclaimed after the next opening, in the background', async () => {
    const server = makeMemoryServer()
    const clock = manualClock()
    const dead = await openRig({ clock, server })
    const unnamed = await dead.vfs.tmpfile(root, ROOT_NODE, 0o600, 0, O_RDWR)
    const inos = [unnamed.attr.ino]
    for (let i = 0; i < 150; i++) {
      inos.push((await dead.vfs.mknod(root, ROOT_NODE, 'f', 0o644, 0, 0)).ino)
      await dead.vfs.unlink(root, ROOT_NODE, 'f')
    }
    assert.equal(await listed(dead), 151)

    const rig = await openRig({ clock, server })
    const mine = await rig.vfs.tmpfile(root, ROOT_NODE, 0o600, 0, O_RDWR)
    await clock.advanceAsync(5000)
    assert.ok(inos.every((ino) => inodeOf(rig, ino) === undefined))
    assert.equal(await listed(rig), 1)
    assert.notEqual(inodeOf(rig, mine.attr.ino), undefined)
    await rig.close()
    await dead.close()
  })

  test('that is being reclaimed cannot be reached again', async () => {
    const rig = await openRig({ clock: manualClock(), vfs: { isHeld } })
    const { ino } = await rig.vfs.mknod(root, ROOT_NODE, 'f', 0o644, 0, 0)
    await rig.vfs.unlink(root, ROOT_NODE, 'f')
    await expectErrno('ESTALE', (async () => rig.vfs.lookup(root, ino, '.'))())
    await expectErrno('ESTALE', (async () => rig.vfs.open(root, ino, O_RDWR))())
    await expectErrno('ENOENT', (async () => rig.vfs.link(root, ino, ROOT_NODE, 'again'))())
    await rig.close()
  })
})
