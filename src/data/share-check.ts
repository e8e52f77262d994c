/**
 * Do the counts of shared units say what the extents say? Whoever goes through the extents notes the shared ones here; then the rows
 * 'Z' are compared, range by range, and a repair writes them anew.
 *   - Each unit that shared extents hold is claimed once, however many they are.
 *   - Memory: 32 bytes for each shared extent; a repair's as much again for each row.
 */
import { PosixError, rootContext } from '../sys/index.js'
import { prefixRange, streamRows } from '../engine/index.js'
import type { Engine, KeyedRow, Reader } from '../engine/index.js'
import type { UnitsCheck } from '../store/index.js'
import type { Found } from './finding.js'
import type { Extent } from './extents.js'
import { decodePast, HISTORY_KIND } from './history.js'
import { decodeExtent, EXTENT_KIND, extentOfRow } from './rows.js'
import { decodeShare, encodeShare, shareKey, SHARES_KIND } from './shares.js'
import type { Share } from './shares.js'

const SHARES_END = prefixRange(SHARES_KIND).to
const SLICE_ROWS = 512
const ROW_MAX_BYTES = 1024 ** 3

/** Ranges of the store that shared extents hold, each as often as there are extents. */
export interface SharesTally {
  add(startBytes: number, lengthBytes: number): void
  /** In order, apart, as long as the count stays the same; none where it is 0. */
  ranges(): Generator<Share>
}

export function makeTally(): SharesTally {
  let starts = new Float64Array(16)
  let ends = new Float64Array(16)
  let n = 0
  const grown = (list: Float64Array): Float64Array<ArrayBuffer> => {
    const larger = new Float64Array(list.length * 2)
    larger.set(list)
    return larger
  }
  return {
    add(startBytes, lengthBytes) {
      if (n === starts.length) [starts, ends] = [grown(starts), grown(ends)]
      starts[n] = startBytes
      ends[n++] = startBytes + lengthBytes
    },
    *ranges() {
      const from = starts.slice(0, n).sort()
      const to = ends.slice(0, n).sort()
      let count = 0
      let pos = 0
      for (let i = 0, j = 0; j < n;) {
        const at = i < n ? Math.min(from[i], to[j]) : to[j]
        const before = count
        while (i < n && from[i] === at) i++, count++
        while (j < n && to[j] === at) j++, count--
        if (count === before) continue
        if (before > 0) yield { start: pos, len: at - pos, count: before }
        pos = at
      }
    }
  }
}

/** Once in every window. Answers the first range that is none of the space. */
export function claimShares(tally: SharesTally, units: UnitsCheck): Share | undefined {
  let wrong: Share | undefined
  for (const range of tally.ranges()) if (!units.claim(range.start, range.len)) wrong ??= range
  return wrong
}

/** In the first window, when all extents were seen. */
export async function checkShares(reader: Reader, tally: SharesTally, units: UnitsCheck | undefined, found: Found): Promise<void> {
  const wrong = units === undefined ? undefined : claimShares(tally, units)
  if (wrong !== undefined) found({ ino: 0, what: `shared extents lie at ${wrong.start}+${wrong.len}, which is no range of the space`, kind: 'report' })
  await compareShares(reader, tally, ({ start, len, count }, is) => {
    if (is !== count) found({ ino: 0, what: `${len} bytes of the space at ${start} are shared by ${count} extents, and ${is === -1 ? 'counted twice' : `counted as shared by ${is}`}`, kind: 'shares' })
  })
}

/** Every range of which either side says something: what the rows count, and what the extents come to. Rows that lie over each other are told with a count of -1. */
export async function compareShares(reader: Reader, tally: SharesTally, tell: (range: Share, is: number) => void): Promise<void> {
  const should = tally.ranges()
  let next = should.next()
  let pos = 0
  const upTo = (end: number, is: number): void => {
    while (pos < end) {
      const range = next.done === true ? undefined : next.value
      const inside = range !== undefined && range.start <= pos
      const to = Math.min(end, range === undefined ? Infinity : inside ? range.start + range.len : range.start)
      if (inside || is !== 0) tell({ start: pos, len: to - pos, count: inside ? range.count : 0 }, is)
      pos = to
      if (inside && to === range.start + range.len) next = should.next()
      if (range === undefined && is === 0) return
    }
  }
  const rows = await streamRows(reader, SHARES_KIND, SHARES_END)
  while (rows.key !== undefined) {
    const { start, len, count } = readable(() => decodeShare(rows.key!, rows.row)) ?? { start: pos, len: 0, count: 0 } // it counts as not there
    if (start < pos) tell({ start, len: Math.min(len, pos - start), count: 0 }, -1)
    upTo(start, 0)
    upTo(start + len, count)
    const more = rows.advance()
    if (more instanceof Promise) await more
  }
  upTo(Infinity, 0)
}

/** The rows become what the extents say; where some cannot be read no count falls. The pool is nobody else's. */
export async function repairShares(engine: Engine, isUnreadable: boolean): Promise<number> {
  const reader = engine.reader(rootContext)
  const tally = makeTally()
  await eachSharedExtent(reader, (start, len) => tally.add(start, len))
  const rows: Share[] = []
  await compareShares(reader, tally, ({ start, len, count: should }, is) => {
    const count = isUnreadable ? Math.max(is, should) : should
    const last = rows.at(-1)
    if (count <= 0) return
    if (last !== undefined && last.start + last.len === start && last.count === count && last.len + len <= ROW_MAX_BYTES) rows[rows.length - 1] = { ...last, len: last.len + len }
    else for (let done = 0; done < len; done += ROW_MAX_BYTES) rows.push({ start: start + done, len: Math.min(ROW_MAX_BYTES, len - done), count })
  })
  for (;;) {
    const old = await reader.scan({ from: SHARES_KIND, to: SHARES_END, limit: SLICE_ROWS })
    if (old.length === 0) break
    await engine.transact(rootContext, (tx) => old.forEach(({ key }) => tx.delete(key)))
  }
  for (let i = 0; i < rows.length; i += SLICE_ROWS) {
    await engine.transact(rootContext, (tx) => rows.slice(i, i + SLICE_ROWS).forEach((share) => tx.put(shareKey(share.start), encodeShare(share))))
  }
  return rows.length
}

const pastExtent = (row: KeyedRow): Extent => {
  const past = decodePast(row)
  return decodeExtent(past.key, past.bytes)
}

function readable<R>(decode: () => R): R | undefined {
  try {
    return decode()
  } catch (e) {
    if (!(e instanceof PosixError)) throw e
    return undefined
  }
}

async function eachSharedExtent(reader: Reader, fn: (start: number, len: number) => void): Promise<void> {
  for (const kind of [EXTENT_KIND, HISTORY_KIND + EXTENT_KIND]) {
    const rows = await streamRows(reader, kind, prefixRange(kind).to)
    while (rows.key !== undefined) {
      const row = { key: rows.key, row: rows.row }
      const e = readable(() => (kind === EXTENT_KIND ? extentOfRow(row) : pastExtent(row)))
      if (e?.kind === 'shared') fn(e.start, e.len)
      const more = rows.advance()
      if (more instanceof Promise) await more
    }
  }
}
