/**
 * The machine below a pool, simulated: one scheduler decides when each call of the log and of the space ends, when time moves,
 * when a checkpoint takes its next step, and when a client acts. One seed is one history.
 *   - LMDB is the real one, in a folder in memory; it works only between two steps of a checkpoint, and nothing else happens
 *     meanwhile. What its file holds at each step is what its own synced commits left.
 *   - Log and space lie in files beside it; every write and every flush of them is written down as on the recorder's disk.
 *   - Faults: the next calls may fail, be short, be slow, or be answered without being done.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { systemIo } from '../../src/engine/index.js'
import type { LogIo } from '../../src/engine/index.js'
import { hostIo } from '../../src/store/index.js'
import type { SpaceFile, SpaceIo } from '../../src/store/index.js'
import { ERRNO } from '../../src/sys/index.js'
import type { ManualClock, Random } from '../../src/sys/index.js'
import { ROOT_FILE } from './journal.js'
import type { DiskEvent } from './journal.js'

const LOG = 2
const SPACE = 3
const META = 4
const TABLES = 5
const OTHER = 6
const COMPLETES_WITHIN_MS = 100
const STEP_WITHIN_MS = 10
const SPARSE_BYTES = 64 * 1024

export type Call = 'log write' | 'log sync' | 'space read' | 'space write' | 'space sync' | 'space fallocate'
/** Answers instead of the machine: a negative errno, or fewer bytes; 'lie': done is said and nothing is done. Undefined: no fault. */
export type Faults = (call: Call, length: number) => number | 'lie' | undefined

/** Whether a cut before event `at` leaves LMDB's file whole. */
export const isWhole = (events: readonly DiskEvent[], at: number): boolean => {
  const last = events[at - 1]
  return last === undefined || last.kind !== 'write' || last.file !== TABLES
}

/** LMDB's bytes are not the seed's: pages hold what memory held. */
export const isSeeded = (event: DiskEvent): boolean => event.file !== TABLES

export interface Simulation {
  readonly events: DiskEvent[]
  readonly logIo: LogIo
  readonly spaceIo: SpaceIo
  /** Everything that is in the folder now is durable: where the events begin. */
  begin(): void
  /** LMDB has committed something outside of a checkpoint. */
  noteTables(): void
  /** Runs until `done` resolves: the scheduler's only way on. */
  run<T>(done: Promise<T>): Promise<T>
  /** One thing that may happen, happens: a call ends, or time moves. */
  turn(): Promise<void>
  settle(): Promise<void>
  nowMs(): number
  faults: Faults
  /** The scheduler is not asked: while the pool opens and closes, LMDB's threads work at moments of their own. */
  readonly isDirect: boolean
  direct(on: boolean): void
  /** How much longer every call takes. */
  slowness: number
}

interface Waiting {
  readonly sinceMs: number
  readonly end: () => void
}

