/**
 * One run of a transaction body: its own writes over committed reads, and the decision whether it may commit. Every engine
 * uses it, so that a body means the same everywhere.
 *   - Each value row read is recorded with the sequence of the committed state that answered. It is stale if a later commit
 *     wrote the row; then nothing that the body did or threw counts.
 *   - decide() is pure over the rows that it is given: it looks at the newest committed rows, without a gap in which another
 *     commit could come in, and turns deltas into rows (`outKeys`, `outEntries`).
 *   - Scans, counters and bits are not recorded: who relies on them does it through a guard.
 */
import { assert, PosixError } from '../sys/index.js'
import type { Key, KeyedRow, MaybePromise, Range, Row, Tx } from './engine.js'
import { KEY_BYTES_LIMIT } from './keys.js'
import { BITS, compareKeys, countersEntry, entryOf, GONE, goneEntry, mergeScan, slotsOf, VALUE } from './rows.js'
import type { Cursor, Entry } from './rows.js'

export const SLOTS_LIMIT = 12

/** Thrown out of a body that saw two states which cannot both be: it runs again. */
export const RUN_AGAIN = new PosixError('EAGAIN', 'the transaction runs again')

/** Thrown out of a body that needs something done in transactions of its own before: "first" runs, then the body again. What it does must keep the body from asking for it once more. */
export class RunAfter extends PosixError {
  readonly first: () => Promise<void>

  constructor(first: () => Promise<void>) {
    super('EAGAIN', 'the transaction runs after another one')
    this.first = first
  }
}

/** The committed state as one body sees it. */
export interface Source {
  /** Undefined or an entry of kind GONE: no such row. */
  find(key: Key): MaybePromise<Entry | undefined>
  scan(range: Range): MaybePromise<readonly KeyedRow[]>
  /** The newest commit: what is read from now on is at least as new. */
  seq(): number
}

/** What a body asks of one counter row. Without sets, deltas, create and drop it is a guard. */
export interface CounterOp {
  readonly kind: 'counters'
  created: readonly number[] | undefined
  sets: (number | undefined)[] | undefined
  deltas: number[] | undefined
  dropped: boolean
  /** Slot 0 as it must be after this transaction. */
  exactly: number | undefined
}
/** Ranges set and cleared, in the order asked: [set ? 1 : 0, start, count, ...]. */
export interface BitsOp {
  readonly kind: 'bits'
  readonly sizeBits: number
  readonly ranges: number[]
}
type Write = Entry | CounterOp | BitsOp

const isCounterOp = (w: Write): w is CounterOp => w.kind === 'counters'
const isBitsOp = (w: Write): w is BitsOp => w.kind === 'bits'

/** The slots after `op` over a row's slots. */
function slotsAfter(base: readonly number[], op: CounterOp): readonly number[] {
  if (op.sets === undefined && op.deltas === undefined) return base
  const slots = base.slice()
  const { sets, deltas } = op
  if (sets !== undefined) for (let i = 0; i < sets.length; i++) if (sets[i] !== undefined) slots[i] = sets[i]!
  if (deltas !== undefined) for (let i = 0; i < deltas.length; i++) slots[i] = (slots[i] ?? 0) + deltas[i]
  for (let i = 0; i < slots.length; i++) slots[i] ??= 0 // sets beyond the end leave holes
  return slots
}

export const bitmapBytes = (sizeBits: number): number => (sizeBits + 7) >> 3

/** Sets or clears bits in place; answers how many changed. */
export function changeBits(bitmap: Uint8Array, set: boolean, start: number, count: number): number {
  let changed = 0
  for (let i = start, end = start + count; i < end; ) {
    const byte = i >> 3
    const upto = Math.min(end, (byte + 1) << 3)
    const mask = ((1 << (upto - (byte << 3))) - 1) & ~((1 << (i & 7)) - 1)
    const before = bitmap[byte]
    const after = set ? before | mask : before & ~mask
    for (let diff = before ^ after; diff !== 0; diff &= diff - 1) changed++
    bitmap[byte] = after
    i = upto
  }
  return changed
}

const isZero = (bytes: Uint8Array): boolean => {
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== 0) return false
  return true
}

/** A bitmap after `op`; strict: every bit of a range must change. */
function bitmapAfter(key: Key, base: Uint8Array | undefined, op: BitsOp): Uint8Array {
  const bitmap = base === undefined ? new Uint8Array(bitmapBytes(op.sizeBits)) : new Uint8Array(base) // a copy: slice of a Buffer is none
  if (bitmap.length !== bitmapBytes(op.sizeBits)) throw brokenBits(key, 'has another size')
  for (let i = 0; i < op.ranges.length; i += 3) {
    const set = op.ranges[i] === 1
    const changed = changeBits(bitmap, set, op.ranges[i + 1], op.ranges[i + 2])
    if (changed !== op.ranges[i + 2]) throw brokenBits(key, set ? 'has a bit set that was to be set' : 'has a bit clear that was to be cleared')
  }
  return bitmap
}

