/**
 * What a death costs: how long a mount takes after kill -9 of the daemon with a full log, and how long a check of everything takes and
 * what it holds in memory. `node --import tsx bench/recovery.ts [--files 1000000] [--dir DIR] [--rounds 3]`; root, gcc.
 *   - The pool has so many files; then changes are made until the log is as full as it gets before a checkpoint frees it, and the daemon dies.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { mountAt, ogee } from '../test/programs/mount.js'
import { run, start } from '../test/programs/run.js'
import { buildLoads } from './tools.js'

const { values: options } = parseArgs({ options: { files: { type: 'string', default: '1000000' }, dir: { type: 'string', default: tmpdir() }, rounds: { type: 'string', default: '3' } } })
const files = Number(options.files)
const PER_FOLDER = 100_000
const AS_FULL = 0.9 // of the fullest that the log was seen
const FILLING_MS = 20_000

interface EngineStatus { readonly logUsedBytes: number; readonly logSizeBytes: number }

const top = mkdtempSync(path.join(options.dir, 'ogee-recovery-'))
const mount = mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))
mkdirSync(mount.dir)
const loads = await buildLoads(top)
const load = (name: string, ...args: (string | number)[]): Promise<unknown> => run(path.join(loads, name), args.map(String), { timeoutMs: 1_800_000 })
const logUsedBytes = async (): Promise<number> => ((await mount.status())['engine'] as EngineStatus).logUsedBytes

/** Small changes until the log is about as full as a checkpoint lets it become. */
async function fillLog(round: number): Promise<number> {
  let fullest = 0
  const until = performance.now() + FILLING_MS
  for (let n = 0; ; n++) {
    const folder = path.join(mount.dir, `more-${round}-${n}`)
    mkdirSync(folder)
    await load('names', 'create4k', folder, 400)
    const used = await logUsedBytes()
    fullest = Math.max(fullest, used)
    if (performance.now() > until && used > fullest * AS_FULL) return used
  }
}

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
  for (let i = 0; i < Math.ceil(files / PER_FOLDER); i++) {
    mkdirSync(path.join(mount.dir, `d${i}`))
    await load('names', 'create', path.join(mount.dir, `d${i}`), Math.min(files, PER_FOLDER))
  }
  for (let round = 0; round < Number(options.rounds); round++) {
    const used = await fillLog(round)
    await mount.kill()
    await run('umount', ['-l', mount.dir])
    const before = performance.now()
    await mount.mount()
    console.log(`  mount after kill -9 with ${(used / 2 ** 20).toFixed(0)} MiB of log: ${(performance.now() - before).toFixed(0)} ms (from the command to a mounted pool)`)
  }
  for (const state of ['mounted', 'closed']) {
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
