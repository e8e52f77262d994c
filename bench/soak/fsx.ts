/**
 * fsx of xfstests on a mount: random reads, writes, mappings, truncations, fallocates and copies of one file, each held against what
 * the file must hold. The program is built by whoever runs this, outside the checkout (xfstests, `make`: ltp/fsx).
 *   - Nine sets of options, each with every seed, on one pool that has to be clean in the end.
 *   - A run that ends by a difference leaves fsx's own log in `scratch`, and stops the rest of its set.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { mountAt, ogee } from '../../test/programs/mount.js'
import { run } from '../../test/programs/run.js'

const SETS: Readonly<Record<string, readonly string[]>> = {
  default: [],
  mmap: ['-l', '500000', '-o', '200000'],
  direct: ['-Z', '-r', '4096', '-w', '4096', '-t', '4096'],
  aio: ['-A'],
  uring: ['-U'],
  reopen: ['-c', '20'],
  nofallocate: ['-F', '-H', '-z', '-C', '-I', '-K'],
  large: ['-l', '16777216', '-o', '1048576'], // the slow ones last
  sync: ['-y']
}
export const FSX_SETS = Object.keys(SETS)

export interface FsxOptions {
  readonly program: string
  readonly operations: number
  readonly seeds: readonly number[]
  /** Names of FSX_SETS. */
  readonly sets: readonly string[]
  report(text: string): void
}

/** Problems, none if all is well. */
export async function runFsx({ program, operations, seeds, sets, report }: FsxOptions): Promise<readonly string[]> {
  const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? tmpdir(), 'ogee-fsx-'))
  const [scratch, mount] = [path.join(top, 'scratch'), mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))]
  for (const folder of [mount.dir, scratch]) mkdirSync(folder)
  const wrong: string[] = []
  await mount.mount()
  try {
    for (const name of sets) {
      for (const seed of seeds) {
        const file = path.join(mount.dir, `${name}-${seed}`)
        const args = ['-q', '-S', `${seed}`, '-N', `${operations}`, ...SETS[name], '-P', scratch, file]
        const started = performance.now()
        const problem = await run(program, args, { timeoutMs: 3_600_000 }).then(() => undefined, (e: unknown) => String(e))
        report(`${name}, seed ${seed}: ${operations} operations, ${((performance.now() - started) / 1000).toFixed(1)} s, ${problem === undefined ? 'clean' : 'WRONG'}`)
        if (problem !== undefined) {
          wrong.push(`${name}, seed ${seed}, log in ${scratch}: ${problem}`)
          break
        }
        rmSync(file)
      }
    }
  } finally {
    await mount.umount()
  }
  const checked = await run(ogee, ['fsck', mount.pool], { exits: [0, 1, 2, 4, 8] })
  if (checked.code !== 0) wrong.push(`fsck of ${mount.pool}: ${checked.stdout}${checked.stderr}`)
  if (wrong.length === 0) rmSync(top, { recursive: true })
  return wrong
}
