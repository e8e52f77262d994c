/** What front doors rely on beyond POSIX: answers in the tick, handles, stale nodes, races, read-only mounts, overrides. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_WRONLY, PosixError, rootContext as root } from '../../src/sys/index.js'
import type { Context } from '../../src/sys/index.js'
import { FALLOC_PUNCH_HOLE, ROOT_NODE, SET_MODE, SET_SIZE } from '../../src/vfs/index.js'
import type { SetAttr } from '../../src/vfs/index.js'
import { makeMemoryServer } from '../../src/engine/index.js'
import { expectErrno } from './posix/table.js'
import { caller, hurriedClock, openRig } from './rig.js'
import type { Rig } from './rig.js'


const HOW = { killSuidgid: false, append: false }
const setAttr = (valid: number, mode = 0, sizeBytes = 0): SetAttr =>
  ({ valid, mode, uid: 0, gid: 0, sizeBytes, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 })
const makeFile = (rig: Rig, name: string, flags = 0) => rig.vfs.create(root, ROOT_NODE, name, 0o644, 0, O_CREAT | O_RDWR | flags)

/** Throws or rejects with this code. */
const fails = (code: string, act: () => unknown): Promise<void> => expectErrno(code, (async () => act())())

describe('in the tick', () => {
  test('cached things are answered without a promise', async () => {
    const rig = await openRig({ vfs: { atime: 'strictatime' } })
    const { vfs } = rig
    const { handle, attr: { ino } } = await makeFile(rig, 'f')
    await vfs.write(root, ino, handle, 0, Buffer.from('text'), 0, 4, HOW)
    await vfs.setxattr(root, ino, 'user.a', Buffer.from('1'), 0, false)
    const inTick = <T>(value: T | Promise<T>): T => {
      assert.ok(!(value instanceof Promise))
      return value
    }
    inTick(vfs.lookup(root, ROOT_NODE, 'f'))
    assert.equal(inTick(vfs.lookup(root, ROOT_NODE, 'none')), undefined)
    assert.equal(inTick(vfs.getattr(root, ino, 0)).sizeBytes, 4)
    assert.equal(inTick(vfs.read(root, ino, handle, 0, 10, new Uint8Array(10), 0)), 4)
    inTick(vfs.getxattr(root, ino, 'user.a'))
    inTick(vfs.statfs(root, ROOT_NODE))
    inTick(vfs.access(root, ino, 4))
    const opened = inTick(vfs.open(root, ino, O_RDONLY))
    inTick(vfs.flush(root, ino, opened.handle))
    inTick(vfs.release(root, ino, opened.handle))
    const dir = inTick(vfs.opendir(root, ROOT_NODE))
    inTick(vfs.readdir(root, ROOT_NODE, dir.handle, 0, 0, { entry: () => true }, true))
    inTick(vfs.releasedir(root, ROOT_NODE, dir.handle))
    await rig.close()
  })
})

