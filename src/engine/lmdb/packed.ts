/**
 * The rows of an overlay, packed: what commits wrote since a checkpoint, in key order, in chunks of memory instead of objects.
 * Hundreds of thousands of them are there between two checkpoints; as objects they would be copied and promoted by the garbage
 * collector, in pauses of tens of milliseconds.
 *   - A row is known by its address (0: none). Rows are added and replaced, never removed but all at once.
 *   - A value lies as LMDB will hold it: kind, then its bytes. A replacement that fits is written over the old one: nobody holds
 *     what is in here, entry() copies.
 *   - `words` of a key compare like its bytes: big-endian, the sign bit flipped.
 *
 *   a row, in words:  0 hash  1 value's address  2 its bytes (0: deleted)  3 its room  4 5 seq  6 key bytes | height << 16
 *                     7 the row before  8.. the next row at each level, then the key
 *
 * Found by key through 256 small hash tables, so that none takes long to grow; in order through a skip list, whose heights come
 * from the hash: p = 1/4. The way to a new row begins where the last one of its kind went in: rows mostly come in order. A row costs
 * about 45 bytes beside key and value.
 */
import type { Key } from '../engine.js'
import { copyBytes } from '../../sys/index.js'
import { GONE, goneEntry } from '../rows.js'
import type { Cursor, Entry, Kind } from '../rows.js'
import { chunkOf, makeArena, wordIn } from './arena.js'
import type { Slice } from './arena.js'
import { CHECKSUM_BYTES, entryFrom, hashOfBytes, storedBytes, writeStored } from './stored.js'

export { hashOfKey } from './stored.js'

const HASH = 0
const VALUE_AT = 1
const VALUE_BYTES = 2
const VALUE_ROOM = 3
const SEQ = 4
const KEY_BYTES = 6
const BEFORE = 7
const NEXT = 8

const LEVELS = 12
const SHARDS = 256
const SHARD_SLOTS_MIN = 16
const SHARD_SLOTS_KEPT = 4096 // of a table that was emptied
const TWO_32 = 4294967296
const SIGN = 0x80000000 | 0

export interface PackedRows {
  /** The row of a key; `hash` is hashOfKey's. */
  find(key: Key, hash: number): number
  entry(row: number): Entry
  seq(row: number): number
  set(key: Key, hash: number, entry: Entry): void
  /** The same without objects, as replay does it: key and value (without its kind) lie in `from`. */
  setStored(from: Buffer, keyAt: number, keyEnd: number, kind: Kind, at: number, end: number, seq: number): void
  remove(from: Buffer, keyAt: number, keyEnd: number, seq: number): void
  cursor(from: Key, to: Key, reverse: boolean): Cursor
  /** In key order: the row behind this one, of 0 the first; 0 at the end. */
  after(row: number): number
  key(row: number): Key
  /** As LMDB shall hold it, until the next call, with room for its checksum behind; undefined: deleted. */
  stored(row: number): Slice | undefined
  readonly size: number
  readonly heldBytes: number
  clear(): void
}

const target = new Int32Array(257) // the key that is looked for
const text = Buffer.alloc(1028)
const scratch = new Int32Array(LEVELS)

/** The key's words into `target`; answers how many. */
function aim(key: Key): number {
  const whole = key.length >> 2
  for (let i = 0, at = 0; i < whole; i++, at += 4)
    target[i] = ((key.charCodeAt(at) << 24) | (key.charCodeAt(at + 1) << 16) | (key.charCodeAt(at + 2) << 8) | key.charCodeAt(at + 3)) ^ SIGN
  if ((key.length & 3) === 0) return whole
  let last = 0
  for (let at = whole << 2, shift = 24; at < key.length; at++, shift -= 8) last |= key.charCodeAt(at) << shift
  target[whole] = last ^ SIGN
  return whole + 1
}

/** The same of a key that lies in `from`. */
function aimBytes(from: Buffer, at: number, length: number): number {
  const whole = length >> 2
  let i = 0
  for (; i < whole; i++, at += 4) target[i] = ((from[at] << 24) | (from[at + 1] << 16) | (from[at + 2] << 8) | from[at + 3]) ^ SIGN
  if ((length & 3) === 0) return whole
  let last = 0
  for (let left = length & 3, shift = 24; left > 0; left--, shift -= 8) last |= from[at++] << shift
  target[whole] = last ^ SIGN
  return whole + 1
}

/** One more level for every two zero bits. */
function heightOf(hash: number): number {
  let height = 1
  for (let bits = Math.imul(hash, 0x9e3779b1) >>> 4; height < LEVELS && (bits & 3) === 0; bits >>>= 2) height++
  return height
}

