/**
 * The data floor: from extents to bytes. A file's bytes live in four places, each over the next:
 *   inline     the whole file in the inode's value, while it is small (INLINE_MAX_BYTES) and was never larger;
 *   logged     bytes of small writes (up to LOGGED_MAX_BYTES each, as long as they are few), as value rows of the engine: they ride in the log
 *              and need nothing but the log's fdatasync. A background flush gathers them, allocates, writes them to the
 *              store, syncs the store, and only then removes the rows and puts extents in one transaction;
 *   tentative  extents whose bytes are in the page cache of the store, not yet synced. Believed after the daemon's
 *              death (same boot), dropped after a power cut, and then no size covers them (durableSizeBytes);
 *   extents    bytes that were synced before the record was committed. Absent ranges are holes and read as zeros;
 *              an extent may be `unwritten` (fallocate): space that is held and reads as zeros.
 * What must stay true:
 *   - Bytes reach the store, synced, before the extent that points to them is durable; else it is tentative.
 *   - While a range is logged, every write over it is logged too, until the flush has synced it in the store.
 *   - An extent is overwritten in place only if born after the domain's newest snapshot, and nobody else's; else new units are taken.
 *   - Units that a transaction freed are handed out again only when that transaction is durable and every read that
 *     began before it has ended.
 *   - Writes, truncations, flushes of one file happen one after the other (a lock per inode in this floor).
 */
import type { Context } from '../sys/index.js'
import type { Key, MaybePromise, Tx } from '../engine/index.js'
import type { ByteRange } from './comparing.js'
import type { Content, ContentEffects, CopyWish, Owed, Part, View } from './content.js'

/** How a clone gets what it shows of its origin: in units of its own, or in those of the origin where both may have them. */
export type FlattenHow = 'copy' | 'share'

export interface Data {
  /** Fewer bytes than asked only at the end of the file. */
  read(ctx: Context, ino: number, view: View, offsetBytes: number, lengthBytes: number, into: Uint8Array, at: number): MaybePromise<number>
  /** All of it or an error. Answers the content after it, in the tick where nothing but bytes of the store changed (the offset of an append is content.sizeBytes - lengthBytes). offset 'end': append. EFBIG, ENOSPC. */
  write(ctx: Context, ino: number, offsetBytes: number | 'end', from: Uint8Array, at: number, lengthBytes: number, effects: ContentEffects): MaybePromise<Content>
  /** Commits a time that is owed to the inode, and tells it: before times are shown or set. */
  settleTimes(ino: number): Owed | undefined
  /** To any size, up or down; the last partial unit is zeroed behind the end. */
  truncate(ctx: Context, ino: number, sizeBytes: number, effects: ContentEffects): Promise<Content>
  /** `keepSize`: beyond the end without growing the file. Space is held when it resolves. */
  reserve(ctx: Context, ino: number, offsetBytes: number, lengthBytes: number, keepSize: boolean, effects: ContentEffects): Promise<Content>
  punch(ctx: Context, ino: number, offsetBytes: number, lengthBytes: number, effects: ContentEffects): Promise<Content>
  zero(ctx: Context, ino: number, offsetBytes: number, lengthBytes: number, keepSize: boolean, effects: ContentEffects): Promise<Content>
  /** lseek(2): the first data (hole) at or after the offset, undefined past the end. */
  seekData(ctx: Context, ino: number, view: View, offsetBytes: number): MaybePromise<number | undefined>
  seekHole(ctx: Context, ino: number, view: View, offsetBytes: number): MaybePromise<number | undefined>
  /** What [offset, offset + length) is made of, in order and without gaps, cut at the end of the file; at most `limit` parts, then fewer bytes. Two parts of one kind may follow each other. */
  layout(ctx: Context, ino: number, view: View, offsetBytes: number, lengthBytes: number, limit: number): MaybePromise<readonly Part[]>
  /** The ranges that may differ between two views, sorted; sizes apart (comparing.ts). */
  changes(ctx: Context, ino: number, one: View, other: View): Promise<readonly ByteRange[]>
  /** fsync: this file's bytes and size survive a power cut. EIO once per failure. */
  sync(ctx: Context, ino: number): Promise<void>
  /** Every file. */
  syncAll(ctx: Context): Promise<void>
  /** Frees the bytes of an inode without links, in small transactions; true when nothing is left. */
  reclaimStep(ctx: Context, ino: number): Promise<boolean>
  /** The same for many small ones at once: answers those of which nothing is left, and leaves the others to reclaimStep. */
  reclaimTogether(ctx: Context, inos: readonly number[]): Promise<readonly number[]>
  /** copy_file_range within the pool: how many bytes are done. Fewer where much has to be copied, or the source ends: then 0 at last. sharing.ts */
  copy(ctx: Context, fromIno: number, view: View, fromOffsetBytes: number, toIno: number, toOffsetBytes: number, lengthBytes: number, effects: ContentEffects, wish: CopyWish): Promise<number>
  /** What this file has in the store only is synced within a second (it was renamed over another, or rewritten). */
  hurry(ino: number): void
  /** The store has bytes of this file that nobody synced. */
  hasUnsynced(ino: number): boolean
  /** Runs a transaction that begins a snapshot, while nothing is overwritten in place; everything written before it is durable when this resolves, and a snapshot is not to be believed sooner. Others wait for the transaction only. */
  quiesce<T>(ctx: Context, fn: () => Promise<T>): Promise<T>
  /** The file becomes what a view shows, the newest that shows it. In small transactions: nobody may use the file meanwhile, and after a crash it is begun again. */
  restore(ctx: Context, ino: number, view: View, effects: ContentEffects): Promise<void>
  /** A clone copies (or shares where it can) what it shows of its origin, and is one no more. Others use it meanwhile; who stops in the middle (or dies) goes on later. `ended` runs in the transaction that ends it. ENOSPC, EINTR. */
  flatten(ctx: Context, ino: number, how: FlattenHow, progress: (doneBytes: number, ofBytes: number) => MaybePromise<void>, ended?: (tx: Tx) => MaybePromise<void>): Promise<void>
  /** Bytes that a clone shows and does not hold. */
  lentBytes(ctx: Context, ino: number): Promise<number>
  /** Removes rows of history, which no view shows any more, and gives back what they held: one transaction. */
  dropHistory(ctx: Context, keys: readonly Key[]): Promise<void>
  /** Moves logged bytes to the store now. */
  flush(): Promise<void>
  /** After opening: drops what tentative extents a power cut made worthless (recovery.sameBoot false). */
  recover(ctx: Context): Promise<void>
  /** Bytes acknowledged and not yet durable: those in the store (the engine counts its own). */
  dirtyBytes(): number
  status(): DataStatus
  /** Moves logged bytes to the store and syncs; the engine and the store are closed after it. */
  close(): Promise<void>
}

export interface DataStatus {
  /** Files in memory, and the ranges of their maps. */
  readonly files: number
  readonly ranges: number
  /** Logged bytes that wait for the flush. */
  readonly loggedBytes: number
  readonly dirtyFiles: number
}
