/**
 * One connection to a kernel: bytes in, bytes out. It parses requests, asks vfs, writes replies, and keeps what belongs to
 * the connection: what INIT agreed on, node references, open handles, requests in flight.
 *   - A request gets one reply (FORGET and INTERRUPT: none), whatever is in it. Malformed ones get EINVAL, unknown ones
 *     ENOSYS; none throws.
 *   - What vfs answers without a promise is replied before `handle` returns; nothing is allocated on that path but names.
 *   - When the kernel is gone every handle that it held is released and every node forgotten, once.
 * It knows no descriptor and no mount: tests drive it with a synthetic kernel.
 */
import { asks, asksAlone, assert, backgroundContext, ERRNO, errnoOf, PosixError } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import type { Handle, Node, Vfs } from '../vfs/index.js'
import type { Presentation } from './codec-attr.js'
import { interruptedHigh, interruptedLow } from './codec-file.js'
import { inLength, inOpcode, inPid, inUniqueHigh, inUniqueLow, writeOutHeader } from './codec-header.js'
import { makeFrame } from './frames.js'
import type { Frame, FramePool } from './frames.js'
import { negotiate } from './init.js'
import type { Agreed, InitOptions } from './init.js'
import { Lookups } from './lookups.js'
import * as p from './protocol.js'
import { Request } from './request.js'
import { TRACING, traceAnswer, describe } from './trace.js'

/** What an operation is to the session: how much body it must have, and what runs it. The tables are in operations-*.ts. */
export interface Operation {
  /** The fixed part of the body; a shorter request is EINVAL and never reaches `run`. */
  readonly bodyBytes: number
  /** Answers through the session, now or later, exactly once; what it throws is the answer. */
  readonly run: (s: Session, r: Request) => void
  /** Makes a new inode: the request may carry the caller's groups. */
  readonly creates?: true
  /** Reads from the request's frame until it has answered. */
  readonly keepsFrame?: true
  /** The kernel expects no answer, not even to a malformed one. */
  readonly silent?: true
  /** May come before INIT. */
  readonly early?: true
}

export type OperationTable = readonly (readonly [opcode: number, operation: Operation])[]

/** Where replies go. */
export interface ReplySink {
  /** Sends frame[0, length), a whole reply; the frame is reused when this returns. A negative errno: it did not arrive. */
  send(frame: Frame, length: number): number
  /** The frame that `handle` kept is the caller's again. */
  free(frame: Frame): void
  /** The kernel drops the attributes that it keeps of the node, or all its pages and the attributes; resolves when it did, or had none. */
  stale(node: Node, what: 'attributes' | 'pages'): Promise<unknown>
}

export interface SessionOptions extends InitOptions {
  readonly vfs: Vfs
  readonly clock: Clock
  readonly shown: Presentation
  /** How long the kernel may believe that a name does not exist; 0: not at all. */
  readonly negativeValidMs: number
  /** A request that takes longer fails; Infinity: never. */
  readonly requestTimeoutMs: number
  /**
   * A signal stops the request that the caller waits for (EINTR). False where every request ends soon by itself, as on a disk's
   * file system: programs do not expect EINTR from fsync or rename, and PostgreSQL takes it for a lost disk.
   */
  readonly interrupts: boolean
}

export class Session {
  readonly vfs: Vfs
  readonly shown: Presentation
  readonly negativeValidMs: number
  readonly frames: FramePool
  /** Where a reply without bulk data is written: used and sent within one call. */
  readonly out: Frame = makeFrame(p.OUT_HEADER_BYTES + 2 * p.XATTR_BYTES_MAX)
  readonly lookups: Lookups
  readonly files = new Map<Handle, Node>()
  readonly directories = new Map<Handle, Node>()
  /** Files written past the page cache, and whether something was read into it since it was dropped for that. */
  readonly directWritten = new Map<Node, boolean>()
  /** What INIT came to; undefined before it. */
  agreed: Agreed | undefined
  /** Requests taken so far. */
  requests = 0

  private readonly operations: readonly (Operation | undefined)[]
  private readonly options: SessionOptions
  private readonly clock: Clock
  private readonly sink: ReplySink
  private readonly idle: Request[] = []
  private readonly pending = new Set<Request>()
  private whenSettled: (() => void) | undefined
  private closing: Promise<void> | undefined

