/**
 * Flips bits in whole pools and holds what follows against what a pool promises: right answers or an error, never another answer; fsck
 * names whatever a mount may have stumbled over; a repair that leaves nothing gives a pool that opens and shows only right bytes.
 * LMDB's pages and keys are the exception: of those a mounted pool takes LMDB's word, and fsck tells (docs/reliability.md).
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { formatPool, makeFolder, openPool } from '../../src/pool/index.js'
import { rootContext as ctx, seededRandom, systemClock } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import { treeOf } from './flips-child.js'
import type { Checked, Outcome } from './flips-child.js'

const MIB = 1024 ** 2
const BOOT = 'one'
const REST_MS = 1500 // until the log has its mark
const AT_ONCE = 25
const child = fileURLToPath(new URL('flips-child.ts', import.meta.url))

export interface FlipPlan {
  readonly count: number
  readonly seed: number
  report(text: string): void
}

/** Two pools of one content: `closed` in order, and `killed`, whose newest changes are in the log only. */
async function makePools(top: string): Promise<void> {
  const folder = join(top, 'closed')
  const random = seededRandom(3)
  const parts = { clock: systemClock, random }
  const seams = { logBytes: MIB, bootId: BOOT }
  makeFolder(folder)
  await formatPool(folder, { ...parts, sizeBytes: 64 * MIB, seams })
  const pool = await openPool(folder, { ...parts, seams, vfs: {}, note: () => undefined })
  const { vfs } = pool
  for (let d = 0; d < 6; d++) {
    const dir = (await vfs.mkdir(ctx, ROOT_NODE, `folder${d}`, 0o755, 0)).ino
    for (let f = 0; f < 8; f++) {
      const bytes = random.bytes([0, 30, 3000, 9000, 40_000, 90_000][(d + f) % 6])
      const { attr, handle } = await vfs.create(ctx, dir, `file ${f}`, 0o644, 0, 2)
      await vfs.write(ctx, attr.ino, handle, 0, bytes, 0, bytes.length, { killSuidgid: false, append: false })
      await vfs.release(ctx, attr.ino, handle)
      if (f === 2) await vfs.setxattr(ctx, attr.ino, 'user.colour', random.bytes(20), 0, false)
      if (f === 3) await vfs.link(ctx, attr.ino, ROOT_NODE, `other name ${d}`)
    }
    await vfs.symlink(ctx, dir, 'leads', 'file 1')
    if (d === 3) await pool.sync()
  }
  await pool.sync()
  await new Promise((resolve) => setTimeout(resolve, REST_MS))
  const tree = await treeOf(pool)
  for (const name of ['closed', 'killed']) writeFileSync(join(top, `${name}.json`), JSON.stringify({ tree, bootId: BOOT }))
  spawnSync('cp', ['-a', '--sparse=always', folder, join(top, 'killed')]) // nothing is under way
  await pool.close()
}

interface Line {
  readonly n: number
  readonly file?: string
  readonly at?: number
  readonly step?: string
  readonly is?: Outcome & Checked
}

/** What came of each step; absent: a step before it ended the process, or there is nothing to mount after the repair. */
type Steps = { [step: string]: (Outcome & Checked) | 'ended' | undefined }

/** Why this flip broke a promise; empty: it did not. */
function verdict(steps: Steps): string[] {
  const broken: string[] = []
  const { mount, fsck, repair, after } = steps
  for (const [name, is] of Object.entries(steps)) {
    if (is === 'ended' || is === undefined) continue
    for (const text of [...(is.wrong ?? []), ...(is.said ?? [])]) if (text.startsWith('unexpected')) broken.push(`${name}: ${text}`)
    if (is.refused !== undefined && !/^[A-Z/].*: .+\.$/s.test(is.refused)) broken.push(`${name}: no sentence: ${is.refused}`)
  }
  if (fsck === undefined || fsck === 'ended' || repair === undefined || repair === 'ended') return [...broken, 'fsck ended its process']
  if (after === 'ended' || mount === undefined) return [...broken, 'the pool after fsck ends its process']
  const ofPages = fsck.said.some((what) => what.startsWith('the LMDB file is damaged'))
  if (mount === 'ended') return ofPages ? broken : [...broken, 'the mount ended, fsck knows nothing of pages']
  // a row whose key was flipped is not found under its own: fsck, which reads all rows, names it
  const others = mount.wrong.filter((text) => !text.endsWith(': missing'))
  if (others.length > 0 && !ofPages) broken.push(`mount: ${others.join('; ')}`)
  if ((mount.wrong.length > 0 || mount.errors > 0) && fsck.found === 0) broken.push(`fsck found nothing: ${mount.refused ?? `${mount.errors} errors`}`)
  if (after === undefined || repair.left > 0) return broken
  if (after.refused !== undefined) broken.push(`the repaired pool is refused: ${after.refused}`)
  const isCut = repair.said.some((what) => what.startsWith('did: the log ends at its damage'))
  if (after.wrong.length > 0 && !isCut) broken.push(`after the repair: ${after.wrong.join('; ')}`)
  return broken
}

function nameOf({ mount, fsck, repair }: Steps): string {
  const saw = mount === undefined || mount === 'ended' ? 'process ended' : mount.refused !== undefined ? 'refused' : mount.wrong.length > 0 ? 'rows missed' : mount.errors > 0 ? 'errors' : 'right'
  const told = typeof fsck !== 'object' || fsck.found === 0 ? 'clean' : typeof repair === 'object' && repair.left === 0 ? 'repaired' : 'told'
  return `${saw}, fsck: ${told}`
}

/** What was broken, and how often what was seen. */
export async function flipPools({ count, seed, report }: FlipPlan): Promise<{ readonly wrong: string[]; readonly tried: Record<string, number> }> {
  const top = mkdtempSync(join(tmpdir(), 'ogee-flips-'))
  const wrong: string[] = []
  const tried: Record<string, number> = {}
  try {
    await makePools(top)
    for (const [turn, source] of ['closed', 'killed'].entries()) {
      const end = turn === 0 ? Math.ceil(count / 2) : Math.floor(count / 2)
      for (let from = 0; from < end; ) {
        const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', child, top, source, String(seed), String(from), String(Math.min(end, from + AT_ONCE))], { encoding: 'utf8', timeout: 120_000, maxBuffer: 64 * MIB })
        const lines = stdout.trim().split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as Line)
        if (lines.length === 0) throw new Error(`nothing was tried: ${stderr}`)
        const last = lines[lines.length - 1].n
        for (let n = from; n <= last; n++) {
          const steps: Steps = {}
          const mine = lines.filter((line) => line.n === n)
          mine.forEach((line, i) => {
            if (line.step !== undefined) steps[line.step] = mine[i + 1]?.is ?? 'ended'
          })
          const { file, at } = mine[0]
          const name = `${file}: ${nameOf(steps)}`
          tried[name] = (tried[name] ?? 0) + 1
          wrong.push(...verdict(steps).map((text) => `seed ${seed}, ${source} ${n}, ${file} at ${at}: ${text}`))
        }
        from = last + 1
      }
      report(`${source}: ${end} flips`)
    }
  } finally {
    rmSync(top, { recursive: true, force: true })
  }
  return { wrong, tried }
}
