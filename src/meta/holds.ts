/**
 * Holds: a clone needs a view of its origin's domain, whether a snapshot with a name still shows that or not.
 *   - Row K (origin's domain, epoch, clone's domain). A held epoch counts as a snapshot: for what goes to history, for what history keeps,
 *     for the newest snapshot of the domain.
 *   - Who takes or releases one puts the origin domain's row, as who takes or removes a snapshot does: of two at once one runs again.
 *   - While a snapshot is taken its epoch is held for nobody (taking.ts).
 *   - It goes with the clone, or when nothing that the clone shows, now or in a snapshot, is its origin's any more (of a volume settleHolds in snapshot.ts, of a tree needed.ts).
 */
import type { KeyedRow, Reader, Tx } from '../engine/index.js'
import { fail } from './access.js'
import { domainKey, firstNumber, holdKey, holdsFrom, secondNumber, thirdNumber } from './keys.js'
import { domainOfRow, encodeDomain, encodeHold } from './rows.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

/** In the place of a clone's domain: what is held so is not yet there for anybody. */
export const NOBODY = 0

export interface Hold {
  readonly origin: number
  readonly epoch: number
  readonly clone: number
}

const PAGE_ROWS = 256

/** ENOENT: no such domain. */
export function* hold(tx: Tx, origin: number, epoch: number, clone: number): Steps<void> {
  const row = yield* wait(tx.get(domainKey(origin)))
  if (row === undefined) throw fail('ENOENT')
  const at = domainOfRow(origin, row)
  tx.put(holdKey(origin, epoch, clone), encodeHold())
  tx.put(domainKey(origin), encodeDomain({ ...at, newestSnapshot: Math.max(at.newestSnapshot, epoch) }))
}

/** Of one origin, oldest view first; or of all. */
export function* holdsOn(r: Reader, origin?: number): Steps<readonly Hold[]> {
  const found: Hold[] = []
  const to = holdsFrom(origin === undefined ? 2 ** 53 - 1 : origin + 1)
  for (let from = holdsFrom(origin ?? 0); ;) {
    const rows: readonly KeyedRow[] = yield* wait(r.scan({ from, to, limit: PAGE_ROWS }))
    for (const { key } of rows) found.push({ origin: firstNumber(key), epoch: secondNumber(key), clone: thirdNumber(key) })
    if (rows.length < PAGE_ROWS) return found
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

/** Views of a domain that clones hold, oldest first. */
export function* heldEpochs(r: Reader, domain: number): Steps<readonly number[]> {
  return [...new Set((yield* holdsOn(r, domain)).map((h) => h.epoch))]
}
