/**
 * Snapshots under loads (snapshot.ts: and clones, under one writer). In one process, without a mount: what the daemon does, and nothing of the kernel's.
 *   tree [FILES]    a tree of so many files of 1 KiB, and one of 256 MiB that 32 writers overwrite at random meanwhile; snapshots of it
 *   volume [MIB]    a filled volume, 32 writers of 4 KiB meanwhile; snapshots of it
 *   history [FILES] what a diff costs for each inode that changed, and a sweep for each row
 * Run: node --import tsx bench/snapshot-loads.ts tree|volume|history [N] [--dir DIR] [--prepare]. DIR keeps what is made first (--prepare: that alone), and a
 * later run finds it there.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Engine } from '../src/engine/index.js'
import { formatPool, makeFolder, openPool } from '../src/pool/index.js'
import { rootContext as root, systemClock, systemRandom } from '../src/sys/index.js'

const { values: options, positionals: [what = 'tree', count] } = parseArgs({ allowPositionals: true, options: { dir: { type: 'string' }, prepare: { type: 'boolean' } } })
const DEFAULTS: Readonly<Record<string, number>> = { tree: 20_000, volume: 1024, history: 20_000 }
if (DEFAULTS[what] === undefined) throw new Error('say tree, volume or history')
const n = Number(count ?? DEFAULTS[what])
const SNAPSHOTS = 9
const MIB = 1024 ** 2
const LARGE_MIB = 256
const PER_FOLDER = 1000
const IN_FLIGHT = 32
const PAUSES_MS = [10, 0] // some 3,000 writes a second; as many as can be
const HOW = { killSuidgid: false, append: false }

const top = options.dir ?? mkdtempSync(join(process.env.OGEE_BENCH_ROOT ?? tmpdir(), 'ogee-snapshot-'))
mkdirSync(top, { recursive: true })
const folder = join(top, `${what}-${n}`)
const parts = { clock: systemClock, random: systemRandom }
const isNew = !existsSync(folder)
if (isNew) {
  makeFolder(folder)
  await formatPool(folder, { ...parts, sizeBytes: 4 * 1024 ** 3 + 2 * n * (what === 'volume' ? MIB : 8192) })
}
let engine: Engine | undefined
const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined, seams: { opened: (floors) => void (engine = floors.engine) } })
const { vfs } = pool
const nowMs = (): number => systemClock.monotonicMs()
const ms = (figure: number): string => `${figure.toFixed(1)} ms`
const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]
const spread = (list: readonly number[]): string => `${ms(median(list))} (${ms(Math.min(...list))} to ${ms(Math.max(...list))})`
const block = Buffer.alloc(4096, 7)

async function makeTree(): Promise<void> {
  const large = (await vfs.mknod(root, 1, 'large', 0o100644, 0, 0)).ino
  for (let i = 0; i < LARGE_MIB; i++) await vfs.write(root, large, 0, i * MIB, Buffer.alloc(MIB, i), 0, MIB, HOW)
  for (let d = 0; d * PER_FOLDER < n; d++) {
    const dir = (await vfs.mkdir(root, 1, `d${d}`, 0o755, 0)).ino
    for (let i = 0; i < PER_FOLDER && d * PER_FOLDER + i < n; i++) {
      const { ino } = await vfs.mknod(root, dir, `f${i}`, 0o100644, 0, 0)
      await vfs.write(root, ino, 0, 0, block, 0, 1024, HOW)
      vfs.forget(ino)
    }
  }
}

async function makeVolume(): Promise<void> {
  await pool.volumes.create('v', n * MIB)
  const volume = await pool.volumes.open('v', 'fill')
  for (let i = 0; i < n; i++) await volume.write(i * MIB, Buffer.alloc(MIB, i), 0, MIB)
  await volume.flush()
  volume.close()
}

/** While nobody writes. */
async function alone(of: string): Promise<void> {
  const took: number[] = []
  for (let s = 0; s < SNAPSHOTS; s++) {
    const beganMs = nowMs()
    await pool.snapshots.create(`${of}@s${s}`)
    took.push(nowMs() - beganMs)
  }
  console.log(`  a snapshot takes       ${spread(took)} while nobody writes`)
  for (let s = 0; s < SNAPSHOTS; s++) await pool.snapshots.remove(`${of}@s${s}`)
  await pool.snapshots.settle()
}

