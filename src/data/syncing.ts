/**
 * When bytes become durable: fsync, the background, and what a power cut leaves.
 *   - A file whose bytes are all logged or confirmed needs the engine's sync only. Else the store is synced first, then a
 *     transaction turns tentative ranges into extents and lets the durable size follow, then the engine is synced.
 *   - What the store's sync covers is told by stamps: a range is confirmed only if it was written before a sync began.
 *   - In the background: logged bytes are flushed at flushAgeMs, tentative ones synced at SYNC_AGE_MS; nothing runs while
 *     there is nothing to do.
 *   - recover: after the daemon's death everything is believed and synced soon; after a power cut tentative ranges go, and the
 *     size with them.
 */
import { errnoOf, PosixError } from '../sys/index.js'
import type { Context, Timer } from '../sys/index.js'
import { DamagedError } from '../engine/index.js'
import type { Key } from '../engine/index.js'
import { UNIT_BYTES } from '../store/index.js'
import { Change, commit, commitTogether, holdForSnapshot, TOGETHER_FILES, whileQuiet } from './changing.js'
import { NO_TOUCH } from './content.js'
import { BACKGROUND, fileOf, loaded, needsWork, tryLock, unlock, withLock } from './files.js'
import type { File, Floor } from './files.js'
import { flush, hasInherited, syncStore } from './flushing.js'
import type { Pass } from './flushing.js'
import { inoOf, PENDING_KIND, rowsFrom, TENTATIVE_KIND } from './rows.js'
import { cutBehind } from './shaping.js'
import { settleAll, settleFile } from './times.js'

const SYNC_AGE_MS = 3500
const TICK_MS = 500
/** A file with so many tentative ranges is synced at the next tick: who takes a snapshot waits for them. */
const TENTATIVES_SOON = 4096
const CONFIRM_MAX = 512
const FEW_RANGES = 8

// ------------------------------------------------------------------------------------------------------------ confirm

/** Under the file's lock: tentative ranges written before `upTo` become extents; the durable size follows, up to `sizeBytes`. Undefined: there is nothing to confirm. */
function confirming(floor: Floor, file: File, upTo: number, sizeBytes: number): { readonly change: Change; readonly isLast: boolean } | undefined {
  if (file.content === undefined || !file.hasTentativeRow) return undefined
  const all = file.map.pends.filter((p) => p.bytes === undefined && p.stamp <= upTo)
  const some = all.slice(0, CONFIRM_MAX)
  const isLast = all.length === some.length
  const change = new Change(floor, file, { effects: NO_TOUCH }, (editor, tx, _ref, before) => {
    for (const p of some) {
      editor.settlePending(tx, p, p.birth)
      if (p.borrowed) editor.liftExtents(p.off, p.off + p.len)
      else editor.dropExtents(tx, p.off, p.off + p.len, p.birth)
      editor.addExtent(p.off, { startBytes: p.start, lengthBytes: p.len }, p.birth, false)
    }
    let durable = before.durableSizeBytes
    if (isLast) {
      durable = Math.max(durable, Math.min(before.sizeBytes, file.placeStamp <= upTo ? before.sizeBytes : sizeBytes))
      for (const p of editor.map.pends) {
        if (p.bytes === undefined && p.off + p.len > before.durableSizeBytes) durable = Math.max(before.durableSizeBytes, Math.min(durable, p.off))
      }
    }
    return { sizeBytes: before.sizeBytes, durableSizeBytes: durable, keepInline: true }
  })
  return { change, isLast }
}

async function confirm(floor: Floor, ctx: Context, file: File, upTo: number, sizeBytes: number): Promise<void> {
  for (let isMore = true; isMore;) {
    isMore = await withLock(file, async () => {
      const confirmed = confirming(floor, file, upTo, sizeBytes)
      if (confirmed === undefined) return settled(floor, file, upTo)
      await confirmed.change.run(ctx)
      return confirmed.isLast ? settled(floor, file, upTo) : true
    })
  }
}

/** Files with few tentative ranges together, as far as nobody has their locks; answers the others. */
async function confirmFew(floor: Floor, ctx: Context, files: readonly File[], upTo: number, sizes: ReadonlyMap<File, number>): Promise<File[]> {
  const others: File[] = []
  for (let i = 0; i < files.length;) {
    const changes: Change[] = []
    const locked: File[] = []
    for (; i < files.length && locked.length < TOGETHER_FILES; i++) {
      const file = files[i]
      if (file.map.pends.length > FEW_RANGES || !tryLock(file)) {
        others.push(file)
        continue
      }
      locked.push(file)
      const confirmed = confirming(floor, file, upTo, sizes.get(file)!)
      if (confirmed !== undefined) changes.push(confirmed.change)
    }
    try {
      const failed = (await commitTogether(floor, ctx, changes)).some(({ status }) => status === 'rejected')
      for (const file of locked) {
        if (failed) others.push(file)
        else settled(floor, file, upTo)
      }
    } finally {
      for (const file of locked) unlock(file)
    }
  }
  return others
}

