/** What each operation does and refuses, on every engine: one table of errnos, and the cases that a table cannot tell. */
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { NOW } from '../../src/data/index.js'
import type { Tx } from '../../src/engine/index.js'
import type { Op, Tree } from '../../src/meta/index.js'
import { rootContext } from '../../src/sys/index.js'
import type { Context, ErrnoName } from '../../src/sys/index.js'
import { collidingHash, endWhole, engines, expectErrno, openQuick, root, S_IFDIR, S_IFLNK, S_IFREG, shellOf, user } from './pools.js'
import type { PoolOptions, Shell, TestPool } from './pools.js'

const NOTHING = { mode: 0, uid: 0, gid: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }
const SET = { MODE: 1, UID: 2, GID: 4, ATIME: 16, MTIME: 32, ATIME_NOW: 128, MTIME_NOW: 256 }
const long = 'n'.repeat(256)
const ada = user(1000)
const bob = user(1001)

type Do = (t: Tree, tx: Tx, op: Op, i: Record<string, number>) => unknown
interface Case {
  readonly title: string
  readonly as: Context
  readonly does: Do
  readonly fails: ErrnoName
}
let fresh = 10_000
const make = (parent: string, name: string, mode = S_IFREG | 0o644): Do => (t, tx, op, i) =>
  t.make(tx, op, { parent: i[parent], name, mode, umask: 0, rdev: 0, target: 'x', ino: fresh++ })
const unlink = (parent: string, name: string): Do => (t, tx, op, i) => t.unlink(tx, op, i[parent], name)
const rmdir = (parent: string, name: string): Do => (t, tx, op, i) => t.rmdir(tx, op, i[parent], name)
const rename = (parent: string, name: string, newParent: string, newName: string, flags = 0): Do => (t, tx, op, i) =>
  t.rename(tx, op, { parent: i[parent], name, newParent: i[newParent], newName, flags, whiteoutIno: fresh++ })
const link = (ino: string, parent: string, name: string): Do => (t, tx, op, i) => t.link(tx, op, i[ino], i[parent], name)
const set = (ino: string, valid: number, more = {}): Do => (t, tx, op, i) => t.setattr(tx, op, i[ino], { ...NOTHING, valid, ...more })
const xattr = (ino: string, name: string, length = 1, flags = 0): Do => (t, tx, op, i) => t.setxattr(tx, op, i[ino], name, new Uint8Array(length), flags, false)
const setflags = (ino: string, flags: number): Do => (t, tx, op, i) => t.setflags(tx, op, i[ino], flags)

/**
 * /open 0777: file (ada 0644), dir (ada 0755): inner/deep; empty (ada); link -> x
 * /sticky 01777: his (bob's), hers (ada's) | /closed 0700 root: secret | /searched 0711 root: known
 * /frozen (immutable) 0777: f | /log (append-only) 0777: f | /open/still (immutable, ada's)
 */
