/**
 * Parts extents that have units in common, for a repair: the first keeps them, each other one gets units of its own with a copy of the bytes.
 *   - Which of them wrote the bytes nobody knows: all are told. But from now on neither a write to one nor its removal harms the other.
 *   - First are tentative ranges and units that are shared and counted (they stay where they are), then extents by inode and offset, then history.
 *   - The pool is nobody else's, and its allocator's rows hold all that is claimed: else a copy could land on somebody's bytes.
 */
import { PosixError, rootContext as ctx } from '../sys/index.js'
import type { Engine, Key, Tx } from '../engine/index.js'
import { UNIT_BYTES } from '../store/index.js'
import type { Overlap, Piece, Store } from '../store/index.js'
import { eachRow } from './check.js'
import { EXTENT_MAX_BYTES } from './content.js'
import { ownExtent, unitsOf } from './extents.js'
import type { Extent } from './extents.js'
import { decodePast, encodePast, HISTORY_KIND, historyKey } from './history.js'
import { decodeExtent, encodeExtent, EXTENT_KIND, extentKey, extentOfRow, inoOf, PENDING_KIND, pendingOfRow } from './rows.js'

/** Parted in one call; a repair goes round. */
const SECONDS_MAX = 1000
const COPY_BYTES = 1024 * 1024

interface Second {
  readonly key: Key
  readonly ino: number
  readonly extent: Extent
  /** Of history: when it died. */
  readonly death: number | undefined
}

export async function partOverlaps(engine: Engine, store: Store, overlaps: readonly Overlap[], did: (ino: number, what: string) => void): Promise<void> {
  for (const second of await secondsOf(engine, overlaps)) {
    try {
      await part(engine, store, second)
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      did(second.ino, `shares units with another one, and has no copy of its own (${e.message})`)
      continue
    }
    did(second.ino, `shared ${second.extent.len} bytes of the space with another one, and has a copy of its own now${second.death === undefined ? '' : ' in history'}: one of the two shows wrong bytes from ${second.extent.off} on`)
  }
}

async function secondsOf(engine: Engine, overlaps: readonly Overlap[]): Promise<readonly Second[]> {
  const reader = engine.reader(ctx)
  const kept: Overlap[] = []
  const seconds: Second[] = []
  const meets = (ranges: readonly Overlap[], { start, len }: Extent): boolean => ranges.some((r) => r.startBytes < start + len && r.startBytes + r.lengthBytes > start)
  const isSound = ({ start, len }: Extent): boolean => len > 0 && len <= EXTENT_MAX_BYTES && len % UNIT_BYTES === 0 && start % UNIT_BYTES === 0
  const eachExtent = async (fn: (key: Key, ino: number, extent: Extent, death: number | undefined) => void): Promise<void> => {
    const look: typeof fn = (key, ino, extent, death) => {
      if (unitsOf(extent) !== undefined && isSound(extent) && meets(overlaps, extent)) fn(key, ino, extent, death)
    }
    await eachRow(reader, EXTENT_KIND, 1024, readable((row) => look(row.key, inoOf(row.key), extentOfRow(row), undefined)))
    await eachRow(reader, HISTORY_KIND, 256, readable((row) => {
      const past = decodePast(row)
      if (past.key.startsWith(EXTENT_KIND)) look(row.key, inoOf(past.key), decodeExtent(past.key, past.bytes), past.death)
    }))
  }
  const keep = (start: number, len: number): void => void kept.push({ startBytes: start, lengthBytes: len })
  await eachRow(reader, PENDING_KIND, 128, readable((row) => {
    const p = pendingOfRow(row)
    if (p.bytes === undefined && !p.borrowed) keep(p.start, p.len)
  }))
  await eachExtent((_key, _ino, extent) => {
    if (extent.kind === 'shared') keep(extent.start, extent.len)
  })
  await eachExtent((key, ino, extent, death) => {
    if (extent.kind !== 'own') return
    if (!meets(kept, extent)) keep(extent.start, extent.len)
    else if (seconds.length < SECONDS_MAX) seconds.push({ key, ino, extent, death })
  })
  return seconds
}

/** Rows that cannot be read are told elsewhere. */
const readable = <R>(fn: (row: R) => void) => (row: R): void => {
  try {
    fn(row)
  } catch (e) {
    if (!(e instanceof PosixError)) throw e
  }
}

async function part(engine: Engine, store: Store, { key, ino, extent, death }: Second): Promise<void> {
  const pieces = await store.allocate(ctx, { lengthBytes: extent.len, area: 'large' })
  const parts: Extent[] = []
  let done = 0
  try {
    for (const piece of pieces) {
      if (!extent.unwritten) await copy(store, extent.start + done, piece)
      parts.push(ownExtent(extent.off + done, piece, extent.birth, extent.unwritten))
      done += piece.lengthBytes
    }
    await store.sync(ctx)
  } catch (e) {
    store.release(pieces)
    throw e
  }
  await engine.transact(ctx, (tx: Tx) => {
    tx.delete(key)
    for (const one of parts) {
      const at = extentKey(ino, one.off)
      if (death === undefined) tx.put(at, encodeExtent(one))
      else tx.put(historyKey(at, one.birth), encodePast(one.birth, death, encodeExtent(one)))
    }
    store.commitAllocated(tx, pieces)
  })
}

async function copy(store: Store, from: number, to: Piece): Promise<void> {
  const buffer = new Uint8Array(Math.min(to.lengthBytes, COPY_BYTES))
  for (let done = 0; done < to.lengthBytes; done += buffer.length) {
    const n = Math.min(buffer.length, to.lengthBytes - done)
    await store.read(ctx, from + done, n, buffer, 0)
    await store.write(ctx, to.startBytes + done, buffer, 0, n)
  }
}
