// src/sys/index.ts: the machine below: system calls, time, chance, bytes, errors. Everything else imports from here.
export { assert, CHECKS } from './check.js'
export { kernelVersion, bootId, platformRefusal, requirePlatform } from './platform.js'
export { addressOf } from './native.js'
export { alignedBytes, lastingBytes, PAGE_BYTES } from './memory.js'
export { POOL_ENVIRONMENT } from './native.js' // UV_THREADPOOL_SIZE, for whoever spawns a daemon
export { check, ERRNO, errnoName, errnoOf, onUnknownError, PosixError, SysError } from './errno.js'
export type { ErrnoName } from './errno.js'
export { CancelSource } from './cancel.js'
export type { Cancel } from './cancel.js'
export { backgroundContext, rootContext } from './context.js'
export type { Context } from './context.js'
export { clockIsSynchronised, manualClock, systemClock } from './clock.js'
export type { Clock, ManualClock, Timer, Timespec } from './clock.js'
export { makePatience } from './patience.js' // how long a loop looks before it sleeps
export type { Patience } from './patience.js'
export { makePace } from './pace.js' // of work in the background
export type { Pace } from './pace.js'
export { seededRandom, systemRandom } from './random.js'
export type { Random } from './random.js'
export * from './bytes.js' // get64, set64, halves, byte strings
export { crc32 } from './checksum.js'
export { traceLine, traceOn } from './trace.js'
export { ring } from './ring.js' // reads through io_uring; undefined where there is none
export type { Ring } from './ring.js'
export { asks, asksAlone, NBD_CLIENT } from './asker.js'
export { coreHold, cpuLatencyDevice } from './latency.js'
export type { CoreHold, LatencyDevice, LatencyMode } from './latency.js'

export * from './files.js' // open ... pwritev2, fdatasync; offLoop.pread ...
export * from './events.js' // watchReadable, poll, epoll, eventfd
export * from './sockets.js' // socketPair, receiveFd, sendFd
export * from './mounting.js' // mount, umountOffLoop, MS_*
export { MOUNT_TYPE, parseMountinfo, readMounts, topMountAt } from './mountinfo.js'
export type { MountEntry } from './mountinfo.js'
export * from './processes.js' // prctl, setThreadName, pageSize
