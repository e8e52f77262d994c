/** What a daemon used, read from outside: CPU time and anonymous memory from /proc, system calls from strace. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { start } from '../test/programs/run.js'

const ticksPerSecond = 100 // USER_HZ, the same on every Linux that /proc speaks of

/** User and system time of all threads; steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

export function anonMib(pid: number): number {
  const kib = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^RssAnon:\s+(\d+) kB/m)?.[1]
  return Number(kib ?? 0) / 1024
}

/** The sum of the column "calls" of `strace -c`. */
export function totalCalls(summary: string): number {
  const total = summary.split('\n').find((line) => /\btotal$/.test(line.trim()))
  // "100.00    0.012345           3      4567        12 total": % time, seconds, usecs/call (may be missing), calls, errors (may be missing)
  if (total === undefined) return NaN
  const rows = summary.split('\n').flatMap((line) => {
    const m = line.match(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z_0-9]+)$/)
    return m === null || m[2] === 'total' ? [] : [Number(m[1])]
  })
  return rows.reduce((sum, calls) => sum + calls, 0)
}

/** Counts the system calls of all threads of `pid` while `body` runs. Everything is far slower meanwhile: no time is taken from such a run. */
export async function countCalls(pid: number, file: string, body: () => Promise<void>): Promise<number> {
  const strace = start('strace', ['-f', '-c', '-o', file, '-p', String(pid)], { timeoutMs: 600_000, exits: [0, 130] })
  await Promise.race([sleep(700), strace.done]) // no word on stdout tells that it is attached
  try {
    await body()
  } finally {
    process.kill(strace.pid, 'SIGINT')
    await strace.done.catch(() => undefined) // killed by the signal that we sent
  }
  return totalCalls(readFileSync(file, 'utf8'))
}
