/**
 * A synthetic kernel: builds requests and reads replies for a session, without a mount. Its structures are spelled as in
 * linux/fuse.h, field by field, apart from the codecs under test, so that a wrong offset cannot be wrong twice.
 */
import assert from 'node:assert/strict'
import { ERRNO, manualClock } from '../../src/sys/index.js'
import { FramePool } from '../../src/fuse/frames.js'
import { openSession } from '../../src/fuse/index.js'
import type { Frame, ReplySink, Session, SessionOptions } from '../../src/fuse/index.js'
import type { Vfs } from '../../src/vfs/index.js'

type Fields = Record<string, number | bigint>

/** "ino:8 mode:4 nsec:-4": widths in bytes, negative for signed. */
function layout(text: string): { name: string, bytes: number, signed: boolean }[] {
  return text.trim().split(/\s+/).map((field) => {
    const [name, width] = field.split(':')
    return { name, bytes: Math.abs(Number(width)), signed: Number(width) < 0 }
  })
}

const ATTR = `ino:8 size:8 blocks:8 atime:-8 mtime:-8 ctime:-8 atimensec:4 mtimensec:4 ctimensec:4 mode:4 nlink:4 uid:4 gid:4
  rdev:4 blksize:4 flags:4`
const ENTRY = `nodeid:8 generation:8 entry_valid:8 attr_valid:8 entry_valid_nsec:4 attr_valid_nsec:4 ${ATTR}`
const SX_TIME = (name: string): string => `${name}:-8 ${name}nsec:4 ${name}_reserved:4`

export const structs = {
  in_header: 'len:4 opcode:4 unique:8 nodeid:8 uid:4 gid:4 pid:4 total_extlen:2 padding:2',
  out_header: 'len:4 error:-4 unique:8',
  entry_out: ENTRY,
  attr_out: `attr_valid:8 attr_valid_nsec:4 dummy:4 ${ATTR}`,
  statx_out: `attr_valid:8 attr_valid_nsec:4 flags:4 spare0:8 spare1:8 mask:4 blksize:4 attributes:8 nlink:4 uid:4 gid:4 mode:2
    spare:2 ino:8 size:8 blocks:8 attributes_mask:8 ${SX_TIME('atime')} ${SX_TIME('btime')} ${SX_TIME('ctime')} ${SX_TIME('mtime')}
    rdev_major:4 rdev_minor:4 dev_major:4 dev_minor:4`,
  init_in: 'major:4 minor:4 max_readahead:4 flags:4 flags2:4',
  init_out: `major:4 minor:4 max_readahead:4 flags:4 max_background:2 congestion_threshold:2 max_write:4 time_gran:4 max_pages:2
    map_alignment:2 flags2:4 max_stack_depth:4 request_timeout:2`,
  open_out: 'fh:8 open_flags:4 backing_id:4',
  write_out: 'size:4 padding:4',
  lseek_out: 'offset:8',
  getxattr_out: 'size:4 padding:4',
  statfs_out: 'blocks:8 bfree:8 bavail:8 files:8 ffree:8 bsize:4 namelen:4 frsize:4 padding:4',
  ioctl_out: 'result:-4 flags:4 in_iovs:4 out_iovs:4',
  dirent: 'ino:8 off:8 namelen:4 type:4',
  forget_in: 'nlookup:8',
  batch_forget_in: 'count:4 dummy:4',
  forget_one: 'nodeid:8 nlookup:8',
  getattr_in: 'getattr_flags:4 dummy:4 fh:8',
  statx_in: 'getattr_flags:4 reserved:4 fh:8 sx_flags:4 sx_mask:4',
  setattr_in: `valid:4 padding:4 fh:8 size:8 lock_owner:8 atime:-8 mtime:-8 ctime:-8 atimensec:4 mtimensec:4 ctimensec:4 mode:4
    unused4:4 uid:4 gid:4 unused5:4`,
  mknod_in: 'mode:4 rdev:4 umask:4 padding:4',
  mkdir_in: 'mode:4 umask:4',
  rename_in: 'newdir:8',
  rename2_in: 'newdir:8 flags:4 padding:4',
  link_in: 'oldnodeid:8',
  open_in: 'flags:4 open_flags:4',
  create_in: 'flags:4 mode:4 umask:4 open_flags:4',
  release_in: 'fh:8 flags:4 release_flags:4 lock_owner:8',
  flush_in: 'fh:8 unused:4 padding:4 lock_owner:8',
  fsync_in: 'fh:8 fsync_flags:4 padding:4',
  read_in: 'fh:8 offset:8 size:4 read_flags:4 lock_owner:8 flags:4 padding:4',
  write_in: 'fh:8 offset:8 size:4 write_flags:4 lock_owner:8 flags:4 padding:4',
  fallocate_in: 'fh:8 offset:8 length:8 mode:4 padding:4',
  lseek_in: 'fh:8 offset:8 whence:4 padding:4',
  copy_file_range_in: 'fh_in:8 off_in:8 nodeid_out:8 fh_out:8 off_out:8 len:8 flags:8',
  access_in: 'mask:4 padding:4',
  setxattr_in: 'size:4 flags:4 setxattr_flags:4 padding:4',
  getxattr_in: 'size:4 padding:4',
  ioctl_in: 'fh:8 flags:4 cmd:4 arg:8 in_size:4 out_size:4',
  interrupt_in: 'unique:8',
  supp_groups: 'size:4 type:4 nr_groups:4 group:4'
} as const
export type StructName = keyof typeof structs

