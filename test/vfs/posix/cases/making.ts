/** mkdir, mkfifo, mknod, open(O_CREAT), symlink, link: what comes into being, as whose, and what stands in its way. */
import assert from 'node:assert/strict'
import {
  ALICE, contentOf, expectErrno, makeFile, makeNode, O_CREAT, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, TEAM, TYPE_BITS,
} from '../table.js'
import type { Calls, Case, FileType } from '../table.js'

const kinds: readonly FileType[] = ['file', 'dir', 'fifo', 'char', 'block', 'socket', 'link']
const makable: readonly FileType[] = ['file', 'dir', 'fifo', 'socket'] // by anyone, with a mode

/** Made by the call itself: no chmod afterwards. */
async function make(as: Calls, type: FileType, path: string, mode: number): Promise<void> {
  if (type === 'dir') await as.mkdir(path, mode)
  else if (type === 'file') await as.close(await as.open(path, O_CREAT | O_EXCL | O_WRONLY, mode))
  else if (type === 'link') await as.symlink('target', path)
  else await as.mknod(path, TYPE_BITS[type] | mode, 0, 0)
}

export const makingCases: readonly Case[] = [
  ...makable.flatMap((type): Case[] => [
    {
      title: `a new ${type} has the mode asked for, less the umask`,
      run: async (t) => {
        for (const [umask, mode, want] of [[0, 0o755, 0o755], [0o077, 0o755, 0o700], [0o070, 0o345, 0o305], [0o501, 0o345, 0o244]]) {
          await t.alice.umask(umask)
          await make(t.alice, type, `n${want.toString(8)}`, mode)
          assert.equal((await t.alice.lstat(`n${want.toString(8)}`)).mode, want)
        }
      },
    },
    {
      title: `a new ${type} belongs to its maker`,
      run: async (t) => {
        await make(t.alice, type, 'n', 0o644)
        const s = await t.alice.lstat('n')
        assert.deepEqual([s.type, s.uid, s.gid, s.size === 0 || type === 'dir', s.nlink], [type, ALICE.uid, ALICE.gid, true, type === 'dir' ? 2 : 1])
      },
    },
    {
      title: `a new ${type} in a setgid folder takes the folder's group`,
      run: async (t) => {
        await t.root.mkdir('d', 0o777)
        await t.root.chown('d', 0, TEAM)
        await t.root.chmod('d', 0o2777)
        await make(t.bob, type, 'd/n', 0o755)
        const s = await t.bob.lstat('d/n')
        assert.equal(s.gid, TEAM)
        assert.equal(s.mode, type === 'dir' ? 0o2755 : 0o755)
      },
    },
    {
      title: `making a ${type} moves the parent's mtime and ctime and sets all of its own`,
      run: async (t) => {
        const before = await t.root.stat('.')
        await t.tick()
        await make(t.alice, type, 'n', 0o644)
        const parent = await t.root.stat('.')
        const s = await t.root.lstat('n')
        assert.ok(parent.mtime > before.mtime && parent.ctime > before.ctime)
        for (const time of [s.atime, s.mtime, s.ctime]) assert.ok(time > before.ctime)
      },
    },
  ]),
  ...kinds.flatMap((old) => kinds.map((type): Case => ({
    title: `making a ${type} where a ${old} is: EEXIST`,
    run: async (t) => {
      await makeNode(t.root, old, 'n')
      if (type === 'char' || type === 'block') await expectErrno('EEXIST', t.root.mknod('n', TYPE_BITS[type] | 0o644, 1, 2))
      else await expectErrno('EEXIST', make(t.root, type, 'n', 0o644))
      assert.equal((await t.root.lstat('n')).type, old)
    },
  }))),
  ...kinds.filter((old) => old !== 'link').map((old): Case => ({
    title: `link where a ${old} is: EEXIST`,
    run: async (t) => {
      await makeFile(t.root, 'source')
      await makeNode(t.root, old, 'n')
      await expectErrno('EEXIST', t.root.link('source', 'n'))
    },
  })),
  ...(['char', 'block'] as const).map((type): Case => ({
    title: `a ${type} device keeps its number; only root makes one`,
    run: async (t) => {
      await t.root.mknod('dev', TYPE_BITS[type] | 0o600, 34, 56)
      const s = await t.root.lstat('dev')
      assert.deepEqual([s.type, s.major, s.minor], [type, 34, 56])
      await expectErrno('EPERM', t.alice.mknod('other', TYPE_BITS[type] | 0o600, 34, 56))
    },
  })),
  {
    title: 'mkdir: the new folder counts in the parent, and is counted',
    run: async (t) => {
      const before = (await t.root.stat('.')).nlink
      await t.root.mkdir('d', 0o755)
      assert.equal((await t.root.stat('.')).nlink, before + 1)
      assert.equal((await t.root.stat('d')).nlink, 2)
      assert.equal((await t.root.stat('d/..')).ino, (await t.root.stat('.')).ino)
    },
  },
  {
    title: 'mkdir of "." and "..": EEXIST',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await expectErrno('EEXIST', t.root.mkdir('d/.', 0o755))
      await expectErrno('EEXIST', t.root.mkdir('d/..', 0o755))
    },
  },
  {
    title: 'open(O_CREAT) of what exists opens it and leaves mode and owner',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o640, 'text')
      await t.alice.close(await t.alice.open('f', O_CREAT | O_RDWR, 0o777))
      const s = await t.alice.stat('f')
      assert.deepEqual([s.mode, s.uid, s.size], [0o640, ALICE.uid, 4])
    },
  },
  {
    title: 'open(O_CREAT | O_TRUNC) of what exists empties it',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o640, 'text')
      await t.alice.close(await t.alice.open('f', O_CREAT | O_TRUNC | O_WRONLY, 0o777))
      assert.equal((await t.alice.stat('f')).size, 0)
    },
  },
  {
    title: 'open(O_CREAT | O_EXCL) of a symlink: EEXIST, dangling or not',
    run: async (t) => {
      await makeFile(t.root, 'f')
      await t.root.symlink('f', 'good')
      await t.root.symlink('nowhere', 'dangling')
      for (const link of ['good', 'dangling']) await expectErrno('EEXIST', t.root.open(link, O_CREAT | O_EXCL | O_RDWR))
    },
  },
  {
    title: 'open(O_CREAT) through a dangling symlink makes its target',
    run: async (t) => {
      await t.root.symlink('target', 'link')
      await t.root.close(await t.root.open('link', O_CREAT | O_RDWR))
      assert.equal((await t.root.lstat('target')).type, 'file')
    },
  },
  {
    title: 'a file made read-only may be written by its maker through the open file',
    run: async (t) => {
      const fd = await t.alice.open('f', O_CREAT | O_RDWR, 0o444)
      assert.equal(await t.alice.pwrite(fd, 'text', 0), 4)
      await t.alice.close(fd)
      await expectErrno('EACCES', t.alice.open('f', O_RDWR))
    },
  },
  {
    title: 'open: permission for each access mode, by owner, group and others',
    run: async (t) => {
      await makeFile(t.root, 'f')
      const open = async (as: Calls, flags: number): Promise<boolean> => {
        try {
          await as.close(await as.open('f', flags))
          return true
        } catch (e) {
          assert.equal((e as { code?: string }).code, 'EACCES')
          return false
        }
      }
      // shift 6: alice owns; 3: her group does; 0: neither
      for (const [shift, uid, gid] of [[6, ALICE.uid, 0], [3, 0, TEAM], [0, 0, 0]]) {
        await t.root.chown('f', uid, gid)
        for (let bits = 0; bits < 8; bits++) {
          await t.root.chmod('f', bits << shift)
          assert.equal(await open(t.alice, O_RDONLY), (bits & 4) !== 0, `read, ${String(bits)} << ${String(shift)}`)
          assert.equal(await open(t.alice, O_WRONLY), (bits & 2) !== 0, `write, ${String(bits)} << ${String(shift)}`)
          assert.equal(await open(t.alice, O_RDWR), (bits & 6) === 6, `both, ${String(bits)} << ${String(shift)}`)
        }
      }
    },
  },
  {
    title: 'the owner is judged as owner, even if others may more',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o077)
      await expectErrno('EACCES', t.alice.open('f', O_RDONLY))
      await t.bob.close(await t.bob.open('f', O_RDONLY))
    },
  },
  {
    title: 'open(O_TRUNC) needs write permission and empties nothing without',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      await expectErrno('EACCES', t.alice.open('f', O_RDONLY | O_TRUNC))
      assert.equal((await t.root.stat('f')).size, 4)
    },
  },
  {
    title: 'open of a folder for writing: EISDIR',
    run: async (t) => {
      await t.root.mkdir('d', 0o777)
      for (const flags of [O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC]) await expectErrno('EISDIR', t.root.open('d', flags))
    },
  },
  {
    title: 'symlink: keeps its target as written, and shows its length as size',
    run: async (t) => {
      await t.root.symlink('some/where/../else', 's')
      assert.equal(await t.root.readlink('s'), 'some/where/../else')
      const s = await t.root.lstat('s')
      assert.deepEqual([s.type, s.size], ['link', 18])
    },
  },
  {
    title: 'symlink: a target of 4095 bytes fits, an empty one is ENOENT',
    run: async (t) => {
      const long = 't'.repeat(4095)
      await t.root.symlink(long, 's')
      assert.equal(await t.root.readlink('s'), long)
      await expectErrno('ENOENT', t.root.symlink('', 'e'))
      await expectErrno('ENAMETOOLONG', t.root.symlink(`${long}t`, 'l'))
    },
  },
  {
    title: 'readlink of anything else: EINVAL',
    run: async (t) => {
      for (const type of ['file', 'dir', 'fifo'] as const) {
        await makeNode(t.root, type, type)
        await expectErrno('EINVAL', t.root.readlink(type))
      }
    },
  },
  ...kinds.filter((type) => type !== 'dir').map((type): Case => ({
    title: `link: a ${type} of two names is one inode`,
    run: async (t) => {
      await makeNode(t.root, type, 'a')
      await t.root.link('a', 'b')
      const a = await t.root.lstat('a')
      const b = await t.root.lstat('b')
      assert.deepEqual([a.nlink, b.nlink, b.ino, b.type], [2, 2, a.ino, type])
      await t.root.lchown('b', 5, 6)
      const c = await t.root.lstat('a')
      assert.deepEqual([c.uid, c.gid], [5, 6])
      await t.root.unlink('a')
      assert.equal((await t.root.lstat('b')).nlink, 1)
    },
  })),
  {
    title: 'link shares the bytes',
    run: async (t) => {
      await makeFile(t.root, 'a', 0o644, 'one')
      await t.root.link('a', 'b')
      const fd = await t.root.open('b', O_WRONLY)
      await t.root.pwrite(fd, 'two', 0)
      await t.root.close(fd)
      assert.equal(await contentOf(t.root, 'a'), 'two')
    },
  },
  {
    title: 'link moves ctime of the file, mtime and ctime of the folder',
    run: async (t) => {
      await makeFile(t.root, 'a')
      await t.root.mkdir('d', 0o755)
      const [a, d] = [await t.root.stat('a'), await t.root.stat('d')]
      await t.tick()
      await t.root.link('a', 'd/b')
      const [a2, d2] = [await t.root.stat('a'), await t.root.stat('d')]
      assert.ok(a2.ctime > a.ctime && a2.mtime === a.mtime)
      assert.ok(d2.ctime > d.ctime && d2.mtime > d.mtime)
    },
  },
  {
    title: 'a failed link changes no time',
    run: async (t) => {
      await makeFile(t.alice, 'a')
      await t.root.mkdir('d', 0o755)
      const before = await t.root.stat('a')
      await t.tick()
      await expectErrno('EACCES', t.alice.link('a', 'd/b'))
      assert.equal((await t.root.stat('a')).ctime, before.ctime)
    },
  },
  {
    title: 'link of a folder: EPERM',
    run: async (t) => {
      await t.root.mkdir('d', 0o755)
      await expectErrno('EPERM', t.root.link('d', 'e'))
    },
  },
  {
    title: 'link of a symlink links the symlink',
    run: async (t) => {
      await t.root.symlink('nowhere', 's')
      await t.root.link('s', 'l')
      assert.equal(await t.root.readlink('l'), 'nowhere')
    },
  },
]
