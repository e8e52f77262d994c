/** The log's bytes, as docs/format-log.md says them: golden records, and whatever else comes along is refused or ends replay. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { viewOf } from '../../src/sys/index.js'
import { EngineError } from '../../src/engine/index.js'
import { decodeHeader, decodeMark, decodeRecord, encodeHeader, encodeMark, encodeRecord, recordBytesBound, RECORD_HEADER_BYTES, sealRecord, stampOf } from '../../src/engine/lmdb/format.js'
import type { ReplaySink } from '../../src/engine/lmdb/format.js'
import { countersEntry, VALUE } from '../../src/engine/rows.js'
import type { Entry } from '../../src/engine/rows.js'
import { TxRun } from '../../src/engine/transaction.js'
import { bytes } from './suite.js'

const header = { uuid: '000102030405060708090a0b0c0d0e0f', salt: 0x11223344, ringBytes: 64 * 1024 * 1024 }

test('the header page', () => {
  const page = encodeHeader(header)
  assert.equal(page.length, 4096)
  assert.equal(page.toString('hex', 0, 48), '4f4745454c4f4700' + '01000000' + 'b60dd60b' + '000102030405060708090a0b0c0d0e0f' + '44332211' + '00400000' + '0000000000000000')
  assert.deepEqual(decodeHeader(page, 'log'), header)
  assert.throws(() => decodeHeader(Buffer.alloc(4096), 'log'), (e) => e instanceof EngineError && e.code === 'ENGINE_LOG_FOREIGN')
})

test('the mark page; any other bytes are no mark', () => {
  const page = encodeMark(header, 0x0a0b0c0d0e)
  assert.equal(page.length, 4096)
  assert.equal(page.toString('hex', 0, 32), '4f4745454d41524b' + '0c06ece4' + '00000000' + '0e0d0c0b0a000000' + '0000000000000000')
  assert.equal(decodeMark(header, page), 0x0a0b0c0d0e)
  assert.equal(decodeMark({ ...header, salt: 1 }, page), 0)
  for (let at = 0; at < 4096; at++) {
    const other = Buffer.from(page)
    other[at] ^= 1 << (at % 8)
    assert.equal(decodeMark(header, other), 0, `byte ${at}`)
  }
})

test('a stamp fits its record, its log and its place alone', () => {
  const record = encoded()
  const v = viewOf(record)
  const stamp = v.getUint32(40, true)
  assert.equal(stampOf(v, 0, header.salt, 0x7000000123), stamp)
  assert.notEqual(stampOf(v, 0, header.salt ^ 1, 0x7000000123), stamp)
  assert.notEqual(stampOf(v, 0, header.salt, 0x7000000124), stamp)
  for (let bit = 32; bit < 320; bit++) {
    if (bit >= 64 && bit < 96) continue // the crc, which a broken record before this one makes worthless
    record[bit >> 3] ^= 1 << (bit & 7)
    assert.notEqual(stampOf(v, 0, header.salt, 0x7000000123), stamp, `bit ${bit}`)
    record[bit >> 3] ^= 1 << (bit & 7)
  }
})

/** A transaction with one operation of each kind, every field another value. */
function sample(): TxRun {
  const find = (key: string): Entry | undefined => (key === 'c' ? countersEntry(0, [1, 2]) : undefined)
  const tx = new TxRun({ find, scan: () => [], seq: () => 0 })
  tx.put('v\u0000\u00ff', bytes('val'))
  tx.delete('w')
  tx.addCounters('c', [-3, 0, 2 ** 40])
  tx.setBits('b', 0x1234, 5, 7)
  tx.clearBits('b', 0x1234, 6, 1)
  tx.change(bytes('ev'))
  tx.change(bytes(''))
  assert.ok(tx.decide(find, 9))
  return tx
}

function encoded(): Buffer {
  const tx = sample()
  const bound = recordBytesBound(tx, 'id\u00fe', bytes('res'))
  const buf = Buffer.alloc(bound)
  const end = encodeRecord(buf, viewOf(buf), 0, tx, 0x01020304, 0x0a0b0c0d0e, 0x0a0b0c0d01, 0x0506070809, 'id\u00fe', bytes('res'))
  assert.ok(end <= bound)
  sealRecord(buf, viewOf(buf), 0, end, header.salt, header.salt, 0x7000000123)
  return buf.subarray(0, end)
}

const golden = [
  '4f474352', '8e000000', '413ac00f', '04030201', '0e0d0c0b0a000000', '090807060500', '0200', '010d0c0b0a000000', '754d7519',
  '01', '0300', '7600ff', '03000000', '76616c',
  '02', '0100', '77',
  '03', '0100', '63', '03', 'feffffffffffffff', '0200000000000000', '0000000000010000',
  '04', '0100', '62', '34120000', '0200', '01', '05000000', '07000000', '00', '06000000', '01000000',
  '05', '02000000', '6576',
  '05', '00000000',
  '06', '03', '6964fe', '03000000', '726573'
]

test('a record with each operation', () => {
  const record = encoded()
  const hex = record.toString('hex')
  assert.equal(hex, golden.join(''))
  const seen: unknown[] = []
  decodeRecord(record, sinkInto(seen))
  assert.deepEqual(seen, [
    ['put', 'v\u0000\u00ff', 'val', 0x0a0b0c0d0e], ['remove', 'w', 0x0a0b0c0d0e], ['counters', 'c', [-2, 2, 2 ** 40]],
    ['bits', 'b', 0x1234, [1, 5, 7, 0, 6, 1]], ['event', 0x01020304, 0x0506070809, 'ev'], ['event', 0x01020304, 0x050607080a, ''],
    ['answer', 0x01020304, 'id\u00fe', 'res']
  ])
})

const text = (b: Uint8Array): string => Buffer.from(b).latin1Slice()
const sinkInto = (seen: unknown[]): ReplaySink => ({
  put(record, keyAt, keyEnd, kind, at, end, seq) {
    const key = record.latin1Slice(keyAt, keyEnd)
    if (kind === VALUE) return void seen.push(['put', key, record.latin1Slice(at, end), seq])
    seen.push(['counters', key, Array.from({ length: (end - at) / 8 }, (_, i) => Number(record.readBigInt64LE(at + 8 * i)))])
  },
  remove: (record, keyAt, keyEnd, seq) => void seen.push(['remove', record.latin1Slice(keyAt, keyEnd), seq]),
  bits: (key, sizeBits, ranges) => void seen.push(['bits', key, sizeBits, ranges]),
  event: (session, n, record, at, end) => void seen.push(['event', session, n, record.latin1Slice(at, end)]),
  answer: (a) => void seen.push(['answer', a.session, a.requestId, text(a.result)])
})

test('a record of a wrong form is refused, never misread into a hang or a crash', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (body) => {
    const record = Buffer.concat([Buffer.alloc(RECORD_HEADER_BYTES), body])
    try {
      decodeRecord(record, sinkInto([]))
    } catch (e) {
      assert.ok(e instanceof EngineError)
    }
  }))
})
