/**
 * Whether a loop looks for the next request before it sleeps, and for how long: learnt from how its waits ended.
 *   - A wait is either of the longest patience or of one look. Anything between would be in vain as often, and cost as much.
 *   - It is long while long waits mostly were rewarded. Else one of 16 is, to see whether that is still so: who sleeps cannot tell
 *     how soon the next request came, for the sleep itself takes longer than the program.
 */

const TRUST_MAX = 8
const TRUST_AT_FIRST = 4
const TRIAL_EVERY = 16 // waits

export interface Patience {
  readonly maxUs: number
  /** Of the wait that is under way, in us; 0: one look. */
  readonly us: number
  /** It ended with a request. The next one begins. */
  met(): void
  /** It ended without one. The next one begins. */
  missed(): void
}

export function makePatience(maxUs: number): Patience {
  let trust = TRUST_AT_FIRST
  let trial = 0
  const begin = (): void => {
    trial = trust > 0 ? 0 : (trial + 1) % TRIAL_EVERY
    patience.us = trust > 0 || trial === 0 ? maxUs : 0
  }
  const patience = {
    maxUs,
    us: maxUs,
    met() {
      if (patience.us > 0) trust = Math.min(trust + 1, TRUST_MAX)
      begin()
    },
    missed() {
      if (patience.us > 0) trust = Math.max(trust - 1, 0)
      begin()
    }
  }
  return patience
}
