/**
 * Reads: from a file's map to bytes, data and holes.
 *   - A read of what is in memory or in the page cache ends in the tick, without a promise. Else all its parts that miss run at
 *     once, off the loop, and the units they read are kept from reuse until they ended.
 *   - At a view other than now a map is put together from the rows that the view shows: current ones that are old enough and
 *     those in history. Pending bytes lie over extents there too: they died when an extent took their place. Pending rows are read
 *     first: bytes that a flush moves meanwhile are then found twice, not nowhere.
 *   - Maps of views are kept (PASTS_MAX files) until the file's rows change: what a view shows stays, where it lies may not.
 */
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { NOW } from './content.js'
import type { Content, Part, PartKind, View } from './content.js'
import type { Extent, Pending } from './extents.js'
import { EMPTY_MAP, firstBehind } from './filemap.js'
import type { FileMap } from './filemap.js'
import { BACKGROUND, beginRead, endRead, fileOf, hasRanges, loaded, scanAll } from './files.js'
import type { File, Floor, Past, Seen } from './files.js'
import { decodePast, HISTORY_KIND } from './history.js'
import { originAt } from './origin.js'
import { decodeExtent, decodePending, EXTENT_KIND, PENDING_KIND, rowsFrom } from './rows.js'


function seenNow(floor: Floor, ctx: Context, file: File): MaybePromise<Seen> {
  const { inflight, content } = file
  if (inflight === undefined) return { content: content!, map: file.map }
  const committed = floor.readContent(ctx, file.ino, NOW)
  const choose = (c: Content): Seen =>
    c.sizeBytes !== content!.sizeBytes && c.sizeBytes === inflight.content.sizeBytes ? inflight : { content: content!, map: file.map }
  return committed instanceof Promise ? committed.then(choose) : choose(committed)
}

const PASTS_MAX = 64
const VIEWS_MAX = 4 // of one file: whoever compares snapshots reads it at two

const pastOf = (floor: Floor, ino: number, view: View): Past | undefined => floor.pasts.get(ino)?.find((past) => past.view === view)

/** The caller's read has begun (beginRead): units of this map are not handed out again before it ends. */
export function seenAt(floor: Floor, ino: number, view: View): MaybePromise<Seen> {
  const known = pastOf(floor, ino, view)
  if (known !== undefined) return known.seen
  const { pasts } = floor
  const past: Past = { view, seen: lookAt(floor, ino, view) }
  const views = pasts.get(ino) ?? []
  pasts.delete(ino)
  pasts.set(ino, [...views.slice(1 - VIEWS_MAX), past])
  if (pasts.size > PASTS_MAX) pasts.delete(pasts.keys().next().value!)
  if (past.seen instanceof Promise) past.seen.then((seen) => (past.seen = seen), () => pasts.delete(ino))
  return past.seen
}

async function lookAt(floor: Floor, ino: number, view: View): Promise<Seen> {
  for (;;) {
    while (floor.stepping.has(ino)) await floor.stepping.get(ino)
    const before = floor.restorings
    const seen = await lookOnce(floor, ino, view)
    if (before === floor.restorings) return seen
  }
}

async function lookOnce(floor: Floor, ino: number, view: View): Promise<Seen> {
  const content = await floor.readContent(BACKGROUND, ino, view)
  if (content.inline !== undefined || !hasRanges(content)) return { content, map: EMPTY_MAP }
  const pends = await rowsAt(floor, PENDING_KIND, ino, view, decodePending)
  const exts = await rowsAt(floor, EXTENT_KIND, ino, view, decodeExtent)
  const own = { exts: flat(exts), pends: flat(pends), origin: undefined }
  const origin = content.hasOrigin ? await originAt(floor.engine.reader(BACKGROUND), ino, view) : undefined
  return { content, map: origin === undefined ? own : await floor.compose(own, origin) }
}

interface Versioned { readonly off: number; readonly len: number; readonly birth: number }

