/**
 * `ogee install`: puts mount.ogee and mount.fuse.ogee where mount(8) looks for them, so that fstab and `mount -t ogee` work.
 *   - They are small scripts with this Node's and this Ogee's full names: mount(8) runs helpers with a bare PATH.
 *   - A file there that is not ours is neither replaced nor removed.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { Refusal, refusalOf } from '../../pool/index.js'
import { say } from '../output.js'
import { OGEE_FILE } from '../places.js'

const HELPERS = ['mount.ogee', 'mount.fuse.ogee']
const MARK = '# Written by `ogee install`.'
const PREFIX_DEFAULT = '/sbin'

const quoted = (path: string): string => `'${path.replaceAll("'", "'\\''")}'`

function script(name: string): string {
  return `#!/bin/sh\n${MARK} mount(8) calls it for file systems of type ${name.slice('mount.'.length)}.\n` +
    `OGEE_NODE=${quoted(process.execPath)} OGEE_CALLED_AS=${name} exec ${quoted(OGEE_FILE)} "$@"\n`
}

export const addInstall = (program: Command): void => {
  program.command('install').summary('let mount(8) and fstab mount pools')
    .description(`Writes ${HELPERS.join(' and ')} into ${PREFIX_DEFAULT}. Then a line of /etc/fstab mounts a pool:\n  /srv/pool  /mnt  ogee  defaults,nofail  0  0`)
    .option('--prefix <FOLDER>', 'write them there instead; mount(8) itself looks only into /sbin and its like', PREFIX_DEFAULT)
    .action((flags: { readonly prefix: string }) => inFolder(flags.prefix, install))
  program.command('uninstall').summary('take back what install wrote')
    .description(`Removes ${HELPERS.join(' and ')} from ${PREFIX_DEFAULT}. Pools stay as they are.`)
    .option('--prefix <FOLDER>', 'where install was told to write them', PREFIX_DEFAULT)
    .action((flags: { readonly prefix: string }) => inFolder(flags.prefix, uninstall))
}

function inFolder(prefix: string, work: (folder: string) => void): void {
  const folder = resolve(prefix)
  try {
    work(folder)
  } catch (e) {
    const known = refusalOf(e, folder)
    if (!(known instanceof Refusal) || e instanceof Refusal) throw known
    throw new Refusal(known.reason, `No permission to change ${folder} (${(e as Error).message.split(':')[0]}): become root, or name another folder with --prefix.`)
  }
}

const isOurs = (path: string): boolean => readFileSync(path, 'utf8').includes(MARK)

function install(folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const name of HELPERS) {
    const path = join(folder, name)
    if (existsSync(path) && !isOurs(path)) throw new Refusal('exists', `${path} is there already and not ours: move it away, or name another folder with --prefix.`)
    writeFileSync(`${path}.new`, script(name))
    chmodSync(`${path}.new`, 0o755)
    renameSync(`${path}.new`, path)
    say(`Wrote ${path}.`)
  }
}

function uninstall(folder: string): void {
  for (const name of HELPERS) {
    const path = join(folder, name)
    if (!existsSync(path)) continue
    if (!isOurs(path)) throw new Refusal('exists', `${path} was not written by ogee install: remove it yourself if you want to.`)
    rmSync(path)
    say(`Removed ${path}.`)
  }
}
