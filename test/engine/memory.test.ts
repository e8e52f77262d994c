/** The memory engine passes the suite: as it is, slow, and as a database that refuses, is slow and loses answers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom, systemClock } from '../../src/sys/index.js'
import type { Clock } from '../../src/sys/index.js'
import { makeMemoryServer, openMemory } from '../../src/engine/index.js'
import type { Engine, MemoryServer } from '../../src/engine/index.js'
import { bytes, ctx, runSuite } from './suite.js'
import type { EngineKit } from './suite.js'

/** A clock whose milliseconds are turns of the microtask queue: the same interleaving every time, and no waiting. */
const turnClock: Clock = {
  ...systemClock,
  async sleep(ms) {
    for (let turns = 1 + Math.floor(ms); turns > 0; turns--) await undefined
  }
}

const seed = Number(process.env.OGEE_SEED ?? 1)

function kitOf(title: string, runs: number, options: Parameters<typeof openMemory>[0]): EngineKit {
  const servers = new WeakMap<Engine, MemoryServer>()
  const openOn = async (server: MemoryServer): Promise<Engine> => {
    const engine = openMemory({ ...options, random: seededRandom(seed), clock: turnClock, server })
    servers.set(engine, server)
    return engine
  }
  return { title, runs, open: () => openOn(makeMemoryServer()), reopen: (closed) => openOn(servers.get(closed)!), drop: (engine) => engine.close() }
}

runSuite(kitOf('memory', 150, {}))
runSuite(kitOf('memory, 1 to 20 turns away', 150, { latencyMs: [1, 20] }))

test('a body commits once, whatever is lost on the way', async () => {
  for (let i = 0; i < 20; i++) {
    const engine = openMemory({ clock: turnClock, random: seededRandom(seed + i), latencyMs: [1, 9], conflictChance: 0.3, lostAnswerChance: 0.3 })
    await engine.transact(ctx, (tx) => tx.createCounters('ca', [0]))
    await Promise.all(Array.from({ length: 50 }, (_, n) => engine.transact(ctx, (tx) => {
      tx.addCounters('ca', [1])
      tx.put(`v${n}`, bytes('1'))
    }, n % 2 === 0 ? { id: `${n}`, encodeResult: () => bytes(`${n}`) } : undefined)))
    assert.deepEqual(await engine.reader(ctx).counters('ca'), [50])
    assert.equal((await engine.reader(ctx).scan({ from: 'v', to: 'w', limit: 100 })).length, 50)
    for (let n = 0; n < 50; n += 2) assert.ok(engine.answered(engine.session, `${n}`) !== undefined)
  }
})

test('two engines on one database see and race each other', async () => {
  const server = makeMemoryServer()
  const a = openMemory({ server, clock: turnClock, latencyMs: [1, 9], random: seededRandom(seed) })
  const b = openMemory({ server, clock: turnClock, latencyMs: [1, 9], random: seededRandom(seed + 1) })
  assert.equal(b.session, a.session + 1)
  await a.transact(ctx, (tx) => tx.put('va', bytes('0')))
  const add = (engine: Engine) => engine.transact(ctx, async (tx) => {
    const row = await tx.get('va')
    tx.put('va', bytes(`${Number(Buffer.from(row!.bytes).latin1Slice()) + 1}`))
  })
  await Promise.all(Array.from({ length: 40 }, (_, i) => add(i % 2 === 0 ? a : b)))
  assert.equal(Buffer.from((await b.reader(ctx).get('va'))!.bytes).latin1Slice(), '40')
  assert.ok(a.status().conflicts + b.status().conflicts > 0)
})
