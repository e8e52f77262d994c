/**
 * Flattening of a tree: all that it still has of an origin (a clone), or of what it was (after a rollback), becomes its own.
 *   - Rows L say what is left, so that nothing is kept beside them: folders are visited, files take their origin's units as shared ones, and copy
 *     what cannot be shared (data's flatten). Whoever comes later (after a crash, or because he was stopped) goes on with the rows that are there.
 *   - Children of a visit have higher numbers than their folder: one look through the rows in order finds them too. What a rollback
 *     meanwhile, or another visitor, puts behind it is found by the next one, until one finds nothing.
 *   - It takes half of the loop's time at most.
 */
import { errnoName, errnoOf, makePace, PosixError } from '../sys/index.js'
import type { Clock, Context } from '../sys/index.js'
import type { Engine, Key, MaybePromise } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { Data } from '../data/index.js'
import type { Reading, Tree } from '../meta/index.js'

const LOOK_ROWS = 256
const REST_FACTOR = 1
const TELL_EVERY = 8

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly clock: Clock
}

/** In files and folders; `of` grows while folders are found. */
export type FlattenProgress = (done: number, of: number) => MaybePromise<void>

export async function flattenTree(parts: Parts, ctx: Context, domain: number, progress: FlattenProgress): Promise<void> {
  const { engine, tree, data, clock } = parts
  const pace = makePace(clock, REST_FACTOR, ctx.signal)
  const breathe = async (): Promise<void> => {
    if (ctx.signal?.cancelled === true) throw new PosixError('EINTR')
    await pace.breathe()
  }

  let told = 0
  const tell: FlattenProgress = (done, of) => {
    const answer = told++ % TELL_EVERY === 0 ? progress(done, of) : undefined
    return answer instanceof Promise ? orCancelled(ctx, answer) : undefined
  }

  /** Unless it is gone meanwhile. Answers whether it did something. */
  async function settled(work: () => MaybePromise<unknown>): Promise<boolean> {
    try {
      await work()
      return true
    } catch (e) {
      if (!['ESTALE', 'ENOENT'].includes(errnoName(errnoOf(e)))) throw e
      return false
    }
  }

  async function each(work: (reading: Reading) => Promise<void>): Promise<void> {
    for (let behind: Key | undefined = ''; behind !== undefined;) {
      const page: Awaited<ReturnType<Tree['readingIn']>> = await tree.readingIn(engine.reader(ctx), domain, behind, LOOK_ROWS)
      for (const reading of page.found) {
        await work(reading)
        await breathe()
      }
      behind = page.behind
      await breathe()
    }
  }

  await data.flush() // logged bytes cannot be shared
  let done = 0
  for (let worked = true; worked;) {
    worked = false
    let files = 0
    await each(async ({ ino, isFolder }) => {
      if (!isFolder) files++
      else if (await settled(() => tree.list(engine.reader(ctx), ino, NOW, 0, 0, 1))) {
        worked = true
        done++
      }
      await tell(done, done + files)
    })
    const of = done + files
    await each(async ({ ino, isFolder }) => {
      if (isFolder) return
      if (await settled(() => data.flatten(ctx, ino, 'share', () => undefined))) worked = true
      await tell(++done, Math.max(done, of))
    })
  }
}

/** Who listens may be slow, and a pool that is closed does not wait for him. */
const orCancelled = (ctx: Context, work: Promise<void>): Promise<void> => new Promise((resolve, reject) => {
  const forget = ctx.signal?.onCancel(() => reject(new PosixError('EINTR')))
  work.then(resolve, reject).finally(forget)
})
