/**
 * The commands of `ogee`, put together. Errors are one sentence on stderr, and nothing ends the process here.
 */
import { Command, CommanderError } from 'commander'
import { EXIT_FAILED, EXIT_USAGE, isUsage, note, sentence, version, visible } from './output.js'

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
  clone: async () => (await import('./commands/clone.js')).addClone,
  trash: async () => (await import('./commands/trash.js')).addTrash,
  export: async () => (await import('./commands/export.js')).addExport,
  import: async () => (await import('./commands/export.js')).addImport,
  volume: async () => (await import('./commands/volume.js')).addVolume,
  nbd: async () => (await import('./commands/nbd.js')).addNbd,
  fsck: async () => (await import('./commands/fsck.js')).addFsck,
  doctor: async () => (await import('./commands/doctor.js')).addDoctor,
  sync: async () => (await import('./commands/sync.js')).addSync,
  install: async () => (await import('./commands/install.js')).addInstall
}

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

/** With the command that was called; with all of them if that is none. */
export async function programFor(called: string | undefined): Promise<Command> {
  const commands = Object.hasOwn(COMMANDS, called ?? '') ? [COMMANDS[called!]] : Object.values(COMMANDS)
  return makeProgram(await Promise.all(commands.map((load) => load())))
}

/** The exit code. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const program = await programFor(args[0])
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
      const text = e.code === 'commander.help' ? 'Name a command, one of the list above.' : visible(e.message.replace(/^error: /, '').replace(/\n(?=\()/g, ' '))
      const command = program.commands.some((c) => c.name() === args[0]) ? ` ${args[0]}` : ''
      note(`${text.endsWith('.') || text.endsWith(')') || text.endsWith('?') ? text : `${text}.`} See \`ogee help${command}\`.`)
      return args[0] === 'fsck' ? (await import('./commands/fsck.js')).FSCK_USAGE : EXIT_USAGE
    }
    note(sentence(e))
    return isUsage(e) ? EXIT_USAGE : EXIT_FAILED
  }
}
