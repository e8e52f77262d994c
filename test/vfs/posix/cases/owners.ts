/** chmod, chown, access: who may change what, and which bits fall. */
import assert from 'node:assert/strict'
import { ALICE, BOB, expectErrno, makeFile, makeNode, O_RDONLY, O_RDWR, O_WRONLY, TEAM } from '../table.js'
import type { Calls, Case, FileType } from '../table.js'

const kinds: readonly FileType[] = ['file', 'dir', 'fifo', 'char', 'block', 'socket']

/** A file of alice's with these bits and group. */
async function aliceFile(root: Calls, mode: number, gid = ALICE.gid): Promise<void> {
  await makeFile(root, 'f')
  await root.chown('f', ALICE.uid, gid)
  await root.chmod('f', mode)
}

export const ownersCases: readonly Case[] = [
  ...kinds.map((type): Case => ({
    title: `chmod of a ${type} sets the bits and moves ctime only`,
    run: async (t) => {
      await makeNode(t.root, type, 'n')
      const before = await t.root.stat('n')
      await t.tick()
      for (const mode of [0o111, 0, 0o777, 0o4755, 0o2711, 0o1640]) {
        await t.root.chmod('n', mode)
        assert.equal((await t.root.stat('n')).mode, mode)
      }
      const after = await t.root.stat('n')
      assert.ok(after.ctime > before.ctime)
      assert.deepEqual([after.mtime, after.atime, after.type], [before.mtime, before.atime, type])
    },
  })),
  ...[...kinds, 'link' as const].map((type): Case => ({
    title: `lchown of a ${type} sets owner and group, each alone if asked, and moves ctime only`,
    run: async (t) => {
      await makeNode(t.root, type, 'n')
      const before = await t.root.lstat('n')
      await t.tick()
      await t.root.lchown('n', 123, 456)
      await t.root.lchown('n', 124, -1)
      await t.root.lchown('n', -1, 457)
      const after = await t.root.lstat('n')
      assert.deepEqual([after.uid, after.gid, after.mtime], [124, 457, before.mtime])
      assert.ok(after.ctime > before.ctime)
    },
  })),
  {
    title: 'chmod and chown follow a symlink, lchown does not',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644)
      await t.root.symlink('f', 's')
      await t.root.chmod('s', 0o600)
      await t.root.chown('s', 5, 6)
      await t.root.lchown('s', 7, 8)
      const [f, s] = [await t.root.stat('f'), await t.root.lstat('s')]
      assert.deepEqual([f.mode, f.uid, f.gid, s.mode, s.uid, s.gid], [0o600, 5, 6, 0o777, 7, 8])
    },
  },
  {
    title: 'fchmod and fchown work on the open file',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644)
      const fd = await t.root.open('f', O_RDONLY)
      await t.root.rename('f', 'g')
      await t.root.fchmod(fd, 0o400)
      await t.root.fchown(fd, 5, 6)
      const s = await t.root.stat('g')
      assert.deepEqual([s.mode, s.uid, s.gid], [0o400, 5, 6])
      await t.root.close(fd)
    },
  },
  {
    title: 'chmod: only the owner or root; ctime stays for others',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o666)
      const before = await t.alice.stat('f')
      await t.tick()
      await expectErrno('EPERM', t.bob.chmod('f', 0o777))
      assert.equal((await t.alice.stat('f')).ctime, before.ctime)
      await t.alice.chmod('f', 0o600)
      await t.root.chmod('f', 0o644)
    },
  },
  {
    title: 'chmod by an owner outside the group drops setgid; inside it stays',
    run: async (t) => {
      await aliceFile(t.root, 0o755, BOB.gid)
      await t.alice.chmod('f', 0o2755)
      assert.equal((await t.alice.stat('f')).mode, 0o755)
      await t.root.chmod('f', 0o2755)
      assert.equal((await t.alice.stat('f')).mode, 0o2755)
      await t.root.chown('f', ALICE.uid, TEAM)
      await t.alice.chmod('f', 0o2755)
      assert.equal((await t.alice.stat('f')).mode, 0o2755)
    },
  },
  {
    title: 'chown: the owner may give the file to a group of hers, nothing else',
    run: async (t) => {
      await aliceFile(t.root, 0o644)
      await t.alice.chown('f', -1, TEAM)
      await t.alice.chown('f', ALICE.uid, ALICE.gid)
      assert.equal((await t.root.stat('f')).gid, ALICE.gid)
      await expectErrno('EPERM', t.alice.chown('f', -1, BOB.gid))
      await expectErrno('EPERM', t.alice.chown('f', BOB.uid, -1))
      await expectErrno('EPERM', t.alice.chown('f', BOB.uid, TEAM))
      await expectErrno('EPERM', t.bob.chown('f', BOB.uid, BOB.gid))
      await expectErrno('EPERM', t.bob.chown('f', -1, BOB.gid))
    },
  },
  {
    title: 'a failed chown leaves owner and ctime',
    run: async (t) => {
      await aliceFile(t.root, 0o644)
      const before = await t.root.stat('f')
      await t.tick()
      await expectErrno('EPERM', t.alice.chown('f', BOB.uid, BOB.gid))
      const after = await t.root.stat('f')
      assert.deepEqual([after.uid, after.gid, after.ctime], [before.uid, before.gid, before.ctime])
    },
  },
  {
    title: 'chown by its owner drops setuid and setgid of a program',
    run: async (t) => {
      for (const mode of [0o4755, 0o2755, 0o6755]) {
        await aliceFile(t.root, mode)
        await t.alice.chown('f', ALICE.uid, TEAM)
        assert.equal((await t.root.stat('f')).mode, 0o755)
        await t.root.unlink('f')
      }
    },
  },
  {
    title: 'chown by root drops setuid and setgid of a program, but not of a folder',
    run: async (t) => {
      await aliceFile(t.root, 0o6755)
      await t.root.chown('f', 5, 6)
      assert.equal((await t.root.stat('f')).mode, 0o755)
      await t.root.mkdir('d', 0o755)
      await t.root.chmod('d', 0o6755)
      await t.root.chown('d', 5, 6)
      assert.equal((await t.root.stat('d')).mode, 0o6755)
    },
  },
  {
    title: 'a write by anyone but root drops setuid and setgid',
    run: async (t) => {
      for (const mode of [0o4777, 0o2777, 0o6777]) {
        await makeFile(t.root, 'f', 0o777, 'text')
        await t.root.chmod('f', mode)
        const fd = await t.alice.open('f', O_RDWR)
        await t.alice.pwrite(fd, 'x', 0)
        assert.equal((await t.alice.fstat(fd)).mode, 0o777)
        await t.alice.close(fd)
        await t.root.unlink('f')
      }
    },
  },
  {
    title: 'a write by root keeps setuid and setgid',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o777)
      await t.root.chmod('f', 0o6777)
      const fd = await t.root.open('f', O_WRONLY)
      await t.root.pwrite(fd, 'x', 0)
      await t.root.close(fd)
      assert.equal((await t.root.stat('f')).mode, 0o6777)
    },
  },
  {
    title: 'a truncation by anyone but root drops setuid and setgid',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o777, 'text')
      await t.root.chmod('f', 0o6777)
      await t.alice.truncate('f', 1)
      assert.equal((await t.root.stat('f')).mode, 0o777)
    },
  },
  {
    title: 'access: each bit for owner, group and others; root reads and writes all, runs what anyone may',
    run: async (t) => {
      await makeFile(t.root, 'f')
      for (const [shift, uid, gid] of [[6, ALICE.uid, 0], [3, 0, TEAM], [0, 0, 0]]) {
        await t.root.chown('f', uid, gid)
        for (let bits = 0; bits < 8; bits++) {
          await t.root.chmod('f', bits << shift)
          for (const mask of [1, 2, 4, 7]) {
            const act = t.alice.access('f', mask)
            if ((bits & mask) === mask) await act
            else await expectErrno('EACCES', act)
          }
        }
      }
      await t.root.chmod('f', 0)
      await t.root.access('f', 6)
      await expectErrno('EACCES', t.root.access('f', 1))
      await t.root.chmod('f', 0o001)
      await t.root.access('f', 7)
    },
  },
  {
    title: 'a supplementary group counts like the first',
    run: async (t) => {
      await t.root.mkdir('d', 0o770)
      await t.root.chown('d', 0, TEAM)
      await makeFile(t.alice, 'd/f')
      await expectErrno('EACCES', makeFile(t.bob, 'd/g'))
    },
  },
]
