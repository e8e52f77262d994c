/** The one context that every call through vfs, meta, engine and store carries: who asks, until when, what stops it. */
import type { Cancel } from './cancel.js'

export interface Context {
  uid: number
  gid: number
  pid: number
  groups: readonly number[] | undefined // supplementary groups; undefined: not known, ask /proc/pid if it matters
  deadlineMs: number // on the clock's monotonicMs; Infinity: none
  signal: Cancel | undefined
  traceId: number // of the request, for logs; 0: none
  alone: boolean // nobody else asks anything: what is known to be short may be waited for in the tick
}

/** Ourselves at start-up and at the command line: root's rights, no deadline. Never handed to a peer's request. */
export const rootContext: Readonly<Context> = Object.freeze({
  uid: 0, gid: 0, pid: 0, groups: Object.freeze([]), deadlineMs: Infinity, signal: undefined, traceId: 0, alone: false
})

/** Work of our own that can be stopped: checkpoints, reclaim, write-out. */
export function backgroundContext(signal?: Cancel, deadlineMs = Infinity): Context {
  return { uid: 0, gid: 0, pid: 0, groups: undefined, deadlineMs, signal, traceId: 0, alone: false }
}
