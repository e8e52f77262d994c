/** `ogee format`: makes a pool with a size and a name of one's choice. Never touches a pool that is there. */
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { formatPool, holderText, inspectFolder, makeFolder, Refusal, resolvePool, SIZE_MAX_BYTES, SIZE_MIN_BYTES, tryLock } from '../../pool/index.js'
import { systemClock, systemRandom } from '../../sys/index.js'
import { bytesText, say } from '../output.js'
import { parseSize } from '../sizes.js'

interface Flags {
  readonly size?: string
  readonly name?: string
  readonly preallocate?: boolean
  readonly device?: string
  readonly json?: boolean
}

export const addFormat = (program: Command): void => {
  program.command('format').argument('<POOL>', 'the folder; made if it is absent, else it must be empty')
    .summary('make a pool with a size and a name of your choice')
    .description('Makes a pool in the folder POOL. `ogee mount` does that too, with the defaults, for a folder that is new or empty.')
    .option('--size <SIZE>', 'what the pool may hold at most, like 100G: its files grow as it fills (default: 100G, or the size of the disk below it)')
    .option('--name <NAME>', "a name for people (default: the folder's)")
    .option('--preallocate', 'take the disk\'s space for all of it now: the pool never runs out of what it promises')
    .option('--device <DEVICE>', 'a block device for the bytes of files, blank at its start; names and the log stay in the folder')
    .option('--json', 'print the new pool as JSON')
    .addHelpText('after', '\nExamples:\n  ogee format /srv/pool --size 500G --name work')
    .action(format)
}

async function format(path: string, flags: Flags): Promise<void> {
  const sizeBytes = flags.size === undefined ? undefined : parseSize(flags.size)
  if (sizeBytes !== undefined && (sizeBytes < SIZE_MIN_BYTES || sizeBytes > SIZE_MAX_BYTES)) {
    throw new Refusal('usage', `A pool has between ${bytesText(SIZE_MIN_BYTES)} and ${bytesText(SIZE_MAX_BYTES)}: choose another --size than ${flags.size}.`)
  }
  if (flags.device !== undefined && flags.preallocate === true) throw new Refusal('usage', 'A block device has its space already: leave --preallocate out.')
  const folder = resolvePool(path)
  if (inspectFolder(folder) === 'pool') {
    throw new Refusal('exists', `There is a pool in ${folder} already: name another folder, or remove that one first if you want to lose what is in it (rm -r ${folder}).`)
  }
  makeFolder(folder)
  const lock = tryLock(folder, 'format')
  if (!('release' in lock)) throw new Refusal('in-use', `Pool ${folder} is in use by ${holderText(lock.heldBy)}: unmount it there first.`)
  try {
    const made = await formatPool(folder, {
      clock: systemClock, random: systemRandom,
      ...(sizeBytes === undefined ? {} : { sizeBytes }), ...(flags.name === undefined ? {} : { name: flags.name }), preallocate: flags.preallocate === true,
      ...(flags.device === undefined ? {} : { devicePath: resolve(flags.device) })
    })
    if (flags.json === true) say(JSON.stringify({ pool: folder, uuid: made.uuid, name: made.name, sizeBytes: made.sizeBytes }))
    else say(`Made pool ${folder}: "${made.name}", ${bytesText(made.sizeBytes)}, ${made.uuid}.`)
  } finally {
    lock.release()
  }
}
