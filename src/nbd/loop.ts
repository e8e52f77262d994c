/**
 * Carries connections over plain sockets, by descriptor and without streams: read(2) as soon as bytes are there, one write(2) for all replies of a
 * look, and no sleep while requests keep coming.
 *   - A turn looks at every connection that had something lately, takes finished I/O of the disk, lets promise jobs run, sends what became ready, and
 *     looks again while that mostly pays (sys/patience.ts: one patience for an idle loop, one while requests wait for I/O), all in one tick. After 500 us,
 *     50 while requests wait, timers and I/O get their chance. (The fuse door's loop does the same over /dev/fuse.)
 *   - A loop out of patience gives its connections to libuv's epoll; while it goes on, one that had nothing for `quietUs` goes alone: a thousand idle
 *     ones cost nothing.
 *   - A connection that is full is not read; one whose client does not fetch its replies waits for room, in epoll.
 *   - The cores are held awake while requests keep coming.
 */
import { close, ERRNO, makePatience, read, ring, watchReadable, write } from '../sys/index.js'
import type { Clock, CoreHold, Watch } from '../sys/index.js'
import type { Connection, Wire } from './connection.js'

const SHARED_BYTES = 256 * 1024
const TURN_US_MAX = 500
const TURN_WAITING_US_MAX = 50 // while requests wait for I/O that completes between turns
const PROMISE_JOBS_MAX = 32
const SPIN_US = 60 // what a program needs from an answer to its next request: a socket takes longer than /dev/fuse
const SPIN_WAITING_US = 10
const HOLD_READS = 8
const HOLD_US = 8000

export interface LoopOptions {
  readonly clock: Clock
  readonly hold: CoreHold
  /** The longest spin. */
  readonly spinUs?: number
  readonly quietUs?: number
}

export interface Loop {
  /** Serves a socket (non-blocking) and closes it in the end; `secure` gets the descriptor instead when the client begins TLS. */
  add(fd: number, make: (wire: Wire) => Connection, secure: (fd: number, connection: Connection) => void): void
}

interface Peer {
  readonly fd: number
  connection: Connection
  readonly watch: Watch
  isHot: boolean
  /** Replies are ready that the last look did not send. */
  isReady: boolean
  /** A send found no room: epoll says when there is. */
  isStuck: boolean
  isGone: boolean
  foundUs: number
}

