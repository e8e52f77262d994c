/**
 * The loop over fuse devices: takes requests as soon as they are there, without blocking and without sleeping while they
 * keep coming.
 *   - A turn drains every device with read(2), lets promise jobs run (`await null`: handlers that only waited for memory
 *     finish, commits of one drain share one write), looks again for `spinUs`, all in one tick of the event loop.
 *   - Each look takes finished reads of the disk too: one of them is an answer to be sent, and the next request.
 *   - Between turns timers and I/O get their chance (setImmediate). After `quietUs` without a request the devices are
 *     given to libuv's epoll, and the thread sleeps there: no pool thread waits, and one wake-up serves all devices.
 *   - The spin halves whenever it finds nothing, and doubles when a request came in it or soon after it.
 *   - While requests keep coming (8 within 8 ms) the cores are held awake.
 *   - A session with `inFlightMax` requests waiting is not read from: the kernel queues the rest, which is back-pressure.
 * An empty look costs 300 ns; a round trip of stat at queue depth 1 is measured by bench/.
 */
import { close, ERRNO, errnoName, errnoOf, read, ring, watchReadable, write } from '../sys/index.js'
import type { Clock, CoreHold, Watch } from '../sys/index.js'
import type { Node } from '../vfs/index.js'
import { writeOutHeader } from './codec-header.js'
import type { Frame } from './frames.js'
import { Notifier } from './notify.js'
import { OUT_HEADER_BYTES } from './protocol.js'
import type { ReplySink, Session } from './session.js'

const DRAIN_MAX = 64 // requests between two chances for promise jobs
const TURN_US_MAX = 500 // then timers and I/O get theirs
const SPIN_WAITING_US = 10 // the spin while handlers wait for I/O, which completes between turns
const PROMISE_JOBS_MAX = 32 // steps that handlers may take between two looks: 0.1 us each, a look is 0.3
const SPIN_US_MIN = 1
const HOLD_REQUESTS = 8
const HOLD_US = 8000
const NO_PAGES = -1

export interface ChannelOptions {
  readonly clock: Clock
  readonly hold: CoreHold
  /** The longest spin. */
  readonly spinUs?: number
  readonly quietUs?: number
  /** Requests of one device whose handlers wait; more are left to the kernel's queue. */
  readonly inFlightMax?: number
}

/** One device, being served. */
export interface Connection {
  readonly session: Session
  readonly notifier: Notifier
  /** Resolves when the kernel is gone (unmounted or aborted) and vfs has nothing of the session any more; the device is closed. */
  readonly done: Promise<void>
}

export class Channel {
  private readonly clock: Clock
  private readonly hold: CoreHold
  private readonly spinUsMax: number
  private readonly quietUs: number
  private readonly inFlightMax: number
  private readonly ring = ring()
  private devices: readonly Device[] = []
  private readonly runTurn = (): void => void this.turn()
  private awake = false
  private spinUs: number
  private lastFoundUs = 0
  private blockStartUs = 0
  private blockRequests = 0

  constructor(options: ChannelOptions) {
    this.clock = options.clock
    this.hold = options.hold
    this.spinUsMax = options.spinUs ?? 30
    this.quietUs = options.quietUs ?? 200
    this.inFlightMax = options.inFlightMax ?? 512
    this.spinUs = this.spinUsMax
  }

  /** Serves a device (open, mounted, non-blocking) from now on, and closes it in the end. */
  serve(fd: number, makeSession: (sink: ReplySink) => Session): Connection {
    const device = new Device(fd, makeSession, this.inFlightMax, () => this.wake())
    this.devices = [...this.devices, device]
    this.wake()
    return { session: device.session, notifier: device.notifier, done: device.done }
  }

  /** Something may have changed: look at the devices in the next turn. */
  private wake(): void {
    if (this.awake) return
    this.awake = true
    for (const device of this.devices) device.watch.pause()
    this.lastFoundUs = this.clock.monotonicUs()
    setImmediate(this.runTurn)
  }