/** Takes snapshots while `write` runs again and again, so many at once, each with a pause behind it; tells what each took, and the longest wait of a write beside it. */
async function beside(of: string, atOnce: number, pauseMs: number, write: (i: number) => Promise<unknown> | unknown): Promise<void> {
  let isOver = false
  let i = 0
  let longestMs = 0
  let writes = 0
  const writing = Array.from({ length: atOnce }, async () => {
    while (!isOver) {
      const beganMs = nowMs()
      await write(i++)
      longestMs = Math.max(longestMs, nowMs() - beganMs)
      writes++
      if (pauseMs > 0) await systemClock.sleep(pauseMs)
      else if (i % 8 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
  })
  const took: number[] = []
  const stalls: number[] = []
  const otherwise: number[] = []
  const beganMs = nowMs()
  for (let s = 0; s < SNAPSHOTS; s++) {
    longestMs = 0
    await systemClock.sleep(300)
    otherwise.push(longestMs)
    longestMs = 0
    const createdMs = nowMs()
    await pool.snapshots.create(`${of}@s${s}`)
    took.push(nowMs() - createdMs)
    await systemClock.sleep(20)
    stalls.push(longestMs)
  }
  const rate = writes / (nowMs() - beganMs) * 1000
  isOver = true
  await Promise.all(writing)
  console.log(`  a snapshot takes       ${spread(took)} beside writes`)
  console.log(`  a writer waits at most ${spread(stalls)}; in 300 ms without a snapshot ${spread(otherwise)}; ${Math.round(rate)} writes/s`)
  const sweptMs = nowMs()
  for (let s = 0; s < SNAPSHOTS; s++) await pool.snapshots.remove(`${of}@s${s}`)
  await pool.snapshots.settle()
  console.log(`  removing all ${SNAPSHOTS}, with all space back: ${ms(nowMs() - sweptMs)}`)
}

async function measureTree(): Promise<void> {
  const large = (await vfs.lookup(root, 1, 'large'))!.ino
  console.log(`${n} files, ${LARGE_MIB} MiB in one more that is overwritten at random meanwhile; ${SNAPSHOTS} snapshots`)
  await alone('/')
  for (const pauseMs of PAUSES_MS) await beside('/', IN_FLIGHT, pauseMs, (i) => vfs.write(root, large, 0, (i * 7919) % (LARGE_MIB * 256) * 4096, block, 0, block.length, HOW))
}

async function measureVolume(): Promise<void> {
  const volume = await pool.volumes.open('v', 'bench')
  console.log(`a filled volume of ${n} MiB, ${IN_FLIGHT} writes of 4 KiB by as many writers; ${SNAPSHOTS} snapshots`)
  await alone('v')
  for (const pauseMs of PAUSES_MS) await beside('v', IN_FLIGHT, pauseMs, (i) => volume.write((i * 7919) % (n * 256) * 4096, block, 0, block.length))
  volume.close()
}

const historyRows = async (): Promise<number> => {
  let rows = 0
  for (let from = 'H'; ;) {
    const found = await engine!.reader(root).scan({ from, to: 'I', limit: 4096 })
    rows += found.length
    if (found.length < 4096) return rows
    from = `${found[found.length - 1].key}\u0000`
  }
}

/** Every file changes after a snapshot; then the same in one of ten folders. */
async function measureHistory(): Promise<void> {
  const touch = async (every: number): Promise<number> => {
    let touched = 0
    for (let d = 0; d * PER_FOLDER < n; d += every) {
      const dir = (await vfs.lookup(root, 1, `d${d}`))!.ino
      for (let i = 0; i < PER_FOLDER && d * PER_FOLDER + i < n; i++, touched++) {
        const { ino } = (await vfs.lookup(root, dir, `f${i}`))!
        await vfs.write(root, ino, 0, 0, block, 0, 100 + i % 3, HOW)
        vfs.forget(ino)
      }
    }
    await pool.sync()
    return touched
  }
  for (const every of [1, 10]) {
    await pool.snapshots.create('/@before')
    const touched = await touch(every)
    await pool.snapshots.create('/@after')
    let lines = 0
    const diffMs = nowMs()
    await pool.diffs.diff('/@before', '/@after', () => void lines++)
    const took = nowMs() - diffMs
    const rows = await historyRows()
    console.log(`${touched} of ${n} files changed, ${rows} rows of history`)
    console.log(`  diff: ${lines} lines in ${ms(took)}, ${(took / touched * 1000).toFixed(1)} us for each file that changed`)
    const sweepUs = async (snapshot: string): Promise<number> => {
      const before = process.cpuUsage()
      await pool.snapshots.remove(snapshot)
      await pool.snapshots.settle()
      const { user, system } = process.cpuUsage(before)
      return (user + system) / rows
    }
    await pool.snapshots.create('/@between')
    const lookUs = await sweepUs('/@between')
    const goneUs = await sweepUs('/@before')
    console.log(`  a sweep that finds nothing: ${lookUs.toFixed(1)} us of CPU time a row; one that removes them all: ${goneUs.toFixed(1)} us`)
    await pool.snapshots.remove('/@after')
    await pool.snapshots.settle()
  }
}

try {
  if (isNew) {
    await (what === 'volume' ? makeVolume() : makeTree())
    await pool.sync()
  }
  if (options.prepare !== true) await ({ tree: measureTree, volume: measureVolume, history: measureHistory })[what as 'tree' | 'volume' | 'history']()
} finally {
  await pool.close()
  if (options.dir === undefined) rmSync(top, { recursive: true, force: true })
}
