/** Large reads past the page cache: only of what it does not hold, only where memory and disk agree on places, and with the right bytes. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'
import { hostIo } from '../../src/store/index.js'
import * as sys from '../../src/sys/index.js'

const MIB = 1 << 20
const dir = mkdtempSync(join(tmpdir(), 'ogee-direct-'))
const path = join(dir, 'space')
const file = hostIo.create(path, 4 * MIB)
const bytes = Buffer.alloc(4 * MIB)
for (let i = 0; i < bytes.length; i += 512) bytes.fill(`${i};`, i, i + 512)
const into = sys.alignedBytes(2 * MIB, 0)
const other = sys.open(path, sys.O_RDWR)

/** Afterwards the page cache holds nothing of the file. */
function forget(): void {
  assert.equal(sys.fdatasync(other), 0)
  assert.equal(sys.fadvise(other, 0, 0, sys.POSIX_FADV_DONTNEED), 0)
}

assert.equal(file.writeNow(bytes, 0, bytes.length, 0), bytes.length)
forget()
const probe = file.readPast?.(into, 0, MIB, 0)
const works = probe !== undefined && (await probe) === MIB

after(() => {
  sys.close(other)
  file.close()
  rmSync(dir, { recursive: true })
})

describe('reads past the page cache', { skip: works ? false : 'the temporary folder lies on what knows no direct reads' }, () => {
  const past = (at: number, length: number, offset: number): Promise<number> | undefined => file.readPast!(into, at, length, offset)

  test('bring the bytes and leave nothing behind', async () => {
    forget()
    into.fill(0)
    const answers = await Promise.all([0, 1, 2].map((i) => past(i * MIB / 2, MIB / 2, i * MIB)))
    assert.deepEqual(answers, [MIB / 2, MIB / 2, MIB / 2])
    for (const i of [0, 1, 2]) assert.ok(into.subarray(i * MIB / 2, (i + 1) * MIB / 2).equals(bytes.subarray(i * MIB, i * MIB + MIB / 2)))
    assert.equal(sys.cachedPages(other, 0, 4 * MIB), 0)
  })

  test('are not made of what the page cache has: written a moment ago, or read', () => {
    forget()
    assert.equal(file.writeNow(bytes, 0, 4096, MIB + 8192), 4096)
    assert.equal(past(0, MIB, MIB), undefined)
    assert.equal(sys.pread(other, into, 0, 4096, 3 * MIB), 4096)
    assert.equal(past(0, MIB, 3 * MIB), undefined)
    bytes.copy(bytes, MIB + 8192, 0, 4096)
  })

  test('are not made of small ones, nor of ones that lie askew', () => {
    forget()
    assert.equal(past(0, 64 * 1024, 0), undefined)
    assert.equal(past(16, MIB, 0), undefined)
    assert.equal(past(0, MIB, 100), undefined)
    assert.equal(past(0, MIB - 100, 0), undefined)
  })
})
