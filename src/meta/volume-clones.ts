/**
 * Clones of volumes: a new volume that shows what another one shows at a view, and keeps only what is written to it. Constant time.
 *   - The view is a snapshot's, or one that is taken for the clone alone: an epoch without a name, which the clone holds (holds.ts).
 *   - Its row L is born in the first epoch of the clone's domain, so that every snapshot of it shows it.
 */
import { decodeOrigin, originKey, putOrigin } from '../data/index.js'
import type { Origin } from '../data/index.js'
import type { Reader, Tx } from '../engine/index.js'
import { fail } from './access.js'
import { encodeChange } from './events.js'
import { hold, holdsOn } from './holds.js'
import type { Hold } from './holds.js'
import { S_IFREG } from './inode.js'
import { domainKey, rollbackKey, volumeKey } from './keys.js'
import { blankInode } from './make.js'
import type { Inode, Op } from './words.js'
import { readInode } from './read.js'
import { damaged, encodeDomain, encodeVolume, PLAIN_DOMAIN } from './rows.js'
import type { Domain } from './rows.js'
import { domainNow, endBegun, snapshotNamed } from './snapshot.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { addUsage, putInode } from './write.js'

const UNIT_BYTES = 4096
const FIRST_EPOCH = 1

export interface VolumeCloneArgs {
  /** The origin's inode. */
  readonly origin: number
  /** The name of one, or the epoch of one that is begun and gets no name (taking.ts). */
  readonly snapshot: string | number
  readonly name: string
  readonly ino: number
}

/** ENOENT (no such snapshot), EEXIST, EBUSY (the origin is being rolled back). */
export function* cloneVolume(tx: Tx, op: Op, { origin, snapshot, name, ino }: VolumeCloneArgs): Steps<Inode> {
  if ((yield* wait(tx.get(volumeKey(name)))) !== undefined) fail('EEXIST')
  yield* domainNow(tx, origin) // of two changes at once one runs again
  if ((yield* wait(tx.get(rollbackKey(origin)))) !== undefined) fail('EBUSY')
  const taken = typeof snapshot === 'number' ? { epoch: snapshot } : yield* snapshotNamed(tx, origin, snapshot)
  if (taken === undefined) throw fail('ENOENT')
  const { epoch } = taken
  if (typeof snapshot === 'number') endBegun(tx, origin, epoch)
  const was = yield* wait(readInode(tx, origin, epoch))
  if (was === undefined) throw damaged(`inode ${origin}`)

  yield* hold(tx, origin, epoch, ino)
  const { sizeBytes, allocatedBytes, blocks512, inline } = was
  const domain: Domain = { domain: ino, epoch: FIRST_EPOCH, newestSnapshot: 0, root: ino, ...PLAIN_DOMAIN }
  tx.put(volumeKey(name), encodeVolume(ino))
  tx.put(domainKey(ino), encodeDomain(domain))
  putOrigin(tx, ino, { birth: FIRST_EPOCH, ino: origin, epoch, limit: Math.ceil(sizeBytes / UNIT_BYTES) * UNIT_BYTES })
  addUsage(tx, 1, sizeBytes)
  tx.change(encodeChange({ kind: 'make', ino, mode: S_IFREG | 0o600, name }))
  return putInode(tx, { ...blankInode(ino, S_IFREG | 0o600, domain, op), sizeBytes, durableSizeBytes: sizeBytes, allocatedBytes, blocks512, inline, hasOrigin: true })
}

/** What a clone has of another one; undefined: it is none, or none any more. */
export function* originOf(r: Reader, ino: number): Steps<Origin | undefined> {
  const row = yield* wait(r.get(originKey(ino)))
  const origin = row === undefined ? undefined : decodeOrigin(row.bytes)
  return origin === undefined || origin.limit === 0 ? undefined : origin
}

/** What needs views of a domain. */
export const clonesOf = (r: Reader, domain: number): Steps<readonly Hold[]> => holdsOn(r, domain)
