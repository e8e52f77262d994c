/**
 * A fresh place for a program to work in: a new pool, mounted by bin/ogee, unmounted and removed in the end.
 *   - After every program the daemon is alive, `ogee status --json` answers, the mount can be unmounted, and then the daemon is gone.
 *   - With OGEE_TEST_DIR the place is a new folder in there instead (ext4, passthrough_ll ...): what fails there too is no fault of ours.
 *   - This process hosts no daemon, so it may touch the mount itself.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { run } from './run.js'

export const ogee = process.env['OGEE_BIN'] ?? fileURLToPath(new URL('../../bin/ogee', import.meta.url))
const UMOUNT_TRIES = 10
const UMOUNT_PAUSE_MS = 300
const plainDir = process.env['OGEE_TEST_DIR']

export interface Status {
  readonly pid: number
  readonly [more: string]: unknown
}

/** A mounted pool. */
export interface Mount {
  readonly pool: string
  readonly dir: string
  pid(): number
  status(): Promise<Status>
  mount(options?: string): Promise<void>
  /** Plain `ogee umount`; resolves when the daemon is gone. */
  umount(): Promise<void>
  /** kill -9 of the daemon; resolves when it is dead. The mount point stays behind, dead. */
  kill(): Promise<void>
}

export interface Place {
  /** Empty, on the file system under test. */
  readonly dir: string
  /** Empty, on the machine's own disk. */
  readonly scratch: string
  /** undefined on a plain folder. */
  readonly mount: Mount | undefined
}

export interface ProgramOptions {
  readonly timeoutMs?: number
  /** The test is about the daemon: a plain folder has none. */
  readonly ogeeOnly?: boolean
  readonly mountOptions?: string
}

/** One program's test in a fresh place. */
export function programTest(title: string, options: ProgramOptions, body: (place: Place, t: TestContext) => Promise<void>): void {
  const skip = options.ogeeOnly === true && plainDir !== undefined ? 'needs a daemon; OGEE_TEST_DIR is a plain folder' : false
  test(title, { timeout: options.timeoutMs ?? 180_000, skip }, async (t) => {
    const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? os.tmpdir(), 'ogee-program-'))
    chmodSync(top, 0o755) // programs with a user of their own pass through
    const scratch = path.join(top, 'scratch')
    mkdirSync(scratch)
    chmodSync(scratch, 0o755)
    const place = plainDir === undefined ? await mounted(top, scratch, options.mountOptions) : plain(plainDir, scratch)
    let failed = true
    try {
      await body(place, t)
      failed = false
    } finally {
      const complaint = await leave(place).then(() => undefined, (error: unknown) => error)
      remove(top, place)
      // The first failure tells more than what follows from it.
      if (complaint !== undefined && !failed) throw complaint
      if (complaint !== undefined) t.diagnostic(`and then: ${String(complaint)}`)
    }
  })
}

function plain(parent: string, scratch: string): Place {
  const dir = mkdtempSync(path.join(parent, 'program-'))
  chmodSync(dir, 0o755)
  return { dir, scratch, mount: undefined }
}

async function mounted(top: string, scratch: string, options?: string): Promise<Place> {
  const mount = mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))
  mkdirSync(mount.dir)
  await mount.mount(options)
  return { dir: mount.dir, scratch, mount }
}

/** A pool and a mount point; nothing is mounted yet. */
export function mountAt(pool: string, dir: string): Mount {
  let pid = 0
  const status = async () => {
    const { stdout } = await run(ogee, ['status', '--json', pool], { timeoutMs: 15_000 })
    const answer = JSON.parse(stdout) as Status
    assert.ok(Number.isInteger(answer.pid) && answer.pid > 1, `status has a pid: ${stdout}`)
    return answer
  }
  return {
    pool,
    dir,
    pid: () => pid,
    status,
    async mount(options) {
      await run(ogee, ['mount', ...(options === undefined ? [] : ['-o', options]), pool, dir], { timeoutMs: 30_000 })
      assert.ok(isMounted(dir), `${dir} is mounted when ogee mount returns`)
      pid = (await status()).pid
    },
    async umount() {
      for (let tries = UMOUNT_TRIES; ; tries--) {
        const { code, stderr } = await run(ogee, ['umount', dir], { timeoutMs: 60_000, exits: [0, 1] })
        if (code === 0) break
        assert.ok(tries > 0 && /target is busy/.test(stderr), stderr) // whoever on the machine looks at all mounts is soon gone
        await sleep(UMOUNT_PAUSE_MS)
      }
      assert.ok(!isMounted(dir), `${dir} is not mounted when ogee umount returns`)
      await gone(pid, 10_000)
    },
    async kill() {
      process.kill(pid, 'SIGKILL')
      await gone(pid, 10_000)
    },
  }
}

/** What must be true after every program. */
async function leave({ mount }: Place): Promise<void> {
  if (mount === undefined) return
  assert.ok(isAlive(mount.pid()), 'the daemon is alive after the program')
  assert.equal((await mount.status()).pid, mount.pid(), 'the same daemon still answers')
  await mount.umount()
}

function remove(top: string, { dir, mount }: Place): void {
  if (mount === undefined) rmSync(dir, { recursive: true, force: true })
  else abandon(mount)
  rmSync(top, { recursive: true, force: true })
}

/** Whatever happened: no mount and no daemon stays behind. */
function abandon(mount: Mount): void {
  const pid = mount.pid()
  if (pid > 1 && isAlive(pid)) process.kill(pid, 'SIGKILL')
  if (isMounted(mount.dir)) detach(mount.dir)
}

/** A lazy unmount never waits for a daemon. */
const detach = (dir: string) => spawnSync('umount', ['-l', dir], { timeout: 10_000 })

export const isMounted = (dir: string): boolean =>
  readFileSync('/proc/self/mounts', 'utf8').split('\n').some((line) => line.split(' ')[1] === dir)

export function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return !/\) [ZX] /.test(stat)
}

async function gone(pid: number, withinMs: number): Promise<void> {
  for (let waited = 0; isAlive(pid); waited += 20) {
    assert.ok(waited < withinMs, `the daemon (pid ${pid}) is gone within ${withinMs} ms`)
    await sleep(20)
  }
}
