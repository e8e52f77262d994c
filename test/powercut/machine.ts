/** Pools of these tests: opened with a small log, so that checkpoints come often, and judged after a cut. */
import { mkdtempSync, rmSync, existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { checkData } from '../../src/data/index.js'
import type { Data } from '../../src/data/index.js'
import type { Engine } from '../../src/engine/index.js'
import { formatPool, openPool } from '../../src/pool/index.js'
import type { Pool, Seams } from '../../src/pool/index.js'
import type { Store } from '../../src/store/index.js'
import { backgroundContext, manualClock } from '../../src/sys/index.js'
import type { Clock, ManualClock, Random } from '../../src/sys/index.js'
import type { OpenedVfs, VfsOptions } from '../../src/vfs/index.js'
import { dropClones } from './clones.js'
import { VOLUME } from './history.js'
import { FATES } from './journal.js'
import type { Cutter, Fate } from './journal.js'
import type { Found, History } from './history.js'
import { checkGrowth, judge } from './verdict.js'
import type { Moment } from './verdict.js'

export const SPACE_BYTES = 64 * 1024 * 1024
export const SMALL_LOG: Seams = { logBytes: 1024 * 1024, checkpointAtBytes: 256 * 1024, directAfterBytes: 16 * 1024 }

const memoryFolder = '/dev/shm'
export const root = mkdtempSync(path.join(existsSync(memoryFolder) ? memoryFolder : tmpdir(), 'ogee-powercut-'))
process.on('exit', () => rmSync(root, { recursive: true, force: true }))
export const newFolder = (): string => mkdtempSync(path.join(root, 'pool-'))

export interface Floors {
  readonly engine: Engine
  readonly data: Data
  readonly store: Store
  readonly vfs: OpenedVfs
}
export interface OpenedPool extends Floors {
  readonly pool: Pool
}

export async function makePool(folder: string, clock: Clock, random: Random, seams: Seams): Promise<void> {
  await formatPool(folder, { clock, random, sizeBytes: SPACE_BYTES, name: 'powercut', seams: { ...SMALL_LOG, ...seams } })
}

export async function open(folder: string, clock: Clock, random: Random, seams: Seams, vfs: VfsOptions = {}): Promise<OpenedPool> {
  let floors: Floors | undefined
  const pool = await openPool(folder, {
    clock, random, vfs, note: () => undefined,
    seams: { ...SMALL_LOG, ...seams, opened: (f) => void (floors = f) }
  })
  return { pool, ...floors! }
}

/** The same where time stands still: what waits for its turn gets it. */
export const openStill = (folder: string, clock: ManualClock, random: Random, seams: Seams, vfs: VfsOptions = {}): Promise<OpenedPool> =>
  moving(clock, 0, open(folder, clock, random, seams, vfs))

/** Time goes on in steps until something is done. */
export async function moving<T>(clock: ManualClock, stepMs: number, work: Promise<T>): Promise<T> {
  let isDone = false
  const watched = work.finally(() => (isDone = true))
  watched.catch(() => undefined) // awaited below
  while (!isDone) await clock.advanceAsync(stepMs)
  return watched
}

/** What was tried, to be printed. */
export interface Tried {
  cuts: number
  deaths: number
  readonly fates: Record<string, number>
  lost: number
  torn: number
  kept: number
  metadataLost: number
  files: number
  bytes: number
  snapshots: number
  /** Cuts in the middle of a rollback, by whether it was made. */
  wentBack: number
  wentNotBack: number
  replayed: number
  /** Cuts after which changes of names were missing, bytes were missing. */
  namesBehind: number
  bytesBehind: number
}
export const makeTried = (): Tried => ({ cuts: 0, deaths: 0, fates: {}, lost: 0, torn: 0, kept: 0, metadataLost: 0, files: 0, bytes: 0, snapshots: 0, wentBack: 0, wentNotBack: 0, replayed: 0, namesBehind: 0, bytesBehind: 0 })

/** What dead sessions had open is taken away in the background, a batch at a time: wait for it. */
export async function quiet(clock: ManualClock, engine: Engine): Promise<void> {
  for (let seq = -1, still = 0; still < 3; still = seq === engine.committedSeq() ? still + 1 : 0) {
    seq = engine.committedSeq()
    await clock.advanceAsync(60)
  }
}

export interface CutOptions {
  readonly cutter: Cutter
  readonly history: History
  readonly random: Random
  readonly fate: Fate
  readonly ms: number
  readonly slackMs: number
  readonly bootIdBefore: string
  readonly tried: Tried
  /** Where in the image the pool is. */
  readonly poolPath?: string
}

/** With the last clone and the last snapshot goes all that snapshots held. */
async function checkSpace({ pool, engine }: OpenedPool, clock: ManualClock, wrong: string[]): Promise<void> {
  await moving(clock, 1, dropClones(pool))
  await quiet(clock, engine)
  for (const of of ['/', VOLUME]) for (const { name } of await pool.snapshots.list(of)) await pool.snapshots.remove(`${of}@${name}`)
  await moving(clock, 1, pool.snapshots.settle())
  const left = (await engine.reader(backgroundContext()).scan({ from: 'H', to: 'I', limit: 1000 })).length
  if (left > 0) wrong.push(`${left} rows of history are left without a snapshot`)
  for (const what of await checkData(engine, SPACE_BYTES)) wrong.push(`data, with all snapshots removed: ${what}`)
}

export const fateOf = (random: Random): Fate => FATES[random.uint32() % FATES.length]

/** What is there after a cut, held against what may be there; `tried` counts. */
export async function judged(opened: OpenedPool, clock: ManualClock, history: History, moment: Moment, tried: Tried): Promise<{ wrong: string[]; found: Found }> {
  tried.replayed += opened.engine.recovery.replayedRecords
  const { wrong, found } = await moving(clock, 0, judge({ pool: opened.pool, engine: opened.engine, spaceBytes: SPACE_BYTES }, history, moment))
  for (const [ino, bytes] of found.bytes) {
    tried.files++
    tried.bytes += bytes.length
    const last = history.files.get(ino)?.versions.findLast((version) => version.endMs <= moment.ms)
    if (last !== undefined && !last.bytes.equals(bytes)) tried.bytesBehind++
  }
  tried.snapshots += found.snapshots.length
  if (found.wentBack !== undefined) tried[found.wentBack ? 'wentBack' : 'wentNotBack']++
  found.names.forEach((names, c) => {
    const last = history.clients[c].findLast((n) => n.endMs <= moment.ms)!
    if ([...last.state].some(([at, what]) => names.get(at) !== what)) tried.namesBehind++
  })
  return { wrong, found }
}

export interface Image {
  readonly folder: string
  readonly isDeath: boolean
  remove(): void
}

/** What a cut leaves, in a folder. Where everything was kept it may have been the daemon's death alone. */
export function imageOf({ cutter, random, fate, tried }: Pick<CutOptions, 'cutter' | 'random' | 'fate' | 'tried'>): Image {
  const top = newFolder()
  const folder = path.join(top, 'image')
  const kept = cutter.image(folder, fate, random)
  const isDeath = fate === 'all' && random.uint32() % 2 === 0
  tried[isDeath ? 'deaths' : 'cuts']++
  tried.fates[fate] = (tried.fates[fate] ?? 0) + 1
  tried.lost += kept.lost
  tried.torn += kept.torn
  tried.kept += kept.whole
  tried.metadataLost += kept.metadataLost
  return { folder, isDeath, remove: () => rmSync(top, { recursive: true, force: true }) }
}

/** One cut: an image, opened after a reboot (or after the daemon's death), judged, used, closed. Problems, none if all is well. */
export async function cutAndJudge(options: CutOptions): Promise<string[]> {
  const { history, random, ms, slackMs, bootIdBefore, tried, poolPath = '' } = options
  const image = imageOf(options)
  const wrong: string[] = []
  try {
    const clock = manualClock()
    const opened = await openStill(path.join(image.folder, poolPath), clock, random, { bootId: image.isDeath ? bootIdBefore : `${bootIdBefore}, again` })
    await quiet(clock, opened.engine)
    const { wrong: found, found: there } = await judged(opened, clock, history, { kind: image.isDeath ? 'death' : 'cut', ms, slackMs }, tried)
    wrong.push(...found)
    if (random.uint32() % 4 === 0) await checkGrowth(opened.pool, there, history, wrong)
    if (random.uint32() % 4 === 0) await checkSpace(opened, clock, wrong)
    await moving(clock, 0, opened.pool.close())
  } catch (e) {
    wrong.push(`opening: ${e instanceof Error ? e.stack : String(e)}`)
  }
  if (wrong.length === 0 || process.env['OGEE_KEEP'] === undefined) image.remove()
  return wrong
}
