/** Requests that a kernel would not send: raw bytes, any operation with any body, and such as are nearly right. */
import fc from 'fast-check'
import { cString, request, structBytes } from './kernel.js'
import type { StructName } from './kernel.js'

const FILE_MAX = 1n << 44n

const opcode = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.nat())
const word = fc.oneof(
  fc.constantFrom(0n, 1n, 2n, 3n, 4095n, 4096n, 70_000n, FILE_MAX - 1n, FILE_MAX, 1n << 53n, 0xffffffffn, 0x7fffffffffffffffn, 0x7ffffffffffff000n, 1n << 63n, 0xffffffffffffffffn, 0xfffffffffffff000n),
  fc.tuple(fc.nat(8192), fc.nat(8192)).map(([low, high]) => BigInt(low) + (BigInt(high) << 32n)), // two small numbers
  fc.bigInt(0n, (1n << 64n) - 1n))
const name = fc.oneof(fc.constantFrom('a', 'b', '.', '..', '', '/', 'a/b', 'user.x', 'security.capability', 'system.posix_acl_access', 'x'.repeat(255), 'x'.repeat(256), 'x'.repeat(4096)), fc.string({ maxLength: 300 }))

const structOf: Readonly<Record<number, StructName>> = {
  2: 'forget_in', 3: 'getattr_in', 4: 'setattr_in', 8: 'mknod_in', 9: 'mkdir_in', 12: 'rename_in', 13: 'link_in', 14: 'open_in',
  15: 'read_in', 16: 'write_in', 18: 'release_in', 20: 'fsync_in', 21: 'setxattr_in', 22: 'getxattr_in', 23: 'getxattr_in',
  25: 'flush_in', 27: 'open_in', 28: 'read_in', 29: 'release_in', 30: 'fsync_in', 34: 'access_in', 35: 'create_in', 36: 'interrupt_in',
  39: 'ioctl_in', 42: 'batch_forget_in', 43: 'fallocate_in', 44: 'read_in', 45: 'rename2_in', 46: 'lseek_in', 47: 'copy_file_range_in',
  51: 'create_in', 52: 'statx_in', 53: 'copy_file_range_in'
}

/** Nearly right: the structure of the operation with odd numbers, then names (the last one without its end, sometimes), then something. */
const plausible = (nodes: fc.Arbitrary<bigint>): fc.Arbitrary<Buffer> => fc.record({
  opcode: fc.integer({ min: 0, max: 54 }), node: fc.oneof({ weight: 3, arbitrary: nodes }, { weight: 1, arbitrary: word }), words: fc.array(word, { minLength: 12, maxLength: 12 }),
  names: fc.array(name, { maxLength: 3 }), tail: fc.uint8Array({ maxLength: 64 }), cut: fc.nat(20), extension: fc.array(word, { maxLength: 4 })
}).map(({ opcode, node, words, names, tail, cut, extension }) => {
  const body = Buffer.alloc(96)
  words.forEach((w, i) => body.writeBigUInt64LE(w, i * 8))
  const head = body.subarray(0, structOf[opcode] === undefined ? 0 : structBytes(structOf[opcode]))
  const ext = Buffer.alloc(extension.length * 8)
  extension.forEach((w, i) => ext.writeBigUInt64LE(w, i * 8))
  const whole = request(opcode, { node, extension: ext, unique: 1000n }, head, ...names.map(cString), Buffer.from(tail))
  const bytes = Buffer.from(whole.subarray(0, whole.length - (cut > 15 ? cut - 15 : 0)))
  bytes.writeUInt32LE(bytes.length, 0)
  return bytes
})

/** `nodes`: those that requests are mostly about. */
export const hostileRequests = (nodes: fc.Arbitrary<bigint>): fc.Arbitrary<Buffer> => fc.oneof(
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
  { weight: 1, arbitrary: fc.tuple(opcode, nodes, fc.uint8Array({ maxLength: 200 })).map(([op, node, body]) => request(op, { node, unique: 1000n }, Buffer.from(body))) },
  { weight: 6, arbitrary: plausible(nodes) })
