/**
 * How long the loop stands still and how much memory is held while many files are made, listed, read and removed: on the floors of a
 * pool in this process, without a kernel between. `node --import tsx bench/stalls.ts [--files 1000000] [--dir DIR] [--json]`.
 *   - The loop works at most SLICE_MS at a time and then lets others in; a turn that takes longer than that stood still for the rest.
 *   - A getattr of one hot file stands in for a request that comes meanwhile: it would have waited for the turn's end.
 * Node's flags are the caller's: --max-semi-space-size, --trace-gc.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { PerformanceObserver } from 'node:perf_hooks'
import { parseArgs } from 'node:util'
import type { Data } from '../src/data/index.js'
import type { Engine } from '../src/engine/index.js'
import { openPool } from '../src/pool/index.js'
import type { Pool } from '../src/pool/index.js'
import { rootContext as ctx, systemClock, systemRandom } from '../src/sys/index.js'

const SLICE_MS = 0.3
const BLOCK = Buffer.alloc(4096, 7)
const INTO = Buffer.alloc(4096)

const { values: options } = parseArgs({ options: { files: { type: 'string', default: '1000000' }, dir: { type: 'string', default: tmpdir() }, json: { type: 'boolean', default: false }, bytes: { type: 'string', default: '0' } } })
const files = Number(options.files)
const fileBytes = Number(options.bytes)

// ------------------------------------------------------------------------------------------------------------- the loop

const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
/** Turns by length: 16 buckets for each doubling from 1 us on. Numbers, so that the measure is not in the memory that it measures. */
const turns = new Float64Array(16 * 32)
let longestMs = 0
let over2Ms = 0
const bucketMs = (bucket: number): number => 2 ** ((bucket + 0.5) / 16) / 1000
function countTurn(ms: number): void {
  turns[Math.min(turns.length - 1, Math.max(0, Math.floor(Math.log2(ms * 1000) * 16)))]++
  if (ms > longestMs) longestMs = ms
  if (ms > 2) over2Ms++
}
function turnMs(part: number): number {
  let all = 0
  for (const n of turns) all += n
  let below = 0
  for (let i = 0; i < turns.length; i++) if ((below += turns[i]) >= part * all) return bucketMs(i)
  return longestMs
}
const collections = new Map<number, { count: number; ms: number; maxMs: number }>()
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    const { kind } = (entry as unknown as { detail: { kind: number } }).detail
    const of = collections.get(kind) ?? { count: 0, ms: 0, maxMs: 0 }
    of.count++
    of.ms += entry.duration
    of.maxMs = Math.max(of.maxMs, entry.duration)
    collections.set(kind, of)
  }
}).observe({ entryTypes: ['gc'] })
const GC_KINDS: Record<number, string> = { 1: 'scavenge', 4: 'mark-compact', 8: 'incremental', 16: 'weak' }

let sliceStartMs = 0
let watching = true

/** Every turn of the loop, whatever the work waits for. */
void (async () => {
  for (let last = performance.now(); watching; ) {
    await breathe()
    const now = performance.now()
    countTurn(now - last)
    last = now
  }
})()

/** Called between two operations: lets others in when the slice is over. */
async function share(): Promise<void> {
  if (performance.now() - sliceStartMs < SLICE_MS) return
  await breathe()
  sliceStartMs = performance.now()
}

function anonymousKiB(): number {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'latin1'))?.[1])
}

interface Line {
  readonly phase: string
  readonly opsPerSec: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  readonly maxMs: number
  readonly over2Ms: number
  readonly gc: string
  readonly anonymousMiB: number
  readonly heapMiB: number
  readonly buffersMiB: number
  readonly held: string
}
const lines: Line[] = []
let floors: { engine: Engine; data: Data }

async function phase(name: string, ops: number, work: () => Promise<void>): Promise<void> {
  turns.fill(0)
  longestMs = over2Ms = 0
  collections.clear()
  await breathe()
  const startMs = (sliceStartMs = performance.now())
  await work()
  const tookMs = performance.now() - startMs
  await breathe()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  const { memory } = floors.engine.status()
  const data = floors.data.status()
  const line: Line = {
    phase: name, opsPerSec: Math.round((ops / tookMs) * 1000), p50Ms: turnMs(0.5), p99Ms: turnMs(0.99), p999Ms: turnMs(0.999), maxMs: longestMs, over2Ms,
    gc: [...collections].map(([kind, c]) => `${GC_KINDS[kind] ?? kind} ${c.count}x ${c.ms.toFixed(0)} ms max ${c.maxMs.toFixed(1)}`).join(', '),
    anonymousMiB: anonymousKiB() / 1024, heapMiB: heapUsed / 2 ** 20, buffersMiB: arrayBuffers / 2 ** 20,
    held: JSON.stringify({ ...memory, dataFiles: data.files, dataRanges: data.ranges })
  }
  lines.push(line)
  if (options.json !== true) {
    const ms = (x: number): string => x.toFixed(2).padStart(8)
    console.log(`${name.padEnd(22)} ${String(line.opsPerSec).padStart(8)}/s  turn${ms(line.p50Ms)}${ms(line.p99Ms)}${ms(line.p999Ms)}${ms(line.maxMs)} ms, ${String(line.over2Ms).padStart(4)} over 2   anon ${line.anonymousMiB.toFixed(0).padStart(4)} heap ${line.heapMiB.toFixed(0).padStart(4)} buffers ${line.buffersMiB.toFixed(0).padStart(4)} MiB\n${' '.repeat(24)}gc ${line.gc}\n${' '.repeat(24)}${line.held}`)
  }
}

