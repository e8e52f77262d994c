/**
 * The engine: the ordered transactional key-value store that holds a pool's metadata. Every engine (lmdb, memory, later
 * postgres and mysql) passes one suite, test/engine/suite.ts, which is this interface's law.
 *   - Keys are byte strings (one latin1 character a byte, ordered bytewise). There are three kinds of row; a key is
 *     used as one kind for ever (its first byte decides, see meta/keys.ts):
 *       value rows    opaque bytes; put and delete, validated: a body that read one commits only if it did not change;
 *       counter rows  up to 12 signed integers (exact to 2^53), changed by commutative deltas that are never validated;
 *                     a counter row that exists is also a guard: a body may rely on a range only through one;
 *       bit rows      a fixed-size bitmap, changed by commutative set and clear; setting a set bit or clearing a clear
 *                     one is a broken invariant, and fails the commit.
 *   - A body is pure and bounded: no clock, no socket, no effect but through tx. It may run more than once.
 *   - transact resolves when the transaction's bytes are outside the process (contract 1: the daemon's death loses
 *     nothing); sync() resolves when everything committed before the call survives a power cut.
 *   - get and scan answer without a promise when everything they need is in memory or in a mapped page.
 */
import type { Context } from '../sys/index.js'

/** A byte string: every char code is 0..255, so that JS string order is byte order. */
export type Key = string
export type MaybePromise<T> = T | Promise<T>

/** A row as readers see it. `decoded` is a cache for the floor above: whatever meta's codec made of `bytes` (never mutated). An
 *  engine forgets it with rows that are seldom read. */
export interface Row {
  readonly bytes: Uint8Array
  decoded: unknown
}
export interface KeyedRow {
  readonly key: Key
  readonly row: Row
}
/** from <= key < to, ascending (descending if reverse), at most `limit` rows. */
export interface Range {
  readonly from: Key
  readonly to: Key
  readonly limit: number
  readonly reverse?: boolean
}

/** What reads need: an Engine (committed state) or a Tx (own writes over the committed state) will do. */
export interface Reader {
  get(key: Key): MaybePromise<Row | undefined>
  /** Not validated: rely on it only through a guard, or on rows that only their owner changes. Rows of all kinds: of a counter
   *  row `decoded` is the slots and `bytes` is empty, of a bit row `bytes` is the bitmap. */
  scan(range: Range): MaybePromise<readonly KeyedRow[]>
  /** A counter row's slots, deltas of this transaction included; undefined if there is no such row. Not validated. */
  counters(key: Key): MaybePromise<readonly number[] | undefined>
  /** A bit row's bitmap (bit i is bytes[i >> 3] >> (i & 7) & 1); undefined if there is no such row. Not validated. */
  bits(key: Key): MaybePromise<Uint8Array | undefined>
}

export interface Tx extends Reader {
  /** `decoded` is what a later reader finds in Row.decoded, if it finds anything there. `bytes` must not change afterwards. */
  put(key: Key, bytes: Uint8Array, decoded?: unknown): void
  delete(key: Key): void
  /** Makes a counter row; it must not exist (else the body runs again). */
  createCounters(key: Key, slots: readonly number[]): void
  /** Adds to slots; the row must exist at commit (that is the guard), else the body runs again. */
  addCounters(key: Key, deltas: readonly number[]): void
  /** Overwrites some slots: [slot, value] pairs; last committer wins. The row must exist at commit. */
  setCounters(key: Key, slots: ReadonlyArray<readonly [slot: number, value: number]>): void
  /** Deletes a counter row; commits only if slot 0 is then 0, else the body runs again. */
  deleteCounters(key: Key): void
  /** The row must exist at commit, unchanged by us: a guard without a delta. */
  guard(key: Key): void
  /** The same; and slot 0 must then be this, with what this transaction adds to it: nobody else added to it since it was read. Else the body runs again. */
  guardExactly(key: Key, slot0: number): void
  /** Bit rows come into being with the first set bit (`sizeBits`, all zero) and go with the last clear. */
  setBits(key: Key, sizeBits: number, start: number, count: number): void
  clearBits(key: Key, sizeBits: number, start: number, count: number): void
  /** One event for the change log; the engine gives it its (session, n). Bytes as in docs/format.md. */
  change(event: Uint8Array): void
}

/** Identity of a request (the front door's 8-byte unique as a byte string) and how its result is kept with the commit. */
export interface Request<T> {
  readonly id: string
  encodeResult(result: T): Uint8Array
}

export interface Engine {
  readonly kind: 'lmdb' | 'memory' | 'postgres' | 'mysql'
  /** Committed state, read for this caller (deadline, cancellation). Costs nothing on the embedded engines: they answer with themselves. */
  reader(ctx: Context): Reader
  /** This daemon's registration; grows by one with every opening for writing, never used twice. */
  readonly session: number
  /** What the opening found: replay after death (same boot) or after a power cut decides what tentative rows are worth. */
  readonly recovery: Recovery
  /** The floors above have done what a power cut asks of them. Until then the next opening finds the same recovery, whatever became of this daemon. */
  recovered(): Promise<void>
  /** Runs the body until it commits; what it throws aborts the transaction and is thrown. EIO once the engine failed, EROFS if opened read-only. */
  transact<T>(ctx: Context, body: (tx: Tx) => MaybePromise<T>, request?: Request<T>): Promise<T>
  /** The kept result of a request of this session or an earlier one (the last 4,096), if it committed. */
  answered(session: number, requestId: string): Uint8Array | undefined
  /** Events of the change log of one session, from number `from` (the first is 1) on, dense. The newest 65,536 of all are kept. */
  changes(session: number, from: number, limit: number): MaybePromise<readonly ChangeEvent[]>
  /** Durable when resolved: everything that was committed before the call. Group commit. Throws EIO once after a failure, read-only from then on. */
  sync(ctx: Context): Promise<void>
  /** Sequence of the newest commit, and of the newest durable commit; dense, in commit order. */
  committedSeq(): number
  durableSeq(): number
  /** Runs before a checkpoint freezes the overlay: the data floor moves logged bytes to the store. May transact, but only with
   *  the context that it is given (the same object): such transactions draw on the log's reserve and pass who waits. */
  onBeforeCheckpoint(hook: (ctx: Context) => Promise<void>): void
  /** Moves everything committed so far out of the log. Called by the engine itself when the log fills; by close. */
  checkpoint(): Promise<void>
  status(): EngineStatus
  /** Checkpoint, mark clean, close. Idempotent. */
  close(): Promise<void>
}

export interface ChangeEvent {
  readonly session: number
  readonly n: number
  readonly bytes: Uint8Array
}

export interface Recovery {
  /** The last session closed cleanly. */
  readonly clean: boolean
  /** The machine has not rebooted since the last session wrote (or since one before it, which nobody recovered from): the page cache's bytes survived. */
  readonly sameBoot: boolean
  readonly replayedRecords: number
  readonly replayedBytes: number
}

export interface EngineStatus {
  readonly committedSeq: number
  readonly durableSeq: number
  readonly logUsedBytes: number
  readonly logSizeBytes: number
  /** Bytes committed but not yet durable. */
  readonly dirtyBytes: number
  readonly checkpoints: number
  readonly conflicts: number
  /** What it holds in memory: rows that only the log has besides, rows kept because they are read again and again. */
  readonly memory: { readonly rows: number; readonly rowsBytes: number; readonly cachedRows: number; readonly cachedBytes: number }
  /** Why the engine takes no more writes, if so. */
  readonly failed: string | undefined
}
