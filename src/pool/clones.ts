/** `ogee clone`: what FROM is tells what is made. A file becomes another file; `/path@NAME`, a tree, becomes a subvolume; `VOLUME@NAME`, or `VOLUME` as it is now, a volume. */
import type { Data } from '../data/index.js'
import type { Engine } from '../engine/index.js'
import type { Tree } from '../meta/index.js'
import { bytesOf, parseNamed } from '../snapshot/index.js'
import type { Snapshots } from '../snapshot/index.js'
import { rootContext } from '../sys/index.js'
import type { Vfs } from '../vfs/index.js'
import { VolumeError } from '../volume/index.js'
import type { Volumes } from '../volume/index.js'
import { FEATURE } from './features.js'
import type { LiveSuperblock } from './features.js'
import { cloneFile, fileAt, noFile } from './file-clones.js'
import { poolNames } from './names.js'
import { Refusal, saying } from './refusal.js'
import type { Touched } from './snapshots.js'

export interface PoolClones {
  /** Answers what was made, as commands name it. */
  clone(from: string, to: string): Promise<{ readonly made: string; readonly touched: Touched | undefined }>
}

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly vfs: Vfs
  readonly snapshots: Snapshots
  readonly volumes: Volumes
  readonly superblock: LiveSuperblock
}

export function poolClones(parts: Parts): PoolClones {
  const { engine, tree, snapshots, volumes, superblock } = parts
  const names = poolNames({ engine, tree })

  async function cloneTree(from: string, to: string): ReturnType<PoolClones['clone']> {
    const parsed = parseNamed(from)
    if (parsed === undefined) throw new Refusal('usage', `${JSON.stringify(from)} is no name of a snapshot: write /@NAME for one of the whole tree, or /path@NAME for one of a subvolume; no "/" in NAME.`)
    const origin = await names.domainAt(parsed.path)
    const { parent, name, path } = await names.placeAt(to)
    await superblock.need(FEATURE.epochs | FEATURE.clones)
    await saying({
      ENOENT: () => new Refusal('missing', `There is no snapshot ${from}: \`ogee snapshot list\` shows those that there are, \`ogee snapshot create\` takes one.`),
      EEXIST: () => new Refusal('exists', `There is something at ${path} already: choose another path.`),
      ENOTDIR: () => new Refusal('usage', `What ${path} would be in is no folder: choose another path.`),
      ENAMETOOLONG: () => new Refusal('usage', 'A name has at most 255 bytes: choose a shorter one.')
    }, () => snapshots.cloneTree(rootContext, { domain: origin.domain, snapshot: bytesOf(parsed.name), parent, name }))
    return { made: path, touched: { parent, name } }
  }

  async function cloneVolume(from: string, to: string): ReturnType<PoolClones['clone']> {
    if (to.includes('/')) throw new Refusal('usage', `${from} is of a volume, and ${to} is a path: name a volume to be made.`)
    try {
      return { made: (await volumes.clone(from, to)).name, touched: undefined }
    } catch (e) {
      throw e instanceof VolumeError ? new Refusal(e.reason, e.message) : e
    }
  }

  return {
    async clone(from, to) {
      if (!from.startsWith('/')) return cloneVolume(from, to)
      const file = await fileAt(parts, from) // one may be called a@b
      if (file !== undefined) {
        const { path, ...touched } = await cloneFile(parts, file, to)
        return { made: path, touched }
      }
      if (from.includes('@')) return cloneTree(from, to)
      throw await noFile(parts, from)
    }
  }
}
