/**
 * Repairs the table of volumes: a row that cannot be read or leads to no volume goes, a volume that has no row gets the name
 * lost-NUMBER, and of two names the first stays.
 */
import { streamRows } from '../engine/index.js'
import type { Key } from '../engine/index.js'
import { PosixError } from '../sys/index.js'
import { readInodeOrNone } from './check.js'
import { volumeKey, VOLUMES_END, VOLUMES_FROM, volumeName } from './keys.js'
import { change, readerOf } from './repair-base.js'
import type { Repair } from './repair-base.js'
import { decodeVolume, encodeVolume } from './rows.js'
import { isVolumeInode } from './volumes.js'

export async function repairVolumes(repair: Repair, suspects: readonly number[]): Promise<void> {
  const r = readerOf(repair)
  const named = new Set<number>()
  const wrong: Key[] = []
  const rows = await streamRows(r, VOLUMES_FROM, VOLUMES_END)
  for (; rows.key !== undefined; await rows.advance()) {
    const ino = inoOf(rows.row.bytes)
    const inode = ino === undefined ? undefined : await readInodeOrNone(r, ino)
    if (inode !== undefined && isVolumeInode(inode) && !named.has(inode.ino)) named.add(inode.ino)
    else wrong.push(rows.key)
  }
  for (const key of wrong) {
    await change(repair, (tx) => tx.delete(key))
    repair.did(0, `volume ${JSON.stringify(volumeName(key))} led to no volume of its own: the name is gone`)
  }
  for (const ino of suspects) {
    const inode = ino === 0 || named.has(ino) ? undefined : await readInodeOrNone(r, ino)
    if (inode === undefined || !isVolumeInode(inode)) continue
    await change(repair, (tx) => tx.put(volumeKey(`lost-${ino}`), encodeVolume(ino)))
    repair.did(ino, `was a volume without a name, and is volume lost-${ino} now`)
  }
}

function inoOf(bytes: Uint8Array): number | undefined {
  try {
    return decodeVolume(bytes)
  } catch (e) {
    if (e instanceof PosixError) return undefined
    throw e
  }
}