export function structBytes(name: StructName): number {
  return layout(structs[name]).reduce((sum, field) => sum + field.bytes, 0)
}

/** Fields that are not named get 0xee bytes where nothing may look, so that reading them shows. */
export function pack(name: StructName, fields: Fields): Buffer {
  const out = Buffer.alloc(structBytes(name))
  let at = 0
  for (const field of layout(structs[name])) {
    let value = BigInt.asUintN(field.bytes * 8, BigInt(fields[field.name] ?? 0))
    for (let i = 0; i < field.bytes; i++, value >>= 8n) out[at++] = Number(value & 0xffn)
  }
  for (const key of Object.keys(fields)) assert.ok(layout(structs[name]).some((f) => f.name === key), `${name} has no field ${key}`)
  return out
}

export function unpack(name: StructName, bytes: Buffer): Record<string, number> {
  assert.ok(bytes.length >= structBytes(name), `${name} needs ${structBytes(name)} bytes, got ${bytes.length}`)
  const out: Record<string, number> = {}
  let at = 0
  for (const field of layout(structs[name])) {
    let value = 0n
    for (let i = field.bytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[at + i])
    if (field.signed) value = BigInt.asIntN(field.bytes * 8, value)
    out[field.name] = Number(value)
    at += field.bytes
  }
  return out
}

export const cString = (text: string): Buffer => Buffer.from(`${text}\0`, 'latin1')

export interface Caller {
  node?: number | bigint
  uid?: number
  gid?: number
  pid?: number
  unique?: bigint
  /** Extension blocks behind the body: a multiple of 8 bytes. */
  extension?: Buffer
}

export function request(opcode: number, caller: Caller, ...body: Buffer[]): Buffer {
  const extension = caller.extension ?? Buffer.alloc(0)
  const length = 40 + body.reduce((sum, part) => sum + part.length, 0) + extension.length
  return Buffer.concat([pack('in_header', { len: length, opcode, unique: caller.unique ?? 2n, nodeid: caller.node ?? 1,
    uid: caller.uid ?? 0, gid: caller.gid ?? 0, pid: caller.pid ?? 0, total_extlen: extension.length / 8 }), ...body, extension])
}

export interface Reply {
  error: number
  unique: bigint
  body: Buffer
}

export const ALL_FLAGS = 0xffffffff
/** What Linux 6.18 offers. */
export const INIT_FLAGS = 0x73fffffb
export const INIT_FLAGS_2 = 0x7fd

const frames = new FramePool() // shared by all: making a megabyte for each test takes longer than the test

