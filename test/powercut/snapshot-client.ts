/** Takes, clones and removes snapshots of the tree and of the volume while others work. Mostly it does nothing: a snapshot syncs everything, and would leave a cut little to take. */
import type { Client, World } from './clients.js'
import { makeClone } from './clones.js'
import { isThere, VOLUME } from './history.js'
import type { SnapshotHistory } from './history.js'

const EVERY = 10
const EACH_MAX = 3
const CLONES_MAX = 2

export function makeSnapshotClient({ pool, history, random, nowMs }: World): Client {
  const upTo = (n: number): number => random.uint32() % n

  async function create(of: string): Promise<void> {
    const name = `s${history.generation}.${history.snapshots.length}`
    const snapshot: SnapshotHistory = { name, of, startMs: nowMs(), endMs: Infinity, removal: undefined, found: undefined }
    history.snapshots.push(snapshot)
    await pool.snapshots.create(`${of}@${name}`)
    snapshot.endMs = nowMs()
    history.syncs.push({ startMs: snapshot.startMs, endMs: snapshot.endMs })
    if (of === '/' && history.clones.length < CLONES_MAX && upTo(2) === 0) await makeClone(pool, history, name, random, nowMs)
  }

  async function remove(snapshot: SnapshotHistory): Promise<void> {
    const removal = { startMs: nowMs(), endMs: Infinity }
    snapshot.removal = removal
    await pool.snapshots.remove(`${snapshot.of}@${snapshot.name}`)
    removal.endMs = nowMs()
  }

  return {
    async step() {
      if (upTo(EVERY) !== 0 || history.isSnapshotting) return
      history.operations++
      history.isSnapshotting = true
      const of = upTo(2) === 0 ? '/' : VOLUME
      const there = history.snapshots.filter((s) => s.of === of && isThere(s))
      if (there.length < EACH_MAX && upTo(3) > 0) await create(of)
      else if (there.length > 0) await remove(there[upTo(there.length)])
      history.isSnapshotting = false
    },
    end: () => Promise.resolve()
  }
}
