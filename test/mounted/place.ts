/** A folder for one test of the command line: pools and mount points in it, all unmounted and removed in the end. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const ogeePath = process.env.OGEE_BIN ?? fileURLToPath(new URL('../../bin/ogee', import.meta.url))

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Record<string, string>
  /** Told of stderr as it comes. */
  readonly onErr?: (text: string) => void
}

/** Off this process's loop, with a deadline: a hanging mount fails the test, not the run. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: options.cwd ?? '/', env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000, killSignal: 'SIGKILL' })
    let out = ''
    let err = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { out += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      err += text
      options.onErr?.(text)
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, out, err }))
  })
}

export const ok = (ran: Ran): Ran => {
  assert.equal(ran.code, 0, `${ran.err}${ran.out}`)
  return ran
}
export const refused = (ran: Ran, said: RegExp): void => {
  assert.notEqual(ran.code, 0)
  assert.match(ran.err, said)
}

export interface Place {
  readonly top: string
  readonly pool: string
  readonly dir: string
  /** A new empty folder. */
  folder(name: string): string
  ogee(...args: string[]): Promise<Ran>
  pid(): Promise<number>
}

export const isRoot = process.geteuid?.() === 0
/** Why a test that needs root does not run. */
export const needsRoot = isRoot ? false : 'needs root'

export const mountsUnder = (top: string): string[] =>
  readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')[1] ?? '').filter((dir) => dir.startsWith(`${top}/`))

export const sourceOf = (dir: string): string[] | undefined =>
  readFileSync('/proc/self/mounts', 'utf8').split('\n').map((line) => line.split(' ')).findLast((fields) => fields[1] === dir)

export async function until(holds: () => boolean | Promise<boolean>, what: string, ms = 10_000): Promise<void> {
  for (let waited = 0; waited < ms; waited += 20) {
    if (await holds()) return
    await sleep(20)
  }
  throw new Error(`not within ${ms} ms: ${what}`)
}

export function isAlive(pid: number): boolean {
  try {
    return !/^[ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'latin1').replace(/^.*\) /s, ''))
  } catch {
    return false
  }
}

export function makePlace(t: TestContext): Place {
  const top = mkdtempSync(join(process.env.OGEE_TEST_ROOT ?? tmpdir(), 'ogee-cli-'))
  chmodSync(top, 0o755)
  const folder = (name: string): string => {
    mkdirSync(join(top, name))
    return join(top, name)
  }
  const ogee = (...args: string[]): Promise<Ran> => run(ogeePath, args)
  const pool = join(top, 'pool')
  t.after(async () => {
    for (const dir of mountsUnder(top).reverse()) spawnSync('umount', ['-l', dir], { timeout: 20_000 })
    await until(async () => spawnSync('pgrep', ['-f', `ogee ${top}/`]).status !== 0, 'the daemons are gone').catch(() => undefined)
    rmSync(top, { recursive: true, force: true })
  })
  return {
    top, pool, dir: folder('mnt'), folder, ogee,
    pid: async () => (JSON.parse((await ogee('status', pool, '--json')).out) as { pid: number }).pid
  }
}
