/**
 * A file's map: two sorted lists of ranges, pending bytes over extents, and the editor that changes them.
 *   - Ranges of one list do not overlap. Extents and tentative ranges are of whole units; logged ranges of any bytes. No unit
 *     holds both tentative and logged bytes.
 *   - The editor writes as rows exactly what it changed. It works on copies; but an edit that only logs some bytes is kept aside and
 *     put into the file's own list when it committed (apply). So who holds a file's map across an await has the file's lock.
 *   - What an edit drops goes to history if a snapshot shows it, else its units are freed. A piece that stays keeps its birth.
 * 20,000 appends of 4 KiB (lists of some 2,000 ranges): 133 scavenges with a copy for each, 64 without; 13 % less CPU.
 */
import { assert } from '../sys/index.js'
import type { Tx } from '../engine/index.js'
import { UNIT_BYTES } from '../store/index.js'
import type { Piece } from '../store/index.js'
import { EXTENT_MAX_BYTES } from './data.js'
import { retire } from './history.js'
import { encodeExtent, encodePending, extentKey, LOGGED_HEADER_BYTES, newLoggedRow, pendingKey } from './rows.js'

export interface Extent {
  readonly off: number
  readonly len: number
  /** Address in the store. */
  readonly start: number
  readonly birth: number
  readonly unwritten: boolean
}
export interface Pending {
  readonly off: number
  readonly len: number
  readonly birth: number
  /** Logged: the bytes. Undefined: tentative, in the store at `start`. */
  readonly bytes: Uint8Array | undefined
  /** `bytes` lie behind the header of their own row. */
  readonly wholeRow: boolean
  readonly start: number
  readonly borrowed: boolean
  /** Of the store write that put the bytes of a tentative range. */
  readonly stamp: number
}
export interface FileMap {
  readonly exts: readonly Extent[]
  readonly pends: readonly Pending[]
}
export const EMPTY_MAP: FileMap = { exts: [], pends: [] }

/** Logged rows are cut at multiples of this: a rewrite inside one logs no more than it again. */
const LOGGED_ROW_BYTES = 16 * 1024
/** An append joins the row before it while the row stays this short. */
const COALESCE_BYTES = 1024

export const floorUnit = (n: number): number => n - (n % UNIT_BYTES)
export const ceilUnit = (n: number): number => floorUnit(n + UNIT_BYTES - 1)

interface Ranged {
  readonly off: number
  readonly len: number
}

/** Index of the first range that ends behind `at`. */
export function firstBehind(list: readonly Ranged[], at: number): number {
  let low = 0
  let high = list.length
  while (low < high) {
    const mid = (low + high) >>> 1
    if (list[mid].off + list[mid].len > at) high = mid
    else low = mid + 1
  }
  return low
}

/** Bytes of [from, to) that extents cover. */
export function coveredByExtents(exts: readonly Extent[], from: number, to: number): number {
  let sum = 0
  for (let i = firstBehind(exts, from); i < exts.length && exts[i].off < to; i++) {
    sum += Math.min(to, exts[i].off + exts[i].len) - Math.max(from, exts[i].off)
  }
  return sum
}

export interface Coverage {
  /** Units held in the store or logged, in bytes: st_blocks. */
  readonly allocated: number
  /** Units with logged bytes and no extent, or one that a snapshot keeps: a flush will allocate them. In bytes. */
  readonly loose: number
  readonly logged: number
}

/** Whether logged bytes go to new units when they are flushed, though an extent is under them: a snapshot shows that, and not them. */
export const movesAway = (extent: Extent, birth: number, newestSnapshot: number): boolean => extent.birth <= newestSnapshot && extent.birth !== birth

/** Of the units that [from, to) touches. */
export function coverage({ exts, pends }: FileMap, from: number, to: number, newestSnapshot: number): Coverage {
  const a = floorUnit(from)
  const b = ceilUnit(to)
  let allocated = coveredByExtents(exts, a, b)
  let loose = 0
  let logged = 0
  let done = a
  let moved = a // end of the units that were counted because their bytes move away
  for (let i = firstBehind(pends, a); i < pends.length && pends[i].off < b; i++) {
    const p = pends[i]
    const end = Math.min(b, ceilUnit(p.off + p.len))
    if (p.bytes !== undefined) {
      logged += Math.min(b, p.off + p.len) - Math.max(a, p.off)
      if (newestSnapshot > 0) {
        for (let start = Math.max(moved, floorUnit(p.off)), j = firstBehind(exts, start); j < exts.length && exts[j].off < end; j++) {
          if (!movesAway(exts[j], p.birth, newestSnapshot)) continue
          moved = Math.min(end, exts[j].off + exts[j].len)
          loose += moved - Math.max(start, exts[j].off)
        }
      }
    }
    const start = Math.max(done, floorUnit(p.off))
    if (end <= start) continue
    const bare = end - start - coveredByExtents(exts, start, end)
    allocated += bare
    if (p.bytes !== undefined) loose += bare
    done = end
  }
  return { allocated, loose, logged }
}

