/**
 * How long one cached file's stat takes while the daemon is busy, and how much anonymous memory it holds: the same as stalls.ts through
 * a mount. `node --import tsx bench/stalls-mounted.ts [--files 1000000] [--dir DIR] [--quick]`; root, gcc.
 *   - One process asks for the file's attributes from the daemon again and again (AT_STATX_FORCE_SYNC); beside it runs what is named.
 *   - `alone` is the same without anything beside: what the machine gives today.
 *   - cold: the kernel's caches are dropped before, so that names, inodes and the pages of the metadata come from the disk.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { run } from '../test/programs/run.js'
import { ogeePeer } from './peers/ogee.js'
import { buildLoads } from './tools.js'
import { anonMib } from './usage.js'

const { values: options } = parseArgs({ options: { files: { type: 'string', default: '1000000' }, dir: { type: 'string', default: tmpdir() }, ms: { type: 'string', default: '5000' } } })
const files = Number(options.files)
const PER_FOLDER = 100_000

interface Times { readonly ops: number; readonly ns: number; readonly p50Ns?: number; readonly p99Ns?: number }

const top = mkdtempSync(join(options.dir, 'ogee-stalls-'))
const loads = await buildLoads(top)
const place = join(top, 'place')
mkdirSync(place)
const mounted = await ogeePeer(undefined).start(place, 'disk')
const { dir, pid } = mounted as { dir: string; pid: number }

const load = async (name: string, ...args: (string | number)[]): Promise<Times> =>
  JSON.parse((await run(join(loads, name), args.map(String), { timeoutMs: 1_800_000 })).stdout) as Times
const dropCaches = async (): Promise<void> => {
  await run('sync', [])
  writeFileSync('/proc/sys/vm/drop_caches', '3')
}
const hot = (ms: number): Promise<Times> => load('stat', 'sync', join(dir, 'hot'), 1, `${ms}ms`)

/** The work, and the hot file's stats for as long as it runs. */
async function beside(title: string, work: () => Promise<{ readonly ops: number }>): Promise<void> {
  const start = performance.now()
  let done = false
  const working = work().finally(() => (done = true))
  const rounds: Times[] = []
  while (!done || rounds.length === 0) rounds.push(await hot(1000))
  const { ops } = await working
  const seconds = (performance.now() - start) / 1000
  const all = rounds.length > 1 ? rounds.slice(0, -1) : rounds // the last ran on alone
  const us = (of: 'p50Ns' | 'p99Ns', pick: (...n: number[]) => number): string => (pick(...all.map((t) => t[of] ?? 0)) / 1000).toFixed(0).padStart(7)
  const middle = (...n: number[]): number => n.sort((a, b) => a - b)[n.length >> 1]
  console.log(`  ${title.padEnd(34)} ${String(Math.round(ops / seconds)).padStart(8)}/s  stat p50${us('p50Ns', middle)} us, p99${us('p99Ns', middle)} us, worst second's p99${us('p99Ns', Math.max)} us   daemon ${anonMib(pid).toFixed(0).padStart(4)} MiB`)
}

try {
  mkdirSync(join(dir, 'hot'))
  writeFileSync(join(dir, 'hot', 'f0'), 'hot')
  console.log(`${files} files   Linux ${release()}, Node ${process.versions.node}`)
  const folders = Array.from({ length: Math.ceil(files / PER_FOLDER) }, (_, i) => join(dir, `d${i}`))
  for (const folder of folders) mkdirSync(folder)
  const inEach = async (each: (folder: string) => Promise<{ readonly ops: number }>): Promise<{ readonly ops: number }> => {
    let ops = 0
    for (const folder of folders) ops += (await each(folder)).ops
    return { ops }
  }
  await beside('alone', () => new Promise((resolve) => setTimeout(() => resolve({ ops: 0 }), Number(options.ms))))
  await beside('create, with its checkpoints', () => inEach((folder) => load('names', 'create', folder, Math.min(files, PER_FOLDER))))
  await beside('an fsync storm', () => load('append', join(dir, 'synced'), 5000))
  await beside('ls -l, warm', () => inEach((folder) => load('listing', 'stat', folder)))
  await dropCaches()
  await beside('find, cold', async () => ({ ops: (await run('find', [dir, '-size', '+1'], { timeoutMs: 1_800_000 })).stdout.length * 0 + files }))
  await beside('read all', () => inEach(async (folder) => {
    await run('bash', ['-c', `cd ${folder} && find . -type f -print0 | xargs -0 -n 2000 cat > /dev/null`], { timeoutMs: 1_800_000 })
    return { ops: Math.min(files, PER_FOLDER) }
  }))
  await beside('sync of everything', async () => ({ ops: (await run('sync', ['-f', dir], { timeoutMs: 600_000 })).stdout.length }))
} finally {
  await mounted.stop()
  rmSync(top, { recursive: true, force: true })
}
