/**
 * A clone's file takes what it shows of its origin as shared extents of its own (sharing.ts): flattening that copies no bytes.
 *   - What is lent lies in extents that the origin's view shows, or that of the origin's own origin: each file on that way is asked for the
 *     units that are its own, under its lock and the clone's.
 *   - What is taken was born when the file began to be a clone: every view of it that shows something lent shows the same bytes so.
 *   - What nobody there has any more in the same place (logged bytes, copies of a flatten) stays lent, and is copied (flattening.ts).
 *   - Of files in trees, which no rollback undoes row by row: who holds their locks may look at a view of them.
 *   - After any of its transactions all files are whole, and who dies in between has lost nothing.
 * Two or three transactions a file, whatever it holds.
 */
import type { Context } from '../sys/index.js'
import type { MaybePromise, Tx } from '../engine/index.js'
import { commit, exclusively } from './changing.js'
import { NO_TOUCH } from './content.js'
import type { FileRef } from './content.js'
import type { Editor } from './editor.js'
import type { Extent } from './extents.js'
import { firstBehind } from './filemap.js'
import type { FileMap } from './filemap.js'
import { BACKGROUND, beginRead, endRead, fileOf, loaded, withLock } from './files.js'
import type { File, Floor } from './files.js'
import { HISTORY_KIND, decodePast } from './history.js'
import { decodeOrigin, originKey } from './origin.js'
import type { Origin } from './origin.js'
import { seenAt } from './reading.js'
import { mark, RANGES_MAX, sourceOf } from './sharing.js'
import type { Taken } from './sharing.js'
import { Uncounted } from './shares.js'

/** The epoch in which the first of its rows L was born that some view still needs. */
export async function lentSince({ engine }: Floor, ino: number): Promise<number> {
  const reader = engine.reader(BACKGROUND)
  const key = originKey(ino)
  const row = await reader.get(key)
  const [past] = await reader.scan({ from: `${HISTORY_KIND}${key}\u0000`, to: `${HISTORY_KIND}${key}\u0001`, limit: 1 }) // by birth
  return Math.min(row === undefined ? Infinity : decodeOrigin(row.bytes).birth, past === undefined ? Infinity : decodePast(past).birth)
}

/** In the transaction that ends a flatten: row L goes, or stays for snapshots with limit 0. */
export function endOrigin(editor: Editor, { epoch, newestSnapshot }: FileRef): void {
  const { origin } = editor
  if (origin !== undefined) editor.setOrigin(origin.birth <= newestSnapshot ? { ...origin, birth: epoch, limit: 0 } : undefined)
}

/** What it can of a clone's file. If that is all, the file is a clone no more. */
export async function joinLent(floor: Floor, ctx: Context, file: File): Promise<void> {
  await loaded(floor, file)
  const birth = await lentSince(floor, file.ino)
  const generation = beginRead(floor)
  try {
    for (let from = file.map.origin; from !== undefined && from.limit > 0;) {
      while (await joinSome(floor, ctx, file, from, birth)) continue
      from = (await seenAt(floor, from.ino, from.epoch)).map.origin
    }
  } catch (e) {
    if (!(e instanceof Uncounted)) throw e // the rest is copied
  } finally {
    endRead(floor, generation)
  }
}

function joinSome(floor: Floor, ctx: Context, target: File, from: Origin, birth: number): MaybePromise<boolean> {
  return exclusively(floor, fileOf(floor, Math.min(from.ino, target.ino)), () => {
    const source = fileOf(floor, from.ino)
    // not exclusively: as for copies, a snapshot that waits for this one would keep it waiting
    return withLock(from.ino < target.ino ? target : source, () => joinLocked(floor, ctx, target, source, from, birth))
  })
}

/** Whether there may be more. */
async function joinLocked(floor: Floor, ctx: Context, target: File, source: File, from: Origin, birth: number): Promise<boolean> {
  await loaded(floor, target)
  const { map } = await sourceOf(floor, ctx, from.ino, from.epoch, source)
  const taken = lentOf(target.map, map)
  if (taken.length === 0) return false
  await mark(floor, ctx, source, taken)
  const body = (editor: Editor, _tx: Tx, ref: FileRef, before: { readonly sizeBytes: number }): { sizeBytes: number, keepInline: true } => {
    for (const { off, len, start } of taken) {
      editor.liftExtents(off, off + len)
      editor.joinShared(off, { startBytes: start, lengthBytes: len }, birth)
    }
    if (editor.map.exts.every((e) => e.kind !== 'lent')) endOrigin(editor, ref)
    return { sizeBytes: before.sizeBytes, keepInline: true }
  }
  await commit(floor, ctx, target, { effects: NO_TOUCH }, body)
  return taken.length === RANGES_MAX
}

/** What is lent by an extent that this map has in the same place, from the first on. */
function lentOf(target: FileMap, { exts }: FileMap): Taken[] {
  const out: Taken[] = []
  for (const e of target.exts) {
    if (e.kind !== 'lent' || e.bytes !== undefined) continue
    for (let i = firstBehind(exts, e.off); i < exts.length && exts[i].off < e.off + e.len; i++) {
      const of: Extent = exts[i]
      if (of.unwritten || (of.kind !== 'own' && of.kind !== 'shared')) continue
      const off = Math.max(e.off, of.off)
      const start = e.start + off - e.off
      if (of.start + off - of.off !== start) continue
      out.push({ off, len: Math.min(e.off + e.len, of.off + of.len) - off, start, of })
      if (out.length === RANGES_MAX) return out
    }
  }
  return out
}