/** A session with a kernel in front of it. Whatever the session keeps or sends is checked for the rules of frames. */
export class Kernel implements ReplySink {
  readonly session: Session
  readonly replies: Reply[] = []
  /** Whose attributes, whose pages it was told to drop. */
  readonly stalePages: number[] = []
  readonly staleNodes: number[] = []
  /** What the next sends answer instead of the length. */
  refuseReplies = 0
  private unique = 0n
  private readonly kept = new Set<Frame>()
  private readonly arrivals: (() => void)[] = []

  constructor(vfs: Vfs, options: Partial<SessionOptions> = {}) {
    this.session = openSession({ vfs, clock: manualClock(),
      shown: { attrValidMs: 1500, entryValidMs: 2750, uid: undefined, gid: undefined, umask: undefined },
      negativeValidMs: 0, requestTimeoutMs: Infinity, interrupts: true, opens: true, writebackCache: false, maxBackground: 64, ...options }, this, frames)
  }

  send(frame: Frame, length: number): number {
    if (this.refuseReplies < 0) return this.refuseReplies
    const bytes = Buffer.from(frame.bytes.subarray(0, length))
    const header = unpack('out_header', bytes)
    assert.equal(header.len, length, 'a reply tells its length')
    assert.ok(header.error <= 0 && header.error > -1000, `error ${header.error}`)
    assert.ok(header.error === 0 || length === 16, 'an error has no body')
    this.replies.push({ error: header.error, unique: bytes.readBigUInt64LE(8), body: bytes.subarray(16) })
    this.arrivals.splice(0).forEach((arrived) => arrived())
    return length
  }

  free(frame: Frame): void {
    assert.ok(this.kept.delete(frame), 'a frame is given back once, and only if it was kept')
    this.session.frames.giveRequest(frame)
  }

  stale(node: number, what: 'attributes' | 'pages'): Promise<void> {
    (what === 'pages' ? this.stalePages : this.staleNodes).push(node)
    return Promise.resolve()
  }

  get keptFrames(): number {
    return this.kept.size
  }

  /** Hands over raw bytes as the device would. */
  deliver(bytes: Buffer): void {
    const frame = this.session.frames.takeRequest()
    frame.bytes.fill(0xee, bytes.length, bytes.length + 64) // what a shorter request leaves behind
    bytes.copy(frame.bytes)
    this.kept.add(frame)
    if (!this.session.handle(frame, bytes.length)) {
      frame.bytes.fill(0xdd, 0, bytes.length) // the session is done with it
      this.kept.delete(frame)
      this.session.frames.giveRequest(frame)
    }
  }

  nextUnique(): bigint {
    this.unique += 2n
    return this.unique
  }

  /** Sends a request and waits for its reply, however it comes. */
  async ask(opcode: number, caller: Caller, ...body: Buffer[]): Promise<Reply> {
    const unique = caller.unique ?? this.nextUnique()
    const mine = (): Reply | undefined => this.replies.find((reply) => reply.unique === unique)
    assert.equal(mine(), undefined)
    this.deliver(request(opcode, { ...caller, unique }, ...body))
    while (mine() === undefined) await new Promise<void>((resolve) => this.arrivals.push(resolve))
    return mine()!
  }

  /** As ask, for what must be answered before `deliver` returns. */
  askNow(opcode: number, caller: Caller, ...body: Buffer[]): Reply {
    const unique = caller.unique ?? this.nextUnique()
    const before = this.replies.length
    this.deliver(request(opcode, { ...caller, unique }, ...body))
    assert.equal(this.replies.length, before + 1, 'one reply, at once')
    assert.equal(this.replies[before].unique, unique)
    return this.replies[before]
  }

  init(fields: Fields = {}): Reply {
    return this.askNow(26, { node: 0 }, pack('init_in', { major: 7, minor: 45, max_readahead: 131072, flags: INIT_FLAGS,
      flags2: INIT_FLAGS_2, ...fields }), Buffer.alloc(44))
  }
}

export function expectError(reply: Reply, name: keyof typeof ERRNO): void {
  assert.equal(reply.error, -ERRNO[name])
}
