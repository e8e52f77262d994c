/**
 * Where a clone has its bytes from: row L, beside the clone's own rows. Where it has nothing of its own it shows what another inode
 * shows at a view, below a limit; of a folder it says that its entries were not copied yet.
 *   - Key (L, ino u64 BE). Value: version u8, birth u64, then 9 origin's inode u64, 17 epoch u64 (the view), 25 limit u64 (bytes, whole units).
 *   - A value row like any other: what a snapshot of the clone shows of it goes to history. The limit only ever falls.
 *   - What the view shows does not change while it is held (row K, meta/holds.ts).
 */
import { get64, PosixError, set64, viewOf } from '../sys/index.js'
import type { Key, Reader, Tx } from '../engine/index.js'
import { NOW } from './content.js'
import type { View } from './content.js'
import { birthOf, pastAt } from './history.js'
import { rowsFrom } from './rows.js'

export const ORIGIN_KIND = 'L'
const VERSION = 1
const BYTES = 33

export interface Origin {
  readonly birth: number
  /** The inode, and the view of it. */
  readonly ino: number
  readonly epoch: number
  readonly limit: number
}

export const originKey = (ino: number): Key => rowsFrom(ORIGIN_KIND, ino)

export function encodeOrigin(origin: Origin): Uint8Array {
  const bytes = new Uint8Array(BYTES)
  const v = viewOf(bytes)
  bytes[0] = VERSION
  set64(v, 1, origin.birth)
  set64(v, 9, origin.ino)
  set64(v, 17, origin.epoch)
  set64(v, 25, origin.limit)
  return bytes
}

export function decodeOrigin(bytes: Uint8Array): Origin {
  if (bytes.length !== BYTES || bytes[0] !== VERSION) throw new PosixError('EIO', 'a row that says what is a clone of what is damaged: unmount the pool and run "ogee fsck"')
  const v = viewOf(bytes)
  return { birth: get64(v, 1), ino: get64(v, 9), epoch: get64(v, 17), limit: get64(v, 25) }
}

/** Of an inode that had none. */
export const putOrigin = (tx: Tx, ino: number, origin: Origin): void => tx.put(originKey(ino), encodeOrigin(origin))

/** Row L of an inode as a view shows it. */
export async function originAt(reader: Reader, ino: number, view: View): Promise<Origin | undefined> {
  const key = originKey(ino)
  const row = await reader.get(key)
  if (row !== undefined && (view === NOW || birthOf(row.bytes) <= view)) return decodeOrigin(row.bytes)
  const past = view === NOW ? undefined : await pastAt(reader, key, view)
  return past === undefined ? undefined : decodeOrigin(past.bytes)
}
