/**
 * What a clone shows of its origin (origin.ts): its own ranges over lent ones, put together once, when a map is loaded or a view is first
 * looked at. After that a read costs no look-up more than in any file, however long the chain of clones is.
 *   - Lent extents lie in the gaps between the clone's own, below the limit. An origin's unwritten space and its holes are gaps.
 *   - Where the origin's view has logged bytes, whole units of it are held in memory: a flush of the origin may give such a unit another
 *     place. Every other unit of a held view stays where it is.
 *   - A lent extent is born before every epoch: no two views of a clone differ in it.
 */
import type { Extent } from './extents.js'
import { partOfExtent } from './extents.js'
import { ceilUnit, coverage, floorUnit } from './filemap.js'
import type { FileMap } from './filemap.js'
import { BACKGROUND, beginRead, endRead, weight, WHOLE } from './files.js'
import type { File, Floor, Seen } from './files.js'
import type { Origin } from './origin.js'
import { readMap, seenAt } from './reading.js'

const LENT_BIRTH = 0

/** A clone's own ranges, and what its origin lends it. */
export async function withOrigin(floor: Floor, own: FileMap, origin: Origin): Promise<FileMap> {
  if (origin.limit === 0) return { ...own, origin }
  const generation = beginRead(floor)
  try {
    const from = await seenAt(floor, origin.ino, origin.epoch)
    const logged = await loggedUnits(floor, from, origin.limit)
    const stored = from.map.exts.filter((e) => !e.unwritten && e.off < origin.limit).map(lend)
    return { exts: inGaps(own.exts, [logged, stored], origin.limit), pends: own.pends, origin }
  } finally {
    endRead(floor, generation)
  }
}

const lend = (e: Extent): Extent => ({ ...e, birth: LENT_BIRTH, kind: 'lent' })

/** Whole units with logged bytes, as extents that hold their bytes. */
async function loggedUnits(floor: Floor, { content, map }: Seen, limit: number): Promise<Extent[]> {
  const out: Extent[] = []
  for (let i = 0; i < map.pends.length && map.pends[i].off < limit;) {
    const off = floorUnit(map.pends[i].off)
    let end = off
    while (i < map.pends.length && floorUnit(map.pends[i].off) <= end) end = Math.max(end, ceilUnit(map.pends[i].off + map.pends[i++].len))
    const bytes = new Uint8Array(end - off)
    await readMap(floor, BACKGROUND, content, map, off, bytes.length, bytes, 0)
    out.push({ off, len: bytes.length, start: 0, birth: LENT_BIRTH, unwritten: false, kind: 'lent', bytes })
  }
  return out
}

/** `own` as it is; of one layer after the other what lies in the gaps that are left, below the limit. */
function inGaps(own: readonly Extent[], layers: readonly (readonly Extent[])[], limit: number): readonly Extent[] {
  let taken: readonly Extent[] = own
  for (const layer of layers) {
    const next: Extent[] = []
    let i = 0
    for (const e of layer) {
      let pos = e.off
      const end = Math.min(limit, e.off + e.len)
      while (pos < end) {
        while (i < taken.length && taken[i].off + taken[i].len <= pos) next.push(taken[i++])
        const upto = Math.min(end, taken[i]?.off ?? Infinity)
        if (upto > pos) next.push(partOfExtent(e, pos, upto))
        pos = Math.max(upto, Math.min(end, i < taken.length ? taken[i].off + taken[i].len : end))
      }
    }
    while (i < taken.length) next.push(taken[i++])
    taken = next
  }
  return taken
}

/** Under the file's lock: its map without what is lent, while rows come back that may lie there. */
export function withoutLent(floor: Floor, file: File): void {
  if (file.map.origin === undefined) return
  replaceMap(floor, file, { ...file.map, exts: file.map.exts.filter((e) => e.kind !== 'lent') })
}

function replaceMap(floor: Floor, file: File, map: FileMap): void {
  floor.entries -= weight(file)
  file.map = map
  floor.entries += weight(file)
  const { content } = file
  file.miscounted = coverage(map, 0, WHOLE, 0).allocated + (content!.inline?.length ?? 0) - content!.allocatedBytes
}

/** Bytes that a file shows and does not hold. */
export const lentBytes = ({ exts }: FileMap): number => exts.reduce((sum, e) => sum + (e.kind === 'lent' ? e.len : 0), 0)

/** Under the file's lock: what a view lends it lies in its map again. Its row stays as it is. */
export async function lendAgain(floor: Floor, file: File, origin: Origin): Promise<void> {
  const { exts, pends, origin: now } = file.map
  const map = await withOrigin(floor, { exts, pends, origin: now }, origin)
  replaceMap(floor, file, { ...map, origin: now })
}
