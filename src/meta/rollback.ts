/**
 * A volume becomes again what a snapshot of it shows.
 *   - One transaction decides it: snapshots younger than that one go, and a mark (U, domain) says which epoch the domain goes back to.
 *     From then on the newest snapshot is the one gone back to: what was born later is needed by no view, and what it replaced
 *     still lies in history.
 *   - The data floor then puts rows of history back in small transactions (data/restoring.ts), and the mark goes last. Nobody
 *     has the volume open meanwhile; after a crash the next opening goes on.
 */
import type { Reader, Tx } from '../engine/index.js'
import { fail } from './access.js'
import { encodeChange } from './events.js'
import { heldEpochs } from './holds.js'
import { domainKey, firstNumber, rollbackKey, snapshotKey, sweepKey } from './keys.js'
import { decodeRollback, decodeSnapshot, encodeDomain, encodeRollback, encodeSweep } from './rows.js'
import { domainAt, domainNow, snapshotsOf } from './snapshot.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

/** What happens to snapshots that are younger than the one gone back to. */
export type Younger = 'refuse' | 'remove'

/** A rollback that was decided and is not done. */
export interface Rollback {
  readonly domain: number
  readonly root: number
  /** The view that it becomes. */
  readonly epoch: number
}

const PAGE_ROWS = 256

/** ENOENT, EBUSY (one is under way), ENOTEMPTY (there are younger snapshots), ETXTBSY (a clone needs what the domain showed later). */
export function* rollBack(tx: Tx, domain: number, name: string, younger: Younger): Steps<Rollback> {
  const at = yield* domainNow(tx, domain)
  const { epoch: now, root } = at
  const row = yield* wait(tx.get(snapshotKey(domain, name)))
  if (row === undefined) throw fail('ENOENT')
  if ((yield* wait(tx.get(rollbackKey(domain)))) !== undefined) fail('EBUSY')
  const { epoch } = decodeSnapshot(row.bytes)
  const gone = (yield* snapshotsOf(tx, domain)).filter((s) => s.epoch > epoch)
  if (gone.length > 0 && younger === 'refuse') fail('ENOTEMPTY')
  if ((yield* heldEpochs(tx, domain)).some((held) => held > epoch)) fail('ETXTBSY')
  for (const s of gone) {
    tx.delete(snapshotKey(domain, s.name))
    tx.change(encodeChange({ kind: 'unsnapshot', ino: root, name: s.name }))
  }
  tx.put(domainKey(domain), encodeDomain({ ...at, newestSnapshot: epoch }))
  tx.put(sweepKey(domain), encodeSweep(now)) // what was replaced since then in history
  tx.put(rollbackKey(domain), encodeRollback(epoch))
  return { domain, root, epoch }
}

export function* rollbacksWanted(r: Reader): Steps<readonly Rollback[]> {
  const rows = yield* wait(r.scan({ from: rollbackKey(0), to: rollbackKey(2 ** 53 - 1), limit: PAGE_ROWS }))
  const found: Rollback[] = []
  for (const { key, row } of rows) {
    const domain = firstNumber(key)
    const at = yield* domainAt(r, domain)
    if (at !== undefined) found.push({ domain, root: at.root, epoch: decodeRollback(row.bytes) })
  }
  return found
}

export function* isRollingBack(r: Reader, domain: number): Steps<boolean> {
  return (yield* wait(r.get(rollbackKey(domain)))) !== undefined
}

export const rollbackDone = (tx: Tx, domain: number): void => tx.delete(rollbackKey(domain))
