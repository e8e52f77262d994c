/**
 * A rehearsal: a session of its own over a vfs that nobody else uses, asked as a kernel asks while programs make, write, sync, list, read,
 * rename and remove small files. Afterwards V8 has compiled what requests run through, for every session and every pool of this process.
 *   - It says nothing and keeps nothing: what it made is removed, answers are only looked at for node numbers.
 *   - Requests come through a device as those of a kernel do, from one program: what is compiled for other objects or other numbers than the kernel's is thrown away at the first of its requests.
 *   - `rest` is awaited after every file, and may take its time; once it answers false the rehearsal ends.
 * Why, and what it is worth: docs/decisions/0010.
 */
import { check, close, messagePair, read as receive, set64, viewOf, write as send } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import type { Vfs } from '../vfs/index.js'
import { Device } from './channel.js'
import * as c from './codec-file.js'
import { GETATTR_IN_BYTES, SETATTR_IN_BYTES } from './codec-attr.js'
import * as p from './protocol.js'
import { openSession } from './operations.js'

const BODY = p.IN_HEADER_BYTES
const INIT_BYTES = 64
const VALID_MS = 86_400_000
const FILES = 50 // in a folder
const SMALL_BYTES = 4096
const FAR = 2 ** 33
const REG = 0o100644
const APPENDS = 16 // in a folder, each synced
const JOURNALS = 4 // in a folder
/** What SQLite writes into a journal for an insert: offset and bytes of each piece. */
const PIECES = [[0, 512], [512, 4], [516, 3580], [4096, 516], [4612, 4], [4616, 4], [4620, 3572], [8192, 524], [8716, 4]] as const
const LISTING_BYTES = 32 * 1024
const PROMISE_JOBS_MAX = 32
const FATTR_MODE = 1 << 0
const FATTR_OWNER = 1 << 1 | 1 << 2
const FATTR_MTIME_NOW = 1 << 8
const FATTR_KILL_SUIDGID = 1 << 11
const LARGE_BYTES = 128 * 1024 // beyond what rides in the log, and what a socket takes
const LARGE_WRITES = 32
const STREAM_EVERY = 8 // folders
const MESSAGE_BYTES = LARGE_BYTES + 4096

export interface RehearsalOptions {
  readonly vfs: Vfs
  readonly clock: Clock
  /** Folders made and removed, of 50 files each. */
  readonly folders: number
  rest(): Promise<boolean> | boolean
}

