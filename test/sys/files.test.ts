import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import * as sys from '../../src/sys/index.js'

const { ERRNO } = sys

describe('system calls on files', () => {
  let dir = ''
  let fd = -1
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'ogee-sys-'))
    fd = sys.check(sys.open(join(dir, 'f'), sys.O_RDWR | sys.O_CREAT | sys.O_EXCL), 'open')
  })
  after(() => {
    sys.close(fd)
    rmSync(dir, { recursive: true })
  })

  test('a failure is the negative errno', () => {
    assert.equal(sys.open(join(dir, 'none'), sys.O_RDONLY), -ERRNO.ENOENT)
    assert.equal(sys.open(Buffer.from(join(dir, 'none')), sys.O_RDONLY), -ERRNO.ENOENT)
    assert.equal(sys.close(-1), -ERRNO.EBADF)
    assert.equal(sys.read(fd, Buffer.alloc(8), 0, 8), 0)
    assert.equal(sys.pread(-1, Buffer.alloc(8), 0, 8, 0), -ERRNO.EBADF)
    assert.throws(() => sys.check(sys.pwrite(-1, Buffer.alloc(1), 0, 1, 0), 'pwrite', '/x'),
      { name: 'Error', code: 'EBADF', errno: ERRNO.EBADF, call: 'pwrite', message: 'pwrite /x: EBADF' })
  })

  test('bytes go to and from the middle of a buffer', () => {
    const from = Buffer.from('0123456789')
    assert.equal(sys.pwrite(fd, from, 3, 4, 100), 4)
    assert.equal(sys.pwritev2(fd, from, 7, 3, 104, 0), 3)
    const into = Buffer.alloc(12, '.')
    assert.equal(sys.pread(fd, into, 2, 7, 100), 7)
    assert.equal(into.toString(), '..3456789...')
    const again = Buffer.alloc(12, '.')
    const rc = sys.preadv2(fd, again, 1, 7, 100, sys.RWF_NOWAIT)
    if (rc !== -ERRNO.EOPNOTSUPP) assert.equal(again.toString('latin1', 0, 1 + rc), '.3456789'.slice(0, 1 + rc))
    assert.equal(sys.preadv2(fd, again, 1, 7, 100, 0), 7)
    assert.equal(again.toString(), '.3456789....')
    assert.equal(sys.lseek(fd, 0, sys.SEEK_SET), 0)
    assert.equal(sys.writev(fd, [Buffer.from('ab'), Buffer.from('xcd').subarray(1)]), 4)
    assert.equal(sys.pread(fd, into, 0, 4, 0), 4)
    assert.equal(into.toString('latin1', 0, 4), 'abcd')
  })

  test('a length beyond the buffer is refused before the call', () => {
    const b = Buffer.alloc(10)
    for (const [at, length] of [[0, 11], [10, 1], [-1, 2], [5, 6], [0, -1]]) {
      assert.throws(() => sys.pread(fd, b, at, length, 0), RangeError)
      assert.throws(() => sys.preadv2(fd, b, at, length, 0, 0), RangeError)
      assert.throws(() => sys.offLoop.pread(fd, b, at, length, 0), RangeError)
    }
  })

  test('offsets are exact above 32 bits and up to 2^53', () => {
    const b = Buffer.from('far')
    const far = 7 * 2 ** 40 + 12345
    assert.equal(sys.pwrite(fd, b, 0, 3, far), 3)
    assert.equal(sys.lseek(fd, 0, sys.SEEK_END), far + 3)
    assert.equal(sys.lseek(fd, 2 ** 20, sys.SEEK_DATA), far - (far % 4096))
    assert.equal(sys.pread(fd, Buffer.alloc(1), 0, 1, Number.MAX_SAFE_INTEGER), 0)
    assert.equal(sys.ftruncate(fd, 200), 0)
    assert.equal(sys.lseek(fd, 0, sys.SEEK_END), 200)
  })

  test('space calls', async () => {
    assert.equal(sys.fallocate(fd, 0, 0, 65536), 0)
    assert.equal(sys.fallocate(fd, sys.FALLOC_FL_PUNCH_HOLE | sys.FALLOC_FL_KEEP_SIZE, 4096, 4096), 0)
    assert.equal(sys.syncFileRange(fd, 0, 8192, sys.SYNC_FILE_RANGE_WRITE), 0)
    assert.equal(sys.fdatasync(fd), 0)
    assert.equal(sys.fadvise(fd, 0, 0, sys.POSIX_FADV_DONTNEED), 0)
    assert.equal(sys.flock(fd, sys.LOCK_EX | sys.LOCK_NB), 0)
    assert.equal(await sys.offLoop.fdatasync(fd), 0)
    assert.equal(await sys.offLoop.fallocate(fd, 0, 65536, 4096), 0)
    const other = sys.open(join(dir, 'f'), sys.O_RDWR)
    assert.equal(sys.flock(other, sys.LOCK_EX | sys.LOCK_NB), -ERRNO.EAGAIN)
    assert.equal(await sys.offLoop.copyFileRange(fd, 0, other, 32768, 4), 4)
    const b = Buffer.alloc(4)
    assert.equal(await sys.offLoop.preadv2(fd, b, 0, 4, 32768, 0), 4)
    assert.equal(b.toString(), 'abcd')
    sys.close(other)
  })

  test('errno off the loop is that of its own call, under load', async () => {
    const b = Buffer.alloc(64)
    const one = async (i: number): Promise<void> => {
      const bad = i % 3
      const rc = await (bad === 0 ? sys.offLoop.pread(fd, b, 0, 4, 0)
        : bad === 1 ? sys.offLoop.pread(-1, b, 0, 4, 0) : sys.offLoop.pwrite(fd, b, 0, 1, -5))
      assert.equal(rc, bad === 0 ? 4 : bad === 1 ? -ERRNO.EBADF : -ERRNO.EINVAL)
      sys.lseek(-1, 0, 0) // another errno in the tick
    }
    for (let round = 0; round < 3; round++) await Promise.all(Array.from({ length: 1500 }, (_, i) => one(i)))
  })

  test('buffers of a call off the loop outlive a collection', async () => {
    const path = join(dir, 'big')
    writeFileSync(path, Buffer.alloc(1 << 20, 'q'))
    const big = sys.open(path, sys.O_RDWR)
    for (let i = 0; i < 8; i++) {
      const calls = Array.from({ length: 8 }, (_, k) => sys.offLoop.pwrite(big, Buffer.alloc(1 << 16, k), 0, 1 << 16, k << 16))
      for (let j = 0; j < 20; j++) Buffer.alloc(1 << 20, 'z') // garbage to collect and to overwrite with
      assert.deepEqual(await Promise.all(calls), new Array(8).fill(1 << 16))
    }
    sys.close(big)
    const found = readFileSync(path)
    for (let k = 0; k < 8; k++) assert.ok(found.subarray(k << 16, (k + 1) << 16).every((byte) => byte === k), `piece ${k}`)
  })

  test('a path with a NUL byte is refused', () => {
    assert.throws(() => sys.open('/tmp/a\0b', sys.O_RDONLY), RangeError)
    assert.throws(() => sys.open(Buffer.from('/tmp/a\0b'), sys.O_RDONLY), RangeError)
  })
})
