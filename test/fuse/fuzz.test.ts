/** Hostile kernels: whatever arrives, the session lives, answers at most once, and gives every frame back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { onUnknownError } from '../../src/sys/index.js'
import { cString, Kernel, pack, request, structBytes } from './kernel.js'
import type { StructName } from './kernel.js'
import { delayed, MemoryVfs } from './memory-vfs.js'

const SILENT = [2, 36, 42]
const seed = process.env.OGEE_SEED === undefined ? undefined : Number(process.env.OGEE_SEED)

/** Delivers, and says what the session did wrong. */
function survives(kernel: Kernel, bytes: Buffer): void {
  const before = kernel.replies.length
  const waiting = kernel.session.inFlight
  kernel.deliver(bytes)
  const answered = kernel.replies.length - before + kernel.session.inFlight - waiting
  const silent = bytes.length < 16 || (bytes.length >= 40 && bytes.readUInt32LE(0) === bytes.length && SILENT.includes(bytes.readUInt32LE(4)))
  assert.equal(answered, silent ? 0 : 1)
}

const opcode = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.nat())
const word = fc.oneof(fc.constantFrom(0n, 1n, 2n, 3n, 0xffffffffn, 0xffffffffffffffffn, 0x7fffffffffffffffn, 1n << 53n), fc.bigInt(0n, 1n << 64n))

const structOf: Readonly<Record<number, StructName>> = {
  2: 'forget_in', 3: 'getattr_in', 4: 'setattr_in', 8: 'mknod_in', 9: 'mkdir_in', 12: 'rename_in', 13: 'link_in', 14: 'open_in',
  15: 'read_in', 16: 'write_in', 18: 'release_in', 20: 'fsync_in', 21: 'setxattr_in', 22: 'getxattr_in', 23: 'getxattr_in',
  25: 'flush_in', 27: 'open_in', 28: 'read_in', 29: 'release_in', 30: 'fsync_in', 34: 'access_in', 35: 'create_in', 36: 'interrupt_in',
  39: 'ioctl_in', 42: 'batch_forget_in', 43: 'fallocate_in', 44: 'read_in', 45: 'rename2_in', 46: 'lseek_in', 47: 'copy_file_range_in',
  51: 'create_in', 52: 'statx_in', 53: 'copy_file_range_in'
}

/** Nearly right: the structure of the operation with odd numbers, then names, then something. */
const plausible = fc.record({
  opcode: fc.integer({ min: 0, max: 54 }), node: fc.oneof(fc.constantFrom(0n, 1n, 2n, 3n), word), words: fc.array(word, { minLength: 12, maxLength: 12 }),
  names: fc.array(fc.oneof(fc.constantFrom('a', 'b', '.', '..', 'user.x', ''), fc.string({ maxLength: 300 })), { maxLength: 3 }),
  tail: fc.uint8Array({ maxLength: 64 }), cut: fc.nat(20), extension: fc.array(word, { maxLength: 4 })
}).map(({ opcode, node, words, names, tail, cut, extension }) => {
  const body = Buffer.alloc(96)
  words.forEach((w, i) => body.writeBigUInt64LE(BigInt.asUintN(64, w), i * 8))
  const head = body.subarray(0, structOf[opcode] === undefined ? 0 : structBytes(structOf[opcode]))
  const ext = Buffer.alloc(extension.length * 8)
  extension.forEach((w, i) => ext.writeBigUInt64LE(BigInt.asUintN(64, w), i * 8))
  const whole = request(opcode, { node, extension: ext, unique: 1000n }, head, ...names.map(cString), Buffer.from(tail))
  const bytes = Buffer.from(whole.subarray(0, whole.length - (cut > 15 ? cut - 15 : 0)))
  bytes.writeUInt32LE(bytes.length, 0)
  return bytes
})

for (const [how, wrap] of [['at once', (vfs: MemoryVfs) => vfs], ['later', (vfs: MemoryVfs) => delayed(vfs, async () => {})]] as const) {
  test(`no bytes harm a session that answers ${how}`, async () => {
    const hook = onUnknownError((e) => { throw e }) // anything but an errno is a bug of ours
    try {
      await fc.assert(fc.asyncProperty(fc.array(fc.oneof(
        { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
        { weight: 1, arbitrary: fc.tuple(opcode, fc.uint8Array({ maxLength: 200 })).map(([op, body]) => request(op, { unique: 1000n }, Buffer.from(body))) },
        { weight: 6, arbitrary: plausible }), { maxLength: 40 }), async (messages) => {
        const kernel = new Kernel(wrap(new MemoryVfs()))
        kernel.init()
        kernel.deliver(request(35, { unique: 500n }, pack('create_in', { flags: 0o102, mode: 0o644 }), cString('a')))
        for (const message of messages) survives(kernel, message)
        await kernel.session.close()
        assert.equal(kernel.keptFrames, 0)
        assert.equal(kernel.session.inFlight, 0)
      }), { numRuns: 300, ...(seed === undefined ? {} : { seed }) })
    } finally {
      onUnknownError(hook)
    }
  })
}

test('what comes behind DESTROY is refused, and nothing waits for it', async () => {
  const kernel = new Kernel(new MemoryVfs())
  kernel.init()
  kernel.deliver(request(35, { unique: 500n }, pack('create_in', { flags: 0o102, mode: 0o644 }), cString('a')))
  survives(kernel, request(38, { unique: 1000n }))
  survives(kernel, request(16, { node: 2n, unique: 1001n }, pack('write_in', { flags: 0xffffffff }))) // O_SYNC: it would wait
  await kernel.session.close()
  assert.equal(kernel.session.inFlight, 0)
})