const cases: Case[] = [
  { title: 'make: the parent is a file', as: root, does: make('file', 'x'), fails: 'ENOTDIR' },
  { title: 'make: the parent is gone', as: root, does: make('gone', 'x'), fails: 'ESTALE' },
  { title: 'make: no search permission comes before EEXIST', as: ada, does: make('closed', 'secret'), fails: 'EACCES' },
  { title: 'make: EEXIST comes before no write permission', as: ada, does: make('searched', 'known'), fails: 'EEXIST' },
  { title: 'make: no write permission', as: ada, does: make('searched', 'new'), fails: 'EACCES' },
  { title: 'make: a name of 256 bytes', as: root, does: make('open', long), fails: 'ENAMETOOLONG' },
  { title: 'make: a name with a slash', as: root, does: make('open', 'a/b'), fails: 'EINVAL' },
  { title: 'make: an empty name', as: root, does: make('open', ''), fails: 'ENOENT' },
  { title: 'make: dot', as: root, does: make('open', '.'), fails: 'EEXIST' },
  { title: 'make: an immutable directory', as: root, does: make('frozen', 'x'), fails: 'EPERM' },
  { title: 'make: a device is root\'s', as: ada, does: (t, tx, op, i) => t.make(tx, op, { parent: i.open, name: 'x', mode: 0o060600, umask: 0, rdev: 5, target: undefined, ino: fresh++ }), fails: 'EPERM' },
  { title: 'make: an unknown type', as: root, does: make('open', 'x', 0o070644), fails: 'EINVAL' },
  { title: 'unlink: no such name', as: root, does: unlink('open', 'none'), fails: 'ENOENT' },
  { title: 'unlink: a directory', as: root, does: unlink('open', 'dir'), fails: 'EISDIR' },
  { title: 'unlink: dot', as: root, does: unlink('open', '..'), fails: 'EISDIR' },
  { title: 'unlink: another\'s file in a sticky directory', as: ada, does: unlink('sticky', 'his'), fails: 'EPERM' },
  { title: 'unlink: sticky comes before EISDIR', as: ada, does: unlink('sticky', 'hisdir'), fails: 'EPERM' },
  { title: 'unlink: an immutable file', as: root, does: unlink('open', 'still'), fails: 'EPERM' },
  { title: 'unlink: from an append-only directory', as: root, does: unlink('log', 'f'), fails: 'EPERM' },
  { title: 'unlink: no write permission', as: ada, does: unlink('searched', 'known'), fails: 'EACCES' },
  { title: 'rmdir: a file', as: root, does: rmdir('open', 'file'), fails: 'ENOTDIR' },
  { title: 'rmdir: not empty', as: root, does: rmdir('open', 'dir'), fails: 'ENOTEMPTY' },
  { title: 'rmdir: dot', as: root, does: rmdir('open', '.'), fails: 'EINVAL' },
  { title: 'rmdir: dot dot', as: root, does: rmdir('open', '..'), fails: 'ENOTEMPTY' },
  { title: 'rename: flags that exclude each other', as: root, does: rename('open', 'file', 'open', 'x', 3), fails: 'EINVAL' },
  { title: 'rename: no such name', as: root, does: rename('open', 'none', 'open', 'x'), fails: 'ENOENT' },
  { title: 'rename: exchange with nothing', as: root, does: rename('open', 'file', 'open', 'none', 2), fails: 'ENOENT' },
  { title: 'rename: NOREPLACE on a name that is there', as: root, does: rename('open', 'file', 'open', 'empty', 1), fails: 'EEXIST' },
  { title: 'rename: into itself', as: root, does: rename('open', 'dir', 'dir', 'x'), fails: 'EINVAL' },
  { title: 'rename: into its own grandchild', as: root, does: rename('open', 'dir', 'inner', 'x'), fails: 'EINVAL' },
  { title: 'rename: over an ancestor', as: root, does: rename('inner', 'deep', 'open', 'dir'), fails: 'ENOTEMPTY' },
  { title: 'rename: exchange with an ancestor', as: root, does: rename('inner', 'deep', 'open', 'dir', 2), fails: 'EINVAL' },
  { title: 'rename: a directory over a file', as: root, does: rename('open', 'dir', 'open', 'file'), fails: 'ENOTDIR' },
  { title: 'rename: a file over a directory', as: root, does: rename('open', 'file', 'open', 'empty'), fails: 'EISDIR' },
  { title: 'rename: over a full directory', as: root, does: rename('open', 'empty', 'open', 'dir'), fails: 'ENOTEMPTY' },
  { title: 'rename: dot', as: root, does: rename('open', '.', 'open', 'x'), fails: 'EBUSY' },
  { title: 'rename: out of a sticky directory', as: ada, does: rename('sticky', 'his', 'open', 'x'), fails: 'EPERM' },
  { title: 'rename: over another\'s in a sticky directory', as: ada, does: rename('sticky', 'hers', 'sticky', 'his'), fails: 'EPERM' },
  { title: 'rename: a directory one may not write to a new parent', as: bob, does: rename('open', 'dir', 'sticky', 'x'), fails: 'EACCES' },
  { title: 'link: a directory', as: root, does: link('dir', 'open', 'x'), fails: 'EPERM' },
  { title: 'link: EEXIST', as: root, does: link('file', 'open', 'empty'), fails: 'EEXIST' },
  { title: 'link: an immutable file', as: root, does: link('still', 'open', 'x'), fails: 'EPERM' },
  { title: 'link: a directory without write permission', as: ada, does: link('file', 'searched', 'x'), fails: 'EACCES' },
  { title: 'chmod: not the owner', as: bob, does: set('file', SET.MODE, { mode: 0o777 }), fails: 'EPERM' },
  { title: 'chmod: a symlink', as: root, does: set('link', SET.MODE, { mode: 0o777 }), fails: 'EOPNOTSUPP' },
  { title: 'chmod: an immutable file', as: root, does: set('still', SET.MODE, { mode: 0o777 }), fails: 'EPERM' },
  { title: 'chown: giving away', as: ada, does: set('file', SET.UID, { uid: 1001 }), fails: 'EPERM' },
  { title: 'chown: to a group one is not in', as: ada, does: set('file', SET.GID, { gid: 1001 }), fails: 'EPERM' },
  { title: 'utimens: another\'s', as: bob, does: set('file', SET.MTIME, { mtimeSec: 1 }), fails: 'EPERM' },
  { title: 'utimens: only one to now is the owner\'s too', as: bob, does: set('file', SET.MTIME | SET.MTIME_NOW), fails: 'EPERM' },
  { title: 'touch: without write permission', as: bob, does: set('file', SET.ATIME_NOW | SET.MTIME_NOW), fails: 'EACCES' },
  { title: 'xattr: no such name space', as: root, does: xattr('file', 'mine.x'), fails: 'EOPNOTSUPP' },
  { title: 'xattr: nothing behind the dot', as: root, does: xattr('file', 'user.'), fails: 'EINVAL' },
  { title: 'xattr: a name too long', as: root, does: xattr('file', 'user.' + long), fails: 'ERANGE' },
  { title: 'xattr: a value too large', as: root, does: xattr('file', 'user.x', 65537), fails: 'E2BIG' },
  { title: 'xattr: user on a symlink', as: root, does: xattr('link', 'user.x'), fails: 'EPERM' },
  { title: 'xattr: user on another\'s sticky directory', as: ada, does: xattr('sticky', 'user.x'), fails: 'EPERM' },
  { title: 'xattr: trusted is root\'s', as: ada, does: xattr('file', 'trusted.x'), fails: 'EPERM' },
  { title: 'xattr: no write permission', as: bob, does: xattr('file', 'user.x'), fails: 'EACCES' },
  { title: 'xattr: REPLACE without one', as: ada, does: xattr('file', 'user.none', 1, 2), fails: 'ENODATA' },
  { title: 'xattr: CREATE with one', as: ada, does: xattr('file', 'user.there', 1, 1), fails: 'EEXIST' },
  { title: 'xattr: remove without one', as: ada, does: (t, tx, op, i) => t.removexattr(tx, op, i.file, 'user.none'), fails: 'ENODATA' },
  { title: 'xattr: an ACL that is none', as: ada, does: xattr('file', 'system.posix_acl_access', 12), fails: 'EOPNOTSUPP' },
  { title: 'chattr: immutable is root\'s', as: ada, does: setflags('file', 0x10), fails: 'EPERM' },
  { title: 'chattr: not the owner', as: bob, does: setflags('file', 0x40), fails: 'EPERM' },
  { title: 'chattr: a flag that we do not have', as: root, does: setflags('file', 0x4), fails: 'EOPNOTSUPP' }
]

