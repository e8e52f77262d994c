/** Clones of trees: folders that get their entries when somebody looks into them, and show until then what they will. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NOW } from '../../src/data/index.js'
import { checkTree } from '../../src/meta/check.js'
import { changeContent, openTree } from '../../src/meta/index.js'
import type { Inode } from '../../src/meta/index.js'
import { rootContext } from '../../src/sys/index.js'
import { collidingHash, endWhole, engines, expectErrno, HASH_KEY, openQuick, root, S_IFDIR, S_IFLNK, S_IFREG, shellOf, takeSnapshot } from './pools.js'
import type { PoolOptions, Shell, TestPool } from './pools.js'

const snap = (shell: Shell, name: string, domain = 1): Promise<number> => shell.call(root, (t, tx, op) => takeSnapshot(t, tx, op, domain, name))
let nextClone = 1_000_000
const clone = async (shell: Shell, domain: number, snapshot: string, name: string, parent = 1): Promise<number> => {
  const ino = nextClone++
  await shell.call(root, (t, tx, op) => t.cloneTree(tx, op, { domain, snapshot, parent, name, ino }) as Inode)
  return ino
}
const write = (shell: Shell, ino: number, text: string): Promise<unknown> =>
  shell.pool.settle(changeContent(shell.pool.engine)(rootContext, ino, { touch: { sec: 77, nsec: 8 }, killSuidgid: false }, (_tx, _file, c) => ({ ...c, sizeBytes: text.length, durableSizeBytes: text.length, inline: Buffer.from(text) })))
const unvisited = async ({ pool }: Shell): Promise<number> => (await pool.settle(Promise.resolve(pool.engine.reader(rootContext).scan({ from: 'L', to: 'M', limit: 10_000 })))).length
const rows = async ({ pool }: Shell, kind: string): Promise<number> => (await pool.settle(Promise.resolve(pool.engine.reader(rootContext).scan({ from: kind, to: String.fromCharCode(kind.charCodeAt(0) + 1), limit: 10_000 })))).length

/** Everything below a folder as plain data; what two folders show alike is equal. */
async function dump(shell: Shell, ino: number, view = NOW): Promise<unknown> {
  const { pool: { tree, engine, settle } } = shell
  const r = engine.reader(rootContext)
  const ids = new Map<number, string>()
  async function of(at: number, path: string): Promise<unknown> {
    const i = await shell.inode(at, view)
    assert.ok(i !== undefined, path)
    const isDir = (i.mode & 0o170000) === S_IFDIR
    const first = ids.get(at)
    ids.set(at, first ?? path)
    const xattrs = await settle(Promise.resolve(tree.listxattr(r, at, view)))
    const values: string[] = []
    for (const name of [...xattrs].sort()) values.push(`${name}=${Buffer.from((await settle(Promise.resolve(tree.getxattr(r, at, name, view))))!).toString()}`)
    const children: [string, unknown][] = []
    if (isDir) for (const name of await shell.names(at, view)) children.push([name, await of((await shell.at(at, name, view))!, `${path}/${name}`)])
    return {
      mode: i.mode.toString(8), nlink: i.nlink, uid: i.uid, gid: i.gid, rdev: i.rdev, size: i.sizeBytes, flags: i.flags, times: [i.atimeSec, i.mtimeSec, i.mtimeNsec, i.ctimeSec, i.ctimeNsec, i.btimeSec],
      bytes: i.inline === undefined ? undefined : Buffer.from(i.inline).toString(), same: first, values, children
    }
  }
  return of(ino, '')
}

function withPool(title: string, act: (shell: Shell) => Promise<void>, only?: (options?: PoolOptions) => Promise<TestPool>, options?: PoolOptions): void {
  for (const [kind, open] of Object.entries(only === undefined ? engines : { '': only })) {
    test(`${title} ${kind === '' ? '' : `(${kind})`}`, { timeout: 60_000 }, async () => {
      const shell = shellOf(await open(options))
      await shell.call(root, (t, tx) => t.takeInodeNumbers(tx, 2_000_000) as number) // those that the tests choose
      await act(shell)
      await endWhole(shell.pool)
    })
  }
}

