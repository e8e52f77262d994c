/**
 * How long cp takes for a large file on a mount, where it shares the original's space; beside it the same with every byte read and
 * written (cp --sparse=always asks for no copy_file_range), and both on the host's own file system.
 * Run: node --import tsx bench/copy.ts [MiB] [rounds]. Needs a built dist and the right to mount.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../src/sys/index.js'

const mib = Number(process.argv[2] ?? 256)
const rounds = Number(process.argv[3] ?? 5)
const ogee = process.env.OGEE_BIN ?? fileURLToPath(new URL('../bin/ogee', import.meta.url))
const top = mkdtempSync(join(process.env.OGEE_BENCH_ROOT ?? tmpdir(), 'ogee-copy-'))
const [pool, dir, host] = ['pool', 'mnt', 'host'].map((name) => join(top, name))

function run(program: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
}

const usedMib = (at: string): number => {
  const s = statfsSync(at)
  return Math.round((s.blocks - s.bfree) * s.bsize / 1024 ** 2)
}

function measure(what: string, at: string, how: readonly string[]): void {
  const took: number[] = []
  let more = 0
  for (let i = 0; i < rounds; i++) {
    const before = usedMib(at)
    const beganMs = systemClock.monotonicMs()
    run('cp', ...how, join(at, 'a'), join(at, 'b'))
    took.push(systemClock.monotonicMs() - beganMs)
    more = usedMib(at) - before
    rmSync(join(at, 'b'))
    if (at === dir) run(ogee, 'sync', dir)
    else run('sync', '-f', at)
  }
  took.sort((a, b) => a - b)
  console.log(`  ${what.padEnd(36)} ${took[rounds >> 1].toFixed(1).padStart(8)} ms (${took[0].toFixed(1)} to ${took[rounds - 1].toFixed(1)})  ${more} MiB more used`)
}

try {
  for (const at of [host, dir]) mkdirSync(at)
  run(ogee, 'format', pool, '--size', `${mib * 4}M`)
  run(ogee, 'mount', pool, dir)
  for (const at of [dir, host]) {
    for (let i = 0; i < mib; i += 16) writeFileSync(join(at, 'a'), Buffer.alloc(16 * 1024 ** 2, i + 1), { flag: 'a' })
  }
  run(ogee, 'sync', dir)
  run('sync', '-f', host)
  console.log(`cp of ${mib} MiB, that are on the disk and in memory; median of ${rounds} (least to most)`)
  measure('on the mount', dir, [])
  measure('on the mount, every byte', dir, ['--sparse=always'])
  measure('on the host', host, ['--reflink=never'])
} finally {
  spawnSync(ogee, ['umount', dir])
  rmSync(top, { recursive: true, force: true, maxRetries: 5 })
}
