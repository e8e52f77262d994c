/** Pools for tests of the tree: every engine that it must run on, one way to call it, and the check that ends each test. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { makeMemoryServer, openLmdb, openMemory } from '../../src/engine/index.js'
import type { Engine, MemoryServer, Tx } from '../../src/engine/index.js'
import { NOW } from '../../src/data/index.js'
import { checkTree } from '../../src/meta/check.js'
import { nameHash } from '../../src/meta/hash.js'
import type { NameHash } from '../../src/meta/hash.js'
import { openTree } from '../../src/meta/index.js'
import type { Inode, Op, Tree } from '../../src/meta/index.js'
import { manualClock, rootContext, seededRandom } from '../../src/sys/index.js'
import type { Context, ErrnoName, ManualClock } from '../../src/sys/index.js'

export const HASH_KEY = Uint8Array.from({ length: 16 }, (_, i) => i)
/** Every name falls on one of two places: chains of ties. */
export const collidingHash: NameHash = (name, out) => {
  out.high = 7
  out.low = name.length % 2 === 0 ? 0x80 : 0xffffff80
}

export const S_IFREG = 0o100000
export const S_IFDIR = 0o040000
export const S_IFLNK = 0o120000

export interface TestPool {
  readonly engine: Engine
  readonly tree: Tree
  readonly hash: NameHash
  /** Lets simulated time pass until the promise is settled. */
  settle<T>(promise: Promise<T>): Promise<T>
  run<T>(ctx: Context, body: (tx: Tx, op: Op) => T | Promise<T>): Promise<T>
  close(): Promise<void>
}

export interface PoolOptions {
  /** Of everything random. With it simulated time moves in settle() alone, so that a run can be replayed; without, always. */
  readonly seed?: number
  readonly hash?: NameHash
  readonly server?: MemoryServer
  /** Another engine's pool: do not format. */
  readonly joins?: boolean
}

export const user = (uid: number, gid = uid, groups: readonly number[] = []): Context => ({ ...rootContext, uid, gid, groups })
export const root = user(0)

/** In one transaction. */
export async function takeSnapshot(tree: Tree, tx: Tx, op: Op, domain: number, name: string): Promise<number> {
  const epoch = await tree.beginSnapshot(tx, domain, name)
  await tree.nameSnapshot(tx, op, domain, epoch, name)
  return epoch
}

let nowSec = 1000

async function pool(engine: Engine, clock: ManualClock | undefined, options: PoolOptions, whenClosed: () => void): Promise<TestPool> {
  const hash = options.hash ?? nameHash(HASH_KEY)
  const tree = openTree({ hashKey: HASH_KEY, hash, engine })
  const settle = async <T>(promise: Promise<T>): Promise<T> => {
    if (clock === undefined) return promise
    let settled = false
    const noted = promise.finally(() => (settled = true))
    noted.catch(() => undefined)
    while (!settled) await clock.advanceAsync(1)
    return noted
  }
  const self: TestPool = {
    engine,
    tree,
    hash,
    settle,
    run: (ctx, body) => {
      const op: Op = { ctx, now: { sec: nowSec++, nsec: 7 }, check: true, session: engine.session }
      return engine.transact(ctx, (tx) => body(tx, op))
    },
    async close() {
      await settle(engine.close())
      whenClosed()
    }
  }
  if (options.joins !== true) await settle(self.run(root, (tx, op) => tree.format(tx, op, { mode: 0o777, uid: 0, gid: 0 })))
  return self
}

type Open = (options?: PoolOptions) => Promise<TestPool>
const nothing = (): void => undefined

export const openQuick: Open = (options = {}) => pool(openMemory({ server: options.server }), undefined, options, nothing)

/** A database far away: answers take time, commits collide, answers get lost. */
export const openRemote: Open = (options = {}) => {
  const clock = manualClock()
  const engine = openMemory({
    clock, random: seededRandom(options.seed ?? 1), latencyMs: [1, 5], conflictChance: 0.1, lostAnswerChance: 0.1, server: options.server ?? makeMemoryServer()
  })
  let open = options.seed === undefined
  const tick = (): void => {
    if (open) void clock.advanceAsync(1).then(() => setImmediate(tick))
  }
  tick()
  return pool(engine, options.seed === undefined ? undefined : clock, options, () => (open = false))
}

export const openEmbedded: Open = async (options = {}) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'ogee-meta-'))
  const engine = await openLmdb({ folder, logBytes: 1024 * 1024 })
  return pool(engine, undefined, options, () => rmSync(folder, { recursive: true, force: true }))
}

export const engines: Record<string, Open> = { memory: openQuick, remote: openRemote, lmdb: openEmbedded }

/** The end of every test: the tree is whole. */
export async function endWhole({ engine, hash, settle, close }: TestPool): Promise<void> {
  const problems: string[] = []
  const check = async (): Promise<void> => {
    for await (const { ino, what } of checkTree(engine.reader(rootContext), hash)) problems.push(`inode ${ino} ${what}`)
  }
  await settle(check())
  assert.deepEqual(problems, [])
  await close()
}

export async function expectErrno(code: ErrnoName | undefined, act: () => Promise<unknown>): Promise<void> {
  assert.equal(await errnoNameOf(act), code)
}

export async function errnoNameOf(act: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await act()
    return undefined
  } catch (e) {
    if (e instanceof Error && 'code' in e) return String(e.code)
    throw e
  }
}

export interface Shell {
  readonly pool: TestPool
  make(ctx: Context, parent: number, name: string, mode: number, more?: { umask?: number; rdev?: number; target?: string }): Promise<number>
  inode(ino: number, view?: number): Promise<Inode | undefined>
  at(parent: number, name: string, view?: number): Promise<number | undefined>
  names(ino: number, view?: number): Promise<string[]>
  call<T>(ctx: Context, body: (tree: Tree, tx: Tx, op: Op) => T | Promise<T>): Promise<T>
}

/** Short words for what tests do most. */
export function shellOf(target: TestPool): Shell {
  const { tree, engine, settle } = target
  let nextIno = 100
  const reader = engine.reader(rootContext)
  const call: Shell['call'] = (ctx, body) => settle(target.run(ctx, (tx, op) => body(tree, tx, op)))
  return {
    pool: target,
    call,
    make: async (ctx, parent, name, mode, { umask = 0, rdev = 0, target: to } = {}) => {
      const ino = nextIno++
      await call(ctx, (_, tx, op) => tree.make(tx, op, { parent, name, mode, umask, rdev, target: to, ino }) as Promise<Inode>)
      return ino
    },
    inode: async (ino, view = NOW) => settle(Promise.resolve(tree.inode(reader, ino, view))),
    at: async (parent, name, view = NOW) => (await settle(Promise.resolve(tree.lookup(reader, parent, name, view))))?.ino,
    names: async (ino, view = NOW) => {
      const out: string[] = []
      let high = 0
      let low = 0
      for (;;) {
        const page = await settle(Promise.resolve(tree.list(reader, ino, view, high, low, 3)))
        for (const { name } of page) out.push(name)
        if (page.length < 3) return out.sort()
        high = page[2].cookieHigh
        low = page[2].cookieLow
      }
    }
  }
}
