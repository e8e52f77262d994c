/** utimensat, and what moves which time. */
import assert from 'node:assert/strict'
import { expectErrno, makeFile, makeNode, O_RDWR, O_TRUNC, O_WRONLY } from '../table.js'
import type { Bench, Case, FileType, Stat } from '../table.js'

const kinds: readonly FileType[] = ['file', 'dir', 'fifo', 'char', 'block', 'socket']
const ns = (sec: number, nsec: number): bigint => BigInt(sec) * 1_000_000_000n + BigInt(nsec)

/** What happened to each time of `path`: '=' or '>'. */
async function moved(t: Bench, path: string, act: () => Promise<unknown>): Promise<Record<'atime' | 'mtime' | 'ctime', '=' | '>'>> {
  const before = await t.root.lstat(path)
  await t.tick()
  await act()
  const after = await t.root.lstat(path)
  const sign = (name: 'atime' | 'mtime' | 'ctime'): '=' | '>' => {
    assert.ok(after[name] >= before[name], `${name} goes back`)
    return after[name] > before[name] ? '>' : '='
  }
  return { atime: sign('atime'), mtime: sign('mtime'), ctime: sign('ctime') }
}

const timesOf = (s: Stat): readonly [bigint, bigint] => [s.atime, s.mtime]

export const timesCases: readonly Case[] = [
  ...kinds.map((type): Case => ({
    title: `utimensat of a ${type} to the nanosecond`,
    run: async (t) => {
      await makeNode(t.root, type, 'n')
      const before = await t.root.stat('n')
      await t.tick()
      await t.root.utimens('n', [1_900_000_000, 123_456_789], [1_950_000_000, 987_654_321], true)
      const s = await t.root.stat('n')
      assert.deepEqual(timesOf(s), [ns(1_900_000_000, 123_456_789), ns(1_950_000_000, 987_654_321)])
      assert.ok(s.ctime > before.ctime)
    },
  })),
  {
    title: 'utimensat with UTIME_OMIT leaves that time',
    run: async (t) => {
      await makeFile(t.root, 'f')
      await t.root.utimens('f', [1000, 1], [2000, 2], true)
      await t.root.utimens('f', 'omit', [3000, 3], true)
      assert.deepEqual(timesOf(await t.root.stat('f')), [ns(1000, 1), ns(3000, 3)])
      await t.root.utimens('f', [4000, 4], 'omit', true)
      assert.deepEqual(timesOf(await t.root.stat('f')), [ns(4000, 4), ns(3000, 3)])
    },
  },
  {
    title: 'utimensat with UTIME_NOW',
    run: async (t) => {
      await makeFile(t.root, 'f')
      const made = await t.root.stat('f')
      await t.root.utimens('f', [1000, 0], [1000, 0], true)
      await t.tick()
      await t.root.utimens('f', 'now', 'now', true)
      const s = await t.root.stat('f')
      assert.ok(s.atime > made.atime && s.mtime > made.mtime)
    },
  },
  {
    title: 'times before 1970, after 2038 and after 2106',
    run: async (t) => {
      await makeFile(t.root, 'f')
      for (const sec of [-1, -100_000_000, 0, 2_147_483_648, 4_294_967_296, 10_000_000_000]) {
        await t.root.utimens('f', [sec, 999_999_999], [sec, 1], true)
        assert.deepEqual(timesOf(await t.root.stat('f')), [ns(sec, 999_999_999), ns(sec, 1)])
      }
    },
  },
  {
    title: 'utimensat with AT_SYMLINK_NOFOLLOW sets the symlink\'s times',
    run: async (t) => {
      await makeFile(t.root, 'f')
      await t.root.symlink('f', 's')
      await t.root.utimens('f', [1000, 0], [1000, 0], true)
      await t.root.utimens('s', [2000, 0], [2000, 0], false)
      assert.equal((await t.root.stat('f')).mtime, ns(1000, 0))
      assert.equal((await t.root.lstat('s')).mtime, ns(2000, 0))
    },
  },
  {
    title: 'utimensat: times of one\'s own by the owner; now by who may write; nothing else',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o666)
      await t.alice.utimens('f', [1, 0], [1, 0], true)
      await expectErrno('EPERM', t.bob.utimens('f', [2, 0], [2, 0], true))
      await expectErrno('EPERM', t.bob.utimens('f', 'now', 'omit', true))
      await t.bob.utimens('f', 'now', 'now', true)
      await t.bob.utimens('f', 'omit', 'omit', true)
      await t.alice.chmod('f', 0o644)
      await expectErrno('EACCES', t.bob.utimens('f', 'now', 'now', true))
      await expectErrno('EPERM', t.bob.utimens('f', [2, 0], [2, 0], true))
      await t.root.utimens('f', [3, 0], [3, 0], true)
    },
  },
  {
    title: 'write moves mtime and ctime',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      const fd = await t.root.open('f', O_RDWR)
      assert.deepEqual(await moved(t, 'f', () => t.root.pwrite(fd, 'x', 0)), { atime: '=', mtime: '>', ctime: '>' })
      await t.root.close(fd)
    },
  },
  {
    title: 'a write of nothing moves nothing',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      const fd = await t.root.open('f', O_RDWR)
      assert.deepEqual(await moved(t, 'f', () => t.root.pwrite(fd, '', 0)), { atime: '=', mtime: '=', ctime: '=' })
      await t.root.close(fd)
    },
  },
  {
    title: 'a read after a change moves atime',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      await t.tick()
      const fd = await t.root.open('f', O_RDWR)
      await t.root.pwrite(fd, 'more', 0)
      assert.deepEqual(await moved(t, 'f', () => t.root.pread(fd, 4, 0)), { atime: '>', mtime: '=', ctime: '=' })
      await t.root.close(fd)
    },
  },
  {
    title: 'truncate and ftruncate to another size move mtime and ctime',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      assert.deepEqual(await moved(t, 'f', () => t.root.truncate('f', 2)), { atime: '=', mtime: '>', ctime: '>' })
      assert.deepEqual(await moved(t, 'f', () => t.root.truncate('f', 9)), { atime: '=', mtime: '>', ctime: '>' })
      const fd = await t.root.open('f', O_RDWR)
      assert.deepEqual(await moved(t, 'f', () => t.root.ftruncate(fd, 5)), { atime: '=', mtime: '>', ctime: '>' })
      await t.root.close(fd)
    },
  },
  {
    title: 'open(O_TRUNC) moves mtime and ctime, of an empty file too',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      for (let i = 0; i < 2; i++) {
        const open = async (): Promise<void> => t.root.close(await t.root.open('f', O_WRONLY | O_TRUNC))
        assert.deepEqual(await moved(t, 'f', open), { atime: '=', mtime: '>', ctime: '>' })
      }
    },
  },
  {
    title: 'open alone moves nothing',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      const open = async (): Promise<void> => t.root.close(await t.root.open('f', O_RDWR))
      assert.deepEqual(await moved(t, 'f', open), { atime: '=', mtime: '=', ctime: '=' })
    },
  },
  {
    title: 'a write into a file does not move its folder',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      const write = async (): Promise<void> => {
        const fd = await t.root.open('f', O_RDWR)
        await t.root.pwrite(fd, 'x', 0)
        await t.root.close(fd)
      }
      assert.deepEqual(await moved(t, '.', write), { atime: '=', mtime: '=', ctime: '=' })
    },
  },
  {
    title: 'fallocate that grows the file moves mtime and ctime',
    run: async (t) => {
      await makeFile(t.root, 'f')
      const fd = await t.root.open('f', O_RDWR)
      const { mtime, ctime } = await moved(t, 'f', () => t.root.fallocate(fd, 0, 0, 8192))
      assert.deepEqual([mtime, ctime], ['>', '>'])
      await t.root.close(fd)
    },
  },
]
