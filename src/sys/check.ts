/** Asserts say what is true, errors what may happen. OGEE_CHECK=1 turns the costly ones on, and stack traces of errors. */

export const CHECKS: boolean = process.env.OGEE_CHECK === '1'

export function assert(holds: boolean, claim: string): asserts holds {
  if (!holds) throw new Error(`assertion failed: ${claim}`)
}
