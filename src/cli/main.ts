/**
 * The program `ogee`: which command, and how it ends. Each command is a file in commands/.
 *   - Called as mount.ogee or mount.fuse.ogee (OGEE_CALLED_AS, set by bin/ogee and by what `ogee install` writes) it is
 *     mount(8)'s helper. `ogee /a/pool DIR -o ...` is how mount.fuse calls it.
 *   - Errors are one sentence on stderr; exit 0 is success, 2 wrong usage, 1 everything else.
 */
import { basename } from 'node:path'
import { DAEMON_COMMAND } from './daemon/command.js'

const HELPER_NAMES = new Set(['mount.ogee', 'mount.fuse.ogee'])

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
  return (await import('./program.js')).runCommand(args)
}

const code = await main(process.argv.slice(2))
if (code !== 'serving') process.exitCode = code
