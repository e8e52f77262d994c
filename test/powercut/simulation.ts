/** Clients on a simulated machine, and cuts of what they did. Generations: the pool that a cut left is the next one's beginning. */
import { createHash } from 'node:crypto'
import { manualClock, seededRandom } from '../../src/sys/index.js'
import type { ManualClock, Random } from '../../src/sys/index.js'
import { makeClient, prepare } from './clients.js'
import type { Client } from './clients.js'
import { makeHistory } from './history.js'
import type { History } from './history.js'
import { makeCutter } from './journal.js'
import { cutAndJudge, fateOf, makePool, makeTried, newFolder, open } from './machine.js'
import type { OpenedPool, Tried } from './machine.js'
import { isSeeded, isWhole, simulate } from './simulated.js'
import type { Simulation } from './simulated.js'

const CLIENTS = 3
const WRONG_MAX = 5

export interface RunOptions {
  readonly seed: number
  readonly operations: number
}

export interface Ran {
  readonly history: History
  readonly sim: Simulation
  readonly random: Random
  readonly clock: ManualClock
  readonly opened: OpenedPool
  readonly firstEvent: number
  /** Of everything that the disk saw. */
  readonly digest: string
}

/** A pool made and used; closed in the end unless told otherwise. */
export async function runSimulated({ seed, operations }: RunOptions, use?: (ran: Omit<Ran, 'digest'>) => Promise<void>): Promise<Ran> {
  const random = seededRandom(seed)
  const clock = manualClock()
  const folder = newFolder()
  await makePool(folder, clock, random, { bootId: 'one' })
  const sim = simulate(folder, clock, random)
  sim.begin()
  const opened = await open(folder, clock, random, { bootId: 'one', logIo: sim.logIo, spaceIo: sim.spaceIo })
  await prepare(opened.vfs, CLIENTS)
  const history = makeHistory(CLIENTS)
  const ran = { history, sim, random, clock, opened, firstEvent: sim.events.length }
  if (use !== undefined) await use(ran)
  else {
    await work(ran, operations)
    sim.direct = true
    await opened.pool.close()
  }
  const hash = createHash('sha256')
  for (const event of sim.events.filter(isSeeded)) hash.update(event.kind === 'write' ? event.bytes : JSON.stringify(event))
  return { ...ran, digest: hash.digest('hex') }
}

/** Idle clients begin something, calls end, time moves: in the seed's order. */
export async function work({ history, sim, random, opened }: Omit<Ran, 'digest'>, operations: number): Promise<void> {
  const world = { vfs: opened.vfs, history, random, nowMs: sim.nowMs, checkpoint: () => opened.engine.checkpoint() }
  sim.direct = false
  const clients: Client[] = []
  for (let n = 0; n < CLIENTS; n++) clients.push(await sim.run(makeClient(world, n)))
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
}

export async function cutSimulated({ seeds, cuts, operations }: CutOptions): Promise<{ tried: Tried; wrong: string[]; text: string }> {
  const tried = makeTried()
  const wrong: string[] = []
  let events = 0
  let done = 0
  for (const seed of seeds) {
    const { history, sim, firstEvent } = await runSimulated({ seed, operations })
    events += sim.events.length
    done += history.operations
    const random = seededRandom(seed)
    const moments = Array.from({ length: cuts }, () => firstEvent + (random.uint32() % (sim.events.length - firstEvent + 1))).sort((a, b) => a - b)
    const cutter = makeCutter(sim.events)
    for (const moment of moments) {
      const at = isWhole(sim.events, moment) ? moment : moment + 1
      cutter.advance(at)
      const ms = sim.events[at]?.ms ?? sim.nowMs()
      const fate = fateOf(random)
      // a slow disk is not the pool's: calls end within 100 ms
      const { wrong: more } = await cutAndJudge({ cutter, history, random, fate, ms, slackMs: 400, bootIdBefore: 'one', tried })
      for (const what of more) wrong.push(`seed ${seed}, event ${at}, fate ${fate}: ${what}`)
      if (wrong.length >= WRONG_MAX) break
    }
    if (wrong.length >= WRONG_MAX) break
  }
  return { tried, wrong, text: `${seeds.length} histories of ${operations} operations, ${done} operations, ${events} events of the disk; ${JSON.stringify(tried)}` }
}
