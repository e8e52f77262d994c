/**
 * How a file changes: under its lock, in one transaction, after which the table knows what committed.
 *   - Whatever puts bytes where extents are keeps its transaction and its bytes on one side of a snapshot (`exclusively`, `whileQuiet`).
 *   - What was decided before the transaction was decided under epochs that the transaction checks (`Moved`).
 *   - The file's map, content and accounts change when the commit is acknowledged; `inflight` shows them before.
 */
import { assert, CHECKS, PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise, Tx } from '../engine/index.js'
import type { Piece } from '../store/index.js'
import type { Content, ContentAfter, ContentEffects, FileRef } from './data.js'
import { editMap } from './editor.js'
import type { Editor } from './editor.js'
import { coverage } from './filemap.js'
import type { FileMap } from './filemap.js'
import { freed, isScattered, lend, settle, unlock, unsynced, weight, WHOLE, withLock } from './files.js'

import type { File, Floor, Time } from './files.js'
import { encodeTentative, tentativeKey } from './rows.js'
import { countShares } from './shares.js'
import type { ShareChanges } from './shares.js'

export { refOf } from './files.js'

/** The domain moved on since the plan was made: plan again. */
export class Moved extends Error {}

/** What a change makes of the content; `inline` is kept unless named. */
export interface Next {
  readonly sizeBytes: number
  readonly durableSizeBytes?: number
  readonly inline?: Uint8Array | undefined
  readonly keepInline?: boolean
}

/**
 * Under the file's lock, and while no snapshot is taken: around everything that may put bytes where extents are, its transaction
 * included. In this tick if nobody else has the lock.
 */
export function exclusively<T>(floor: Floor, file: File, fn: () => MaybePromise<T>): MaybePromise<T> {
  if (floor.gate.closed !== undefined || file.locked) return inTurn(floor, file, fn)
  floor.gate.inside++
  file.locked = true
  let answer: MaybePromise<T>
  try {
    answer = fn()
  } catch (e) {
    leave(floor, file)
    throw e
  }
  if (!(answer instanceof Promise)) {
    leave(floor, file)
    return answer
  }
  return answer.then((value) => {
    leave(floor, file)
    return value
  }, (e: unknown) => {
    leave(floor, file)
    throw e
  })
}

function leave({ gate }: Floor, file: File): void {
  unlock(file)
  if (--gate.inside === 0) gate.emptied()
}

async function inTurn<T>(floor: Floor, file: File, fn: () => MaybePromise<T>): Promise<T> {
  const { gate } = floor
  while (gate.closed !== undefined) await gate.closed // before the lock: who takes a snapshot needs locks
  gate.inside++
  try {
    return await withLock(file, async () => fn())
  } finally {
    if (--gate.inside === 0) gate.emptied()
  }
}

/** Nothing is written in place while `fn` runs, and what was known of epochs is forgotten after it. */
export async function whileQuiet<T>(floor: Floor, fn: () => Promise<T>): Promise<T> {
  const { gate } = floor
  while (gate.closed !== undefined) await gate.closed
  let open = (): void => undefined
  gate.closed = new Promise((resolve) => (open = resolve))
  try {
    if (gate.inside > 0) await new Promise<void>((resolve) => (gate.emptied = resolve))
    return await fn()
  } finally {
    for (const file of floor.files.values()) file.ref = undefined
    gate.emptied = () => undefined
    gate.closed = undefined
    open()
  }
}

/** Before a snapshot: holds the space that flushes may need because of it. ENOSPC. */
export async function holdForSnapshot(floor: Floor, ctx: Context): Promise<void> {
  const more: { readonly file: File; readonly bytes: number }[] = []
  let sum = 0
  for (const file of floor.dirty) {
    if (file.logged === 0) continue
    const bytes = coverage(file.map, 0, WHOLE, Infinity).loose - file.loose
    more.push({ file, bytes })
    sum += bytes
  }
  if (sum > 0) {
    const held = floor.store.hold(ctx, sum)
    if (held instanceof Promise) await held
  }
  for (const { file, bytes } of more) {
    file.loose += bytes
    file.looseUnder = Infinity
  }
}

export interface Planned {
  readonly effects: ContentEffects
  /** What was decided before the transaction was decided under these epochs. */
  readonly ref?: FileRef
  /** Allocated for this change: recorded with it, given back if it fails. */
  readonly pieces?: readonly Piece[]
  /** Held for this change, in bytes: what the map needs of it is kept. */
  readonly heldBytes?: number
  /** Of what the file lent to a flush: this comes back with the commit. */
  readonly lentBytes?: number
  /** Belongs to the same transaction. */
  readonly also?: (tx: Tx) => MaybePromise<void>
}

/** What a reader sees until the commit is answered. The map is made only if somebody looks. */
class Inflight {
  readonly content: Content
  private readonly editor: Editor
  constructor(content: Content, editor: Editor) {
    this.content = content
    this.editor = editor
  }
  get map(): FileMap {
    return this.editor.map
  }
}

