/**
 * Reads, large writes and syncs that wait for a disk, through the kernel's io_uring: no thread of ours waits, and one system call hands over all
 * that was asked in a tick.
 *   - A call resolves like those of `offLoop` (native.ts): its result >= 0 or the negative errno. Its buffer is held until then.
 *   - What is asked in one tick goes in at the end of its promise jobs. What the page cache holds is then answered at once.
 *   - Completions lie in memory that we share with the kernel. The kernel puts them there whenever this thread is in a system call anyway
 *     (COOP_TASKRUN), so that whoever polls finds them with `reap`, without a call; a loop that sleeps is woken through its epoll.
 *   - An idle ring keeps no process alive and costs nothing.
 * Where io_uring is missing, refused (containers) or older than Linux 6.0 there is none, and the caller uses the thread pool.
 * An fdatasync of 8 KiB in a log takes 95 us in the tick, 140 through the pool, 125 here; a loop that looks all the while sees it after
 * 120, and through the pool after 140, now and then 2,000 (the pool's thread waits for our core).
 * A read of a page that only the disk has: 2 calls here; through the pool 10 and more, and two wake-ups of threads.
 */
import { ERRNO } from './errno.js'
import { watchReadable } from './events.js'
import { mapped } from './memory.js'
import { addressOf, bind, result } from './native.js'

const ENTRIES = 256 // asked and not yet handed over; when it is full they are handed over at once
const IN_FLIGHT_MAX = 2 * ENTRIES // as many completions have room

const SETUP_CLAMP = 1 << 4
const SETUP_SUBMIT_ALL = 1 << 7
const SETUP_COOP_TASKRUN = 1 << 8
const SETUP_SINGLE_ISSUER = 1 << 12
const FEATURES = 1 | 2 | 4 // one mapping for both queues, no completion is dropped, requests are stable once handed over
const OFFSET_SQES = 0x10000000

const OP_FSYNC = 3
const FSYNC_DATASYNC = 1
const OP_READ = 22
const OP_WRITE = 23
const ON_A_THREAD = 1 << 12 // IOSQE_ASYNC, in the second byte of opcode and flags
const COPY_HERE_MAX_BYTES = 64 * 1024 // what is larger is copied by a thread of the kernel, not by ours

const SQE_BYTES = 64
const CQE_BYTES = 16
const MAP_SHARED_POPULATE = 1 | 0x8000
const TWO_32 = 4294967296

const libc = { // the numbers are the same on x86-64 and arm64
  setup: bind<[number, number, Uint8Array]>('long syscall(long number, unsigned int entries, void *params)'),
  enter: bind<[number, number, number, number, number, null, number]>(
    'long syscall(long number, int fd, unsigned int submit, unsigned int complete, unsigned int flags, void *sigset, size_t size)')
}
const SYS_SETUP = 425
const SYS_ENTER = 426

export interface Ring {
  read(fd: number, into: Uint8Array, at: number, length: number, fileOffset: number): Promise<number>
  /** Handed over at once: a thread of the kernel's waits for the disk. */
  fdatasync(fd: number): Promise<number>
  /** The same from a descriptor opened with O_DIRECT: the disk writes into the buffer, nobody copies. */
  readDirect(fd: number, into: Uint8Array, at: number, length: number, fileOffset: number): Promise<number>
  /**
   * Into the page cache, in parts, by threads of the kernel's (which takes writes to one file one after the other). Of a part that was cut short
   * or failed what follows does not count: the bytes that are there from the first one on, or the first part's errno.
   */
  write(fd: number, from: Uint8Array, at: number, length: number, fileOffset: number, partBytes: number): Promise<number>
  /** Resolves what is done; answers how many. A look costs no system call. */
  reap(): number
}

let opened: { readonly ring: Ring | undefined } | undefined

/** This thread's ring, made at the first use; undefined where the kernel has none for us. */
export function ring(): Ring | undefined {
  opened ??= { ring: process.env['OGEE_IO_URING'] === '0' ? undefined : openRing() }
  return opened.ring
}

/** Undefined where the kernel has none for us. It lives as long as the process. */
function openRing(): Ring | undefined {
  const params = new Uint8Array(120)
  const p = new DataView(params.buffer)
  p.setUint32(8, SETUP_CLAMP | SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER, true)
  const fd = result(libc.setup(SYS_SETUP, ENTRIES, params))
  if (fd < 0 || (p.getUint32(20, true) & FEATURES) !== FEATURES) return undefined // a descriptor that is of no use stays: once per process
  const [entries, completions] = [p.getUint32(0, true), p.getUint32(4, true)]
  const [sq, cq] = [40, 80] // io_sqring_offsets, io_cqring_offsets
  const offset = (at: number): number => p.getUint32(at, true)
  const cqesAt = offset(cq + 20)
  const arrayAt = offset(sq + 24)
  const queues = mapped(Math.max(arrayAt + 4 * entries, cqesAt + CQE_BYTES * completions), MAP_SHARED_POPULATE, fd, 0)?.bytes
  const sqesMemory = mapped(entries * SQE_BYTES, MAP_SHARED_POPULATE, fd, OFFSET_SQES)?.bytes
  if (queues === undefined || sqesMemory === undefined) return undefined
  const words = new Int32Array(queues)
  const sqes = new DataView(sqesMemory)
  const cqes = new DataView(queues, cqesAt, completions * CQE_BYTES)
  const sqTail = offset(sq + 4) >> 2
  const cqHead = offset(cq) >> 2
  const cqTail = offset(cq + 4) >> 2
  for (let i = 0; i < entries; i++) words[(arrayAt >> 2) + i] = i
  return serve(fd, { words, sqes, cqes, sqTail, cqHead, cqTail, sqMask: entries - 1, cqMask: completions - 1 })
}

