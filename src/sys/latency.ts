/**
 * Keeps the machine's cores awake while there is work: most of a small request's time is the wake-up of an idle core, ours
 * and the program's. An open /dev/cpu_dma_latency that holds the value 0 forbids deep sleep; closing it allows it again.
 *   normal: never.  auto: while busy, and silently not where the device is not ours.  low: as auto, but a device that
 *   cannot be opened is an error that names the way out.
 *   - Held only while `busy()` keeps being called; let go at most 100 ms after the last call, also when nothing else runs.
 *   - One hold serves the process: every front door shares it.
 * busy() costs a clock reading; taking hold costs two system calls, about 10 us (the first one after boot 100 to 400), at most 10 times a second.
 */
import { check } from './errno.js'
import type { Clock, Timer } from './clock.js'
import { close, open, O_WRONLY, write } from './files.js'

export type LatencyMode = 'auto' | 'low' | 'normal'

/** The device, as a parameter for tests. `open` answers a descriptor or the negative errno. */
export interface LatencyDevice {
  open(): number
  close(fd: number): void
}

export const cpuLatencyDevice: LatencyDevice = {
  open() {
    const fd = open('/dev/cpu_dma_latency', O_WRONLY)
    if (fd < 0) return fd
    const rc = write(fd, new Uint8Array(4), 0, 4) // 0 us, as a 32-bit number
    if (rc < 0) close(fd)
    return rc < 0 ? rc : fd
  },
  close(fd) {
    close(fd)
  }
}

export interface CoreHold {
  /** Requests keep coming: hold, or go on holding. */
  busy(): void
  /** Whether the device is held now. */
  readonly inForce: boolean
  /** What the mode comes to on this machine: 'normal' where the device is not ours. */
  readonly mode: LatencyMode
  close(): void
}

const CHECK_MS = 45 // quiet is noticed after one to two checks: within 90 ms

export function coreHold(options: { mode: LatencyMode, clock: Clock, device?: LatencyDevice }): CoreHold {
  const { clock, device = cpuLatencyDevice } = options
  let mode = options.mode
  let fd = -1
  let timer: Timer | undefined
  let seenBusy = false
  let closed = false

  const letGo = (): void => {
    timer?.stop()
    timer = undefined
    if (fd >= 0) device.close(fd)
    fd = -1
  }
  const look = (): void => {
    if (!seenBusy) letGo()
    seenBusy = false
  }
  const take = (): void => {
    fd = device.open()
    if (fd < 0) mode = 'normal'
    else timer = clock.every(CHECK_MS, look)
  }

  if (mode !== 'normal') { // a first try tells whether the device is ours
    const first = device.open()
    if (first >= 0) device.close(first)
    else if (mode === 'low') check(first, 'open', '/dev/cpu_dma_latency (only root may hold it: use latency=auto)')
    else mode = 'normal'
  }

  return {
    busy() {
      seenBusy = true
      if (fd < 0 && mode !== 'normal' && !closed) take()
    },
    get inForce() {
      return fd >= 0
    },
    get mode() {
      return mode
    },
    close() {
      closed = true
      letGo()
    }
  }
}