async function furnish(shell: Shell): Promise<Record<string, number>> {
  const { make: mk, call } = shell
  const i: Record<string, number> = { gone: 999_999 }
  i.open = await mk(root, 1, 'open', S_IFDIR | 0o777)
  i.file = await mk(ada, i.open, 'file', S_IFREG | 0o644)
  i.dir = await mk(ada, i.open, 'dir', S_IFDIR | 0o755)
  i.inner = await mk(ada, i.dir, 'inner', S_IFDIR | 0o755)
  i.deep = await mk(ada, i.inner, 'deep', S_IFREG | 0o644)
  i.empty = await mk(ada, i.open, 'empty', S_IFDIR | 0o755)
  i.link = await mk(ada, i.open, 'link', S_IFLNK | 0o777, { target: 'x' })
  i.still = await mk(ada, i.open, 'still', S_IFREG | 0o666)
  i.sticky = await mk(root, 1, 'sticky', S_IFDIR | 0o1777)
  i.his = await mk(bob, i.sticky, 'his', S_IFREG | 0o666)
  i.hisdir = await mk(bob, i.sticky, 'hisdir', S_IFDIR | 0o777)
  i.hers = await mk(ada, i.sticky, 'hers', S_IFREG | 0o666)
  i.closed = await mk(root, 1, 'closed', S_IFDIR | 0o700)
  i.secret = await mk(root, i.closed, 'secret', S_IFREG | 0o600)
  i.searched = await mk(root, 1, 'searched', S_IFDIR | 0o711)
  i.known = await mk(root, i.searched, 'known', S_IFREG | 0o600)
  i.frozen = await mk(root, 1, 'frozen', S_IFDIR | 0o777)
  i.log = await mk(root, 1, 'log', S_IFDIR | 0o777)
  await mk(root, i.log, 'f', S_IFREG | 0o666)
  await call(ada, (t, tx, op) => t.setxattr(tx, op, i.file, 'user.there', new Uint8Array(1), 0, false))
  await call(root, (t, tx, op) => t.setflags(tx, op, i.frozen, 0x10))
  await call(root, (t, tx, op) => t.setflags(tx, op, i.log, 0x20))
  await call(root, (t, tx, op) => t.setflags(tx, op, i.still, 0x10))
  return i
}

