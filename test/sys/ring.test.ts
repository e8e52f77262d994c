/** The kernel's ring: reads of what only the disk has come back whole, each with its own answer, whatever their number. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { tmpdir } from 'node:os'
import * as sys from '../../src/sys/index.js'

const { ERRNO } = sys
const dir = mkdtempSync(join(tmpdir(), 'ogee-ring-'))
const path = join(dir, 'numbers')
const PIECE = 4096
const PIECES = 2048
const bytes = Buffer.alloc(PIECE * PIECES)
for (let i = 0; i < PIECES; i++) bytes.fill(`${i} `, i * PIECE, (i + 1) * PIECE)
writeFileSync(path, bytes)
const fd = sys.check(sys.open(path, sys.O_RDONLY), 'open', path)

/** So that the page cache holds nothing of the file. */
function forget(): void {
  assert.equal(sys.fdatasync(fd), 0)
  assert.equal(sys.fadvise(fd, 0, 0, sys.POSIX_FADV_DONTNEED), 0)
}

after(() => {
  sys.close(fd)
  rmSync(dir, { recursive: true })
})

const ring = sys.ring()

describe('the ring', { skip: ring === undefined ? 'this kernel gives us none' : false }, () => {
  const read = (into: Uint8Array, at: number, length: number, offset: number, from = fd): Promise<number> => ring!.read(from, into, at, length, offset)

  test('more reads at once than it has room for, each into its own bytes', async () => {
    forget()
    const into = Buffer.alloc(PIECES * PIECE)
    const order = Array.from({ length: PIECES }, (_, i) => (i * 1021) % PIECES)
    const got = await Promise.all(order.map((i) => read(into, i * PIECE, PIECE, i * PIECE)))
    assert.ok(got.every((rc) => rc === PIECE))
    assert.ok(into.equals(bytes))
  })

  test('large ones, cold and warm, and ends of files', async () => {
    forget()
    const into = Buffer.alloc(bytes.length + 100)
    for (let round = 0; round < 2; round++) {
      into.fill(0xff)
      let done = 0
      for (;;) {
        const rc = await read(into, done, Math.min(1 << 20, into.length - done), done)
        assert.ok(rc >= 0)
        if (rc === 0) break
        done += rc
      }
      assert.equal(done, bytes.length)
      assert.ok(into.subarray(0, done).equals(bytes))
      assert.equal(into[done], 0xff)
    }
    assert.equal(await read(into, 0, 10, bytes.length), 0)
    assert.equal(await read(into, 0, 10, bytes.length - 3), 3)
  })

  test('each failure is that of its own read', async () => {
    const into = Buffer.alloc(8)
    const answers = await Promise.all(Array.from({ length: 900 }, (_, i) =>
      i % 3 === 0 ? read(into, 0, 8, 0) : i % 3 === 1 ? read(into, 0, 8, 0, -1) : read(into, 0, 8, -1)))
    answers.forEach((rc, i) => assert.equal(rc, [8, -ERRNO.EBADF, -ERRNO.EINVAL][i % 3]))
    assert.throws(() => read(into, 4, 5, 0), RangeError)
  })

  test('syncs among reads, each with its own answer', async () => {
    const into = Buffer.alloc(8)
    const answers = await Promise.all(Array.from({ length: 90 }, (_, i) =>
      i % 3 === 0 ? ring!.fdatasync(fd) : i % 3 === 1 ? ring!.fdatasync(-1) : read(into, 0, 8, 0)))
    answers.forEach((rc, i) => assert.equal(rc, [0, -ERRNO.EBADF, 8][i % 3]))
  })

  test('writes in parts: all of the bytes, an odd end, and an errno', async () => {
    const target = join(dir, 'written')
    const out = sys.check(sys.open(target, sys.O_RDWR | sys.O_CREAT, 0o600), 'open', target)
    const length = 1_000_003
    assert.equal(await ring!.write(out, bytes, 7, length, 100, 64 * 1024), length)
    const back = Buffer.alloc(length)
    assert.equal(sys.pread(out, back, 0, length, 100), length)
    assert.ok(back.equals(bytes.subarray(7, 7 + length)))
    assert.equal(await ring!.write(fd, bytes, 0, length, 0, 64 * 1024), -ERRNO.EBADF) // read-only
    sys.close(out)
  })

  test('buffers that only the ring knows outlive a collection', async () => {
    for (let round = 0; round < 8; round++) {
      forget()
      const answers = Array.from({ length: 64 }, (_, i) => {
        const own = Buffer.from(new ArrayBuffer(PIECE))
        return read(own, 0, PIECE, i * PIECE).then(() => own.equals(bytes.subarray(i * PIECE, (i + 1) * PIECE)))
      })
      for (let j = 0; j < 20; j++) Buffer.alloc(1 << 20, 'z')
      assert.deepEqual(await Promise.all(answers), new Array(64).fill(true))
    }
  })

  test('an idle ring keeps no process alive; a read under way does', () => {
    const program = `
      import * as sys from ${JSON.stringify(new URL('../../src/sys/index.ts', import.meta.url).href)}
      const fd = sys.open(${JSON.stringify(path)}, sys.O_RDONLY)
      const b = Buffer.alloc(8192)
      void sys.ring().read(fd, b, 0, 8192, 0).then((rc) => console.log(rc))`
    forget()
    const said = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], { timeout: 30_000, encoding: 'utf8' })
    assert.equal(said.trim(), '8192')
  })
})
