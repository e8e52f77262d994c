/**
 * What one transaction costs on this machine: `node --import tsx bench/engine.ts [FOLDER]` (default: the temporary folder).
 * The peer is a bare log: one pwrite of 4 KiB per commit, nothing else. One loop, medians of 5 rounds.
 */
import { mkdtempSync, openSync, rmSync, writeSync, ftruncateSync, closeSync } from 'node:fs'
import { arch, cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLmdb, openMemory } from '../src/engine/index.js'
import type { Engine } from '../src/engine/index.js'
import { rootContext as ctx } from '../src/sys/index.js'

const ROUNDS = 5
const COUNT = 10_000
const VALUE = Buffer.alloc(120, 1)
const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'ogee-bench-'))
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const median = (of: number[]): number => of.sort((a, b) => a - b)[of.length >> 1]
const lines: [string, number, string][] = []

async function measure(title: string, count: number, work: (round: number) => unknown): Promise<void> {
  const perOpUs: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    await breathe()
    const start = performance.now()
    await work(round)
    perOpUs.push(((performance.now() - start) * 1000) / count)
  }
  lines.push([title, median(perOpUs), `${perOpUs[0].toFixed(2)}-${perOpUs[ROUNDS - 1].toFixed(2)}`])
}

async function measureEngine(name: string, engine: Engine): Promise<void> {
  const reader = engine.reader(ctx)
  const put = (key: string) => engine.transact(ctx, (tx) => tx.put(key, VALUE))
  await measure(`${name}: new row, depth 1`, COUNT, async (r) => { for (let i = 0; i < COUNT; i++) await put(`a${r}.${i}`) })
  await measure(`${name}: same row, depth 1`, COUNT, async () => { for (let i = 0; i < COUNT; i++) await put('b') })
  await measure(`${name}: new row, 32 a tick`, COUNT, async (r) => {
    for (let i = 0; i < COUNT; i += 32) await Promise.all(Array.from({ length: Math.min(32, COUNT - i) }, (_, j) => put(`c${r}.${i + j}`)))
  })
  await measure(`${name}: create (4 reads, 3 puts, 1 delta, 1 event), depth 1`, COUNT, async (r) => {
    if (r === 0) await engine.transact(ctx, (tx) => tx.createCounters('g', [0, 0, 0]))
    for (let i = 0; i < COUNT; i++) await engine.transact(ctx, async (tx) => {
      await tx.get('b')
      await tx.get('b')
      await tx.get(`d${r}.${i}`)
      await tx.get(`e${r}.${i}`)
      tx.put(`d${r}.${i}`, VALUE)
      tx.put(`e${r}.${i}`, VALUE)
      tx.put(`f${r}.${i}`, VALUE)
      tx.addCounters('g', [1, 0, 5])
      tx.change(VALUE)
    })
  })
  await engine.checkpoint()
  const keys = Array.from({ length: COUNT }, (_, i) => `a0.${i}`)
  const get = async (): Promise<void> => { for (const key of keys) reader.get(key) }
  await measure(`${name}: get, in memory`, COUNT, get)
  const strided = Array.from({ length: COUNT }, (_, i) => (i * 7919) % COUNT)
  await measure(`${name}: get, each row once`, COUNT, (r) => { for (const i of strided) reader.get(`c${r}.${i}`) })
  await measure(`${name}: get, no such row`, COUNT, () => { for (const key of keys) reader.get(`${key}x`) })
  await measure(`${name}: scan, per row`, COUNT, async () => reader.scan({ from: 'a0', to: 'a1', limit: COUNT }))
}

const fd = openSync(join(folder, 'plain'), 'w')
ftruncateSync(fd, 64 * 1024 * 1024)
const page = Buffer.alloc(4096, 1)
await measure('peer: pwrite of 4 KiB (node:fs)', COUNT, () => { for (let i = 0; i < COUNT; i++) writeSync(fd, page, 0, 4096, (i % 16384) * 4096) })
closeSync(fd)
await measureEngine('memory', openMemory())
const lmdb = await openLmdb({ folder })
await measureEngine('lmdb', lmdb)
await measure('lmdb: put + sync, depth 1', 200, async () => {
  for (let i = 0; i < 200; i++) {
    await lmdb.transact(ctx, (tx) => tx.put('s', VALUE))
    await lmdb.sync(ctx)
  }
})

// how long the loop stands still while a checkpoint moves 100,000 rows
for (let i = 0; i < 100_000; i++) {
  await lmdb.transact(ctx, (tx) => tx.put(`z${(i * 7919) % 100_000}`, VALUE))
  if (i % 1000 === 0) await breathe()
}
const gapsMs: number[] = []
let watching = true
const watch = (async () => {
  for (let last = performance.now(); watching; ) {
    await breathe()
    const now = performance.now()
    gapsMs.push(now - last)
    last = now
  }
})()
const startMs = performance.now()
await lmdb.checkpoint()
const tookMs = performance.now() - startMs
watching = false
await watch
gapsMs.sort((a, b) => a - b)
await lmdb.close()
const openAt = performance.now()
await (await openLmdb({ folder })).close()
const openMs = performance.now() - openAt
rmSync(folder, { recursive: true })

console.log(`median of ${ROUNDS} rounds of ${COUNT} (min-max)   Linux ${release()}, Node ${process.versions.node}, ${cpus().length} cores ${arch()}`)
for (const [title, us, spread] of lines) console.log(`  ${title.padEnd(62)} ${us.toFixed(2).padStart(8)} us  (${spread})  ${Math.round(1e6 / us).toLocaleString('en').padStart(10)}/s`)
console.log(`  lmdb: checkpoint beside an idle loop: ${tookMs.toFixed(0)} ms; the loop stood still for more than 2 ms ${gapsMs.filter((gap) => gap > 2).length} times, at most ${gapsMs[gapsMs.length - 1].toFixed(2)} ms`)
console.log(`  lmdb: open and close again: ${openMs.toFixed(0)} ms`)
