/**
 * Time is a parameter: `systemClock` in production, `manualClock` in tests and simulation; nothing above sys asks anyone else.
 *   - realtime fills the caller's pair: file times. It follows the kernel's CLOCK_REALTIME within 1 us (anchored to it every
 *     100 ms and carried on by the monotonic clock between), and goes back only if that clock was set back by 1 ms or more.
 *   - monotonic time has no meaning but its differences, and never goes back.
 * systemClock.realtime costs about 90 ns, monotonicUs 40 ns (a clock_gettime through koffi: 250 ns).
 */
import { get64 } from './bytes.js'
import { bind } from './native.js'
import type { Cancel } from './cancel.js'

/** One instant: seconds since 1970 (negative before), and 0 <= nsec < 10^9. */
export interface Timespec {
  sec: number
  nsec: number
}

export interface Timer {
  /** Takes it back; a timer that fired already ignores it. */
  stop(): void
}

export interface Clock {
  realtime(out: Timespec): void
  monotonicMs(): number
  monotonicUs(): number
  /** Calls `fn` once after `ms`. A timer does not keep the process alive. */
  after(ms: number, fn: () => void): Timer
  every(ms: number, fn: () => void): Timer
  /** Resolves after `ms`, or as soon as the signal is cancelled. Keeps the process alive. */
  sleep(ms: number, signal?: Cancel): Promise<void>
}

const CLOCK_REALTIME = 0
const ANCHOR_MS = 100 // a clock that is slewed by 500 ppm drifts 50 us in that time
const STEP_NS = 1_000_000 // smaller steps back are jitter of the anchor: the clock stands still instead

const clockGettime = bind<[number, Uint8Array]>('int clock_gettime(int clock, void *ts)')
const adjtimex = bind<[Uint8Array]>('int adjtimex(void *timex)')
const TIME_ERROR = 5
const TIMEX_BYTES = 256 // struct timex has 208; modes 0: only look

/** Whether something keeps the system's clock in step with a time server; undefined where that cannot be asked. */
export function clockIsSynchronised(): boolean | undefined {
  const rc = adjtimex(new Uint8Array(TIMEX_BYTES))
  return rc < 0 ? undefined : rc !== TIME_ERROR
}

const kernelTime = new Uint8Array(16)
const kernelTimeView = new DataView(kernelTime.buffer)

let anchorMs = -Infinity // monotonic
let anchorSec = 0
let anchorNsec = 0
let lastSec = 0
let lastNsec = 0

function anchor(nowMs: number): void {
  clockGettime(CLOCK_REALTIME, kernelTime)
  anchorSec = get64(kernelTimeView, 0)
  anchorNsec = kernelTimeView.getUint32(8, true)
  anchorMs = (nowMs + performance.now()) / 2 // the call lies between the two readings
}

function realtime(out: Timespec): void {
  let nowMs = performance.now()
  if (nowMs - anchorMs > ANCHOR_MS) {
    anchor(nowMs)
    nowMs = performance.now()
  }
  let sec = anchorSec
  let nsec = (anchorNsec + Math.round((nowMs - anchorMs) * 1e6)) | 0 // a small integer: inodes that keep it need no box for it
  while (nsec >= 1e9) {
    nsec -= 1e9
    sec++
  }
  const back = (lastSec - sec) * 1e9 + (lastNsec - nsec)
  if (back > 0 && back < STEP_NS) {
    sec = lastSec
    nsec = lastNsec
  }
  lastSec = sec
  lastNsec = nsec
  out.sec = sec
  out.nsec = nsec
}

const timerOf = (handle: NodeJS.Timeout): Timer => {
  handle.unref()
  return { stop: () => clearTimeout(handle) }
}

export const systemClock: Clock = {
  realtime,
  monotonicMs: () => performance.now(),
  monotonicUs: () => performance.now() * 1000,
  after: (ms, fn) => timerOf(setTimeout(fn, ms)),
  every: (ms, fn) => timerOf(setInterval(fn, ms)),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.cancelled === true) return resolve()
      const handle = setTimeout(done, ms)
      const unlisten = signal?.onCancel(done)
      function done(): void {
        clearTimeout(handle)
        unlisten?.()
        resolve()
      }
    })
}

interface Due {
  atMs: number
  everyMs: number // 0: once
  fn: () => void
  stopped: boolean
}

/** A clock that stands still until it is told to move. Timers fire inside `advance`, in the order of their times. */
export interface ManualClock extends Clock {
  advance(ms: number): void
  /** Moves on and lets promise jobs run after every timer. */
  advanceAsync(ms: number): Promise<void>
  /** Sets the wall clock; monotonic time is not touched. */
  setRealtime(sec: number, nsec: number): void
  /** Timers that wait: a test's end expects 0. */
  readonly pending: number
}

export function manualClock(startSec = 1_700_000_000): ManualClock {
  let nowMs = 0
  let baseSec = startSec
  let baseNsec = 0
  let baseMs = 0
  let due: Due[] = []

  const add = (ms: number, everyMs: number, fn: () => void): Timer => {
    const item: Due = { atMs: nowMs + ms, everyMs, fn, stopped: false }
    due.push(item)
    return {
      stop() {
        item.stopped = true
        due = due.filter((d) => d !== item)
      }
    }
  }

  /** Fires the earliest timer up to `untilMs`; of equal times the one made first. */
  const fireNext = (untilMs: number): boolean => {
    let next: Due | undefined
    for (const d of due) if (d.atMs <= untilMs && (next === undefined || d.atMs < next.atMs)) next = d
    if (next === undefined) return false
    nowMs = Math.max(nowMs, next.atMs)
    if (next.everyMs > 0) next.atMs += next.everyMs
    else due = due.filter((d) => d !== next)
    next.fn()
    return true
  }

  return {
    get pending() {
      return due.length
    },
    realtime(out) {
      const ns = baseNsec + Math.round((nowMs - baseMs) * 1e6)
      out.sec = baseSec + Math.floor(ns / 1e9)
      out.nsec = ns - Math.floor(ns / 1e9) * 1e9
    },
    monotonicMs: () => nowMs,
    monotonicUs: () => nowMs * 1000,
    after: (ms, fn) => add(ms, 0, fn),
    every: (ms, fn) => add(ms, ms, fn),
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.cancelled === true) return resolve()
        const timer = add(ms, 0, done)
        const unlisten = signal?.onCancel(done)
        function done(): void {
          timer.stop()
          unlisten?.()
          resolve()
        }
      }),
    advance(ms) {
      const untilMs = nowMs + ms
      while (fireNext(untilMs)) continue
      nowMs = untilMs
    },
    async advanceAsync(ms) {
      const untilMs = nowMs + ms
      const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
      await settle()
      while (fireNext(untilMs)) await settle()
      nowMs = untilMs
      await settle()
    },
    setRealtime(sec, nsec) {
      baseSec = sec
      baseNsec = nsec
      baseMs = nowMs
    }
  }
}
