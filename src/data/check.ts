/**
 * Checks the data floor's rows against each other and against the allocator's, for tests and fsck: sentences, none if all is well.
 *   - Ranges of a file lie in order and apart, extents and tentative ranges in whole units, none above EXTENT_MAX_BYTES.
 *   - Every unit belongs to exactly one extent, tentative range or history row, or to nobody; the bit rows say the same.
 */
import { rootContext } from '../sys/index.js'
import type { Engine, KeyedRow } from '../engine/index.js'
import { COUNTERS_KEY, GROUP_BYTES, GROUP_UNITS, groupKey, UNIT_BYTES } from '../store/index.js'
import { EXTENT_MAX_BYTES } from './data.js'
import { decodePast, HISTORY_KIND } from './history.js'
import { decodeExtent, decodePending, EXTENT_KIND, extentOfRow, inoOf, PENDING_KIND, pendingOfRow, TENTATIVE_KIND } from './rows.js'

const SCAN_ROWS = 1024

async function* scan(engine: Engine, prefix: string): AsyncGenerator<KeyedRow> {
  const reader = engine.reader(rootContext)
  const to = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)
  for (let from = prefix; ;) {
    const rows = await reader.scan({ from, to, limit: SCAN_ROWS })
    yield* rows
    if (rows.length < SCAN_ROWS) return
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

export async function checkData(engine: Engine, spaceBytes: number): Promise<string[]> {
  const wrong: string[] = []
  const groups = new Map<number, Uint8Array>() // units as the extents claim them
  let units = 0
  const claim = (who: string, start: number, len: number): void => {
    if (start % UNIT_BYTES !== 0 || len % UNIT_BYTES !== 0 || len <= 0 || len > EXTENT_MAX_BYTES || start < 0 || start + len > spaceBytes) {
      wrong.push(`${who} has no sound range in the store: ${start}+${len}`)
      return
    }
    for (let unit = start / UNIT_BYTES; unit < (start + len) / UNIT_BYTES; unit++) {
      const group = Math.floor(unit / GROUP_UNITS)
      const bit = unit % GROUP_UNITS
      let bits = groups.get(group)
      if (bits === undefined) groups.set(group, (bits = new Uint8Array(GROUP_UNITS / 8)))
      if ((bits[bit >> 3] >> (bit & 7)) & 1) wrong.push(`${who} holds unit ${unit}, which another holds too`)
      else units++
      bits[bit >> 3] |= 1 << (bit & 7)
    }
  }

  let ino = -1
  let end = 0
  const inOrder = (who: string, of: number, off: number, len: number): void => {
    if (of !== ino) end = 0
    ino = of
    if (off < end || len <= 0) wrong.push(`${who} overlaps the range before it`)
    end = off + len
  }
  for await (const row of scan(engine, EXTENT_KIND)) {
    const e = extentOfRow(row)
    const who = `extent ${inoOf(row.key)}@${e.off}`
    inOrder(who, inoOf(row.key), e.off, e.len)
    if (e.off % UNIT_BYTES !== 0) wrong.push(`${who} does not begin at a unit`)
    claim(who, e.start, e.len)
  }
  ino = -1
  const tentative = new Set<number>()
  for await (const row of scan(engine, PENDING_KIND)) {
    const p = pendingOfRow(row)
    const who = `pending range ${inoOf(row.key)}@${p.off}`
    inOrder(who, inoOf(row.key), p.off, p.len)
    if (p.bytes !== undefined) continue
    tentative.add(inoOf(row.key))
    if (p.off % UNIT_BYTES !== 0) wrong.push(`${who} does not begin at a unit`)
    if (!p.borrowed) claim(who, p.start, p.len)
  }
  for await (const row of scan(engine, TENTATIVE_KIND)) tentative.delete(inoOf(row.key))
  for (const of of tentative) wrong.push(`file ${of} has tentative ranges and no row that says so`)
  for await (const row of scan(engine, HISTORY_KIND)) {
    const past = decodePast(row)
    if (past.key.startsWith(EXTENT_KIND)) {
      const e = decodeExtent(past.key, past.bytes)
      claim(`past extent ${inoOf(past.key)}@${e.off}`, e.start, e.len)
    } else if (past.key.startsWith(PENDING_KIND) && decodePending(past.key, past.bytes).bytes === undefined) {
      wrong.push(`history holds a tentative range of ${inoOf(past.key)}`)
    }
  }

  const reader = engine.reader(rootContext)
  for (let group = 0; group < spaceBytes / GROUP_BYTES; group++) {
    const row = (await reader.bits(groupKey(group))) ?? new Uint8Array(GROUP_UNITS / 8)
    const claimed = groups.get(group) ?? new Uint8Array(GROUP_UNITS / 8)
    const at = row.findIndex((byte, i) => byte !== claimed[i])
    if (at >= 0) wrong.push(`block group ${group}: the allocator has ${row[at].toString(2)} at units ${at * 8} to ${at * 8 + 7}, the extents ${claimed[at].toString(2)}`)
  }
  const used = (await reader.counters(COUNTERS_KEY))?.[0]
  if (used !== units) wrong.push(`the allocator counts ${used} units in use, the extents ${units}`)
  return wrong
}