/** Address in the store behind what ends at `off`: where an allocation for `off` should begin. */
export function leftHint({ exts, pends }: FileMap, off: number): number | undefined {
  if (off === 0) return undefined
  const p = pends[firstBehind(pends, off - 1)]
  if (p !== undefined && p.off < off && p.bytes === undefined && p.off + p.len >= off) return p.start + off - p.off
  const e = exts[firstBehind(exts, off - 1)]
  return e !== undefined && e.off < off ? e.start + off - e.off : undefined
}
export function rightHint({ exts, pends }: FileMap, off: number): number | undefined {
  const p = pends[firstBehind(pends, off)]
  if (p !== undefined && p.off === off && p.bytes === undefined) return p.start
  const e = exts[firstBehind(exts, off)]
  return e !== undefined && e.off === off ? e.start : undefined
}

export interface Editor {
  readonly map: FileMap
  /** The ranges in the units that [from, to) touches, as the edits left them. */
  around(from: number, to: number): FileMap
  /** After the commit: the map, in the base's own lists where it can be. Nothing else of the editor is used afterwards. */
  apply(): FileMap
  readonly freed: readonly Piece[]
  /** How many tentative ranges more than before. */
  tentativesMore(): number
  /** How many extents more than before. */
  extentsMore(): number
  /** The range that edits touched: [low, high). */
  low(): number
  high(): number
  /** Takes pending bytes of [from, to) away; what a snapshot shows goes to history. */
  dropPending(tx: Tx, from: number, to: number): void
  /** One range as a whole, because its bytes are in an extent born in `birth` now. */
  settlePending(tx: Tx, pending: Pending, birth: number): void
  /** Joined to the range before it, if that goes on in the store and is younger than `claimed`. */
  addTentative(off: number, piece: Piece, stamp: number, borrowed: boolean, claimed: number): void
  /** Logged bytes over whatever is pending there. `from` undefined: zeros. */
  log(tx: Tx, off: number, length: number, from: Uint8Array | undefined, at: number): void
  /** Takes extents of [from, to) away: to history (dying at `death`, the domain's epoch if not given) or freed. Unwritten ones are freed always. */
  dropExtents(tx: Tx, from: number, to: number, death?: number): void
  /** Takes extents of [from, to) away without freeing: their units are put back by the caller. */
  liftExtents(from: number, to: number): Extent[]
  addExtent(off: number, piece: Piece, birth: number, unwritten: boolean): void
  /** A logged range that was in history. Nothing is pending there. */
  putBack(pending: Pending): void
  writeRows(tx: Tx): void
}

