/**
 * The program `ogee`: which command, and how it ends. Each command is a file in commands/.
 *   - Called as mount.ogee or mount.fuse.ogee (OGEE_CALLED_AS, set by bin/ogee and by what `ogee install` writes) it is
 *     mount(8)'s helper. `ogee /a/pool DIR -o ...` is how mount.fuse calls it.
 *   - Errors are one sentence on stderr; exit 0 is success, 2 wrong usage, 1 everything else.
 */
import { basename } from 'node:path'
import { Command, CommanderError } from 'commander'
import { DAEMON_COMMAND } from './daemon/spawn.js'
import { EXIT_FAILED, EXIT_USAGE, isUsage, note, sentence, version } from './output.js'

type Add = (program: Command) => void
/** Where each command is: only the one that was called is loaded. In the order of the help. */
const COMMANDS: Readonly<Record<string, () => Promise<Add>>> = {
  mount: async () => (await import('./commands/mount.js')).addMount,
  umount: async () => (await import('./commands/umount.js')).addUmount,
  status: async () => (await import('./commands/status.js')).addStatus,
  df: async () => (await import('./commands/df.js')).addDf,
  format: async () => (await import('./commands/format.js')).addFormat,
  grow: async () => (await import('./commands/grow.js')).addGrow,
  snapshot: async () => (await import('./commands/snapshot.js')).addSnapshot,
  subvolume: async () => (await import('./commands/subvolume.js')).addSubvolume,
  volume: async () => (await import('./commands/volume.js')).addVolume,
  nbd: async () => (await import('./commands/nbd.js')).addNbd,
  fsck: async () => (await import('./commands/fsck.js')).addFsck,
  doctor: async () => (await import('./commands/doctor.js')).addDoctor,
  sync: async () => (await import('./commands/sync.js')).addSync,
  install: async () => (await import('./commands/install.js')).addInstall
}

const HELPER_NAMES = new Set(['mount.ogee', 'mount.fuse.ogee'])

function makeProgram(commands: readonly Add[]): Command {
  const program = new Command('ogee')
    .description('Ogee: a low-latency file system and block store that lives in one folder.')
    .version(`ogee ${version()}`, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} }) // one sentence, printed below
    .addHelpText('after', `
Examples:
  ogee mount /srv/pool /mnt     the folder /srv/pool holds the pool (made on first use), /mnt shows its files
  ogee status /mnt              who serves it, how full it is
  ogee umount /mnt              returns when everything is durable

Exit codes: 0 success, 2 wrong usage, 1 everything else.`)
  for (const add of commands) add(program)
  const quieten = (command: Command): void => {
    command.exitOverride().configureOutput({ outputError: () => {} }).showHelpAfterError(false)
    command.commands.forEach(quieten)
  }
  program.commands.forEach(quieten)
  return program
}

async function runCommand(args: readonly string[]): Promise<number> {
  const called = Object.hasOwn(COMMANDS, args[0] ?? '') ? [COMMANDS[args[0]]] : Object.values(COMMANDS)
  const program = makeProgram(await Promise.all(called.map((load) => load())))
  if (args.length === 0) {
    program.outputHelp()
    return EXIT_USAGE
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (e) {
    if (e instanceof CommanderError) {
      if (e.exitCode === 0) return 0 // help and version
      const text = e.message.replace(/^error: /, '').replace(/\n/g, ' ')
      const command = program.commands.some((c) => c.name() === args[0]) ? ` ${args[0]}` : ''
      note(`${text.endsWith('.') || text.endsWith(')') || text.endsWith('?') ? text : `${text}.`} See \`ogee help${command}\`.`)
      return args[0] === 'fsck' ? (await import('./commands/fsck.js')).FSCK_USAGE : EXIT_USAGE
    }
    note(sentence(e))
    return isUsage(e) ? EXIT_USAGE : EXIT_FAILED
  }
}

/** What this call is: the helper of mount(8), a mount in mount.fuse's words, the daemon, or a command. */
async function main(args: readonly string[]): Promise<number | 'serving'> {
  const calledAs = basename(process.env.OGEE_CALLED_AS ?? '')
  delete process.env.OGEE_CALLED_AS
  const helper = async (how: 'mount' | 'ogee'): Promise<number> => (await import('./helper.js')).runHelper(args, how)
  if (HELPER_NAMES.has(calledAs)) return helper('mount')
  if (args[0] === DAEMON_COMMAND && process.connected) {
    const { daemonMain } = await import('./daemon/main.js')
    daemonMain()
    return 'serving'
  }
  if (args.length >= 2 && args[0].includes('/') && !args[0].startsWith('-')) return helper('ogee')
  return runCommand(args)
}

const code = await main(process.argv.slice(2))
if (code !== 'serving') process.exitCode = code
