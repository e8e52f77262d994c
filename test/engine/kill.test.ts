/** kill -9 while a process writes and checkpoints: whatever it was answered is there, with its change event and its result. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { manualClock, seededRandom } from '../../src/sys/index.js'
import { openLmdb } from '../../src/engine/index.js'
import { newFolder } from './disk.js'
import { ctx } from './suite.js'

const KILLS = 4
const writer = fileURLToPath(new URL('./writer.ts', import.meta.url))

/** Answered numbers of one writer that was killed after about so many. */
function writeAndKill(folder: string, from: number, count: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', writer, folder, `${from}`], { stdio: ['ignore', 'pipe', 'inherit'] })
    let out = ''
    let lines = 0
    child.stdout.setEncoding('latin1').on('data', (chunk: string) => {
      out += chunk
      for (const c of chunk) if (c === '\n') lines++
      if (lines > count) child.kill('SIGKILL')
    })
    child.on('error', reject)
    child.on('close', (_code, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`the writer ended by itself: ${out.slice(-200)}`))
      else resolve(out.slice(0, out.lastIndexOf('\n')).split('\n').slice(1).map(Number))
    })
  })
}

test('a killed writer loses nothing that was answered', { timeout: 120_000 }, async () => {
  const folder = newFolder()
  const random = seededRandom(Number(process.env.OGEE_SEED ?? 7))
  const answered: number[] = []
  let from = 0
  for (let kill = 0; kill < KILLS; kill++) {
    const numbers = await writeAndKill(folder, from, 200 + (random.uint32() % 3000))
    answered.push(...numbers)
    from = Math.max(...numbers) + 100
    const engine = await openLmdb({ folder, clock: manualClock() })
    assert.equal(engine.recovery.clean, false)
    assert.equal(engine.recovery.sameBoot, true)
    const session = engine.session - 1
    for (const n of answered) {
      const row = await engine.reader(ctx).get(`v${String(n).padStart(9, '0')}`)
      assert.ok(row !== undefined, `number ${n} of kill ${kill} was answered and is gone`)
      assert.deepEqual(Buffer.from(row.bytes), Buffer.alloc(1 + (n % 700), n))
    }
    const events = new Set((await engine.changes(session, 1, Infinity)).map((e) => Number(Buffer.from(e.bytes).latin1Slice())))
    for (const n of numbers) assert.ok(events.has(n))
    for (const n of numbers.slice(-4000)) assert.equal(Buffer.from(engine.answered(session, `${n}`)!).latin1Slice(), `r${n}`)
    await engine.close()
  }
})