async function rowsAt<R extends Versioned>(floor: Floor, kind: string, ino: number, view: View, decode: (key: string, bytes: Uint8Array) => R): Promise<R[]> {
  const now = await scanAll(floor, kind, ino, ({ key, row }) => decode(key, row.bytes))
  const out = now.filter((r) => r.birth <= view)
  const to = HISTORY_KIND + rowsFrom(kind, ino + 1)
  const reader = floor.engine.reader(BACKGROUND)
  for (let from = HISTORY_KIND + rowsFrom(kind, ino); ;) {
    const rows = await reader.scan({ from, to, limit: 512 })
    for (const row of rows) {
      const past = decodePast(row)
      if (past.birth <= view && past.death > view) out.push(decode(past.key, past.bytes))
    }
    if (rows.length < 512) return out
    from = `${rows[rows.length - 1].key}\u0000`
  }
}

/** Sorted. Rows of one view do not overlap: what a row covered when it was replaced died then. One that moved to history between the scans was found twice. */
const flat = <R extends Versioned>(rows: R[]): R[] => rows.sort((a, b) => a.off - b.off).filter((r, i) => i === 0 || r.off !== rows[i - 1].off)

export function read(floor: Floor, ctx: Context, ino: number, view: View, offset: number, length: number, into: Uint8Array, at: number): MaybePromise<number> {
  if (view !== NOW) return readAt(floor, ctx, ino, view, offset, length, into, at)
  if (!floor.files.has(ino)) {
    const content = floor.readContent(ctx, ino, NOW) // a file all of whose bytes are in its inode needs no place in the table
    if (!(content instanceof Promise) && (content.inline !== undefined || !hasRanges(content))) return readMap(floor, ctx, content, EMPTY_MAP, offset, length, into, at)
  }
  const file = fileOf(floor, ino)
  const loading = file.content === undefined ? loaded(floor, file) : undefined
  if (loading !== undefined) return loading.then(() => read(floor, ctx, ino, view, offset, length, into, at))
  if (file.inflight === undefined) return readMap(floor, ctx, file.content!, file.map, offset, length, into, at)
  const seen = seenNow(floor, ctx, file)
  const go = (s: Seen): MaybePromise<number> => readMap(floor, ctx, s.content, s.map, offset, length, into, at)
  return seen instanceof Promise ? seen.then(go) : go(seen)
}

function readAt(floor: Floor, ctx: Context, ino: number, view: View, offset: number, length: number, into: Uint8Array, at: number): MaybePromise<number> {
  const known = pastOf(floor, ino, view)
  if (known === undefined || known.seen instanceof Promise) return readLater(floor, ctx, ino, view, offset, length, into, at)
  return readMap(floor, ctx, known.seen.content, known.seen.map, offset, length, into, at)
}

async function readLater(floor: Floor, ctx: Context, ino: number, view: View, offset: number, length: number, into: Uint8Array, at: number): Promise<number> {
  const generation = beginRead(floor)
  try {
    const { content, map } = await seenAt(floor, ino, view)
    return await readMap(floor, ctx, content, map, offset, length, into, at)
  } finally {
    endRead(floor, generation)
  }
}

/** Some bytes of a file under its lock (or of any map that does not change). */
export function readMap(floor: Floor, ctx: Context, content: Content, { exts, pends }: FileMap, offset: number, length: number, into: Uint8Array, at: number): MaybePromise<number> {
  const n = Math.min(length, content.sizeBytes - offset)
  if (n <= 0) return 0
  const end = offset + n
  if (content.inline !== undefined) {
    const part = content.inline.subarray(offset, end)
    into.set(part, at)
    if (part.length < n) into.fill(0, at + part.length, at + n)
    return n
  }
  let waits: Promise<void>[] | undefined
  let pi = firstBehind(pends, offset)
  let ei = firstBehind(exts, offset)
  const base = at - offset
  for (let pos = offset; pos < end;) {
    while (pi < pends.length && pends[pi].off + pends[pi].len <= pos) pi++
    const p = pends[pi]
    let upto = end
    let start = -1
    if (p !== undefined && p.off <= pos) {
      upto = Math.min(end, p.off + p.len)
      if (p.bytes !== undefined) {
        into.set(pos === p.off && upto === p.off + p.len ? p.bytes : p.bytes.subarray(pos - p.off, upto - p.off), base + pos)
        pos = upto
        continue
      }
      start = p.start + pos - p.off
    } else {
      if (p !== undefined && p.off < upto) upto = p.off
      while (ei < exts.length && exts[ei].off + exts[ei].len <= pos) ei++
      const e = exts[ei]
      if (e !== undefined && e.off <= pos) {
        upto = Math.min(upto, e.off + e.len)
        if (e.bytes !== undefined) {
          into.set(e.bytes.subarray(pos - e.off, upto - e.off), base + pos)
          pos = upto
          continue
        }
        if (!e.unwritten) start = e.start + pos - e.off
      } else if (e !== undefined && e.off < upto) upto = e.off
    }
    if (start < 0) into.fill(0, base + pos, base + upto)
    else {
      const answer = floor.store.read(ctx, start, upto - pos, into, base + pos)
      if (answer instanceof Promise) (waits ??= []).push(answer)
    }
    pos = upto
  }
  return waits === undefined ? n : finish(floor, waits, n)
}