export function simulate(folder: string, clock: ManualClock, random: Random): Simulation {
  const events: DiskEvent[] = []
  let waiting: Waiting[] = []
  let stepWaits: (() => void) | undefined
  let stepSinceMs = 0
  let stepName: string | undefined
  let onStep: (() => void) | undefined

  let direct = true
  let hasOpened = false
  let ticks = 0
  /** Time that never stands still, so that it orders all that happens. */
  const nowMs = (): number => clock.monotonicMs() + ticks++ * 1e-7

  const later = <T>(act: () => T): Promise<T> => new Promise((resolve) => {
    if (direct) setImmediate(() => resolve(act()))
    else waiting.push({ sinceMs: clock.monotonicMs(), end: () => resolve(act()) })
  })
  const write = (file: number, from: Uint8Array, at: number, length: number, offset: number): void =>
    void events.push({ kind: 'write', ms: nowMs(), file, offset, bytes: Buffer.from(from.subarray(at, at + length)) })
  const flush = (file: number, covers = events.length): void => void events.push({ kind: 'flush', ms: nowMs(), file, covers })

  /** LMDB's file as it is, durable: no cut may lie between these two events (see `isWhole`). */
  function noteTables(): void {
    const now = readFileSync(path.join(folder, 'meta', 'data.mdb'))
    write(TABLES, now, 0, now.length, 0)
    flush(TABLES)
  }

  const logIo: LogIo = {
    ...systemIo,
    pwrite(fd, from, at, length, offset) {
      const fault = sim.faults('log write', length)
      if (fault === 'lie') return length
      if (fault !== undefined && fault < 0) return fault
      const take = Math.min(length, fault ?? length)
      if (!hasOpened) noteTables() // the session's row is durable before its first record
      hasOpened = true
      write(LOG, from, at, take, offset)
      return systemIo.pwrite(fd, from, at, take, offset)
    },
    fdatasyncNow() {
      const fault = sim.faults('log sync', 0)
      if (typeof fault === 'number') return fault
      if (fault !== 'lie') flush(LOG)
      return 0
    },
    fdatasync() {
      const covers = events.length
      return later(() => {
        const fault = sim.faults('log sync', 0)
        if (typeof fault === 'number') return fault
        if (fault !== 'lie') flush(LOG, covers)
        return 0
      })
    },
    step: (name) => new Promise((resolve) => {
      noteTables()
      if (direct) return resolve()
      stepName = name
      stepSinceMs = clock.monotonicMs()
      stepWaits = resolve
      onStep?.()
    })
  }

  function spaceFile(file: SpaceFile): SpaceFile {
    const readNow: SpaceFile['readNow'] = (into, at, length, offset) => {
      const fault = sim.faults('space read', length)
      if (typeof fault === 'number') return fault
      return file.readNow(into, at, length, offset)
    }
    const writeNow: SpaceFile['writeNow'] = (from, at, length, offset) => {
      const fault = sim.faults('space write', length)
      if (fault === 'lie') return length
      if (fault !== undefined && fault < 0) return fault
      const take = Math.min(length, fault ?? length)
      write(SPACE, from, at, take, offset)
      return file.writeNow(from, at, take, offset)
    }
    return {
      readNow: (into, at, length, offset) => (random.uint32() % 4 === 0 ? -ERRNO.EAGAIN : readNow(into, at, length, offset)),
      read: (into, at, length, offset) => later(() => readNow(into, at, length, offset)),
      writeNow,
      write: (from, at, length, offset) => later(() => writeNow(from, at, length, offset)),
      fallocate: (_offset, length) => later(() => {
        const fault = sim.faults('space fallocate', length)
        return typeof fault === 'number' ? fault : 0 // of a file in memory: writes find room, and what is only promised reads as zeros
      }),
      punch: (offset, length) => later(() => {
        events.push({ kind: 'punch', ms: nowMs(), file: SPACE, offset, length })
        return file.writeNow(new Uint8Array(length), 0, length, offset) < 0 ? -ERRNO.EIO : 0
      }),
      startWriteOut: () => later(() => 0),
      sync: () => {
        const covers = events.length
        return later(() => {
          const fault = sim.faults('space sync', 0)
          if (typeof fault === 'number') return fault
          if (fault !== 'lie') flush(SPACE, covers)
          return 0
        })
      },
      close: () => file.close()
    }
  }

  /** Between these steps LMDB alone is at work. */
  const isTables = (step: string | undefined): boolean => step === 'synced' || step === 'moving' || step === 'moved'

  async function settle(): Promise<void> {
    for (let n = 0; n < 4; n++) await new Promise((resolve) => setImmediate(resolve))
  }

  async function turn(): Promise<void> {
    await settle()
    if (stepWaits !== undefined && (random.uint32() % 3 === 0 || clock.monotonicMs() - stepSinceMs >= STEP_WITHIN_MS)) {
      const go = stepWaits
      const tablesWork = isTables(stepName)
      const next = new Promise<void>((resolve) => (onStep = resolve))
      stepWaits = undefined
      go()
      if (tablesWork) await next // the machine's threads are at work: nothing else moves
      else await settle()
      return
    }
    const due = waiting.filter((w) => clock.monotonicMs() - w.sinceMs >= COMPLETES_WITHIN_MS * sim.slowness)
    if (waiting.length > 0 && (due.length > 0 || random.uint32() % 3 !== 0)) {
      if (due.length === 0 && sim.slowness > 1 && random.uint32() % sim.slowness !== 0) {
        await clock.advanceAsync(COMPLETES_WITHIN_MS)
        return
      }
      const one = due[0] ?? waiting[random.uint32() % waiting.length]
      waiting = waiting.filter((w) => w !== one)
      one.end()
    } else await clock.advanceAsync([1, 5, 20, 90][random.uint32() % 4])
    await settle()
  }

  const sim: Simulation = {
    events,
    logIo,
    spaceIo: { create: hostIo.create, open: (at) => spaceFile(hostIo.open(at)) },
    begin() {
      const make = (file: number, parent: number, name: string, directory: boolean): void =>
        void events.push({ kind: 'make', ms: nowMs(), file, parent, name, directory })
      let other = OTHER
      make(META, ROOT_FILE, 'meta', true)
      for (const name of readdirSync(folder)) {
        const full = path.join(folder, name)
        if (!statSync(full).isFile()) continue
        const file = name === 'log' ? LOG : name === 'space' ? SPACE : other++
        make(file, ROOT_FILE, name, false)
        if (file === SPACE) {
          events.push({ kind: 'size', ms: nowMs(), file, sizeBytes: statSync(full).size })
          const bytes = readFileSync(full)
          const zeros = Buffer.alloc(SPARSE_BYTES)
          for (let at = 0; at < bytes.length; at += SPARSE_BYTES) {
            const end = Math.min(bytes.length, at + SPARSE_BYTES)
            if (bytes.compare(zeros, 0, end - at, at, end) !== 0) write(file, bytes, at, end - at, at)
          }
        } else write(file, readFileSync(full), 0, statSync(full).size, 0)
        flush(file)
      }
      make(TABLES, META, 'data.mdb', false)
      noteTables()
    },
    async run(done) {
      let over = false
      const watched = done.finally(() => (over = true))
      watched.catch(() => undefined) // awaited below
      await settle()
      while (!over) await turn()
      return watched
    },
    noteTables,
    turn,
    settle,
    nowMs,
    faults: () => undefined,
    get isDirect() {
      return direct
    },
    direct(on) {
      direct = on
      if (!on) return
      for (const w of waiting.splice(0)) w.end()
      const go = stepWaits
      stepWaits = undefined
      go?.()
    },
    slowness: 1
  }
  return sim
}
