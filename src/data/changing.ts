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
import { NO_TOUCH } from './content.js'
import type { Content, ContentAfter, ContentEffects, FileRef } from './content.js'
import { editMap } from './editor.js'
import type { Editor } from './editor.js'
import { ceilUnit, coverage, firstBehind, floorUnit } from './filemap.js'
import type { FileMap } from './filemap.js'
import { freed, isScattered, lend, lock, settle, unlock, unsynced, weight, WHOLE } from './files.js'

import type { File, Floor, Time } from './files.js'
import { encodeTentative, tentativeKey } from './rows.js'
import { countShares } from './shares.js'
import type { ShareChanges } from './shares.js'

export { refOf } from './files.js'

/** The domain moved on since the plan was made: plan again. */
export class Moved extends Error {}

/** What it would change belongs to a snapshot that is begun: again when that is over. */
class Begun extends Error {
  readonly over: Promise<void>
  constructor(over: Promise<void>) {
    super('a snapshot is begun')
    this.over = over
  }
}

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
  file.pins++
  for (;;) {
    while (floor.gate.closed !== undefined) await floor.gate.closed
    await lock(file)
    if (floor.gate.closed === undefined) break
    unlock(file) // not inside before it has the lock, which a flush may keep for long; nor kept at the gate: who is inside may need a second one
  }
  floor.gate.inside++
  try {
    return await fn()
  } finally {
    file.pins--
    leave(floor, file)
  }
}

/** What the snapshot that is begun shows of [from, to) is not confirmed yet: nobody may take it away, nor write over it where it lies. */
export function isBegun({ beginning }: Floor, { map: { pends }, tentatives }: File, from: number, to: number): boolean {
  if (beginning === undefined || tentatives === 0) return false
  for (let i = firstBehind(pends, floorUnit(from)), end = ceilUnit(to); i < pends.length && pends[i].off < end; i++) {
    if (pends[i].bytes === undefined && pends[i].stamp <= beginning.upTo) return true
  }
  return false
}

/** Around what may find that: not under the file's lock, which who confirms it needs. */
export async function unlessBegun<T>(floor: Floor, fn: () => MaybePromise<T>): Promise<T> {
  for (;;) {
    try {
      return await fn()
    } catch (e) {
      if (!(e instanceof Begun)) throw e
      await e.over
    }
  }
}

