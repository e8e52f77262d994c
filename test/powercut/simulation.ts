/** Clients on a simulated machine, and cuts of what they did. Generations: the pool that a cut left is the next one's beginning. */
import { createHash } from 'node:crypto'
import { manualClock, seededRandom } from '../../src/sys/index.js'
import type { ManualClock, Random } from '../../src/sys/index.js'
import { prepare, startClients } from './work.js'
import type { Client } from './clients.js'
import { historyFrom, makeHistory } from './history.js'
import type { History } from './history.js'
import { makeCutter } from './journal.js'
import { cutAndJudge, fateOf, imageOf, judged, makePool, makeTried, moving, newFolder, openStill, quiet } from './machine.js'
import type { OpenedPool, Tried } from './machine.js'
import { isSeeded, isWhole, simulate } from './simulated.js'
import type { Simulation } from './simulated.js'
import type { Moment } from './verdict.js'

const CLIENTS = 3
const WRONG_MAX = 5
/** Calls end within 100 ms of time, and a sync is a few of them: a slow disk is not the pool's. */
const SLACK_MS = 400

export interface RunOptions {
  readonly seed: number
  readonly operations: number
  /** What a cut left; a new pool if absent. */
  readonly from?: { readonly folder: string; readonly bootId: string; readonly before: History; readonly moment: Moment; readonly generation: number; readonly tried: Tried }
}

export interface Machine {
  readonly sim: Simulation
  readonly random: Random
  readonly clock: ManualClock
  readonly opened: OpenedPool
  readonly history: History
}
export interface Ran extends Machine {
  /** Of the disk's events, the first after which a cut makes sense. */
  readonly firstEvent: number
  /** Of everything that the disk saw. */
  readonly digest: string
  /** What was wrong with what it began with. */
  readonly wrong: readonly string[]
}

export const bootIdOf = (generation: number): string => `boot ${generation}`

/** A pool that clients may use; `begin` lies before its opening, so that a recovery can be cut too. */
export async function startSimulated({ seed, from }: Pick<RunOptions, 'seed' | 'from'>): Promise<Machine & { firstEvent: number; wrong: readonly string[] }> {
  const random = seededRandom(seed)
  const clock = manualClock()
  const folder = from?.folder ?? newFolder()
  const bootId = from?.bootId ?? bootIdOf(0)
  if (from === undefined) await makePool(folder, clock, random, { bootId })
  const sim = simulate(folder, clock, random)
  sim.begin()
  const begun = sim.events.length
  const opened = await openStill(folder, clock, random, { bootId, logIo: sim.logIo, spaceIo: sim.spaceIo })
  sim.noteTables() // the session's row
  if (from === undefined) {
    await prepare(opened.pool, CLIENTS)
    return { sim, random, clock, opened, history: makeHistory(CLIENTS), firstEvent: sim.events.length, wrong: [] }
  }
  await quiet(clock, opened.engine)
  const { wrong, found } = await judged(opened, clock, from.before, from.moment, from.tried)
  // after a power cut what is there is there for good; after a death some of it is in the page cache only
  if (from.moment.kind === 'death') await moving(clock, 0, opened.pool.sync())
  return { sim, random, clock, opened, history: historyFrom(found, from.generation), firstEvent: from.moment.kind === 'death' ? sim.events.length : begun, wrong }
}

/** A pool used and closed. */
export async function runSimulated(options: RunOptions): Promise<Ran> {
  const machine = await startSimulated(options)
  await work(machine, options.operations)
  const { sim, opened } = machine
  sim.direct(true)
  await moving(machine.clock, 0, opened.pool.close())
  const hash = createHash('sha256')
  for (const event of sim.events.filter(isSeeded)) hash.update(event.kind === 'write' ? event.bytes : JSON.stringify(event))
  return { ...machine, digest: hash.digest('hex') }
}

/** Idle clients begin something, calls end, time moves: in the seed's order. */
export async function work({ history, sim, random, opened }: Machine, operations: number): Promise<void> {
  const world = { pool: opened.pool, history, random, nowMs: sim.nowMs, checkpoint: () => opened.engine.checkpoint() }
  sim.direct(false)
  const clients = await sim.run(startClients(world))
  const busy = new Set<Client>()
  let failed: unknown
  const until = history.operations + operations
  while (failed === undefined && (history.operations < until || busy.size > 0)) {
    const idle = clients.filter((c) => !busy.has(c))
    if (history.operations < until && idle.length > 0 && random.uint32() % 2 === 0) {
      const client = idle[random.uint32() % idle.length]
      busy.add(client)
      client.step().then(() => void busy.delete(client), (e: unknown) => (failed = e))
      await sim.settle()
    } else await sim.turn()
  }
  if (failed !== undefined) throw failed
  for (const client of clients) await sim.run(client.end())
}

export interface CutOptions {
  readonly seeds: readonly number[]
  readonly cuts: number
  readonly operations: number
  /** How often the last cut's image is worked on again. */
  readonly generations: number
}

export async function cutSimulated({ seeds, cuts, operations, generations }: CutOptions): Promise<{ tried: Tried; wrong: string[]; text: string }> {
  const tried = makeTried()
  const wrong: string[] = []
  let events = 0
  let done = 0
  for (const seed of seeds) {
    let from: RunOptions['from']
    let remove = (): void => undefined
    for (let generation = 0; generation <= generations && wrong.length < WRONG_MAX; generation++) {
      const name = `seed ${seed}, generation ${generation}`
      const ran = await runSimulated({ seed: seed * 16 + generation, operations, from })
      const { history, sim, firstEvent } = ran
      remove()
      for (const what of ran.wrong) wrong.push(`${name}, where it begins: ${what}`)
      events += sim.events.length
      done += history.operations
      const random = seededRandom(seed * 16 + generation)
      const moments = Array.from({ length: cuts }, () => firstEvent + (random.uint32() % (sim.events.length - firstEvent + 1))).sort((a, b) => a - b)
      const cutter = makeCutter(sim.events)
      const bootIdBefore = from?.bootId ?? bootIdOf(0)
      for (const moment of moments) {
        const at = isWhole(sim.events, moment) ? moment : moment + 1
        cutter.advance(at)
        const ms = sim.events[at]?.ms ?? sim.nowMs()
        const fate = fateOf(random)
        const more = await cutAndJudge({ cutter, history, random, fate, ms, slackMs: SLACK_MS, bootIdBefore, tried })
        for (const what of more) wrong.push(`${name}, event ${at}, fate ${fate}: ${what}`)
        if (wrong.length >= WRONG_MAX) break
      }
      const image = imageOf({ cutter, random, fate: fateOf(random), tried })
      const ms = sim.events[cutter.at]?.ms ?? sim.nowMs()
      from = {
        folder: image.folder, bootId: image.isDeath ? bootIdBefore : bootIdOf(generation + 1), before: history, generation: generation + 1, tried,
        moment: { kind: image.isDeath ? 'death' : 'cut', ms, slackMs: SLACK_MS }
      }
      remove = image.remove
    }
    remove()
    if (wrong.length >= WRONG_MAX) break
  }
  return { tried, wrong, text: `${seeds.length} histories of ${generations + 1} generations, ${done} operations, ${events} events of the disk; ${JSON.stringify(tried)}` }
}