/** What replay does: the last change of a bit counts, whatever was there before. Undefined: no bit is left, no row. */
export function bitmapReplayed(base: Uint8Array | undefined, sizeBits: number, ranges: readonly number[]): Uint8Array | undefined {
  const bitmap = base === undefined || base.length !== bitmapBytes(sizeBits) ? new Uint8Array(bitmapBytes(sizeBits)) : new Uint8Array(base) // a copy: slice of a Buffer is none
  for (let i = 0; i < ranges.length; i += 3) changeBits(bitmap, ranges[i] === 1, ranges[i + 1], ranges[i + 2])
  return isZero(bitmap) ? undefined : bitmap
}

const brokenBits = (key: Key, what: string): PosixError =>
  new PosixError('EIO', `broken invariant: bit row ${Buffer.from(key, 'latin1').toString('hex')} ${what}`)

const then = <A, B>(value: MaybePromise<A>, fn: (value: A) => B): MaybePromise<B> =>
  value instanceof Promise ? value.then(fn) : fn(value)

const shown = (entry: Entry | undefined): Row | undefined => (entry === undefined || entry.kind === GONE ? undefined : entry)
const slotsShown = (entry: Entry | undefined): readonly number[] | undefined =>
  entry === undefined || entry.kind === GONE ? undefined : slotsOf(entry)
const bytesShown = (entry: Entry | undefined): Uint8Array | undefined =>
  entry === undefined || entry.kind === GONE ? undefined : entry.bytes

/** A reader of committed state over a source: what Engine.reader answers. */
export const readerOf = (source: Source) => ({
  get: (key: Key) => then(source.find(key), shown),
  scan: (range: Range) => source.scan(range),
  counters: (key: Key) => then(source.find(key), slotsShown),
  bits: (key: Key) => then(source.find(key), bytesShown)
})

/** With more rows than this they are found through a Map; fewer are looked through. */
const FEW_ROWS = 16
/** A run that had more is not used again: what it holds stays until the next one writes over it. */
const REUSED_ROWS = 64

/** What a body writes, by key, in the order of first use. Emptied it keeps its arrays. */
class Writes {
  size = 0
  readonly keys: Key[] = []
  readonly rows: Write[] = []
  private index: Map<Key, number> | undefined = undefined

  get(key: Key): Write | undefined {
    const i = this.find(key)
    return i < 0 ? undefined : this.rows[i]
  }

  set(key: Key, row: Write): void {
    let i = this.find(key)
    if (i < 0) {
      i = this.size++
      this.keys[i] = key
      this.index?.set(key, i)
      if (this.size > FEW_ROWS && this.index === undefined) this.indexAll()
    }
    this.rows[i] = row
  }

  clear(): void {
    this.size = 0
    this.index = undefined
  }

  private find(key: Key): number {
    if (this.index !== undefined) return this.index.get(key) ?? -1
    const { keys, size } = this
    for (let i = 0; i < size; i++) if (keys[i] === key) return i
    return -1
  }

  private indexAll(): void {
    this.index = new Map()
    for (let i = 0; i < this.size; i++) this.index.set(this.keys[i], i)
  }
}

/** A class, because one is made per request: no closures. One that committed in its tick is cleared and serves the next. */
export class TxRun implements Tx {
  readonly source: Source
  private reads = 0
  private readonly readKeys: Key[] = []
  private readonly readSeqs: number[] = []
  private readonly writes = new Writes()
  events: Uint8Array[] | undefined = undefined
  /** Filled by decide(): the rows to apply, `outs` of them; for bit rows the operation too, which is what a log keeps. */
  outs = 0
  readonly outKeys: Key[] = []
  readonly outEntries: Entry[] = []
  readonly outBits: (BitsOp | undefined)[] = []

  constructor(source: Source) {
    this.source = source
  }

  get hasEffects(): boolean {
    return this.writes.size > 0 || this.events !== undefined
  }

  /** As new; false: it is better forgotten. */
  clear(): boolean {
    const isSmall = this.writes.keys.length <= REUSED_ROWS && this.readKeys.length <= REUSED_ROWS
    this.reads = this.outs = 0
    this.writes.clear()
    this.events = undefined
    return isSmall
  }

