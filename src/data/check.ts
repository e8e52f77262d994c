/**
 * Checks the data floor's rows: of one file as they come by in order of offset, and of history. Sentences, none if all is well.
 *   - Ranges of a file lie in order and apart, extents and tentative ranges in whole units, none above EXTENT_MAX_BYTES; a borrowed range
 *     lies in an unwritten extent; no unit holds tentative and logged bytes.
 *   - What the inode says: bytes allocated, a durable size that is no more than the size, a row for who has bytes that are not durable.
 *   - Every unit belongs to exactly one extent, tentative range or history row, or to nobody; the allocator's rows say the same. Those of
 *     shared extents may belong to several of them: so many as a row counts (share-check.ts).
 * A row that cannot be read makes the claims incomplete (`unread`): units that nobody claims may then be its.
 */
import { PosixError, rootContext } from '../sys/index.js'
import { streamRows } from '../engine/index.js'
import type { Engine, KeyedRow, Reader } from '../engine/index.js'
import { openUnitsCheck, UNIT_BYTES } from '../store/index.js'
import type { UnitsCheck } from '../store/index.js'
import { EXTENT_MAX_BYTES, FILE_MAX_BYTES } from './content.js'
import type { Content } from './content.js'
import type { Found } from './finding.js'
import { ceilUnit, floorUnit } from './filemap.js'
import { unitsOf } from './extents.js'
import type { Extent, Pending } from './extents.js'
import { decodePast, HISTORY_KIND } from './history.js'
import { decodeExtent, decodePending, EXTENT_KIND, extentOfRow, inoOf, PENDING_KIND, pendingOfRow, TENTATIVE_KIND } from './rows.js'
import { checkShares, makeTally } from './share-check.js'
import type { SharesTally } from './share-check.js'

/** Rows of one file, extents and pending ranges merged by offset (an extent first), then `end`. */
export interface FileCheck {
  begin(ino: number): void
  extent(row: KeyedRow): void
  pending(row: KeyedRow): void
  tentative(): void
  /** `content` undefined: nobody knows this file's inode, or it could not be read. */
  end(content: Content | undefined): void
  /** What the rows of this file came to; `endBytes` of its last range. */
  sums(): { readonly allocatedBytes: number; readonly endBytes: number; readonly isTentative: boolean }
  past(row: KeyedRow): void
  /** What shared extents hold, of all files and history: claimed by claimShares, in every window. */
  readonly shares: SharesTally
  /** Only claims, for windows after the first. */
  readonly claims: { extent(row: KeyedRow): void; pending(row: KeyedRow): void; past(row: KeyedRow): void }
  /** Of this file. */
  readonly rows: number
  /** Of all files. */
  readonly extents: number
  /** Of all files. */
  readonly unread: number
}

