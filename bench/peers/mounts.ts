/** Mount points seen from outside: is it there, is it gone, away with it. Nothing here waits for a daemon. */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const pollMs = 10

export const isMounted = (dir: string): boolean =>
  readFileSync('/proc/self/mounts', 'utf8').split('\n').some((line) => line.split(' ')[1] === dir)

export const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

export async function until(what: string, holds: () => boolean, withinMs: number): Promise<void> {
  for (let waitedMs = 0; !holds(); waitedMs += pollMs) {
    if (waitedMs > withinMs) throw new Error(`${what}: not within ${withinMs} ms`)
    await sleep(pollMs)
  }
}

export function killDaemon(pid: number, dir: string): void {
  if (pid > 1 && isAlive(pid)) process.kill(pid, 'SIGKILL')
  if (isMounted(dir)) spawnSync('umount', ['-l', dir], { timeout: 10_000 })
}
