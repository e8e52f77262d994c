/**
 * Merging: a file that was written in scattered places gets its extents in order again, MERGED_BYTES at a time, while nobody writes.
 *   - A range is merged if extents cover all of it, none of them with zeros only or needed by a snapshot, and nothing is pending over them.
 *   - Its bytes are written again as one tentative range, as a write of the same bytes over a snapshot would be: until a sync has confirmed it the
 *     extents below stay as they are, and a power cut falls back on them. So it is safe at every step, and waits for no sync of its own.
 *   - It runs TICK_BYTES a tick, only in ticks in which nobody else wrote, not where the store has no run that is long enough, and not where less than an
 *     eighth of it is free: what is replaced is given back only after the next sync. A whole look
 *     that found nothing to do is not made again before the file has a quarter more extents.
 */
import { errnoOf, PosixError } from '../sys/index.js'
import type { Timer } from '../sys/index.js'
import { commit, exclusively, Moved, refOf, stableEnd } from './changing.js'
import { NO_TOUCH } from './content.js'
import { mayOverwrite } from './extents.js'
import { firstBehind, leftHint } from './filemap.js'
import { BACKGROUND, isScattered, loaded, MERGED_BYTES } from './files.js'
import type { File, Floor } from './files.js'
import { readMap } from './reading.js'

const TICK_MS = 500
const TICK_BYTES = 8 * 1024 * 1024

export interface Merging {
  stop(): Promise<void>
}

export function startMerging(floor: Floor): Merging {
  const { clock, scattered } = floor
  const tried = new WeakMap<File, number>() // how many extents it had after a look that found nothing
  let timer: Timer | undefined
  let running: Promise<void> | undefined
  let stopped = false
  let at = 0 // in the file that is the first in line
  let merged = 0 // of it, in this look
  let stampBefore = -1

  const isWorth = (file: File): boolean => floor.files.get(file.ino) === file && file.content !== undefined && isScattered(file) && file.map.exts.length > (tried.get(file) ?? 0) * 1.25

  const leaves = (file: File): void => {
    scattered.delete(file)
    at = 0
    merged = 0
  }

  const hasRoom = (): boolean => {
    const { freeBytes, sizeBytes } = floor.store.status()
    return freeBytes >= sizeBytes / 8
  }

  async function tick(): Promise<void> {
    const mayRun = floor.stamp === stampBefore && floor.loggedBytes === 0 && hasRoom()
    for (let left = mayRun ? TICK_BYTES : 0; left > 0 && !stopped;) {
      const [file] = scattered
      if (file === undefined) break
      if (!isWorth(file)) {
        leaves(file)
        continue
      }
      const from = nextRange(file, at)
      if (from === undefined) {
        if (merged === 0) tried.set(file, file.map.exts.length)
        leaves(file)
        continue
      }
      at = from + MERGED_BYTES
      if (!await mergeRange(floor, file, from)) {
        tried.set(file, file.map.exts.length)
        leaves(file)
        continue
      }
      merged++
      left -= MERGED_BYTES
    }
    stampBefore = floor.stamp
  }

  function arm(): void {
    if (stopped || timer !== undefined || running !== undefined || scattered.size === 0) return
    timer = clock.after(TICK_MS, () => {
      timer = undefined
      running = tick().catch((e: unknown) => { // the store's failures are told to who syncs
        errnoOf(e)
        scattered.clear()
      }).finally(() => {
        running = undefined
        arm()
      })
    })
  }
  floor.onScattered = arm

  return {
    async stop() {
      stopped = true
      timer?.stop()
      await running
    }
  }
}

/** The first range at or behind `at` that can be merged and gains by it. */
function nextRange(file: File, at: number): number | undefined {
  const { exts } = file.map
  const end = file.content!.sizeBytes
  for (let from = at; from + MERGED_BYTES <= end;) {
    const first = exts[firstBehind(exts, from)]
    if (first === undefined) return undefined
    if (first.off >= from + MERGED_BYTES) from = first.off - first.off % MERGED_BYTES
    else if (gains(file, from)) return from
    else from += MERGED_BYTES
  }
  return undefined
}

function gains({ map, ref }: File, from: number): boolean {
  const { exts, pends } = map
  const to = from + MERGED_BYTES
  const newestSnapshot = ref?.newestSnapshot ?? 0
  if ((pends[firstBehind(pends, from)]?.off ?? Infinity) < to) return false
  let pos = from
  let pieces = 0
  for (let i = firstBehind(exts, from); pos < to; i++) {
    const e = exts[i]
    if (e === undefined || e.off > pos || e.unwritten || !mayOverwrite(e, newestSnapshot)) return false
    pos = e.off + e.len
    pieces++
  }
  return pieces > 1
}

/** False: the store has no such run, or the file is gone. */
async function mergeRange(floor: Floor, file: File, from: number): Promise<boolean> {
  try {
    return await exclusively(floor, file, async () => {
      await loaded(floor, file)
      const ref = await refOf(floor, BACKGROUND, file)
      if (from + MERGED_BYTES > stableEnd(floor, file) || !gains(file, from)) return true // it changed meanwhile
      const { map, content } = file
      const answer = floor.store.allocate(BACKGROUND, { lengthBytes: MERGED_BYTES, area: 'large', leftHintBytes: leftHint(map, from) })
      const pieces = answer instanceof Promise ? await answer : answer
      try {
        if (pieces.length > 1) throw new PosixError('ENOSPC')
        const bytes = Buffer.allocUnsafe(MERGED_BYTES)
        await readMap(floor, BACKGROUND, content!, map, from, MERGED_BYTES, bytes, 0)
        const written = floor.store.write(BACKGROUND, pieces[0].startBytes, bytes, 0, MERGED_BYTES)
        if (written instanceof Promise) await written
      } catch (e) {
        floor.store.release(pieces)
        throw e
      }
      const stamp = ++floor.stamp
      await commit(floor, BACKGROUND, file, { effects: NO_TOUCH, ref, pieces }, (editor, _tx, _ref, before) => {
        editor.addTentative(from, pieces[0], stamp, false, floor.claimedStamp)
        return { sizeBytes: before.sizeBytes, keepInline: true }
      })
      return true
    })
  } catch (e) {
    if (e instanceof Moved) return true // a snapshot came in between: the next look sees what is left
    if (e instanceof PosixError && (e.code === 'ENOSPC' || e.code === 'ESTALE')) return false
    throw e
  }
}
