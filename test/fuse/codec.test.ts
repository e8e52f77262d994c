/**
 * Each request with another value in every field, and what vfs is asked; each answer with another value in every field, and
 * the bytes of it. Swapped or shifted fields cannot pass.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Attr, DirectorySink, Vfs } from '../../src/vfs/index.js'
import type { Context } from '../../src/sys/index.js'
import { cString, Kernel, pack, request, unpack } from './kernel.js'
import type { Caller } from './kernel.js'

const attr: Attr = {
  ino: 0x1_0000_0001, generation: 0x2_0000_0002, mode: 0o100754, nlink: 4, uid: 5, gid: 6, rdev: 0x1234_5678,
  sizeBytes: 0x8_0000_0008, blocks512: 0x9_0000_0009, atimeSec: -10, atimeNsec: 11, mtimeSec: 0x1_0000_000c, mtimeNsec: 13,
  ctimeSec: 14, ctimeNsec: 15, btimeSec: 16, btimeNsec: 17
}

/** A vfs that notes what it is asked and answers from `answers`. */
function recorder(answers: Record<string, unknown>): { vfs: Vfs, calls: [string, Context, ...unknown[]][] } {
  const calls: [string, Context, ...unknown[]][] = []
  const vfs = new Proxy({}, {
    get: (_, name: string) => (...args: unknown[]) => {
      const ctx = args[0] as Context
      const copies = args.slice(1).map((x) => (x instanceof Uint8Array ? Buffer.from(x) : x))
      calls.push([name, { ...ctx, signal: undefined }, ...copies])
      const answer = answers[name]
      return typeof answer === 'function' ? (answer as (...a: unknown[]) => unknown)(...args) : answer
    }
  }) as Vfs
  return { vfs, calls }
}

const caller: Caller = { node: 0x3_0000_0007, uid: 1001, gid: 1002, pid: 1003 }
const BIG = 0x5_0000_0000 // what does not fit 32 bits

/** Runs one request; answers the vfs call (without its context; a look at the attributes may come before it), the reply's body, and whose attributes the kernel dropped. */
async function run(answers: Record<string, unknown>, opcode: number, ...body: Buffer[]): Promise<{ args: unknown[], body: Buffer, ctx: Context, stale: number[] }> {
  const { vfs, calls } = recorder({ getattr: attr, ...answers })
  const kernel = new Kernel(vfs)
  kernel.init()
  const reply = await kernel.ask(opcode, caller, ...body)
  assert.equal(reply.error, 0)
  const [name, ctx, ...args] = calls.pop()!
  assert.ok(calls.every(([other]) => other === 'getattr'), JSON.stringify(calls))
  return { args: [name, ...args], body: reply.body, ctx, stale: kernel.staleNodes }
}

const shownAttr = { ino: attr.ino, size: attr.sizeBytes, blocks: attr.blocks512, atime: -10, mtime: 0x1_0000_000c, ctime: 14,
  atimensec: 11, mtimensec: 13, ctimensec: 15, mode: 0o100754, nlink: 4, uid: 5, gid: 6, rdev: 0x1234_5678, blksize: 4096, flags: 0 }
const shownEntry = { nodeid: attr.ino, generation: attr.generation, entry_valid: 2, entry_valid_nsec: 750_000_000, attr_valid: 1,
  attr_valid_nsec: 500_000_000, ...shownAttr }
const shownAttrOut = { attr_valid: 1, attr_valid_nsec: 500_000_000, dummy: 0, ...shownAttr }

interface Case {
  title: string
  opcode: number
  body: Buffer[]
  answer: unknown
  asks: unknown[]
  shows?: [Parameters<typeof unpack>[0], Record<string, number>][]
}

const node = Number(caller.node)
const opened = { handle: BIG + 21, keepCache: true }
const openFields = { fh: BIG + 21, open_flags: 2, backing_id: 0 }

