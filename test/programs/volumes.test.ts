/**
 * Programs on volumes, and kill -9 of the daemon under them: fio over NBD, which connects again and verifies what was answered; PostgreSQL on
 * ext4 and fio on XFS, each on an attached volume: mounted again they replay their journals, and their checkers find nothing.
 */
import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { cannotMount } from '../fuse/mounted.js'
import { isAlive, isMounted, ogee } from './mount.js'
import { run, start } from './run.js'
import { fioVictim } from './victims/fio.js'
import { postgresVictim } from './victims/postgres.js'
import type { Victim } from './victims/victim.js'

const ROUNDS = 2
const ANSWERED_WITHIN_MS = 20_000

interface Served {
  readonly top: string
  readonly scratch: string
  readonly pool: string
  /** What must be undone before the daemon ends, newest first. */
  readonly undo: (() => Promise<unknown>)[]
  start(): Promise<void>
  kill(): Promise<void>
}

/** A pool with a volume v of 512 MiB, served. */
async function serve(t: TestContext): Promise<Served> {
  const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? os.tmpdir(), 'ogee-volumes-'))
  const pool = path.join(top, 'pool')
  const scratch = path.join(top, 'scratch')
  mkdirSync(scratch)
  for (const folder of [top, scratch]) chmodSync(folder, 0o777)
  const pid = async (): Promise<number> => (JSON.parse((await run(ogee, ['status', '--json', pool])).stdout) as { pid: number }).pid
  const served: Served = {
    top, scratch, pool, undo: [],
    start: async () => void await run(ogee, ['nbd', pool], { timeoutMs: 30_000 }),
    async kill() {
      const victim = await pid()
      process.kill(victim, 'SIGKILL')
      for (let waited = 0; isAlive(victim); waited += 20) {
        assert.ok(waited < 10_000, 'the daemon is gone')
        await sleep(20)
      }
    }
  }
  t.after(async () => {
    for (const step of served.undo.reverse()) await step().catch(() => undefined)
    await run(ogee, ['nbd', pool, '--stop'], { timeoutMs: 30_000 }).catch(() => undefined)
    rmSync(top, { recursive: true, force: true })
  })
  await run(ogee, ['format', pool, '--size', '3G'])
  await run(ogee, ['volume', 'create', pool, 'v', '--size', '512M'])
  await served.start()
  return served
}

test('fio over NBD: what was answered before a kill -9 is there for who connects again', { skip: cannotMount, timeout: 100_000 }, async (t) => {
  const s = await serve(t)
  const state = path.join(s.scratch, 'local-victim-0-verify.state')
  for (let round = 0; round < ROUNDS; round++) {
    rmSync(state, { force: true })
    const job = ['--name=victim', '--ioengine=nbd', `--uri=nbd+unix:///v?socket=${s.pool}/nbd.sock`, '--bs=4k', '--size=64m', '--rw=randwrite', `--randseed=${round + 1}`, '--iodepth=1', // of more it verifies what was on its way too
      '--fsync=64', '--verify=crc32c', `--aux-path=${s.scratch}`, '--output-format=json']
    const working = start('fio', [...job, '--do_verify=0', '--verify_state_save=1'], { cwd: s.scratch, exits: [0, 1] })
    await sleep(700)
    await s.kill()
    await working.done
    assert.ok(existsSync(state), 'fio wrote down what was answered')
    await s.start()
    const { stdout } = await run('fio', [...job, '--verify_only=1', '--verify_state_load=1', '--verify_state_save=0', '--verify_fatal=1'], { cwd: s.scratch })
    const told = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { jobs: ReadonlyArray<{ error: number, read: { total_ios: number } }> }
    assert.equal(told.jobs[0].error, 0, 'a block that was answered is not there')
    assert.ok(told.jobs[0].read.total_ios > 100, `only ${told.jobs[0].read.total_ios} blocks were answered`)
  }
  await run(ogee, ['nbd', s.pool, '--stop'])
  await run(ogee, ['fsck', s.pool])
})

const systems: readonly { readonly name: string, readonly victim: (dir: string, scratch: string) => Victim, readonly check: readonly string[] }[] = [
  { name: 'ext4', victim: postgresVictim, check: ['e2fsck', '-fn'] },
  { name: 'xfs', victim: (dir, scratch) => fioVictim(dir, scratch, ['--direct=1', '--sync=1']), check: ['xfs_repair', '-n'] }
]

for (const { name, victim: make, check } of systems) test(`${name} on an attached volume: sound after a kill -9 of the daemon`, { skip: cannotMount, timeout: 150_000 }, async (t) => {
  const s = await serve(t)
  const dir = path.join(s.top, 'mnt')
  mkdirSync(dir)
  const attach = async (): Promise<string> => (await run(ogee, ['volume', 'attach', s.pool, 'v'], { timeoutMs: 30_000 })).stdout.trim()
  const mount = async (): Promise<void> => {
    await run('mount', [device, dir])
    chmodSync(dir, 0o777)
  }
  let device = await attach()
  const victim = make(dir, s.scratch)
  s.undo.push(() => run('losetup', ['-d', device]), async () => isMounted(dir) && run('umount', ['-l', dir]), async () => victim.after?.())
  await run(`mkfs.${name}`, ['-q', device])
  await mount()
  await victim.prepare()
  await run('sync', ['-f', dir]) // what is not synced goes with the device
  for (let round = 0; round < ROUNDS; round++) {
    const programs = await victim.work(round)
    for (let waited = 0; waited < ANSWERED_WITHIN_MS && victim.answers() === 0; waited += 5) await sleep(5)
    await sleep(300)
    await s.kill()
    await victim.after?.()
    for (const program of programs) program.kill()
    await Promise.allSettled(programs.map(({ done }) => done)) // they fail: their disk died
    await run('umount', ['-l', dir])
    await run('losetup', ['-d', device], { exits: [0, 1] })
    await s.start()
    device = await attach()
    await mount() // replays its journal
    t.diagnostic(`${await victim.check(round)} answers compared`)
    await run('umount', [dir])
    await run(check[0], [...check.slice(1), device], { timeoutMs: 60_000 })
    await mount()
  }
  await run('umount', [dir])
  await run(ogee, ['volume', 'detach', s.pool, 'v'])
  await run(ogee, ['nbd', s.pool, '--stop'])
  await run(ogee, ['fsck', s.pool])
})
