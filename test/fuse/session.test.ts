/** What a session keeps and promises, in front of a synthetic kernel and a tree in memory. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Context } from '../../src/sys/index.js'
import { onUnknownError, PosixError } from '../../src/sys/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { cString, expectError, Kernel, pack, request, structBytes, unpack } from './kernel.js'
import { delayed, MemoryVfs } from './memory-vfs.js'

const LOOKUP = 1, FORGET = 2, GETATTR = 3, UNLINK = 10, OPEN = 14, READ = 15, WRITE = 16, RELEASE = 18, FLUSH = 25, OPENDIR = 27
const CREATE = 35, INTERRUPT = 36, DESTROY = 38, POLL = 40, BATCH_FORGET = 42, READDIRPLUS = 44, SETXATTR = 21, GETXATTR = 22
const TMPFILE = 51

const created = { flags: 0o102, mode: 0o100644 }
const create = (kernel: Kernel, name: string): { node: number, fh: number } => {
  const { error, body } = kernel.askNow(CREATE, {}, pack('create_in', created), cString(name))
  assert.equal(error, 0)
  return { node: unpack('entry_out', body).nodeid, fh: unpack('open_out', body.subarray(128)).fh }
}
const ready = (vfs: Vfs, options = {}): Kernel => {
  const kernel = new Kernel(vfs, options)
  kernel.init()
  return kernel
}

describe('init', () => {
  test('a kernel of today: its own version, what both know', () => {
    let agreed = 0
    const kernel = new Kernel(new MemoryVfs(), { onReady: (a) => { agreed = a.minor } })
    const out = unpack('init_out', kernel.init({ minor: 45 }).body)
    assert.deepEqual([out.major, out.minor, out.max_write, out.max_pages, out.time_gran], [7, 45, 1 << 20, 256, 1])
    assert.deepEqual([out.max_readahead, out.max_background, out.congestion_threshold, agreed], [131072, 64, 48, 45])
    const on = (bit: number): boolean => (out.flags & (1 << bit)) !== 0
    for (const bit of [0, 3, 4, 5, 6, 13, 14, 15, 18, 20, 21, 22, 23, 25, 28, 29, 30]) assert.ok(on(bit), `flag ${bit}`)
    for (const bit of [1, 2, 7, 8, 9, 10, 12, 16, 19, 26, 27, 31]) assert.ok(!on(bit), `flag ${bit}`)
    assert.equal(out.flags2, 0b11100)
  })

  test('an older kernel gets no flag that it did not offer; a newer one our version', () => {
    const old = unpack('init_out', new Kernel(new MemoryVfs()).init({ minor: 31, flags: 0x61, flags2: 0xffff }).body)
    assert.deepEqual([old.minor, old.flags, old.flags2], [31, 0x61, 0])
    assert.equal(unpack('init_out', new Kernel(new MemoryVfs()).init({ minor: 99 }).body).minor, 45)
  })

  test('a kernel with another major asks again; one too old is refused with a sentence', () => {
    const kernel = new Kernel(new MemoryVfs())
    assert.equal(unpack('init_out', kernel.init({ major: 8 }).body).major, 7)
    assert.equal(unpack('init_out', kernel.init().body).minor, 45)
    let sentence = ''
    const old = new Kernel(new MemoryVfs(), { onRefused: (s) => { sentence = s } })
    assert.equal(unpack('init_out', old.init({ minor: 30 }).body).major, 0)
    assert.match(sentence, /7\.30.*Linux 5\.4/)
  })

  test('nothing is served before it, and it comes once', () => {
    const kernel = new Kernel(new MemoryVfs())
    expectError(kernel.askNow(GETATTR, {}, pack('getattr_in', {})), 'EIO')
    kernel.init()
    assert.equal(kernel.askNow(GETATTR, {}, pack('getattr_in', {})).error, 0)
    expectError(kernel.init(), 'EIO')
  })

  test('writeback cache only if asked for; O_TRUNC is left to the kernel where opens do not reach us', () => {
    const flags = (options: object): number => unpack('init_out', new Kernel(new MemoryVfs(), options).init().body).flags
    assert.equal(flags({ writebackCache: true }) & (1 << 16), 1 << 16)
    assert.equal(flags({ opens: false }) & (1 << 3), 0)
  })
})

describe('references', () => {
  test('the last FORGET forgets, an earlier one does not', () => {
    const vfs = new MemoryVfs()
    const kernel = ready(vfs)
    const { node } = create(kernel, 'a')
    for (let i = 0; i < 3; i++) kernel.askNow(LOOKUP, {}, cString('a'))
    assert.equal(kernel.session.lookups.count(node), 4)
    kernel.deliver(request(FORGET, { node }, pack('forget_in', { nlookup: 3 })))
    assert.deepEqual(vfs.forgotten, [])
    kernel.deliver(request(BATCH_FORGET, {}, pack('batch_forget_in', { count: 2 }), pack('forget_one', { nodeid: node, nlookup: 1 }),
      pack('forget_one', { nodeid: 77777, nlookup: 1 })))
    assert.deepEqual(vfs.forgotten, [node])
    assert.equal(kernel.session.lookups.nodes, 0)
  })

  test('readdirplus counts what it shows, but "." and ".."', () => {
    const kernel = ready(new MemoryVfs())
    const { node } = create(kernel, 'a')
    const { fh } = unpack('open_out', kernel.askNow(OPENDIR, {}, pack('open_in', {})).body)
    const { body } = kernel.askNow(READDIRPLUS, {}, pack('read_in', { fh, size: 4096 }))
    assert.equal(body.length, 3 * (128 + 32))
    assert.equal(kernel.session.lookups.count(node), 2)
    assert.equal(kernel.session.lookups.count(1), 0)
  })

  test('a missing name is an entry that may be believed, or ENOENT', () => {
    expectError(ready(new MemoryVfs()).askNow(LOOKUP, {}, cString('none')), 'ENOENT')
    const kernel = ready(new MemoryVfs(), { negativeValidMs: 4321 })
    const entry = unpack('entry_out', kernel.askNow(LOOKUP, {}, cString('none')).body)
    assert.deepEqual([entry.nodeid, entry.entry_valid, entry.entry_valid_nsec, entry.attr_valid], [0, 4, 321_000_000, 0])
  })

  test('an answer that the kernel did not take leaves no reference and no handle', () => {
    const vfs = new MemoryVfs()
    const kernel = ready(vfs)
    kernel.refuseReplies = -2
    kernel.deliver(request(CREATE, { unique: 100n }, pack('create_in', created), cString('a')))
    kernel.deliver(request(OPENDIR, { unique: 102n }, pack('open_in', {})))
    kernel.deliver(request(READDIRPLUS, { unique: 104n }, pack('read_in', { size: 4096 })))
    assert.deepEqual([kernel.session.lookups.nodes, vfs.handles.size], [0, 0])
  })
})

describe('files', () => {
  test('written bytes are read back; O_DIRECT and plain opens differ in what the kernel may do', () => {
    const kernel = ready(new MemoryVfs())
    const { node, fh } = create(kernel, 'a')
    const data = Buffer.from('0123456789')
    kernel.askNow(WRITE, { node }, pack('write_in', { fh, offset: 3, size: 10 }), data)
    assert.equal(kernel.askNow(READ, { node }, pack('read_in', { fh, offset: 0, size: 100 })).body.toString(), '\0\0\x000123456789')
    assert.equal(kernel.askNow(READ, { node }, pack('read_in', { fh, offset: 8, size: 3 })).body.toString(), '567')
    assert.equal(kernel.askNow(READ, { node }, pack('read_in', { fh, offset: 13, size: 3 })).body.length, 0)
    const old = ready(new MemoryVfs(), {})
    old.session.agreed = { ...old.session.agreed!, flags2: 0 } // no mmap of such files: stay cached
    assert.equal(unpack('open_out', old.askNow(OPEN, { node: 1 }, pack('open_in', { flags: 0o40002 })).body).open_flags, 2)
  })

  test('O_DSYNC and O_SYNC sync before the answer', () => {
    const order: unknown[] = []
    const vfs = new MemoryVfs()
    vfs.fsync = (...args: unknown[]) => { order.push(['fsync', args[3]]) }
    const kernel = ready(vfs)
    const { node, fh } = create(kernel, 'a')
    const send = async (flags: number): Promise<void> => {
      const reply = await kernel.ask(WRITE, { node }, pack('write_in', { fh, size: 1, flags }), Buffer.from('x'))
      order.push(unpack('write_out', reply.body).size)
    }
    return send(0o10001).then(() => send(0o4010001)).then(() => send(1)).then(() =>
      assert.deepEqual(order, [['fsync', true], 1, ['fsync', false], 1, 1]))
  })

  test('a truncating open by one who may not keep setuid bits drops them', async () => {
    const vfs = new MemoryVfs()
    const kernel = ready(vfs)
    const { node, fh } = create(kernel, 'a')
    kernel.askNow(WRITE, { node }, pack('write_in', { fh, size: 3 }), Buffer.from('abc'))
    vfs.inodes.get(node)!.mode |= 0o4000
    const reply = await kernel.ask(OPEN, { node }, pack('open_in', { flags: 0o1001, open_flags: 1 }))
    assert.equal(reply.error, 0)
    assert.deepEqual([vfs.inodes.get(node)!.size, vfs.inodes.get(node)!.mode], [0, 0o100644])
    vfs.setattr = () => { throw new PosixError('EPERM') }
    const before = vfs.handles.size
    expectError(await kernel.ask(OPEN, { node }, pack('open_in', { flags: 0o1001, open_flags: 1 })), 'EPERM')
    assert.equal(vfs.handles.size, before)
  })

  test('without opens the kernel is told to do without: OPEN, OPENDIR, CREATE, FLUSH', () => {
    const kernel = ready(new MemoryVfs(), { opens: false })
    expectError(kernel.askNow(OPEN, {}, pack('open_in', {})), 'ENOSYS')
    expectError(kernel.askNow(OPENDIR, {}, pack('open_in', {})), 'ENOSYS')
    expectError(kernel.askNow(CREATE, {}, pack('create_in', created), cString('a')), 'ENOSYS')
    expectError(kernel.askNow(FLUSH, {}, pack('flush_in', {})), 'ENOSYS')
  })

  test('without opens an unnamed file has handle 0, and nothing stays open here', () => {
    const vfs = new MemoryVfs()
    const kernel = ready(vfs, { opens: false })
    const { body, error } = kernel.askNow(TMPFILE, {}, pack('create_in', created), cString('/'))
    assert.equal(error, 0)
    const opened = unpack('open_out', body.subarray(structBytes('entry_out')))
    assert.deepEqual([opened.fh, opened.open_flags], [0, 2])
    assert.equal(kernel.session.lookups.count(unpack('entry_out', body).nodeid), 1)
    assert.deepEqual([vfs.handles.size, kernel.session.files.size], [0, 0])
  })

  test('owner and mode as the mount shows them', () => {
    const shown = { attrValidMs: 0, entryValidMs: 0, uid: 7, gid: 8, umask: 0o27 }
    const kernel = ready(new MemoryVfs(), { shown })
    const attr = unpack('attr_out', kernel.askNow(GETATTR, {}, pack('getattr_in', {})).body)
    assert.deepEqual([attr.uid, attr.gid, attr.mode], [7, 8, 0o040750])
  })
})

describe('what is malformed or unknown', () => {
  const kernel = ready(new MemoryVfs())
  const bad: [string, 'EINVAL' | 'ENOSYS' | 'ESTALE' | 'ENOTTY' | 'E2BIG', Buffer][] = [
    ['an unknown operation', 'ENOSYS', request(999, {})],
    ['an operation that is none of ours', 'ENOSYS', request(POLL, {}, Buffer.alloc(24))],
    ['a name without its NUL', 'EINVAL', request(LOOKUP, {}, Buffer.from('abc'))],
    ['an empty name', 'EINVAL', request(LOOKUP, {}, Buffer.from('\0'))],
    ['no name', 'EINVAL', request(LOOKUP, {})],
    ['a name with a slash', 'EINVAL', request(LOOKUP, {}, cString('a/b'))],
    ['a rename with one name', 'EINVAL', request(12, {}, pack('rename_in', { newdir: 1 }), cString('ab'))],
    ['a short body', 'EINVAL', request(GETATTR, {}, Buffer.alloc(15))],
    ['a write that brings less than it says', 'EINVAL', request(WRITE, {}, pack('write_in', { size: 11 }), Buffer.alloc(10))],
    ['a write of 4 GiB', 'EINVAL', request(WRITE, {}, pack('write_in', { size: 0xffffffff }), Buffer.alloc(10))],
    ['a read of 4 GiB', 'EINVAL', request(READ, {}, pack('read_in', { size: 0xffffffff }))],
    ['a listing of 4 GiB', 'EINVAL', request(READDIRPLUS, {}, pack('read_in', { size: 0xffffffff }))],
    ['an xattr that brings less than it says', 'EINVAL', request(SETXATTR, {}, pack('setxattr_in', { size: 9 }), cString('user.a'), Buffer.alloc(8))],
    ['an xattr that is too large', 'E2BIG', request(SETXATTR, {}, pack('setxattr_in', { size: 65537 }), cString('user.a'))],
    ['a node that no double holds', 'ESTALE', request(GETATTR, { node: 0xffff_ffff_ffff_ffffn }, pack('getattr_in', {}))],
    ['an unknown ioctl', 'ENOTTY', request(39, {}, pack('ioctl_in', { cmd: 0x5401 }))],
    ['an ioctl that brings less than it says', 'EINVAL', request(39, {}, pack('ioctl_in', { cmd: 0x40086602, in_size: 400 }))],
    ['more extensions than bytes', 'EINVAL', (() => { const b = request(9, {}, pack('mkdir_in', {}), cString('d')); b.writeUInt16LE(9000, 36); return b })()],
    ['an extension that ends behind the request', 'EINVAL', request(9, { extension: pack('supp_groups', { size: 24, type: 32, nr_groups: 1 }) }, pack('mkdir_in', {}), cString('d'))],
    ['more groups than bytes', 'EINVAL', request(9, { extension: pack('supp_groups', { size: 16, type: 32, nr_groups: 0x4000_0000 }) }, pack('mkdir_in', {}), cString('d'))],
    ['a length that is not the request\'s', 'EINVAL', (() => { const b = request(GETATTR, {}, pack('getattr_in', {})); b.writeUInt32LE(999, 0); return b })()]
  ]
  for (const [what, errno, bytes] of bad) test(`${what}: ${errno}`, () => {
    const before = kernel.replies.length
    kernel.deliver(bytes)
    assert.equal(kernel.replies.length, before + 1)
    expectError(kernel.replies[before], errno)
  })

  test('a malformed request that has no reply gets none', () => {
    const before = kernel.replies.length
    kernel.deliver(request(FORGET, {}, Buffer.alloc(3)))
    kernel.deliver(request(BATCH_FORGET, {}, pack('batch_forget_in', { count: 0xffffffff }), pack('forget_one', { nodeid: 5, nlookup: 1 })))
    kernel.deliver(request(INTERRUPT, {}, Buffer.alloc(2)))
    kernel.deliver(Buffer.alloc(7))
    assert.equal(kernel.replies.length, before)
  })

  test('a mistake of ours is EIO, and reported', () => {
    const vfs = new MemoryVfs()
    const odd = new TypeError('a bug')
    vfs.access = () => { throw odd }
    const seen: unknown[] = []
    const hook = onUnknownError((e) => seen.push(e))
    expectError(ready(vfs).askNow(34, {}, pack('access_in', { mask: 1 })), 'EIO')
    onUnknownError(hook)
    assert.deepEqual(seen, [odd])
  })

  test('an xattr that does not fit: ERANGE', () => {
    const vfs = new MemoryVfs()
    vfs.getxattr = () => Buffer.alloc(10)
    expectError(ready(vfs).askNow(GETXATTR, {}, pack('getxattr_in', { size: 9 }), cString('user.a')), 'ERANGE')
  })
})

describe('requests that wait', () => {
  /** Every call waits until it is let go. */
  function gated(): { vfs: Vfs, inner: MemoryVfs, go: () => void, contexts: Context[] } {
    const inner = new MemoryVfs()
    const waiting: (() => void)[] = []
    const contexts: Context[] = []
    const proxied = delayed(inner, () => new Promise<void>((resolve) => waiting.push(resolve)))
    const vfs = new Proxy(proxied, { get: (target, name) => {
      const method = Reflect.get(target, name) as (...args: unknown[]) => unknown
      return (...args: unknown[]) => {
        if (typeof args[0] === 'object') contexts.push(args[0] as Context)
        return method(...args)
      }
    } })
    return { vfs, inner, go: () => waiting.splice(0).forEach((resolve) => resolve()), contexts }
  }

  test('a write keeps its frame until it is answered, others do not', async () => {
    const { vfs, inner, go } = gated()
    const kernel = ready(vfs)
    const file = inner.create({ uid: 0, gid: 0 } as Context, 1, 'a', 0o644, 0)
    const node = file.attr.ino
    const writing = kernel.ask(WRITE, { node }, pack('write_in', { fh: file.handle, size: 4 }), Buffer.from('data'))
    const reading = kernel.ask(READ, { node }, pack('read_in', { fh: file.handle, size: 4 }))
    const looking = kernel.ask(LOOKUP, {}, cString('a'))
    assert.deepEqual([kernel.keptFrames, kernel.session.inFlight, kernel.replies.length], [1, 3, 1])
    go()
    assert.equal(unpack('write_out', (await writing).body).size, 4)
    assert.equal((await reading).body.toString(), 'data')
    assert.equal(unpack('entry_out', (await looking).body).nodeid, node)
    await null
    assert.deepEqual([kernel.keptFrames, kernel.session.inFlight], [0, 0])
  })

  test('each has a context of its own', () => {
    const { vfs, contexts } = gated()
    const kernel = ready(vfs)
    for (let i = 1; i <= 5; i++) void kernel.ask(LOOKUP, { uid: i, gid: 10 + i, pid: 20 + i, node: 1 }, cString('a'))
    assert.deepEqual(contexts.map((ctx) => [ctx.uid, ctx.gid, ctx.pid]), [1, 2, 3, 4, 5].map((i) => [i, 10 + i, 20 + i]))
    assert.equal(new Set(contexts.map((ctx) => ctx.traceId)).size, 5)
  })

  test('INTERRUPT cancels the one it names', async () => {
    const { vfs, contexts, go } = gated()
    const kernel = ready(vfs)
    const first = kernel.ask(LOOKUP, { unique: 0x8000_0001_0000_0002n }, cString('a'))
    const second = kernel.ask(LOOKUP, { unique: 0x0000_0001_0000_0002n }, cString('a'))
    let heard = 0
    contexts[0].signal!.onCancel(() => heard++)
    kernel.deliver(request(INTERRUPT, { unique: 9n }, pack('interrupt_in', { unique: 0x8000_0001_0000_0002n })))
    kernel.deliver(request(INTERRUPT, { unique: 11n }, pack('interrupt_in', { unique: 77n })))
    assert.deepEqual([heard, contexts[0].signal!.cancelled, contexts[1].signal!.cancelled], [1, true, false])
    go()
    expectError(await first, 'ENOENT')
    expectError(await second, 'ENOENT')
    void kernel.ask(LOOKUP, {}, cString('b'))
    assert.equal(contexts[2].signal!.cancelled, false, 'a reused request is not cancelled')
  })

  test('where no request waits for long, INTERRUPT is refused and stops nothing', async () => {
    const { vfs, contexts, go } = gated()
    const kernel = ready(vfs, { interrupts: false })
    const first = kernel.ask(LOOKUP, { unique: 1002n }, cString('a'))
    expectError(await kernel.ask(INTERRUPT, { unique: 1003n }, pack('interrupt_in', { unique: 1002n })), 'ENOSYS')
    assert.equal(contexts[0].signal!.cancelled, false)
    go()
    expectError(await first, 'ENOENT')
  })

  test('a deadline is set on the clock', () => {
    const { vfs, contexts } = gated()
    const kernel = ready(vfs, { requestTimeoutMs: 5000 })
    void kernel.ask(LOOKUP, {}, cString('a'))
    assert.equal(contexts[0].deadlineMs, 5000)
  })

  test('close: what waits is cancelled and awaited, then handles are released and nodes forgotten, once', async () => {
    const { vfs, inner, go, contexts } = gated()
    const kernel = ready(vfs)
    const creating = kernel.ask(CREATE, {}, pack('create_in', created), cString('a'))
    go()
    const node = unpack('entry_out', (await creating).body).nodeid
    const opening = kernel.ask(OPENDIR, {}, pack('open_in', {}))
    go()
    await opening
    assert.equal(inner.handles.size, 2)
    void kernel.ask(UNLINK, {}, cString('a'))
    let closed = false
    const closing = kernel.session.close().then(() => { closed = true })
    assert.equal(contexts.at(-1)!.signal!.cancelled, true)
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(closed, false)
    go() // the unlink; then the releases
    await new Promise((resolve) => setImmediate(resolve))
    go()
    await closing
    await kernel.session.close()
    assert.deepEqual([inner.handles.size, inner.forgotten, kernel.session.lookups.nodes], [0, [node], 0])
  })

  test('DESTROY is answered and closes', async () => {
    const vfs = new MemoryVfs()
    const kernel = ready(vfs)
    create(kernel, 'a')
    assert.equal(kernel.askNow(DESTROY, {}).error, 0)
    await kernel.session.close()
    assert.equal(vfs.handles.size, 0)
  })

  test('RELEASE of what is open, twice', () => {
    const vfs = new MemoryVfs()
    const kernel = ready(vfs)
    const { node, fh } = create(kernel, 'a')
    assert.equal(kernel.askNow(FLUSH, { node }, pack('flush_in', { fh })).error, 0)
    assert.equal(kernel.askNow(RELEASE, { node }, pack('release_in', { fh })).error, 0)
    expectError(kernel.askNow(RELEASE, { node }, pack('release_in', { fh })), 'EBADF')
  })
})
