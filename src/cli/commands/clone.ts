/** `ogee clone`: makes something that begins as a file is, or a snapshot shows, at once, whatever that holds. */
import type { Command } from 'commander'
import { askCall } from '../daemon/client.js'
import { locate } from '../locate.js'
import { onPool } from '../on-pool.js'
import { say } from '../output.js'

interface Flags {
  readonly json?: boolean
}

export const addClone = (program: Command): void => {
  program.command('clone')
    .argument('<POOL|DIR>', "the pool's folder, or where it is mounted")
    .argument('<FROM>', '/path of a file; /@NAME of the whole tree, /path@NAME of a subvolume')
    .argument('<TO>', 'the path of the new file or subvolume')
    .summary('clone a file or a snapshot, in an instant')
    .description('Makes a subvolume that begins as what a snapshot shows, in an instant whatever that holds. What is the same takes no space\nagain; the snapshot is held until the clone is removed, though its name may go.\nOf a file it makes another file with the same owner, mode, times, ACLs and extended attributes; both are independent.')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  ogee snapshot create /srv/pool /@monday\n  ogee clone /srv/pool /@monday /work\n  ogee clone /srv/pool /images/base.img /images/web.img')
    .action(clone)
}

async function clone(path: string, from: string, to: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const { made } = await onPool(pool, () => askCall(pool, 'clone', { from, to }, (f) => f.Cloned), async (p) => ({ made: (await p.clones.clone(from, to)).made }))
  say(flags.json === true ? JSON.stringify({ made, from }) : `${made} is a clone of ${from} now.`)
}