/** /d/{f, link to f, s -> x, sub/{g, h = d/f}}, /e/ */
async function plant(shell: Shell): Promise<{ d: number; f: number; sub: number }> {
  const { make: mk, call } = shell
  const d = await mk(root, 1, 'd', S_IFDIR | 0o2755)
  const f = await mk(root, d, 'f', S_IFREG | 0o4755)
  await write(shell, f, 'hello')
  await call(root, (t, tx, op) => t.link(tx, op, f, d, 'f2'))
  await mk(root, d, 's', S_IFLNK | 0o777, { target: 'x/y' })
  const sub = await mk(root, d, 'sub', S_IFDIR | 0o700)
  await mk(root, sub, 'g', S_IFREG | 0o600)
  await call(root, (t, tx, op) => t.link(tx, op, f, sub, 'h'))
  await mk(root, 1, 'e', S_IFDIR | 0o755)
  await call(root, (t, tx, op) => t.setxattr(tx, op, sub, 'user.x', Buffer.from('1'), 0, false))
  await call(root, (t, tx, op) => t.setxattr(tx, op, f, 'user.y', Buffer.from('2'), 0, false))
  return { d, f, sub }
}

describe('a clone of a tree', () => {
  withPool('shows what the snapshot shows, folder by folder', async (shell) => {
    const { d, f } = await plant(shell)
    const e = await snap(shell, 'one')
    await write(shell, f, 'changed')
    await shell.call(root, (t, tx, op) => t.unlink(tx, op, d, 'f2'))
    await shell.make(root, d, 'new', S_IFREG | 0o644)
    const c = await clone(shell, 1, 'one', 'c')
    assert.equal(await unvisited(shell), 1)
    assert.equal((await shell.inode(c))?.nlink, 4)
    assert.deepEqual(await shell.names(c), ['d', 'e'])
    assert.equal(await unvisited(shell), 2, 'd and e are to be visited')
    assert.deepEqual(await dump(shell, c), await dump(shell, 1, e))
    assert.deepEqual([await unvisited(shell), await rows(shell, 'F'), await rows(shell, 'J')], [0, 0, 0])
    assert.equal(await shell.at(c, 'nothing'), undefined)
  })

  withPool('is its own: what changes in it changes nowhere else', async (shell) => {
    await plant(shell)
    const e = await snap(shell, 'one')
    const was = await dump(shell, 1, e)
    const c = await clone(shell, 1, 'one', 'c')
    const d = (await shell.at(c, 'd'))!
    await shell.make(root, d, 'own', S_IFREG | 0o644)
    await write(shell, (await shell.at(d, 'f'))!, 'of the clone')
    await shell.call(root, (t, tx, op) => t.rename(tx, op, { parent: d, name: 'sub', newParent: c, newName: 'moved', flags: 0, whiteoutIno: 0 }))
    assert.deepEqual(await dump(shell, 1, e), was)
    assert.deepEqual(await shell.names((await shell.at(c, 'moved'))!), ['g', 'h'])
    assert.equal(await shell.at((await shell.at(c, 'moved'))!, 'h'), await shell.at(d, 'f'), 'one inode for its names')
    await expectErrno('EXDEV', async () => shell.call(root, async (t, tx, op) => t.link(tx, op, (await shell.at(d, 'f'))!, 1, 'x')))
  })

  withPool('has snapshots that show folders that were visited later', async (shell) => {
    await plant(shell)
    const e = await snap(shell, 'one')
    const was = await dump(shell, 1, e)
    const c = await clone(shell, 1, 'one', 'c')
    const s = await snap(shell, 'cs', c)
    await shell.call(root, (t, tx, op) => t.setattr(tx, op, c, { valid: 1, mode: 0o700, uid: 0, gid: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }))
    await shell.make(root, (await shell.at(c, 'd'))!, 'own', S_IFREG | 0o644)
    assert.deepEqual(await dump(shell, c, s), was)
    const cc = await clone(shell, c, 'cs', 'cc')
    await shell.call(root, (t, tx, op) => t.unlink(tx, op, cc, 'nothing')).catch(() => undefined)
    assert.deepEqual(await dump(shell, cc), was, 'a clone of a clone')
  })

  withPool('of a clone that nobody looked into', async (shell) => {
    await plant(shell)
    const e = await snap(shell, 'one')
    const c = await clone(shell, 1, 'one', 'c')
    await snap(shell, 's', c)
    const cc = await clone(shell, c, 's', 'cc')
    await snap(shell, 's', cc)
    const ccc = await clone(shell, cc, 's', 'ccc')
    assert.deepEqual(await dump(shell, ccc), await dump(shell, 1, e))
  })

  withPool('keeps a hard link of which all names that were found are gone', async (shell) => {
    await plant(shell)
    await snap(shell, 'one')
    const c = await clone(shell, 1, 'one', 'c')
    const d = (await shell.at(c, 'd'))!
    const f = (await shell.at(d, 'f'))!
    await shell.call(root, (t, tx, op) => t.unlink(tx, op, d, 'f'))
    await shell.call(root, (t, tx, op) => t.unlink(tx, op, d, 'f2'))
    assert.deepEqual([(await shell.inode(f))?.nlink, (await shell.inode(f))?.parent], [1, 0])
    await write(shell, f, 'still there')
    await shell.call(root, (t, tx, op) => t.link(tx, op, f, d, 'again'))
    await shell.call(root, (t, tx, op) => t.unlink(tx, op, d, 'again'))
    const sub = (await shell.at(d, 'sub'))!
    assert.equal(await shell.at(sub, 'h'), f)
    const inode = (await shell.inode(f))!
    assert.deepEqual([inode.nlink, inode.parent, Buffer.from(inode.inline!).toString()], [1, sub, 'still there'])
    assert.deepEqual([await rows(shell, 'F'), await rows(shell, 'J')], [0, 0])
  })

  withPool('has large folders, chains of ties and tombstones', async (shell) => {
    const { make: mk, call } = shell
    const d = await mk(root, 1, 'd', S_IFDIR | 0o755)
    for (let i = 0; i < 250; i++) await mk(root, d, `n${String(i).padStart(3, '0')}${i % 2 === 0 ? '' : 'x'}`, S_IFREG | 0o644)
    for (const i of [0, 3, 4, 5, 40]) await call(root, (t, tx, op) => t.unlink(tx, op, d, `n${String(i).padStart(3, '0')}${i % 2 === 0 ? '' : 'x'}`))
    const e = await snap(shell, 'one')
    await call(root, (t, tx, op) => t.unlink(tx, op, d, 'n248'))
    await call(root, (t, tx, op) => t.unlink(tx, op, d, 'n001x'))
    const c = await clone(shell, 1, 'one', 'c')
    assert.deepEqual(await shell.names((await shell.at(c, 'd'))!), await shell.names(d, e))
    assert.deepEqual(await dump(shell, c), await dump(shell, 1, e))
    await mk(root, (await shell.at(c, 'd'))!, 'n004', S_IFREG | 0o644)
  }, openQuick, { hash: collidingHash })

  withPool('is visited in slices; a death after any of them leaves a visit that is begun anew', async (shell) => {
    const { make: mk, call, pool } = shell
    const d = await mk(root, 1, 'd', S_IFDIR | 0o755)
    for (let i = 0; i < 600; i++) await mk(root, d, `name ${i}`, i % 100 === 1 ? S_IFDIR | 0o755 : S_IFREG | 0o644)
    const other = await mk(root, 1, 'other', S_IFDIR | 0o755)
    for (let i = 0; i < 600; i += 40) await call(root, async (t, tx, op) => t.link(tx, op, (await shell.at(d, `name ${i}`))!, other, `link ${i}`))
    const e = await snap(shell, 'one')
    for (let lives = 0; lives < 5; lives++) {
      const c = await clone(shell, 1, 'one', `c${lives}`)
      const inner = (await shell.at(c, 'd'))!
      let left = lives
      const dying = { ...pool.engine, transact: ((...args: Parameters<typeof pool.engine.transact>) => (left-- > 0 ? pool.engine.transact(...args) : Promise.reject(new Error('died')))) as typeof pool.engine.transact }
      const tree = openTree({ hashKey: HASH_KEY, engine: dying })
      const listed = async (): Promise<unknown> => tree.list(pool.engine.reader(rootContext), inner, NOW, 0, 0, 10)
      if (lives < 3) await assert.rejects(listed, /died/)
      else await listed()
      assert.equal((await shell.inode(inner))?.nlink, 8)
      const problems: string[] = []
      for await (const { what } of checkTree(pool.engine.reader(rootContext), pool.hash)) problems.push(what)
      assert.deepEqual(problems, [])
      if (lives > 0) await call(root, (t, tx, op) => t.unlink(tx, op, inner, 'name 77'))
      if (lives > 0) await mk(root, inner, 'name 77', S_IFREG | 0o644)
      assert.equal((await shell.names(inner)).length, 600)
      if (lives === 0) assert.deepEqual(await dump(shell, c), await dump(shell, 1, e))
    }
  }, openQuick)

  withPool('is visited once by many who ask at once', async (shell) => {
    const { make: mk, pool } = shell
    for (let i = 0; i < 50; i++) await mk(root, 1, `name ${i}`, S_IFREG | 0o644)
    await snap(shell, 'one')
    const c = await clone(shell, 1, 'one', 'c')
    const before = (await shell.pool.tree.usage(pool.engine.reader(rootContext))).inodes
    const commits = pool.engine.committedSeq()
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? shell.at(c, `name ${i}`) : shell.names(c))))
    assert.equal(all.filter((x) => x === undefined).length, 0)
    assert.equal((await shell.pool.tree.usage(pool.engine.reader(rootContext))).inodes - before, 50)
    assert.equal(pool.engine.committedSeq() - commits, 1)
  }, openQuick)

  withPool('holds what it is a clone of', async (shell) => {
    const { call } = shell
    await call(root, (t, tx, op) => t.makeSubvolume(tx, op, 1, 'sub', 0o755, 6001))
    await shell.make(root, 6001, 'f', S_IFREG | 0o644)
    await snap(shell, 'one', 6001)
    const c = await clone(shell, 6001, 'one', 'c')
    await call(root, (t, tx, op) => t.unlink(tx, op, 6001, 'f'))
    await call(root, (t, tx) => t.removeSnapshot(tx, 6001, 'one') as number)
    const { rows: needless } = await shell.pool.settle(Promise.resolve(shell.pool.tree.needlessHistory(shell.pool.engine.reader(rootContext), '', 1000)))
    assert.equal(needless.length, 0)
    await call(root, async (t, tx) => {
      for (const sweep of await t.sweepsWanted(tx)) await t.sweepDone(tx, sweep)
    })
    await expectErrno('ETXTBSY', () => call(root, (t, tx, op) => t.removeSubvolume(tx, op, 1, 'sub')))
    assert.deepEqual(await shell.names(c), ['f'])
  })

  withPool('shows subvolumes as empty folders, removed ones too', async (shell) => {
    const { call } = shell
    await shell.make(root, 1, 'd', S_IFDIR | 0o755)
    const d = (await shell.at(1, 'd'))!
    await call(root, (t, tx, op) => t.makeSubvolume(tx, op, d, 'a', 0o755, 5001))
    await call(root, (t, tx, op) => t.makeSubvolume(tx, op, d, 'b', 0o755, 5002))
    await shell.make(root, 5001, 'inside', S_IFREG | 0o644)
    await snap(shell, 'one')
    await call(root, (t, tx, op) => t.removeSubvolume(tx, op, d, 'b'))
    const c = await clone(shell, 1, 'one', 'c')
    const cd = (await shell.at(c, 'd'))!
    assert.deepEqual(await shell.names(cd), ['a', 'b'])
    for (const name of ['a', 'b']) {
      const ino = (await shell.at(cd, name))!
      assert.deepEqual([await shell.names(ino), (await shell.inode(ino))?.domain, (await shell.inode(ino))?.nlink], [[], c, 2])
    }
    await call(root, (t, tx, op) => t.rmdir(tx, op, cd, 'a'))
  })

  withPool('goes when it is empty, as any subvolume', async (shell) => {
    const { call, pool } = shell
    await plant(shell)
    await snap(shell, 'one')
    const c = await clone(shell, 1, 'one', 'c')
    await expectErrno('ENOTEMPTY', () => call(root, (t, tx, op) => t.removeSubvolume(tx, op, 1, 'c')))
    const clear = async (dir: number): Promise<void> => {
      for (const name of await shell.names(dir)) {
        const ino = (await shell.at(dir, name))!
        const isDir = ((await shell.inode(ino))!.mode & 0o170000) === S_IFDIR
        if (isDir) await clear(ino)
        const { left } = await call(root, (t, tx, op) => (isDir ? t.rmdir(tx, op, dir, name) : t.unlink(tx, op, dir, name)) as { left: Inode })
        if (left.nlink === 0) await call(root, (t, tx) => t.forgetInode(tx, pool.engine.session, ino))
      }
    }
    await clear(c)
    await call(root, (t, tx, op) => t.removeSubvolume(tx, op, 1, 'c'))
    assert.equal(await rows(shell, 'K'), 1)
    await call(root, (t, tx) => t.forgetInode(tx, pool.engine.session, c))
    assert.deepEqual([await rows(shell, 'K'), await rows(shell, 'L'), await rows(shell, 'F'), await rows(shell, 'J')], [0, 0, 0, 0])
  })

  withPool('rmdir and rename over a folder that nobody looked into see what is in it', async (shell) => {
    const { call } = shell
    await plant(shell)
    await snap(shell, 'one')
    const c = await clone(shell, 1, 'one', 'c')
    const d = (await shell.at(c, 'd'))!
    await expectErrno('ENOTEMPTY', () => call(root, (t, tx, op) => t.rmdir(tx, op, c, 'd')))
    await expectErrno('ENOTEMPTY', () => call(root, (t, tx, op) => t.rename(tx, op, { parent: c, name: 'e', newParent: d, newName: 'sub', flags: 0, whiteoutIno: 0 })))
    await call(root, (t, tx, op) => t.rename(tx, op, { parent: d, name: 'sub', newParent: c, newName: 'e', flags: 2, whiteoutIno: 0 }))
    await call(root, (t, tx, op) => t.rmdir(tx, op, d, 'sub'))
    assert.deepEqual(await shell.names((await shell.at(c, 'e'))!), ['g', 'h'])
  })

  withPool('says what cannot be cloned', async (shell) => {
    await plant(shell)
    await snap(shell, 'one')
    await expectErrno('ENOENT', () => clone(shell, 1, 'two', 'c'))
    await expectErrno('EEXIST', () => clone(shell, 1, 'one', 'd'))
    await expectErrno('ENOTDIR', async () => clone(shell, 1, 'one', 'c', (await shell.at((await shell.at(1, 'd'))!, 'f'))!))
    await shell.call(root, (t, tx, op) => t.makeVolume(tx, op, 'v', 7000, 4096))
    await snap(shell, 'one', 7000)
    await expectErrno('EINVAL', () => clone(shell, 7000, 'one', 'c'))
  })
})
