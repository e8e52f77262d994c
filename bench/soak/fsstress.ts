/**
 * fsstress of xfstests on a mount whose daemon is killed under it (kill -9), mounted again, and again: many processes that change names,
 * bytes, sizes, owners, xattrs and mappings at random. The program is built by whoever runs this, outside the checkout (ltp/fsstress).
 *   - After each death fsck finds the pool clean before anybody mounts it, it mounts, and every name can be stat'ed, every byte read.
 *   - Now and then everything is removed: then nothing may be left, neither inodes nor bytes.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../src/sys/index.js'
import { isAlive, isMounted, mountAt, ogee } from '../../test/programs/mount.js'
import { run, shell, start } from '../../test/programs/run.js'

const PROCESSES = 4
const WORK_MS_MIN = 200
const WORK_MS_MORE = 2500
const EMPTIED_EVERY = 8
/** Devices are made and not opened: what is behind them is not the pool's. */
const READ_ALL = 'find . -ls > /dev/null; find . -type f -exec cat {} + > /dev/null; find . -type l -exec readlink {} + > /dev/null'

export interface FsstressOptions {
  readonly program: string
  readonly count: number
  readonly seed: number
  report(text: string): void
}

async function check(pool: string): Promise<void> {
  const checked = await run(ogee, ['fsck', pool], { exits: [0, 1, 2, 4, 8] })
  if (checked.code !== 0) throw new Error(`fsck: ${checked.stdout}${checked.stderr}`)
}

async function empty(dir: string): Promise<void> {
  await shell('chattr -R -i -a . 2>/dev/null || true; rm -rf -- * && [ -z "$(ls -A)" ]', { cwd: dir })
  const [df] = JSON.parse((await run(ogee, ['df', dir, '--json'])).stdout) as { usedBytes: number, inodes: number }[]
  if (df.inodes !== 1) throw new Error(`an empty pool has ${df.inodes} inodes`)
  const left = (await shell('stat -f -c "%b %f" .', { cwd: dir })).stdout.trim().split(' ')
  if (left[0] !== left[1]) throw new Error(`an empty pool has ${left[1]} of ${left[0]} blocks free`)
}

/** Problems, none if all is well. */
export async function killFsstress({ program, count, seed, report }: FsstressOptions): Promise<readonly string[]> {
  const random = seededRandom(seed)
  const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? tmpdir(), 'ogee-fsstress-'))
  const mount = mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))
  mkdirSync(mount.dir)
  let kills = 0
  let worked = 0
  try {
    await run(ogee, ['format', mount.pool, '--size', '8G'])
    await mount.mount()
    for (; kills < count; kills++) {
      const stress = start(program, ['-d', mount.dir, '-p', `${PROCESSES}`, '-n', '1000000', '-s', `${random.uint32() % 2 ** 31}`], { timeoutMs: 600_000 })
      const workMs = WORK_MS_MIN + random.uint32() % WORK_MS_MORE
      await sleep(workMs)
      worked += workMs
      await mount.kill()
      stress.kill()
      await Promise.allSettled([stress.done]) // its disk died
      await check(mount.pool)
      await mount.mount()
      await shell(READ_ALL, { cwd: mount.dir })
      if (kills % EMPTIED_EVERY === EMPTIED_EVERY - 1) {
        await empty(mount.dir)
        report(`${kills + 1} kills`)
      }
    }
    await mount.umount()
    await check(mount.pool)
    rmSync(top, { recursive: true })
    return []
  } catch (e) {
    return [`after ${kills} kills (seed ${seed}; left in ${top}): ${e instanceof Error ? e.message : String(e)}`]
  } finally {
    report(`${kills} kills in ${(worked / 1000).toFixed(0)} s of fsstress with ${PROCESSES} processes`)
    if (mount.pid() > 1 && isAlive(mount.pid())) process.kill(mount.pid(), 'SIGKILL')
    if (isMounted(mount.dir)) await run('umount', ['-l', mount.dir]).catch(() => undefined) // nothing more can be done
  }
}