  private async turn(): Promise<void> {
    const startUs = this.clock.monotonicUs()
    const soon = startUs - this.lastFoundUs < 3 * this.spinUsMax
    let untilUs = startUs + this.spinUs
    let looks = 0
    let hit = false
    for (;;) {
      const found = this.look()
      await null
      for (let i = 1; i < PROMISE_JOBS_MAX && this.waiting() > 0; i++) await null
      const nowUs = this.clock.monotonicUs()
      if (found > 0) {
        hit ||= looks > 0 || soon
        this.lastFoundUs = nowUs
        untilUs = nowUs + (this.waiting() > 0 ? Math.min(this.spinUs, SPIN_WAITING_US) : this.spinUs)
        this.countBusy(found, nowUs)
        if (nowUs - startUs > TURN_US_MAX) break
      } else if (nowUs >= untilUs) break
      looks++
    }
    this.spinUs = hit ? Math.min(this.spinUs * 2, this.spinUsMax) : Math.max(this.spinUs / 2, SPIN_US_MIN)
    if (this.clock.monotonicUs() - this.lastFoundUs < this.quietUs) setImmediate(this.runTurn)
    else this.sleep()
  }

  /** Takes what the disk has done, and drains every device; answers how much there was. */
  private look(): number {
    let found = this.ring?.reap() ?? 0
    for (const device of this.devices) {
      found += device.drain()
      if (device.gone) {
        this.devices = this.devices.filter((d) => d !== device)
        void device.leave()
      }
    }
    return found
  }

  private waiting(): number {
    let waiting = 0
    for (const device of this.devices) waiting += device.session.inFlight
    return waiting
  }

  private sleep(): void {
    this.awake = false
    for (const device of this.devices) if (!device.full) device.watch.resume()
  }

  private countBusy(found: number, nowUs: number): void {
    this.blockRequests += found
    if (this.blockRequests < HOLD_REQUESTS) return
    if (nowUs - this.blockStartUs < HOLD_US) this.hold.busy()
    this.blockRequests = 0
    this.blockStartUs = nowUs
  }
}

class Device implements ReplySink {
  readonly session: Session
  readonly notifier: Notifier
  readonly watch: Watch
  readonly done: Promise<void>
  gone = false
  private readonly fd: number
  private readonly inFlightMax: number
  private readonly wake: () => void
  private frame: Frame
  private finish!: () => void

  constructor(fd: number, makeSession: (sink: ReplySink) => Session, inFlightMax: number, wake: () => void) {
    this.fd = fd
    this.inFlightMax = inFlightMax
    this.wake = wake
    this.session = makeSession(this)
    this.notifier = new Notifier(fd)
    this.frame = this.session.frames.takeRequest()
    this.done = new Promise((resolve) => { this.finish = resolve })
    this.watch = watchReadable(fd, wake)
    this.watch.pause()
  }

  /** Too many handlers wait: they come first. */
  get full(): boolean {
    return this.session.inFlight >= this.inFlightMax
  }

  /** Takes what is there, a bounded number; answers how many. */
  drain(): number {
    let taken = 0
    while (taken < DRAIN_MAX && !this.full) {
      const length = read(this.fd, this.frame.bytes, 0, this.frame.bytes.length)
      if (length > 0) {
        taken++
        if (this.session.handle(this.frame, length)) this.frame = this.session.frames.takeRequest()
      } else if (length === -ERRNO.EAGAIN) break
      else if (length !== -ERRNO.EINTR && length !== -ERRNO.ENOENT) { // ENOENT: that request was taken back
        this.gone = true // ENODEV: unmounted. ECONNABORTED: aborted. Anything else: no way to go on
        break
      }
    }
    return taken
  }

  send(frame: Frame, length: number): number {
    const rc = write(this.fd, frame.bytes, 0, length)
    if (rc < 0 && rc !== -ERRNO.ENOENT && rc !== -ERRNO.ENODEV && rc !== -ERRNO.ECONNABORTED) this.refused(frame, length, rc)
    this.wake() // who waited for this answer asks again soon
    return rc
  }

  free(frame: Frame): void {
    this.session.frames.giveRequest(frame)
  }

  stale(node: Node): Promise<unknown> {
    return this.notifier.invalInode(node, NO_PAGES, 0)
  }

  /** A reply that the kernel does not understand is a mistake of ours: the caller gets EIO and does not wait for ever. */
  private refused(frame: Frame, length: number, rc: number): void {
    errnoOf(new Error(`the kernel refused a reply of ${length} bytes: ${errnoName(-rc)}`))
    const v = frame.view
    writeOutHeader(v, OUT_HEADER_BYTES, -ERRNO.EIO, v.getUint32(8, true), v.getUint32(12, true))
    write(this.fd, frame.bytes, 0, OUT_HEADER_BYTES)
  }

  async leave(): Promise<void> {
    this.watch.close()
    await this.session.close()
    await this.notifier.close()
    close(this.fd)
    this.finish()
  }
}