interface Queues {
  readonly words: Int32Array
  readonly sqes: DataView
  readonly cqes: DataView
  /** Indexes into `words`. Ours to write: the tail of what is asked, the head of what is done. */
  readonly sqTail: number
  readonly cqHead: number
  readonly cqTail: number
  readonly sqMask: number
  readonly cqMask: number
}

type Resolve = (rc: number) => void

function serve(fd: number, q: Queues): Ring {
  const resolves: (Resolve | undefined)[] = new Array<undefined>(IN_FLIGHT_MAX).fill(undefined)
  const held: (Uint8Array | undefined)[] = new Array<undefined>(IN_FLIGHT_MAX).fill(undefined)
  const free = Array.from({ length: IN_FLIGHT_MAX }, (_, i) => IN_FLIGHT_MAX - 1 - i)
  const waiting: (() => void)[] = [] // for a free slot, in order
  let tail = q.words[q.sqTail]
  let asked = 0 // in the queue, not handed over
  let isPlanned = false
  const woken = (): void => void reap()
  const watch = watchReadable(fd, () => void setImmediate(woken)) // there promise jobs run right after (see events.ts)
  watch.unref()

  /** A read or a write: by the operation. */
  function askBytes(operation: number, target: number, buffer: Uint8Array, at: number, length: number, fileOffset: number): Promise<number> {
    if (at < 0 || length < 0 || at + length > buffer.length) throw new RangeError(`bytes ${at}+${length} of ${buffer.length}`)
    if (fileOffset < 0) return Promise.resolve(-ERRNO.EINVAL) // -1 would mean "where the descriptor stands"
    return ask(operation, target, buffer, addressOf(buffer) + at, length, fileOffset, 0)
  }

  async function writeParts(target: number, from: Uint8Array, at: number, length: number, fileOffset: number, partBytes: number): Promise<number> {
    const parts: Promise<number>[] = []
    for (let done = 0; done < length; done += partBytes) parts.push(askBytes(OP_WRITE | ON_A_THREAD, target, from, at + done, Math.min(partBytes, length - done), fileOffset + done))
    const results = await Promise.all(parts)
    let whole = 0
    for (const [i, rc] of results.entries()) {
      if (rc < 0) return i === 0 ? rc : whole
      whole += rc
      if (rc < Math.min(partBytes, length - i * partBytes)) break
    }
    return whole
  }

  function ask(operation: number, target: number, buffer: Uint8Array | undefined, address: number, length: number, fileOffset: number, flags: number): Promise<number> {
    return new Promise((resolve) => {
      const start = (): void => {
        if (asked > q.sqMask) submit()
        const slot = free.pop()!
        resolves[slot] = resolve
        held[slot] = buffer
        if (free.length === IN_FLIGHT_MAX - 1) watch.ref()
        const entry = (tail & q.sqMask) * SQE_BYTES
        const v = q.sqes // all other words stay 0
        v.setUint32(entry, operation, true)
        v.setInt32(entry + 4, target, true)
        v.setUint32(entry + 8, fileOffset % TWO_32, true)
        v.setUint32(entry + 12, Math.floor(fileOffset / TWO_32), true)
        v.setUint32(entry + 16, address % TWO_32, true)
        v.setUint32(entry + 20, Math.floor(address / TWO_32), true)
        v.setUint32(entry + 24, length, true)
        v.setUint32(entry + 28, flags, true)
        v.setUint32(entry + 32, slot, true)
        tail = (tail + 1) | 0
        asked++
        if (!isPlanned) {
          isPlanned = true
          queueMicrotask(flush)
        }
      }
      if (free.length > 0 && asked <= q.sqMask) start()
      else if (free.length === 0) waiting.push(start)
      else {
        submit()
        if (asked <= q.sqMask) start()
        else waiting.push(start)
      }
    })
  }

  function flush(): void {
    isPlanned = false
    submit()
    reap() // what the page cache held
  }

  /** Hands over what was asked. What the kernel does not take now (it is short of memory, or of room for completions) waits for the next look. */
  function submit(): void {
    Atomics.store(q.words, q.sqTail, tail)
    while (asked > 0) {
      const rc = result(libc.enter(SYS_ENTER, fd, asked, 0, 0, null, 0))
      if (rc > 0) asked -= rc
      else if (rc !== -ERRNO.EINTR) {
        setImmediate(flush)
        return
      }
    }
  }

  function reap(): number {
    let head = q.words[q.cqHead]
    const end = Atomics.load(q.words, q.cqTail)
    if (head === end) return 0
    let found = 0
    for (; head !== end; head = (head + 1) | 0) {
      const at = (head & q.cqMask) * CQE_BYTES
      const slot = q.cqes.getUint32(at, true)
      const resolve = resolves[slot]!
      resolves[slot] = undefined
      held[slot] = undefined
      free.push(slot)
      found++
      resolve(q.cqes.getInt32(at + 8, true))
    }
    Atomics.store(q.words, q.cqHead, head)
    while (waiting.length > 0 && free.length > 0) waiting.shift()!()
    if (free.length === IN_FLIGHT_MAX) watch.unref()
    return found
  }

  return {
    read: (target, into, at, length, fileOffset) => askBytes(length > COPY_HERE_MAX_BYTES ? OP_READ | ON_A_THREAD : OP_READ, target, into, at, length, fileOffset),
    readDirect: (target, into, at, length, fileOffset) => askBytes(OP_READ, target, into, at, length, fileOffset),
    write: writeParts,
    fdatasync: (target) => ask(OP_FSYNC, target, undefined, 0, 0, 0, FSYNC_DATASYNC),
    reap
  }
}