export function makeFileCheck(units: UnitsCheck | undefined, found: Found): FileCheck {
  let ino = 0
  let rows = 0
  let extentsEnd = 0
  let pendingsEnd = 0
  let covered = 0 // end of the units counted
  let allocated = 0
  let isTentative = false
  let hasTentativeRow = false
  let isUnsound = false
  let last: Extent | undefined
  let before: Pending | undefined
  let unread = 0
  let extents = 0

  const say = (what: string): void => found({ ino, what, kind: 'report' })
  const shares = makeTally()
  /** A row that cannot be so: its file gives EIO until it is gone. */
  const unsound = (what: string): void => {
    isUnsound = true
    found({ ino, what, kind: 'bytes' })
  }
  const claim = (who: string, start: number, length: number): void => {
    if (length > EXTENT_MAX_BYTES || units?.claim(start, length) === false) unsound(`has ${who} that is no sound range of the space: ${start}+${length}`)
  }
  /** Units of an extent: claimed, or where it shares them noted, to be claimed once in the end. */
  const claimUnits = (who: string, { kind, start, len }: Extent): void => {
    if (kind !== 'shared') claim(who, start, len)
    else if (len > 0 && len <= EXTENT_MAX_BYTES && len % UNIT_BYTES === 0 && start % UNIT_BYTES === 0) shares.add(start, len)
    else unsound(`has ${who} that is no sound range of the space: ${start}+${len}`)
  }
  const count = (from: number, to: number): void => {
    const start = Math.max(from, covered)
    if (to > start) allocated += to - start
    covered = Math.max(covered, to)
  }
  const readable = <R>(what: string, decode: () => R): R | undefined => {
    try {
      return decode()
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      unread++
      unsound(`has ${what} that cannot be read`)
      return undefined
    }
  }
  const silently = <R>(decode: () => R): R | undefined => {
    try {
      return decode()
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      return undefined // told in the first window
    }
  }

  return {
    shares,
    get rows() {
      return rows
    },
    get extents() {
      return extents
    },
    get unread() {
      return unread
    },
    begin(of) {
      ino = of
      rows = extentsEnd = pendingsEnd = covered = allocated = 0
      isTentative = hasTentativeRow = isUnsound = false
      last = before = undefined
    },
    extent(row) {
      rows++
      extents++
      const e = readable('an extent', () => extentOfRow(row))
      if (e === undefined) return
      if (e.off < extentsEnd || e.len <= 0) unsound(`has an extent at ${e.off} that overlaps the one before it`)
      if (e.off % UNIT_BYTES !== 0 || e.off + e.len > ceilUnit(FILE_MAX_BYTES)) unsound(`has an extent at the impossible offset ${e.off}`)
      extentsEnd = e.off + e.len
      last = e
      if (unitsOf(e) === undefined) {
        if (e.start !== 0) unsound(`has a hole at ${e.off} that lies somewhere`)
        return
      }
      count(e.off, extentsEnd)
      claimUnits(`an extent at ${e.off}`, e)
    },
    pending(row) {
      rows++
      const p = readable('a pending range', () => pendingOfRow(row))
      if (p === undefined) return
      if (p.off < pendingsEnd || p.len <= 0) unsound(`has a pending range at ${p.off} that overlaps the one before it`)
      if (before !== undefined && (before.bytes === undefined) !== (p.bytes === undefined) && floorUnit(p.off) < ceilUnit(before.off + before.len)) unsound(`has tentative and logged bytes in one unit at ${p.off}`)
      before = p
      pendingsEnd = p.off + p.len
      count(floorUnit(p.off), ceilUnit(pendingsEnd))
      if (p.bytes !== undefined) return
      isTentative = true
      if (p.off % UNIT_BYTES !== 0) unsound(`has a tentative range at the impossible offset ${p.off}`)
      if (!p.borrowed) return claim(`a tentative range at ${p.off}`, p.start, p.len)
      const isLent = last !== undefined && last.unwritten && last.kind === 'own' && last.off <= p.off && last.off + last.len >= pendingsEnd && p.start === last.start + p.off - last.off
      if (!isLent) unsound(`has a borrowed range at ${p.off} that no unwritten extent lends`)
    },
    tentative() {
      rows++
      hasTentativeRow = true
    },
    end(content) {
      if (content === undefined) {
        if (isTentative && !hasTentativeRow) found({ ino, what: 'has bytes that are not durable and no row that says so', kind: 'content' })
        return
      }
      if (isUnsound) return // what it should say of its rows is not known
      const { sizeBytes, durableSizeBytes, inline } = content
      if (inline !== undefined && rows > 0) say('has its bytes in the inode and elsewhere')
      if (inline !== undefined && inline.length !== sizeBytes) say(`has ${inline.length} bytes in the inode, and a size of ${sizeBytes}`)
      if (sizeBytes < 0 || sizeBytes > FILE_MAX_BYTES) say(`has the impossible size ${sizeBytes}`)
      if (durableSizeBytes > sizeBytes || durableSizeBytes < 0) found({ ino, what: `has a durable size of ${durableSizeBytes}, and a size of ${sizeBytes}`, kind: 'content' })
      const needsRow = isTentative || durableSizeBytes < sizeBytes
      if (needsRow && !hasTentativeRow) found({ ino, what: 'has bytes that are not durable and no row that says so', kind: 'content' })
      if (!needsRow && hasTentativeRow) found({ ino, what: 'has a row of bytes that are not durable, and none', kind: 'content' })
      const held = allocated + (inline?.length ?? 0)
      // what the origin lends a clone is counted too
      if (content.hasOrigin ? held > content.allocatedBytes : held !== content.allocatedBytes) found({ ino, what: `says that it has ${content.allocatedBytes} bytes allocated, and has ${held}`, kind: 'content' })
    },
    sums: () => ({ allocatedBytes: allocated, endBytes: Math.max(extentsEnd, pendingsEnd), isTentative }),
    past(row) {
      const past = decodePast(row)
      ino = past.key.length >= 9 ? inoOf(past.key) : 0
      if (!(past.birth < past.death)) say('has a history row that died before it was born')
      if (past.key.startsWith(EXTENT_KIND)) {
        const e = readable('an extent in history', () => decodeExtent(past.key, past.bytes))
        if (e !== undefined && unitsOf(e) !== undefined) claimUnits(`an extent in history at ${e.off}`, e)
      } else if (past.key.startsWith(PENDING_KIND)) {
        const p = readable('a pending range in history', () => decodePending(past.key, past.bytes))
        if (p !== undefined && p.bytes === undefined) say('has a tentative range in history')
      }
    },
    claims: {
      extent(row) {
        const e = silently(() => extentOfRow(row))
        if (e?.kind === 'own') units?.claim(e.start, e.len)
      },
      pending(row) {
        const p = silently(() => pendingOfRow(row))
        if (p !== undefined && p.bytes === undefined && !p.borrowed) units?.claim(p.start, p.len)
      },
      past(row) {
        const past = decodePast(row)
        const e = past.key.startsWith(EXTENT_KIND) ? silently(() => decodeExtent(past.key, past.bytes)) : undefined
        if (e?.kind === 'own') units?.claim(e.start, e.len)
      }
    }
  }
}