  /** `operations`: by opcode; ENOSYS where there is none. */
  constructor(operations: readonly (Operation | undefined)[], options: SessionOptions, sink: ReplySink, frames: FramePool) {
    this.operations = operations
    this.options = options
    this.vfs = options.vfs
    this.clock = options.clock
    this.shown = options.shown
    this.negativeValidMs = options.negativeValidMs
    this.frames = frames
    this.sink = sink
    this.lookups = new Lookups((node) => {
      this.directWritten.delete(node)
      this.vfs.forget(node)
    })
  }

  /** Requests that wait for a promise. */
  get inFlight(): number {
    return this.pending.size
  }

  /** OPEN and OPENDIR reach vfs. If not, the kernel opens without us, and every handle is 0. */
  get opens(): boolean {
    return this.options.opens
  }

  get setxattrExtended(): boolean {
    return this.agreed !== undefined && (this.agreed.flags & p.SETXATTR_EXT) !== 0
  }

  get directIo(): boolean {
    return this.agreed !== undefined && (this.agreed.flags2 & p.DIRECT_IO_ALLOW_MMAP) !== 0
  }

  /** Takes frame[0, length). True: it keeps the frame, and `sink.free` gives it back; false: it is done with it. */
  handle(frame: Frame, length: number): boolean {
    this.requests++
    if (length < p.IN_HEADER_BYTES || inLength(frame.view) !== length) {
      if (length >= p.OUT_HEADER_BYTES) this.refuse(frame.view, ERRNO.EINVAL)
      return false
    }
    const opcode = inOpcode(frame.view)
    const operation = opcode < p.OPCODES ? this.operations[opcode] : undefined
    if (operation === undefined) {
      this.refuse(frame.view, ERRNO.ENOSYS)
      return false
    }
    const r = this.idle.pop() ?? new Request()
    const deadlineMs = this.options.requestTimeoutMs === Infinity ? Infinity
      : this.clock.monotonicMs() + this.options.requestTimeoutMs
    if (operation.silent !== true) asks(inPid(frame.view))
    const fits = r.begin(frame, length, this.requests, deadlineMs, this.pending.size === 0 && asksAlone())
    if (TRACING) {
      r.startedUs = this.clock.monotonicUs()
      r.described = describe(r)
    }
    try {
      if (!fits || r.end - p.IN_HEADER_BYTES < operation.bodyBytes) throw new PosixError('EINVAL')
      if (this.agreed === undefined && operation.early !== true) throw new PosixError('EIO')
      if (this.closing !== undefined && operation.silent !== true) throw new PosixError('ENODEV') // behind DESTROY nothing comes
      if (r.node > Number.MAX_SAFE_INTEGER) throw new PosixError('ESTALE')
      if (operation.creates === true && (this.agreed!.flags2 & p.CREATE_SUPP_GROUP) !== 0) r.takeGroups()
      operation.run(this, r)
    } catch (e) {
      if (operation.silent === true) errnoOf(e)
      else this.fail(r, e)
    }
    if (r.pending) return operation.keepsFrame === true
    if (operation.silent === true && TRACING) traceAnswer(r, 0, 0, this.clock.monotonicUs())
    this.recycle(r)
    return false
  }

  // ---------------------------------------------------------------------------------------- for operations: answers

  /** Answers with the value, at once or when its promise settles; what either throws is the answer instead. */
  settle<T>(r: Request, value: T | Promise<T>, answer: (s: Session, r: Request, value: T) => void): void {
    if (value instanceof Promise) this.wait(r, value, answer)
    else answer(this, r, value)
  }

  private wait<T>(r: Request, value: Promise<T>, answer: (s: Session, r: Request, value: T) => void): void {
    r.pending = true
    this.pending.add(r)
    const keptFrame = this.operations[r.opcode]?.keepsFrame === true ? r.frame : undefined
    const settled = (): void => {
      r.pending = false
      this.pending.delete(r)
      if (keptFrame !== undefined) this.sink.free(keptFrame)
      this.recycle(r)
      if (this.pending.size === 0) this.whenSettled?.()
    }
    value.then((result) => {
      try {
        answer(this, r, result)
      } catch (e) {
        this.fail(r, e)
      }
      settled()
    }, (e: unknown) => {
      this.fail(r, e)
      settled()
    })
  }

  /** Sends `out` with `bodyBytes` of answer behind the header. Negative: the kernel did not take it. */
  answer(r: Request, bodyBytes: number): number {
    return this.send(r, this.out, p.OUT_HEADER_BYTES + bodyBytes, 0)
  }

