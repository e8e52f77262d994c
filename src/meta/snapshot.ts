/**
 * Taking a snapshot of a domain: one row more, and the domain's epoch grows by one. Constant time whatever the domain holds.
 * Every body reads the domain's row (validated), so that a snapshot lies cleanly between two transactions.
 */
import type { Tx } from '../engine/index.js'
import { checkName, fail } from './access.js'
import { encodeChange } from './events.js'
import { domainKey, snapshotKey } from './keys.js'
import type { Op } from './meta.js'
import { domainOfRow, encodeDomain, encodeSnapshot } from './rows.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

/** Its epoch: the view to read it at. ENOENT (no such domain), EEXIST. */
export function* snapshot(tx: Tx, op: Op, domain: number, name: string): Steps<number> {
  checkName(name)
  const row = yield* wait(tx.get(domainKey(domain)))
  if (row === undefined) throw fail('ENOENT')
  const key = snapshotKey(domain, name)
  if ((yield* wait(tx.get(key))) !== undefined) fail('EEXIST')
  const { epoch, root } = domainOfRow(domain, row)
  tx.put(key, encodeSnapshot({ epoch, sec: op.now.sec, nsec: op.now.nsec }))
  tx.put(domainKey(domain), encodeDomain({ domain, epoch: epoch + 1, newestSnapshot: epoch, root }))
  tx.change(encodeChange({ kind: 'snapshot', ino: root, name }))
  return epoch
}
