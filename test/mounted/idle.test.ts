/**
 * A mount that nobody uses costs nothing: once everything is written out, its daemon's thread does not wake up, and it does not
 * hold the cores. With work it does, as -o latency= says.
 */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync, readlinkSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { makePlace, needsRoot, until } from './place.js'

/** How often the daemon's main thread went to sleep so far. */
const sleeps = (pid: number): number => Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/task/${pid}/status`, 'latin1'))![1])

function holdsCores(pid: number): boolean {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === '/dev/cpu_dma_latency'
    } catch {
      return false // closed meanwhile
    }
  })
}

test('an idle daemon sleeps, whatever was done before', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const place = makePlace(t)
  assert.equal((await place.ogee('mount', place.pool, place.dir)).code, 0)
  const pid = await place.pid()
  for (let i = 0; i < 50; i++) writeFileSync(join(place.dir, `file${i}`), Buffer.alloc(20_000, i))
  writeFileSync(join(place.dir, 'large'), Buffer.alloc(8 * 1024 * 1024, 1))
  for (let i = 0; i < 25; i++) unlinkSync(join(place.dir, `file${i}`))
  rmSync(join(place.dir, 'large'))
  await until(async () => { // write-out, checkpoints, what was freed: all done within a few seconds
    const before = sleeps(pid)
    await sleep(3000)
    return sleeps(pid) - before <= 3
  }, 'three seconds with at most three wake-ups', 30_000)
  assert.equal(holdsCores(pid), false)
})

for (const [latency, held] of [['auto', true], ['low', true], ['normal', false]] as const) {
  test(`-o latency=${latency}: the cores are ${held ? 'held awake while requests keep coming, and let go soon after' : 'left alone'}`,
    { skip: needsRoot, timeout: 60_000 }, async (t) => {
      const place = makePlace(t)
      const mounted = await place.ogee('mount', '-o', `latency=${latency},spin_us=50`, place.pool, place.dir)
      if (mounted.code !== 0 && /cpu_dma_latency/.test(mounted.err)) return t.skip('the device is not ours')
      assert.equal(mounted.code, 0, mounted.err)
      const pid = await place.pid()
      const work = (): void => {
        for (let i = 0; i < 300; i++) {
          writeFileSync(join(place.dir, 'a'), 'b')
          statSync(join(place.dir, 'a'))
        }
      }
      if (held) await until(() => (work(), holdsCores(pid)), 'the device is open')
      else {
        work()
        assert.equal(holdsCores(pid), false)
      }
      await until(() => !holdsCores(pid), 'the device is closed', 2000)
      const { latency: shown, options } = JSON.parse((await place.ogee('status', '--json', place.dir)).out) as { latency: { mode: string, spinUs: number, sleeps: number }, options: string[] }
      assert.equal(shown.mode, latency)
      assert.equal(shown.spinUs, 50)
      assert.ok(shown.sleeps > 0)
      assert.ok(options.includes('spin_us=50'))
    })
}
