/**
 * Random operations by several clients at once, against the model. The change log tells in which order transactions committed;
 * the model takes them in that order. A failed operation is right if the model fails in the same way at some moment between its
 * call and its answer. At the end the tree, every snapshot and every reverse link are the model's, and the tree is whole.
 */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { NOW } from '../../src/data/index.js'
import { changeContent } from '../../src/meta/index.js'
import type { Inode } from '../../src/meta/index.js'
import { rootContext } from '../../src/sys/index.js'
import { makeModel } from './model.js'
import type { ModelOp } from './model.js'
import { collidingHash, endWhole, engines, errnoNameOf, takeSnapshot, user } from './pools.js'
import type { PoolOptions, TestPool } from './pools.js'

const START_SEC = 5_000_000
const FIRST_INO = 100

/** What is generated: names and inodes are picked from few, so that operations meet. */
interface Drawn {
  readonly op: ModelOp['op']
  readonly uid: number
  readonly a: number
  readonly b: number
  readonly name: string
  readonly newName: string
  readonly mode: number
  readonly flags: number
}
const drawn: fc.Arbitrary<Drawn> = fc.record({
  op: fc.oneof(
    { weight: 6, arbitrary: fc.constant<ModelOp['op']>('make') },
    { weight: 5, arbitrary: fc.constant<ModelOp['op']>('rename') },
    { weight: 6, arbitrary: fc.constantFrom<ModelOp['op']>('link', 'unlink', 'rmdir') },
    { weight: 4, arbitrary: fc.constantFrom<ModelOp['op']>('chmod', 'chown', 'grow', 'xattr', 'snapshot') }),
  uid: fc.constantFrom(0, 0, 0, 1000, 1001),
  a: fc.nat(40),
  b: fc.nat(40),
  name: fc.constantFrom('a', 'b', 'cc', 'dd'),
  newName: fc.constantFrom('a', 'b', 'cc', 'dd'),
  mode: fc.constantFrom(0o040777, 0o040777, 0o040755, 0o041777, 0o042775, 0o100644, 0o100644, 0o106755, 0o010600),
  flags: fc.constantFrom(0, 0, 0, 1, 2, 2, 4, 6)
})

/** Fixed before anything runs: an inode's number is its maker's place in the program. */
function planOf(program: readonly Drawn[]): ModelOp[] {
  const made: number[] = []
  const dirs = [1]
  const files: number[] = []
  return program.map(({ op, uid, a, b, name, newName, mode, flags }, i): ModelOp => {
    const ino = FIRST_INO + i
    const parent = dirs[a % dirs.length]
    const any = made.length === 0 ? 1 : made[b % made.length]
    switch (op) {
      case 'make':
        made.push(ino)
        if ((mode & 0o170000) === 0o040000) dirs.push(ino)
        if ((mode & 0o170000) === 0o100000) files.push(ino)
        return { op, uid, parent, name, mode, ino }
      case 'link': return { op, uid, ino: any, parent, name }
      case 'rename': return { op, uid, parent, name, newParent: dirs[b % dirs.length], newName, flags, whiteoutIno: ino }
      case 'chmod': return { op, uid, ino: any, mode: mode & 0o7777 }
      case 'chown': return { op, uid, ino: any, owner: b % 2 === 0 ? 1000 : 1001 }
      case 'grow': return { op, ino: files.length === 0 ? 99 : files[b % files.length], bytes: a * 1000 }
      case 'xattr': return { op, uid, ino: any, value: `${i}` }
      case 'snapshot': return { op, name: `s${i}` }
      default: return { op, uid, parent, name }
    }
  })
}

const nothingSet = { mode: 0, uid: 0, gid: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }

/** Runs one step; an extra event in its transaction says when it committed. */
async function execute({ engine, tree }: TestPool, step: ModelOp, index: number, epochs: Map<string, number>): Promise<void> {
  const now = { sec: START_SEC + index, nsec: 7 }
  const ctx = user('uid' in step ? step.uid : 0)
  const mark = Buffer.from([0xff, index >> 8, index & 255])
  if (step.op === 'grow') {
    await changeContent(engine)(rootContext, step.ino, { touch: now, killSuidgid: false }, (tx, _file, content) => {
      tx.change(mark)
      return { ...content, sizeBytes: step.bytes }
    })
    return
  }
  const op = { ctx, now, check: true, session: engine.session }
  await engine.transact(ctx, async (tx) => {
    tx.change(mark)
    switch (step.op) {
      case 'make': return void (await tree.make(tx, op, { ...step, umask: 0, rdev: 0, target: undefined }))
      case 'link': return void (await tree.link(tx, op, step.ino, step.parent, step.name))
      case 'unlink': return void (await tree.unlink(tx, op, step.parent, step.name))
      case 'rmdir': return void (await tree.rmdir(tx, op, step.parent, step.name))
      case 'rename': return void (await tree.rename(tx, op, step))
      case 'chmod': return void (await tree.setattr(tx, op, step.ino, { ...nothingSet, valid: 1, mode: step.mode }))
      case 'chown': return void (await tree.setattr(tx, op, step.ino, { ...nothingSet, valid: 2, uid: step.owner }))
      case 'xattr': return void (await tree.setxattr(tx, op, step.ino, 'user.x', Buffer.from(step.value), 0, false))
      case 'snapshot': return void epochs.set(step.name, await takeSnapshot(tree, tx, op, 1, step.name))
    }
  })
}

