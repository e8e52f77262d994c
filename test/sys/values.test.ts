import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { constants } from 'node:os'
import fc from 'fast-check'
import * as sys from '../../src/sys/index.js'

describe('errno', () => {
  test('the table says what the machine says', () => {
    for (const [name, n] of Object.entries(constants.errno))
      if (name in sys.ERRNO) assert.equal(sys.ERRNO[name as sys.ErrnoName], n, name)
    assert.equal(sys.errnoName(39), 'ENOTEMPTY')
    assert.equal(sys.errnoName(100000), 'EIO')
  })

  test('errnoOf: ours, those of node:fs, and anything else as EIO through the hook', () => {
    assert.equal(sys.errnoOf(new sys.PosixError('ENOSPC')), sys.ERRNO.ENOSPC)
    assert.equal(sys.errnoOf(Object.assign(new Error('x'), { errno: -13, code: 'EACCES' })), sys.ERRNO.EACCES)
    const seen: unknown[] = []
    const before = sys.onUnknownError((e) => seen.push(e))
    const odd = new TypeError('odd')
    assert.equal(sys.errnoOf(odd), sys.ERRNO.EIO)
    assert.equal(sys.errnoOf(undefined), sys.ERRNO.EIO)
    sys.onUnknownError(before)
    assert.deepEqual(seen, [odd, undefined])
  })
})

describe('bytes', () => {
  const v = new DataView(new ArrayBuffer(16))

  test('get64 and set64 agree with BigInt, both signs, to 2^53', () => {
    fc.assert(fc.property(fc.maxSafeInteger(), (n) => {
      sys.set64(v, 3, n)
      assert.equal(v.getBigInt64(3, true), BigInt(n))
      assert.equal(sys.get64(v, 3), n)
      if (n >= 0) assert.equal(sys.getU64(v, 3), n)
    }))
    v.setBigUint64(0, 2n ** 64n - 1n, true)
    assert.equal(sys.get64(v, 0), -1)
    assert.ok(sys.getU64(v, 0) > 2 ** 63)
    assert.deepEqual([sys.getLow32(v, 0), sys.getHigh32(v, 0)], [0xffffffff, 0xffffffff])
  })

  test('byte strings hold any bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const from = Buffer.from(bytes)
      const s = sys.toByteString(from, 0, from.length)
      assert.equal(s.length, bytes.length)
      const to = Buffer.alloc(bytes.length + 2, 0x55)
      assert.equal(sys.writeByteString(to, 1, s), bytes.length)
      assert.deepEqual(to.subarray(1, 1 + bytes.length), from)
    }))
    assert.equal(sys.textOfByteString(sys.byteStringOfText('ogée ☃')), 'ogée ☃')
  })

  test('crc32 is that of zlib and goes on from a seed', () => {
    const b = Buffer.from('xx123456789yy')
    assert.equal(sys.crc32(b, 2, 11), 0xcbf43926)
    assert.equal(sys.crc32(b, 5, 11, sys.crc32(b, 2, 5)), 0xcbf43926)
    assert.equal(sys.crc32(Buffer.alloc(0)), 0)
  })
})

describe('random', () => {
  test('the same seed gives the same numbers, another seed others', () => {
    const take = (seed: number): number[] => Array.from({ length: 8 }, sys.seededRandom(seed).uint32)
    assert.deepEqual(take(7), take(7))
    assert.notDeepEqual(take(7), take(8))
    assert.notDeepEqual(take(7), take(7 + 2 ** 32))
    assert.deepEqual(sys.seededRandom(3).bytes(10).subarray(0, 7), sys.seededRandom(3).bytes(7))
  })

  test('words are spread evenly enough and in range', () => {
    for (const random of [sys.seededRandom(1), sys.systemRandom]) {
      let ones = 0
      for (let i = 0; i < 4096; i++) {
        const word = random.uint32()
        assert.ok(Number.isInteger(word) && word >= 0 && word < 2 ** 32)
        ones += word >>> 31
      }
      assert.ok(ones > 1700 && ones < 2400, `${ones} of 4096 high bits`)
      assert.equal(random.bytes(5).length, 5)
    }
  })
})

test('cancellation reaches those who listen, once, and those who come late', () => {
  const cancel = new sys.CancelSource()
  const calls: string[] = []
  cancel.onCancel(() => calls.push('a'))
  cancel.onCancel(() => calls.push('b'))()
  cancel.cancel()
  cancel.cancel()
  cancel.onCancel(() => calls.push('late'))
  assert.deepEqual(calls, ['a', 'late'])
})

test('machines that are not ours are refused with a sentence', () => {
  assert.equal(sys.platformRefusal('linux', 'x64'), undefined)
  assert.equal(sys.platformRefusal('linux', 'arm64'), undefined)
  assert.match(sys.platformRefusal('darwin', 'arm64') ?? '', /Linux.*darwin arm64/)
  assert.equal(sys.kernelVersion('6.18.44-fc'), 6018)
  assert.match(sys.bootId(), /^[0-9a-f-]{36}$/)
})