describe('handles and nodes', () => {
  test('an unknown handle, another node\'s, and one that was closed: EBADF; 0 stands for none', async () => {
    const rig = await openRig()
    const { vfs } = rig
    const { handle, attr: { ino } } = await makeFile(rig, 'f')
    const other = await makeFile(rig, 'g')
    const into = new Uint8Array(8)
    for (const [node, h] of [[ino, 999], [other.attr.ino, handle]]) {
      await fails('EBADF', () => vfs.read(root, node, h, 0, 8, into, 0))
      await fails('EBADF', () => vfs.write(root, node, h, 0, into, 0, 8, HOW))
      await fails('EBADF', () => vfs.fsync(root, node, h, false))
      await fails('EBADF', () => vfs.flush(root, node, h))
    }
    await vfs.write(root, ino, 0, 0, into, 0, 8, HOW)
    assert.equal(await vfs.read(root, ino, 0, 0, 8, into, 0), 8)
    await vfs.fsync(root, ino, 0, false)
    await vfs.release(root, ino, handle)
    await fails('EBADF', () => vfs.read(root, ino, handle, 0, 8, into, 0))
    await vfs.release(root, ino, handle) // a second time: nothing
    assert.equal(vfs.status().openFiles, 1)
    await rig.close()
  })

  test('a node that is not there: ESTALE', async () => {
    const rig = await openRig()
    const { vfs } = rig
    const none = 4711
    for (const act of [
      () => vfs.lookup(root, none, 'x'), () => vfs.lookup(root, none, '.'), () => vfs.getattr(root, none, 0), () => vfs.open(root, none, O_RDONLY),
      () => vfs.opendir(root, none), () => vfs.read(root, none, 0, 0, 1, new Uint8Array(1), 0), () => vfs.setattr(root, none, setAttr(SET_MODE), 0),
      () => vfs.write(root, none, 0, 0, new Uint8Array(1), 0, 1, HOW), () => vfs.mkdir(root, none, 'x', 0o755, 0), () => vfs.getxattr(root, none, 'user.a'),
      () => vfs.readlink(root, none), () => vfs.unlink(root, none, 'x'), () => vfs.access(root, none, 4),
    ]) await fails('ESTALE', act)
    vfs.forget(none)
    await rig.close()
  })

  test('lookup of "." and ".."', async () => {
    const rig = await openRig()
    const { vfs } = rig
    const dir = await vfs.mkdir(root, ROOT_NODE, 'd', 0o755, 0)
    const { attr: file } = await makeFile(rig, 'f')
    assert.equal((await vfs.lookup(root, dir.ino, '.'))?.ino, dir.ino)
    assert.equal((await vfs.lookup(root, dir.ino, '..'))?.ino, ROOT_NODE)
    assert.equal((await vfs.lookup(root, ROOT_NODE, '..'))?.ino, ROOT_NODE)
    assert.equal((await vfs.lookup(root, file.ino, '.'))?.ino, file.ino)
    await fails('ENOTDIR', () => vfs.lookup(root, file.ino, '..'))
    await fails('ENOTDIR', () => vfs.lookup(root, file.ino, 'x'))
    await rig.close()
  })

  test('names that no file may have', async () => {
    const rig = await openRig()
    for (const [name, code] of [['', 'ENOENT'], ['a/b', 'EINVAL'], ['a\0b', 'EINVAL'], ['.', 'EEXIST'], ['..', 'EEXIST'], ['n'.repeat(256), 'ENAMETOOLONG']]) {
      await fails(code, () => rig.vfs.mkdir(root, ROOT_NODE, name, 0o755, 0))
      await fails(code, () => rig.vfs.create(root, ROOT_NODE, name, 0o644, 0, O_CREAT | O_RDWR))
    }
    await rig.vfs.mkdir(root, ROOT_NODE, '\xff\xfe\x01', 0o755, 0)
    await rig.close()
  })

  test('inode numbers are never given twice, whatever fails, dies or opens again', async () => {
    const server = makeMemoryServer()
    const seen = new Set<number>()
    for (let round = 0; round < 3; round++) {
      const rig = await openRig({ server })
      await Promise.all(Array.from({ length: 1500 }, async (_, i) => {
        const { ino } = await rig.vfs.mknod(root, ROOT_NODE, `f${String(round)}-${String(i)}`, 0o644, 0, 0)
        assert.ok(!seen.has(ino))
        seen.add(ino)
        if (i % 100 === 0) await fails('EEXIST', () => rig.vfs.mknod(root, ROOT_NODE, `f${String(round)}-${String(i)}`, 0o644, 0, 0))
      }))
      await rig.close()
    }
    assert.equal(seen.size, 4500)
  })
})

describe('races', () => {
  for (const [title, options] of [['in one process', {}], ['over a remote engine', { clock: hurriedClock, memory: { latencyMs: [1, 2] as const, conflictChance: 0.2 } }]] as const) {
    test(`create, ${title}: all get the same file, with O_EXCL one`, async () => {
      const rig = await openRig(options)
      const made = await Promise.all(Array.from({ length: 8 }, () => makeFile(rig, 'shared')))
      assert.equal(new Set(made.map((m) => m.attr.ino)).size, 1)
      assert.equal(new Set(made.map((m) => m.handle)).size, 8)
      const excl = await Promise.allSettled(Array.from({ length: 8 }, async () => makeFile(rig, 'mine', O_EXCL)))
      assert.equal(excl.filter((r) => r.status === 'fulfilled').length, 1)
      for (const r of excl) if (r.status === 'rejected') assert.equal((r.reason as PosixError).code, 'EEXIST')
      await rig.close()
    })
  }
})