/** The tree as a reader sees it at a view, in the model's form. */
async function dumpTree({ engine, tree }: TestPool, view: number): Promise<unknown> {
  const r = engine.reader(rootContext)
  const show = async (ino: number): Promise<unknown> => {
    const n = await tree.inode(r, ino, view)
    assert(n !== undefined, `inode ${ino} is there`)
    const value = await tree.getxattr(r, ino, 'user.x', view)
    const isDir = (n.mode & 0o170000) === 0o040000
    const children: [string, unknown][] = []
    if (isDir) {
      const found = new Map<string, number>()
      for (let high = 0, low = 0; ;) {
        const page = await tree.list(r, ino, view, high, low, 2)
        for (const entry of page) {
          assert(!found.has(entry.name), 'no name is listed twice')
          found.set(entry.name, entry.ino)
          const child = await tree.lookup(r, ino, entry.name, view)
          assert.equal(child?.ino, entry.ino)
        }
        if (page.length < 2) break
        high = page[1].cookieHigh
        low = page[1].cookieLow
      }
      for (const name of [...found.keys()].sort()) children.push([name, await show(found.get(name)!)])
      if (view === NOW) for (const [name, child] of found) await checkLink(child, ino, name)
    }
    return {
      ino, mode: n.mode.toString(8), uid: n.uid, gid: n.gid, nlink: n.nlink, size: n.sizeBytes, mtime: n.mtimeSec, ctime: n.ctimeSec,
      xattr: value === undefined ? undefined : Buffer.from(value).toString(), children: isDir ? Object.fromEntries(children) : undefined
    }
  }
  const checkLink = async (ino: number, parent: number, name: string): Promise<void> => {
    const links = await tree.links(r, ino)
    assert(links.some((l) => l.parent === parent && l.name === name), `inode ${ino} knows its name ${name}`)
    assert.equal(links.length, isDirectoryMode((await tree.inode(r, ino, NOW))!) ? 1 : (await tree.inode(r, ino, NOW))!.nlink)
  }
  return show(1)
}
const isDirectoryMode = (n: Inode): boolean => (n.mode & 0o170000) === 0o040000

async function agree(open: (o: PoolOptions) => Promise<TestPool>, program: readonly Drawn[], clients: number, seed: number, collide: boolean): Promise<void> {
  const pool = await open({ seed, ...(collide ? { hash: collidingHash } : {}) })
  const { engine, settle } = pool
  const plan = planOf(program)
  const epochs = new Map<string, number>()
  const outcomes: { errno: string | undefined; after: number; upto: number }[] = []
  // times of root are the format's: start both from the same
  const rootNow = (await settle(Promise.resolve(pool.tree.inode(engine.reader(rootContext), 1, NOW))))!
  const model = makeModel(0o777, rootNow.mtimeSec)

  let next = 0
  const client = async (): Promise<void> => {
    while (next < plan.length) {
      const i = next++
      const after = await marks(pool)
      const errno = await errnoNameOf(() => execute(pool, plan[i], i, epochs))
      outcomes[i] = { errno, after: after.length, upto: 0 }
      outcomes[i].upto = (await marks(pool)).length
    }
  }
  await settle(Promise.all(Array.from({ length: clients }, client)))

  const order = await settle(marks(pool))
  const unexplained = new Map<number, string[]>()
  outcomes.forEach(({ errno }, i) => errno !== undefined && unexplained.set(i, []))
  for (let k = 0; k <= order.length; k++) {
    for (const [i, seen] of unexplained) {
      const { errno, after, upto } = outcomes[i]
      if (k < after || k > upto) continue
      const judged = model.judge(plan[i])
      if ('errno' in judged && judged.errno === errno) unexplained.delete(i)
      else seen.push('errno' in judged ? judged.errno : 'success')
    }
    if (k === order.length) break
    const i = order[k]
    const judged = model.judge(plan[i])
    assert.equal('errno' in judged ? judged.errno : undefined, undefined, `step ${i} ${JSON.stringify(plan[i])} committed`)
    if ('does' in judged) judged.does(START_SEC + i)
  }
  for (const [i, seen] of unexplained) assert.fail(`step ${i} ${JSON.stringify(plan[i])} failed with ${outcomes[i].errno}, the model says ${seen.join(', ')}`)
  assert.deepEqual(await settle(dumpTree(pool, NOW)), model.dump())
  for (const [name, seen] of model.snapshots) assert.deepEqual(await settle(dumpTree(pool, epochs.get(name)!)), seen, `snapshot ${name}`)
  await endWhole(pool)
}

/** Steps in the order in which they committed. */
async function marks({ engine }: TestPool): Promise<number[]> {
  const events = await engine.changes(engine.session, 1, 100_000)
  return events.filter(({ bytes }) => bytes[0] === 0xff).map(({ bytes }) => bytes[1] * 256 + bytes[2])
}

const runs: Record<string, { readonly clients: number; readonly numRuns: number; readonly maxLength: number }> = {
  memory: { clients: 1, numRuns: 300, maxLength: 80 },
  remote: { clients: 5, numRuns: 60, maxLength: 50 },
  lmdb: { clients: 3, numRuns: 25, maxLength: 60 }
}
for (const [kind, { clients, numRuns, maxLength }] of Object.entries(runs)) {
  describe(`${clients} clients on ${kind}`, () => {
    test('do what the model does', { timeout: 300_000 }, () =>
      fc.assert(
        fc.asyncProperty(fc.array(drawn, { maxLength, size: 'max' }), fc.nat(), fc.boolean(), (program, seed, collide) => agree(engines[kind], program, clients, seed, collide)),
        { numRuns, endOnFailure: false, interruptAfterTimeLimit: 100_000, markInterruptAsFailure: false }
      ))
  })
}
