/** unlink and rmdir: what goes, what stays, who may. */
import assert from 'node:assert/strict'
import { ALICE, BOB, exists, expectErrno, makeFile, makeNode, O_RDWR, removeNode } from '../table.js'
import type { Case, FileType } from '../table.js'

const kinds: readonly FileType[] = ['file', 'dir', 'fifo', 'char', 'block', 'socket', 'link']

export const removingCases: readonly Case[] = [
  ...kinds.map((type): Case => ({
    title: `removing a ${type}: the name is gone, the parent's times moved`,
    run: async (t) => {
      await makeNode(t.root, type, 'n')
      const before = await t.root.stat('.')
      await t.tick()
      await removeNode(t.root, type, 'n')
      assert.equal(await exists(t.root, 'n'), false)
      const after = await t.root.stat('.')
      assert.ok(after.mtime > before.mtime && after.ctime > before.ctime)
      assert.equal(after.nlink, before.nlink - (type === 'dir' ? 1 : 0))
    },
  })),
  ...kinds.filter((type) => type !== 'dir').map((type): Case => ({
    title: `unlink of one of two names of a ${type} moves its ctime and leaves the other`,
    run: async (t) => {
      await makeNode(t.root, type, 'a')
      await t.root.link('a', 'b')
      const before = await t.root.lstat('a')
      await t.tick()
      await t.root.unlink('a')
      const after = await t.root.lstat('b')
      assert.ok(after.ctime > before.ctime)
      assert.equal(after.nlink, 1)
    },
  })),
  ...kinds.filter((type) => type !== 'dir').map((type): Case => ({
    title: `rmdir of a ${type}: ENOTDIR`,
    run: async (t) => {
      await makeNode(t.root, type, 'n')
      await expectErrno('ENOTDIR', t.root.rmdir('n'))
      assert.ok(await exists(t.root, 'n'))
    },
  })),
  ...kinds.map((type): Case => ({
    title: `rmdir of a folder with a ${type} in it: ENOTEMPTY`,
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await makeNode(t.root, type, 'd/n')
      await expectErrno('ENOTEMPTY', t.root.rmdir('d'))
      await removeNode(t.root, type, 'd/n')
      await t.root.rmdir('d')
    },
  })),
  {
    title: 'unlink of a folder: EISDIR',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await expectErrno('EISDIR', t.root.unlink('d'))
    },
  },
  {
    title: 'rmdir of "." is EINVAL, of ".." ENOTEMPTY',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await t.root.mkdir('d/e', 0o755)
      await expectErrno('EINVAL', t.root.rmdir('d/e/.'))
      await expectErrno('ENOTEMPTY', t.root.rmdir('d/e/..'))
    },
  },
  {
    title: 'an unlinked file lives on while it is open',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o644, 'before')
      const fd = await t.alice.open('f', O_RDWR)
      await t.alice.unlink('f')
      assert.equal((await t.alice.fstat(fd)).nlink, 0)
      await t.alice.pwrite(fd, 'AFTER', 6)
      assert.equal(await t.alice.pread(fd, 100, 0), 'beforeAFTER')
      await t.alice.ftruncate(fd, 3)
      await t.alice.fchmod(fd, 0o600)
      assert.equal((await t.alice.fstat(fd)).size, 3)
      await makeFile(t.alice, 'f', 0o644, 'another')
      assert.equal(await t.alice.pread(fd, 100, 0), 'bef')
      await t.alice.close(fd)
    },
  },
  {
    title: 'a failed unlink changes no time',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await makeFile(t.root, 'd/f')
      const [d, f] = [await t.root.stat('d'), await t.root.stat('d/f')]
      await t.tick()
      await expectErrno('EACCES', t.alice.unlink('d/f'))
      const [d2, f2] = [await t.root.stat('d'), await t.root.stat('d/f')]
      assert.deepEqual([d2.mtime, d2.ctime, f2.ctime], [d.mtime, d.ctime, f.ctime])
    },
  },
  {
    title: 'removing needs write permission on the folder, none on the file',
    run: async (t) => {
      await t.alice.mkdir('d', 0o755)
      await makeFile(t.alice, 'd/f', 0)
      await t.alice.mkdir('d/e', 0)
      await expectErrno('EACCES', t.bob.unlink('d/f'))
      await expectErrno('EACCES', t.bob.rmdir('d/e'))
      await t.alice.chmod('d', 0o777)
      await t.bob.unlink('d/f')
      await t.bob.rmdir('d/e')
    },
  },
  ...kinds.map((type): Case => ({
    title: `sticky folder: a ${type} is removed by its owner, the folder's owner, or root`,
    run: async (t) => {
      // [owner of the folder, owner of the entry, may alice remove it]
      for (const [dirOwner, owner, may] of [[ALICE, BOB, true], [BOB, ALICE, true], [BOB, BOB, false]] as const) {
        await t.root.mkdir('d', 0o777)
        await makeNode(t.root, type, 'd/n', 0o777)
        await t.root.lchown('d/n', owner.uid, owner.gid)
        await t.root.chown('d', dirOwner.uid, dirOwner.gid)
        await t.root.chmod('d', 0o1777)
        if (may) await removeNode(t.alice, type, 'd/n')
        else {
          await expectErrno('EPERM', removeNode(t.alice, type, 'd/n'))
          await removeNode(t.root, type, 'd/n')
        }
        await t.root.rmdir('d')
      }
    },
  })),
  {
    title: 'a folder that is removed while open lists nothing and takes nothing',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      const fd = await t.root.open('d', 0)
      await t.root.rmdir('d')
      const s = await t.root.fstat(fd)
      assert.equal(s.type, 'dir')
      assert.equal(s.nlink, 0)
      await t.root.close(fd)
    },
  },
]
