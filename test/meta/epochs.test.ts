/** Views: what a snapshot shows stays, whatever changes after it; content, sums and concurrent moves with it. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NOW } from '../../src/data/index.js'
import { makeMemoryServer } from '../../src/engine/index.js'
import { changeContent, checkTree, decodeChange, NOBODY, readContent } from '../../src/meta/index.js'
import { rootContext } from '../../src/sys/index.js'
import { collidingHash, endWhole, engines, errnoNameOf, expectErrno, openQuick, openRemote, root, S_IFDIR, S_IFREG, shellOf, takeSnapshot, user } from './pools.js'
import type { PoolOptions, Shell, TestPool } from './pools.js'

const snap = (shell: Shell, name: string): Promise<number> => shell.call(root, (t, tx, op) => takeSnapshot(t, tx, op, 1, name))
const grow = (shell: Shell, ino: number, sizeBytes: number, killSuidgid = false) =>
  shell.pool.settle(changeContent(shell.pool.engine)(rootContext, ino, { touch: { sec: 77, nsec: 8 }, killSuidgid }, (_tx, _file, c) => ({ ...c, sizeBytes, allocatedBytes: sizeBytes })))

/** On every engine, or on the one given. */
function withPool(title: string, act: (shell: Shell) => Promise<void>, only?: (options?: PoolOptions) => Promise<TestPool>): void {
  for (const [kind, open] of Object.entries(only === undefined ? engines : { '': only })) {
    test(`${title} ${kind === '' ? '' : `(${kind})`}`, { timeout: 60_000 }, async () => {
      const shell = shellOf(await open())
      await act(shell)
      await endWhole(shell.pool)
    })
  }
}

describe('snapshots', () => {
  for (const [kind, open] of Object.entries(engines)) {
    withPool(`show names, inodes, xattrs and counters as they were, on ${kind}`, async (shell) => {
      const { make: mk, call, names, inode, at, pool } = shell
      const dir = await mk(root, 1, 'd', S_IFDIR | 0o755)
      const file = await mk(root, dir, 'f', S_IFREG | 0o644)
      await call(root, (t, tx, op) => t.setxattr(tx, op, file, 'user.x', new Uint8Array([1]), 0, false))
      await grow(shell, file, 100)
      const was = await inode(dir)
      const one = await snap(shell, 'one')
      await mk(root, dir, 'g', S_IFREG | 0o644)
      await mk(root, dir, 'sub', S_IFDIR | 0o644)
      await call(root, (t, tx, op) => t.rename(tx, op, { parent: dir, name: 'f', newParent: 1, newName: 'F', flags: 0, whiteoutIno: 0 }))
      await grow(shell, file, 5000)
      await call(root, (t, tx, op) => t.removexattr(tx, op, file, 'user.x'))
      const two = await snap(shell, 'two')
      await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'F'))
      await call(root, (t, tx) => t.forgetInode(tx, pool.engine.session, file))
      for (const name of ['g']) await call(root, (t, tx, op) => t.unlink(tx, op, dir, name))
      await call(root, (t, tx, op) => t.rmdir(tx, op, dir, 'sub'))
      await call(root, (t, tx, op) => t.rmdir(tx, op, 1, 'd'))

      assert.deepEqual([one, two], [1, 2])
      assert.deepEqual([await names(1), await names(1, one), await names(1, two)], [[], ['d'], ['F', 'd']])
      assert.deepEqual([await names(dir, one), await names(dir, two)], [['f'], ['g', 'sub']])
      assert.deepEqual([(await inode(file))?.sizeBytes, (await inode(file, one))?.sizeBytes, (await inode(file, two))?.sizeBytes], [undefined, 100, 5000])
      const then = await inode(dir, one)
      assert.deepEqual([then?.nlink, then?.mtimeSec, then?.ctimeSec], [was?.nlink, was?.mtimeSec, was?.ctimeSec])
      assert.equal((await inode(dir, two))?.nlink, 3)
      assert.equal(await at(dir, 'f', one), file)
      const value = (view: number) => pool.settle(Promise.resolve(pool.tree.getxattr(pool.engine.reader(rootContext), file, 'user.x', view)))
      const list = (view: number) => pool.settle(Promise.resolve(pool.tree.listxattr(pool.engine.reader(rootContext), file, view)))
      assert.deepEqual([...(await value(one))!], [1])
      assert.deepEqual([await list(one), await list(two), await value(two), await value(NOW)], [['user.x'], [], undefined, undefined])
      await expectErrno('EEXIST', () => snap(shell, 'one'))
      await expectErrno('ENOENT', () => call(root, (t, tx, op) => takeSnapshot(t, tx, op, 9, 'x')))
    }, open)
  }

  withPool('cost one row of history per value, however often it changes', async (shell) => {
    const { make: mk, call, pool } = shell
    const file = await mk(root, 1, 'f', S_IFREG | 0o644)
    await snap(shell, 'one')
    for (let i = 0; i < 10; i++) await call(root, (t, tx) => t.touchAtime(tx, file, { sec: i, nsec: 0 }) as void)
    const past = await pool.engine.reader(rootContext).scan({ from: 'H', to: 'I', limit: 100 })
    assert.equal(past.length, 1)
  })

  withPool('of a large directory are listed in windows, in cookie order', async (shell) => {
    const { make: mk, call, names } = shell
    const dir = await mk(root, 1, 'd', S_IFDIR | 0o755)
    const all = Array.from({ length: 700 }, (_, i) => `n${i}`).sort()
    for (const name of all) await mk(root, dir, name, S_IFREG | 0o600)
    const one = await snap(shell, 'one')
    for (const name of all) if (name.endsWith('3') || name.length === 4) await call(root, (t, tx, op) => t.unlink(tx, op, dir, name))
    for (let i = 0; i < 100; i++) await mk(root, dir, `m${i}`, S_IFREG | 0o600)
    assert.deepEqual(await names(dir, one), all)
  }, openQuick)

  withPool('of one name that changed under 300 snapshots are all there', async (shell) => {
    const { make: mk, call, at, names } = shell
    const expected: number[] = []
    for (let i = 0; i < 300; i++) {
      expected.push(await mk(root, 1, 'x', S_IFREG | 0o600))
      await snap(shell, `s${i}`)
      await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'x'))
    }
    await mk(root, 1, 'yyy', S_IFREG | 0o600)
    for (const i of [0, 1, 150, 299]) {
      assert.equal(await at(1, 'x', i + 1), expected[i])
      assert.deepEqual(await names(1, i + 1), ['x'])
    }
  }, (options) => openQuick({ ...options, hash: collidingHash }))
})

