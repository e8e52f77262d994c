/** The words of `npm run bench`; wrong ones end with a sentence. */
import { InvalidArgumentError, Command } from 'commander'

export interface BenchOptions {
  readonly only: readonly string[]
  readonly skip: readonly string[]
  readonly peers: readonly string[] | undefined
  readonly rounds: number | undefined
  readonly also: readonly { readonly name: string; readonly dir: string }[]
  readonly json: string | undefined
  readonly against: string | undefined
  readonly scale: 'quick' | 'normal' | 'full'
  readonly calls: boolean
  readonly dir: string | undefined
  readonly mountOptions: string | undefined
  readonly list: boolean
}

const names = (text: string) => text.split(',').filter((name) => name !== '')
const count = (text: string) => {
  const n = Number(text)
  if (!Number.isInteger(n) || n < 1) throw new InvalidArgumentError('a number from 1 on is needed')
  return n
}
const also = (text: string, before: readonly { name: string; dir: string }[]) => {
  const at = text.indexOf('=')
  if (at < 1 || !text.startsWith('/', at + 1)) throw new InvalidArgumentError('say NAME=/a/folder')
  return [...before, { name: text.slice(0, at), dir: text.slice(at + 1) }]
}

export function parseOptions(argv: readonly string[]): BenchOptions {
  const command = new Command('npm run bench --')
    .description('The same work on Ogee, libfuse\'s passthrough_ll and the disk below, in interleaved rounds; one table with goals.')
    .option('--only <works>', 'only these works, comma-separated; a trailing * takes all that begin so', names, [])
    .option('--skip <works>', 'not these works', names, [])
    .option('--peers <names>', 'only these of ogee, pt, "pt -s", disk (default: all)', names)
    .option('--rounds <n>', 'rounds per work (default: 5; 3 with --quick)', count)
    .option('--also <name=dir>', 'one more mounted file system to compare with; may be repeated', also, [])
    .option('--json <file>', 'write the figures for machines')
    .option('--against <file>', 'say what became 10 % worse since this report')
    .option('--quick', 'small sizes, 3 rounds')
    .option('--full', 'big sizes: 1 GiB, a million files, a folder of 10^7')
    .option('--calls', 'one more pass under strace: system calls per operation')
    .option('--dir <dir>', 'where everything lies; its disk is measured (default: the temporary folder)')
    .option('-o, --mount-options <options>', 'mount options for Ogee')
    .option('--list', 'the works and their goals')
  command.parse([...argv], { from: 'user' })
  const o = command.opts<Omit<BenchOptions, 'scale' | 'calls' | 'list'> & { quick?: boolean; full?: boolean; calls?: boolean; list?: boolean }>()
  if (o.quick === true && o.full === true) command.error('--quick and --full: choose one')
  return {
    only: o.only,
    skip: o.skip,
    peers: o.peers,
    rounds: o.rounds,
    also: o.also,
    json: o.json,
    against: o.against,
    scale: o.quick === true ? 'quick' : o.full === true ? 'full' : 'normal',
    calls: o.calls === true,
    dir: o.dir,
    mountOptions: o.mountOptions,
    list: o.list === true,
  }
}

const fits = (name: string) => (pattern: string) => (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern)

/** The chosen of `all`; a word that fits none throws a sentence. */
export function choose<T extends { readonly name: string }>(all: readonly T[], only: readonly string[], skip: readonly string[]): T[] {
  for (const pattern of [...only, ...skip])
    if (!all.some(({ name }) => fits(name)(pattern))) throw new Error(`there is no work named ${pattern}; --list names them all`)
  return all.filter(({ name }) => (only.length === 0 || only.some(fits(name))) && !skip.some(fits(name)))
}
