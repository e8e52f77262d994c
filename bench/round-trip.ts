/**
 * What a request costs that needs nothing but an answer, and what a daemon that waits for requests costs.
 * `node --import tsx bench/round-trip.ts [--rounds 3] [--idle SECONDS]`; root, gcc, libfuse3-dev; half a minute.
 *   - floor: bench/load/floor.c, a daemon in C that does nothing: what the kernel and the machine take, whatever the daemon is made of.
 *   - Rounds begin when nobody holds the cores awake any more.
 *   - CPU is all threads', in steps of 10 ms; "in vain" is the part of it that was spent looking for requests that did not come.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { run, start } from '../test/programs/run.js'
import { median } from './figures.js'
import { isMounted, until } from './peers/mounts.js'
import { ogeePeer } from './peers/ogee.js'
import { buildPassthrough, passthroughPeer } from './peers/passthrough.js'
import { buildLoads, makeTools } from './tools.js'
import { cpuSeconds } from './usage.js'

const { values: options } = parseArgs({ options: { rounds: { type: 'string', default: '3' }, idle: { type: 'string', default: '0' }, dir: { type: 'string', default: tmpdir() } } })
const rounds = Number(options.rounds)
const FILES = 64
const RATES = [10, 100, 1000]
const PACED_MS = 2000

const top = mkdtempSync(join(options.dir, 'ogee-round-trip-'))
const tools = makeTools({ programs: await buildLoads(top), scratch: top, scale: 'normal', deadlineMs: 120_000 })
const us = (ns: number): string => (ns / 1000).toFixed(2).padStart(8)

async function measure(title: string, dir: string, file: string): Promise<void> {
  const stats: number[] = []
  const middle: number[] = []
  const reads: number[] = []
  for (let i = 0; i < rounds; i++) {
    await tools.coresLetGo()
    const stat = await tools.load('stat', 'sync', dir, FILES, 10_000)
    stats.push(stat.ns / stat.ops)
    middle.push(stat.p50Ns!)
    await tools.coresLetGo()
    const read = await tools.load('readmem', file, 4096, 10_000, 1)
    reads.push(read.ns / read.ops)
  }
  console.log(`${title.padEnd(34)} stat${us(median(stats))} us (p50${us(median(middle))}), 4K read${us(median(reads))} us`)
}

async function floor(how: 'spin' | 'block', cores: 'held' | 'asleep'): Promise<void> {
  const dir = join(top, `floor-${how}-${cores}`)
  mkdirSync(dir)
  const daemon = start(tools.program('floor'), [dir, how, cores], { timeoutMs: 120_000 })
  await until('the floor is mounted', () => isMounted(dir), 5000)
  await measure(`floor in C, ${how === 'spin' ? 'never sleeps' : 'read(2) blocks'}, cores ${cores}`, dir, join(dir, 'f0'))
  await run('umount', [dir])
  await daemon.done
}

interface Shown { readonly latency: { readonly spunMs: number, readonly sleeps: number } }

async function waiting(dir: string, pid: number): Promise<void> {
  const ogee = fileURLToPath(new URL('../bin/ogee', import.meta.url))
  const shown = async (): Promise<Shown> => JSON.parse((await run(ogee, ['status', '--json', dir])).stdout) as Shown
  for (const rate of RATES) {
    await tools.coresLetGo()
    const before = await shown()
    const cpu = cpuSeconds(pid)
    const load = await tools.load('paced', dir, FILES, rate, PACED_MS)
    const used = ((cpuSeconds(pid) - cpu) * 1e5) / PACED_MS
    const { latency } = await shown()
    const vain = ((latency.spunMs - before.latency.spunMs) * 100) / PACED_MS
    console.log(`${`ogee, ${rate} stats a second`.padEnd(34)} stat${us(load.p50Ns!)} us, CPU ${used.toFixed(1)} % of a core, in vain ${vain.toFixed(1)} %`)
  }
  const seconds = Number(options.idle)
  if (seconds === 0) return
  await tools.sleepSeconds(15) // what was written is written out by then
  const [cpu, { latency }] = [cpuSeconds(pid), await shown()]
  await tools.sleepSeconds(seconds)
  console.log(`${`ogee, idle for ${seconds} s`.padEnd(34)} CPU ${((cpuSeconds(pid) - cpu) * 1000).toFixed(0)} ms, woken ${(await shown()).latency.sleeps - latency.sleeps} times`)
}

try {
  console.log(`Linux ${release()}, Node ${process.versions.node}; medians of ${rounds} rounds`)
  for (const cores of ['held', 'asleep'] as const) for (const how of ['spin', 'block'] as const) await floor(how, cores)
  const pt = buildPassthrough(top)
  for (const peer of [ogeePeer(undefined), passthroughPeer(pt, 'many'), passthroughPeer(pt, 'one')]) {
    const place = join(top, peer.name.replace(/\W+/g, '-'))
    mkdirSync(place)
    const { dir, pid, stop } = await peer.start(place, 'memory')
    try {
      for (let i = 0; i < FILES; i++) writeFileSync(join(dir, `f${i}`), 'x')
      await tools.load('fill', 'file', join(dir, 'bytes'), 64)
      await measure(peer.name, dir, join(dir, 'bytes'))
      if (peer.name === 'ogee') await waiting(dir, pid!)
    } finally {
      await stop()
    }
  }
} finally {
  rmSync(top, { recursive: true, force: true })
}
