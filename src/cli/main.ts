/**
 * The program `ogee`: which command, and how it ends. Each command is a file in commands/.
 *   - Called as mount.ogee or mount.fuse.ogee (OGEE_CALLED_AS, set by bin/ogee and by what `ogee install` writes) it is
 *     mount(8)'s helper. `ogee /a/pool DIR -o ...` is how mount.fuse calls it.
 *   - Errors are one sentence on stderr; exit 0 is success, 2 wrong usage, 1 everything else.
 */
import { basename } from 'node:path'
import { CommanderError } from 'commander'
import { DAEMON_COMMAND } from './daemon/spawn.js'
import { EXIT_FAILED, EXIT_USAGE, isUsage, note, sentence, visible } from './output.js'
import { programFor } from './program.js'

const HELPER_NAMES = new Set(['mount.ogee', 'mount.fuse.ogee'])

async function runCommand(args: readonly string[]): Promise<number> {
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
