/** rename, with and without flags: every kind over every kind, folders into folders, sticky folders. */
import assert from 'node:assert/strict'
import { ALICE, BOB, contentOf, exists, expectErrno, makeFile, makeNode, O_RDONLY, RENAME_EXCHANGE, RENAME_NOREPLACE } from '../table.js'
import type { Case, FileType } from '../table.js'

const kinds: readonly FileType[] = ['file', 'dir', 'fifo', 'char', 'block', 'socket', 'link']

export const renamingCases: readonly Case[] = [
  ...kinds.map((type): Case => ({
    title: `rename of a ${type}: the same inode under the new name`,
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await makeNode(t.root, type, 'a', 0o640)
      const before = await t.root.lstat('a')
      await t.root.rename('a', 'd/b')
      const after = await t.root.lstat('d/b')
      assert.equal(await exists(t.root, 'a'), false)
      assert.deepEqual([after.ino, after.type, after.mode, after.nlink], [before.ino, type, before.mode, before.nlink])
    },
  })),
  ...kinds.flatMap((from) => kinds.map((to): Case => ({
    title: `rename of a ${from} over a ${to}`,
    run: async (t) => {
      await makeNode(t.root, from, 'a')
      await makeNode(t.root, to, 'b')
      const ino = (await t.root.lstat('a')).ino
      if (from === 'dir' && to !== 'dir') await expectErrno('ENOTDIR', t.root.rename('a', 'b'))
      else if (from !== 'dir' && to === 'dir') await expectErrno('EISDIR', t.root.rename('a', 'b'))
      else {
        await t.root.rename('a', 'b')
        assert.equal((await t.root.lstat('b')).ino, ino)
        assert.equal(await exists(t.root, 'a'), false)
        return
      }
      assert.equal((await t.root.lstat('a')).ino, ino)
    },
  }))),
  ...kinds.map((type): Case => ({
    title: `rename of a folder over one with a ${type} in it: ENOTEMPTY`,
    run: async (t) => {
      await t.root.mkdir('a', 0o755)
      await t.root.mkdir('b', 0o755)
      await makeNode(t.root, type, 'b/n')
      await expectErrno('ENOTEMPTY', t.root.rename('a', 'b'))
    },
  })),
  {
    title: 'rename moves the times of both folders and the ctime of what moved',
    run: async (t) => {
      await t.root.mkdir('from', 0o755)
      await t.root.mkdir('to', 0o755)
      await makeFile(t.root, 'from/f')
      const before = [await t.root.stat('from'), await t.root.stat('to'), await t.root.stat('from/f')]
      await t.tick()
      await t.root.rename('from/f', 'to/g')
      const after = [await t.root.stat('from'), await t.root.stat('to'), await t.root.stat('to/g')]
      assert.ok(after[0].mtime > before[0].mtime && after[0].ctime > before[0].ctime)
      assert.ok(after[1].mtime > before[1].mtime && after[1].ctime > before[1].ctime)
      assert.ok(after[2].ctime > before[2].ctime && after[2].mtime === before[2].mtime)
    },
  },
  {
    title: 'rename of a folder moves the link that is its ".."',
    run: async (t) => {
      await t.root.mkdir('from', 0o755)
      await t.root.mkdir('to', 0o755)
      await t.root.mkdir('from/d', 0o755)
      await t.root.rename('from/d', 'to/d')
      assert.equal((await t.root.stat('from')).nlink, 2)
      assert.equal((await t.root.stat('to')).nlink, 3)
      assert.equal((await t.root.stat('to/d/..')).ino, (await t.root.stat('to')).ino)
    },
  },
  {
    title: 'rename over a folder leaves the right number of links',
    run: async (t) => {
      await t.root.mkdir('a', 0o755)
      await t.root.mkdir('b', 0o755)
      const before = (await t.root.stat('.')).nlink
      await t.root.rename('a', 'b')
      assert.equal((await t.root.stat('.')).nlink, before - 1)
    },
  },
  {
    title: 'rename of one name onto another of the same file does nothing',
    run: async (t) => {
      await makeFile(t.root, 'a')
      await t.root.link('a', 'b')
      await t.root.rename('a', 'b')
      assert.equal((await t.root.stat('a')).nlink, 2)
      assert.equal((await t.root.stat('b')).nlink, 2)
      await t.root.rename('a', 'a')
    },
  },
  {
    title: 'the file that a rename replaced lives on while it is open, and has one link less',
    run: async (t) => {
      await makeFile(t.root, 'old', 0o644, 'old')
      await t.root.link('old', 'second')
      await makeFile(t.root, 'new', 0o644, 'new')
      const fd = await t.root.open('old', O_RDONLY)
      const before = await t.root.fstat(fd)
      await t.tick()
      await t.root.rename('new', 'old')
      const after = await t.root.fstat(fd)
      assert.equal(after.nlink, 1)
      assert.ok(after.ctime > before.ctime)
      assert.equal(await t.root.pread(fd, 10, 0), 'old')
      assert.equal(await contentOf(t.root, 'old'), 'new')
      await t.root.close(fd)
    },
  },
  {
    title: 'rename of a folder into itself or below: EINVAL',
    run: async (t) => {
      await t.root.mkdir('a', 0o755)
      await t.root.mkdir('a/b', 0o755)
      await expectErrno('EINVAL', t.root.rename('a', 'a/c'))
      await expectErrno('EINVAL', t.root.rename('a', 'a/b/c'))
    },
  },
  {
    title: 'rename of a folder over its own parent: ENOTEMPTY',
    run: async (t) => {
      await t.root.mkdir('a', 0o755)
      await t.root.mkdir('a/b', 0o755)
      await expectErrno('ENOTEMPTY', t.root.rename('a/b', 'a'))
    },
  },
  {
    title: 'rename of "." or "..", or onto them: EBUSY',
    run: async (t) => {
      await t.root.mkdir('a', 0o755)
      await t.root.mkdir('a/b', 0o755)
      for (const dots of ['a/b/.', 'a/b/..']) {
        await expectErrno('EBUSY', t.root.rename(dots, 'c'))
        await expectErrno('EBUSY', t.root.rename('a/b', dots))
      }
    },
  },
  {
    title: 'rename needs write permission on both folders',
    run: async (t) => {
      await t.alice.mkdir('open', 0o777)
      await t.root.mkdir('fixed', 0o755)
      await makeFile(t.root, 'fixed/f')
      await makeFile(t.alice, 'open/g')
      await expectErrno('EACCES', t.alice.rename('fixed/f', 'open/f'))
      await expectErrno('EACCES', t.alice.rename('open/g', 'fixed/g'))
    },
  },
  {
    title: 'a folder of somebody else that is not ours to write cannot be moved to another parent',
    run: async (t) => {
      await t.alice.mkdir('a', 0o777)
      await t.alice.mkdir('b', 0o777)
      await t.bob.mkdir('a/d', 0o755)
      await expectErrno('EACCES', t.alice.rename('a/d', 'b/d'))
      await t.alice.rename('a/d', 'a/e') // its ".." stays
    },
  },
  ...kinds.map((type): Case => ({
    title: `sticky folder: a ${type} leaves by its owner, the folder's owner, or root`,
    run: async (t) => {
      for (const [dirOwner, owner, may] of [[ALICE, BOB, type !== 'dir'], [BOB, ALICE, true], [BOB, BOB, false]] as const) {
        await t.root.mkdir('d', 0o777)
        await makeNode(t.root, type, 'd/n', 0o755)
        await t.root.lchown('d/n', owner.uid, owner.gid)
        await t.root.chown('d', dirOwner.uid, dirOwner.gid)
        await t.root.chmod('d', 0o1777)
        // a folder's ".." changes too: without write permission on it that is EACCES, and comes after the sticky bit's EPERM
        const code = dirOwner === ALICE ? 'EACCES' : 'EPERM'
        if (may) await t.alice.rename('d/n', 'out')
        else {
          await expectErrno(code, t.alice.rename('d/n', 'out'))
          await t.root.rename('d/n', 'out')
        }
        await (type === 'dir' ? t.root.rmdir('out') : t.root.unlink('out'))
        await t.root.rmdir('d')
      }
    },
  })),
  {
    title: 'sticky folder: somebody else\'s file is not replaced',
    run: async (t) => {
      await t.bob.mkdir('d', 0o777)
      await t.bob.chmod('d', 0o1777)
      await makeFile(t.bob, 'd/theirs')
      await makeFile(t.alice, 'mine')
      await expectErrno('EPERM', t.alice.rename('mine', 'd/theirs'))
      await makeFile(t.alice, 'd/own')
      await t.alice.rename('mine', 'd/own')
    },
  },
  {
    title: 'RENAME_NOREPLACE: EEXIST if the name is taken',
    run: async (t) => {
      await makeFile(t.root, 'a', 0o644, 'a')
      await makeFile(t.root, 'b', 0o644, 'b')
      await expectErrno('EEXIST', t.root.rename('a', 'b', RENAME_NOREPLACE))
      await t.root.rename('a', 'c', RENAME_NOREPLACE)
      assert.equal(await contentOf(t.root, 'c'), 'a')
    },
  },
  {
    title: 'RENAME_EXCHANGE swaps a file and a folder, and the links of their parents',
    run: async (t) => {
      await t.root.mkdir('p', 0o755)
      await t.root.mkdir('q', 0o755)
      await makeFile(t.root, 'p/n', 0o644, 'text')
      await t.root.mkdir('q/n', 0o755)
      await makeFile(t.root, 'q/n/inner')
      await t.root.rename('p/n', 'q/n', RENAME_EXCHANGE)
      assert.equal(await contentOf(t.root, 'q/n'), 'text')
      assert.deepEqual(await t.root.readdir('p/n'), ['inner'])
      assert.equal((await t.root.stat('p')).nlink, 3)
      assert.equal((await t.root.stat('q')).nlink, 2)
      assert.equal((await t.root.stat('p/n/..')).ino, (await t.root.stat('p')).ino)
    },
  },
  {
    title: 'RENAME_EXCHANGE of a folder with what lies below it: EINVAL',
    run: async (t) => {
      await t.root.mkdir('a', 0o755)
      await makeFile(t.root, 'a/f')
      await expectErrno('EINVAL', t.root.rename('a', 'a/f', RENAME_EXCHANGE))
    },
  },
  {
    title: 'a failed rename changes no time',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await t.root.mkdir('e', 0o755)
      await makeFile(t.root, 'e/x')
      const before = [await t.root.stat('d'), await t.root.stat('e')]
      await t.tick()
      await expectErrno('ENOTEMPTY', t.root.rename('d', 'e'))
      const after = [await t.root.stat('d'), await t.root.stat('e')]
      assert.deepEqual(after.map((s) => [s.mtime, s.ctime]), before.map((s) => [s.mtime, s.ctime]))
    },
  },
]