async function finish(floor: Floor, waits: readonly Promise<void>[], n: number): Promise<number> {
  const generation = beginRead(floor)
  try {
    if (waits.length === 1) await waits[0]
    else await Promise.all(waits)
    return n
  } finally {
    if (waits.length > 1) await Promise.allSettled(waits) // the others still read
    endRead(floor, generation)
  }
}

// ------------------------------------------------------------------------------------------------ data and holes

const partAt = (map: FileMap, pos: number): { readonly kind: PartKind; readonly upto: number } => {
  const p: Pending | undefined = map.pends[firstBehind(map.pends, pos)]
  if (p !== undefined && p.off <= pos) return { kind: 'data', upto: p.off + p.len }
  const e: Extent | undefined = map.exts[firstBehind(map.exts, pos)]
  const limit = p === undefined ? Infinity : p.off
  if (e !== undefined && e.off <= pos) return { kind: !e.unwritten ? 'data' : e.kind === 'hole' ? 'hole' : 'zero', upto: Math.min(limit, e.off + e.len) }
  return { kind: 'hole', upto: Math.min(limit, e === undefined ? Infinity : e.off) }
}

/** What a view shows of a file, put to use. */
export function seen<T>(floor: Floor, ctx: Context, ino: number, view: View, use: (s: Seen) => T): MaybePromise<T> {
  if (view !== NOW) {
    const past = seenAt(floor, ino, view)
    return past instanceof Promise ? past.then(use) : use(past)
  }
  const file = fileOf(floor, ino)
  const go = (): MaybePromise<T> => {
    const now = seenNow(floor, ctx, file)
    return now instanceof Promise ? now.then(use) : use(now)
  }
  const loading = loaded(floor, file)
  return loading === undefined ? go() : loading.then(go)
}

export function layout(floor: Floor, ctx: Context, ino: number, view: View, offset: number, length: number, limit: number): MaybePromise<readonly Part[]> {
  return seen(floor, ctx, ino, view, ({ content, map }) => {
    const end = Math.min(content.sizeBytes, offset + length)
    const parts: Part[] = []
    for (let pos = offset; pos < end && parts.length < limit;) {
      const { kind, upto } = content.inline !== undefined ? { kind: 'data' as const, upto: end } : partAt(map, pos)
      const to = Math.min(end, upto)
      parts.push({ kind, lengthBytes: to - pos })
      pos = to
    }
    return parts
  })
}

/** The first byte at or after the offset that is data (or is none); undefined past the end. The end of the file is a hole. */
export function seek(floor: Floor, ctx: Context, ino: number, view: View, offset: number, wanted: 'data' | 'hole'): MaybePromise<number | undefined> {
  const walk = ({ content, map }: Seen): number | undefined => {
    const size = content.sizeBytes
    if (offset >= size || offset < 0) return undefined
    if (content.inline !== undefined) return wanted === 'data' ? offset : size
    for (let pos = offset; pos < size;) {
      const { kind, upto } = partAt(map, pos)
      if ((kind === 'data') === (wanted === 'data')) return pos
      pos = upto
    }
    return wanted === 'data' ? undefined : size
  }
  return seen(floor, ctx, ino, view, walk)
}
