/** `ogee doctor`: is this machine, and the disk under a pool, fit for it; what to change. Exit 1 if something is bad. */
import { realpathSync } from 'node:fs'
import type { Command } from 'commander'
import { inspectFolder, Refusal } from '../../pool/index.js'
import { systemClock } from '../../sys/index.js'
import { diskFacts, machineFacts } from '../doctor/facts.js'
import { judgeDisk, judgeMachine } from '../doctor/judge.js'
import type { Check } from '../doctor/judge.js'
import { locate } from '../locate.js'
import { EXIT_FAILED, say } from '../output.js'

export const addDoctor = (program: Command): void => {
  program.command('doctor').argument('[POOL|FOLDER]', 'a pool, where it is mounted, or a folder that may get one')
    .summary('see whether this machine and its disk are fit, and what to change')
    .description("Looks at the kernel, limits, FUSE's permissions and the clock; of a folder also at its disk: what a flush costs, room, file system.\nA few blocks are written there to a file without a name.")
    .option('--json', 'print JSON')
    .action(async (path: string | undefined, flags: { readonly json?: boolean }) => {
      const machine = judgeMachine(machineFacts(systemClock))
      const where = path === undefined ? undefined : folderOf(path)
      const disk = where === undefined ? [] : judgeDisk(await diskFacts(where.folder, where.isPool, systemClock))
      const all = [...machine, ...disk]
      if (flags.json === true) say(JSON.stringify({ ok: !all.some((c) => c.state === 'bad'), folder: where?.folder ?? null, machine, disk }))
      else say(doctorText(machine, disk, where?.folder))
      if (all.some((c) => c.state === 'bad')) process.exitCode = EXIT_FAILED
    })
}

function folderOf(path: string): { readonly folder: string, readonly isPool: boolean } {
  try {
    return { folder: locate(path).pool, isPool: true }
  } catch (e) {
    if (!(e instanceof Refusal) || e.reason !== 'not-a-pool') throw e
    const folder = realpathSync(path)
    let isPool = false
    try {
      isPool = inspectFolder(folder) === 'pool'
    } catch (other) {
      if (!(other instanceof Refusal) || other.reason !== 'not-a-pool') throw other // it holds something else: its disk can be looked at
    }
    return { folder, isPool }
  }
}

const MARKS = { ok: 'ok  ', warn: 'WARN', bad: 'BAD ' } as const

export function doctorText(machine: readonly Check[], disk: readonly Check[], folder: string | undefined): string {
  const lines = (checks: readonly Check[]): string[] => checks.flatMap((c) => [`  ${MARKS[c.state]}  ${c.name.padEnd(14)} ${c.what}`, ...(c.advice === undefined ? [] : [`                        -> ${c.advice}`])])
  const all = [...machine, ...disk]
  const count = (state: Check['state']): number => all.filter((c) => c.state === state).length
  const end = count('bad') > 0 ? `${count('bad')} bad, ${count('warn')} to look at.` : count('warn') > 0 ? `Fit; ${count('warn')} to look at.` : 'Fit.'
  return ['machine', ...lines(machine), ...(folder === undefined ? [] : [folder, ...lines(disk)]), end].join('\n')
}
