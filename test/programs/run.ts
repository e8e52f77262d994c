/**
 * Runs other programs for the tests: each in a process group of its own, with a deadline, its output kept.
 *   - A program that outlives its deadline is killed with everything that it started.
 *   - A failure says what was run, where, how it ended and the end of what it printed.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string | Buffer
  readonly timeoutMs?: number
  /** Exit codes that are not a failure; [0] unless told. */
  readonly exits?: readonly number[]
}
export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A program under way: `done` settles when it ended, `kill` ends it and its children at once. */
export interface Running {
  readonly pid: number
  readonly done: Promise<Ran>
  kill(): void
}

const keptBytes = 16 << 20

export function start(command: string, args: readonly string[], options: RunOptions = {}): Running {
  const { timeoutMs = 120_000, exits = [0] } = options
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...process.env, LC_ALL: 'C.UTF-8', ...options.env },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const out: Buffer[] = []
  const err: Buffer[] = []
  let kept = 0
  for (const [stream, into] of [[child.stdout, out], [child.stderr, err]] as const)
    stream.on('data', (chunk: Buffer) => {
      if ((kept += chunk.length) <= keptBytes) into.push(chunk)
    })
  child.stdin.on('error', () => undefined) // a program need not read its input
  child.stdin.end(options.input)

  let timedOut = false
  const kill = () => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ESRCH')
    }
  }
  const timer = setTimeout(() => {
    timedOut = true
    kill()
  }, timeoutMs)

  const done = new Promise<Ran>((resolve, reject) => {
    const told = `${command} ${args.join(' ')}`.slice(0, 2000)
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(new Error(`${told}: ${error.message}`))
    })
    // 'exit', not 'close': a daemon that a program leaves behind may hold our pipes open.
    child.on('exit', (code, signal) => setImmediate(() => {
      clearTimeout(timer)
      setTimeout(() => {
        child.stdout.destroy()
        child.stderr.destroy()
        const ran = { code: code ?? -1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() }
        if (code !== null && exits.includes(code)) return resolve(ran)
        const how = timedOut ? `killed after ${timeoutMs} ms` : code === null ? `ended by ${signal}` : `exit ${code}`
        reject(new Error(`${told}\n(in ${options.cwd ?? process.cwd()}): ${how}\n${ran.stdout.slice(-4000)}\n${ran.stderr.slice(-4000)}`))
      }, 5)
    }))
  })
  done.catch(() => undefined) // whoever awaits it is told; a killed program need not be awaited
  return { pid: child.pid ?? 0, done, kill }
}

export const run = (command: string, args: readonly string[], options?: RunOptions): Promise<Ran> => start(command, args, options).done

/** A few lines of shell, stopping at the first failure. */
export const shell = (script: string, options?: RunOptions): Promise<Ran> => run('bash', ['-euo', 'pipefail', '-c', script], options)
