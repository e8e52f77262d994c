/** On what it was measured: a figure without its machine says nothing. */
import { readFileSync } from 'node:fs'
import os from 'node:os'
import { run } from '../test/programs/run.js'

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGib: number
  readonly kernel: string
  readonly node: string
  /** Type and device of what everything lies on. */
  readonly disk: string
  readonly ogee: string
  readonly date: string
}

const cpuModel = () => readFileSync('/proc/cpuinfo', 'utf8').match(/^(?:model name|Model)\s*:\s*(.+)$/m)?.[1] ?? os.arch()
const wordOr = (other: string) => (error: unknown) => `${other} (${error instanceof Error ? error.message.split('\n')[0] : String(error)})`

export async function machine(dir: string, checkout: string): Promise<Machine> {
  const [disk, commit, date] = await Promise.all([
    run('findmnt', ['-n', '-o', 'FSTYPE,SOURCE', '-T', dir]).then(({ stdout }) => stdout.trim().replace(/\s+/g, ' on '), wordOr('unknown')),
    run('git', ['-C', checkout, 'rev-parse', '--short', 'HEAD']).then(({ stdout }) => stdout.trim(), wordOr('no checkout')),
    run('date', ['-u', '+%Y-%m-%d %H:%M UTC']).then(({ stdout }) => stdout.trim()),
  ])
  return {
    cpu: cpuModel(),
    cores: os.cpus().length,
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    node: process.version,
    disk,
    ogee: commit,
    date,
  }
}