describe('content', () => {
  withPool('changes sizes, sums, usage and times in one commit', async (shell) => {
    const { make: mk, call, inode, pool } = shell
    const file = await mk(root, 1, 'f', S_IFREG | 0o6755)
    await call(root, (t, tx, op) => t.setxattr(tx, op, file, 'security.capability', new Uint8Array(20), 0, false))
    await call(root, (t, tx, op) => t.link(tx, op, file, 1, 'g'))
    await grow(shell, file, 1000, true)
    const n = await inode(file)
    assert.deepEqual([n?.sizeBytes, n?.blocks512, n?.mtimeSec, n?.ctimeSec, n?.mode], [1000, 2, 77, 77, S_IFREG | 0o755])
    assert.equal(await pool.tree.getxattr(pool.engine.reader(rootContext), file, 'security.capability', NOW), undefined)
    assert.deepEqual(await pool.tree.usage(pool.engine.reader(rootContext)), { inodes: 2, bytes: 1000, extents: 0 })
    assert.equal((await readContent(pool.engine)(rootContext, file, NOW)).sizeBytes, 1000)
    await expectErrno('ESTALE', () => grow(shell, 12345, 1))
    await expectErrno('ESTALE', async () => readContent(pool.engine)(rootContext, 12345, NOW))
  })

  withPool('of a flush leaves the times and tells nobody', async (shell) => {
    const { make: mk, inode, pool } = shell
    const file = await mk(root, 1, 'f', S_IFREG | 0o644)
    const was = await inode(file)
    const before = (await pool.engine.changes(pool.engine.session, 1, 1000)).length
    await changeContent(pool.engine)(rootContext, file, { touch: undefined, killSuidgid: false }, (_tx, where, c) => {
      assert.deepEqual(where, { ino: file, epoch: 1, newestSnapshot: 0 })
      return { ...c, durableSizeBytes: 0, allocatedBytes: 4096 }
    })
    const n = await inode(file)
    assert.deepEqual([n?.mtimeSec, n?.ctimeSec, n?.allocatedBytes, n?.blocks512], [was?.mtimeSec, was?.ctimeSec, 4096, 8])
    assert.equal((await pool.engine.changes(pool.engine.session, 1, 1000)).length, before)
  })

  withPool('and every other change tell the change log', async (shell) => {
    const { make: mk, call, pool } = shell
    const file = await mk(root, 1, 'f', S_IFREG | 0o644)
    await grow(shell, file, 1)
    await call(root, (t, tx, op) => t.rename(tx, op, { parent: 1, name: 'f', newParent: 1, newName: 'g', flags: 0, whiteoutIno: 0 }))
    await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'g'))
    const events = (await pool.engine.changes(pool.engine.session, 1, 1000)).map(({ bytes }) => decodeChange(bytes))
    assert.deepEqual(events.map((e) => [e.kind, e.ino, e.name]), [['make', 1, ''], ['make', file, 'f'], ['content', file, ''], ['rename', file, 'f'], ['unlink', file, 'g']])
  })
})

