/**
 * The loop over fuse devices: takes requests as soon as they are there, without blocking and without sleeping while they
 * keep coming.
 *   - A turn drains every device with read(2), lets promise jobs run (`await null`: handlers that only waited for memory
 *     finish, commits of one drain share one write), and looks again, all in one tick of the event loop. Every 500 us timers
 *     and I/O get their chance (setImmediate), every 50 us while handlers wait for them.
 *   - A turn that finds nothing for as long as its patience lasts ends in libuv's epoll, where the devices are: no pool
 *     thread waits, and one wake-up serves a device, a timer or an I/O that is done.
 *   - Patience is learnt (sys/patience.ts), one for an idle daemon and one for the time in which handlers wait for I/O: then the
 *     core is mostly better left to the I/O.
 *   - Each look takes finished reads of the disk too: one of them is an answer to be sent, and the next request.
 *   - While requests keep coming (8 within 8 ms) the cores are held awake.
 *   - A session with `inFlightMax` requests waiting is not read from: the kernel queues the rest, which is back-pressure.
 * An empty look costs 300 ns; a round trip of stat at queue depth 1 is measured by bench/.
 */
import { close, ERRNO, errnoName, errnoOf, makePatience, read, ring, watchReadable, write } from '../sys/index.js'
import type { Clock, CoreHold, Patience, Watch } from '../sys/index.js'
import type { Node } from '../vfs/index.js'
import { writeOutHeader } from './codec-header.js'
import type { Frame } from './frames.js'
import { Notifier } from './notify.js'
import { OUT_HEADER_BYTES } from './protocol.js'
import type { ReplySink, Session } from './session.js'

const DRAIN_MAX = 64 // requests between two chances for promise jobs
const TURN_US_MAX = 500 // then timers and I/O get theirs
const TURN_WAITING_US_MAX = 50 // the same while handlers wait for them
const SPIN_US = 30 // what a program needs from an answer to its next request, and some more
const SPIN_WAITING_US = 10
const PROMISE_JOBS_MAX = 32 // steps that handlers may take between two looks: 0.1 us each, a look is 0.3
const HOT_LOOKS = 4 // with requests, in one turn: then the device leaves epoll, which costs the kernel 150 ns a request
const HOLD_REQUESTS = 8
const HOLD_US = 8000
const NO_PAGES = -1

export interface ChannelOptions {
  readonly clock: Clock
  readonly hold: CoreHold
  /** The longest spin. */
  readonly spinUs?: number
  /** Requests of one device whose handlers wait; more are left to the kernel's queue. */
  readonly inFlightMax?: number
}

/** What the loop did so far. */
export interface ChannelFigures {
  /** The longest spin. */
  readonly spinUs: number
  /** Time in spins that found nothing. */
  readonly spunUs: number
  /** How often the thread went to sleep. */
  readonly sleeps: number
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
  private readonly inFlightMax: number
  private readonly idle: Patience
  private readonly busy: Patience
  private readonly ring = ring()
  private devices: readonly Device[] = []
  private readonly runTurn = (): void => void this.turn()
  private awake = false
  private spunUs = 0
  private sleeps = 0
  private blockStartUs = 0
  private blockRequests = 0

  constructor(options: ChannelOptions) {
    this.clock = options.clock
    this.hold = options.hold
    const spinUs = options.spinUs ?? SPIN_US
    this.idle = makePatience(spinUs)
    this.busy = makePatience(Math.min(spinUs, SPIN_WAITING_US))
    this.inFlightMax = options.inFlightMax ?? 512
  }

  /** Serves a device (open, mounted, non-blocking) from now on, and closes it in the end. */
  serve(fd: number, makeSession: (sink: ReplySink) => Session): Connection {
    const device = new Device(fd, makeSession, this.inFlightMax, () => this.wake())
    this.devices = [...this.devices, device]
    this.wake()
    return { session: device.session, notifier: device.notifier, done: device.done }
  }

  figures(): ChannelFigures {
    return { spinUs: this.idle.maxUs, spunUs: this.spunUs, sleeps: this.sleeps }
  }

  private wake(): void {
    if (this.awake) return
    this.awake = true
    setImmediate(this.runTurn)
  }

  private async turn(): Promise<void> {
    const startUs = this.clock.monotonicUs()
    let sinceUs = startUs
    let patience = this.waiting() > 0 ? this.busy : this.idle
    for (let looks = 0, hot = 0; ; looks++) {
      const found = this.look()
      let waiting = this.waiting()
      for (let i = 0; waiting > 0 && i < (found > 0 ? PROMISE_JOBS_MAX : 1); i++) {
        await null
        waiting = this.waiting()
      }
      const nowUs = this.clock.monotonicUs()
      const next = waiting > 0 ? this.busy : this.idle
      if (found > 0) {
        if (looks > 0) patience.met() // the first look found what has woken us
        this.countBusy(found, nowUs)
        if (++hot === HOT_LOOKS) for (const device of this.devices) device.watched(false)
        sinceUs = nowUs
      } else if (next !== patience) sinceUs = nowUs // the last one that waited has its answer
      else if (nowUs - sinceUs >= patience.us) {
        this.spunUs += nowUs - sinceUs
        patience.missed()
        return this.sleep()
      }
      patience = next
      if (nowUs - startUs > (waiting > 0 ? TURN_WAITING_US_MAX : TURN_US_MAX)) break
    }
    setImmediate(this.runTurn)
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
    this.sleeps++
    for (const device of this.devices) device.watched(!device.full)
  }

  private countBusy(found: number, nowUs: number): void {
    this.blockRequests += found
    if (this.blockRequests < HOLD_REQUESTS) return
    if (nowUs - this.blockStartUs < HOLD_US) this.hold.busy()
    this.blockRequests = 0
    this.blockStartUs = nowUs
  }
}

/** A device whose requests are taken when `drain` is called. */
export class Device implements ReplySink {
  readonly session: Session
  readonly notifier: Notifier
  readonly done: Promise<void>
  gone = false
  private readonly fd: number
  private readonly inFlightMax: number
  private readonly wake: () => void
  private readonly watch: Watch
  private isWatched = true
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
  }

  /** Too many handlers wait: they come first. */
  get full(): boolean {
    return this.session.inFlight >= this.inFlightMax
  }

  /** Whether a request wakes a loop that sleeps. */
  watched(on: boolean): void {
    if (on === this.isWatched) return
    this.isWatched = on
    if (on) this.watch.resume()
    else this.watch.pause()
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

  stale(node: Node, what: 'attributes' | 'pages'): Promise<unknown> {
    return this.notifier.invalInode(node, what === 'pages' ? 0 : NO_PAGES, 0)
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
