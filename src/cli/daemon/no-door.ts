/** The door of a daemon that mounts nothing: it ends when it is told to. */
import { coreHold } from '../../sys/index.js'
import type { Clock } from '../../sys/index.js'
import type { MountOptions } from '../options.js'
import type { Door } from './door.js'

export function noDoor(clock: Clock, mode: MountOptions['latency']): Door {
  const hold = coreHold({ mode, clock })
  let end: () => void = () => undefined
  const ended = new Promise<void>((resolve) => { end = resolve })
  return {
    device: '', hold, ended,
    isHeld: () => false,
    isHeldBetween: () => false,
    changed: () => Promise.resolve(),
    exchanged: () => Promise.resolve(),
    changedInode: async () => undefined,
    requests: () => 0,
    latency: () => ({ mode: hold.mode, inForce: hold.inForce, spinUs: 0, spunMs: 0, sleeps: 0 }),
    writeBack: () => Promise.resolve(),
    abandon: end,
    close() {
      hold.close()
      return Promise.resolve()
    }
  }
}