export function editMap(base: FileMap, ino: number, epoch: number, newestSnapshot: number): Editor {
  let exts = base.exts as Extent[]
  let pends = base.pends as Pending[]
  const extRows = new Map<number, Extent | undefined>()
  const pendRows = new Map<number, Pending | undefined>()
  const freed: Piece[] = []
  let low = Infinity
  let high = 0
  let tentativesMore = 0
  const touch = (from: number, to: number): void => {
    if (from < low) low = from
    if (to > high) high = to
  }
  const ownExts = (): Extent[] => (exts === base.exts ? (exts = exts.slice()) : exts)
  /** Bytes that were logged and nothing else: `remove` ranges at `at` become `insert`. */
  let aside: { readonly at: number; readonly remove: number; readonly insert: readonly Pending[] } | undefined
  const join = (): void => {
    if (aside === undefined) return
    const { at, remove, insert } = aside
    aside = undefined
    pends = base.pends.slice()
    pends.splice(at, remove, ...insert)
  }
  const ownPends = (): Pending[] => {
    join()
    return pends === base.pends ? (pends = pends.slice()) : pends
  }

  const partOfExtent = (e: Extent, from: number, to: number): Extent =>
    from === e.off && to === e.off + e.len ? e : { ...e, off: from, len: to - from, start: e.start + from - e.off }
  const partOfPending = (p: Pending, from: number, to: number): Pending =>
    from === p.off && to === p.off + p.len ? p
      : p.bytes === undefined ? { ...p, off: from, len: to - from, start: p.start + from - p.off }
        : { ...p, off: from, len: to - from, bytes: p.bytes.subarray(from - p.off, to - p.off), wholeRow: false }

  /** Cuts [from, to) out of a list; what is left of ranges at its ends stays. Answers the pieces cut out. */
  function cut<R extends Ranged & { readonly bytes?: Uint8Array | undefined }>(list: readonly R[], own: () => R[], rows: Map<number, R | undefined>, part: (r: R, from: number, to: number) => R, from: number, to: number): R[] {
    const first = firstBehind(list, from)
    let last = first
    while (last < list.length && list[last].off < to) last++
    if (first === last) return []
    const out: R[] = []
    const stay: R[] = []
    for (let i = first; i < last; i++) {
      const r = list[i]
      const end = r.off + r.len
      const a = Math.max(from, r.off)
      const b = Math.min(to, end)
      out.push(part(r, a, b))
      touch(a, b)
      rows.set(r.off, undefined)
      if ('bytes' in r && r.bytes === undefined) tentativesMore += (r.off < from ? 1 : 0) + (end > to ? 1 : 0) - 1
      if (r.off < from) {
        const left = part(r, r.off, from)
        stay.push(left)
        rows.set(left.off, left)
      }
      if (end > to) {
        const right = part(r, to, end)
        stay.push(right)
        rows.set(right.off, right)
      }
    }
    own().splice(first, last - first, ...stay)
    return out
  }

  function insertPending(p: Pending): void {
    if (p.bytes === undefined) tentativesMore++
    const list = ownPends()
    list.splice(firstBehind(list, p.off), 0, p)
    pendRows.set(p.off, p)
    touch(p.off, p.off + p.len)
  }

  function retirePending(tx: Tx, p: Pending, death: number): void {
    if (p.bytes !== undefined) {
      if (p.birth <= newestSnapshot && p.birth < death) retire(tx, pendingKey(ino, p.off), p.birth, encodePending(p), { epoch: death, newestSnapshot })
      return
    }
    // a snapshot never shows tentative bytes: whoever drops some that it would show confirms them first
    if (!p.borrowed) freed.push({ startBytes: p.start, lengthBytes: p.len })
  }

  function logged(off: number, from: Uint8Array | undefined, at: number, length: number): Pending {
    const row = newLoggedRow(epoch, length)
    if (from !== undefined) row.set(from.subarray(at, at + length), LOGGED_HEADER_BYTES)
    return { off, len: length, birth: epoch, bytes: row.subarray(LOGGED_HEADER_BYTES), wholeRow: true, start: -1, borrowed: false, stamp: 0 }
  }

  /** Cuts a logged range of `length` bytes into rows. */
  function rowsOf(off: number, length: number, from: Uint8Array | undefined, at: number): Pending[] {
    const rows: Pending[] = []
    for (let done = 0; done < length;) {
      const n = Math.min(length - done, LOGGED_ROW_BYTES - ((off + done) % LOGGED_ROW_BYTES))
      rows.push(logged(off + done, from, at + done, n))
      done += n
    }
    return rows
  }

  const joins = (before: Pending | undefined, off: number, length: number): boolean =>
    before?.bytes !== undefined && before.off + before.len === off && before.birth === epoch && before.len + length <= COALESCE_BYTES

  function joined(before: Pending, from: Uint8Array | undefined, at: number, length: number): Pending {
    const p = logged(before.off, before.bytes, 0, before.len + length)
    if (from === undefined) p.bytes!.fill(0, before.len)
    else p.bytes!.set(from.subarray(at, at + length), before.len)
    return p
  }

  /** Where nothing is pending yet, as the first edit: no copy of the list. */
  function logAside(off: number, length: number, from: Uint8Array | undefined, at: number): boolean {
    if (pends !== base.pends || aside !== undefined) return false
    const i = firstBehind(pends, off)
    if (i < pends.length && pends[i].off < off + length) {
      const p = pends[i] // the same range once more
      if (p.off !== off || p.len !== length || p.bytes === undefined || p.birth !== epoch || length > LOGGED_ROW_BYTES - (off % LOGGED_ROW_BYTES)) return false
      aside = { at: i, remove: 1, insert: [logged(off, from, at, length)] }
    } else if (joins(pends[i - 1], off, length)) aside = { at: i - 1, remove: 1, insert: [joined(pends[i - 1], from, at, length)] }
    else aside = { at: i, remove: 0, insert: rowsOf(off, length, from, at) }
    for (const p of aside.insert) pendRows.set(p.off, p)
    touch(off, off + length)
    return true
  }

  const editor: Editor = {
    get map() {
      join()
      return { exts, pends }
    },
    around(from, to) {
      if (aside === undefined) return { exts, pends }
      const list = base.pends
      const first = Math.min(aside.at, firstBehind(list, floorUnit(from)))
      const end = ceilUnit(to)
      let last = aside.at + aside.remove
      while (last < list.length && list[last].off < end) last++
      return { exts, pends: [...list.slice(first, aside.at), ...aside.insert, ...list.slice(aside.at + aside.remove, last)] }
    },
    apply() {
      if (aside === undefined || exts !== base.exts) return editor.map
      ;(base.pends as Pending[]).splice(aside.at, aside.remove, ...aside.insert)
      return base
    },
    freed,
    tentativesMore: () => tentativesMore,
    extentsMore: () => exts.length - base.exts.length,
    low: () => low,
    high: () => high,
    dropPending(tx, from, to) {
      join()
      for (const p of cut(pends, ownPends, pendRows, partOfPending, from, to)) retirePending(tx, p, epoch)
    },
    settlePending(tx, pending, birth) {
      join()
      const i = firstBehind(pends, pending.off)
      assert(pends[i] === pending, 'a range that is settled is in the map')
      ownPends().splice(i, 1)
      if (pending.bytes === undefined) tentativesMore--
      pendRows.set(pending.off, undefined)
      touch(pending.off, pending.off + pending.len)
      if (pending.bytes !== undefined) retirePending(tx, pending, birth)
    },
    addTentative(off, piece, stamp, borrowed, claimed) {
      join()
      const i = firstBehind(pends, off) - 1
      const left = pends[i]
      if (left !== undefined && left.bytes === undefined && left.stamp > claimed && left.off + left.len === off && left.start + left.len === piece.startBytes &&
        left.birth === epoch && left.borrowed === borrowed && left.len + piece.lengthBytes <= EXTENT_MAX_BYTES) {
        const p = { ...left, len: left.len + piece.lengthBytes, stamp }
        ownPends()[i] = p
        pendRows.set(p.off, p)
        touch(off, off + piece.lengthBytes)
        return
      }
      for (let done = 0; done < piece.lengthBytes;) {
        const len = Math.min(EXTENT_MAX_BYTES, piece.lengthBytes - done)
        insertPending({ off: off + done, len, birth: epoch, bytes: undefined, wholeRow: false, start: piece.startBytes + done, borrowed, stamp })
        done += len
      }
    },
    log(tx, off, length, from, at) {
      if (logAside(off, length, from, at)) return
      editor.dropPending(tx, off, off + length)
      const i = firstBehind(pends, off)
      if (joins(pends[i - 1], off, length)) {
        const p = joined(pends[i - 1], from, at, length)
        ownPends()[i - 1] = p
        pendRows.set(p.off, p)
        touch(off, off + length)
      } else for (const p of rowsOf(off, length, from, at)) insertPending(p)
    },
    dropExtents(tx, from, to, death = epoch) {
      for (const e of cut(exts, ownExts, extRows, partOfExtent, from, to)) {
        if (!e.unwritten && e.birth <= newestSnapshot && e.birth < death) retire(tx, extentKey(ino, e.off), e.birth, encodeExtent(e), { epoch: death, newestSnapshot })
        else freed.push({ startBytes: e.start, lengthBytes: e.len })
      }
    },
    liftExtents: (from, to) => cut(exts, ownExts, extRows, partOfExtent, from, to),
    addExtent(off, piece, birth, unwritten) {
      let e: Extent = { off, len: piece.lengthBytes, start: piece.startBytes, birth, unwritten }
      const list = ownExts()
      let at = firstBehind(list, off)
      const touches = (l: Extent, r: Extent): boolean =>
        l.off + l.len === r.off && l.start + l.len === r.start && l.birth === r.birth && l.unwritten === r.unwritten && l.len + r.len <= EXTENT_MAX_BYTES
      touch(off, off + e.len)
      let gone = 0
      const left = list[at - 1]
      if (left !== undefined && touches(left, e)) {
        e = { ...left, len: left.len + e.len }
        at--
        gone++
      }
      const right = list[at + gone]
      if (right !== undefined && touches(e, right)) {
        extRows.set(right.off, undefined)
        e = { ...e, len: e.len + right.len }
        gone++
      }
      const parts: Extent[] = []
      for (let done = 0; done < e.len; done += EXTENT_MAX_BYTES) parts.push(partOfExtent(e, e.off + done, Math.min(e.off + e.len, e.off + done + EXTENT_MAX_BYTES)))
      list.splice(at, gone, ...parts)
      for (const p of parts) extRows.set(p.off, p)
    },
    putBack(pending) {
      join()
      insertPending(pending)
    },
    writeRows(tx) {
      for (const [off, e] of extRows) {
        if (e === undefined) tx.delete(extentKey(ino, off))
        else tx.put(extentKey(ino, off), encodeExtent(e))
      }
      for (const [off, p] of pendRows) {
        if (p === undefined) tx.delete(pendingKey(ino, off))
        else tx.put(pendingKey(ino, off), encodePending(p))
      }
    }
  }
  return editor
}
