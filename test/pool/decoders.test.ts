/**
 * Every decoder of what lies on a disk or comes over a socket, given bytes that nobody wrote: a value or an error that was meant, never
 * a RangeError, a TypeError or a hang. Checksums are made right again, so that what is behind them is reached.
 */
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodeSpec } from '../../src/cli/daemon/nbd-spec.js'
import { decodeAsk, encodeAsk } from '../../src/cli/volume-query.js'
import { decodePast, encodePast, historyKey } from '../../src/data/history.js'
import { decodeOrigin, encodeOrigin } from '../../src/data/origin.js'
import { decodeExtent, decodePending, encodeExtent, encodePending, extentKey, newLoggedRow, pendingKey } from '../../src/data/rows.js'
import { EngineError } from '../../src/engine/index.js'
import { decodeHeader as decodeLogHeader, decodeMark, decodeRecord, encodeHeader as encodeLogHeader, encodeMark } from '../../src/engine/lmdb/format.js'
import { noSink } from '../../src/engine/lmdb/inspect.js'
import { entryFrom } from '../../src/engine/lmdb/stored.js'
import { entryOf, VALUE } from '../../src/engine/rows.js'
import { decodeAcl, encodeAcl } from '../../src/meta/acl.js'
import { decodeSlots, encodeSlots, newSlots } from '../../src/meta/directory.js'
import { decodeChange, encodeChange } from '../../src/meta/events.js'
import { decodeInode } from '../../src/meta/inode.js'
import { dentriesFrom, trashKey } from '../../src/meta/keys.js'
import { decodeDentry, decodeNextIno, decodeRemoved, decodeSnapshot, decodeSweep, decodeVolume, domainOfRow, encodeDentry, encodeDomain, encodeLink, encodeNextIno, encodeOrphan, encodeRemoved, encodeSnapshot, encodeSweep, encodeVolume, encodeXattr, linkName, orphanKind, xattrValue } from '../../src/meta/rows.js'
import { Refusal } from '../../src/pool/index.js'
import { decodeSuperblock, encodeSuperblock, SUPERBLOCK_BYTES } from '../../src/pool/superblock.js'
import { COPIES_BYTES, decodeCopies, decodeHeader, encodeHeader, HEADER_BYTES } from '../../src/store/space/header.js'
import { crc32, PosixError } from '../../src/sys/index.js'

interface Case {
  readonly what: string
  readonly whole: Uint8Array
  readonly decode: (bytes: Uint8Array) => unknown
  /** Always as long as that: whoever reads it reads a page. */
  readonly isPage?: true
  /** Makes the checksum fit. */
  readonly reseal?: (bytes: Buffer) => void
}

const row = (bytes: Uint8Array) => entryOf(VALUE, 1, bytes, undefined)
const key = `${dentriesFrom(7)}\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008`
const log = { uuid: 'ab'.repeat(16), salt: 77, ringBytes: 1024 * 1024 }
const acl = encodeAcl([{ tag: 1, perm: 7, id: 0xffffffff }, { tag: 2, perm: 5, id: 9 }, { tag: 4, perm: 5, id: 0xffffffff }, { tag: 0x10, perm: 7, id: 0xffffffff }, { tag: 0x20, perm: 0, id: 0xffffffff }])
const superblock = encodeSuperblock({ uuid: '00000000-1111-4222-8333-444444444444', name: 'pool', createdSec: 5, store: 'space', sizeBytes: 2 ** 30, nameKey: new Uint8Array(16), compatible: 0, roCompatible: 0, incompatible: 0 })
const space = encodeHeader({ sizeBytes: 64 * 4194304, preallocated: false, uuid: new Uint8Array(16) })
const record = Buffer.concat([Buffer.alloc(44), Buffer.from('010200' + '6161' + '03000000' + '616263' + '02010062' + '03010063' + '02' + '00'.repeat(16) + '0401006400000100' + '0100' + '01' + '0500000003000000' + '05020000006565' + '0602' + '6666' + '0100000067', 'hex')])
const pageCrc = (at: number) => (b: Buffer): void => void b.writeUInt32LE(crc32(b, 0, at), at)

