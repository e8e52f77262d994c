/** Pools for tests of the vfs: an engine, a tree, a data floor and a vfs over them, made fresh. */
import { rootContext, seededRandom, systemClock } from '../../src/sys/index.js'
import type { Clock, Context } from '../../src/sys/index.js'
import { makeMemoryServer, openMemory } from '../../src/engine/index.js'
import type { Engine, MemoryOptions, MemoryServer } from '../../src/engine/index.js'
import { NOW } from '../../src/data/index.js'
import { openTree } from '../../src/meta/index.js'
import type { Tree } from '../../src/meta/index.js'
import type { Store, StoreStatus } from '../../src/store/index.js'
import { openVfs, ROOT_NODE } from '../../src/vfs/index.js'
import type { OpenedVfs, VfsOptions } from '../../src/vfs/index.js'
import { openPlainData } from './plain-data.js'
import type { PlainData, PlainFiles } from './plain-data.js'

export const NAME_KEY = seededRandom(7).bytes(16)

export interface Rig {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: PlainData
  readonly vfs: OpenedVfs
  close(): Promise<void>
}

export interface RigOptions {
  readonly clock?: Clock
  readonly memory?: Omit<MemoryOptions, 'server' | 'clock'>
  readonly vfs?: VfsOptions
  /** The database of a pool that was made before. */
  readonly server?: MemoryServer
  /** Any other engine, opened. */
  readonly engine?: Engine
  /** What is in the files of a pool that was made before. */
  readonly files?: PlainFiles
}

/** Makes a root directory in a new pool. */
async function formatTree(engine: Engine, tree: Tree, clock: Clock, mode = 0o755): Promise<void> {
  const now = { sec: 0, nsec: 0 }
  clock.realtime(now)
  const op = { ctx: rootContext, now, check: false, session: engine.session }
  await engine.transact(rootContext, (tx) => tree.format(tx, op, { mode, uid: 0, gid: 0 }))
}

const unused = (): never => {
  throw new Error('the plain data floor asks no store')
}
const STORE_STATUS: StoreStatus = { sizeBytes: 2 ** 30, usedBytes: 2 ** 28, freeBytes: 2 ** 30 - 2 ** 28, keptBytes: 2 ** 20, dirtyBytes: 0, freeExtents: 1, failed: undefined }
const noStore: Store = {
  kind: 'space', allocate: unused, release: unused, commitAllocated: unused, commitFreed: unused, freed: unused, read: unused, write: unused, hold: unused, unhold: unused,
  sync: unused, grow: unused, status: () => STORE_STATUS, close: () => Promise.resolve(),
}

/** Without latency: sleeping is a turn of the event loop. */
export const hurriedClock: Clock = { ...systemClock, sleep: () => new Promise<void>((resolve) => setImmediate(resolve)) }

/** Memory all the way down, unless an engine is given. */
export async function openRig({ clock = systemClock, memory = {}, vfs: options = {}, server, engine: given, files }: RigOptions = {}): Promise<Rig> {
  const engine = given ?? openMemory({ ...memory, clock, server: server ?? makeMemoryServer() })
  const tree = openTree({ hashKey: NAME_KEY })
  if ((await tree.inode(engine.reader(rootContext), ROOT_NODE, NOW)) === undefined && options.readOnly !== true) await formatTree(engine, tree, clock)
  const data = openPlainData(engine, files)
  const vfs = openVfs({ engine, tree, data, store: noStore, clock, options })
  return {
    engine, tree, data, vfs,
    async close() {
      await vfs.close()
      await data.close()
      await engine.close()
    },
  }
}

export const caller = (uid: number, gid = uid, groups: readonly number[] = [gid]): Context =>
  ({ uid, gid, pid: 1, groups, deadlineMs: Infinity, signal: undefined, traceId: 0, alone: false })
