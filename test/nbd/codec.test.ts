/** Headers byte by byte, each field another value, so that swapped fields cannot pass; and what comes back from random ones. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { blankRequest, readRequest, statusBytes, writeChunk, writeDone, writeError, writeHole, writeReadHeader, writeStatus } from '../../src/nbd/codec.js'
import type { ReplyForm, Request } from '../../src/nbd/codec.js'
import { makeChunkPool, makeOutbox } from '../../src/nbd/outbox.js'
import { makePayloadPool } from '../../src/nbd/payloads.js'

const R: Request = { flags: 0, type: 0, cookieHigh: 0x01020304, cookieLow: -2, offset: 0x1_0000_0506, length: 0x0708 }
const COOKIE = '01020304fffffffe'

function hexOf(write: (v: DataView, at: number) => number): string {
  const bytes = Buffer.alloc(800, 0xee)
  const n = write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 3)
  assert.ok(bytes.subarray(0, 3).every((b) => b === 0xee) && bytes.subarray(3 + n).every((b) => b === 0xee), 'nothing beside it')
  return bytes.toString('hex', 3, 3 + n)
}

test('requests, byte by byte', () => {
  const compact = Buffer.from(`25609513${'0011'}${'0007'}${COOKIE}${'0000000100000506'}${'00000708'}`, 'hex')
  const into = blankRequest()
  const view = (b: Buffer): DataView => new DataView(b.buffer, b.byteOffset, b.length)
  assert.ok(readRequest(view(compact), 0, false, into))
  assert.deepEqual(into, { ...R, flags: 0x11, type: 7 })
  const extended = Buffer.from(`21e41c71${'0020'}${'0001'}${COOKIE}${'0000000100000506'}${'0000000200000003'}`, 'hex')
  assert.ok(readRequest(view(extended), 0, true, into))
  assert.deepEqual(into, { ...R, flags: 0x20, type: 1, length: 0x2_0000_0003 })
  assert.ok(!readRequest(view(extended), 0, false, into))
  assert.ok(!readRequest(view(compact), 0, true, into))
})

test('replies, byte by byte', () => {
  assert.equal(hexOf((v, at) => writeDone(v, at, R, 'simple')), `6744669800000000${COOKIE}`)
  assert.equal(hexOf((v, at) => writeDone(v, at, R, 'structured')), `6744669800000000${COOKIE}`)
  assert.equal(hexOf((v, at) => writeDone(v, at, R, 'extended')), `6e8a278c00010000${COOKIE}00000001000005060000000000000000`)
  assert.equal(hexOf((v, at) => writeReadHeader(v, at, R, 'simple')), `6744669800000000${COOKIE}`)
  assert.equal(hexOf((v, at) => writeReadHeader(v, at, R, 'structured')), `668e33ef00010001${COOKIE}000007100000000100000506`)
  assert.equal(hexOf((v, at) => writeReadHeader(v, at, R, 'extended')), `6e8a278c00010001${COOKIE}000000010000050600000000000007100000000100000506`)
  assert.equal(hexOf((v, at) => writeHole(v, at, R, 'structured')), `668e33ef00010002${COOKIE}0000000c000000010000050600000708`)
  assert.equal(hexOf((v, at) => writeError(v, at, R, 'simple', 28, 'full')), `674466980000001c${COOKIE}`)
  assert.equal(hexOf((v, at) => writeError(v, at, R, 'structured', 28, 'full')), `668e33ef00018001${COOKIE}0000000a0000001c000466756c6c`)
  assert.equal(hexOf((v, at) => writeChunk(v, at, R, 'structured', 0x8002, 9)), `668e33ef00018002${COOKIE}00000009`)
  const ranges = [{ lengthBytes: 0x1000, state: 0 }, { lengthBytes: 0x2000, state: 3 }]
  assert.equal(hexOf((v, at) => writeStatus(v, at, R, 'structured', ranges)), `668e33ef00010005${COOKIE}00000014000000010000100000000000${'00002000'}00000003`)
  assert.equal(hexOf((v, at) => writeStatus(v, at, R, 'extended', ranges)),
    `6e8a278c00010006${COOKIE}00000001000005060000000000000028${'00000001'}${'00000002'}${'0000000000001000'}${'0000000000000000'}${'0000000000002000'}${'0000000000000003'}`)
  for (const form of ['structured', 'extended'] as ReplyForm[]) assert.equal(hexOf((v, at) => writeStatus(v, at, R, form, ranges)).length / 2, statusBytes(form, 2))
  assert.ok(hexOf((v, at) => writeError(v, at, R, 'extended', 5, 'x'.repeat(2000))).length / 2 <= 550)
})

test('an outbox sends every reply whole and in the order in which they were said, however little goes at a time', () => {
  const step = fc.record({ bytes: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 300_000 })), what: fc.constantFrom('now', 'now', 'later', 'never'), sends: fc.integer({ min: -1, max: 400_000 }) })
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const pool = makeChunkPool()
    const outbox = makeOutbox(pool)
    const want: Buffer[] = []
    const got: Buffer[] = []
    const late: (() => void)[] = []
    let fill = 0
    for (const { bytes, what, sends } of steps) {
      const room = outbox.take(bytes)
      const value = ++fill & 255
      room.chunk.bytes.fill(value, room.at, room.at + bytes)
      const said = Math.max(1, bytes - 1)
      const say = (): void => {
        outbox.say(room, said)
        want.push(Buffer.alloc(said, value))
      }
      if (what === 'now') say()
      else if (what === 'later') late.push(say)
      else outbox.drop(room)
      if (late.length > 3) late.shift()!()
      let left = sends
      outbox.flush((from, at, length) => {
        const n = Math.min(Math.max(0, left), length)
        left -= n
        got.push(Buffer.from(from.subarray(at, at + n)))
        return n
      })
    }
    late.forEach((say) => say())
    outbox.flush((from, at, length) => {
      got.push(Buffer.from(from.subarray(at, at + length)))
      return length
    })
    assert.equal(outbox.unsentBytes, 0)
    assert.ok(Buffer.concat(got).equals(Buffer.concat(want)))
  }), { numRuns: 200 })
})

test('payloads are long enough, and used again', () => {
  const pool = makePayloadPool()
  for (const n of [1, 512, 4096, 4097, 65536, 65537, 33554432]) {
    const one = pool.take(n)
    assert.ok(one.length >= n && one.length < 2 * Math.max(n, 4096))
    pool.give(one)
    assert.equal(pool.take(n), one)
  }
})