describe('mount options', () => {
  test('read-only: every change is EROFS, reading works', async () => {
    const server = makeMemoryServer()
    const before = await openRig({ server })
    const { handle, attr: { ino } } = await makeFile(before, 'f')
    await before.vfs.write(root, ino, handle, 0, Buffer.from('text'), 0, 4, HOW)
    const rig = await openRig({ server, vfs: { readOnly: true } })
    const { vfs } = rig
    const ctx: Context = root
    for (const act of [
      () => vfs.mkdir(ctx, ROOT_NODE, 'x', 0o755, 0), () => vfs.mknod(ctx, ROOT_NODE, 'x', 0o644, 0, 0), () => vfs.symlink(ctx, ROOT_NODE, 'x', 'y'),
      () => vfs.link(ctx, ino, ROOT_NODE, 'x'), () => vfs.unlink(ctx, ROOT_NODE, 'f'), () => vfs.rmdir(ctx, ROOT_NODE, 'f'),
      () => vfs.rename(ctx, ROOT_NODE, 'f', ROOT_NODE, 'g', 0), () => vfs.create(ctx, ROOT_NODE, 'x', 0o644, 0, O_CREAT | O_RDWR),
      () => vfs.tmpfile(ctx, ROOT_NODE, 0o644, 0, O_RDWR), () => vfs.open(ctx, ino, O_RDWR), () => vfs.write(ctx, ino, 0, 0, new Uint8Array(1), 0, 1, HOW),
      () => vfs.setattr(ctx, ino, setAttr(SET_MODE), 0), () => vfs.setattr(ctx, ino, setAttr(SET_SIZE), 0), () => vfs.fallocate(ctx, ino, 0, 0, 0, 10),
      () => vfs.setxattr(ctx, ino, 'user.a', new Uint8Array(1), 0, false), () => vfs.removexattr(ctx, ino, 'user.a'), () => vfs.setflags(ctx, ino, 0),
      () => vfs.access(ctx, ino, 2), () => vfs.copyFileRange(ctx, ino, 0, 0, ino, 0, 100, 4),
    ]) await fails('EROFS', act)
    const opened = await vfs.open(ctx, ino, O_RDONLY)
    assert.equal(await vfs.read(ctx, ino, opened.handle, 0, 10, new Uint8Array(10), 0), 4)
    await rig.close()
    await before.close()
  })

  test('uid, gid and umask are shown, not stored', async () => {
    const rig = await openRig({ vfs: { uid: 7, gid: 8, umask: 0o027 } })
    const { attr } = await makeFile(rig, 'f')
    const shown = [attr, await rig.vfs.getattr(root, attr.ino, 0), await rig.vfs.lookup(root, ROOT_NODE, 'f')]
    for (const a of shown) assert.deepEqual([a?.uid, a?.gid, a?.mode], [7, 8, 0o100750])
    const stored = await rig.tree.inode(rig.engine.reader(root), attr.ino, Number.MAX_SAFE_INTEGER)
    assert.deepEqual([stored?.uid, stored?.mode], [0, 0o100644])
    await rig.close()
  })

  test('a file that the kernel did not know is checked when create finds it, whoever checks permissions', async () => {
    const rig = await openRig()
    await rig.vfs.create(root, ROOT_NODE, 'secret', 0o600, 0, O_CREAT | O_RDWR)
    await fails('EACCES', () => rig.vfs.create(caller(1000), ROOT_NODE, 'secret', 0o644, 0, O_CREAT | O_RDWR))
    await rig.close()
  })
})

