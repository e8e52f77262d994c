/**
 * `ogee volume attach` and `detach`: a volume as a block device of this machine, a loop device over its file in POOL/volumes.
 *   - What is attached is learnt from the loop devices themselves: their backing file tells. Nothing is kept.
 *   - A device that is in use (mounted, swap, part of another) is not detached.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, constants, openSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { Refusal } from '../pool/index.js'
import { ERRNO, errnoOf } from '../sys/index.js'

const LOSETUP_MS = 30_000

/** Loop devices and the files under them. */
function* loopDevices(): Generator<{ readonly device: string, readonly file: string }> {
  for (const name of readdirSync('/sys/block')) {
    if (!name.startsWith('loop')) continue
    try {
      yield { device: `/dev/${name}`, file: readFileSync(`/sys/block/${name}/loop/backing_file`, 'utf8').trimEnd() }
    } catch {
      continue // not in use
    }
  }
}

/** /dev/loopN, or undefined. */
export function attachedAt(file: string): string | undefined {
  for (const loop of loopDevices()) if (loop.file === file) return loop.device
  return undefined
}

/** Volumes whose files lie in this folder and that are devices now. */
export function attachedIn(folder: string): string[] {
  return [...loopDevices()].filter(({ file }) => dirname(file) === folder).map(({ file }) => basename(file))
}

export function attach(file: string, name: string): string {
  requireRoot()
  const there = attachedAt(file)
  if (there !== undefined) throw new Refusal('in-use', `Volume ${name} is attached already, at ${there}: use it there, or detach it first.`)
  return losetup(name, '--find', '--show', '--direct-io=on', file).trim()
}

export function detach(file: string, name: string): string {
  requireRoot()
  const device = attachedAt(file)
  if (device === undefined) throw new Refusal('missing', `Volume ${name} is not attached here: \`ogee volume attach\` does that.`)
  try {
    closeSync(openSync(device, constants.O_RDWR | constants.O_EXCL)) // refused while it is mounted or part of another device
  } catch (e) {
    if (errnoOf(e) === ERRNO.EBUSY) throw new Refusal('busy', `${device} (volume ${name}) is in use: unmount what is on it first (\`lsblk ${device}\` shows where).`)
    throw e
  }
  losetup(name, '--detach', device)
  return device
}

/** The device learns of the volume's new size. */
export function announceSize(file: string, name: string): void {
  const device = attachedAt(file)
  if (device !== undefined) losetup(name, '--set-capacity', device)
}

export const volumeFile = (folder: string, name: string): string => join(folder, name)

function requireRoot(): void {
  if (process.geteuid?.() !== 0) throw new Refusal('denied', 'Only root can attach block devices: use `ogee nbd` and a client of your own, or become root.')
}

function losetup(name: string, ...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('losetup', args, { encoding: 'utf8', timeout: LOSETUP_MS })
  if (status === 0) return stdout
  if (errnoOf(error) === ERRNO.ENOENT && error !== undefined) throw new Refusal('unsupported', 'There is no losetup here: install it (util-linux, or the package mount).')
  throw new Refusal(/busy/i.test(stderr) ? 'in-use' : 'failed', `losetup could not do that to volume ${name}: ${(stderr || String(error)).trim().split('\n')[0]}. \`ogee volume info\` shows who writes it.`)
}
