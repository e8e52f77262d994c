/** Keys and values byte by byte, as docs/format.md has them: each field holds another value, so that swapped fields cannot pass. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodePast, encodePast, historyKey } from '../../src/data/index.js'
import { decodeSlots, encodeSlots } from '../../src/meta/directory.js'
import { decodeChange, encodeChange, KINDS } from '../../src/meta/events.js'
import { halfSipHash, nameHash } from '../../src/meta/hash.js'
import { decodeInode, encodeInode } from '../../src/meta/inode.js'
import type { StoredInode } from '../../src/meta/inode.js'
import { clonedKey, dentryKey, directoryKey, domainKey, firstNumber, holdKey, inodeKey, linkKey, nameBehind, orphanKey, placeHigh, placeLow, replacedKey, rollbackKey, secondNumber, snapshotKey, sweepKey, unfoundKey, thirdNumber, volumeKey, xattrKey, isTrashedName, trashIno, trashKey, trashNameKey, trashSumsDomain, trashSumsKey, trashTime } from '../../src/meta/keys.js'
import { decodeCloned, decodeDentry, decodeNextIno, decodeRollback, decodeSnapshot, decodeSweep, decodeUnfound, decodeVolume, domainOfRow, encodeCloned, encodeDentry, encodeDomain, encodeHold, encodeLink, encodeNextIno, encodeOrphan, encodeRollback, encodeSnapshot, encodeSweep, encodeUnfound, encodeVolume, encodeXattr, linkName, orphanKind, UNNAMED, xattrValue, decodeRemoved, encodeRemoved } from '../../src/meta/rows.js'
import { expectErrno } from './pools.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const keyHex = (key: string): string => Buffer.from(key, 'latin1').toString('hex')

const INODE: StoredInode = {
  ino: 0x123456789, birth: 0x0102, mode: 0o106751, domain: 0x0304, parent: 0x1_0000_0506, homeHigh: 0x0708090a, homeLow: 0xfb0c0d85, generation: 0x11,
  nlink: 0x12, uid: 0x13, gid: 0x14, rdev: 0x15, flags: 0x16, sizeBytes: 0x1_0000_0017, durableSizeBytes: 0x18, allocatedBytes: 0x1900, blocks512: 13,
  atimeSec: -2, mtimeSec: 0x2_0000_001a, ctimeSec: 0x1b, btimeSec: 0x1c, atimeNsec: 0x1d, mtimeNsec: 0x1e, ctimeNsec: 0x1f, btimeNsec: 0x20,
  hasAccessAcl: true, hasDefaultAcl: false, hasCapability: true, hasXattrs: true, hasOrigin: true, inline: new Uint8Array([0xaa, 0xbb]), shown: undefined
}

describe('keys', () => {
  test('are a kind and big-endian numbers', () => {
    assert.equal(keyHex(inodeKey(0x123456789)), '490000000123456789')
    assert.equal(keyHex(directoryKey(2)), '470000000000000002')
    assert.equal(keyHex(domainKey(3)), '4d0000000000000003')
    assert.equal(keyHex(dentryKey(0x123456789, 0x7fabcdef, 0xfedcba98)), '4400000001234567897fabcdeffedcba98')
    assert.equal(keyHex(linkKey(1, 0x1f00000002, { high: 3, low: 0x84 })), '5200000000000000010000001f000000020000000300000084')
    assert.equal(keyHex(orphanKey(5, 6)), '4f00000000000000050000000000000006')
    assert.equal(keyHex(xattrKey(7, 'user.a')), '580000000000000007' + keyHex('user.a'))
    assert.equal(keyHex(snapshotKey(1, 'x')), '4e000000000000000178')
    assert.equal(keyHex(sweepKey(2)), '570000000000000002')
    assert.equal(keyHex(rollbackKey(3)), '550000000000000003')
    assert.equal(keyHex(holdKey(3, 0x102, 5)), '4b000000000000000300000000000001020000000000000005')
    assert.equal(thirdNumber(holdKey(3, 4, 5)), 5)
    assert.equal(keyHex(clonedKey(5, 0x123456789, 1)), '4600000000000000050000000123456789')
    assert.equal(keyHex(clonedKey(5, 0x123456789, 0x203)), '4600000000000000050000000123456789' + '01' + '0000000000000203')
    assert.equal(keyHex(replacedKey(5, 0x123456789)), '5900000000000000050000000123456789')
    assert.equal(keyHex(unfoundKey(0x123456789)), '4a0000000123456789')
    const removed = trashKey(2, { sec: 0x65, nsec: 0x0708 }, 9)
    assert.equal(keyHex(removed), '51' + '0000000000000002' + '0000000000000065' + '00000708' + '0000000000000009')
    assert.deepEqual([trashIno(removed), trashTime(removed), isTrashedName(removed)], [9, { sec: 0x65, nsec: 0x0708 }, false])
    const name = trashNameKey(2, { sec: 0x65, nsec: 0x0708 }, 9, 0x1f00000002, { high: 3, low: 0x84 })
    assert.equal(keyHex(name), `${keyHex(removed)}010000001f000000020000000300000084`)
    assert.deepEqual([trashIno(name), isTrashedName(name)], [9, true])
    assert.equal(keyHex(trashSumsKey(3)), '43740000000000000003')
    assert.equal(trashSumsDomain(trashSumsKey(3)), 3)
    assert.equal(keyHex(historyKey('I\u0001', 0x102)), '4849010000000000000102')
  })

  test('read back, and order as their numbers do', () => {
    const number = fc.maxSafeNat()
    const word = fc.integer({ min: 0, max: 0xffffffff })
    fc.assert(fc.property(number, number, word, word, (a, b, high, low) => {
      const place = { high: high >>> 1, low }
      const key = linkKey(a, b, place)
      assert.deepEqual([firstNumber(key), secondNumber(key), placeHigh(key), placeLow(key)], [a, b, place.high, place.low])
      assert.equal(inodeKey(a) < inodeKey(b), a < b)
      assert.equal(nameBehind(xattrKey(a, 'n\u00ff')), 'n\u00ff')
    }))
  })
})

describe('values', () => {
  test('an inode, byte by byte', () => {
    const bytes = encodeInode(INODE)
    assert.equal(hex(bytes), [
      '01', '0201000000000000', '3b', '0000', 'e98d0000', '0403000000000000', '0605000001000000', '850d0cfb0a090807',
      '11000000', '12000000', '13000000', '14000000', '15000000', '16000000', '1700000001000000', '1800000000000000', '0019000000000000',
      'feffffffffffffff', '1a00000002000000', '1b00000000000000', '1c00000000000000', '1d000000', '1e000000', '1f000000', '20000000', '02000000', 'aabb'
    ].join(''))
    assert.deepEqual(decodeInode(INODE.ino, bytes), INODE)
  })

  test('an inode comes back whatever its times', () => {
    const sec = fc.integer({ min: -(2 ** 40), max: 2 ** 40 })
    fc.assert(fc.property(sec, sec, fc.nat(999_999_999), fc.option(fc.uint8Array({ maxLength: 40 }), { nil: undefined }), (atimeSec, mtimeSec, mtimeNsec, inline) => {
      const inode = { ...INODE, atimeSec, mtimeSec, mtimeNsec, inline }
      assert.deepEqual(decodeInode(INODE.ino, encodeInode(inode)), inode)
    }))
  })

  test('the small ones, byte by byte', () => {
    const key = dentryKey(9, 1, 0x82)
    const dentry = encodeDentry(0x0201, 0x0605040302, 0o100000, 'a\u00ff')
    assert.equal(hex(dentry), '0101020000000000000203040506000000' + '08' + '61ff')
    assert.deepEqual(decodeDentry(key, dentry), { birth: 0x201, ino: 0x0605040302, typeBits: 0o100000, name: 'a\u00ff', cookieHigh: 1, cookieLow: 0x82 })
    const domain = encodeDomain({ domain: 4, epoch: 3, newestSnapshot: 2, root: 1, flags: 0, trashKeepSec: 0 })
    assert.equal(hex(domain), '01' + '0000000000000000' + '0300000000000000' + '0200000000000000' + '0100000000000000')
    assert.deepEqual(domainOfRow(4, { bytes: domain, decoded: undefined }), { domain: 4, epoch: 3, newestSnapshot: 2, root: 1, flags: 0, trashKeepSec: 0 })
    const longDomain = { domain: 4, epoch: 3, newestSnapshot: 2, root: 1, flags: 1, trashKeepSec: 0x0605 }
    assert.equal(hex(encodeDomain(longDomain)), hex(domain) + '01000000' + '05060000')
    assert.deepEqual(domainOfRow(4, { bytes: encodeDomain(longDomain), decoded: undefined }), longDomain)
    assert.equal(hex(encodeCloned(0x0908)), '01' + '0000000000000000' + '0809000000000000')
    assert.equal(decodeCloned(encodeCloned(0x0908)), 0x0908)
    assert.equal(hex(encodeUnfound({ origin: 0x123456789, names: 0x0a0b })), '01' + '0000000000000000' + '8967452301000000' + '0b0a0000')
    assert.deepEqual(decodeUnfound(encodeUnfound({ origin: 0x123456789, names: 0x0a0b })), { origin: 0x123456789, names: 0x0a0b })
    assert.equal(hex(encodeRollback(0x0807)), '01' + '0000000000000000' + '0708000000000000')
    assert.equal(decodeRollback(encodeRollback(9)), 9)
    const snapshot = encodeSnapshot({ epoch: 5, sec: -1, nsec: 6 })
    assert.equal(hex(snapshot), '01' + '0000000000000000' + '0500000000000000' + 'ffffffffffffffff' + '06000000')
    assert.deepEqual(decodeSnapshot(snapshot), { epoch: 5, sec: -1, nsec: 6 })
    assert.equal(hex(encodeHold()), '01' + '0000000000000000')
    assert.equal(hex(encodeSweep(5)), '01' + '0000000000000000' + '0500000000000000')
    assert.equal(decodeSweep(encodeSweep(5)), 5)
    assert.equal(hex(encodeOrphan(2, UNNAMED)), '01020000000000000001')
    assert.equal(orphanKind(encodeOrphan(2, UNNAMED)), UNNAMED)
    const removed = { parent: 0x0403, name: 'n', typeBits: 0o100000, sizeBytes: 0x0605, beforeSec: -2, beforeNsec: 7 }
    assert.equal(hex(encodeRemoved(2, removed)), '01' + '0200000000000000' + '0304000000000000' + '08' + '0506000000000000' + 'feffffffffffffff' + '07000000' + '6e')
    const at = trashKey(4, { sec: 5, nsec: 6 }, 8)
    assert.deepEqual(decodeRemoved(at, encodeRemoved(2, removed)), { key: at, domain: 4, ino: 8, isName: false, sec: 5, nsec: 6, ...removed })
    assert.equal(hex(encodeLink(2, 'n')), '0102000000000000006e')
    assert.equal(linkName(encodeLink(2, 'n')), 'n')
    assert.equal(hex(encodeXattr(3, new Uint8Array([9]))), '01030000000000000009')
    assert.deepEqual([...xattrValue(encodeXattr(3, new Uint8Array([9])))], [9])
    assert.equal(hex(encodeVolume(0x0302)), '01' + '0000000000000000' + '0203000000000000')
    assert.equal(decodeVolume(encodeVolume(0x0302)), 0x302)
    assert.equal(volumeKey('db'), 'Vdb')
    assert.equal(hex(encodeNextIno(0x10)), '01' + '0000000000000000' + '1000000000000000')
    assert.equal(decodeNextIno(encodeNextIno(0x10)), 0x10)
    const slots = [1, 2, -3, 4, 5, 6, 7, 8, 9]
    assert.equal(hex(encodeSlots(slots)), '01' + ['09', '01', '02'].map((b) => b + '00'.repeat(7)).join('') + 'fd' + 'ff'.repeat(7) + ['04', '05', '06', '07', '08'].map((b) => b + '00'.repeat(7)).join(''))
    assert.deepEqual(decodeSlots(encodeSlots(slots)), slots)
    const past = encodePast(2, 3, new Uint8Array([7]))
    assert.equal(hex(past), '01' + '0200000000000000' + '0300000000000000' + '07')
    const back = decodePast({ key: historyKey('Ix', 2), row: { bytes: past, decoded: undefined } })
    assert.deepEqual([back.key, back.birth, back.death, [...back.bytes]], ['Ix', 2, 3, [7]])
  })

  test('a change, byte by byte', () => {
    const change = { kind: 'rename' as const, ino: 1, mode: 2, parent: 3, name: 'ab', toParent: 4, toName: 'c', toIno: 5 }
    const bytes = encodeChange(change)
    assert.equal(hex(bytes), '01' + '05' + '0000' + '02000000' + ['01', '03', '04', '05'].map((b) => b + '00'.repeat(7)).join('') + '0200' + '0100' + '616263')
    assert.deepEqual(decodeChange(bytes), change)
    KINDS.forEach((kind, i) => assert.equal(encodeChange({ kind, ino: 1 })[1], i + 1))
  })

  test('damage is EIO, never a wrong answer', async () => {
    await expectErrno('EIO', async () => decodeInode(1, encodeInode(INODE).subarray(0, 141)))
    await expectErrno('EIO', async () => decodeInode(1, new Uint8Array(140)))
    await expectErrno('EIO', async () => decodeDentry(dentryKey(1, 1, 1), new Uint8Array([1, 0])))
    await expectErrno('EIO', async () => decodeChange(encodeChange({ kind: 'make', ino: 1 }).fill(99, 1, 2)))
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeInode(1, bytes)
      } catch (e) {
        assert(e instanceof Error && 'code' in e && e.code === 'EIO')
      }
    }))
  })
})

describe('the name hash', () => {
  test('is HalfSipHash-2-4 (the authors\' first vectors)', () => {
    const out = new Int32Array(2)
    const vector = (length: number): string => {
      halfSipHash(0x03020100, 0x07060504, String.fromCharCode(...Array.from({ length }, (_, i) => i)), out)
      return hex(new Uint8Array(out.buffer))
    }
    assert.equal(vector(0), '218d1f59b9b83cc8')
    assert.equal(vector(1), 'be552412f8387315')
  })

  test('is keyed, 56 bits wide and never 0', () => {
    const one = nameHash(new Uint8Array(16))
    const two = nameHash(Uint8Array.from({ length: 16 }, (_, i) => i))
    fc.assert(fc.property(fc.string({ unit: fc.integer({ min: 1, max: 255 }).map((c) => String.fromCharCode(c)), maxLength: 255 }), (name) => {
      const a = { high: 0, low: 0 }
      const b = { high: 0, low: 0 }
      one(name, a)
      two(name, b)
      assert(a.high >= 0 && a.high < 2 ** 31 && a.low >= 0 && (a.low & 127) === 0)
      assert(a.high !== 0 || a.low !== 0)
      assert(a.high !== b.high || a.low !== b.low)
    }))
  })
})