describe('several engines at one database', () => {
  test('never make a cycle of directories that move into each other', { timeout: 120_000 }, async () => {
    let refused = 0
    for (let seed = 1; seed <= 20; seed++) {
      const server = makeMemoryServer()
      const one = shellOf(await openRemote({ seed, server }))
      const two = await openRemote({ seed: seed + 1000, server, joins: true })
      const dirs: number[] = []
      for (const name of ['a', 'b', 'c']) dirs.push(await one.make(root, 1, name, S_IFDIR | 0o755))
      const move = (pool: TestPool, from: number, to: number) => pool.run(root, (tx, op) =>
        pool.tree.rename(tx, op, { parent: 1, name: 'abc'[from], newParent: dirs[to], newName: 'x', flags: 0, whiteoutIno: 0 }) as never)
      const outcomes = await Promise.all([
        one.pool.settle(errnoNameOf(() => move(one.pool, 0, 1))),
        two.settle(errnoNameOf(() => move(two, 1, 2))),
        one.pool.settle(errnoNameOf(() => move(one.pool, 2, 0)))
      ])
      assert(outcomes.filter((errno) => errno === 'EINVAL').length >= 1, 'one of three moves in a ring must fail')
      for (const errno of outcomes) assert(errno === undefined || errno === 'EINVAL')
      refused += outcomes.filter((errno) => errno !== undefined).length
      await two.close()
      await endWhole(one.pool)
    }
    assert.equal(refused, 20)
  })

  test('keep every count when they create and remove in one directory at once', { timeout: 120_000 }, async () => {
    const server = makeMemoryServer()
    const one = await openRemote({ seed: 5, server })
    const two = await openRemote({ seed: 6, server, joins: true })
    const work = (pool: TestPool, base: number) => pool.settle(Promise.all(Array.from({ length: 12 }, async (_, i) => {
      const ino = base + i
      const name = `${i % 6}`
      await errnoNameOf(() => pool.run(user(1000), (tx, op) => pool.tree.make(tx, op, { parent: 1, name, mode: S_IFREG | 0o644, umask: 0, rdev: 0, target: undefined, ino }) as never))
      if (i % 3 === 0) await errnoNameOf(() => pool.run(user(1000), (tx, op) => pool.tree.unlink(tx, op, 1, name) as never))
      if (i % 4 === 0) await errnoNameOf(() => pool.run(root, (tx, op) => takeSnapshot(pool.tree, tx, op, 1, `${base}-${i}`)))
    })))
    await Promise.all([work(one, 1000), work(two, 2000)])
    await two.close()
    await endWhole(one)
  })

  test('rmdir and create in it: one of them loses', { timeout: 120_000 }, async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const server = makeMemoryServer()
      const one = shellOf(await openRemote({ seed, server }))
      const two = await openRemote({ seed: seed + 99, server, joins: true })
      const dir = await one.make(root, 1, 'd', S_IFDIR | 0o777)
      const [removed, created] = await Promise.all([
        one.pool.settle(errnoNameOf(() => one.pool.run(root, (tx, op) => one.pool.tree.rmdir(tx, op, 1, 'd') as never))),
        two.settle(errnoNameOf(() => two.run(root, (tx, op) => two.tree.make(tx, op, { parent: dir, name: 'f', mode: S_IFREG | 0o600, umask: 0, rdev: 0, target: undefined, ino: 900 }) as never)))
      ])
      assert([`${removed} ${created}`].every((s) => s === 'undefined ENOENT' || s === 'ENOTEMPTY undefined'), `${removed} ${created}`)
      await two.close()
      await endWhole(one.pool)
    }
  })
})

withPool('a snapshot that is begun is seen by nobody until it has its name; what is dropped leaves nothing', async (shell) => {
  const { make: mk, call, names, pool } = shell
  const reader = () => pool.engine.reader(rootContext)
  const domain = async () => (await pool.settle(Promise.resolve(pool.tree.domain(reader(), 1))))!
  const holds = async () => pool.settle(Promise.resolve(pool.tree.holds(reader(), 1)))
  const begin = (name: string) => call(root, (t, tx) => t.beginSnapshot(tx, 1, name) as number)
  await mk(root, 1, 'a', S_IFREG | 0o644)
  const one = await begin('one')
  await mk(root, 1, 'b', S_IFREG | 0o644)
  assert.deepEqual(await pool.settle(Promise.resolve(pool.tree.snapshots(reader(), 1))), [])
  assert.deepEqual([(await domain()).newestSnapshot, await holds()], [one, [{ origin: 1, epoch: one, clone: NOBODY }]])
  for await (const { what } of checkTree(reader())) assert.fail(what)
  await call(root, (t, tx, op) => t.nameSnapshot(tx, op, 1, one, 'one') as never)
  assert.deepEqual([await names(1, one), await holds()], [['a'], []])
  await expectErrno('EEXIST', () => begin('one'))

  const two = await begin('two')
  await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'b'))
  for (let n = 0; n < 2; n++) await call(root, (t, tx) => t.dropBegun(tx, 1, two) as never)
  assert.deepEqual([(await domain()).newestSnapshot, (await domain()).epoch, await holds()], [two, two + 1, []])
  const sweeps = await pool.settle(Promise.resolve(pool.tree.sweepsWanted(reader())))
  assert.deepEqual(sweeps.map((s) => s.domain), [1])
  await call(root, (t, tx) => t.sweepBegun(tx, sweeps[0]) as never)
  assert.equal((await domain()).newestSnapshot, one)
  await expectErrno('EEXIST', () => call(root, (t, tx, op) => t.nameSnapshot(tx, op, 1, two, 'one') as never))
})
