/**
 * A range of rows as it was at an earlier epoch: current rows that are old enough, merged with those that moved to history.
 * In windows, so that memory is bounded whatever the range holds.
 */
import { birthOf, decodePast, HISTORY_KIND, pastAt } from '../data/index.js'
import type { Past } from '../data/index.js'
import type { Key, Reader } from '../engine/index.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

const WINDOW_ROWS = 256

export interface RowAt {
  readonly key: Key
  readonly bytes: Uint8Array
}

/** A part of the range in key order, and the key behind which to go on (undefined: that was all). */
export interface Window {
  readonly rows: readonly RowAt[]
  readonly behind: Key | undefined
}

/** The rows with behind < key < to that a view shows, from the first on. */
export function* windowAt(r: Reader, behind: Key, to: Key, view: number): Steps<Window> {
  const now = yield* wait(r.scan({ from: behind + '\u0000', to, limit: WINDOW_ROWS }))
  const then = yield* wait(r.scan({ from: HISTORY_KIND + behind + '\u0001', to: HISTORY_KIND + to, limit: WINDOW_ROWS }))
  let pasts = then.map(decodePast)
  let last = now.length < WINDOW_ROWS ? undefined : now[now.length - 1].key
  if (pasts.length === WINDOW_ROWS) {
    // the last key may have more rows than we saw: stop before it, or look it up alone
    const cut = pasts[pasts.length - 1].key
    let whole = pasts.length - 1
    while (whole > 0 && pasts[whole - 1].key === cut) whole--
    const lastPast = whole === 0 ? cut : pasts[whole - 1].key
    if (whole === 0) {
      const past = yield* wait(pastAt(r, cut, view))
      pasts = past === undefined ? [] : [past]
    } else pasts.length = whole
    if (last === undefined || lastPast < last) last = lastPast
  }
  const covered = (key: Key): boolean => last === undefined || key <= last
  const shows = (past: Past): boolean => past.birth <= view && past.death > view
  const rows: RowAt[] = []
  for (const { key, row } of now) if (covered(key) && birthOf(row.bytes) <= view) rows.push({ key, bytes: row.bytes })
  for (const past of pasts) if (covered(past.key) && shows(past)) rows.push(past)
  rows.sort((a, b) => (a.key < b.key ? -1 : a.key === b.key ? 0 : 1))
  // a row that moved to history between the two scans was found twice
  return { rows: rows.filter(({ key }, i) => i === 0 || key !== rows[i - 1].key), behind: last }
}

/** The same for the current rows. */
export function* windowNow(r: Reader, behind: Key, to: Key): Steps<Window> {
  const found = yield* wait(r.scan({ from: behind + '\u0000', to, limit: WINDOW_ROWS }))
  const rows = found.map(({ key, row }) => ({ key, bytes: row.bytes }))
  return { rows, behind: rows.length < WINDOW_ROWS ? undefined : rows[rows.length - 1].key }
}
