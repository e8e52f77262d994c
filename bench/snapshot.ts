/**
 * How long a snapshot and a clone take, and how long writers wait for them: a pool with many files, one writer at work, snapshots and clones made beside it.
 * Run: node --import tsx bench/snapshot.ts [files [bytes in each]]. In one process, without a mount: what the daemon does, and nothing of the kernel's.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { formatPool, makeFolder, openPool } from '../src/pool/index.js'
import { rootContext as root, systemClock, systemRandom } from '../src/sys/index.js'

const files = Number(process.argv[2] ?? 20_000)
const fileBytes = Number(process.argv[3] ?? 4096)
const top = mkdtempSync(join(process.env.OGEE_BENCH_ROOT ?? tmpdir(), 'ogee-snapshot-'))
const folder = join(top, 'pool')
makeFolder(folder)
const parts = { clock: systemClock, random: systemRandom }
await formatPool(folder, { ...parts, sizeBytes: 2 * 1024 ** 3 })
const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
const { vfs } = pool
const HOW = { killSuidgid: false, append: false }
const ms = (n: number): string => `${n.toFixed(1)} ms`

try {
  const bytes = Buffer.alloc(4096, 7)
  const small = Buffer.alloc(fileBytes, 7)
  const large = (await vfs.mknod(root, 1, 'large', 0o100644, 0, 0)).ino
  for (let i = 0; i < 256; i++) await vfs.write(root, large, 0, i * 1024 ** 2, Buffer.alloc(1024 ** 2, i), 0, 1024 ** 2, HOW)
  for (let d = 0; d * 1000 < files; d++) {
    const dir = (await vfs.mkdir(root, 1, `d${d}`, 0o755, 0)).ino
    for (let i = 0; i < 1000 && d * 1000 + i < files; i++) {
      const { ino } = await vfs.mknod(root, dir, `f${i}`, 0o100644, 0, 0)
      if (fileBytes > 0) await vfs.write(root, ino, 0, 0, small, 0, fileBytes, HOW)
    }
  }
  await pool.sync()

  let isOver = false
  const waits: number[] = []
  const write = async (): Promise<void> => {
    for (let n = 0; !isOver; n++) {
      const beganMs = systemClock.monotonicMs()
      await vfs.write(root, large, 0, (n * 7919) % 65_536 * 4096, bytes, 0, bytes.length, HOW)
      if (n % 8 === 0) await new Promise((resolve) => setImmediate(resolve)) // others' turn, which a request would wait for
      waits.push(systemClock.monotonicMs() - beganMs)
    }
  }
  const writing = write()
  const median = (list: number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1]
  const spread = (list: number[]): string => `${ms(median(list))} (${ms(Math.min(...list))} to ${ms(Math.max(...list))})`
  const timed = async (act: () => Promise<unknown>): Promise<number> => {
    const beganMs = systemClock.monotonicMs()
    await act()
    return systemClock.monotonicMs() - beganMs
  }
  /** Nine times, and the longest that a write beside each of them took. */
  const nine = async (what: string, act: (i: number) => Promise<unknown>): Promise<void> => {
    const took: number[] = []
    const stalls: number[] = []
    for (let i = 0; i < 9; i++) {
      await systemClock.sleep(300)
      waits.length = 0
      took.push(await timed(() => act(i)))
      await systemClock.sleep(20)
      stalls.push(waits.reduce((a, b) => Math.max(a, b), 0))
    }
    console.log(`  ${what.padEnd(36)} ${spread(took)}; a writer waits at most ${spread(stalls)}`)
  }
  /** `ls -l` of a folder. */
  const list = async (dir: number): Promise<void> => {
    let at: readonly [number, number] = [0, 0]
    for (let more = true; more;) {
      more = false
      await vfs.readdir(root, dir, 0, at[0], at[1], { entry: (_name, _ino, _type, high, low) => (at = [high, low], more = true) }, true)
    }
  }
  const lookup = async (dir: number, name: string): Promise<number> => (await vfs.lookup(root, dir, name))!.ino

  console.log(`${files} files of ${fileBytes} bytes, 256 MiB in one more that is overwritten at random meanwhile; nine of each`)
  await nine('a snapshot', (i) => pool.snapshots.create(`/@s${i}`))
  await nine('a clone', (i) => pool.clones.clone('/@s0', `/c${i}`))
  await nine("a clone's folder of 1000, first ls -l", async (i) => list(await lookup(await lookup(1, `c${i}`), 'd0')))
  await nine('the same again', async (i) => list(await lookup(await lookup(1, `c${i}`), 'd0')))
  isOver = true
  await writing
  const beganMs = systemClock.monotonicMs()
  for (let i = 0; i < 9; i++) await pool.snapshots.remove(`/@s${i}`)
  await pool.snapshots.settle()
  console.log(`  removing all nine, with all space back: ${ms(systemClock.monotonicMs() - beganMs)}`)
} finally {
  await pool.close()
  rmSync(top, { recursive: true, force: true })
}
