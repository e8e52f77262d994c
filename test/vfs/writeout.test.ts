/** When the vfs has bytes synced, and who is told that they were lost. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { O_CREAT, O_DSYNC, O_RDWR, O_TRUNC, rootContext as root } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import { expectErrno } from './posix/table.js'
import { openRig } from './rig.js'
import type { Rig } from './rig.js'

const HOW = { killSuidgid: false, append: false }
const LARGE = 100_000
const makeFile = (rig: Rig, name: string, flags = 0) => rig.vfs.create(root, ROOT_NODE, name, 0o644, 0, O_CREAT | O_RDWR | flags)
const write = (rig: Rig, ino: number, handle: number, length: number) => rig.vfs.write(root, ino, handle, 0, Buffer.alloc(length, 1), 0, length, HOW)

describe('a failed write-out', () => {
  test('is told once to each file that was open, by fsync or close, and not to later ones', async () => {
    const rig = await openRig()
    const { handle: a, attr: { ino } } = await makeFile(rig, 'f')
    const { handle: b } = await rig.vfs.open(root, ino, O_RDWR)
    const { handle: c } = await rig.vfs.open(root, ino, O_RDWR)
    rig.data.failNextSync(ino)
    await expectErrno('EIO', (async () => rig.vfs.fsync(root, ino, a, false))())
    await rig.vfs.fsync(root, ino, a, false)
    await rig.vfs.flush(root, ino, a)
    await expectErrno('EIO', (async () => rig.vfs.fsync(root, ino, b, true))())
    await rig.vfs.fsync(root, ino, b, true)
    await expectErrno('EIO', (async () => rig.vfs.flush(root, ino, c))())
    await rig.vfs.flush(root, ino, c)
    const { handle: late } = await rig.vfs.open(root, ino, O_RDWR)
    await rig.vfs.fsync(root, ino, late, false)
    await rig.close()
  })

  test('that nobody was told of is told to the next opener', async () => {
    const rig = await openRig()
    const { handle, attr: { ino } } = await makeFile(rig, 'f')
    await rig.vfs.release(root, ino, handle)
    rig.data.failNextSync(ino)
    await expectErrno('EIO', (async () => rig.vfs.fsync(root, ino, 0, false))()) // of a door without open files
    const { handle: next } = await rig.vfs.open(root, ino, O_RDWR)
    await expectErrno('EIO', (async () => rig.vfs.flush(root, ino, next))())
    await rig.vfs.flush(root, ino, next)
    await rig.close()
  })
})

describe('bytes go first', () => {
  test('a large write is synced before its file replaces another, a small one rides in the log', async () => {
    const rig = await openRig()
    await makeFile(rig, 'target')
    const small = await makeFile(rig, 'small')
    const large = await makeFile(rig, 'large')
    const fresh = await makeFile(rig, 'fresh')
    await write(rig, small.attr.ino, small.handle, 1000)
    await write(rig, large.attr.ino, large.handle, LARGE)
    await write(rig, fresh.attr.ino, fresh.handle, LARGE)
    await rig.vfs.rename(root, ROOT_NODE, 'small', ROOT_NODE, 'target', 0)
    assert.deepEqual(rig.data.synced, [])
    await rig.vfs.rename(root, ROOT_NODE, 'large', ROOT_NODE, 'target', 0)
    assert.deepEqual(rig.data.synced, [large.attr.ino])
    await rig.vfs.rename(root, ROOT_NODE, 'fresh', ROOT_NODE, 'elsewhere', 0) // replaces nothing
    assert.deepEqual(rig.data.synced, [large.attr.ino])
    await rig.close()
  })

  test('a rename whose bytes cannot be synced does not replace', async () => {
    const rig = await openRig()
    const { attr: target } = await makeFile(rig, 'target')
    const { handle, attr: { ino } } = await makeFile(rig, 'new')
    await write(rig, ino, handle, LARGE)
    rig.data.failNextSync(ino)
    await expectErrno('EIO', (async () => rig.vfs.rename(root, ROOT_NODE, 'new', ROOT_NODE, 'target', 0))())
    assert.equal((await rig.vfs.lookup(root, ROOT_NODE, 'target'))?.ino, target.ino)
    await rig.close()
  })

  test('what is written after a truncation to 0 is hurried', async () => {
    const rig = await openRig()
    const { handle, attr: { ino } } = await makeFile(rig, 'f')
    await write(rig, ino, handle, LARGE)
    assert.equal(rig.data.hurried.size, 0)
    const { handle: again } = await rig.vfs.open(root, ino, O_RDWR | O_TRUNC)
    await write(rig, ino, again, LARGE)
    assert.ok(rig.data.hurried.has(ino))
    await rig.close()
  })

  test('O_DSYNC: a write is synced before it is answered', async () => {
    const rig = await openRig()
    const { handle, attr: { ino } } = await makeFile(rig, 'f', O_DSYNC)
    await write(rig, ino, handle, 10)
    assert.deepEqual(rig.data.synced, [ino])
    rig.data.failNextSync(ino)
    await expectErrno('EIO', (async () => write(rig, ino, handle, 10))())
    await rig.close()
  })

  test('fsync of a file whose attributes alone changed makes them durable', async () => {
    const rig = await openRig()
    const { handle, attr: { ino } } = await makeFile(rig, 'f')
    await rig.vfs.fsync(root, ino, handle, false)
    assert.ok(rig.engine.durableSeq() >= rig.engine.committedSeq())
    await rig.close()
  })
})
