/**
 * A rehearsal: a session of its own over a vfs that nobody else uses, asked as a kernel asks while programs make, write, sync, list, read,
 * rename and remove small files. Afterwards V8 has compiled what requests run through, for every session and every pool of this process.
 *   - It says nothing and keeps nothing: what it made is removed, answers are only looked at for node numbers.
 *   - `rest` is awaited after every file, and may take its time; once it answers false the rehearsal ends.
 * Why, and what it is worth: docs/decisions/0010.
 */
import { set64 } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import type { Vfs } from '../vfs/index.js'
import * as c from './codec-file.js'
import { GETATTR_IN_BYTES, SETATTR_IN_BYTES } from './codec-attr.js'
import type { Frame } from './frames.js'
import * as p from './protocol.js'
import { Session } from './session.js'
import type { ReplySink } from './session.js'

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

export interface RehearsalOptions {
  readonly vfs: Vfs
  readonly clock: Clock
  /** Folders made and removed, of 50 files each. */
  readonly folders: number
  rest(): Promise<boolean> | boolean
}

export async function rehearse({ vfs, clock, folders, rest }: RehearsalOptions): Promise<void> {
  let replies = 0
  let node = 0
  const sink: ReplySink = {
    send(sent, length) {
      replies++
      if (length > p.OUT_HEADER_BYTES) node = sent.view.getUint32(p.OUT_HEADER_BYTES, true)
      return length
    },
    free: (given) => session.frames.giveRequest(given),
    stale: () => Promise.resolve()
  }
  const session: Session = new Session({
    vfs, clock, opens: false, writebackCache: false, maxBackground: 1, negativeValidMs: VALID_MS, requestTimeoutMs: Infinity, interrupts: false,
    shown: { attrValidMs: VALID_MS, entryValidMs: VALID_MS, uid: undefined, gid: undefined, umask: undefined }
  }, sink)
  let frame: Frame = session.frames.takeRequest()
  let unique = 0

  /** Asks with the body that the caller wrote, `fixed` bytes and names behind them; ends when the answer has left. */
  async function ask(opcode: number, of: number, fixedBytes: number, ...names: string[]): Promise<void> {
    const { view, bytes } = frame
    let at = BODY + fixedBytes
    for (const name of names) at += bytes.latin1Write(`${name}\0`, at)
    view.setUint32(0, at, true)
    view.setUint32(4, opcode, true)
    set64(view, 8, (unique += 2))
    set64(view, 16, of)
    for (let i = 24; i < BODY; i += 4) view.setUint32(i, 0, true) // root asks
    const want = replies + 1
    if (session.handle(frame, at)) frame = session.frames.takeRequest()
    for (let jobs = 1; replies < want; jobs++) {
      if (jobs % PROMISE_JOBS_MAX === 0) await new Promise((resolve) => setImmediate(resolve)) // it waits for a disk
      else await null
    }
  }
  const blank = (bytes: number): DataView => {
    frame.bytes.fill(0, BODY, BODY + bytes)
    return frame.view
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

  async function write(file: number, offset: number, bytes = SMALL_BYTES): Promise<void> {
    const v = blank(c.WRITE_IN_BYTES + bytes)
    set64(v, BODY + 8, offset)
    v.setUint32(BODY + 16, bytes, true)
    await ask(p.WRITE, file, c.WRITE_IN_BYTES + bytes)
  }
  const sync = (file: number): Promise<void> => (blank(c.FSYNC_IN_BYTES), ask(p.FSYNC, file, c.FSYNC_IN_BYTES))

  async function read(opcode: number, of: number, bytes: number): Promise<void> {
    blank(c.READ_IN_BYTES).setUint32(BODY + 16, bytes, true)
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
    replies++ // there is none
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
    await change(file, FATTR_OWNER)
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

  async function folder(name: string): Promise<boolean> {
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

  const init = blank(INIT_BYTES)
  init.setUint32(BODY, p.FUSE_MAJOR, true)
  init.setUint32(BODY + 4, p.FUSE_MINOR_MAX, true)
  init.setUint32(BODY + 12, 0xffffffff, true)
  init.setUint32(BODY + 16, 0xffffffff, true)
  await ask(p.INIT, 0, INIT_BYTES)
  for (let i = 0; i < folders && await folder(`folder-${i}`); i++);
  await session.close()
}
