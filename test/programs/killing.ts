/**
 * kill -9 of a daemon under real programs, again and again on one pool: whatever they were told is done is there after the next mount,
 * and what they keep is sound.
 */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../src/sys/index.js'
import { isAlive, isMounted, mountAt } from './mount.js'
import type { Mount } from './mount.js'
import { run } from './run.js'
import { fioVictim } from './victims/fio.js'
import { gitVictim } from './victims/git.js'
import { postgresVictim } from './victims/postgres.js'
import { sqliteVictim } from './victims/sqlite.js'
import type { Victim } from './victims/victim.js'

export interface Killing {
  readonly count: number
  readonly seed: number
  report(text: string): void
}

const ANSWERED_WITHIN_MS = 15_000

/** Two groups that take turns: all at once would leave each little of the machine. */
const victimsOn = (dir: string, scratch: string): ReadonlyArray<readonly Victim[]> => [
  [gitVictim(dir, scratch), sqliteVictim(dir, scratch, 'wal'), sqliteVictim(dir, scratch, 'delete')],
  [postgresVictim(dir, scratch), fioVictim(dir, scratch)]
]

/** Each victim has been answered something; then, at any moment, the daemon dies. */
async function round(n: number, mount: Mount, victims: readonly Victim[], afterMs: number): Promise<number> {
  const programs = (await Promise.all(victims.map((victim) => victim.work(n)))).flat()
  for (let waited = 0; waited < ANSWERED_WITHIN_MS && !victims.every((victim) => victim.answers() > 0); waited += 5) await sleep(5)
  await sleep(afterMs)
  await mount.kill()
  for (const victim of victims) await victim.after?.()
  for (const program of programs) program.kill()
  await Promise.allSettled(programs.map(({ done }) => done)) // they fail: their disk died
  await mount.mount()
  let compared = 0
  for (const victim of victims) {
    compared += await victim.check(n).catch((e: unknown) => {
      throw new Error(`${victim.name}: ${e instanceof Error ? e.message : String(e)}`)
    })
  }
  return compared
}

/** Problems, none if all is well. */
export async function killPrograms({ count, seed, report }: Killing): Promise<readonly string[]> {
  const random = seededRandom(seed)
  const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? tmpdir(), 'ogee-killing-'))
  const scratch = path.join(top, 'scratch')
  const mount = mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))
  for (const folder of [mount.dir, scratch]) mkdirSync(folder)
  for (const folder of [top, scratch]) chmodSync(folder, 0o777) // a program with a user of its own passes through, and writes
  const groups = victimsOn(mount.dir, scratch)
  const victims = groups.flat()
  let kills = 0
  let answers = 0
  try {
    await mount.mount()
    for (const victim of victims) await victim.prepare()
    for (; kills < count; kills++) {
      answers += await round(kills, mount, groups[kills % groups.length], random.uint32() % 400)
      if (kills % 20 === 19) report(`${kills + 1} kills, ${answers} answers compared`)
    }
    await mount.umount()
    rmSync(top, { recursive: true, force: true })
    return []
  } catch (e) {
    return [`after ${kills} kills (seed ${seed}; left in ${top}): ${e instanceof Error ? e.message : String(e)}`]
  } finally {
    report(`${kills} kills of ${victims.map(({ name }) => name).join(', ')}; ${answers} answers compared`)
    for (const victim of victims) await victim.after?.().catch(() => undefined)
    if (mount.pid() > 1 && isAlive(mount.pid())) process.kill(mount.pid(), 'SIGKILL')
    if (isMounted(mount.dir)) await run('umount', ['-l', mount.dir]).catch(() => undefined) // nothing more can be done
  }
}