export async function eachRow(reader: Reader, kind: string, pageRows: number, fn: (row: KeyedRow) => void): Promise<void> {
  const rows = await streamRows(reader, kind, String.fromCharCode(kind.charCodeAt(0) + 1), pageRows)
  while (rows.key !== undefined) {
    fn({ key: rows.key, row: rows.row })
    const more = rows.advance()
    if (more instanceof Promise) await more
  }
}

/** Files' rows, history and units, with what the test knows of inodes: sentences for tests of this floor. */
export async function checkData(engine: Engine, spaceBytes: number, contentOf: (ino: number) => Content | undefined = () => undefined): Promise<string[]> {
  const wrong: string[] = []
  const found: Found = ({ ino, what }) => wrong.push(ino === 0 ? what : `file ${ino} ${what}`)
  const reader = engine.reader(rootContext)
  const units = await openUnitsCheck(reader, spaceBytes)
  const check = makeFileCheck(units, found)
  const streams = await Promise.all([EXTENT_KIND, PENDING_KIND, TENTATIVE_KIND].map((kind) => streamRows(reader, kind, String.fromCharCode(kind.charCodeAt(0) + 1))))
  for (;;) {
    const inos = streams.flatMap((s) => (s.key === undefined ? [] : [inoOf(s.key)]))
    if (inos.length === 0) break
    const ino = Math.min(...inos)
    await feedFile(check, ino, streams[0], streams[1], streams[2])
    check.end(contentOf(ino))
  }
  await eachRow(reader, HISTORY_KIND, 1024, check.past)
  await checkShares(reader, check.shares, units, found)
  await checkUnits(units, found, () => undefined)
  return wrong
}

type Stream = Awaited<ReturnType<typeof streamRows>>

/** The rows of one file, in the order that a FileCheck wants. The streams stand at its rows or behind them. */
export async function feedFile(check: FileCheck, ino: number, extents: Stream, pendings: Stream, tentatives: Stream): Promise<void> {
  check.begin(ino)
  for (;;) {
    const e = extents.key !== undefined && inoOf(extents.key) === ino ? extents.key.slice(9) : undefined
    const p = pendings.key !== undefined && inoOf(pendings.key) === ino ? pendings.key.slice(9) : undefined
    if (e === undefined && p === undefined) break
    const stream = p === undefined || (e !== undefined && e <= unitText(p)) ? extents : pendings
    if (stream === extents) check.extent({ key: extents.key!, row: extents.row })
    else check.pending({ key: pendings.key!, row: pendings.row })
    const more = stream.advance()
    if (more instanceof Promise) await more
  }
  while (tentatives.key !== undefined && inoOf(tentatives.key) === ino) {
    check.tentative()
    const more = tentatives.advance()
    if (more instanceof Promise) await more
  }
}

/** The offset (8 bytes, big-endian), down to its unit or up in it: an extent that begins anywhere in the unit comes first. */
const unitText = (offset: string): string => offset.slice(0, 6) + String.fromCharCode(offset.charCodeAt(6) | 15, 255)

/** Compares a window's claims with the allocator's rows, and after the first window the counter. */
export async function checkUnits(units: UnitsCheck, found: Found, wrongGroup: Parameters<UnitsCheck['compare']>[0]): Promise<void> {
  await units.compare((wrong) => {
    wrongGroup(wrong)
    const parts: string[] = []
    if (wrong.leaked > 0) parts.push(`${wrong.leaked} units in use that nobody holds`)
    if (wrong.missing > 0) parts.push(`${wrong.missing} units held that are not in use`)
    if (!wrong.isCoarse) parts.push('units in use, and is not marked so')
    found({ ino: 0, what: `block group ${wrong.group} has ${parts.join(', ')}`, kind: 'units' })
  })
  const { claimed, counted } = await units.units()
  if (claimed !== counted) found({ ino: 0, what: `the allocator counts ${counted ?? 'no'} units in use, the extents ${claimed}`, kind: 'units' })
  for (const { startBytes, lengthBytes } of units.overlaps) found({ ino: 0, what: `${lengthBytes} bytes of the space at ${startBytes} belong to two extents`, kind: 'overlap' })
}
