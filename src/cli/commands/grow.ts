/** `ogee grow`: a pool becomes larger, while it is mounted or not. */
import type { Command } from 'commander'
import { grownSize, readSuperblock } from '../../pool/index.js'
import { askGrow } from '../daemon/client.js'
import { locate } from '../locate.js'
import { onPool } from '../on-pool.js'
import { bytesText, say } from '../output.js'
import { parseSize } from '../sizes.js'

interface Flags {
  readonly size: string
  readonly json?: boolean
}

export const addGrow = (program: Command): void => {
  program.command('grow').argument('<POOL|DIR>', "the pool's folder, or where it is mounted")
    .summary('make a pool larger, also while it is mounted')
    .description('Gives a pool a new, larger size. It is in force when the command returns: df shows it, and files may use it.')
    .requiredOption('--size <SIZE>', 'the new size, like 500G; or +SIZE: so much more')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  ogee grow /srv/pool --size 500G\n  ogee grow /mnt --size +100G')
    .action(grow)
}

async function grow(path: string, flags: Flags): Promise<void> {
  const { pool } = locate(path)
  const superblock = readSuperblock(pool)
  const isMore = flags.size.startsWith('+')
  const wanted = await grownSize(superblock, parseSize(isMore ? flags.size.slice(1) : flags.size) + (isMore ? superblock.sizeBytes : 0))
  const { sizeBytes } = await onPool(pool, () => askGrow(pool, wanted), async (p) => ({ sizeBytes: await p.grow(wanted) }))
  if (flags.json === true) say(JSON.stringify({ pool, sizeBytes, beforeBytes: superblock.sizeBytes }))
  else say(`Pool ${pool} has ${bytesText(sizeBytes)} now (before: ${bytesText(superblock.sizeBytes)}).`)
}
