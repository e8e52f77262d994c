/** The protocol's corners over a connection without a socket: the handshake, every command in every form of reply, errors, strangers' bytes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PosixError } from '../../src/sys/index.js'
import { connect, extendedRequest, go, memoryVolume, named, option, replies, request, u16, u32, u64 } from './client.js'
import type { MemoryVolume } from './client.js'

const KIB = 1024
const UNSUP = 0x80000001, INVALID = 0x80000003, TLS_REQD = 0x80000005, UNKNOWN = 0x80000006, EXT_REQD = 0x8000000a, POLICY = 0x80000002
const ALL_FLAGS = 0x1 | 0x4 | 0x8 | 0x20 | 0x40 | 0x100 | 0x400 | 0x800
const STRUCTURED = option(8), EXTENDED = option(11)
const context = (...queries: string[]): Buffer => option(10, named('v'), u32(queries.length), ...queries.map(named))
const types = (bytes: Buffer): number[] => replies(bytes).map(([, type]) => type)

test('a greeting, then options until an export is chosen', async () => {
  const c = connect({ v: memoryVolume(KIB), w: memoryVolume(2 * KIB) })
  assert.equal((await c.take()).toString('latin1'), 'NBDMAGICIHAVEOPT\x00\x03')
  c.send(u32(3), 1)
  c.send(option(3), 5)
  const listed = replies(await c.take())
  assert.deepEqual(listed.map(([o, t, d]) => [o, t, d.toString('latin1')]), [[3, 2, '\0\0\0\x01vabout v'], [3, 2, '\0\0\0\x01wabout w'], [3, 1, '']])
  c.send(Buffer.concat([option(6, named('w'), u16(3), u16(1), u16(2), u16(3)), option(99), option(3, u32(1)), option(6, named('x'), u16(0)), option(6, named(''), u16(0)), option(5)]))
  const [size, name, about, block, ack, ...rest] = replies(await c.take())
  assert.deepEqual([size, name, about, block, ack].map(([, t, d]) => [t, d.toString('hex')]), [
    [3, Buffer.concat([u16(0), u64(2 * KIB), u16(ALL_FLAGS)]).toString('hex')], [3, Buffer.from('\0\x01w').toString('hex')], [3, Buffer.from('\0\x02told').toString('hex')],
    [3, Buffer.concat([u16(3), u32(1), u32(4096), u32(33554432)]).toString('hex')], [1, '']])
  assert.deepEqual(rest.map(([, t]) => t), [UNSUP, INVALID, UNKNOWN, UNKNOWN, POLICY])
  c.send(option(2))
  assert.deepEqual(types(await c.take()), [1])
  assert.ok(c.isClosed)
  assert.deepEqual(c.logged, [])
})

test('EXPORT_NAME, with and without the zeros, and of an export that is not there', async () => {
  for (const [flags, zeros] of [[1, 124], [3, 0]]) {
    const volume = memoryVolume(KIB)
    const c = connect({ v: volume })
    await c.take()
    c.send(Buffer.concat([u32(flags), option(1, Buffer.from('v')), request(0, 7, 0, 512)]))
    assert.equal((await c.take()).toString('hex'), Buffer.concat([u64(KIB), u16(ALL_FLAGS), Buffer.alloc(zeros), u32(0x67446698), u32(0), u64(7), Buffer.alloc(512)]).toString('hex'))
    c.send(request(2, 8, 0, 0))
    await c.take()
    assert.deepEqual([c.isClosed, volume.opens, c.logged], [true, 0, []])
  }
  const c = connect({ v: memoryVolume(KIB) })
  c.send(Buffer.concat([u32(1), option(1, Buffer.from('nobody'))]))
  await c.take()
  assert.ok(c.isClosed)
  assert.match(c.logged[0], /no export "nobody"/)
})

test('contexts need structured replies, and belong to one export', async () => {
  const c = connect({ v: memoryVolume(KIB), w: memoryVolume(KIB) })
  await c.take()
  c.send(Buffer.concat([u32(3), context('base:allocation'), STRUCTURED, context('base:allocation'), context('base:'), option(9, named('v'), u32(0)), option(9, named('v'), u32(1), named('base:')),
    option(9, named('v'), u32(1), named('x:y')), option(10, named('nobody'), u32(0)), option(10, named('v'), u32(5)), option(8, u32(1)), EXTENDED, STRUCTURED]))
  assert.deepEqual(types(await c.take()), [INVALID, 1, 4, 1, 1, 4, 1, 4, 1, 1, UNKNOWN, INVALID, INVALID, 1, EXT_REQD])
  c.send(Buffer.concat([context('base:allocation'), option(7, named('w'), u16(0)), extendedRequest(7, 1, 0, 512)]))
  const bytes = await c.take()
  assert.equal(bytes.subarray(bytes.length - 200).includes(Buffer.from('not negotiated')), true)
})

test('TLS first where it is wanted; what was agreed in the clear is forgotten', async () => {
  const c = connect({ v: memoryVolume(KIB) }, { tls: 'required' })
  await c.take()
  c.send(Buffer.concat([u32(3), option(3), STRUCTURED, option(7, named('v'), u16(0))]))
  assert.deepEqual(types(await c.take()), [TLS_REQD, TLS_REQD, TLS_REQD])
  c.send(option(5))
  assert.deepEqual(types(await c.take()), [1])
  assert.ok(c.isSecure)
  c.connection.secured()
  c.send(Buffer.concat([option(5), option(3)]))
  assert.deepEqual(types(await c.take()), [INVALID, 2, 1])

  const hasty = connect({ v: memoryVolume(KIB) }, { tls: 'required' })
  hasty.send(Buffer.concat([u32(3), option(5), option(3)]))
  await hasty.take()
  assert.deepEqual([hasty.isSecure, hasty.isClosed], [false, true])
  const bold = connect({ v: memoryVolume(KIB) }, { tls: 'required' })
  bold.send(Buffer.concat([u32(3), option(1, Buffer.from('v'))]))
  await bold.take()
  assert.ok(bold.isClosed)
})

test('every command, in each form of reply', async () => {
  for (const form of ['simple', 'structured', 'extended'] as const) {
    const volume = memoryVolume(256 * KIB)
    const c = connect({ v: volume })
    await c.take()
    await go(c, ...(form === 'simple' ? [] : [form === 'extended' ? EXTENDED : STRUCTURED, context('base:allocation')]))
    const ask = form === 'extended' ? extendedRequest : request
    const writes = form === 'extended' ? 0x20 : 0
    const done = (cookie: number, offset: number): string => (form === 'extended' ? Buffer.concat([u32(0x6e8a278c), u16(1), u16(0), u64(cookie), u64(offset), u64(0)]) : Buffer.concat([u32(0x67446698), u32(0), u64(cookie)])).toString('hex')
    const chunk = (type: number, cookie: number, offset: number, payload: Buffer): string => (form === 'extended'
      ? Buffer.concat([u32(0x6e8a278c), u16(1), u16(type), u64(cookie), u64(offset), u64(payload.length), payload]) : Buffer.concat([u32(0x668e33ef), u16(1), u16(type), u64(cookie), u32(payload.length), payload])).toString('hex')
    const answer = async (bytes: Buffer): Promise<string> => {
      c.send(bytes, 7)
      return (await c.take()).toString('hex')
    }
    assert.equal(await answer(ask(1, 1, 512, 700, writes, Buffer.alloc(700, 5))), done(1, 512))
    assert.ok(volume.bytes.subarray(512, 1212).every((b) => b === 5) && volume.bytes[1212] === 0)
    assert.equal(volume.flushes, 0)
    assert.equal(await answer(ask(1, 2, 0, 1, writes | 1, Buffer.alloc(1, 6))), done(2, 0))
    assert.equal(volume.flushes, 1)
    assert.equal(await answer(ask(3, 3, 0, 0)), done(3, 0))
    assert.equal(volume.flushes, 2)
    const data = Buffer.concat([Buffer.alloc(12), Buffer.alloc(4, 5)])
    assert.equal(await answer(ask(0, 4, 500, 16, form === 'simple' ? 0 : 4)), form === 'simple' ? done(4, 500) + data.toString('hex') : chunk(1, 4, 500, Buffer.concat([u64(500), data])))
    assert.equal(await answer(ask(0, 5, 64 * KIB, 64 * KIB)), form === 'simple' ? done(5, 0) + Buffer.alloc(64 * KIB).toString('hex') : chunk(2, 5, 64 * KIB, Buffer.concat([u64(64 * KIB), u32(64 * KIB)])))
    assert.equal(await answer(ask(4, 6, 512, 512)), done(6, 512))
    assert.equal(await answer(ask(6, 7, 1024, 512)), done(7, 1024))
    assert.equal(await answer(ask(6, 8, 1024, 512, 2 | 16)), done(8, 1024))
    assert.equal(await answer(ask(5, 9, 0, 4096)), done(9, 0))
    assert.deepEqual(volume.calls, ['write', 'write', 'trim', 'zero free', 'zero hold'])
    if (form !== 'simple') {
      const status = (...ranges: [number, number][]): Buffer => Buffer.concat(form === 'extended'
        ? [u32(1), u32(ranges.length), ...ranges.flatMap((r) => r.map(u64))] : [u32(1), ...ranges.flatMap((r) => r.map(u32))])
      assert.equal(await answer(ask(7, 10, 100, 4000)), chunk(5 + Number(form === 'extended'), 10, 100, status([412, 0], [512, 3], [512, 0], [2564, 3])))
      assert.equal(await answer(ask(7, 11, 0, 4096, 8)), chunk(5 + Number(form === 'extended'), 11, 0, status([512, 0])))
    }
    const head = form === 'extended' ? 32 : 20
    const fails = async (bytes: Buffer, error: number): Promise<void> => {
      const got = Buffer.from(await answer(bytes), 'hex')
      if (form === 'simple') return assert.equal(got.readUInt32BE(4), error)
      assert.deepEqual([got.readUInt16BE(6), got.readUInt32BE(head)], [0x8001, error])
      assert.match(got.toString('utf8', head + 6), /\.$/)
    }
    await fails(ask(0, 1, 256 * KIB - 1, 2), 22)
    await fails(ask(1, 1, 256 * KIB - 1, 2, writes, Buffer.alloc(2)), 28)
    await fails(ask(6, 1, 256 * KIB, 1), 28)
    await fails(ask(4, 1, 2 ** 53, 512), 22)
    await fails(ask(4, 1, 0, 0), 22)
    await fails(ask(3, 1, 0, 512), 22)
    await fails(ask(99, 1, 0, 0), 22)
    await fails(ask(0, 1, 0, 512, 8), 22)
    await fails(ask(4, 1, 0, 512, 64), 22)
    if (form === 'simple') await fails(ask(7, 1, 0, 512), 22)
    if (form === 'extended') {
      await fails(ask(1, 1, 0, 512), 22) // a write without its flag carries nothing
      await fails(ask(4, 1, 0, 512, 0x20, Buffer.alloc(512)), 22) // and what others carry is passed over
      await fails(ask(4, 1, 2 ** 40, 2 ** 40), 22)
    }
    volume.fail = new PosixError('ENOSPC', 'The pool is full: make room.')
    await fails(ask(1, 1, 0, 512, writes, Buffer.alloc(512)), 28)
    volume.fail = new PosixError('EIO')
    await fails(ask(3, 1, 0, 0), 5)
    await fails(ask(0, 1, 0, 512), 5)
    volume.gate = Promise.resolve()
    await fails(ask(0, 1, 0, 512), 5)
    c.send(ask(2, 0, 0, 0))
    await c.take()
    assert.deepEqual([c.isClosed, volume.opens, c.logged], [true, 0, []])
  }
})

test('a read-only export says so, and takes no change', async () => {
  const volume = memoryVolume(KIB)
  volume.refused = 'pid 7 writes it: wait.'
  const c = connect({ v: volume })
  await c.take()
  await go(c, STRUCTURED)
  c.send(request(1, 1, 0, 512, 0, Buffer.alloc(512, 1)))
  const got = await c.take()
  assert.equal(got.readUInt32BE(20), 1)
  assert.match(got.toString('utf8', 26), /pid 7 writes it: wait\.$/)
  assert.deepEqual(volume.calls, [])
})

test('answers come as they are done; the volume is let go when the last is', async () => {
  const volume = memoryVolume(KIB)
  const c = connect({ v: volume })
  await c.take()
  await go(c)
  let open = (): void => undefined
  volume.gate = new Promise((resolve) => { open = resolve })
  c.send(Buffer.concat([request(0, 1, 0, 8), request(1, 2, 8, 8, 0, Buffer.alloc(8, 9))]))
  volume.gate = undefined
  c.send(request(0, 3, 8, 8))
  assert.equal((await c.take()).readUInt32BE(12), 3)
  c.connection.ended(undefined)
  assert.deepEqual([c.isClosed, volume.opens], [false, 1])
  open()
  await c.take()
  assert.deepEqual([c.isClosed, volume.opens, volume.bytes[8]], [true, 0, 9])
})

test('too much in hand is back-pressure: no more is read until it is less', async () => {
  const volume = memoryVolume(KIB)
  const c = connect({ v: volume })
  await c.take()
  await go(c)
  let open = (): void => undefined
  volume.gate = new Promise((resolve) => { open = resolve })
  for (let i = 0; i < 1024; i++) {
    assert.ok(!c.connection.isFull)
    c.send(request(1, i, 0, 1, 0, Buffer.alloc(1)))
  }
  assert.ok(c.connection.isFull)
  open()
  await c.take()
  assert.ok(!c.connection.isFull)
  volume.gate = undefined
  const big = memoryVolume(32 * KIB * KIB)
  const d = connect({ v: big })
  await d.take()
  await go(d)
  d.room = 100
  d.send(request(0, 1, 0, 20 * KIB * KIB))
  await d.take()
  assert.ok(d.connection.isFull)
  d.room = Infinity
  assert.equal((await d.take()).length, 20 * KIB * KIB + 16 - 100)
  assert.ok(!d.connection.isFull)
})

test('who does not choose is sent away, and what is no request ends one connection with a line', async () => {
  const slow = connect({ v: memoryVolume(KIB) })
  await slow.clock.advanceAsync(61_000)
  assert.deepEqual([slow.isClosed, slow.logged.length], [true, 1])
  for (const bytes of [u32(7), u32(0), Buffer.concat([u32(3), Buffer.alloc(16)]), Buffer.concat([u32(3), option(3).fill(0xff, 12)])]) {
    const c = connect({ v: memoryVolume(KIB) })
    c.send(bytes)
    await c.take()
    assert.deepEqual([c.isClosed, c.logged.length], [true, 1], bytes.toString('hex'))
  }
  for (const bytes of [Buffer.alloc(28), request(1, 1, 0, 0xffffffff), extendedRequest(0, 1, 0, 1)]) {
    const volume = memoryVolume(KIB)
    const c = connect({ v: volume })
    await c.take()
    await go(c)
    c.send(bytes)
    await c.take()
    assert.deepEqual([c.isClosed, c.logged.length, volume.opens], [true, 1, 0])
  }
})

test('any bytes in any pieces: no crash, nothing kept open', async () => {
  const piece = fc.oneof(fc.uint8Array({ maxLength: 40 }).map((b) => Buffer.from(b)),
    fc.record({ n: fc.integer({ min: 0, max: 12 }), data: fc.uint8Array({ maxLength: 30 }) }).map(({ n, data }) => option(n, Buffer.from(data))),
    fc.constantFrom(STRUCTURED, EXTENDED, context('base:allocation'), option(7, named('v'), u16(0)), option(6, named('v'), u16(1), u16(3)), option(3)),
    fc.record({ type: fc.integer({ min: 0, max: 8 }), offset: fc.integer({ min: 0, max: 5000 }), length: fc.integer({ min: 0, max: 5000 }), flags: fc.integer({ min: 0, max: 63 }), isExtended: fc.boolean(), missing: fc.integer({ min: 0, max: 3 }) })
      .map(({ type, offset, length, flags, isExtended, missing }) => (isExtended ? extendedRequest : request)(type, 1, offset, length, flags, type === 1 ? Buffer.alloc(Math.max(0, length - missing), 1) : Buffer.alloc(0))))
  await fc.assert(fc.asyncProperty(fc.array(piece, { maxLength: 12 }), fc.integer({ min: 1, max: 50 }), async (pieces, size) => {
    const volume: MemoryVolume = memoryVolume(4096)
    const c = connect({ v: volume })
    c.send(Buffer.concat([u32(3), ...pieces]), size)
    await c.take()
    c.connection.ended(undefined)
    await c.take()
    assert.deepEqual([c.isClosed, volume.opens, c.connection.inFlight], [true, 0, 0])
  }), { numRuns: 300 })
})
