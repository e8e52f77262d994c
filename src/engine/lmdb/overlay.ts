/**
 * What commits since a freeze changed: rows and change events, packed, and the answers of requests. Two of them take turns: one
 * takes commits while a checkpoint moves the other to LMDB.
 *   - Events are in the order of their commits; each is its session's next.
 */
import { copyBytes } from '../../sys/index.js'
import type { Answer } from '../answers.js'
import type { ChangeEvent } from '../engine.js'
import { chunkOf, makeArena, wordIn } from './arena.js'
import type { Slice } from './arena.js'
import { makePackedRows } from './packed.js'
import type { PackedRows } from './packed.js'
import { CHECKSUM_BYTES } from './stored.js'

/** An event in an arena, in words: the next event's address + 1 (0: none), session, number (low, high), bytes, then those. */
const EVENT_WORDS = 5
const TWO_32 = 4294967296

export interface PackedEvents {
  add(session: number, n: number, bytes: Uint8Array, start?: number, end?: number): void
  /** In order: the event behind this one, of -1 the first; -1 at the end. */
  after(event: number): number
  session(event: number): number
  n(event: number): number
  /** With room for a checksum behind. */
  stored(event: number): Slice
  readonly size: number
  readonly heldBytes: number
  clear(): void
}

function makePackedEvents(): PackedEvents {
  const arena = makeArena()
  const { words } = arena
  let first = -1
  let last = -1
  let size = 0
  const word = (event: number, at: number): number => words[chunkOf(event)][wordIn(event) + at]
  return {
    add(session, n, bytes, start = 0, end = bytes.length) {
      const event = arena.take(EVENT_WORDS * 4 + end - start + CHECKSUM_BYTES)
      const w = words[chunkOf(event)]
      const at = wordIn(event)
      w[at] = 0
      w[at + 1] = session
      w[at + 2] = n | 0
      w[at + 3] = Math.floor(n / TWO_32)
      w[at + 4] = end - start
      const slice = arena.slice(event, 0)
      copyBytes(bytes, start, end, slice.bytes, slice.start + EVENT_WORDS * 4)
      if (last === -1) first = event
      else words[chunkOf(last)][wordIn(last)] = event + 1
      last = event
      size++
    },
    after: (event) => (event === -1 ? first : word(event, 0) - 1),
    session: (event) => word(event, 1) >>> 0,
    n: (event) => word(event, 3) * TWO_32 + (word(event, 2) >>> 0),
    stored(event) {
      const slice = arena.slice(event, 0)
      slice.start += EVENT_WORDS * 4
      slice.end = slice.start + word(event, 4)
      return slice
    },
    get size() {
      return size
    },
    get heldBytes() {
      return arena.heldBytes
    },
    clear() {
      arena.clear()
      first = last = -1
      size = 0
    }
  }
}

export interface Overlay {
  readonly rows: PackedRows
  readonly events: PackedEvents
  readonly answers: { count: number; answer: Answer }[]
}

export const makeOverlay = (): Overlay => ({ rows: makePackedRows(), events: makePackedEvents(), answers: [] })

export function clearOverlay({ rows, events, answers }: Overlay): void {
  rows.clear()
  events.clear()
  answers.length = 0
}

/** Events of one session from number `from` on, behind what `out` holds, up to `limit` in all. */
export function addChanges({ events }: Overlay, session: number, from: number, limit: number, out: ChangeEvent[]): void {
  let next = out.length === 0 ? from : out[out.length - 1].n + 1
  for (let event = events.after(-1); event !== -1 && out.length < limit; event = events.after(event)) {
    if (events.session(event) !== session || events.n(event) < next) continue
    const { bytes, start, end } = events.stored(event)
    out.push({ session, n: events.n(event), bytes: Uint8Array.prototype.slice.call(bytes, start, end) })
    next = events.n(event) + 1
  }
}
