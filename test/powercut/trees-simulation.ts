/** The client of trees.ts on the simulated machine, and cuts of what it did: also of recoveries, and on top of cuts. */
import { manualClock, seededRandom } from '../../src/sys/index.js'
import type { Random } from '../../src/sys/index.js'
import { makeCutter } from './journal.js'
import { fateOf, imageOf, makePool, makeTried, moving, newFolder, openStill, quiet } from './machine.js'
import type { Image, Tried } from './machine.js'
import { isWhole, simulate } from './simulated.js'
import { judgeRemoved, judgeSettled, judgeTree, makeTreeHistory, stepInTree } from './trees.js'
import type { TreeHistory } from './trees.js'
import type { Moment } from './verdict.js'

const SLACK_MS = 400
const WRONG_MAX = 5
/** The door's client remembers nothing: what lost its last name is reclaimed at once. */
const VFS = { isHeld: (): boolean => false }

export interface TreeCuts {
  readonly seeds: readonly number[]
  readonly steps: number
  readonly cuts: number
  readonly generations: number
}

export interface TreeTried extends Tried {
  /** By their first words. */
  readonly steps: Record<string, number>
  /** Cuts that took a step away, cuts in the middle of one. */
  behind: number
  inTheMiddle: number
}

interface From {
  readonly image: Image
  readonly before: TreeHistory
  readonly moment: Moment
  readonly bootId: string
}

const bootIdOf = (generation: number): string => `boot ${generation}`

export async function cutTrees({ seeds, steps, cuts, generations }: TreeCuts): Promise<{ tried: TreeTried, wrong: string[] }> {
  const tried: TreeTried = { ...makeTried(), steps: {}, behind: 0, inTheMiddle: 0 }
  const wrong: string[] = []
  for (const seed of seeds) {
    let from: From | undefined
    for (let generation = 0; generation <= generations && wrong.length < WRONG_MAX; generation++) {
      from = await cutGeneration(seed, generation, from)
    }
    from?.image.remove()
    if (wrong.length >= WRONG_MAX) break
  }
  return { tried, wrong }

  async function cutGeneration(seed: number, generation: number, from: From | undefined): Promise<From> {
    const told = (what: string): void => void wrong.push(`seed ${seed}, generation ${generation}, ${what}`)
    const random = seededRandom(seed * 16 + generation)
    const bootId = from?.bootId ?? bootIdOf(0)
    const { sim, history, firstEvent } = await work(seed, random, bootId, from, told)
    from?.image.remove()
    for (const { what } of history.steps) tried.steps[what.split(' ')[0]] = (tried.steps[what.split(' ')[0]] ?? 0) + 1
    const cutter = makeCutter(sim.events)
    const moments = Array.from({ length: cuts }, () => firstEvent + (random.uint32() % (sim.events.length - firstEvent + 1))).sort((a, b) => a - b)
    let next: From | undefined
    for (const moment of [...moments, sim.events.length]) {
      const at = isWhole(sim.events, moment) ? moment : moment + 1
      cutter.advance(at)
      const ms = sim.events[at]?.ms ?? sim.nowMs()
      const fate = fateOf(random)
      const image = imageOf({ cutter, random, fate, tried })
      const kind = image.isDeath ? 'death' : 'cut'
      const cut: From = { image, before: history, moment: { kind, ms, slackMs: SLACK_MS }, bootId: image.isDeath ? bootId : bootIdOf(generation + 1) }
      if (moment === moments[moments.length >> 1] && next === undefined) { // the next generation begins in the middle of things
        next = cut
        continue
      }
      for (const what of await judgeCut(cut, random)) told(`event ${at}, fate ${fate}, ${kind}: ${what}`)
      image.remove()
      if (wrong.length >= WRONG_MAX) break
    }
    return next!
  }

  async function work(seed: number, random: Random, bootId: string, from: From | undefined, told: (what: string) => void) {
    const clock = manualClock()
    const folder = from?.image.folder ?? newFolder()
    if (from === undefined) await makePool(folder, clock, random, { bootId })
    const sim = simulate(folder, clock, random)
    sim.begin()
    const begun = sim.events.length
    const opened = await openStill(folder, clock, random, { bootId, logIo: sim.logIo, spaceIo: sim.spaceIo }, VFS)
    sim.noteTables() // the session's row
    let history: TreeHistory
    if (from === undefined) {
      history = makeTreeHistory(seed % 2 === 0 ? '/' : '/sub')
      if (history.top !== '/') await opened.pool.subvolumes.create(history.top)
      await opened.pool.trash.enable(history.top, 1)
      await opened.pool.sync()
    } else {
      const { wrong: more, found } = await judgeTree(opened, clock, from.before, from.moment)
      for (const what of more) told(`where it begins: ${what}`)
      if (from.moment.kind === 'death') await moving(clock, 0, opened.pool.sync())
      history = makeTreeHistory(from.before.top, found, from.before)
    }
    const firstEvent = from?.moment.kind === 'cut' ? begun : sim.events.length
    sim.direct(false)
    for (let n = 0; n < steps; n++) {
      await sim.run(stepInTree({ opened, history, random, nowMs: sim.nowMs }))
      for (let turns = random.uint32() % 4; turns > 0; turns--) await sim.turn()
    }
    for (let turns = 0; turns < 60; turns++) await sim.turn()
    sim.direct(true)
    await moving(clock, 1, opened.pool.close())
    return { sim, history, firstEvent }
  }

  async function judgeCut({ image, before, moment, bootId }: From, random: Random): Promise<string[]> {
    const wrong: string[] = []
    const clock = manualClock()
    try {
      const opened = await openStill(image.folder, clock, random, { bootId }, VFS)
      tried.replayed += opened.engine.recovery.replayedRecords
      const { wrong: more, found, hasLost } = await judgeTree(opened, clock, before, moment)
      wrong.push(...more)
      tried.files += found.names.size
      tried.snapshots += found.snapshots.size
      if (hasLost) tried.behind++
      if (before.steps.some((s) => s.startMs <= moment.ms && s.endMs > moment.ms)) tried.inTheMiddle++
      if (wrong.length === 0) await judgeSettled(opened, clock, before, found, wrong)
      if (wrong.length === 0 && random.uint32() % 3 === 0) await judgeRemoved(opened, clock, before, wrong)
      await quiet(clock, opened.engine)
      await moving(clock, 1, opened.pool.close())
    } catch (e) {
      wrong.push(`opening: ${e instanceof Error ? e.stack : String(e)}`)
    }
    return wrong
  }
}
