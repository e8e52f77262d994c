/** Extended attributes and POSIX ACLs, as xattr(7) has them. */
import assert from 'node:assert/strict'
import { expectErrno, makeFile, makeNode, O_RDONLY, O_RDWR, BOB } from '../table.js'
import type { Case } from '../table.js'

const CREATE = 1
const REPLACE = 2

/** system.posix_acl_*: version 2, then (tag, perm, id) each. */
function acl(...entries: readonly (readonly [tag: number, perm: number, id: number])[]): string {
  const bytes = Buffer.alloc(4 + 8 * entries.length)
  bytes.writeUInt32LE(2, 0)
  entries.forEach(([tag, perm, id], i) => {
    bytes.writeUInt16LE(tag, 4 + 8 * i)
    bytes.writeUInt16LE(perm, 6 + 8 * i)
    bytes.writeUInt32LE(id, 8 + 8 * i)
  })
  return bytes.latin1Slice()
}
const NO_ID = 0xffffffff
const USER_OBJ = 1
const USER = 2
const GROUP_OBJ = 4
const MASK = 0x10
const OTHER = 0x20

export const xattrsCases: readonly Case[] = [
  {
    title: 'an xattr is set, read, listed, replaced and removed',
    run: async (t) => {
      await makeFile(t.alice, 'f')
      await t.alice.setxattr('f', 'user.one', 'value', 0)
      await t.alice.setxattr('f', 'user.empty', '', 0)
      assert.equal(await t.alice.getxattr('f', 'user.one'), 'value')
      assert.equal(await t.alice.getxattr('f', 'user.empty'), '')
      await t.alice.setxattr('f', 'user.one', 'other', 0)
      assert.equal(await t.alice.getxattr('f', 'user.one'), 'other')
      assert.deepEqual((await t.alice.listxattr('f')).filter((name) => name.startsWith('user.')).sort(), ['user.empty', 'user.one'])
      await t.alice.removexattr('f', 'user.one')
      await expectErrno('ENODATA', t.alice.getxattr('f', 'user.one'))
      await expectErrno('ENODATA', t.alice.removexattr('f', 'user.one'))
    },
  },
  {
    title: 'XATTR_CREATE and XATTR_REPLACE',
    run: async (t) => {
      await makeFile(t.alice, 'f')
      await expectErrno('ENODATA', t.alice.setxattr('f', 'user.a', '1', REPLACE))
      await t.alice.setxattr('f', 'user.a', '1', CREATE)
      await expectErrno('EEXIST', t.alice.setxattr('f', 'user.a', '2', CREATE))
      await t.alice.setxattr('f', 'user.a', '3', REPLACE)
      assert.equal(await t.alice.getxattr('f', 'user.a'), '3')
    },
  },
  {
    title: 'setting an xattr moves ctime only',
    run: async (t) => {
      await makeFile(t.root, 'f')
      const before = await t.root.stat('f')
      await t.tick()
      await t.root.setxattr('f', 'user.a', '1', 0)
      const after = await t.root.stat('f')
      assert.ok(after.ctime > before.ctime)
      assert.equal(after.mtime, before.mtime)
    },
  },
  {
    title: 'user.* needs permission, and a file or folder; trusted.* is root\'s',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o600)
      await t.alice.setxattr('f', 'user.a', '1', 0)
      await expectErrno('EACCES', t.bob.getxattr('f', 'user.a'))
      await expectErrno('EACCES', t.bob.setxattr('f', 'user.a', '2', 0))
      await t.alice.chmod('f', 0o644)
      assert.equal(await t.bob.getxattr('f', 'user.a'), '1')
      await expectErrno('EACCES', t.bob.setxattr('f', 'user.a', '2', 0))
      await makeNode(t.root, 'fifo', 'fifo')
      await expectErrno('EPERM', t.root.setxattr('fifo', 'user.a', '1', 0))
      await t.root.setxattr('f', 'trusted.a', 'root', 0)
      assert.equal(await t.root.getxattr('f', 'trusted.a'), 'root')
      await expectErrno('ENODATA', t.alice.getxattr('f', 'trusted.a'))
      await expectErrno('EPERM', t.alice.setxattr('f', 'trusted.a', 'x', 0))
      assert.ok(!(await t.alice.listxattr('f')).includes('trusted.a'))
    },
  },
  {
    title: 'sticky folder: only its owner sets user.* on it',
    run: async (t) => {
      await t.alice.mkdir('d', 0o777)
      await t.bob.setxattr('d', 'user.a', '1', 0)
      await t.alice.chmod('d', 0o1777)
      await expectErrno('EPERM', t.bob.setxattr('d', 'user.a', '2', 0))
      await t.alice.setxattr('d', 'user.a', '3', 0)
    },
  },
  {
    title: 'an ACL gives a named user what the mask allows, and the mask is the group bits',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o600, 'text')
      await expectErrno('EACCES', t.bob.open('f', O_RDONLY))
      await t.alice.setxattr('f', 'system.posix_acl_access',
        acl([USER_OBJ, 6, NO_ID], [USER, 6, BOB.uid], [GROUP_OBJ, 0, NO_ID], [MASK, 4, NO_ID], [OTHER, 0, NO_ID]), 0)
      assert.equal((await t.alice.stat('f')).mode, 0o640)
      await t.bob.close(await t.bob.open('f', O_RDONLY))
      await expectErrno('EACCES', t.bob.open('f', O_RDWR))
      await t.alice.chmod('f', 0o660)
      await t.bob.close(await t.bob.open('f', O_RDWR))
      await t.alice.chmod('f', 0o600)
      await expectErrno('EACCES', t.bob.open('f', O_RDONLY))
    },
  },
  {
    title: 'a default ACL is inherited, and takes the umask\'s place',
    run: async (t) => {
      await t.alice.mkdir('d', 0o777)
      await t.alice.setxattr('d', 'system.posix_acl_default',
        acl([USER_OBJ, 7, NO_ID], [USER, 7, BOB.uid], [GROUP_OBJ, 5, NO_ID], [MASK, 7, NO_ID], [OTHER, 0, NO_ID]), 0)
      await t.alice.umask(0o077)
      await t.alice.close(await t.alice.open('d/f', 0o100 | O_RDWR, 0o666))
      await t.alice.mkdir('d/e', 0o777)
      assert.equal((await t.alice.stat('d/f')).mode, 0o660)
      assert.equal((await t.alice.stat('d/e')).mode, 0o770)
      await t.bob.close(await t.bob.open('d/f', O_RDWR))
      assert.equal(await t.alice.getxattr('d/e', 'system.posix_acl_default'), await t.alice.getxattr('d', 'system.posix_acl_default'))
      await expectErrno('ENODATA', t.alice.getxattr('d/f', 'system.posix_acl_default'))
    },
  },
  {
    title: 'an ACL is set by the owner only; a default one on folders only',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o666)
      const plain = acl([USER_OBJ, 6, NO_ID], [GROUP_OBJ, 4, NO_ID], [OTHER, 4, NO_ID])
      await expectErrno('EPERM', t.bob.setxattr('f', 'system.posix_acl_access', plain, 0))
      await expectErrno('EACCES', t.alice.setxattr('f', 'system.posix_acl_default', plain, 0))
      await t.alice.setxattr('f', 'system.posix_acl_access', plain, 0)
      assert.equal((await t.alice.stat('f')).mode, 0o644)
      await expectErrno('EINVAL', t.alice.setxattr('f', 'system.posix_acl_access', acl([USER_OBJ, 6, NO_ID]), 0))
    },
  },
]