export function makePackedRows(): PackedRows {
  const arena = makeArena()
  const { words } = arena
  const paths: Int32Array[] = [] // of each kind (a key's first byte): where its last new row went in
  let shards: Int32Array[] = []
  const counts = new Int32Array(SHARDS)
  let size = 0
  let topLevel = 0

  function start(): void {
    const head = arena.take((NEXT + LEVELS) * 4) // address 0
    words[chunkOf(head)].fill(0, wordIn(head), wordIn(head) + NEXT + LEVELS)
    words[chunkOf(head)][wordIn(head) + KEY_BYTES] = LEVELS << 16
    if (shards.length === 0) shards = Array.from({ length: SHARDS }, () => new Int32Array(SHARD_SLOTS_MIN))
    else shards = shards.map((slots) => (slots.length > SHARD_SLOTS_KEPT ? new Int32Array(SHARD_SLOTS_MIN) : slots.fill(0)))
    counts.fill(0)
    for (const path of paths) path?.fill(0)
    size = topLevel = 0
  }
  start()

  const word = (row: number, at: number): number => words[chunkOf(row)][wordIn(row) + at]
  const setWord = (row: number, at: number, value: number): void => void (words[chunkOf(row)][wordIn(row) + at] = value)

  function isKey(w: Int32Array, at: number, key: Key): boolean {
    const head = w[at + KEY_BYTES]
    const length = key.length
    if ((head & 0xffff) !== length) return false
    let k = at + NEXT + (head >>> 16)
    let i = 0
    for (; i + 4 <= length; i += 4, k++)
      if (w[k] !== (((key.charCodeAt(i) << 24) | (key.charCodeAt(i + 1) << 16) | (key.charCodeAt(i + 2) << 8) | key.charCodeAt(i + 3)) ^ SIGN)) return false
    if (i === length) return true
    let last = 0
    for (let shift = 24; i < length; i++, shift -= 8) last |= key.charCodeAt(i) << shift
    return w[k] === (last ^ SIGN)
  }

  function find(key: Key, hash: number): number {
    const slots = shards[hash >>> 24]
    const mask = slots.length - 1
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const row = slots[i]
      if (row === 0) return 0
      const w = words[chunkOf(row)]
      const at = wordIn(row)
      if (w[at] === hash && isKey(w, at, key)) return row
    }
  }

  /** The same of the key in `target`. */
  function findTarget(count: number, length: number, hash: number): number {
    const slots = shards[hash >>> 24]
    const mask = slots.length - 1
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const row = slots[i]
      if (row === 0) return 0
      const w = words[chunkOf(row)]
      const at = wordIn(row)
      if (w[at] !== hash || (w[at + KEY_BYTES] & 0xffff) !== length) continue
      let k = at + NEXT + (w[at + KEY_BYTES] >>> 16)
      let same = 0
      while (same < count && w[k] === target[same]) {
        k++
        same++
      }
      if (same === count) return row
    }
  }

  function enter(row: number, hash: number): void {
    const shard = hash >>> 24
    let slots = shards[shard]
    if (++counts[shard] * 4 > slots.length * 3) {
      const old = slots
      slots = shards[shard] = new Int32Array(old.length * 2)
      for (const other of old) if (other !== 0) place(slots, other, word(other, HASH))
    }
    place(slots, row, hash)
  }
  function place(slots: Int32Array, row: number, hash: number): void {
    const mask = slots.length - 1
    let i = hash & mask
    while (slots[i] !== 0) i = (i + 1) & mask
    slots[i] = row
  }

  /** Whether a row's key is lower than the one in `target`, of so many bytes. */
  function isLower(row: number, count: number, length: number): boolean {
    const w = words[chunkOf(row)]
    const at = wordIn(row)
    const head = w[at + KEY_BYTES]
    const own = head & 0xffff
    const k = at + NEXT + (head >>> 16)
    const both = Math.min(count, (own + 3) >> 2)
    for (let i = 0; i < both; i++) {
      const a = w[k + i]
      const b = target[i]
      if (a !== b) return a < b
    }
    return own < length
  }

  /** The last row below the key in `target`, or 0; `path` becomes its like on each level. */
  function below(count: number, length: number, path: Int32Array): number {
    let row = 0
    let notLower = 0
    for (let level = topLevel; level >= 0; level--) {
      for (;;) {
        const next = word(row, NEXT + level)
        if (next === 0 || next === notLower) break
        if (!isLower(next, count, length)) {
          notLower = next
          break
        }
        row = next
      }
      path[level] = row
    }
    return row
  }

  /** Whether a row of that height goes in where the last one of its kind did. */
  function isPath(path: Int32Array, height: number, count: number, length: number): boolean {
    if (path[0] === 0 || !isLower(path[0], count, length)) return false
    for (let level = 0; level < height && level <= topLevel; level++) {
      const next = word(path[level], NEXT + level)
      if (next !== 0 && isLower(next, count, length)) return false
    }
    return true
  }

  /** A row for the key in `target`. */
  function add(count: number, length: number, hash: number): number {
    const kind = (target[0] ^ SIGN) >>> 24
    const path = (paths[kind] ??= new Int32Array(LEVELS))
    const height = heightOf(hash)
    if (!isPath(path, height, count, length)) below(count, length, path)
    const before = path[0]
    const row = arena.take((NEXT + height + count) * 4)
    const w = words[chunkOf(row)]
    const at = wordIn(row)
    w[at + HASH] = hash
    w[at + VALUE_AT] = w[at + VALUE_BYTES] = w[at + VALUE_ROOM] = 0
    w[at + KEY_BYTES] = length | (height << 16)
    w[at + BEFORE] = before
    for (let i = 0; i < count; i++) w[at + NEXT + height + i] = target[i]
    setWord(word(before, NEXT), BEFORE, row) // of 0: the last row
    for (; topLevel < height - 1; path[++topLevel] = 0);
    for (let level = 0; level < height; level++) {
      w[at + NEXT + level] = word(path[level], NEXT + level)
      setWord(path[level], NEXT + level, row)
      path[level] = row
    }
    enter(row, hash)
    size++
    return row
  }

  /** The row of a key that lies in `from`, which is there afterwards. */
  function rowOf(from: Buffer, keyAt: number, keyEnd: number): number {
    const length = keyEnd - keyAt
    const count = aimBytes(from, keyAt, length)
    const hash = hashOfBytes(from, keyAt, keyEnd)
    return findTarget(count, length, hash) || add(count, length, hash)
  }

  /** The row has room for a value of so many bytes (0: deleted), which was written by commit `seq`. */
  function changed(row: number, bytes: number, seq: number): void {
    const w = words[chunkOf(row)]
    const at = wordIn(row)
    w[at + SEQ] = seq | 0
    w[at + SEQ + 1] = Math.floor(seq / TWO_32)
    w[at + VALUE_BYTES] = bytes
    if (bytes <= w[at + VALUE_ROOM]) return
    w[at + VALUE_AT] = arena.take(bytes + CHECKSUM_BYTES)
    w[at + VALUE_ROOM] = bytes
  }

  const seqOf = (row: number): number => word(row, SEQ + 1) * TWO_32 + (word(row, SEQ) >>> 0)

  function keyOf(row: number): Key {
    const w = words[chunkOf(row)]
    const at = wordIn(row)
    const head = w[at + KEY_BYTES]
    const length = head & 0xffff
    for (let i = 0, k = at + NEXT + (head >>> 16); i < length; i += 4, k++) {
      const bits = w[k] ^ SIGN
      text[i] = bits >>> 24
      text[i + 1] = bits >>> 16
      text[i + 2] = bits >>> 8
      text[i + 3] = bits
    }
    return text.latin1Slice(0, length)
  }

  function stored(row: number): Slice | undefined {
    const bytes = word(row, VALUE_BYTES)
    return bytes === 0 ? undefined : arena.slice(word(row, VALUE_AT), bytes)
  }

  function entry(row: number): Entry {
    const slice = stored(row)
    return slice === undefined ? goneEntry(seqOf(row)) : entryFrom(slice.bytes, slice.start, slice.end, seqOf(row))
  }

  return {
    find,
    entry,
    seq: seqOf,
    set(key, hash, value) {
      const row = find(key, hash) || add(aim(key), key.length, hash)
      if (value.kind === GONE) return changed(row, 0, value.seq)
      const bytes = storedBytes(value)
      changed(row, bytes, value.seq)
      const slice = arena.slice(word(row, VALUE_AT), bytes)
      writeStored(value, slice.bytes, slice.start)
    },
    setStored(from, keyAt, keyEnd, kind, at, end, seq) {
      const row = rowOf(from, keyAt, keyEnd)
      const bytes = end - at + 1
      changed(row, bytes, seq)
      const slice = arena.slice(word(row, VALUE_AT), bytes)
      slice.bytes[slice.start] = kind
      copyBytes(from, at, end, slice.bytes, slice.start + 1)
    },
    remove: (from, keyAt, keyEnd, seq) => changed(rowOf(from, keyAt, keyEnd), 0, seq),
    cursor(from, to, reverse) {
      const bound = reverse ? to : from
      let row = below(aim(bound), bound.length, scratch)
      if (!reverse) row = word(row, NEXT)
      const cursor: Cursor = {
        key: undefined,
        entry: undefined as unknown as Entry,
        next() {
          if (cursor.key === undefined) return
          row = word(row, reverse ? BEFORE : NEXT)
          show()
        },
        close() {}
      }
      const show = (): void => {
        const key = row === 0 ? undefined : keyOf(row)
        if (key === undefined || (reverse ? key < from : key >= to)) {
          cursor.key = undefined
          return
        }
        cursor.key = key
        cursor.entry = entry(row)
      }
      show()
      return cursor
    },
    after: (row) => word(row, NEXT),
    key: keyOf,
    stored,
    get size() {
      return size
    },
    get heldBytes() {
      let slots = 0
      for (const shard of shards) slots += shard.byteLength
      return arena.heldBytes + slots
    },
    clear() {
      arena.clear()
      start()
    }
  }
}