  /** Sends the request's own reply frame. */
  answerFrame(r: Request, length: number): number {
    assert(r.reply !== undefined, 'the request has a reply frame')
    return this.send(r, r.reply, length, 0)
  }

  answerError(r: Request, errno: number): void {
    this.send(r, this.out, p.OUT_HEADER_BYTES, -errno)
  }

  readonly answerNothing = (_s: Session, r: Request): void => {
    this.send(r, this.out, p.OUT_HEADER_BYTES, 0)
  }

  /** The kernel drops what it keeps of the node. */
  async stale(node: Node, what: 'attributes' | 'pages'): Promise<void> {
    await this.sink.stale(node, what)
  }

  /** The kernel did not take the answer to an OPEN: nobody else will release the handle. */
  releaseUnsent(handle: Handle, node: Node): void {
    this.release(() => this.vfs.release(backgroundContext(), node, handle))
  }

  releaseUnsentDirectory(handle: Handle, node: Node): void {
    this.release(() => this.vfs.releasedir(backgroundContext(), node, handle))
  }

  // --------------------------------------------------------------------------------------------- for operations: life

  /** INIT: from here on other requests are served. False: already done, or this kernel is too old. */
  begin(r: Request): void {
    if (this.agreed !== undefined) throw new PosixError('EIO')
    const { agreed, bodyBytes } = negotiate(r.frame.view, r.end, this.out.view, this.options)
    this.agreed = agreed
    this.answer(r, bodyBytes)
    if (agreed !== undefined) this.options.onReady?.(agreed)
  }

  /** INTERRUPT: whoever waits for that request gives up soon; its own answer tells how it went. ENOSYS: the kernel sends no more. */
  interrupt(r: Request): void {
    if (!this.options.interrupts) return this.answerError(r, ERRNO.ENOSYS)
    for (const other of this.pending)
      if (interrupted(r, other)) other.interrupt()
  }

  /**
   * The kernel is gone (unmounted, aborted, DESTROY). Stops what waits, then lets go of everything that the kernel held.
   * Resolves when vfs has nothing of this session any more.
   */
  close(): Promise<void> {
    this.closing ??= this.letGo()
    return this.closing
  }

  private async letGo(): Promise<void> {
    for (const r of this.pending) r.interrupt()
    if (this.pending.size > 0) await new Promise<void>((resolve) => { this.whenSettled = resolve })
    const ctx = backgroundContext()
    const released: Promise<void>[] = []
    for (const [handle, node] of this.files) released.push(this.release(() => this.vfs.release(ctx, node, handle)))
    for (const [handle, node] of this.directories) released.push(this.release(() => this.vfs.releasedir(ctx, node, handle)))
    this.files.clear()
    this.directories.clear()
    await Promise.all(released)
    this.lookups.removeAll()
  }

  // ------------------------------------------------------------------------------------------------------------- parts

  private async release(how: () => void | Promise<void>): Promise<void> {
    try {
      await how()
    } catch (e) {
      errnoOf(e) // nobody waits for this answer; what is not an errno is reported
    }
  }

  private fail(r: Request, e: unknown): void {
    this.answerError(r, errnoOf(e))
  }

  private send(r: Request, frame: Frame, length: number, error: number): number {
    if (r.answered) return -ERRNO.ENOENT // an answer whose encoding failed half-way was sent as an error
    r.answered = true
    writeOutHeader(frame.view, length, error, r.uniqueLow, r.uniqueHigh)
    const rc = this.sink.send(frame, length)
    if (TRACING) traceAnswer(r, error, length, this.clock.monotonicUs())
    return rc
  }

  /** A request that is none: all that can be trusted is where its reply goes. */
  private refuse(v: DataView, errno: number): void {
    writeOutHeader(this.out.view, p.OUT_HEADER_BYTES, -errno, inUniqueLow(v), inUniqueHigh(v))
    this.sink.send(this.out, p.OUT_HEADER_BYTES)
  }

  private recycle(r: Request): void {
    if (r.reply !== undefined) {
      this.frames.giveReply(r.reply)
      r.reply = undefined
    }
    if (this.idle.length < 256) this.idle.push(r)
  }
}

/** Whether an INTERRUPT means that request. */
const interrupted = (interrupt: Request, other: Request): boolean => {
  const v = interrupt.frame.view
  return other.uniqueLow === interruptedLow(v, p.IN_HEADER_BYTES) && other.uniqueHigh === interruptedHigh(v, p.IN_HEADER_BYTES)
}
