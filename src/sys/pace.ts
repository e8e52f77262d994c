/** The pace of work beside others': it works WORK_MS, then rests some times as long. So it has a part of the loop, and none of it for long. */
import type { Cancel } from './cancel.js'
import type { Clock } from './clock.js'

const WORK_MS = 1

export interface Pace {
  /** What came before is not the work's time. */
  begin(): void
  /** Rests, if it worked for long enough. */
  breathe(): Promise<void>
}

/** `restFactor`: 3 is a quarter of the loop at most. */
export function makePace(clock: Clock, restFactor: number, signal?: Cancel): Pace {
  let beganMs = clock.monotonicMs()
  const begin = (): void => void (beganMs = clock.monotonicMs())
  return {
    begin,
    async breathe() {
      const workedMs = clock.monotonicMs() - beganMs
      if (workedMs < WORK_MS) return
      await clock.sleep(workedMs * restFactor, signal)
      begin()
    }
  }
}