const cases: readonly Case[] = [
  { what: 'superblock', whole: superblock, decode: (b) => decodeSuperblock(b, 'x'), reseal: (b) => b.length === SUPERBLOCK_BYTES && pageCrc(SUPERBLOCK_BYTES - 4)(b) },
  { what: 'space header', whole: space, decode: (b) => decodeHeader(b, 'x'), reseal: (b) => b.length === HEADER_BYTES && pageCrc(HEADER_BYTES - 4)(b) },
  { what: 'both copies of the space header', whole: Buffer.concat([space, space]), decode: (b) => decodeCopies(b, 'x'), reseal: (b) => b.length === COPIES_BYTES && pageCrc(HEADER_BYTES - 4)(b) },
  { what: 'log header', whole: encodeLogHeader(log), isPage: true, decode: (b) => decodeLogHeader(b as Buffer, 'x'), reseal: (b) => (b.writeUInt32LE(0, 12), b.writeUInt32LE(crc32(b), 12)) },
  { what: 'log mark', whole: encodeMark(log, 9), isPage: true, decode: (b) => decodeMark(log, b as Buffer), reseal: (b) => b.writeUInt32LE(crc32(b, 12, b.length, log.salt), 8) },
  { what: 'log record', whole: record, decode: (b) => b.length < 44 || decodeRecord(b as Buffer, noSink) },
  { what: 'stored row', whole: Buffer.from([2, ...Buffer.alloc(16)]), decode: (b) => entryFrom(b as Buffer, 0, b.length, 1) },
  { what: 'inode', whole: Buffer.from([1, ...Buffer.alloc(139)]), decode: (b) => decodeInode(5, b) },
  { what: 'entry', whole: encodeDentry(1, 5, 0o100000, 'name'), decode: (b) => decodeDentry(key, b) },
  { what: 'removed', whole: encodeRemoved(2, { parent: 3, name: 'n', typeBits: 0o100000, sizeBytes: 4, beforeSec: 5, beforeNsec: 6 }), decode: (b) => decodeRemoved(trashKey(1, { sec: 2, nsec: 3 }, 4), b) },
  { what: 'domain', whole: encodeDomain({ domain: 1, epoch: 4, newestSnapshot: 3, root: 1, flags: 1, trashKeepSec: 60 }), decode: (b) => domainOfRow(1, row(b)) },
  { what: 'snapshot', whole: encodeSnapshot({ epoch: 1, sec: 2, nsec: 3 }), decode: decodeSnapshot },
  { what: 'sweep', whole: encodeSweep(4), decode: decodeSweep },
  { what: 'volume', whole: encodeVolume(4), decode: decodeVolume },
  { what: 'next inode', whole: encodeNextIno(4), decode: decodeNextIno },
  { what: 'orphan', whole: encodeOrphan(1, 0), decode: orphanKind },
  { what: 'reverse link', whole: encodeLink(1, 'name'), decode: linkName },
  { what: 'xattr', whole: encodeXattr(1, Buffer.from('value')), decode: xattrValue },
  { what: 'ACL', whole: acl, decode: decodeAcl },
  { what: 'directory of a snapshot', whole: encodeSlots(newSlots({ sec: 1, nsec: 2 }, 3)), decode: decodeSlots },
  { what: 'change', whole: encodeChange({ kind: 'rename', ino: 4, name: 'a', toName: 'bcd' }), decode: decodeChange },
  { what: 'history', whole: encodePast(1, 2, Buffer.from('row')), decode: (b) => decodePast({ key: historyKey(key, 1), row: row(b) }) },
  { what: 'extent', whole: encodeExtent({ off: 0, len: 4096, start: 8192, birth: 1, unwritten: false, kind: 'own', bytes: undefined }), decode: (b) => decodeExtent(extentKey(5, 0), b) },
  { what: 'origin', whole: encodeOrigin({ birth: 1, ino: 2, epoch: 3, limit: 4096 }), decode: decodeOrigin },
  { what: 'tentative range', whole: encodePending({ off: 0, len: 4096, start: 8192, birth: 1, bytes: undefined, wholeRow: false, borrowed: false, stamp: 1 }), decode: (b) => decodePending(pendingKey(5, 0), b) },
  { what: 'logged range', whole: newLoggedRow(1, 20), decode: (b) => decodePending(pendingKey(5, 0), b) },
  { what: 'question about volumes', whole: Buffer.from(encodeAsk({ do: 'resize', name: 'v', size: 512, cut: 'keep' })), decode: (b) => decodeAsk(Buffer.from(b).latin1Slice()) },
  { what: 'order to serve volumes', whole: Buffer.from(JSON.stringify({ names: ['v'], listen: ['unix:/x'], readOnly: true, tlsDir: '/y', takeover: false })), decode: (b) => decodeSpec(Buffer.from(b).latin1Slice()) }
]

const isMeant = (e: unknown): boolean => (e instanceof PosixError || e instanceof Refusal || e instanceof EngineError) && e.message.length > 0

/** Any bytes, or these: cut, made longer, some of them changed. */
const mutated = (whole: Uint8Array): fc.Arbitrary<Buffer> => fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((b) => Buffer.from(b)),
  fc.record({ cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(whole.length) }), more: fc.uint8Array({ maxLength: 9 }), isLonger: fc.boolean(),
    changes: fc.array(fc.tuple(fc.nat(whole.length < 4096 ? whole.length - 1 : 100), fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255))), { maxLength: 8 }) })
    .map(({ cut, more, isLonger, changes }) => {
      const bytes = Buffer.concat([whole.subarray(0, whole.length - cut), isLonger ? more : new Uint8Array(0)])
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte
      return bytes
    }))

describe('decoders', () => {
  for (const { what, whole, decode, isPage, reseal } of cases) {
    test(what, () => {
      decode(Buffer.from(whole)) // what was written can be read
      fc.assert(fc.property(mutated(whole), fc.boolean(), (any, fits) => {
        const bytes = isPage ? Buffer.concat([any, Buffer.alloc(Math.max(0, whole.length - any.length))]).subarray(0, whole.length) : any
        if (fits) reseal?.(bytes)
        try {
          decode(bytes)
        } catch (e) {
          if (!isMeant(e)) throw e
        }
      }), { numRuns: 500 })
    })
  }
})
