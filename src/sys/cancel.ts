/**
 * Cancellation: an INTERRUPT, an unmount, an abort. Lighter than AbortSignal (no event target): one is made per request
 * that waits. A cancelled call may still finish; who waits for it gets EINTR or what it had done.
 */

export interface Cancel {
  readonly cancelled: boolean
  /** Calls `fn` once, at once if already cancelled; returns what takes it back. */
  onCancel(fn: () => void): () => void
}

export class CancelSource implements Cancel {
  cancelled = false
  /** Was cancelled or listened to: whoever reuses cancellations takes a new one then. */
  used = false
  private waiting: Set<() => void> | undefined

  onCancel(fn: () => void): () => void {
    this.used = true
    if (this.cancelled) {
      fn()
      return () => {}
    }
    const waiting = (this.waiting ??= new Set())
    waiting.add(fn)
    return () => waiting.delete(fn)
  }

  cancel(): void {
    if (this.cancelled) return
    this.cancelled = true
    this.used = true
    const waiting = this.waiting
    this.waiting = undefined
    if (waiting !== undefined) for (const fn of waiting) fn()
  }
}