for (const [kind, open] of Object.entries(engines)) {
  describe(`refusals on ${kind}`, () => {
    let shell: Shell
    let i: Record<string, number>
    before(async () => {
      shell = shellOf(await open())
      i = await furnish(shell)
    })
    for (const { title, as, does, fails } of cases) {
      test(title, { timeout: 20_000 }, () => expectErrno(fails, () => shell.call(as, (tree, tx, op) => does(tree, tx, op, i) as Promise<unknown>)))
    }
    after(() => endWhole(shell.pool))
  })
}

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

describe('inodes', () => {
  withPool('a setgid directory hands on its group, and itself to directories', async ({ make: mk, inode, call }) => {
    const dir = await mk(root, 1, 'd', S_IFDIR | 0o777)
    await call(root, (t, tx, op) => t.setattr(tx, op, dir, { ...NOTHING, valid: SET.MODE | SET.GID, mode: 0o2777, gid: 50 }))
    const sub = await inode(await mk(ada, dir, 'sub', S_IFDIR | 0o755))
    assert.deepEqual([sub?.mode, sub?.gid], [S_IFDIR | 0o2755, 50])
    const file = await inode(await mk(ada, dir, 'f', S_IFREG | 0o2755))
    assert.deepEqual([file?.mode, file?.gid], [S_IFREG | 0o755, 50], 'one who is not in the group lends it to no program')
    const member = await inode(await mk(user(1000, 1000, [50]), dir, 'g', S_IFREG | 0o2755))
    assert.equal(member?.mode, S_IFREG | 0o2755)
  })

  withPool('chown drops setuid and, of programs, setgid; of directories nothing', async ({ make: mk, inode, call }) => {
    const file = await mk(root, 1, 'f', S_IFREG | 0o6755)
    const plain = await mk(root, 1, 'p', S_IFREG | 0o6744)
    const dir = await mk(root, 1, 'd', S_IFDIR | 0o755)
    await call(root, (t, tx, op) => t.setattr(tx, op, dir, { ...NOTHING, valid: SET.MODE, mode: 0o6755 }))
    for (const ino of [file, plain, dir]) await call(root, (t, tx, op) => t.setattr(tx, op, ino, { ...NOTHING, valid: SET.UID, uid: 5 }))
    assert.equal((await inode(file))?.mode, S_IFREG | 0o755)
    assert.equal((await inode(plain))?.mode, S_IFREG | 0o2744)
    assert.equal((await inode(dir))?.mode, S_IFDIR | 0o6755)
  })

  withPool('times before 1970 and after 2106 are kept, of files and of directories', async ({ make: mk, inode, call }) => {
    const file = await mk(root, 1, 'f', S_IFREG | 0o644)
    const dir = await mk(root, 1, 'd', S_IFDIR | 0o755)
    for (const ino of [file, dir]) {
      await call(root, (t, tx, op) => t.setattr(tx, op, ino, { ...NOTHING, valid: SET.ATIME | SET.MTIME, atimeSec: -5_000_000_000, atimeNsec: 1, mtimeSec: 9_000_000_000, mtimeNsec: 999_999_999 }))
      const n = await inode(ino)
      assert.deepEqual([n?.atimeSec, n?.atimeNsec, n?.mtimeSec, n?.mtimeNsec], [-5_000_000_000, 1, 9_000_000_000, 999_999_999])
    }
  })

  withPool('an unnamed file gets a name once, an unlinked one never again', async ({ make: mk, call, at, inode, pool }) => {
    await call(root, (t, tx, op) => t.makeUnnamed(tx, op, { parent: 1, name: '', mode: S_IFREG | 0o600, umask: 0, rdev: 0, target: undefined, ino: 50 }))
    assert.equal((await inode(50))?.nlink, 0)
    await call(root, (t, tx, op) => t.link(tx, op, 50, 1, 'named'))
    assert.equal(await at(1, 'named'), 50)
    assert.deepEqual(await pool.tree.links(pool.engine.reader(rootContext), 50), [{ parent: 1, name: 'named' }])
    await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'named'))
    await expectErrno('ENOENT', () => call(root, (t, tx, op) => t.link(tx, op, 50, 1, 'again')))
    const kept = await mk(root, 1, 'kept', S_IFREG | 0o600)
    assert.equal((await inode(kept))?.nlink, 1)
  })

  withPool('orphans are told to other sessions, and forgotten once', async ({ make: mk, call, inode, pool }) => {
    const { tree, engine } = pool
    const reader = engine.reader(rootContext)
    const file = await mk(root, 1, 'f', S_IFREG | 0o600)
    await call(root, (t, tx, op) => t.setxattr(tx, op, file, 'user.x', new Uint8Array(3), 0, false))
    const { left } = await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'f') as { left: { nlink: number } })
    assert.equal(left.nlink, 0)
    assert.deepEqual(await tree.orphans(reader, engine.session, 10), [])
    assert.deepEqual(await tree.orphans(reader, engine.session + 1, 10), [{ session: engine.session, ino: file }])
    await call(root, (t, tx) => t.forgetInode(tx, engine.session, file))
    await call(root, (t, tx) => t.forgetInode(tx, engine.session, file))
    assert.equal(await inode(file), undefined)
    assert.deepEqual(await tree.usage(reader), { inodes: 1, bytes: 0, extents: 0 })
  })

  withPool('without check only flags and stickiness refuse', async ({ make: mk, call, at }) => {
    const dir = await mk(root, 1, 'd', S_IFDIR | 0o700)
    await call(ada, (t, tx, op) => t.make(tx, { ...op, check: false }, { parent: dir, name: 'f', mode: S_IFREG | 0o600, umask: 0, rdev: 0, target: undefined, ino: 60 }))
    assert.equal(await at(dir, 'f'), 60)
    const sticky = await mk(root, 1, 's', S_IFDIR | 0o1777)
    await mk(bob, sticky, 'his', S_IFREG | 0o600)
    await expectErrno('EPERM', () => call(ada, (t, tx, op) => t.unlink(tx, { ...op, check: false }, sticky, 'his')))
  })

  withPool('inode numbers come in blocks that nobody shares', async ({ call }) => {
    const first = await call(root, (t, tx) => t.takeInodeNumbers(tx, 100) as number)
    assert.equal(await call(root, (t, tx) => t.takeInodeNumbers(tx, 1) as number), first + 100)
    assert(first > 1)
  })
})