/** Nothing more to confirm for this sync. */
function settled(floor: Floor, file: File, upTo: number): false {
  if (!file.hasTentativeRow && file.placeStamp <= upTo) file.unsyncedSinceMs = Infinity
  else file.unsyncedSinceMs = floor.clock.monotonicMs()
  if (!needsWork(file)) floor.dirty.delete(file)
  return false
}

/** The stamp of what is written so far: whoever will confirm it says so first. */
function claim(floor: Floor): number {
  floor.claimedStamp = floor.stamp
  return floor.stamp
}

export async function syncFile(floor: Floor, ctx: Context, file: File): Promise<void> {
  if (file.unsyncedSinceMs === Infinity && !file.hasTentativeRow) return
  const upTo = claim(floor)
  const sizeBytes = file.content?.sizeBytes ?? 0
  if (upTo > floor.syncedStamp) await syncStore(floor, ctx)
  await confirm(floor, ctx, file, upTo, sizeBytes)
}

export async function sync(floor: Floor, ctx: Context, ino: number): Promise<void> {
  if (hasInherited(floor)) await syncStore(floor, ctx)
  const file = floor.files.get(ino)
  if (file === undefined) return floor.engine.sync(ctx)
  file.fsynced = true
  if (file.smallBytes > 0) file.isBulk = file.smallBytes > floor.direct.afterBytes
  file.smallBytes = 0
  if (file.owed !== undefined) await settleFile(floor, file)
  if (!file.hasTentativeRow) return void (await Promise.all([syncFile(floor, ctx, file), floor.engine.sync(ctx)])) // no row will change: both at once
  await syncFile(floor, ctx, file)
  await floor.engine.sync(ctx)
}

export async function syncAll(floor: Floor, ctx: Context): Promise<void> {
  if (hasInherited(floor)) await syncStore(floor, ctx)
  await settleAll(floor)
  await syncMany(floor, ctx, [...floor.dirty])
  await floor.engine.sync(ctx)
}

/**
 * `fn` commits between two changes, and all that was written before it is durable when this resolves. Others wait for the commit
 * alone: meanwhile they leave what was tentative as it was (isBegun), and nothing older than a snapshot is overwritten in place.
 */
export async function quiesce<T>(floor: Floor, ctx: Context, fn: () => Promise<T>): Promise<T> {
  while (floor.beginning !== undefined) await floor.beginning.over
  let end = (): void => undefined
  const beginning = (floor.beginning = { upTo: -1, over: new Promise<void>((resolve) => (end = resolve)) })
  try {
    await syncAll(floor, ctx) // nearly all of it: what others leave as it was is soon theirs again
    const done = await whileQuiet(floor, async () => {
      await settleAll(floor)
      await holdForSnapshot(floor, ctx)
      beginning.upTo = floor.stamp
      return fn()
    })
    await syncAll(floor, ctx)
    return done
  } finally {
    floor.beginning = undefined
    end()
  }
}

/** One sync of the store for all of them. */
async function syncMany(floor: Floor, ctx: Context, files: readonly File[]): Promise<void> {
  const unsynced = files.filter((f) => f.unsyncedSinceMs < Infinity)
  if (unsynced.length === 0) return
  const upTo = claim(floor)
  const sizes = new Map(unsynced.map((f) => [f, f.content?.sizeBytes ?? 0]))
  if (upTo > floor.syncedStamp) await syncStore(floor, ctx)
  const others = await confirmFew(floor, ctx, unsynced, upTo, sizes)
  const results = await Promise.allSettled(others.map((f) => confirm(floor, ctx, f, upTo, sizes.get(f)!)))
  for (const r of results) if (r.status === 'rejected' && !isGone(r.reason)) throw r.reason
}

const isGone = (e: unknown): boolean => e instanceof PosixError && e.code === 'ESTALE'

// --------------------------------------------------------------------------------------------------------- background

export interface Background {
  /** Logged bytes of all files, until few are left; what cannot be moved stays. */
  flushAll(pass: Pass): Promise<void>
  hurry(ino: number): void
  /** Waits while more is logged than may be; longer the more it is. */
  throttle(ctx: Context, bytes: number): Promise<void> | undefined
  stop(): Promise<void>
}

export interface BackgroundOptions {
  readonly flushAgeMs: number
  /** Logged bytes at which the flush starts, whatever their age. From twice that small writes go to the store where they can, from SLOW_AT times they are slowed, at STOP_AT they wait. */
  readonly flushBytes: number
}