// ------------------------------------------------------------------------------------------------------------- the work

const PER_FOLDER = 100_000
const folder = mkdtempSync(join(options.dir, 'ogee-stalls-'))
mkdirSync(join(folder, 'pool'))
const pool: Pool = await openPool(join(folder, 'pool'), {
  clock: systemClock, random: systemRandom, vfs: { checkPermissions: false }, note() {}, seams: { opened: ({ engine, data }) => void (floors = { engine, data }) }
})
const { vfs } = pool
if (options.json !== true) console.log(`${files} files of ${fileBytes} bytes, Linux ${release()}, Node ${process.versions.node}; turns: p50 p99 p99.9 max`)

const folders: number[] = []
const nodes = new Float64Array(files)
try {
  await phase('idle', 1, async () => {
    for (let i = 0; i < 1000; i++) await share()
  })
  await phase('create', files, async () => {
    for (let i = 0; i < files; i++) {
      if (i % PER_FOLDER === 0) folders.push((await vfs.mkdir(ctx, 1, `d${folders.length}`, 0o755, 0)).ino)
      const made = await vfs.create(ctx, folders[folders.length - 1], `file-number-${i}`, 0o644, 0, 0o1)
      nodes[i] = made.attr.ino
      if (fileBytes > 0) await vfs.write(ctx, made.attr.ino, made.handle, 0, BLOCK, 0, fileBytes, { killSuidgid: false, append: false })
      await vfs.release(ctx, made.attr.ino, made.handle)
      await share()
    }
  })
  await phase('checkpoint', 1, async () => {
    let done = false
    const checkpoint = floors.engine.checkpoint().then(() => void (done = true))
    for (let i = 0; !done; i++) {
      await vfs.getattr(ctx, nodes[0], 0)
      await share()
    }
    await checkpoint
  })
  await phase('list with attributes', files, async () => {
    for (const node of folders) {
      const { handle } = await vfs.opendir(ctx, node)
      for (let [high, low, more] = [0, 0, true]; more; ) {
        let taken = 0
        await vfs.readdir(ctx, node, handle, high, low, {
          entry(_name, _ino, _type, cookieHigh, cookieLow) {
            if (taken >= 64) return false
            taken++
            high = cookieHigh
            low = cookieLow
            return true
          }
        }, true)
        more = taken >= 64
        await share()
      }
      await vfs.releasedir(ctx, node, handle)
    }
  })
  await phase('stat, far apart', files, async () => {
    for (let i = 0, at = 0; i < files; i++, at = (at + 7919) % files) {
      await vfs.getattr(ctx, nodes[at], 0)
      await share()
    }
  })
  await phase('open, read, close', files, async () => {
    for (let i = 0; i < files; i++) {
      const { handle } = await vfs.open(ctx, nodes[i], 0)
      await vfs.read(ctx, nodes[i], handle, 0, 4096, INTO, 0)
      await vfs.release(ctx, nodes[i], handle)
      await share()
    }
  })
  await phase('fsync storm', 2000, async () => {
    const { attr, handle } = await vfs.create(ctx, folders[0], 'synced', 0o644, 0, 0o1)
    let running = 0
    for (let i = 0; i < 2000; i++) {
      await vfs.write(ctx, attr.ino, handle, i * 4096, BLOCK, 0, 4096, { killSuidgid: false, append: false })
      running++
      void (vfs.fsync(ctx, attr.ino, handle, false) as Promise<void>).finally(() => running--)
      while (running > 16) await breathe().then(share)
      await share()
    }
    while (running > 0) await breathe().then(share)
    await vfs.release(ctx, attr.ino, handle)
  })
  if (options.json === true) console.log(JSON.stringify({ files, fileBytes, node: process.versions.node, lines }, undefined, 1))
} finally {
  watching = false
  await pool.close()
  rmSync(folder, { recursive: true })
}