const cases: Case[] = [
  { title: 'lookup', opcode: 1, body: [cString('a\xff')], answer: attr, asks: ['lookup', node, 'a\xff'], shows: [['entry_out', shownEntry]] },
  { title: 'lookup of "."', opcode: 1, body: [cString('.')], answer: attr, asks: ['lookup', node, '.'], shows: [['entry_out', shownEntry]] },
  { title: 'getattr of a node', opcode: 3, body: [pack('getattr_in', { getattr_flags: 0, fh: 99 })], answer: attr,
    asks: ['getattr', node, 0], shows: [['attr_out', shownAttrOut]] },
  { title: 'getattr of an open file', opcode: 3, body: [pack('getattr_in', { getattr_flags: 1, fh: BIG })], answer: attr,
    asks: ['getattr', node, BIG], shows: [['attr_out', shownAttrOut]] },
  { title: 'statx', opcode: 52, body: [pack('statx_in', { getattr_flags: 1, fh: BIG, sx_flags: 3, sx_mask: 4 })], answer: attr,
    asks: ['getattr', node, BIG], shows: [['statx_out', { attr_valid: 1, attr_valid_nsec: 500_000_000, flags: 0, spare0: 0, spare1: 0,
      mask: 0xfff, blksize: 4096, attributes: 0, nlink: 4, uid: 5, gid: 6, mode: 0o100754, spare: 0, ino: attr.ino, size: attr.sizeBytes,
      blocks: attr.blocks512, attributes_mask: 0, atime: -10, atimensec: 11, atime_reserved: 0, btime: 16, btimensec: 17,
      btime_reserved: 0, ctime: 14, ctimensec: 15, ctime_reserved: 0, mtime: 0x1_0000_000c, mtimensec: 13, mtime_reserved: 0,
      rdev_major: 0x456, rdev_minor: 0x12378, dev_major: 0, dev_minor: 0 }]] },
  { title: 'readlink', opcode: 5, body: [], answer: '/t/\xe4', asks: ['readlink', node] },
  { title: 'symlink', opcode: 6, body: [cString('l'), cString('/x/y')], answer: attr, asks: ['symlink', node, 'l', '/x/y'], shows: [['entry_out', shownEntry]] },
  { title: 'mknod', opcode: 8, body: [pack('mknod_in', { mode: 0o20644, rdev: 31, umask: 0o27 }), cString('n')], answer: attr,
    asks: ['mknod', node, 'n', 0o20644, 31, 0o27], shows: [['entry_out', shownEntry]] },
  { title: 'mkdir', opcode: 9, body: [pack('mkdir_in', { mode: 0o755, umask: 0o22 }), cString('d')], answer: attr,
    asks: ['mkdir', node, 'd', 0o755, 0o22], shows: [['entry_out', shownEntry]] },
  { title: 'unlink', opcode: 10, body: [cString('u')], answer: undefined, asks: ['unlink', node, 'u'] },
  { title: 'rmdir', opcode: 11, body: [cString('r')], answer: undefined, asks: ['rmdir', node, 'r'] },
  { title: 'rename', opcode: 12, body: [pack('rename_in', { newdir: BIG }), cString('a'), cString('b')], answer: undefined,
    asks: ['rename', node, 'a', BIG, 'b', 0] },
  { title: 'rename2', opcode: 45, body: [pack('rename2_in', { newdir: BIG, flags: 2 }), cString('a'), cString('b')], answer: undefined,
    asks: ['rename', node, 'a', BIG, 'b', 2] },
  { title: 'link', opcode: 13, body: [pack('link_in', { oldnodeid: BIG }), cString('h')], answer: attr, asks: ['link', BIG, node, 'h'],
    shows: [['entry_out', shownEntry]] },
  { title: 'open', opcode: 14, body: [pack('open_in', { flags: 0o2002, open_flags: 0 })], answer: opened, asks: ['open', node, 0o2002],
    shows: [['open_out', openFields]] },
  { title: 'open with O_DIRECT', opcode: 14, body: [pack('open_in', { flags: 0o40002, open_flags: 0 })], answer: opened,
    asks: ['open', node, 0o40002], shows: [['open_out', { ...openFields, open_flags: 0x41 }]] },
  { title: 'create', opcode: 35, body: [pack('create_in', { flags: 0o102, mode: 0o100640, umask: 0o7, open_flags: 0 }), cString('c')],
    answer: { ...opened, attr }, asks: ['create', node, 'c', 0o100640, 0o7, 0o102], shows: [['entry_out', shownEntry], ['open_out', openFields]] },
  { title: 'tmpfile', opcode: 51, body: [pack('create_in', { flags: 0o20200002, mode: 0o100600, umask: 0o77, open_flags: 0 }), cString('/')],
    answer: { ...opened, attr }, asks: ['tmpfile', node, 0o100600, 0o77, 0o20200002], shows: [['entry_out', shownEntry], ['open_out', openFields]] },
  { title: 'opendir', opcode: 27, body: [pack('open_in', { flags: 0o200000 })], answer: opened, asks: ['opendir', node],
    shows: [['open_out', { ...openFields, open_flags: 0xa }]] },
  { title: 'flush', opcode: 25, body: [pack('flush_in', { fh: BIG, lock_owner: 7 })], answer: undefined, asks: ['flush', node, BIG] },
  { title: 'release', opcode: 18, body: [pack('release_in', { fh: BIG, flags: 1, release_flags: 2, lock_owner: 7 })], answer: undefined,
    asks: ['release', node, BIG] },
  { title: 'releasedir', opcode: 29, body: [pack('release_in', { fh: BIG, flags: 1 })], answer: undefined, asks: ['releasedir', node, BIG] },
  { title: 'fsync', opcode: 20, body: [pack('fsync_in', { fh: BIG, fsync_flags: 0 })], answer: undefined, asks: ['fsync', node, BIG, false] },
  { title: 'fdatasync', opcode: 20, body: [pack('fsync_in', { fh: BIG, fsync_flags: 1 })], answer: undefined, asks: ['fsync', node, BIG, true] },
  { title: 'fsyncdir', opcode: 30, body: [pack('fsync_in', { fh: BIG, fsync_flags: 1 })], answer: undefined, asks: ['fsyncdir', node, BIG, true] },
  { title: 'fallocate', opcode: 43, body: [pack('fallocate_in', { fh: BIG, offset: BIG + 1, length: BIG + 2, mode: 3 })], answer: undefined,
    asks: ['fallocate', node, BIG, 3, BIG + 1, BIG + 2] },
  { title: 'lseek', opcode: 46, body: [pack('lseek_in', { fh: BIG, offset: BIG + 1, whence: 4 })], answer: BIG + 2,
    asks: ['lseek', node, BIG, BIG + 1, 4], shows: [['lseek_out', { offset: BIG + 2 }]] },
  { title: 'copy_file_range', opcode: 47, body: [pack('copy_file_range_in', { fh_in: BIG, off_in: BIG + 1, nodeid_out: BIG + 2,
    fh_out: BIG + 3, off_out: BIG + 4, len: 4097, flags: 0 })], answer: 4000, asks: ['copyFileRange', node, BIG, BIG + 1, BIG + 2, BIG + 3, BIG + 4, 4097],
    shows: [['write_out', { size: 4000, padding: 0 }]] },
  { title: 'statfs', opcode: 17, body: [], answer: { blockBytes: 4096, blocks: BIG, blocksFree: BIG - 1, blocksAvailable: BIG - 2,
    files: BIG - 3, filesFree: BIG - 4, nameMaxBytes: 255 }, asks: ['statfs', node],
    shows: [['statfs_out', { blocks: BIG, bfree: BIG - 1, bavail: BIG - 2, files: BIG - 3, ffree: BIG - 4, bsize: 4096, namelen: 255, frsize: 4096, padding: 0 }]] },
  { title: 'access', opcode: 34, body: [pack('access_in', { mask: 5 })], answer: undefined, asks: ['access', node, 5] },
  { title: 'setxattr', opcode: 21, body: [pack('setxattr_in', { size: 3, flags: 2, setxattr_flags: 1 }), cString('user.a'), Buffer.from('v\0w')],
    answer: undefined, asks: ['setxattr', node, 'user.a', Buffer.from('v\0w'), 2, true] },
  { title: 'getxattr', opcode: 22, body: [pack('getxattr_in', { size: 100 }), cString('user.a')], answer: Buffer.from('v\0w'),
    asks: ['getxattr', node, 'user.a'] },
  { title: 'getxattr, length alone', opcode: 22, body: [pack('getxattr_in', { size: 0 }), cString('user.a')], answer: Buffer.alloc(70),
    asks: ['getxattr', node, 'user.a'], shows: [['getxattr_out', { size: 70, padding: 0 }]] },
  { title: 'removexattr', opcode: 24, body: [cString('user.a')], answer: undefined, asks: ['removexattr', node, 'user.a'] },
  { title: 'FS_IOC_GETFLAGS', opcode: 39, body: [pack('ioctl_in', { fh: BIG, cmd: 0x80086601, out_size: 4 })], answer: 0x50,
    asks: ['getflags', node], shows: [['ioctl_out', { result: 0, flags: 0, in_iovs: 0, out_iovs: 0 }]] },
  { title: 'FS_IOC_SETFLAGS', opcode: 39, body: [pack('ioctl_in', { fh: BIG, cmd: 0x40086602, in_size: 4 }), Buffer.from([0x20, 0, 0, 0])],
    answer: undefined, asks: ['setflags', node, 0x20], shows: [['ioctl_out', { result: 0, flags: 0, in_iovs: 0, out_iovs: 0 }]] }
]