const SLOW_AT = 3
const STOP_AT = 5
/** What a logged byte costs its writer where slowing begins (200 MB/s), and how much more just before the stop (10 MB/s). */
const DELAY_MS_PER_BYTE = 5e-6
const DELAY_MORE_MS_PER_BYTE = 95e-6
/** Delays are gathered: a timer knows no less than a millisecond. */
const DELAY_MIN_MS = 2
const HURRY_MS = 600 // a second is promised; two syncs take time too
const FAILED_PAUSE_MS = 1000
const IDLE_PAUSE_MS = 20

export function startBackground(floor: Floor, { flushAgeMs, flushBytes }: BackgroundOptions): Background {
  const { clock } = floor
  let timer: Timer | undefined
  let running: Promise<void> | undefined
  let stopped = false
  let pausedUntilMs = 0
  let wake: (() => void)[] = [] // writers that wait for the flush
  let owedMs = 0
  const hurried = new Map<number, number>() // inode to when it is due, in that order
  let hurryTimer: Timer | undefined
  let hurrying: Promise<void> | undefined

  const progress = (): void => {
    const woken = wake
    wake = []
    for (const w of woken) w()
  }

  async function work(): Promise<void> {
    const nowMs = clock.monotonicMs()
    const byAmount = floor.loggedBytes >= flushBytes
    const old = [...floor.dirty].filter((f) => f.logged > 0 && (byAmount || nowMs - f.loggedSinceMs >= flushAgeMs))
    // with the old ones go those that would be old soon: one sync for all
    const due = old.length === 0 ? [] : byAmount ? old : [...floor.dirty].filter((f) => f.logged > 0 && nowMs - f.loggedSinceMs >= flushAgeMs / 2)
    if (due.length > 0) await flush(floor, { ctx: BACKGROUND, ready: false }, due.sort((a, b) => a.loggedSinceMs - b.loggedSinceMs))
    const unsynced = [...floor.dirty].filter((f) => f.unsyncedSinceMs < Infinity && (f.tentatives >= TENTATIVES_SOON || nowMs - f.unsyncedSinceMs >= SYNC_AGE_MS))
    if (unsynced.length === 0) return
    for (const f of unsynced) hurried.delete(f.ino)
    await syncMany(floor, BACKGROUND, unsynced)
    await floor.engine.sync(BACKGROUND)
  }

  /** Beside whatever else is under way. */
  async function workHurried(): Promise<void> {
    const nowMs = clock.monotonicMs()
    const due: File[] = []
    for (const [ino, atMs] of hurried) {
      if (atMs > nowMs) break
      hurried.delete(ino)
      const file = floor.files.get(ino)
      if (file !== undefined) due.push(file)
    }
    await syncMany(floor, BACKGROUND, due)
    await floor.engine.sync(BACKGROUND)
  }

  function armHurry(): void {
    if (stopped || hurryTimer !== undefined || hurrying !== undefined) return
    for (const atMs of hurried.values()) {
      hurryTimer = clock.after(Math.max(0, atMs - clock.monotonicMs()), () => {
        hurryTimer = undefined
        hurrying = workHurried().catch((e: unknown) => void errnoOf(e)).finally(() => { // as in run: what stays is due by its age
          hurrying = undefined
          armHurry()
        })
      })
      return
    }
  }

  function run(): Promise<void> {
    const before = floor.flushedBytes
    running ??= work().catch((e: unknown) => {
      errnoOf(e) // a mistake of ours is told; everything else stays as it is, fsync tells whom it concerns, and this tries again
      pausedUntilMs = clock.monotonicMs() + FAILED_PAUSE_MS
    }).finally(() => {
      running = undefined
      // others flush what there is (or a snapshot holds it up): look again later, not in this tick
      if (floor.flushedBytes === before) pausedUntilMs = Math.max(pausedUntilMs, clock.monotonicMs() + IDLE_PAUSE_MS)
      progress()
      arm()
    })
    return running
  }

  function arm(): void {
    if (stopped || floor.dirty.size === 0 || (timer !== undefined && floor.loggedBytes < flushBytes)) return
    const paused = pausedUntilMs > clock.monotonicMs()
    if (floor.loggedBytes >= flushBytes && running === undefined && !paused) {
      timer?.stop()
      timer = undefined
      void run()
      return
    }
    timer ??= clock.after(paused && floor.loggedBytes >= flushBytes ? IDLE_PAUSE_MS : TICK_MS, () => {
      timer = undefined
      if (running !== undefined) return
      if (pausedUntilMs > clock.monotonicMs()) arm()
      else void run()
    })
  }
  floor.onWork = arm

  return {
    async flushAll(pass) {
      for (let isMore = true; isMore;) {
        if (!pass.ready) while (running !== undefined) await running
        isMore = await flush(floor, pass, [...floor.dirty])
      }
      progress()
    },
    hurry(ino) {
      if (hurried.has(ino)) return
      hurried.set(ino, clock.monotonicMs() + HURRY_MS)
      armHurry()
    },
    throttle(ctx, bytes) {
      const over = floor.loggedBytes / flushBytes
      if (over < SLOW_AT) return undefined
      if (over < STOP_AT) {
        const fill = (over - SLOW_AT) / (STOP_AT - SLOW_AT)
        owedMs += bytes * (DELAY_MS_PER_BYTE + DELAY_MORE_MS_PER_BYTE * fill * fill)
        if (owedMs < DELAY_MIN_MS) return undefined
        const delayMs = owedMs
        owedMs = 0
        return clock.sleep(delayMs, ctx.signal)
      }
      return (async () => {
        while (floor.loggedBytes >= flushBytes * STOP_AT && !stopped) {
          if (ctx.signal?.cancelled === true) throw new PosixError('EINTR')
          if (clock.monotonicMs() >= ctx.deadlineMs) throw new PosixError('EIO', 'the disk does not keep up')
          if (floor.store.status().failed !== undefined) throw new PosixError('EROFS')
          arm()
          await Promise.race([new Promise<void>((resolve) => wake.push(resolve)), clock.sleep(TICK_MS, ctx.signal)])
        }
      })()
    },
    async stop() {
      stopped = true
      timer?.stop()
      timer = undefined
      hurryTimer?.stop()
      await hurrying
      while (running !== undefined) await running
      progress()
    }
  }
}