export function refuseBegun(floor: Floor, file: File, from: number, to: number): void {
  if (isBegun(floor, file, from, to)) throw new Begun(floor.beginning!.over)
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
    gate.closings++
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

type Edit = (editor: Editor, tx: Tx, ref: FileRef, content: Content) => Next

/** A change of one file, under its lock. `edit` is pure, it may run twice. A class, because one is made per write. */
export class Change {
  readonly ino: number
  private readonly floor: Floor
  private readonly file: File
  private readonly planned: Planned
  private readonly edit: Edit
  private readonly base: FileMap
  private editor: Editor | undefined = undefined
  private ref: FileRef | undefined = undefined
  private closings = 0
  private loggedMore = 0
  private looseMore = 0
  private tentativeRow: boolean
  /** Units that it freed: those of extents that were dropped, and of shared ones whose last holder they were. */
  private gone: readonly Piece[] = []

  constructor(floor: Floor, file: File, planned: Planned, edit: Edit) {
    this.ino = file.ino
    this.floor = floor
    this.file = file
    this.planned = planned
    this.edit = edit
    this.base = file.map
    this.tentativeRow = file.hasTentativeRow
  }

  /** In the transaction. */
  readonly body = (tx: Tx, now: FileRef, before: Content): MaybePromise<ContentAfter> => {
    const { floor, file, base, planned: { ref: expected, pieces } } = this
    this.ref = now
    this.closings = floor.gate.closings
    if (expected !== undefined && (expected.newestSnapshot !== now.newestSnapshot || expected.epoch !== now.epoch)) throw new Moved()
    const e = (this.editor = editMap(base, file.ino, now.epoch, now.newestSnapshot))
    const next = this.edit(e, tx, now, before)
    let allocatedBytes = before.allocatedBytes
    this.loggedMore = this.looseMore = 0
    allocatedBytes += file.miscounted
    if (e.high() > e.low()) {
      const was = coverage(base, e.low(), e.high(), now.newestSnapshot)
      const is = coverage(e.around(e.low(), e.high()), e.low(), e.high(), now.newestSnapshot)
      this.loggedMore = is.logged - was.logged
      this.looseMore = is.loose - was.loose
      allocatedBytes += is.allocated - was.allocated
    }
    if (now.newestSnapshot !== file.looseUnder) this.looseMore += (file.logged > 0 ? coverage(base, 0, WHOLE, now.newestSnapshot).loose : 0) - file.loose
    const inline = next.keepInline === true ? before.inline : next.inline
    allocatedBytes += (inline?.length ?? 0) - (before.inline?.length ?? 0)
    const tentative = file.tentatives + e.tentativesMore() > 0
    const durable = next.durableSizeBytes ?? (!tentative && before.durableSizeBytes >= before.sizeBytes ? next.sizeBytes : Math.min(before.durableSizeBytes, next.sizeBytes))
    this.tentativeRow = tentative || durable < next.sizeBytes
    if (this.tentativeRow !== file.hasTentativeRow) {
      if (this.tentativeRow) tx.put(tentativeKey(file.ino), encodeTentative(now.epoch))
      else tx.delete(tentativeKey(file.ino))
    }
    e.writeRows(tx)
    if (pieces !== undefined) floor.store.commitAllocated(tx, pieces)
    const after: ContentAfter = { sizeBytes: next.sizeBytes, durableSizeBytes: durable, allocatedBytes, inline, hasOrigin: e.origin !== undefined, extentsMore: e.extentsMore() }
    file.inflight = new Inflight(after, e)
    this.gone = e.freed
    const freeing = e.shares !== undefined ? this.freeUncounted(tx, e, e.shares) : e.freed.length > 0 ? floor.store.commitFreed(tx, e.freed) : undefined
    const also = this.planned.also?.(tx)
    return freeing instanceof Promise || also instanceof Promise ? Promise.all([freeing, also]).then(() => after) : after
  }

  /** It committed: the table knows. */
  readonly done = (content: Content): Content => {
    const { floor, file, editor, ref, tentativeRow, planned: { effects, heldBytes = 0, lentBytes = 0 } } = this
    assert(editor !== undefined, 'a body ran')
    if (floor.pasts.size > 0) floor.pasts.delete(file.ino)
    if (CHECKS) assert(editor.map.pends.filter((p) => p.bytes === undefined).length === file.tentatives + editor.tentativesMore(), 'tentative ranges are counted')
    file.inflight = undefined
    file.ref = this.refNow()
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
    settle(floor, file, this.loggedMore, this.looseMore)
    if (tentativeRow && file.unsyncedSinceMs === Infinity) unsynced(floor, file)
    freed(floor, this.gone)
    if (isScattered(file) && !floor.scattered.has(file)) {
      floor.scattered.add(file)
      floor.onScattered()
    }
    return content
  }

  /** It did not, and will not. */
  readonly undone = (e: unknown): never => {
    const { floor, planned: { pieces = [], heldBytes = 0 } } = this
    this.withdraw()
    if (heldBytes !== 0) floor.store.unhold(heldBytes)
    if (pieces.length > 0) floor.store.release(pieces)
    throw e
  }

  private async freeUncounted(tx: Tx, e: Editor, shares: ShareChanges): Promise<void> {
    this.gone = [...e.freed, ...await countShares(tx, shares)]
    if (this.gone.length > 0) await this.floor.store.commitFreed(tx, this.gone)
  }

  /** It did not yet. */
  withdraw(): void {
    this.file.inflight = undefined
    if (this.ref !== undefined) this.file.ref = this.refNow()
  }

  /** What the body found; a commit that is heard of after a snapshot that came behind it tells nothing of epochs. */
  private refNow(): FileRef | undefined {
    return this.closings === this.floor.gate.closings ? this.ref : undefined
  }

  /** In a transaction of its own. */
  run(ctx: Context): Promise<Content> {
    return this.floor.changeContent(ctx, this.ino, this.planned.effects, this.body).then(this.done, this.undone)
  }
}

/** One transaction on a file, under its lock. */
export const commit = (floor: Floor, ctx: Context, file: File, planned: Planned, edit: Edit): Promise<Content> => new Change(floor, file, planned, edit).run(ctx)

export const RECLAIM: ContentEffects = { ...NO_TOUCH, isReclaim: true }

/** Files in one transaction: a body cannot be interrupted. */
export const TOGETHER_FILES = 32
export const TOGETHER_RANGES = 256
export const TOGETHER_BYTES = 512 * 1024

/**
 * Changes of several files that touch no times, each under its file's lock, in one transaction; if that cannot be (a file is gone, a snapshot
 * came in between), each in its own. Answers as Promise.allSettled does.
 */
export async function commitTogether(floor: Floor, ctx: Context, changes: readonly Change[], effects = NO_TOUCH): Promise<PromiseSettledResult<Content>[]> {
  if (changes.length > 1) {
    let contents: readonly Content[] | undefined
    try {
      contents = await floor.changeContents(ctx, effects, changes)
    } catch {
      for (const change of changes) change.withdraw() // whose fault it was tells when each goes alone
    }
    if (contents !== undefined) return contents.map((content, i) => ({ status: 'fulfilled', value: changes[i].done(content) }))
  }
  return Promise.allSettled(changes.map((change) => change.run(ctx)))
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