describe('names that collide', () => {
  for (const [kind, open] of Object.entries(engines)) {
    withPool(`keep their cookies on ${kind}; tombstones are not listed and go with the end of their chain`, async ({ make: mk, call, names, pool }) => {
      const all = ['a', 'b', 'c', 'd', 'e']
      for (const name of all) await mk(root, 1, name, S_IFREG | 0o600)
      const { tree, engine, settle } = pool
      const list = () => settle(Promise.resolve(tree.list(engine.reader(rootContext), 1, NOW, 0, 0, 100)))
      const before_ = new Map((await list()).map((e) => [e.name, e.cookieLow]))
      await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'b'))
      await call(root, (t, tx, op) => t.unlink(tx, op, 1, 'd'))
      assert.deepEqual(await names(1), ['a', 'c', 'e'])
      for (const e of await list()) assert.equal(e.cookieLow, before_.get(e.name))
      const [first] = await list()
      const rest = await settle(Promise.resolve(tree.list(engine.reader(rootContext), 1, NOW, first.cookieHigh, first.cookieLow, 1)))
      assert.equal(rest[0].name, 'c', 'a listing goes on behind a cookie, past a tombstone')
      await mk(root, 1, 'f', S_IFREG | 0o600)
      assert.equal((await list()).find((e) => e.name === 'f')?.cookieLow, before_.get('b'), 'a tombstone\'s place is used again')
      for (const name of ['e', 'c', 'f', 'a']) await call(root, (t, tx, op) => t.unlink(tx, op, 1, name))
      assert.deepEqual(await settle(Promise.resolve(engine.reader(rootContext).scan({ from: 'D', to: 'E', limit: 10 }))), [])
    }, (options) => open({ ...options, hash: collidingHash }))
  }

  withPool('127 of one hash fit, the next is ENOSPC', async ({ make: mk, call, at, names }) => {
    const name = (n: number): string => String.fromCharCode(128 + n)
    for (let n = 0; n < 127; n++) await mk(root, 1, name(n), S_IFREG | 0o600)
    await expectErrno('ENOSPC', () => mk(root, 1, 'xyz', S_IFREG | 0o600))
    assert.equal(await at(1, 'xyz'), undefined)
    assert.equal((await names(1)).length, 127)
    await call(root, (t, tx, op) => t.unlink(tx, op, 1, name(3)))
    await mk(root, 1, 'xyz', S_IFREG | 0o600)
    assert.notEqual(await at(1, 'xyz'), undefined)
  }, (options) => openQuick({ ...options, hash: collidingHash }))
})
