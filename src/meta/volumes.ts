/**
 * Volumes as transactions: an inode that no directory names, with a row of its own (V, name) that leads to it.
 *   - A volume's inode is a regular file with one link, no home (parent 0), and a domain of its own, whose number is the inode's and
 *     whose root it is: snapshots of a volume are snapshots of that domain.
 *   - Removing a volume is what the last unlink is to a file: the row goes, the inode joins the session's list, its bytes are freed
 *     later in small steps, and its domain's row goes with the inode. A volume with snapshots stays.
 *   - Its size is the data floor's to change (truncate).
 */
import { decodeOrigin, encodeOrigin, NOW, originKey } from '../data/index.js'
import type { Reader, Tx } from '../engine/index.js'
import { fail } from './access.js'
import { encodeChange } from './events.js'
import { holdsOn } from './holds.js'
import { isRegular, S_IFREG } from './inode.js'
import type { StoredInode } from './inode.js'
import { domainKey, orphanKey, snapshotsFrom, VOLUMES_END, VOLUMES_FROM, volumeKey, volumeName } from './keys.js'
import { blankInode } from './make.js'
import type { Inode, Op, VolumeRow } from './words.js'
import { readInode } from './read.js'
import { damaged, decodeVolume, encodeDomain, encodeOrphan, encodeVolume, PLAIN_DOMAIN, UNLINKED } from './rows.js'
import type { Domain } from './rows.js'
import { releaseHolds } from './snapshot.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { addUsage, domainOf, putInode, updateInode } from './write.js'

const PAGE_ROWS = 256

/** EEXIST. The inode as made; thin: it holds no space. */
export function* makeVolume(tx: Tx, op: Op, name: string, ino: number, sizeBytes: number): Steps<Inode> {
  const key = volumeKey(name)
  if ((yield* wait(tx.get(key))) !== undefined) fail('EEXIST')
  const domain: Domain = { domain: ino, epoch: 1, newestSnapshot: 0, root: ino, ...PLAIN_DOMAIN }
  tx.put(key, encodeVolume(ino))
  tx.put(domainKey(ino), encodeDomain(domain))
  addUsage(tx, 1, sizeBytes)
  tx.change(encodeChange({ kind: 'make', ino, mode: S_IFREG | 0o600, name }))
  return putInode(tx, { ...blankInode(ino, S_IFREG | 0o600, domain, op), sizeBytes, durableSizeBytes: sizeBytes })
}

export function* volumeNamed(r: Reader, name: string): Steps<number | undefined> {
  const row = yield* wait(r.get(volumeKey(name)))
  return row === undefined ? undefined : decodeVolume(row.bytes)
}

/** In order of names. */
export function* listVolumes(r: Reader): Steps<readonly VolumeRow[]> {
  const out: VolumeRow[] = []
  for (let from = VOLUMES_FROM; ;) {
    const rows = yield* wait(r.scan({ from, to: VOLUMES_END, limit: PAGE_ROWS }))
    for (const { key, row } of rows) out.push({ name: volumeName(key), ino: decodeVolume(row.bytes) })
    if (rows.length < PAGE_ROWS) return out
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

/** ENOENT, EEXIST. */
export function* renameVolume(tx: Tx, name: string, newName: string): Steps<void> {
  const row = yield* wait(tx.get(volumeKey(name)))
  if (row === undefined) throw fail('ENOENT')
  if ((yield* wait(tx.get(volumeKey(newName)))) !== undefined) fail('EEXIST')
  const ino = decodeVolume(row.bytes)
  tx.delete(volumeKey(name))
  tx.put(volumeKey(newName), encodeVolume(ino))
  tx.change(encodeChange({ kind: 'rename', ino, name, toName: newName }))
}

/** ENOENT, ENOTEMPTY (it has snapshots), ETXTBSY (something is a clone of it). The inode's number: its bytes are to be reclaimed. A clone holds nothing any more. */
export function* removeVolume(tx: Tx, op: Op, name: string): Steps<number> {
  const row = yield* wait(tx.get(volumeKey(name)))
  if (row === undefined) throw fail('ENOENT')
  const ino = decodeVolume(row.bytes)
  const inode: StoredInode | undefined = yield* wait(readInode(tx, ino, NOW))
  if (inode === undefined || !isVolumeInode(inode)) throw damaged(`volume ${name}`)
  const domain = yield* domainOf(tx, inode.domain) // a snapshot taken meanwhile makes the body run again
  const snapshots = yield* wait(tx.scan({ from: snapshotsFrom(ino), to: snapshotsFrom(ino + 1), limit: 1 }))
  if (snapshots.length > 0) fail('ENOTEMPTY')
  if ((yield* holdsOn(tx, ino)).length > 0) fail('ETXTBSY')
  tx.delete(volumeKey(name))
  const origin = yield* wait(tx.get(originKey(ino)))
  if (origin !== undefined) tx.put(originKey(ino), encodeOrigin({ ...decodeOrigin(origin.bytes), limit: 0 })) // goes with its bytes
  yield* releaseHolds(tx, ino)
  tx.put(orphanKey(op.session, ino), encodeOrphan(domain.epoch, UNLINKED))
  updateInode(tx, domain, inode, { nlink: 0, ctimeSec: op.now.sec, ctimeNsec: op.now.nsec })
  tx.change(encodeChange({ kind: 'unlink', ino, name }))
  return ino
}

/** What the inode of a volume looks like. */
export const isVolumeInode = (inode: Inode): boolean =>
  isRegular(inode) && inode.nlink === 1 && inode.parent === 0 && inode.domain === inode.ino
