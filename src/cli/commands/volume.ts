/** `ogee volume`: block volumes of a pool, mounted or not: made, listed, resized, renamed, removed. */
import { join } from 'node:path'
import Table from 'cli-table3'
import type { Command } from 'commander'
import type { VolumeInfo } from '../../volume/index.js'
import { checkVolumeName, checkVolumeSize } from '../../volume/index.js'
import { Refusal } from '../../pool/index.js'
import { announceSize, attach, detach, volumeFile } from '../attaching.js'
import { askCall, askVolumes } from '../daemon/client.js'
import { locate } from '../locate.js'
import { flattenVolume } from '../flattening.js'
import { bytesText, PLAIN_TABLE, say } from '../output.js'
import { parseSize } from '../sizes.js'
import { askClosed, volumeRefusal } from '../volume-asks.js'
import type { VolumeAnswer } from '../volume-asks.js'
import type { VolumeAsk } from '../volume-query.js'
import { nbdSpec, startNbd } from './nbd.js'

interface Flags {
  readonly json?: boolean
  readonly size?: string
  readonly shrink?: boolean
}

const POOL = "the pool's folder, or where it is mounted"

export const addVolume = (program: Command): void => {
  const volume = program.command('volume').summary('block volumes: create, list, info, resize, rename, flatten, rm')
    .description('Makes and manages block volumes. They are thin: space is taken as it is written, and comes back with trim.\nServe them with `ogee nbd`.')
    .addHelpText('after', '\nExamples:\n  ogee volume create /srv/pool db --size 100G\n  ogee volume resize /mnt db --size +50G\n  ogee nbd /srv/pool db')
  const add = (name: string, args: readonly (readonly [string, string])[], summary: string): Command => {
    const command = volume.command(name).argument('<POOL>', POOL)
    for (const [arg, what] of args) command.argument(arg, what)
    return command.summary(summary).description(`${summary[0].toUpperCase()}${summary.slice(1)}.`).option('--json', 'print JSON')
  }
  add('create', [['<NAME>', 'letters, digits and . _ + -']], 'make a volume').requiredOption('--size <SIZE>', 'its size, like 100G: a multiple of 512 bytes')
    .action((path: string, name: string, flags: Flags) => refusing(async () => {
      checkVolumeName(name)
      const size = parseSize(flags.size!)
      checkVolumeSize(size)
      show(flags, await ask(path, { do: 'create', name, size }), (v) => `Made volume ${v.name}, ${bytesText(v.sizeBytes)}.`)
    }))
  add('list', [], 'list the volumes').action((path: string, flags: Flags) => refusing(async () => {
    const { volumes } = await ask(path, { do: 'list' })
    say(flags.json === true ? JSON.stringify(volumes) : listText(volumes))
  }))
  add('info', [['<NAME>', 'the volume']], 'show one volume').action((path: string, name: string, flags: Flags) => refusing(async () =>
    show(flags, await ask(path, { do: 'info', name }), infoText)))
  add('resize', [['<NAME>', 'the volume']], 'change the size of a volume, also while it is in use')
    .requiredOption('--size <SIZE>', 'the new size; or +SIZE: so much more')
    .option('--shrink', 'it may become smaller, and lose what lies behind the new end (nobody may have it open)')
    .action((path: string, name: string, flags: Flags) => refusing(async () => {
      const isMore = flags.size!.startsWith('+')
      const size = parseSize(isMore ? flags.size!.slice(1) : flags.size!) + (isMore ? (await ask(path, { do: 'info', name })).volumes[0].sizeBytes : 0)
      checkVolumeSize(size)
      const resized = await ask(path, { do: 'resize', name, size, cut: flags.shrink === true ? 'cut' : 'keep' })
      announceSize(volumeFile(join(locate(path).pool, 'volumes'), name), name)
      show(flags, resized, (v) => `Volume ${v.name} has ${bytesText(v.sizeBytes)} now.`)
    }))
  add('rename', [['<NAME>', 'the volume'], ['<NEW>', 'its new name']], 'rename a volume').action((path: string, name: string, to: string, flags: Flags) => refusing(async () => {
    checkVolumeName(to)
    show(flags, await ask(path, { do: 'rename', name, to }), (v) => `Volume ${name} is ${v.name} now.`)
  }))
  add('attach', [['<NAME>', 'the volume']], 'make a volume a block device of this machine (a loop device)').action((path: string, name: string, flags: Flags) => refusing(async () => {
    await ask(path, { do: 'info', name })
    const device = attach(volumeFile(await folderOf(path), name), name)
    say(flags.json === true ? JSON.stringify({ volume: name, device }) : device)
  }))
  add('detach', [['<NAME>', 'the volume']], 'take that block device away').action((path: string, name: string, flags: Flags) => refusing(async () => {
    const device = detach(volumeFile(join(locate(path).pool, 'volumes'), name), name)
    say(flags.json === true ? JSON.stringify({ volume: name, device }) : `Detached ${device}.`)
  }))
  add('flatten', [['<NAME>', 'a clone']], 'have a clone copy what it shows of its origin, and be one no more').action((path: string, name: string, flags: Flags) => refusing(async () =>
    show(flags, { volumes: [await flattenVolume(locate(path).pool, name)], fenced: null }, (v) => (v.origin === null ? `Volume ${v.name} needs no other one.` : `Volume ${v.name} is a clone of ${v.origin}.`))))
  add('rm', [['<NAME>', 'the volume']], 'remove a volume and all that is on it').action((path: string, name: string, flags: Flags) => refusing(async () => {
    await ask(path, { do: 'rm', name })
    say(flags.json === true ? JSON.stringify({ removed: name }) : `Removed volume ${name}.`)
  }))
}

