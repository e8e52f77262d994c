/** `ogee clone`: makes something that begins as what something else is, or was in a snapshot, at once, whatever that holds. */
import type { Command } from 'commander'
import { Refusal } from '../../pool/index.js'
import { askCall } from '../daemon/client.js'
import { flattenTree, flattenVolume } from '../flattening.js'
import { locate } from '../locate.js'
import { onPool } from '../on-pool.js'
import { say } from '../output.js'

interface Flags {
  readonly json?: boolean
  readonly flatten?: boolean
}

export const addClone = (program: Command): void => {
  program.command('clone')
    .argument('<POOL|DIR>', "the pool's folder, or where it is mounted")
    .argument('<FROM>', '/path of a file; /@NAME of the whole tree, /path@NAME of a subvolume; VOLUME@NAME or VOLUME')
    .argument('<TO>', 'the path of the new file or subvolume, or the name of the new volume')
    .summary('clone a file, a snapshot or a volume, in an instant')
    .description('Makes a subvolume or a volume that begins as what a snapshot shows (or as a volume is now), in an instant whatever that holds. What is\nthe same takes no space again; what it shows is held until the clone is removed, though the snapshot\'s name may go.\nOf a file it makes another file with the same owner, mode, times, ACLs and extended attributes; both are independent.')
    .option('--flatten', 'then make it independent of its origin (see `ogee volume flatten`, `ogee subvolume flatten`)')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  ogee snapshot create /srv/pool /@monday\n  ogee clone /srv/pool /@monday /work\n  ogee clone /srv/pool /images/base.img /images/web.img\n  ogee clone /srv/pool db@monday test')
    .action(clone)
}

async function clone(path: string, from: string, to: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  if (flags.flatten === true && from.startsWith('/') && !from.includes('@')) throw new Refusal('usage', 'A clone of a file needs its origin in no way: leave --flatten out.')
  const { made } = await onPool(pool, () => askCall(pool, 'clone', { from, to }, (f) => f.Cloned), async (p) => ({ made: (await p.clones.clone(from, to)).made }))
  if (flags.flatten === true) await (from.startsWith('/') ? flattenTree(pool, made) : flattenVolume(pool, made))
  say(flags.json === true ? JSON.stringify({ made, from }) : `${made} is a ${flags.flatten === true ? 'copy' : 'clone'} of ${from} now.`)
}
