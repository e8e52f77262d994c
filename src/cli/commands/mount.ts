/** `ogee mount`: a pool becomes a folder. */
import type { Command } from 'commander'
import { mountPool } from '../mounting.js'
import { parseMountOptions } from '../options.js'
import { note } from '../output.js'
import { nbdSpec } from './nbd.js'

interface Flags {
  readonly o: string[]
  readonly foreground?: boolean
  readonly nbd?: string | true
}

export const MOUNT_OPTIONS_HELP = `
Mount options (-o, a list with commas):
  ro, rw                     read-only or not
  suid, dev, exec            or nosuid, nodev, noexec (a plain user: always nosuid, nodev)
  allow_other                other users may use the mount (root: always so; a plain user
                             needs user_allow_other in /etc/fuse.conf)
  allow_root                 root alone (for mounts of root)
  default_permissions        the kernel checks permissions (always so)
  uid=N, gid=N, umask=OCTAL  show every file as this owner's, this group's, with these bits
  relatime                   a read moves the access time if it was older than the last
                             change or than a day (default); or noatime, strictatime
  fsname=NAME                what mount and df show as the source (default: the pool)
  sync, dirsync              every change, every change of names waits for the disk
  nonempty                   mount over a folder that is not empty
  latency=auto|low|normal    keep the cores awake while there is work: if we may (default),
                             in any case, never
  spin_us=N                  how long to look for the next request before sleeping, where
                             that pays (default: 30)
  max_read=BYTES             the largest single read
  opens                      the kernel tells us of every open and close
  writeback_cache            the kernel gathers writes: faster, and what a program wrote but
                             did not sync is lost if the daemon dies
  remount                    change ro, suid, dev, exec of a mount that is there
Ignored: defaults, auto, noauto, user, users, nofail, _netdev, x-*, comment=.`

export const addMount = (program: Command): void => {
  program.command('mount').argument('<POOL>', "the pool's folder; a pool is made there if it is new or empty").argument('<DIR>', 'an empty folder outside of the pool')
    .summary('mount a pool at a folder')
    .description('Mounts the pool in folder POOL at DIR, and returns when it is usable. A daemon in the background serves it.\nMounted already, it is shown at DIR as well (root only).')
    .option('-o <OPTIONS>', 'mount options, as in fstab', (value: string, before: string[]) => [...before, value], [])
    .option('--nbd [ADDRESS]', 'serve all volumes over NBD too, at unix:PATH or tcp:HOST:PORT (default: unix:POOL/nbd.sock); see `ogee help nbd`')
    .option('-f, --foreground', 'stay in the foreground, and unmount at Ctrl-C')
    .addHelpText('after', `${MOUNT_OPTIONS_HELP}\n\nExamples:\n  ogee mount /srv/pool /mnt\n  ogee mount /srv/pool /backup -o ro,noexec`)
    .action(async (pool: string, dir: string, flags: Flags) => {
      const options = parseMountOptions(flags.o, process.geteuid?.() === 0)
      process.exitCode = await mountPool({ pool, dir, options, where: flags.foreground === true ? 'foreground' : 'background', note, ...(flags.nbd === undefined ? {} : { nbd: (folder: string) => nbdSpec(folder, [], { listen: flags.nbd === true || flags.nbd === undefined ? [] : [flags.nbd], readOnly: options.readOnly }) }) })
    })
}
