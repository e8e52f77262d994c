/** `ogee trash`: what was removed and is kept for a while, of the tree or a subvolume, while the pool is mounted or not. */
import type { Command } from 'commander'
import type { TrashLine } from '../../pool/index.js'
import { askCall, askStream } from '../daemon/client.js'
import { locate } from '../locate.js'
import { onPool } from '../on-pool.js'
import { bytesText, say, sayAll } from '../output.js'
import { daysText, things } from '../trash-text.js'

interface Flags {
  readonly json?: boolean
  readonly days?: string
  readonly to?: string
  readonly all?: boolean
  readonly olderThan?: string
}
const POOL = "the pool's folder, or where it is mounted"
const PATH = 'of this subvolume'

export const addTrash = (program: Command): void => {
  const group = program.command('trash')
    .summary('keep what is removed for some days, and restore it')
    .description('While the trash is on, what is removed from the tree, or replaced by rename, is kept for some days, and can be restored where it was.\nWhat is overwritten or truncated is not kept: that is what snapshots are for.')
    .addHelpText('after', '\nExamples:\n  ogee trash enable /srv/pool --days 3\n  ogee trash list /srv/pool\n  ogee trash restore /srv/pool /home/me/lost.txt\n  ogee trash empty /srv/pool --older-than 1')
  group.command('enable').argument('<POOL|DIR>', POOL).argument('[PATH]', PATH, '/')
    .summary('keep what is removed from now on').option('--days <N>', 'for so many days (default: 3, or as before)').option('--json', 'print JSON').action(enable)
  group.command('disable').argument('<POOL|DIR>', POOL).argument('[PATH]', PATH, '/')
    .summary('remove for good from now on; what is in the trash stays until its days are over').option('--json', 'print JSON').action(disable)
  group.command('list').argument('<POOL|DIR>', POOL).argument('[PATH]', PATH, '/')
    .summary('list what is in the trash, oldest first').option('--json', 'print JSON').action(list)
  group.command('restore').argument('<POOL|DIR>', POOL).argument('<ID|PATH>', 'as `ogee trash list` shows them; of several with one path the newest')
    .summary('put something back, a folder with what was removed together with it')
    .description('Puts something back where it was, with the folders on the way if they are in the trash too. A folder comes back with what was removed together with it.')
    .option('--to <PATH>', 'put it there: a new path, or a folder').option('--all', 'with a folder, all that was ever removed from it').option('--json', 'print JSON').action(restore)
  group.command('empty').argument('<POOL|DIR>', POOL).argument('[PATH]', PATH, '/')
    .summary('remove for good what is in the trash').option('--older-than <DAYS>', 'only what was removed longer ago').option('--json', 'print JSON').action(empty)
}

async function enable(path: string, of: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const days = flags.days === undefined ? undefined : Number(flags.days)
  const { trash } = await onPool(pool, () => askCall(pool, 'trash/enable', { of, ...(days === undefined ? {} : { days: String(days) }) }, (f) => f.Trash), async (p) => ({ trash: await p.trash.enable(of, days) }))
  say(flags.json === true ? JSON.stringify(trash) : `What is removed from ${trash.of} is kept for ${daysText(trash.keepDays)} now, and takes its space meanwhile.`)
}

async function disable(path: string, of: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const { trash } = await onPool(pool, () => askCall(pool, 'trash/disable', { of }, (f) => f.Trash), async (p) => ({ trash: await p.trash.disable(of) }))
  say(flags.json === true ? JSON.stringify(trash) : `What is removed from ${trash.of} is gone from now on.${trash.items === 0 ? '' : ` ${things(trash.items)} are in its trash still: \`ogee trash empty\` removes them.`}`)
}

const lineText = ({ id, path, name, type, removedSec, sizeBytes }: TrashLine): string =>
  `${String(id).padEnd(10)}  ${new Date(removedSec * 1000).toISOString().replace('T', ' ').slice(0, 19)}  ${(type === 'file' ? bytesText(sizeBytes) : '-').padStart(10)}  ${path ?? `?/${name}`}${type === 'folder' ? '/' : ''}\n`

async function list(path: string, of: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  let count = 0
  const print = async (line: TrashLine): Promise<void> => {
    const before = count++ > 0
    if (flags.json === true) return sayAll(`${before ? ',\n' : '['}${JSON.stringify(line)}`)
    if (!before) await sayAll(`${'ID'.padEnd(10)}  ${'REMOVED'.padEnd(19)}  ${'SIZE'.padStart(10)}  WHERE IT WAS\n`)
    await sayAll(lineText(line))
  }
  let rest = ''
  await onPool(pool, async () => (await askStream(pool, 'trash/list', { of }, async (part) => {
    const lines = (rest + part.toString('latin1')).split('\n') // bytes, until a line is whole
    rest = lines.pop() ?? ''
    for (const line of lines) await print(JSON.parse(Buffer.from(line, 'latin1').toString('utf8')) as TrashLine)
  })) ? true : undefined, async (p) => {
    await p.trash.list(of, print)
    return true
  })
  if (flags.json === true) return sayAll(`${count === 0 ? '[' : ''}]\n`)
  if (count === 0) say(`Nothing is in the trash of ${of}. It keeps what is removed there while it is on: \`ogee trash enable ${path} ${of}\`. Subvolumes have their own.`)
}

async function restore(path: string, what: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const scope = flags.all === true ? 'all' : 'together'
  const done = await onPool(pool, () => askCall(pool, 'trash/restore', { what, scope, ...(flags.to === undefined ? {} : { to: flags.to }) }, (f) => f.TrashRestored),
    (p) => p.trash.restore(what, flags.to, scope, () => undefined))
  if (flags.json === true) return say(JSON.stringify(done))
  say(`${done.path} is there again${done.restored > 1 ? `: ${things(done.restored)} restored` : ''}.${done.skipped === 0 ? '' : ` ${things(done.skipped)} stayed in the trash, their names are taken.`}`)
}

async function empty(path: string, of: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const days = flags.olderThan === undefined ? undefined : Number(flags.olderThan)
  const { removed } = await onPool(pool, () => askCall(pool, 'trash/empty', { of, ...(days === undefined ? {} : { days: String(days) }) }, (f) => f.TrashEmptied), async (p) => ({ removed: await p.trash.empty(of, days) }))
  say(flags.json === true ? JSON.stringify({ removed }) : `${things(removed)} ${removed === 1 ? 'is' : 'are'} gone for good.`)
}