describe('codecs', () => {
  for (const c of cases) test(c.title, async () => {
    const method = String(c.asks[0])
    const { args, body, ctx } = await run({ [method]: c.answer }, c.opcode, ...c.body)
    assert.deepEqual(args, c.asks)
    assert.deepEqual([ctx.uid, ctx.gid, ctx.pid], [1001, 1002, 1003])
    let at = 0
    for (const [struct, fields] of c.shows ?? []) {
      const shown = unpack(struct, body.subarray(at))
      assert.deepEqual(shown, fields)
      at += struct === 'entry_out' ? 128 : 0
    }
  })

  test('answers without a structure', async () => {
    assert.equal((await run({ readlink: '/t/\xe4' }, 5)).body.toString('latin1'), '/t/\xe4')
    assert.equal((await run({ getxattr: Buffer.from('v\0w') }, 22, pack('getxattr_in', { size: 3 }), cString('user.a'))).body.toString(), 'v\0w')
    assert.equal((await run({ listxattr: ['user.a', 'user.b'] }, 23, pack('getxattr_in', { size: 14 }))).body.toString(), 'user.a\0user.b\0')
    assert.deepEqual(unpack('getxattr_out', (await run({ listxattr: ['user.a', 'user.b'] }, 23, pack('getxattr_in', { size: 0 }))).body), { size: 14, padding: 0 })
    const flags = (await run({ getflags: 0x50 }, 39, pack('ioctl_in', { cmd: 0x80086601, out_size: 8 }))).body
    assert.deepEqual([flags.length, flags.readUInt32LE(16), flags.readUInt32LE(20)], [24, 0x50, 0])
    const fsx = (await run({ getflags: 0x10 | 0x20 | 0x80 }, 39, pack('ioctl_in', { cmd: 0x801c581f, out_size: 28 }))).body
    assert.deepEqual([fsx.length, fsx.readUInt32LE(16)], [44, 0x08 | 0x10 | 0x40])
  })

  test('FSSETXATTR sets what we have and refuses the rest', async () => {
    const set = async (xflags: number, projid: number): Promise<unknown> => {
      const { vfs, calls } = recorder({ getflags: 0, setflags: undefined })
      const kernel = new Kernel(vfs)
      kernel.init()
      const fsxattr = Buffer.alloc(28)
      fsxattr.writeUInt32LE(xflags, 0)
      fsxattr.writeUInt32LE(projid, 12)
      const { error } = await kernel.ask(39, caller, pack('ioctl_in', { cmd: 0x401c5820, in_size: 28 }), fsxattr)
      return error === 0 ? calls.find(([name]) => name === 'setflags')![3] : error
    }
    assert.equal(await set(0x40, 0), 0x80)
    assert.equal(await set(0x80000040, 0), 0x80) // an xattr is there: told, not asked
    assert.equal(await set(0x8040, 0), -95) // DAX
    assert.equal(await set(0x40, 7), -95)
  })

  test('setattr', async () => {
    const seen: Record<string, unknown>[] = []
    const { args, body } = await run({ setattr: (_c: Context, _n: number, set: object) => { seen.push({ ...set }); return attr } }, 4,
      pack('setattr_in', { valid: 0xfff, fh: BIG, size: BIG + 1, lock_owner: 0xffff_ffff_ffff_ffffn, atime: -5, mtime: BIG + 2, ctime: 9,
        atimensec: 21, mtimensec: 22, ctimensec: 23, mode: 0o644, unused4: 24, uid: 25, gid: 26 }))
    assert.deepEqual([args[0], args[1], args[3]], ['setattr', node, BIG])
    assert.deepEqual(seen[0], { valid: 0xdbf, handle: BIG, sizeBytes: BIG + 1, atimeSec: -5, mtimeSec: BIG + 2, ctimeSec: 9, atimeNsec: 21,
      mtimeNsec: 22, ctimeNsec: 23, mode: 0o644, uid: 25, gid: 26 })
    assert.deepEqual(unpack('attr_out', body), shownAttrOut)
    assert.equal((await run({ setattr: attr }, 4, pack('setattr_in', { valid: 1, fh: BIG }))).args[3], 0) // FATTR_FH is not set
  })

  test('read', async () => {
    const { args, body } = await run({ read: (_c: Context, _n: number, _h: number, _o: number, _l: number, into: Uint8Array, at: number) => {
      into.set(Buffer.from('bytes'), at)
      return 5
    } }, 15, pack('read_in', { fh: BIG, offset: BIG + 1, size: 4096, read_flags: 2, lock_owner: 3, flags: 4 }))
    assert.deepEqual(args.slice(0, 5), ['read', node, BIG, BIG + 1, 4096])
    assert.equal(body.toString(), 'bytes')
  })

  test('write', async () => {
    const got: unknown[] = []
    const write = (_c: Context, ...rest: unknown[]): number => {
      const [n, h, o, from, at, length, how] = rest as [number, number, number, Buffer, number, number, object]
      got.push(n, h, o, from.toString('latin1', at, at + length), how)
      return length
    }
    const send = async (flags: number, writeFlags: number): Promise<Buffer> => (await run({ write }, 16, pack('write_in',
      { fh: BIG, offset: BIG + 1, size: 4, write_flags: writeFlags, lock_owner: 7, flags }), Buffer.from('data'))).body
    assert.deepEqual(unpack('write_out', await send(1, 0)), { size: 4, padding: 0 })
    assert.deepEqual(got.splice(0), [node, BIG, BIG + 1, 'data', { killSuidgid: false, append: false }])
    await send(0o2001, 4)
    assert.deepEqual(got.splice(0)[4], { killSuidgid: true, append: true })
    await send(0o2001, 1) // from the page cache: it has its place
    assert.deepEqual(got.splice(0)[4], { killSuidgid: false, append: false })
  })

  test('readdir and readdirplus', async () => {
    const readdir = (_c: Context, _n: number, _h: number, high: number, low: number, sink: DirectorySink, plus: boolean): void => {
      assert.deepEqual([high, low], [0x7fff_ffff, 0x8000_0001])
      assert.ok(sink.entry('.', 71, 0o040000, 0, 1, undefined))
      assert.ok(sink.entry('name9\xe9', 72, 0o100000, 0x1234, 0x89ab_cdef, plus ? attr : undefined))
      assert.ok(!sink.entry('x'.repeat(255), 73, 0o120000, 1, 2, plus ? attr : undefined))
    }
    const body = pack('read_in', { fh: BIG, offset: 0x7fff_ffff_8000_0001n, size: 340 })
    const plain = (await run({ readdir }, 28, body)).body
    assert.equal(plain.length, 32 + 32)
    assert.deepEqual(unpack('dirent', plain), { ino: 71, off: 1, namelen: 1, type: 4 })
    assert.deepEqual(unpack('dirent', plain.subarray(32)), { ino: 72, off: 0x1234_89ab_cdef, namelen: 6, type: 8 })
    assert.equal(plain.toString('latin1', 56, 64), 'name9\xe9\0\0')
    const plus = (await run({ readdir }, 44, body)).body
    assert.equal(plus.length, 2 * (128 + 32))
    assert.equal(unpack('entry_out', plus).nodeid, 0)
    assert.deepEqual(unpack('entry_out', plus.subarray(160)), shownEntry)
    assert.deepEqual(unpack('dirent', plus.subarray(160 + 128)), { ino: 72, off: 0x1234_89ab_cdef, namelen: 6, type: 8 })
  })

  test('copy_file_range_64 answers 64 bits', async () => {
    const { body } = await run({ copyFileRange: 4000 }, 53, pack('copy_file_range_in', { len: 4097 }))
    assert.equal(body.readBigUInt64LE(0), 4000n)
  })

  test('the kernel drops what it keeps of attributes that change behind its back', async () => {
    const armed = { getattr: { ...attr, mode: 0o106755 }, write: 4, fallocate: undefined, copyFileRange: 4, setflags: undefined }
    const write = (writeFlags: number): Buffer[] => [pack('write_in', { size: 4, write_flags: writeFlags }), Buffer.from('data')]
    const copy = pack('copy_file_range_in', { len: 4, nodeid_out: 9 })
    assert.deepEqual((await run(armed, 16, ...write(4))).stale, [node])
    assert.deepEqual((await run(armed, 16, ...write(0))).stale, [])
    assert.deepEqual((await run({ write: 4 }, 16, ...write(4))).stale, [])
    assert.deepEqual((await run(armed, 43, pack('fallocate_in', { length: 4 }))).stale, [node])
    assert.deepEqual((await run(armed, 47, copy)).stale, [9, node])
    assert.deepEqual((await run(armed, 39, pack('ioctl_in', { cmd: 0x40086602, in_size: 4 }), Buffer.from([0x20, 0, 0, 0]))).stale, [node])
  })

  test('pages that were read while a direct write was under way are dropped before it is answered', async () => {
    const O_DIRECT = 0o40000
    let applied: (() => void) | undefined
    const { vfs } = recorder({ write: () => new Promise((resolve) => (applied = () => void resolve(4))), read: 0 })
    const kernel = new Kernel(vfs)
    kernel.init()
    const read = (flags: number) => kernel.ask(15, caller, pack('read_in', { size: 4096, flags }))
    const direct = async (meanwhile?: () => Promise<unknown>): Promise<number> => {
      const answered = kernel.ask(16, caller, pack('write_in', { size: 4, flags: O_DIRECT | 1 }), Buffer.from('data'))
      await meanwhile?.()
      applied!()
      await answered
      return kernel.stalePages.splice(0).length
    }
    assert.equal(await direct(), 1) // nobody knows what was read before
    assert.equal(await direct(), 0)
    assert.equal(await direct(() => read(0)), 1)
    assert.equal(await direct(() => read(O_DIRECT)), 0)
    await read(0)
    assert.equal(await direct(), 1)
    assert.equal(await direct(), 0)
  })

  test('groups come with requests that create, and only there', () => {
    const extension = Buffer.concat([pack('supp_groups', { size: 16, type: 32, nr_groups: 1, group: 4242 })])
    const { vfs, calls } = recorder({ mkdir: attr, lookup: attr })
    const kernel = new Kernel(vfs)
    kernel.init()
    kernel.deliver(request(9, { extension }, pack('mkdir_in', { mode: 0o755 }), cString('d')))
    kernel.deliver(request(9, {}, pack('mkdir_in', { mode: 0o755 }), cString('d')))
    kernel.deliver(request(1, {}, cString('d')))
    assert.deepEqual(calls.map(([, ctx]) => ctx.groups), [[4242], [], undefined])
    const old = new Kernel(vfs)
    old.init({ flags2: 0 })
    old.deliver(request(9, {}, pack('mkdir_in', { mode: 0o755 }), cString('d')))
    assert.equal(calls[3][1].groups, undefined)
  })
})
