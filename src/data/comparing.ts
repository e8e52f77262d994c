/**
 * Which bytes of a file differ between two views of it: by the births of what covers them, no byte is read.
 *   - Told are all ranges that may differ: those written since the older view (perhaps with the same bytes), and those that were
 *     given back since. Unwritten space and holes read the same, and are told as the same.
 *   - Bytes that lie behind the end of one of the views are told if the other has something there; sizes are the caller's to compare.
 * Costs a look at each range of both maps, some 2 us a range; holds both maps in memory.
 */
import type { Context } from '../sys/index.js'
import type { View } from './content.js'
import { firstBehind } from './filemap.js'
import type { FileMap } from './filemap.js'
import type { Floor, Seen } from './files.js'
import { seen } from './reading.js'

export interface ByteRange {
  readonly offsetBytes: number
  readonly lengthBytes: number
}

/** What a byte comes from: since when, undefined where it is zero without anything behind it; and up to where that holds. */
interface Source {
  readonly birth: number | undefined
  readonly upto: number
}

function sourceAt({ exts, pends }: FileMap, at: number): Source {
  const p = pends[firstBehind(pends, at)]
  if (p !== undefined && p.off <= at) return { birth: p.birth, upto: p.off + p.len }
  const limit = p === undefined ? Infinity : p.off
  const e = exts[firstBehind(exts, at)]
  if (e !== undefined && e.off <= at) return { birth: e.unwritten ? undefined : e.birth, upto: Math.min(limit, e.off + e.len) }
  return { birth: undefined, upto: Math.min(limit, e === undefined ? Infinity : e.off) }
}

/** Sorted, apart from each other. */
export async function changes(floor: Floor, ctx: Context, ino: number, one: View, other: View): Promise<readonly ByteRange[]> {
  const look = (view: View): Promise<Seen> => Promise.resolve(seen(floor, ctx, ino, view, ({ content, map }) => ({ content, map })))
  const oldView = Math.min(one, other)
  const [old, young] = [await look(oldView), await look(Math.max(one, other))]
  const ranges: { offsetBytes: number; lengthBytes: number }[] = []
  const tell = (from: number, to: number): void => {
    const last = ranges.at(-1)
    if (last !== undefined && last.offsetBytes + last.lengthBytes === from) last.lengthBytes = to - last.offsetBytes
    else if (to > from) ranges.push({ offsetBytes: from, lengthBytes: to - from })
  }
  const before = old.content.inline
  const after = young.content.inline
  if (before !== undefined && after !== undefined) {
    if (Buffer.compare(before, after) !== 0) tell(0, Math.max(before.length, after.length))
    return ranges
  }
  const inlineEnd = Math.max(before?.length ?? 0, after?.length ?? 0)
  tell(0, inlineEnd)
  const end = Math.max(old.content.sizeBytes, young.content.sizeBytes)
  for (let at = inlineEnd; at < end;) {
    const was = sourceAt(old.map, at)
    const is = sourceAt(young.map, at)
    const upto = Math.min(end, was.upto, is.upto)
    const same = is.birth === undefined ? was.birth === undefined : is.birth <= oldView
    if (!same) tell(at, upto)
    at = upto
  }
  return ranges
}