describe('flags of files', () => {
  const IMMUTABLE = 0x10
  const APPEND = 0x20
  test('an immutable file takes no write, through files that are open neither; an append-only one appends', async () => {
    const rig = await openRig()
    const { vfs } = rig
    const { handle, attr: { ino } } = await makeFile(rig, 'f')
    const write = (h: number) => vfs.write(root, ino, h, 0, Buffer.from('x'), 0, 1, HOW)
    await write(handle)
    await vfs.setflags(root, ino, IMMUTABLE)
    assert.equal(await vfs.getflags(root, ino), IMMUTABLE)
    await fails('EPERM', () => write(handle))
    await fails('EPERM', () => write(0)) // no open reached us that could have refused
    await fails('EPERM', () => vfs.fallocate(root, ino, 0, 0, 0, 1))
    await fails('EPERM', () => vfs.open(root, ino, O_RDWR))
    await fails('EPERM', () => vfs.setattr(root, ino, setAttr(SET_SIZE), handle))
    await fails('EPERM', () => vfs.unlink(root, ROOT_NODE, 'f'))
    await vfs.setflags(root, ino, APPEND)
    await fails('EPERM', () => vfs.open(root, ino, O_RDWR))
    await fails('EPERM', () => write(0))
    await fails('EPERM', () => vfs.fallocate(root, ino, 0, FALLOC_PUNCH_HOLE | 1, 0, 1))
    await vfs.write(root, ino, 0, 0, Buffer.from('z'), 0, 1, { killSuidgid: false, append: true })
    await fails('EPERM', () => vfs.setattr(root, ino, setAttr(SET_SIZE), handle))
    const appending = await vfs.open(root, ino, O_WRONLY | O_APPEND)
    await vfs.write(root, ino, appending.handle, 0, Buffer.from('y'), 0, 1, HOW)
    await fails('EPERM', () => vfs.fallocate(root, ino, appending.handle, FALLOC_PUNCH_HOLE | 1, 0, 1))
    assert.equal((await vfs.getattr(root, ino, 0)).sizeBytes, 3)
    await rig.close()
  })
})

describe('limits', () => {
  test('16 TiB, and not a byte more: EFBIG', async () => {
    const rig = await openRig()
    const { vfs } = rig
    const { handle, attr: { ino } } = await makeFile(rig, 'f')
    const max = 16 * 1024 ** 4
    await vfs.setattr(root, ino, setAttr(SET_SIZE, 0, max), handle)
    await fails('EFBIG', () => vfs.setattr(root, ino, setAttr(SET_SIZE, 0, max + 1), handle))
    await fails('EFBIG', () => vfs.write(root, ino, handle, max, Buffer.from('x'), 0, 1, HOW))
    await fails('EFBIG', () => vfs.fallocate(root, ino, handle, 1, max, 1))
    await vfs.write(root, ino, handle, max - 1, Buffer.from('x'), 0, 1, HOW)
    await rig.close()
  })

  test('copy_file_range copies megabytes', async () => {
    const rig = await openRig()
    const { vfs } = rig
    const a = await makeFile(rig, 'a')
    const b = await makeFile(rig, 'b')
    const bytes = Buffer.alloc(5_000_000, 'so it goes. ')
    await vfs.write(root, a.attr.ino, a.handle, 0, bytes, 0, bytes.length, HOW)
    assert.equal(await vfs.copyFileRange(root, a.attr.ino, a.handle, 0, b.attr.ino, b.handle, 10, 10_000_000), 5_000_000)
    const into = Buffer.alloc(5_000_000)
    assert.equal(await vfs.read(root, b.attr.ino, b.handle, 10, 5_000_000, into, 0), 5_000_000)
    assert.ok(into.equals(bytes))
    await rig.close()
  })

  test('statfs adds up', async () => {
    const rig = await openRig()
    const s = await rig.vfs.statfs(root, ROOT_NODE)
    assert.deepEqual([s.blockBytes, s.blocks, s.blocksFree, s.blocksAvailable], [4096, 262_144, 196_608, 196_352])
    assert.equal(s.files - s.filesFree, 1)
    await rig.close()
  })
})
