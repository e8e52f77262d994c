/**
 * What a pool refuses, and why: one sentence that names the thing and the way out, and a reason from a closed list.
 *   - A Refusal is an expected outcome and is shown to the user as it is; anything else that is thrown is a mistake of ours.
 */
import { PosixError } from '../sys/index.js'
import type { ErrnoName } from '../sys/index.js'

export type Reason =
  | 'usage' // wrong arguments or options
  | 'missing' // no such folder, no such mount
  | 'not-a-pool' // a folder with something else in it
  | 'half-made' // pool files without a superblock
  | 'exists' // there is a pool already
  | 'damaged'
  | 'newer'
  | 'in-use'
  | 'denied' // permissions
  | 'read-only'
  | 'full'
  | 'busy' // the mount point
  | 'unsupported' // this machine lacks something
  | 'failed' // bytes may be lost

export class Refusal extends Error {
  readonly reason: Reason

  constructor(reason: Reason, sentence: string) {
    const limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
    super(sentence)
    Error.stackTraceLimit = limit
    this.reason = reason
  }
}

/** A sentence for each errno that is known here. */
export async function saying<T>(what: Partial<Record<ErrnoName, () => Refusal>>, act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (e) {
    const known = e instanceof PosixError ? what[e.code] : undefined
    throw known === undefined ? e : known()
  }
}