/** One transaction on a file, under its lock; `edit` is pure, it may run twice. */
export function commit(floor: Floor, ctx: Context, file: File, planned: Planned, edit: (editor: Editor, tx: Tx, ref: FileRef, content: Content) => Next): Promise<Content> {
  const { effects, ref: expected, pieces = [], heldBytes = 0, lentBytes = 0 } = planned
  const base = file.map
  let editor: Editor | undefined
  let ref: FileRef | undefined
  let more = { logged: 0, loose: 0 }
  let gone: readonly Piece[] = []
  let tentativeRow = file.hasTentativeRow
  const freeUncounted = async (tx: Tx, e: Editor, shares: ShareChanges): Promise<void> => {
    gone = [...e.freed, ...await countShares(tx, shares)]
    if (gone.length > 0) await floor.store.commitFreed(tx, gone)
  }
  return floor.changeContent(ctx, file.ino, effects, (tx, now, before) => {
    ref = now
    if (expected !== undefined && (expected.newestSnapshot !== now.newestSnapshot || expected.epoch !== now.epoch)) throw new Moved()
    const e = (editor = editMap(base, file.ino, now.epoch, now.newestSnapshot))
    const next = edit(e, tx, now, before)
    let allocatedBytes = before.allocatedBytes
    more = { logged: 0, loose: 0 }
    allocatedBytes += file.miscounted
    if (e.high() > e.low()) {
      const was = coverage(base, e.low(), e.high(), now.newestSnapshot)
      const is = coverage(e.around(e.low(), e.high()), e.low(), e.high(), now.newestSnapshot)
      more = { logged: is.logged - was.logged, loose: is.loose - was.loose }
      allocatedBytes += is.allocated - was.allocated
    }
    if (now.newestSnapshot !== file.looseUnder) more.loose += (file.logged > 0 ? coverage(base, 0, WHOLE, now.newestSnapshot).loose : 0) - file.loose
    const inline = next.keepInline === true ? before.inline : next.inline
    allocatedBytes += (inline?.length ?? 0) - (before.inline?.length ?? 0)
    const tentative = file.tentatives + e.tentativesMore() > 0
    const durable = next.durableSizeBytes ?? (!tentative && before.durableSizeBytes >= before.sizeBytes ? next.sizeBytes : Math.min(before.durableSizeBytes, next.sizeBytes))
    tentativeRow = tentative || durable < next.sizeBytes
    if (tentativeRow !== file.hasTentativeRow) {
      if (tentativeRow) tx.put(tentativeKey(file.ino), encodeTentative(now.epoch))
      else tx.delete(tentativeKey(file.ino))
    }
    e.writeRows(tx)
    floor.store.commitAllocated(tx, pieces)
    const after: ContentAfter = { sizeBytes: next.sizeBytes, durableSizeBytes: durable, allocatedBytes, inline, hasOrigin: e.origin !== undefined, extentsMore: e.extentsMore() }
    file.inflight = new Inflight(after, e)
    gone = e.freed
    const freeing = e.shares !== undefined ? freeUncounted(tx, e, e.shares) : gone.length > 0 ? floor.store.commitFreed(tx, gone) : undefined
    const also = planned.also?.(tx)
    return freeing instanceof Promise || also instanceof Promise ? Promise.all([freeing, also]).then(() => after) : after
  }).then((content) => {
    assert(editor !== undefined, 'a body ran')
    if (floor.pasts.size > 0) floor.pasts.delete(file.ino)
    if (CHECKS) assert(editor.map.pends.filter((p) => p.bytes === undefined).length === file.tentatives + editor.tentativesMore(), 'tentative ranges are counted')
    file.inflight = undefined
    file.ref = ref
    file.looseUnder = ref!.newestSnapshot
    noteLength(floor, file, file.content?.sizeBytes ?? 0, content.sizeBytes)
    file.content = content
    if (effects.touch !== undefined) noteTouched(floor, file, effects.touch)
    file.hasTentativeRow = tentativeRow
    file.miscounted = 0
    floor.entries -= weight(file)
    file.map = editor.apply()
    file.tentatives += editor.tentativesMore()
    floor.entries += weight(file)
    if (heldBytes !== 0) floor.store.unhold(heldBytes)
    if (lentBytes !== 0) lend(floor, file, -lentBytes)
    settle(floor, file, more.logged, more.loose)
    if (tentativeRow && file.unsyncedSinceMs === Infinity) unsynced(floor, file)
    freed(floor, gone)
    if (isScattered(file) && !floor.scattered.has(file)) {
      floor.scattered.add(file)
      floor.onScattered()
    }
    return content
  }, (e: unknown) => {
    file.inflight = undefined
    if (ref !== undefined) file.ref = ref
    if (heldBytes !== 0) floor.store.unhold(heldBytes)
    if (pieces.length > 0) floor.store.release(pieces)
    throw e
  })
}

/** A commit gave the file this time: what it was owed before is no more. */
function noteTouched(floor: Floor, file: File, touch: Time): void {
  file.touched = touch
  if (file.owed === undefined) return
  file.owed = undefined
  floor.owing.delete(file)
}

function noteLength({ engine }: Floor, file: File, before: number, now: number): void {
  const stable = engine.durableSeq() >= file.grownSeq ? before : Math.min(before, file.lengthBeforeBytes)
  file.lengthBeforeBytes = Math.min(stable, now)
  if (now > before) file.grownSeq = engine.committedSeq()
}

/** Where the file ends, or ended before it grew if a power cut may still take that back. */
export const stableEnd = ({ engine }: Floor, file: File): number =>
  engine.durableSeq() >= file.grownSeq ? file.content!.sizeBytes : Math.min(file.content!.sizeBytes, file.lengthBeforeBytes)

/** Plans again when a snapshot came in between. */
export async function untilSettled<T>(fn: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await fn()
    } catch (e) {
      if (!(e instanceof Moved)) throw e
      if (tries === 16) throw new PosixError('EIO', 'snapshots are taken faster than a file can be written')
    }
  }
}
