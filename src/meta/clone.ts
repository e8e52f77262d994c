/**
 * Clones of trees: a new subvolume whose root is a clone of what a snapshot shows of a domain's root. Constant time: its entries are made
 * when somebody looks into it (visit.ts). The origin's snapshot is held as long as the clone's domain is there (holds.ts).
 */
import { putOrigin } from '../data/index.js'
import type { Tx } from '../engine/index.js'
import { fail } from './access.js'
import { encodeChange } from './events.js'
import type { NameHash } from './hash.js'
import { hold } from './holds.js'
import { isDirectory, S_IFDIR } from './inode.js'
import { directoryKey, domainKey } from './keys.js'
import { placeForNew } from './make.js'
import type { Inode, Op } from './words.js'
import { readInode } from './read.js'
import { demandInTree, holdOuter } from './replaced.js'
import { damaged, encodeDomain, PLAIN_DOMAIN } from './rows.js'
import type { Domain } from './rows.js'
import { domainNow, snapshotNamed } from './snapshot.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { CLONE_EPOCH, copied, copiedSlots, copyXattrs } from './visit.js'
import { addUsage, chargeHome, countEntry, putDentry, putInode } from './write.js'

export interface CloneArgs {
  /** The origin's domain, and the name of a snapshot of it. */
  readonly domain: number
  readonly snapshot: string
  readonly parent: number
  readonly name: string
  readonly ino: number
}

/** ENOENT (no such snapshot), EINVAL (not of a tree), EEXIST (something is at the new name), and the errors of mkdir. */
export function* cloneTree(tx: Tx, hash: NameHash, op: Op, { domain, snapshot, parent, name, ino }: CloneArgs): Steps<Inode> {
  const { dir, slot } = yield* placeForNew(tx, hash, op, parent, name)
  const { root } = yield* domainNow(tx, domain)
  const taken = yield* snapshotNamed(tx, domain, snapshot)
  if (taken === undefined) throw fail('ENOENT')
  const was = yield* wait(readInode(tx, root, taken.epoch))
  if (was === undefined) throw damaged(`the root of snapshot ${snapshot}`)
  if (!isDirectory(was)) fail('EINVAL')

  yield* hold(tx, domain, taken.epoch, ino)
  yield* demandInTree(tx, dir)
  const outer = yield* holdOuter(tx, dir.domain)
  const inner: Domain = { domain: ino, epoch: CLONE_EPOCH, newestSnapshot: 0, root: ino, ...PLAIN_DOMAIN }
  tx.put(domainKey(ino), encodeDomain(inner))
  const inode = putInode(tx, copied(was, { ino, domain: ino, parent, homeHigh: slot.place.high, homeLow: slot.place.low, hasOrigin: true, birth: CLONE_EPOCH }))
  tx.createCounters(directoryKey(ino), copiedSlots(was, CLONE_EPOCH))
  putOrigin(tx, ino, { birth: CLONE_EPOCH, ino: root, epoch: taken.epoch, limit: 0 })
  if (was.hasXattrs) yield* copyXattrs(tx, tx, root, taken.epoch, ino, CLONE_EPOCH)
  addUsage(tx, 1, 0)
  putDentry(tx, outer, parent, name, slot, ino, S_IFDIR)
  yield* countEntry(tx, outer, parent, inode, 1, op.now)
  yield* chargeHome(tx, outer, inode, 1)
  tx.change(encodeChange({ kind: 'make', ino, mode: inode.mode, parent, name }))
  return inode
}
