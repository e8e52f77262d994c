/** read, write, append, truncate, fallocate, lseek, copy_file_range: what is in the file afterwards. */
import assert from 'node:assert/strict'
import {
  contentOf, expectErrno, KEEP_SIZE, makeFile, O_APPEND, O_CREAT, O_RDONLY, O_RDWR, O_WRONLY, PUNCH_HOLE, SEEK_DATA, SEEK_HOLE, ZERO_RANGE,
} from '../table.js'
import type { Bench, Calls, Case } from '../table.js'

async function withFile(as: Calls, text: string, use: (fd: number) => Promise<void>, flags = O_RDWR): Promise<void> {
  await makeFile(as, 'f', 0o644, text)
  const fd = await as.open('f', flags)
  await use(fd)
  await as.close(fd)
}

const file = (title: string, text: string, use: (t: Bench, fd: number) => Promise<void>, flags = O_RDWR): Case =>
  ({ title, run: (t) => withFile(t.root, text, (fd) => use(t, fd), flags) })

const zeros = (n: number): string => '\0'.repeat(n)
const KIB = 1024

export const bytesCases: readonly Case[] = [
  file('a read at or behind the end gives nothing, across it what is there', 'hello', async (t, fd) => {
    assert.equal(await t.root.pread(fd, 10, 5), '')
    assert.equal(await t.root.pread(fd, 10, 50_000), '')
    assert.equal(await t.root.pread(fd, 10, 3), 'lo')
  }),
  file('a write behind the end leaves a hole of zeros', 'ab', async (t, fd) => {
    await t.root.pwrite(fd, 'z', 10_000)
    assert.equal(await t.root.pread(fd, 20_000, 0), `ab${zeros(9_998)}z`)
  }),
  file('bytes of every size and place come back', '', async (t, fd) => {
    let want = Buffer.alloc(0)
    for (const [at, length] of [[0, 10], [4090, 12], [100_000, 70_000], [65_536, 4096], [1, 1], [99_999, 200_000]]) {
      const text = Buffer.alloc(length, `${String(at)}-${String(length)};`, 'latin1')
      if (want.length < at + length) want = Buffer.concat([want, Buffer.alloc(at + length - want.length)])
      text.copy(want, at)
      assert.equal(await t.root.pwrite(fd, text.latin1Slice(), at), length)
      assert.equal(await t.root.pread(fd, want.length + 1, 0), want.latin1Slice())
    }
  }),
  file('O_APPEND writes at the end, wherever the end is', 'ab', async (t, fd) => {
    await t.root.write(fd, 'cd')
    await t.root.truncate('f', 3)
    await t.root.write(fd, 'ef')
    assert.equal(await contentOf(t.root, 'f'), 'abcef')
  }, O_RDWR | O_APPEND),
  {
    title: 'two open files append in turn and lose nothing',
    run: async (t) => {
      const fds = [await t.root.open('f', O_CREAT | O_APPEND | O_WRONLY), await t.root.open('f', O_APPEND | O_WRONLY)]
      await Promise.all(Array.from({ length: 40 }, (_, i) => t.root.write(fds[i % 2], `<${String(i % 2)}>`)))
      const text = await contentOf(t.root, 'f')
      assert.equal(text.length, 120)
      assert.equal(text.replaceAll('<0>', '').replaceAll('<1>', ''), '')
      for (const fd of fds) await t.root.close(fd)
    },
  },
  {
    title: 'reading what is open for writing only, and the reverse: EBADF',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      const [r, w] = [await t.root.open('f', O_RDONLY), await t.root.open('f', O_WRONLY)]
      await expectErrno('EBADF', t.root.pread(w, 1, 0))
      await expectErrno('EBADF', t.root.pwrite(r, 'x', 0))
      await expectErrno('EINVAL', t.root.ftruncate(r, 0))
      await t.root.close(r)
      await t.root.close(w)
    },
  },
  file('truncate down and up again shows zeros', 'x'.repeat(9000), async (t, fd) => {
    await t.root.ftruncate(fd, 4100)
    await t.root.ftruncate(fd, 9000)
    assert.equal(await t.root.pread(fd, 9001, 0), `${'x'.repeat(4100)}${zeros(4900)}`)
    await t.root.truncate('f', 0)
    await t.root.truncate('f', 3)
    assert.equal(await t.root.pread(fd, 10, 0), zeros(3))
  }),
  {
    title: 'truncate: EACCES without write permission, EISDIR on a folder, EINVAL below 0, EFBIG far beyond',
    run: async (t) => {
      await makeFile(t.root, 'f', 0o644, 'text')
      await t.root.mkdir('d', 0o777)
      await expectErrno('EACCES', t.alice.truncate('f', 0))
      await expectErrno('EISDIR', t.root.truncate('d', 0))
      await expectErrno('EINVAL', t.root.truncate('f', -1))
      await expectErrno('EFBIG', t.root.truncate('f', 2 ** 52))
      assert.equal((await t.root.stat('f')).size, 4)
    },
  },
  {
    title: 'ftruncate works on a file that its opener may no longer write',
    run: async (t) => {
      await makeFile(t.alice, 'f', 0o644, 'text')
      const fd = await t.alice.open('f', O_RDWR)
      await t.alice.chmod('f', 0o444)
      await t.alice.ftruncate(fd, 1)
      assert.equal((await t.alice.fstat(fd)).size, 1)
      await t.alice.close(fd)
    },
  },
  file('a sparse file of a terabyte takes no space', '', async (t, fd) => {
    await t.root.ftruncate(fd, 2 ** 40)
    const s = await t.root.fstat(fd)
    assert.equal(s.size, 2 ** 40)
    assert.ok(s.blocks < 64)
    assert.equal(await t.root.pread(fd, 3, 2 ** 39), zeros(3))
    await t.root.pwrite(fd, 'end', 2 ** 40 - 3)
    assert.equal(await t.root.pread(fd, 10, 2 ** 40 - 3), 'end')
  }),
  file('fallocate grows the file with zeros and keeps what is there', 'text', async (t, fd) => {
    await t.root.fallocate(fd, 0, 0, 10_000)
    assert.equal((await t.root.fstat(fd)).size, 10_000)
    assert.equal(await t.root.pread(fd, 20_000, 0), `text${zeros(9_996)}`)
    assert.ok((await t.root.fstat(fd)).blocks >= 16)
  }),
  file('fallocate with KEEP_SIZE takes space and leaves the size', 'text', async (t, fd) => {
    await t.root.fallocate(fd, KEEP_SIZE, 0, 100_000)
    const s = await t.root.fstat(fd)
    assert.equal(s.size, 4)
    assert.ok(s.blocks >= 192)
  }),
  file('a punched hole reads as zeros and gives space back', 'x'.repeat(64 * KIB), async (t, fd) => {
    await t.root.fsync(fd)
    const before = (await t.root.fstat(fd)).blocks
    await t.root.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 10_000, 40_000)
    const text = await t.root.pread(fd, 64 * KIB, 0)
    assert.equal(text, `${'x'.repeat(10_000)}${zeros(40_000)}${'x'.repeat(64 * KIB - 50_000)}`)
    await t.root.fsync(fd)
    assert.ok((await t.root.fstat(fd)).blocks < before)
  }),
  file('a zeroed range reads as zeros, and grows the file if it reaches beyond', 'x'.repeat(9000), async (t, fd) => {
    await t.root.fallocate(fd, ZERO_RANGE, 5000, 1000)
    assert.equal(await t.root.pread(fd, 9001, 0), `${'x'.repeat(5000)}${zeros(1000)}${'x'.repeat(3000)}`)
    await t.root.fallocate(fd, ZERO_RANGE, 8000, 8000)
    assert.equal((await t.root.fstat(fd)).size, 16_000)
    assert.equal(await t.root.pread(fd, 10, 8000), zeros(10))
  }),
  file('fallocate of nothing, or before the start: EINVAL', 'text', async (t, fd) => {
    await expectErrno('EINVAL', t.root.fallocate(fd, 0, 0, 0))
    await expectErrno('EINVAL', t.root.fallocate(fd, 0, -1, 10))
  }),
  file('fallocate of what is open for reading: EBADF', 'text', async (t, fd) => {
    await expectErrno('EBADF', t.root.fallocate(fd, 0, 0, 10))
  }, O_RDONLY),
  file('SEEK_DATA and SEEK_HOLE find what is there', '', async (t, fd) => {
    await t.root.ftruncate(fd, 1024 * KIB)
    await t.root.pwrite(fd, 'x'.repeat(64 * KIB), 512 * KIB)
    await t.root.fsync(fd)
    assert.equal(await t.root.lseek(fd, 0, SEEK_DATA), 512 * KIB)
    assert.equal(await t.root.lseek(fd, 512 * KIB, SEEK_HOLE), 576 * KIB)
    assert.equal(await t.root.lseek(fd, 0, SEEK_HOLE), 0)
    assert.equal(await t.root.lseek(fd, 600 * KIB, SEEK_HOLE), 600 * KIB)
    await expectErrno('ENXIO', t.root.lseek(fd, 600 * KIB, SEEK_DATA))
    await expectErrno('ENXIO', t.root.lseek(fd, 1024 * KIB, SEEK_DATA))
    await expectErrno('ENXIO', t.root.lseek(fd, 1024 * KIB, SEEK_HOLE))
  }),
  file('the end of a file without holes is a hole', 'text', async (t, fd) => {
    assert.equal(await t.root.lseek(fd, 0, SEEK_DATA), 0)
    assert.equal(await t.root.lseek(fd, 0, SEEK_HOLE), 4)
  }),
  {
    title: 'copy_file_range copies a range, short at the end of the source',
    run: async (t) => {
      await makeFile(t.root, 'a', 0o644, 'abcdefgh')
      await makeFile(t.root, 'b', 0o644, '12345678')
      const [a, b] = [await t.root.open('a', O_RDONLY), await t.root.open('b', O_RDWR)]
      assert.equal(await t.root.copyRange(a, 2, b, 4, 3), 3)
      assert.equal(await contentOf(t.root, 'b'), '1234cde8')
      assert.equal(await t.root.copyRange(a, 6, b, 8, 100), 2)
      assert.equal(await t.root.copyRange(a, 8, b, 8, 100), 0)
      assert.equal(await contentOf(t.root, 'b'), '1234cde8gh')
      await t.root.close(a)
      await t.root.close(b)
    },
  },
  {
    title: 'copy_file_range within a file: apart it copies, over itself it is EINVAL',
    run: (t) => withFile(t.root, 'abcdefgh', async (fd) => {
      assert.equal(await t.root.copyRange(fd, 0, fd, 4, 4), 4)
      assert.equal(await contentOf(t.root, 'f'), 'abcdabcd')
      await expectErrno('EINVAL', t.root.copyRange(fd, 0, fd, 2, 4))
      assert.equal(await t.root.copyRange(fd, 4, fd, 8, 100), 4) // up to the end as it was
      assert.equal(await contentOf(t.root, 'f'), 'abcdabcdabcd')
    }),
  },
  {
    title: 'a file of O_TMPFILE has no name until it is linked',
    run: async (t) => {
      const O_TMPFILE = 0o20_200_000
      const fd = await t.root.open('.', O_TMPFILE | O_RDWR, 0o640)
      await t.root.pwrite(fd, 'text', 0)
      const s = await t.root.fstat(fd)
      assert.deepEqual([s.nlink, s.mode, s.size], [0, 0o640, 4])
      assert.deepEqual(await t.root.readdir('.'), [])
      await t.root.linkOpen(fd, 'named')
      assert.equal((await t.root.fstat(fd)).nlink, 1)
      await t.root.close(fd)
      assert.equal(await contentOf(t.root, 'named'), 'text')
    },
  },
]
