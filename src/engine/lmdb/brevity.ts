/**
 * Whether an fdatasync of the log is so short that waiting for it in the tick costs less than having another thread wait: learnt from
 * those before. 16 in a row took less than half a millisecond, however they were called; one that took longer, and 16 are called off the
 * loop again. A disk that is slow or hangs stops the loop once. docs/decisions/0017.
 */
const BRIEF_US = 500
const TRUST_AFTER = 16

export interface Brevity {
  trusted(): boolean
  took(us: number): void
}

export function makeBrevity(): Brevity {
  let inARow = 0
  return {
    trusted: () => inARow >= TRUST_AFTER,
    took(us) {
      inARow = us <= BRIEF_US ? inARow + 1 : 0
    }
  }
}