export function makeLoop({ clock, hold, spinUs = SPIN_US, quietUs = 120 }: LoopOptions): Loop {
  const idle = makePatience(spinUs)
  const busy = makePatience(Math.min(spinUs, SPIN_WAITING_US))
  const disk = ring()
  const shared = Buffer.allocUnsafeSlow(SHARED_BYTES)
  let hot: Peer[] = []
  let running = false
  let inTurn = false
  let blockStartUs = 0
  let blockReads = 0

  const wake = (peer: Peer): void => {
    if (!peer.isHot && !peer.isGone) {
      peer.isHot = true
      peer.foundUs = clock.monotonicUs()
      peer.watch.pause()
      hot.push(peer)
    }
    if (running || inTurn) return
    running = true
    setImmediate(runTurn)
  }

  /** Whether anything came. */
  const look = (peer: Peer): boolean => {
    const { connection } = peer
    let found = false
    while (!peer.isGone && !connection.isFull) {
      const target = connection.target
      const room = target === undefined ? SHARED_BYTES : target.length
      const n = target === undefined ? read(peer.fd, shared, 0, room) : read(peer.fd, target.bytes, target.at, room)
      if (n > 0) {
        found = true
        if (target === undefined) connection.take(shared, 0, n)
        else connection.took(n)
        if (n < room) break
      } else if (n === -ERRNO.EAGAIN || n === -ERRNO.EINTR) break
      else {
        connection.ended(n === 0 || n === -ERRNO.ECONNRESET ? undefined : `reading failed (errno ${-n})`)
        break
      }
    }
    return found
  }

  const lookAtAll = (nowUs: number, waits: number): boolean => {
    let found = waits > 0 && disk !== undefined && disk.reap() > 0
    for (const peer of hot) {
      if (!look(peer)) continue
      found = true
      peer.foundUs = nowUs
    }
    return found
  }

  const sendAll = (): void => {
    for (const peer of hot) {
      peer.isReady = false
      if (!peer.isGone && !peer.isStuck) peer.connection.flush()
    }
  }

  const waiting = (): number => {
    let n = 0
    for (const { connection } of hot) n += connection.inFlight
    return n
  }

  const turn = async (): Promise<void> => {
    running = false
    inTurn = true
    const startUs = clock.monotonicUs()
    let nowUs = startUs
    let sinceUs = startUs
    let waits = waiting()
    let patience = waits > 0 ? busy : idle
    let isOver = false
    for (let looks = 0; !isOver; looks++) {
      const found = lookAtAll(nowUs, waits)
      await null
      waits = waiting()
      for (let i = 1; waits > 0 && i < (found ? PROMISE_JOBS_MAX : 1); i++) { // what is in memory is answered before anything else happens
        await null
        waits = waiting()
      }
      sendAll()
      nowUs = clock.monotonicUs()
      const next = waits > 0 ? busy : idle
      if (found) {
        if (looks > 0) patience.met() // the first look found what has woken us
        sinceUs = nowUs
        countBusy(nowUs)
      } else if (next !== patience) sinceUs = nowUs // the last one that waited has its answer
      else if (nowUs - sinceUs >= patience.us) {
        patience.missed()
        isOver = true
      }
      patience = next
      if (nowUs - startUs > (waits > 0 ? TURN_WAITING_US_MAX : TURN_US_MAX)) break
    }
    rest(isOver ? Infinity : nowUs)
    inTurn = false
    if (hot.length === 0 || running) return
    running = true
    setImmediate(runTurn)
  }
  const runTurn = (): void => void turn()

  /** Who had nothing for a while waits in epoll; at Infinity all that are not about to say something. */
  const rest = (nowUs: number): void => {
    const stay: Peer[] = []
    for (const peer of hot) {
      if (peer.isGone) continue
      if (!peer.isStuck && (nowUs - peer.foundUs < quietUs || peer.isReady)) stay.push(peer)
      else {
        peer.isHot = false
        if (peer.isStuck) peer.watch.resume(peer.connection.isFull ? 'writable' : 'both')
        else if (!peer.connection.isFull) peer.watch.resume()
      }
    }
    hot = stay
  }

  const countBusy = (nowUs: number): void => {
    if (++blockReads < HOLD_READS) return
    if (nowUs - blockStartUs < HOLD_US) hold.busy()
    blockReads = 0
    blockStartUs = nowUs
  }

  return {
    add(fd, make, secure) {
      const peer: Peer = { fd, connection: undefined as never, watch: watchReadable(fd, () => ready()), isHot: false, isReady: false, isStuck: false, isGone: false, foundUs: 0 }
      const ready = (): void => {
        peer.isStuck = false
        wake(peer)
      }
      const leave = (): void => {
        peer.isGone = true
        peer.watch.close()
      }
      peer.watch.pause()
      peer.connection = make({
        send(bytes, at, length) {
          const n = write(fd, bytes, at, length)
          if (n < length && (n >= 0 || n === -ERRNO.EAGAIN || n === -ERRNO.EINTR)) peer.isStuck = true
          return n === -ERRNO.EAGAIN || n === -ERRNO.EINTR ? 0 : n
        },
        ready() {
          peer.isReady = true
          wake(peer)
        },
        secure() {
          leave()
          secure(fd, peer.connection)
        },
        close() {
          if (peer.isGone) return
          leave()
          close(fd)
        }
      })
      wake(peer)
    }
  }
}
