/** `ogee snapshot`: takes, lists and removes snapshots of the tree, of subvolumes and volumes, and rolls these back, while the pool is mounted or not. */
import Table from 'cli-table3'
import type { Command } from 'commander'
import type { DiffLine, SnapshotLine } from '../../pool/index.js'
import { askCall, askStream } from '../daemon/client.js'
import { locate } from '../locate.js'
import { onPool } from '../on-pool.js'
import { PLAIN_TABLE, say, sayAll } from '../output.js'

interface Flags {
  readonly json?: boolean
  readonly wait?: boolean
  readonly force?: boolean
}
const POOL = "the pool's folder, or where it is mounted"
const SNAPSHOT = '/@NAME of the whole tree, /path@NAME of a subvolume, VOLUME@NAME of a volume'

export const addSnapshot = (program: Command): void => {
  const group = program.command('snapshot')
    .summary('take, list and remove snapshots, and go back to one')
    .description('A snapshot shows the tree as it was: in a mount it is the folder .snapshots/NAME of the tree or subvolume, read-only.\nTaking one costs nothing; it holds the space of what changes or goes afterwards.')
    .addHelpText('after', '\nExamples:\n  ogee snapshot create /srv/pool /@monday\n  ls /mnt/.snapshots/monday\n  ogee snapshot rm /srv/pool /@monday')
  group.command('create').argument('<POOL|DIR>', POOL).argument('<SNAPSHOT>', SNAPSHOT)
    .summary('take a snapshot').option('--json', 'print JSON').action(create)
  group.command('list').argument('<POOL|DIR>', POOL).argument('[PATH]', 'of this subvolume or volume', '/')
    .summary('list snapshots, oldest first').option('--json', 'print JSON').action(list)
  group.command('rm').argument('<POOL|DIR>', POOL).argument('<SNAPSHOT...>', SNAPSHOT)
    .summary('remove snapshots; their space comes back in the background').option('--wait', 'return when all space is back').action(remove)
  group.command('diff').argument('<POOL|DIR>', POOL).argument('<A>', 'a snapshot, or a path or volume as it is now').argument('<B>', 'another of the same')
    .summary('show what changed from A to B').description('Shows what changed from A to B: paths (+ added, - removed, > renamed, ~ modified), or the ranges of a volume.\nWhat is compared with how it is now may change meanwhile.')
    .option('--json', 'print JSON, a line for each change').action(diff)
  group.command('rollback').argument('<POOL|DIR>', POOL).argument('<SNAPSHOT>', SNAPSHOT)
    .summary('a volume or a tree becomes what a snapshot shows; what was written since then is lost')
    .description('A tree (/@NAME, /path@NAME) becomes what the snapshot shows at once; other snapshots stay as they are. What was there is removed in the\nbackground: take a snapshot first to keep it. Open files and programs that are in it go on with what was there.\nOf a volume younger snapshots are in the way, and nobody may have it open.')
    .option('--force', 'of a volume, also if there are younger snapshots: they are removed').option('--json', 'print JSON').action(rollback)
}

async function rollback(path: string, snapshot: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const younger = flags.force === true ? 'remove' : 'refuse'
  const { removed } = await onPool(pool, () => askCall(pool, 'snapshot/rollback', { of: snapshot, younger }, (f) => f.RolledBack), async (p) => {
    const done = await p.snapshots.rollBack(snapshot, younger)
    return { removed: [...done.removed] }
  })
  if (flags.json === true) return say(JSON.stringify({ snapshot, removed }))
  say(`${snapshot.slice(0, snapshot.lastIndexOf('@'))} is what ${snapshot} shows.${removed.length === 0 ? '' : ` Removed: ${removed.join(', ')}.`}`)
}

async function create(path: string, snapshot: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const taken = await onPool(pool, () => askCall(pool, 'snapshot/create', { of: snapshot }, (f) => f.SnapshotTaken), (p) => p.snapshots.create(snapshot))
  if (flags.json === true) say(JSON.stringify(taken.snapshot))
  else say(`${taken.snapshot.snapshot} is taken${inMount(taken.snapshot) === '-' ? '' : `: ${inMount(taken.snapshot)} in a mount`}.`)
}

const inMount = ({ of, name }: SnapshotLine): string => (!of.startsWith('/') ? '-' : `${of === '/' ? '' : of}/.snapshots/${name}`)

async function list(path: string, of: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const { snapshots } = await onPool(pool, () => askCall(pool, 'snapshot/list', { of }, (f) => f.SnapshotList), async (p) => ({ snapshots: [...await p.snapshots.list(of)] }))
  if (flags.json === true) return say(JSON.stringify(snapshots))
  if (snapshots.length === 0) return say(`There is no snapshot of ${of}. \`ogee snapshot create ${path} ${of}@NAME\` takes one.`)
  const table = new Table({ head: ['SNAPSHOT', 'TAKEN', 'IN A MOUNT'], style: { head: [], border: [], compact: true }, chars: PLAIN_TABLE })
  for (const s of snapshots) table.push([s.snapshot, new Date(s.takenSec * 1000).toISOString().replace('T', ' ').slice(0, 19), inMount(s)])
  say(table.toString())
}

async function remove(path: string, names: readonly string[], flags: Flags): Promise<void> {
  const { pool } = locate(path)
  for (const of of names) {
    await onPool(pool, () => askCall(pool, 'snapshot/rm', { of, ...(flags.wait === true ? { wait: '' } : {}) }, (f) => f.SnapshotRemoved), async (p) => {
      await p.snapshots.remove(of)
      if (flags.wait === true) await p.snapshots.settle()
      return { removed: true } as const
    })
  }
}

const lineText = (line: DiffLine): string => {
  switch (line.change) {
    case 'resized': return `~ size ${line.fromBytes} -> ${line.toBytes}`
    case 'range': return `~ ${line.offsetBytes} +${line.lengthBytes}`
    case 'added': return `+ ${line.path}${line.type === 'folder' ? '/' : ''}`
    case 'removed': return `- ${line.path}${line.type === 'folder' ? '/' : ''}`
    case 'renamed': return `> ${line.from} -> ${line.path}${line.what.length === 0 ? '' : ` (${line.what.join(', ')})`}`
    case 'modified': return `~ ${line.path} (${line.what.join(', ')})`
  }
}

async function diff(path: string, a: string, b: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const print = (line: DiffLine): Promise<void> => sayAll(`${flags.json === true ? JSON.stringify(line) : lineText(line)}\n`)
  let rest = ''
  await onPool(pool, async () => (await askStream(pool, 'snapshot/diff', { a, b }, async (part) => {
    const lines = (rest + part.toString('latin1')).split('\n') // bytes, until a line is whole
    rest = lines.pop() ?? ''
    for (const line of lines) await print(JSON.parse(Buffer.from(line, 'latin1').toString('utf8')) as DiffLine)
  })) ? true : undefined, async (p) => {
    await p.diffs.diff(a, b, print)
    return true
  })
}
