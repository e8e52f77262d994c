/** Hostile kernels: whatever arrives, the session lives, answers at most once, and gives every frame back. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { onUnknownError } from '../../src/sys/index.js'
import { hostileRequests } from './hostile.js'
import { cString, Kernel, pack, request } from './kernel.js'
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

for (const [how, wrap] of [['at once', (vfs: MemoryVfs) => vfs], ['later', (vfs: MemoryVfs) => delayed(vfs, async () => {})]] as const) {
  test(`no bytes harm a session that answers ${how}`, async () => {
    const hook = onUnknownError((e) => { throw e }) // anything but an errno is a bug of ours
    try {
      await fc.assert(fc.asyncProperty(fc.array(hostileRequests(fc.constantFrom(0n, 1n, 2n, 3n)), { maxLength: 40 }), async (messages) => {
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
