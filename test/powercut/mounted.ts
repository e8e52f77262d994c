/** One recording of clients at work on a pool that lies on the recorder's disk, and many cuts of it. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { machineMs, startRecorder } from './record.js'
import { seededRandom, systemClock } from '../../src/sys/index.js'
import { prepare, startClients } from './work.js'
import { makeHistory } from './history.js'
import { makeCutter } from './journal.js'
import type { DiskEvent } from './journal.js'
import { cutAndJudge, fateOf, makePool, makeTried, open } from './machine.js'
import type { Tried } from './machine.js'


const CLIENTS = 3
/** Timers of a machine that two test files and a recorder share. */
const SLACK_MS = 1500
const WRONG_MAX = 5

export interface MountedRun {
  readonly cuts: number
  readonly seconds: number
  readonly seed: number
  report(text: string): void
}

export async function cutMounted({ cuts, seconds, seed, report }: MountedRun): Promise<{ tried: Tried; wrong: string[]; events: number; operations: number }> {
  const random = seededRandom(seed)
  const recorder = await startRecorder()
  const history = makeHistory(CLIENTS)
  let events: readonly DiskEvent[]
  let startMs = 0
  let endMs = 0
  try {
    const folder = path.join(recorder.dir, 'pool')
    mkdirSync(folder)
    await makePool(folder, systemClock, random, { bootId: 'one' })
    const { pool, engine } = await open(folder, systemClock, random, { bootId: 'one' })
    await prepare(pool, CLIENTS)
    const world = { pool, history, random, nowMs: machineMs, checkpoint: () => engine.checkpoint() }
    startMs = machineMs()
    const until = startMs + seconds * 1000
    await Promise.all((await startClients(world)).map(async (client) => {
      while (machineMs() < until) {
        for (let n = random.uint32() % 12; n >= 0; n--) await client.step()
        await systemClock.sleep([0, 1, 10, 60, 400][random.uint32() % 5])
      }
      await client.end()
    }))
    endMs = machineMs()
    await pool.close()
  } finally {
    events = await recorder.stop()
  }
  report(`recorded ${history.operations} operations and ${events.length} events of the disk`)
  // moments in order; more of them just before a flush ends, where most is at stake
  const first = events.findIndex((e) => e.ms >= startMs)
  const flushes = events.flatMap((e, n) => (n > first && e.kind === 'flush' ? [n] : []))
  const moments = Array.from({ length: cuts }, (_, n) =>
    n % 3 === 0 && flushes.length > 0 ? flushes[random.uint32() % flushes.length] : first + (random.uint32() % (events.length - first + 1)))
  const cutter = makeCutter(events)
  const tried = makeTried()
  const wrong: string[] = []
  for (const at of moments.sort((a, b) => a - b)) {
    cutter.advance(at)
    const ms = events[at]?.ms ?? endMs + 60_000
    const fate = fateOf(random)
    const more = await cutAndJudge({ cutter, history, random, fate, ms, slackMs: SLACK_MS, bootIdBefore: 'one', tried, poolPath: 'pool' })
    for (const what of more) wrong.push(`event ${at}, fate ${fate}: ${what}`)
    if (wrong.length >= WRONG_MAX) break
  }
  return { tried, wrong, events: events.length, operations: history.operations }
}