export async function rehearse({ vfs, clock, folders, rest }: RehearsalOptions): Promise<void> {
  const pair = messagePair()
  if (typeof pair === 'number') return void check(pair, 'socketpair')
  const [kernel, daemon] = pair
  const device = new Device(daemon, (sink) => openSession({
    vfs, clock, opens: false, writebackCache: false, maxBackground: 1, negativeValidMs: VALID_MS, requestTimeoutMs: Infinity, interrupts: false,
    shown: { attrValidMs: VALID_MS, entryValidMs: VALID_MS, uid: undefined, gid: undefined, umask: undefined }
  }, sink), 1, folders % 8 === 0 ? () => {} : () => { woken++ }) // two functions: what is compiled calls either, and the kernel's device has a third
  device.watched(false)
  const { session } = device
  const bytes = Buffer.alloc(MESSAGE_BYTES)
  const view = viewOf(bytes)
  const reply = Buffer.alloc(MESSAGE_BYTES)
  let node = 0
  let woken = 0
  let unique = 0

  /** Asks with the body that the caller wrote, `fixed` bytes and names behind them; ends when the answer has left. */
  async function ask(opcode: number, of: number, fixedBytes: number, ...names: string[]): Promise<void> {
    let at = BODY + fixedBytes
    for (const name of names) at += bytes.latin1Write(`${name}\0`, at)
    view.setUint32(0, at, true)
    view.setUint32(4, opcode, true)
    set64(view, 8, (unique += 2))
    set64(view, 16, of)
    for (let i = 24; i < BODY; i += 4) view.setUint32(i, 0, true) // root asks
    view.setUint32(32, process.pid, true)
    check(send(kernel, bytes, 0, at), 'write', 'a rehearsed request')
    device.drain()
    for (let jobs = 1; session.inFlight > 0; jobs++) {
      if (jobs % PROMISE_JOBS_MAX === 0) await new Promise((resolve) => setImmediate(resolve)) // it waits for a disk
      else await null
    }
    if (receive(kernel, reply, 0, MESSAGE_BYTES) > p.OUT_HEADER_BYTES) node = reply.readUInt32LE(p.OUT_HEADER_BYTES)
  }
  const blank = (length: number): DataView => {
    bytes.fill(0, BODY, BODY + length)
    return view
  }
  const getattr = (of: number): Promise<void> => (blank(GETATTR_IN_BYTES), ask(p.GETATTR, of, GETATTR_IN_BYTES))

  async function make(dir: number, name: string): Promise<number> {
    await ask(p.LOOKUP, dir, 0, name)
    blank(c.MKNOD_IN_BYTES).setUint32(BODY, REG, true)
    await ask(p.MKNOD, dir, c.MKNOD_IN_BYTES, name)
    const made = node
    await getattr(dir)
    return made
  }

  /** The kernel asks before a file's first write, and again after each answer with its attributes. */
  async function capability(file: number): Promise<void> {
    blank(c.GETXATTR_IN_BYTES)
    await ask(p.GETXATTR, file, c.GETXATTR_IN_BYTES, 'security.capability')
  }

  async function write(file: number, offset: number, length = SMALL_BYTES): Promise<void> {
    const v = blank(c.WRITE_IN_BYTES + length)
    set64(v, BODY + 8, offset)
    v.setUint32(BODY + 16, length, true)
    await ask(p.WRITE, file, c.WRITE_IN_BYTES + length)
  }
  const sync = (file: number): Promise<void> => (blank(c.FSYNC_IN_BYTES), ask(p.FSYNC, file, c.FSYNC_IN_BYTES))

  async function read(opcode: number, of: number, length: number): Promise<void> {
    blank(c.READ_IN_BYTES).setUint32(BODY + 16, length, true)
    await ask(opcode, of, c.READ_IN_BYTES)
  }

  async function change(file: number, valid = FATTR_MODE | FATTR_MTIME_NOW): Promise<void> {
    const v = blank(SETATTR_IN_BYTES)
    v.setUint32(BODY, valid, true)
    v.setUint32(BODY + 68, 0o100600, true)
    await ask(p.SETATTR, file, SETATTR_IN_BYTES)
  }

  async function rename(dir: number, name: string, newName: string): Promise<void> {
    set64(blank(c.RENAME2_IN_BYTES), BODY, dir)
    await ask(p.RENAME2, dir, c.RENAME2_IN_BYTES, name, newName)
  }

  function forget(file: number): void {
    set64(blank(c.FORGET_IN_BYTES), BODY, 1)
    void ask(p.FORGET, file, c.FORGET_IN_BYTES)
  }

  /** A log that grows. */
  async function append(file: number): Promise<boolean> {
    for (let i = 0; i < APPENDS; i++) {
      await write(file, i * SMALL_BYTES)
      await sync(file)
      if (!await rest()) return false
    }
    return true
  }

  /** What a database does for a transaction: a journal in pieces, then its pages, then no journal. */
  async function journal(dir: number, table: number): Promise<boolean> {
    const file = await make(dir, 'journal')
    await capability(file)
    await change(file, FATTR_OWNER | FATTR_KILL_SUIDGID)
    await capability(file)
    for (const [offset, bytes] of PIECES) await write(file, offset, bytes)
    await getattr(file)
    await sync(file)
    await getattr(dir)
    blank(c.FSYNC_IN_BYTES)
    await ask(p.FSYNCDIR, dir, c.FSYNC_IN_BYTES)
    await capability(file)
    await write(file, 0, 12)
    await sync(file)
    if (!await rest()) return false
    await capability(table)
    await write(table, 0)
    await write(table, SMALL_BYTES)
    await sync(table)
    await ask(p.UNLINK, dir, 0, 'journal')
    forget(file)
    await getattr(dir)
    await getattr(table)
    return rest()
  }

  /** A stream into a new file, made durable, and pages of it written again, as random writes do. */
  async function stream(dir: number): Promise<boolean> {
    const file = await make(dir, 'stream')
    await capability(file)
    let goesOn = true
    for (let i = 0; i < LARGE_WRITES && goesOn; i++) {
      await write(file, i * LARGE_BYTES, LARGE_BYTES)
      goesOn = await rest()
    }
    await sync(file)
    for (let i = 0; i < LARGE_WRITES && goesOn; i++) {
      await write(file, (i * 7 % LARGE_WRITES) * LARGE_BYTES)
      goesOn = await rest()
    }
    await sync(file)
    await ask(p.UNLINK, dir, 0, 'stream')
    forget(file)
    return goesOn
  }

  async function folder(name: string, streams: boolean): Promise<boolean> {
    blank(c.MKDIR_IN_BYTES).setUint32(BODY, 0o755, true)
    await ask(p.LOOKUP, p.FUSE_ROOT_ID, 0, name)
    blank(c.MKDIR_IN_BYTES).setUint32(BODY, 0o755, true)
    await ask(p.MKDIR, p.FUSE_ROOT_ID, c.MKDIR_IN_BYTES, name)
    const dir = node
    const files: number[] = []
    let goesOn = true
    for (let i = 0; i < FILES && goesOn; i++) {
      const file = await make(dir, `name-${i}`)
      files.push(file)
      if (i % 4 !== 3) {
        await capability(file)
        await write(file, 0)
      }
      if (i % 4 === 0) await write(file, SMALL_BYTES)
      goesOn = await rest()
    }
    if (goesOn) await write(files[2], FAR) // numbers that need more than 31 bits
    goesOn &&= await append(files[1])
    for (let i = 0; i < JOURNALS && goesOn; i++) goesOn = await journal(dir, files[0])
    if (streams) goesOn &&= await stream(dir)
    if (goesOn) await read(p.READDIRPLUS, dir, LISTING_BYTES)
    for (let i = 0; i < FILES && goesOn; i++) {
      await ask(p.LOOKUP, dir, 0, `name-${i}`)
      await getattr(files[i])
      await read(p.READ, files[i], SMALL_BYTES)
      await change(files[i])
      if (i % 3 === 0) await rename(dir, `name-${i}`, `new-${i}`)
      goesOn = await rest()
    }
    for (let i = 0; i < FILES && goesOn; i++) {
      await ask(p.UNLINK, dir, 0, i % 3 === 0 ? `new-${i}` : `name-${i}`)
      forget(files[i])
      goesOn = await rest()
    }
    await ask(p.RMDIR, p.FUSE_ROOT_ID, 0, name)
    return goesOn
  }

  try {
    const init = blank(INIT_BYTES)
    init.setUint32(BODY, p.FUSE_MAJOR, true)
    init.setUint32(BODY + 4, p.FUSE_MINOR_MAX, true)
    init.setUint32(BODY + 12, 0xffffffff, true)
    init.setUint32(BODY + 16, 0xffffffff, true)
    await ask(p.INIT, 0, INIT_BYTES)
    for (let i = 0; i < folders && await folder(`folder-${i}`, i % STREAM_EVERY === 0); i++);
  } finally {
    await device.leave()
    close(kernel)
  }
}
