/** `ogee subvolume`: folders that have snapshots of their own, while the pool is mounted or not. */
import Table from 'cli-table3'
import type { Command } from 'commander'
import { askCall } from '../daemon/client.js'
import { flattenTree } from '../flattening.js'
import { locate } from '../locate.js'
import { onPool } from '../on-pool.js'
import { PLAIN_TABLE, say } from '../output.js'

interface Flags {
  readonly json?: boolean
}
const POOL = "the pool's folder, or where it is mounted"

export const addSubvolume = (program: Command): void => {
  const group = program.command('subvolume')
    .summary('make, list and remove folders that have snapshots of their own')
    .description('A subvolume is a folder of which snapshots are taken alone. Files are not moved or linked across its edge (EXDEV): mv copies them.')
    .addHelpText('after', '\nExamples:\n  ogee subvolume create /srv/pool /home\n  ogee snapshot create /srv/pool /home@monday\n  ls /mnt/home/.snapshots/monday')
  group.command('create').argument('<POOL|DIR>', POOL).argument('<PATH>', 'a new folder, or an empty one, as /home')
    .summary('make a subvolume').option('--json', 'print JSON').action(create)
  group.command('list').argument('<POOL|DIR>', POOL)
    .summary('list subvolumes, the whole tree first').option('--json', 'print JSON').action(list)
  group.command('flatten').argument('<POOL|DIR>', POOL).argument('<PATH>', 'a clone, or a tree that was rolled back')
    .summary('make a clone independent of what it is a clone of').description('Gives a clone all that it still reads from its origin, which it shares with that where it can. Ctrl-C stops it; the next call goes on.')
    .option('--json', 'print JSON').action(flatten)
  group.command('rm').argument('<POOL|DIR>', POOL).argument('<PATH...>', 'empty, and without snapshots')
    .summary('remove subvolumes').action(remove)
}

async function create(path: string, at: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const made = await onPool(pool, () => askCall(pool, 'subvolume/create', { path: at }, (f) => f.SubvolumeMade), (p) => p.subvolumes.create(at))
  say(flags.json === true ? JSON.stringify({ path: made.path }) : `${made.path} is a subvolume now: \`ogee snapshot create ${path} ${made.path}@NAME\` takes a snapshot of it.`)
}

async function list(path: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const { subvolumes } = await onPool(pool, () => askCall(pool, 'subvolume/list', {}, (f) => f.SubvolumeList), async (p) => ({ subvolumes: [...await p.subvolumes.list()] }))
  if (flags.json === true) return say(JSON.stringify(subvolumes))
  const table = new Table({ head: ['SUBVOLUME', 'SNAPSHOTS', 'CLONE OF'], style: { head: [], border: [], compact: true }, chars: PLAIN_TABLE })
  for (const s of subvolumes) table.push([s.path, String(s.snapshots), s.origin ?? '-'])
  say(table.toString())
}

async function flatten(path: string, at: string, flags: Flags): Promise<void> {
  const { path: made, origin } = await flattenTree(locate(path).pool, at)
  say(flags.json === true ? JSON.stringify({ path: made, origin }) : origin === null ? `${made} needs no other tree.` : `${made} needs no other tree; its snapshots still hold ${origin}.`)
}

async function remove(path: string, paths: readonly string[]): Promise<void> {
  const { pool } = locate(path)
  for (const at of paths) {
    await onPool(pool, () => askCall(pool, 'subvolume/rm', { path: at }, (f) => f.SnapshotRemoved), async (p) => {
      await p.subvolumes.remove(at)
      return { removed: true } as const
    })
  }
}