  get(key: Key): MaybePromise<Row | undefined> {
    const own = this.writes.get(key)
    if (own !== undefined) {
      assert(own.kind === VALUE || own.kind === GONE, 'a key is used as one kind of row')
      return shown(own)
    }
    const i = this.reads++
    this.readKeys[i] = key
    this.readSeqs[i] = this.source.seq() // before the answer: never newer than it
    return then(this.source.find(key), shown)
  }

  scan(range: Range): MaybePromise<readonly KeyedRow[]> {
    const own: Key[] = []
    const { keys, size } = this.writes
    for (let i = 0; i < size; i++) if (keys[i] >= range.from && keys[i] < range.to) own.push(keys[i])
    if (own.length === 0) return this.source.scan(range)
    own.sort(compareKeys)
    if (range.reverse === true) own.reverse()
    // own rows can hide or delete as many committed ones as there are
    return then(this.source.scan({ ...range, limit: range.limit + own.length }), (committed) => this.mergeOwn(range, own, committed))
  }

  private mergeOwn(range: Range, own: readonly Key[], committed: readonly KeyedRow[]): readonly KeyedRow[] {
    const base = new Map<Key, Entry>()
    for (const { key, row } of committed) base.set(key, row as Entry)
    const walk = (keys: readonly Key[], entryAt: (key: Key) => Entry): Cursor => {
      let i = -1
      const cursor: Cursor = {
        key: undefined,
        entry: undefined as unknown as Entry,
        next() {
          cursor.key = keys[++i]
          if (cursor.key !== undefined) cursor.entry = entryAt(cursor.key)
        },
        close() {}
      }
      cursor.next()
      return cursor
    }
    const over = walk(own, (key) => this.preview(key, base.get(key)))
    return mergeScan(range, [over, walk(committed.map((r) => r.key), (key) => base.get(key)!)])
  }

  /** How a row of ours would look over `base`, without a check. */
  private preview(key: Key, base: Entry | undefined): Entry {
    const own = this.writes.get(key)!
    if (isCounterOp(own)) {
      const slots = this.previewSlots(own, slotsShown(base))
      return slots === undefined ? goneEntry(0) : countersEntry(0, slots)
    }
    if (isBitsOp(own)) {
      const bitmap = bitmapReplayed(bytesShown(base), own.sizeBits, own.ranges)
      return bitmap === undefined ? goneEntry(0) : entryOf(BITS, 0, bitmap, undefined)
    }
    return own
  }

  private previewSlots(op: CounterOp, base: readonly number[] | undefined): readonly number[] | undefined {
    const from = op.created ?? base
    return op.dropped || from === undefined ? undefined : slotsAfter(from, op)
  }

  counters(key: Key): MaybePromise<readonly number[] | undefined> {
    const own = this.writes.get(key)
    if (own === undefined) return then(this.source.find(key), slotsShown)
    assert(isCounterOp(own), 'a key is used as one kind of row')
    if (own.dropped) return undefined
    if (own.created !== undefined) return slotsAfter(own.created, own)
    return then(this.source.find(key), (entry) => this.previewSlots(own, slotsShown(entry)))
  }

  bits(key: Key): MaybePromise<Uint8Array | undefined> {
    const own = this.writes.get(key)
    if (own === undefined) return then(this.source.find(key), bytesShown)
    assert(isBitsOp(own), 'a key is used as one kind of row')
    return then(this.source.find(key), (entry) => bitmapReplayed(bytesShown(entry), own.sizeBits, own.ranges))
  }

  put(key: Key, bytes: Uint8Array, decoded?: unknown): void {
    assert(key.length > 0 && key.length <= KEY_BYTES_LIMIT, 'a key has 1 to 1,024 bytes')
    this.writes.set(key, entryOf(VALUE, 0, bytes, decoded))
  }

  delete(key: Key): void {
    this.writes.set(key, goneEntry(0))
  }

  private counterOp(key: Key): CounterOp {
    let op = this.writes.get(key)
    if (op === undefined) {
      assert(key.length > 0 && key.length <= KEY_BYTES_LIMIT, 'a key has 1 to 1,024 bytes')
      op = { kind: 'counters', created: undefined, sets: undefined, deltas: undefined, dropped: false, exactly: undefined }
      this.writes.set(key, op)
    }
    assert(isCounterOp(op), 'a key is used as one kind of row')
    assert(!op.dropped, 'a counter row that this transaction deletes is not used again in it')
    return op
  }