/** The folder of files, mounted by the daemon; one is started if there is none. */
async function folderOf(path: string): Promise<string> {
  const { pool } = locate(path)
  const ask = (): Promise<{ dir: string } | undefined> => askCall(pool, 'volumes/folder', {}, (f) => f.VolumesFolder)
  const there = await ask()
  if (there !== undefined) return there.dir
  await startNbd(pool, nbdSpec(pool, [], { listen: [] }))
  const started = await ask()
  if (started === undefined) throw new Refusal('in-use', `Pool ${pool} is being opened and closed by others at the same time: try again.`)
  return started.dir
}

async function ask(path: string, what: VolumeAsk): Promise<VolumeAnswer> {
  const { pool } = locate(path)
  return await askVolumes(pool, what) ?? askClosed(pool, what)
}

async function refusing(work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (e) {
    throw volumeRefusal(e)
  }
}

const show = (flags: Flags, { volumes: [volume] }: VolumeAnswer, text: (v: VolumeInfo) => string): void =>
  say(flags.json === true ? JSON.stringify(volume) : text(volume))

const infoText = (v: VolumeInfo): string => ([
  ['volume', v.name], ['size', `${bytesText(v.sizeBytes)} (${v.sizeBytes} bytes)`], ['holds', bytesText(v.allocatedBytes - v.lentBytes)], ['clone of', v.origin === null ? 'nothing' : `${v.origin} (${bytesText(v.lentBytes)} of it)`],
  ['made', new Date(v.createdSec * 1000).toISOString()], ['open', v.opens === 0 ? 'by nobody' : `${v.opens} times`], ['writer', v.writer ?? 'nobody']
] as const).map(([name, value]) => `${name.padEnd(12)}${value}`).join('\n')

function listText(volumes: readonly VolumeInfo[]): string {
  if (volumes.length === 0) return 'There are no volumes. `ogee volume create POOL NAME --size 100G` makes one.'
  const table = new Table({ head: ['NAME', 'SIZE', 'HOLDS', 'WRITER', 'CLONE OF'], style: { head: [], border: [], compact: true }, chars: PLAIN_TABLE })
  for (const v of volumes) table.push([v.name, bytesText(v.sizeBytes), bytesText(v.allocatedBytes - v.lentBytes), v.writer ?? '-', v.origin ?? '-'])
  return table.toString()
}
