/** `ogee sync`: what sync(1) cannot do on a FUSE mount, whose daemon the kernel does not tell. */
import type { Command } from 'commander'
import { Refusal } from '../../pool/index.js'
import { askSync } from '../daemon/client.js'
import { locate } from '../locate.js'

export const addSync = (program: Command): void => {
  program.command('sync').argument('<DIR>', 'a folder in a mount, or the pool')
    .summary('make everything in a mounted pool durable')
    .description('Returns when everything that was written to the pool so far would survive a power cut.\nsync(1) writes the kernel\'s pages out, but its request does not reach the daemon of a FUSE mount.')
    .action(async (path: string) => {
      const { pool, mount } = locate(path)
      const answer = await askSync(pool)
      if (answer === undefined && mount !== undefined) {
        throw new Refusal('failed', `The daemon of ${mount.dir} is gone: mount the pool again (ogee mount ${pool} ${mount.dir}); what was synced is there.`)
      }
    })
}
