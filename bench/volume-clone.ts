/**
 * What clones of volumes cost: a clone, its first read, and reads and first writes of 4 KiB then, in a volume, in a clone of it, and five clones deep.
 * Run: node --import tsx bench/volume-clone.ts [MiB]. In one process, without NBD: what the daemon does. The volume is written in pieces of 1 MiB in no order.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatPool, makeFolder, openPool } from '../src/pool/index.js'
import { systemClock, systemRandom } from '../src/sys/index.js'

const MIB = 1024 ** 2
const DEPTH = 5
const READS = 20_000
const sizeMib = Number(process.argv[2] ?? 1024)
const top = mkdtempSync(join(process.env.OGEE_BENCH_ROOT ?? tmpdir(), 'ogee-clone-'))
const folder = join(top, 'pool')
makeFolder(folder)
const parts = { clock: systemClock, random: systemRandom }
await formatPool(folder, { ...parts, sizeBytes: 2 * sizeMib * MIB + 512 * MIB })
const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]
const timed = async (act: () => Promise<unknown>): Promise<number> => {
  const beganMs = systemClock.monotonicMs()
  await act()
  return systemClock.monotonicMs() - beganMs
}
const spread = (list: readonly number[]): string => `${median(list).toFixed(2)} ms (${Math.min(...list).toFixed(2)} to ${Math.max(...list).toFixed(2)})`

try {
  await pool.volumes.create('v', sizeMib * MIB)
  const volume = await pool.volumes.open('v', 'bench')
  for (let i = 0, at = 0; i < sizeMib; i++, at = (at + 387) % sizeMib) await volume.write(at * MIB, Buffer.alloc(MIB, i + 1), 0, MIB)
  await volume.flush()
  volume.close()
  await pool.snapshots.create('v@s')
  const into = Buffer.alloc(4096)
  const clones: number[] = []
  const firsts: number[] = []
  for (let i = 0; i < 9; i++) {
    clones.push(await timed(() => pool.clones.clone('v@s', `c${i}`)))
    const clone = await pool.volumes.open(`c${i}`, 'bench')
    firsts.push(await timed(async () => clone.read(0, 4096, into, 0)))
    clone.close()
  }
  console.log(`volume of ${sizeMib} MiB: clone ${spread(clones)}, its first read ${spread(firsts)}`)
  for (let i = 1; i < DEPTH; i++) await pool.clones.clone(i === 1 ? 'c0' : `d${i - 1}`, `d${i}`)
  for (const name of ['v', 'c1', `d${DEPTH - 1}`]) {
    const open = await pool.volumes.open(name, 'bench')
    await open.read(0, 4096, into, 0)
    const reads: number[] = []
    for (let round = 0; round < 5; round++) {
      reads.push(await timed(async () => {
        for (let i = 0; i < READS; i++) await open.read(((i * 7919 + round) % (sizeMib * 256)) * 4096, 4096, into, 0)
      }))
    }
    const writes = await timed(async () => {
      for (let i = 0; i < 2000; i++) await open.write(((i * 7919) % (sizeMib * 256)) * 4096, into, 0, 4096)
      await open.flush()
    })
    console.log(`${name.padEnd(3)} 4K reads ${Math.round(READS / median(reads) * 1000)}/s, first writes ${Math.round(2000 / writes * 1000)}/s`)
    open.close()
  }
} finally {
  await pool.close()
  rmSync(top, { recursive: true, force: true })
}