  createCounters(key: Key, slots: readonly number[]): void {
    assert(slots.length <= SLOTS_LIMIT, 'a counter row has at most 12 slots')
    const used = this.writes.get(key)
    if (used !== undefined && isCounterOp(used) && used.created === undefined && !used.dropped) throw RUN_AGAIN // it was there, and went
    assert(used === undefined, 'a counter row is created once')
    this.counterOp(key).created = slots.slice()
  }

  addCounters(key: Key, deltas: readonly number[]): void {
    assert(deltas.length <= SLOTS_LIMIT, 'a counter row has at most 12 slots')
    const op = this.counterOp(key)
    const sums = (op.deltas ??= [])
    for (let i = 0; i < deltas.length; i++) sums[i] = (sums[i] ?? 0) + deltas[i]
  }

  setCounters(key: Key, slots: ReadonlyArray<readonly [slot: number, value: number]>): void {
    const op = this.counterOp(key)
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i][0]
      const value = slots[i][1]
      assert(slot >= 0 && slot < SLOTS_LIMIT, 'a counter row has at most 12 slots')
      const sets = (op.sets ??= [])
      while (sets.length <= slot) sets.push(undefined)
      sets[slot] = value
      if (op.deltas !== undefined && slot < op.deltas.length) op.deltas[slot] = 0
    }
  }

  deleteCounters(key: Key): void {
    this.counterOp(key).dropped = true
  }

  guard(key: Key): void {
    this.counterOp(key)
  }

  guardExactly(key: Key, slot0: number): void {
    this.counterOp(key).exactly = slot0
  }

  private bitsOp(key: Key, sizeBits: number): BitsOp {
    let op = this.writes.get(key)
    if (op === undefined) {
      assert(key.length > 0 && key.length <= KEY_BYTES_LIMIT, 'a key has 1 to 1,024 bytes')
      op = { kind: 'bits', sizeBits, ranges: [] }
      this.writes.set(key, op)
    }
    assert(isBitsOp(op) && op.sizeBits === sizeBits, 'a key is used as one kind of row, of one size')
    return op
  }

  setBits(key: Key, sizeBits: number, start: number, count: number): void {
    assert(start >= 0 && count >= 0 && start + count <= sizeBits, 'bits lie inside their row')
    if (count > 0) this.bitsOp(key, sizeBits).ranges.push(1, start, count)
  }

  clearBits(key: Key, sizeBits: number, start: number, count: number): void {
    assert(start >= 0 && count >= 0 && start + count <= sizeBits, 'bits lie inside their row')
    if (count > 0) this.bitsOp(key, sizeBits).ranges.push(0, start, count)
  }

  change(event: Uint8Array): void {
    ;(this.events ??= []).push(event)
  }

  /** Whether a row that the body read was written since. `writtenAt`: a row's newest commit, never too small. */
  isStale(committedSeq: number, writtenAt: (key: Key) => number): boolean {
    const { reads, readKeys, readSeqs } = this
    if (reads === 0 || readSeqs[0] >= committedSeq) return false // sequences only grow: the first is the oldest
    for (let i = 0; i < reads; i++) if (readSeqs[i] < committedSeq && writtenAt(readKeys[i]) > readSeqs[i]) return true
    return false
  }

  /**
   * Whether the writes may be applied over the newest rows, reads apart. If so, outKeys and outEntries are what changes.
   * False: a guard is gone, a row to create is there, slot 0 of one to delete is not 0, or not what it must be. Throws on a broken invariant.
   */
  decide(find: (key: Key) => Entry | undefined, seq: number): boolean {
    this.outs = 0
    const { keys, rows, size } = this.writes
    for (let i = 0; i < size; i++) {
      const key = keys[i]
      const write = rows[i]
      if (isCounterOp(write)) {
        const base = slotsShown(find(key))
        if ((write.created !== undefined) === (base !== undefined)) return false
        const slots = slotsAfter(write.created ?? base!, write)
        if (write.exactly !== undefined && slots[0] !== write.exactly) return false
        if (write.dropped) {
          if ((slots[0] ?? 0) !== 0) return false
          if (write.created === undefined) this.out(key, goneEntry(seq), undefined)
        } else if (slots !== base) this.out(key, countersEntry(seq, slots), undefined)
      } else if (isBitsOp(write)) {
        const bitmap = bitmapAfter(key, bytesShown(find(key)), write)
        this.out(key, isZero(bitmap) ? goneEntry(seq) : entryOf(BITS, seq, bitmap, undefined), write)
      } else {
        write.seq = seq
        this.out(key, write, undefined)
      }
    }
    return true
  }

  private out(key: Key, entry: Entry, bits: BitsOp | undefined): void {
    const i = this.outs++
    this.outKeys[i] = key
    this.outEntries[i] = entry
    this.outBits[i] = bits
  }
}

