/**
 * What ageing does to a pool: files of all sizes until it is 85 % full, then rounds of deletions and rewrites in random places, each filled
 * up to 85 % again; then a new file of 256 MiB, written from front to end, must have at most 64 extents.
 * `node --import tsx bench/ageing.ts [--size-mib 4096] [--rounds 10] [--seeds 1,2,3] [--dir DIR]`; root. Exit 1 if a new file has more.
 *   - Sizes are lognormal, from 4 KiB to 64 MiB; the same seed does the same. Extents are those that `ogee status` counts, after a sync.
 */
import { closeSync, fsyncSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, unlinkSync, writeSync } from 'node:fs'
import { release, tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { seededRandom } from '../src/sys/index.js'
import { mountAt, ogee } from '../test/programs/mount.js'
import type { Mount } from '../test/programs/mount.js'
import { run } from '../test/programs/run.js'

const KIB = 1024
const MIB = 1024 * KIB
const FULL = 0.85
const SIZE_MIN = 4 * KIB
const SIZE_MEDIAN = 256 * KIB
const SIZE_MAX = 64 * MIB
const SIGMA = 2
const DELETED = 0.15 // of the files, in a round
const REWRITES = 400 // in a round
const NEW_BYTES = 256 * MIB
const NEW_EXTENTS_MAX = 64

const { values: options } = parseArgs({ options: {
  'size-mib': { type: 'string', default: '4096' }, rounds: { type: 'string', default: '10' }, seeds: { type: 'string', default: '1,2,3' }, dir: { type: 'string', default: tmpdir() }
} })

interface File { readonly name: string; bytes: number }
interface Space { readonly sizeBytes: number; readonly usedBytes: number; readonly extents: number; readonly freeExtents: number }

const block = Buffer.alloc(MIB, 'ogee')

async function age(seed: number, mount: Mount): Promise<number> {
  const random = seededRandom(seed)
  const below = (n: number): number => Math.floor((random.uint32() / 2 ** 32) * n)
  const between = (low: number, high: number): number => Math.round(low * Math.exp((random.uint32() / 2 ** 32) * Math.log(high / low)))
  const normal = (): number => Array.from({ length: 12 }, () => random.uint32() / 2 ** 32).reduce((sum, x) => sum + x, -6)
  const space = async (): Promise<Space> => {
    await run(ogee, ['sync', mount.pool], { timeoutMs: 120_000 })
    return (await mount.status())['space'] as Space
  }
  const files: File[] = []
  const full = Math.floor((await space()).sizeBytes * FULL)
  let held = 0
  let made = 0
  const units = (bytes: number): number => Math.ceil(bytes / SIZE_MIN) * SIZE_MIN

  function write(fd: number, at: number, bytes: number): void {
    for (let done = 0; done < bytes;) done += writeSync(fd, block, 0, Math.min(block.length, bytes - done), at + done)
  }
  function resized(file: File, bytes: number): void {
    held += units(bytes) - units(file.bytes)
    file.bytes = bytes
  }
  function fill(): void {
    while (held < full) {
      const file = { name: path.join(mount.dir, `d${made % 16}`, `f${made++}`), bytes: 0 }
      const fd = openSync(file.name, 'w')
      const bytes = Math.round(Math.min(SIZE_MAX, Math.max(SIZE_MIN, SIZE_MEDIAN * Math.exp(SIGMA * normal()))))
      write(fd, 0, Math.min(bytes, full - held + SIZE_MIN))
      closeSync(fd)
      resized(file, Math.min(bytes, full - held + SIZE_MIN))
      files.push(file)
    }
  }
  function rewrite(): void {
    const file = files[below(files.length)]
    const fd = openSync(file.name, 'r+')
    const bytes = between(4 * KIB, MIB)
    const what = below(10)
    if (what === 0) { // truncated, and appended to again
      const left = below(file.bytes)
      ftruncateSync(fd, left)
      resized(file, left)
    }
    const at = what <= 1 ? file.bytes : below(file.bytes)
    write(fd, at, bytes)
    resized(file, Math.max(file.bytes, at + bytes))
    if (below(5) === 0) fsyncSync(fd)
    closeSync(fd)
  }
  async function tell(title: string): Promise<void> {
    const { sizeBytes, usedBytes, extents, freeExtents } = await space()
    console.log(`  ${title.padEnd(9)} ${((100 * usedBytes) / sizeBytes).toFixed(1)} % used  ${String(files.length).padStart(5)} files  ${(extents / files.length).toFixed(2)} extents per file  ${freeExtents} free extents`)
  }

  for (let d = 0; d < 16; d++) mkdirSync(path.join(mount.dir, `d${d}`))
  fill()
  await tell('filled')
  for (let round = 1; round <= Number(options.rounds); round++) {
    for (let n = Math.round(files.length * DELETED); n > 0; n--) {
      const [file] = files.splice(below(files.length), 1)
      unlinkSync(file.name)
      held -= units(file.bytes)
    }
    for (let n = 0; n < REWRITES; n++) rewrite()
    fill()
    await tell(`round ${round}`)
  }
  const before = await space()
  const fd = openSync(path.join(mount.dir, 'new'), 'w')
  write(fd, 0, NEW_BYTES)
  fsyncSync(fd)
  closeSync(fd)
  return (await space()).extents - before.extents
}

const top = mkdtempSync(path.join(options.dir, 'ogee-ageing-'))
console.log(`${options['size-mib']} MiB   Linux ${release()}, Node ${process.versions.node}`)
try {
  for (const seed of options.seeds.split(',').map(Number)) {
    const mount = mountAt(path.join(top, `pool${seed}`), path.join(top, `mnt${seed}`))
    mkdirSync(mount.dir)
    await run(ogee, ['format', mount.pool, '--size', `${options['size-mib']}M`], { timeoutMs: 60_000 })
    await mount.mount()
    try {
      console.log(`seed ${seed}`)
      const extents = await age(seed, mount)
      console.log(`  a new file of ${NEW_BYTES / MIB} MiB: ${extents} extents, at most ${NEW_EXTENTS_MAX}${extents > NEW_EXTENTS_MAX ? ': TOO MANY' : ''}`)
      if (extents > NEW_EXTENTS_MAX) process.exitCode = 1
      await mount.umount()
    } finally {
      await run('umount', ['-l', mount.dir]).catch(() => undefined) // it is unmounted unless something failed
    }
    rmSync(mount.pool, { recursive: true })
  }
} finally {
  rmSync(top, { recursive: true, force: true })
}
