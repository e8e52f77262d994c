/**
 * Waiting for descriptors. The loop's own way is `watchReadable`: the descriptor joins libuv's epoll, so that the thread
 * that sleeps is the thread that serves, one wake-up per burst and no pool thread held. poll, epoll and eventfd are there
 * for what waits outside a loop.
 */
import koffi from 'koffi'
import { bind, offLoop, result } from './native.js'
import { EPOLL_DATA_AT, EPOLL_EVENT_BYTES } from './platform.js'

export const POLLIN = 1
export const POLLOUT = 4
export const POLLERR = 8
export const POLLHUP = 16
export const EPOLLIN = 1
export const EPOLL_CTL_ADD = 1
export const EPOLL_CTL_DEL = 2
export const EPOLL_CTL_MOD = 3

const EPOLL_CLOEXEC = 0x80000
const EFD_FLAGS = 0x80000 | 0x800 // close on exec, non-blocking

const libc = {
  poll: bind<[Uint8Array, number, number]>('int poll(void *fds, unsigned long nfds, int timeout)'),
  epoll_create1: bind<[number]>('int epoll_create1(int flags)'),
  epoll_ctl: bind<[number, number, number, Uint8Array]>('int epoll_ctl(int epfd, int op, int fd, void *event)'),
  epoll_wait: bind<[number, Uint8Array, number, number]>('int epoll_wait(int epfd, void *events, int max, int timeout)'),
  eventfd: bind<[number, number]>('int eventfd(unsigned int value, int flags)')
}

const pollfd = Buffer.alloc(8)

/** poll(2) of one descriptor: the events that came (0: none in time), or the negative errno. */
export function pollOne(fd: number, events: number, timeoutMs: number): number {
  pollfd.writeInt32LE(fd, 0)
  pollfd.writeInt32LE(events, 4) // events, and revents = 0
  const rc = result(libc.poll(pollfd, 1, timeoutMs))
  return rc <= 0 ? rc : pollfd.readUInt16LE(6)
}

export async function pollOneOffLoop(fd: number, events: number, timeoutMs: number): Promise<number> {
  const own = Buffer.alloc(8)
  own.writeInt32LE(fd, 0)
  own.writeInt32LE(events, 4)
  const rc = await offLoop(libc.poll, own, 1, timeoutMs)
  return rc <= 0 ? rc : own.readUInt16LE(6)
}

export const epollCreate = (): number => result(libc.epoll_create1(EPOLL_CLOEXEC))

const epollEvent = Buffer.alloc(16)

/** `token` (32 bits) comes back with the event. */
export function epollControl(epfd: number, op: number, fd: number, events: number, token: number): number {
  epollEvent.writeUInt32LE(events, 0)
  epollEvent.writeUInt32LE(token, EPOLL_DATA_AT)
  return result(libc.epoll_ctl(epfd, op, fd, epollEvent))
}

/** Room for what one wait brings; the tokens and events of the last wait are read from it. */
export class EpollEvents {
  readonly bytes: Buffer
  readonly max: number

  constructor(max: number) {
    this.max = max
    this.bytes = Buffer.alloc(max * EPOLL_EVENT_BYTES)
  }

  events(i: number): number {
    return this.bytes.readUInt32LE(i * EPOLL_EVENT_BYTES)
  }

  token(i: number): number {
    return this.bytes.readUInt32LE(i * EPOLL_EVENT_BYTES + EPOLL_DATA_AT)
  }
}

export const epollWait = (epfd: number, into: EpollEvents, timeoutMs: number): number =>
  result(libc.epoll_wait(epfd, into.bytes, into.max, timeoutMs))
export const epollWaitOffLoop = (epfd: number, into: EpollEvents, timeoutMs: number): Promise<number> =>
  offLoop(libc.epoll_wait, epfd, into.bytes, into.max, timeoutMs)

export const eventfd = (): number => result(libc.eventfd(0, EFD_FLAGS))

export type Readiness = 'readable' | 'writable' | 'both'

export interface Watch {
  /** Watches again after `pause`, for bytes or for room to write. Cheap: no system call before libuv sleeps next. */
  resume(what?: Readiness): void
  pause(): void
  /** Whether it keeps the process alive while it watches: yes, unless `unref` was called last. */
  ref(): void
  unref(): void
  /** Forgets the descriptor; it may be closed afterwards. */
  close(): void
}

interface PollHandle { // koffi.node is not in its documentation; the version is pinned, test/sys/events.test.ts holds it
  start(options: { readable?: boolean, writable?: boolean, disconnect: boolean }, fn: (status: number) => void): void
  stop(): void
  ref(): void
  unref(): void
  close(): void
}
const uvPoll = (koffi as unknown as {
  node: { poll(fd: number, options: object, fn: (status: number) => void): PollHandle }
}).node.poll

const WATCHED = {
  readable: { readable: true, disconnect: false }, writable: { writable: true, disconnect: false }, both: { readable: true, writable: true, disconnect: false }
} as const

/**
 * Calls `fn` from the loop whenever the descriptor is readable or in error (read it: the read tells). It fires again as long
 * as that lasts, unless paused. Promise jobs that `fn` starts run at the loop's next callback, not at once: a setImmediate
 * in `fn` runs them right after. Keeps the process alive while it watches.
 */
export function watchReadable(fd: number, fn: () => void): Watch {
  const ready = (): void => fn()
  const handle = uvPoll(fd, WATCHED.readable, ready)
  return {
    resume: (what = 'readable') => handle.start(WATCHED[what], ready),
    pause: () => handle.stop(),
    ref: () => handle.ref(),
    unref: () => handle.unref(),
    close: () => handle.close()
  }
}
