/**
 * A file becomes again what a view shows: what is younger goes, and what it replaced comes back out of history.
 *   - The view is the newest that shows the file: its rows are the current ones born by then, and rows of history. They do not overlap.
 *   - Small transactions, and it may begin anew after any of them. In this order: younger ranges go (their units are free: no view
 *     shows them), then extents come back, then logged bytes over them, then what a clone had of its origin, with the sizes. Until then the file is nobody's to read:
 *     the caller keeps others out, and this keeps the flush out.
 *   - Whoever looks at a view of the file looks between two steps: a row that leaves history between two scans would be found nowhere. It does
 *     not wait for the end, which may wait for a snapshot that waits for it.
 */
import type { Context } from '../sys/index.js'
import type { KeyedRow } from '../engine/index.js'
import { commit, exclusively } from './changing.js'
import { NO_TOUCH } from './content.js'
import type { ContentEffects, View } from './content.js'
import { fileOf, loaded } from './files.js'
import type { File, Floor } from './files.js'
import { decodePast, HISTORY_KIND, historyKey } from './history.js'
import { originAt, originKey } from './origin.js'
import { lendAgain, withoutLent } from './lending.js'
import { decodeExtent, decodePending, EXTENT_KIND, PENDING_KIND, rowsFrom } from './rows.js'

/** Ranges of one transaction. */
const RANGES_MAX = 512

export async function restore(floor: Floor, ctx: Context, ino: number, view: View, effects: ContentEffects): Promise<void> {
  while (floor.restoring.has(ino)) await floor.restoring.get(ino)
  let done = (): void => undefined
  floor.restoring.set(ino, new Promise((resolve) => (done = resolve)))
  try {
    const file = fileOf(floor, ino)
    await step(floor, file, () => Promise.resolve(withoutLent(floor, file)))
    while (await step(floor, file, () => dropYounger(floor, ctx, file, view)));
    for (const kind of [EXTENT_KIND, PENDING_KIND]) {
      let behind: string | undefined = HISTORY_KIND + rowsFrom(kind, ino)
      while (behind !== undefined) behind = await step(floor, file, () => bringBack(floor, ctx, file, view, kind, behind!))
    }
    const then = await floor.readContent(ctx, ino, view)
    const origin = then.hasOrigin ? await originAt(floor.engine.reader(ctx), ino, view) : undefined
    await step(floor, file, async () => {
      if (origin !== undefined) await lendAgain(floor, file, origin)
      return commit(floor, ctx, file, { effects }, (editor, tx) => {
        if (origin !== undefined && origin.birth !== editor.origin?.birth) tx.delete(historyKey(originKey(ino), origin.birth)) // it is the current one again
        editor.setOrigin(origin?.birth === editor.origin?.birth ? editor.origin : origin)
        return { sizeBytes: then.sizeBytes, durableSizeBytes: then.sizeBytes, inline: then.inline }
      })
    })
  } finally {
    floor.restoring.delete(ino)
    done()
  }
}

async function step<T>(floor: Floor, file: File, fn: () => Promise<T>): Promise<T> {
  await floor.clock.sleep(0) // others' requests come first
  return exclusively(floor, file, async () => {
    if (file.content === undefined) await loaded(floor, file)
    file.cuts++ // a flush that began before gives up
    floor.restorings++
    let done = (): void => undefined
    floor.stepping.set(file.ino, new Promise((resolve) => (done = resolve)))
    try {
      return await fn()
    } finally {
      floor.stepping.delete(file.ino)
      done()
    }
  })
}

/** Whether it did something. */
async function dropYounger(floor: Floor, ctx: Context, file: File, view: View): Promise<boolean> {
  const { exts, pends } = file.map
  const youngExts = exts.filter((e) => e.birth > view).slice(0, RANGES_MAX)
  const youngPends = pends.filter((p) => p.birth > view).slice(0, RANGES_MAX)
  if (youngExts.length + youngPends.length === 0) return false
  await commit(floor, ctx, file, { effects: NO_TOUCH }, (editor, tx, _ref, before) => {
    for (const { off, len } of youngPends) editor.dropPending(tx, off, off + len)
    for (const { off, len } of youngExts) editor.dropExtents(tx, off, off + len)
    return { sizeBytes: before.sizeBytes, durableSizeBytes: before.sizeBytes, keepInline: true }
  })
  return true
}

/** The next rows of history that the view shows; where to go on, undefined at the end. */
async function bringBack(floor: Floor, ctx: Context, file: File, view: View, kind: string, behind: string): Promise<string | undefined> {
  const found: readonly KeyedRow[] = await floor.engine.reader(ctx).scan({ from: `${behind}\u0000`, to: HISTORY_KIND + rowsFrom(kind, file.ino + 1), limit: RANGES_MAX })
  const shown = found.filter((row) => {
    const past = decodePast(row)
    return past.birth <= view && past.death > view
  })
  if (shown.length > 0) {
    await commit(floor, ctx, file, { effects: NO_TOUCH }, (editor, tx, _ref, before) => {
      for (const row of shown) {
        const past = decodePast(row)
        tx.delete(row.key)
        if (kind === PENDING_KIND) {
          const pending = decodePending(past.key, past.bytes)
          if (pending.len > 0) editor.putBack(pending) // earlier versions left rows of no bytes in history
        } else editor.putExtent(decodeExtent(past.key, past.bytes))
      }
      return { sizeBytes: before.sizeBytes, inline: undefined }
    })
  }
  return found.length < RANGES_MAX ? undefined : found[found.length - 1].key
}