// ------------------------------------------------------------------------------------------------------------ recover

/** Inodes with rows of a kind; skips from inode to inode. */
async function inosOf(floor: Floor, kind: string, from: Key = kind, to: Key = String.fromCharCode(kind.charCodeAt(0) + 1)): Promise<number[]> {
  const reader = floor.engine.reader(BACKGROUND)
  const inos: number[] = []
  for (;;) {
    let ino: number
    try {
      const rows = await reader.scan({ from, to, limit: 1 })
      if (rows.length === 0) return inos
      ino = inoOf(rows[0].key)
    } catch (e) {
      if (!(e instanceof DamagedError) || e.key === undefined || !e.key.startsWith(kind)) throw e
      ino = inoOf(e.key) // that it has rows is all that is asked; others may lie before it
      inos.push(...await inosOf(floor, kind, from, rowsFrom(kind, ino)))
    }
    inos.push(ino)
    from = rowsFrom(kind, ino + 1)
  }
}

/** The file alone cannot be read: whoever needs it gets EIO, and all others are served. */
const isSpoilt = ({ engine, store }: Floor, e: unknown): boolean => e instanceof PosixError && e.code === 'EIO' && engine.status().failed === undefined && store.status().failed === undefined

export async function recover(floor: Floor, ctx: Context): Promise<void> {
  const { clean, sameBoot } = floor.engine.recovery
  if (!clean && !sameBoot) for (const ino of await inosOf(floor, TENTATIVE_KIND)) await dropTentative(floor, ctx, ino)
  // what is left to flush, to sync, and the space that its bytes will need
  for (const kind of [PENDING_KIND, TENTATIVE_KIND]) {
    for (const ino of await inosOf(floor, kind)) {
      const loading = loaded(floor, fileOf(floor, ino))
      if (loading !== undefined) await loading.catch((e: unknown) => {
        if (!isGone(e) && !isSpoilt(floor, e)) throw e
      })
    }
  }
  await floor.engine.recovered()
}

async function dropTentative(floor: Floor, ctx: Context, ino: number): Promise<void> {
  const file = fileOf(floor, ino)
  await withLock(file, async () => {
    await loaded(floor, file)
    const { map } = file
    await commit(floor, ctx, file, { effects: NO_TOUCH }, (editor, tx, _ref, before) => {
      for (const p of map.pends) if (p.bytes === undefined) editor.dropPending(tx, p.off, p.off + p.len)
      const sizeBytes = Math.min(before.sizeBytes, before.durableSizeBytes)
      if (sizeBytes < before.sizeBytes) cutBehind(editor, tx, map, sizeBytes, Math.ceil(before.sizeBytes / UNIT_BYTES) * UNIT_BYTES, undefined)
      return { sizeBytes, durableSizeBytes: sizeBytes, keepInline: true }
    })
    file.unsyncedSinceMs = Infinity
    if (!needsWork(file)) floor.dirty.delete(file)
  }).catch((e: unknown) => {
    if (!isGone(e) && !isSpoilt(floor, e)) throw e
  })
}
