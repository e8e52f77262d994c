/** The superblock: golden bytes, every damaged byte is noticed, newer formats and unknown features are told from damage. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { crc32 } from '../../src/sys/index.js'
import { Refusal } from '../../src/pool/refusal.js'
import { decodeSuperblock, encodeSuperblock, makeUuid, readSuperblock, SUPERBLOCK_BYTES, writeSuperblock } from '../../src/pool/superblock.js'
import type { Superblock } from '../../src/pool/superblock.js'

const sample: Superblock = {
  uuid: '00112233-4455-4677-8899-aabbccddeeff',
  name: 'größe',
  createdSec: 1_700_000_001,
  store: 'space',
  sizeBytes: 107_374_182_400,
  nameKey: Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i),
  compatible: 0x5,
  roCompatible: 0,
  incompatible: 0
}

const GOLDEN = '4f474545504f4f4c' + '01000000' + '01000000' + '00112233445546778899aabbccddeeff' +
  '01f1536500000000' + '0000000019000000' + 'f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff' + '05000000' + '00000000' + '00000000' +
  '07000000' + '6772c3b6c39f65'

const refused = (reason: string, bytes: Uint8Array): void =>
  assert.throws(() => decodeSuperblock(bytes, '/p'), (e) => e instanceof Refusal && e.reason === reason && /: .+\.$/.test(e.message))

/** Changes bytes and puts the checksum right again, as another version of Ogee would. */
function patched(at: number, value: number): Uint8Array {
  const bytes = encodeSuperblock(sample)
  const v = new DataView(bytes.buffer, bytes.byteOffset)
  v.setUint32(at, value, true)
  v.setUint32(4092, crc32(bytes, 0, 4092), true)
  return bytes
}

test('the bytes of a superblock', () => {
  const bytes = Buffer.from(encodeSuperblock(sample))
  assert.equal(bytes.length, SUPERBLOCK_BYTES)
  assert.equal(bytes.toString('hex', 0, 87), GOLDEN)
  assert.ok(bytes.subarray(87, 4092).every((b) => b === 0))
  assert.equal(bytes.readUInt32LE(4092), crc32(bytes, 0, 4092))
  assert.deepEqual(decodeSuperblock(bytes, '/p'), sample)
})

test('any changed byte, and any other length, is damage', () => {
  fc.assert(fc.property(fc.nat(SUPERBLOCK_BYTES - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
    const bytes = encodeSuperblock(sample)
    bytes[at] ^= flip
    refused('damaged', bytes)
  }))
  fc.assert(fc.property(fc.uint8Array({ maxLength: 8192 }), (bytes) => refused('damaged', bytes)))
})

test('a newer format and unknown features are refused, compatible ones ignored', () => {
  refused('newer', patched(8, 2))
  refused('newer', patched(72, 0x80000000))
  refused('newer', patched(68, 1))
  refused('damaged', patched(12, 9))
  refused('damaged', patched(76, 300))
  assert.equal(decodeSuperblock(patched(64, 0xffff), '/p').compatible, 0xffff)
})

test('written and read back; a name too long is refused before anything is written', () => {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-superblock-'))
  try {
    writeSuperblock(folder, sample)
    assert.deepEqual(readSuperblock(folder), sample)
    assert.throws(() => writeSuperblock(folder, { ...sample, name: 'x'.repeat(256) }), Refusal)
    assert.deepEqual(readSuperblock(folder), sample)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a UUID has version and variant', () => {
  assert.equal(makeUuid(new Uint8Array(16)), '00000000-0000-4000-8000-000000000000')
  assert.equal(makeUuid(new Uint8Array(16).fill(255)), 'ffffffff-ffff-4fff-bfff-ffffffffffff')
})
