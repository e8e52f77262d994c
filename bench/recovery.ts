/**
 * What a death costs: how long a mount takes after kill -9 of the daemon with a full log, and how long a check of everything takes and
 * what it holds in memory. `node --import tsx bench/recovery.ts [--files 1000000] [--dir DIR] [--rounds 5] [--pool POOL] [--only make,names,small,mounted,closed]`;
 * root, gcc.
 *   - The pool has so many files; then changes are made until its log takes no more (fill-log.ts), and the process dies.
 *   - With --pool the pool is that one and stays: it can be made first (--only make), and measured in parts.
 *   - Each mount's daemon is killed as soon as it serves: the next one has the same log to replay. Asserted: the same changes.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { mountAt, ogee } from '../test/programs/mount.js'
import { run, start } from '../test/programs/run.js'
import { median } from './figures.js'
import { buildLoads } from './tools.js'

const { values: options } = parseArgs({ options: { files: { type: 'string', default: '1000000' }, dir: { type: 'string', default: tmpdir() }, rounds: { type: 'string', default: '5' },
  pool: { type: 'string' }, only: { type: 'string', default: 'make,names,small,mounted,closed' } } })
const files = Number(options.files)
const PER_FOLDER = 100_000
const KINDS = ['names', 'small'] as const

interface Opening { readonly ms: number; readonly replayedRecords: number }
interface Serving { readonly pid: number; readonly opening: Opening }

const only = options.only.split(',')
const top = mkdtempSync(path.join(options.dir, 'ogee-recovery-'))
const mount = mountAt(options.pool ?? path.join(top, 'pool'), path.join(top, 'mnt'))
mkdirSync(mount.dir)
const loads = await buildLoads(top)
const load = (name: string, ...args: (string | number)[]): Promise<unknown> => run(path.join(loads, name), args.map(String), { timeoutMs: 1_800_000 })
const fillLog = fileURLToPath(new URL('./fill-log.ts', import.meta.url))

/** A full log, and nobody who has the pool open; how many bytes of log. */
async function dieWithFullLog(kind: string): Promise<number> {
  const { stdout } = spawnSync(process.execPath, ['--import', 'tsx', fillLog, mount.pool, kind], { encoding: 'utf8', timeout: 300_000 }) // ends by its own SIGKILL
  return (JSON.parse(stdout) as { logUsedBytes: number }).logUsedBytes
}

/** What the last daemon that served wrote in its log: sooner than it can be asked. */
function lastServing(): Serving {
  const lines = readFileSync(path.join(mount.pool, 'daemon.log'), 'utf8').trimEnd().split('\n')
  return JSON.parse(lines.findLast((line) => line.includes('"opening"'))!) as Serving
}
const told = (ms: readonly number[]): string => `${median([...ms]).toFixed(0)} (${Math.min(...ms).toFixed(0)}-${Math.max(...ms).toFixed(0)})`

async function anonPeakMib(pid: number, done: () => boolean): Promise<number> {
  let peak = 0
  while (!done()) {
    for (const process of [pid, ...childrenOf(pid)]) peak = Math.max(peak, anonOf(process))
    await sleep(50)
  }
  return peak
}
const anonOf = (pid: number): number => Number(tryRead(`/proc/${pid}/status`).match(/^RssAnon:\s+(\d+) kB/m)?.[1] ?? 0) / 1024
const childrenOf = (pid: number): number[] => tryRead(`/proc/${pid}/task/${pid}/children`).split(' ').filter((word) => word !== '').map(Number)
function tryRead(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return '' // it ended
  }
}

try {
  console.log(`${files} files   Linux ${release()}, Node ${process.versions.node}`)
  await mount.mount()
  for (let i = 0; only.includes('make') && i < Math.ceil(files / PER_FOLDER); i++) {
    mkdirSync(path.join(mount.dir, `d${i}`))
    await load('names', 'create', path.join(mount.dir, `d${i}`), Math.min(files, PER_FOLDER))
  }
  for (const kind of KINDS.filter((one) => only.includes(one))) {
    await mount.umount()
    const used = await dieWithFullLog(kind)
    const tookMs: number[] = []
    const openings: Opening[] = []
    for (let round = 0; round < Number(options.rounds); round++) {
      const before = performance.now()
      await run(ogee, ['mount', mount.pool, mount.dir], { timeoutMs: 60_000 })
      tookMs.push(performance.now() - before)
      const { pid, opening } = lastServing()
      process.kill(pid, 'SIGKILL')
      await run('umount', ['-l', mount.dir])
      openings.push(opening)
      assert.equal(openings[round].replayedRecords, openings[0].replayedRecords, 'the log is as full as before')
    }
    await mount.mount()
    console.log(`  mount after kill -9 with ${(used / 2 ** 20).toFixed(0)} MiB of log (${kind}, ${openings[0].replayedRecords} changes), median of ${tookMs.length} (min-max): ${told(tookMs)} ms from the command to a mounted pool; of them to open the pool ${told(openings.map((o) => o.ms))} ms`)
  }
  for (const state of ['mounted', 'closed'].filter((one) => only.includes(one))) {
    if (state === 'closed') await mount.umount()
    const before = performance.now()
    let done = false
    const check = start(ogee, ['fsck', mount.pool, '--json'], { timeoutMs: 600_000 })
    const peak = anonPeakMib(check.pid, () => done)
    await check.done.finally(() => { done = true })
    console.log(`  fsck, pool ${state}: ${((performance.now() - before) / 1000).toFixed(1)} s, at most ${(await peak).toFixed(0)} MiB of anonymous memory in one process`)
  }
} finally {
  await run('umount', ['-l', mount.dir]).catch(() => undefined) // it is unmounted unless something failed
  rmSync(top, { recursive: true, force: true })
}
