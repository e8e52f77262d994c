/** Repairs what an inode says of its bytes: allocated, durable, pending. Bytes themselves are never changed, only rows of nobody dropped. */
import { EXTENT_KIND, feedFile, makeFileCheck, PENDING_KIND, rowsFrom, tentativeKey, encodeTentative, TENTATIVE_KIND } from '../data/index.js'
import { streamRows } from '../engine/index.js'
import type { Reader } from '../engine/index.js'
import { blocksOf, isRegular } from './inode.js'
import { readInodeOrNone } from './check.js'
import { change, dropRows, readerOf } from './repair-base.js'
import type { Repair } from './repair-base.js'
import { run } from './steps.js'
import type { Steps } from './steps.js'
import { domainOf, updateInode } from './write.js'

/** What the rows of a file come to. */
export async function bytesOf(r: Reader, ino: number): Promise<{ readonly rows: number; readonly endBytes: number; readonly allocatedBytes: number; readonly isTentative: boolean }> {
  const check = makeFileCheck(undefined, () => undefined)
  const stream = (kind: string): ReturnType<typeof streamRows> => streamRows(r, rowsFrom(kind, ino), rowsFrom(kind, ino + 1), 128)
  await feedFile(check, ino, await stream(EXTENT_KIND), await stream(PENDING_KIND), await stream(TENTATIVE_KIND))
  return { rows: check.rows, ...check.sums() }
}

export async function dropBytes(repair: Repair, ino: number): Promise<number> {
  let dropped = 0
  for (const kind of [EXTENT_KIND, PENDING_KIND, TENTATIVE_KIND]) dropped += await dropRows(repair, rowsFrom(kind, ino))
  return dropped
}

/** A file with rows that cannot be keeps them, and gives EIO, as long as it has a name; then all of its rows go. */
export async function repairBytes(repair: Repair, ino: number): Promise<void> {
  if ((await readInodeOrNone(readerOf(repair), ino))?.nlink !== 0) return
  const dropped = await dropBytes(repair, ino)
  if (dropped > 0) repair.did(ino, `has no name any more: ${dropped} rows of its bytes are gone`)
}

export async function repairContent(repair: Repair, ino: number): Promise<void> {
  const r = readerOf(repair)
  const inode = await readInodeOrNone(r, ino)
  if (inode === undefined || !isRegular(inode)) return
  const { allocatedBytes, isTentative } = await bytesOf(r, ino)
  const allocated = allocatedBytes + (inode.inline?.length ?? 0)
  const durableSizeBytes = Math.min(Math.max(0, inode.durableSizeBytes), inode.sizeBytes)
  const needsRow = isTentative || durableSizeBytes < inode.sizeBytes
  await change(repair, (tx) => run(function* (): Steps<void> {
    const domain = yield* domainOf(tx, inode.domain)
    if (needsRow) tx.put(tentativeKey(ino), encodeTentative(domain.epoch))
    else tx.delete(tentativeKey(ino))
    updateInode(tx, domain, inode, { allocatedBytes: allocated, blocks512: blocksOf(allocated), durableSizeBytes })
  }()))
  repair.did(ino, `has ${allocated} bytes allocated, as its rows say`)
}
