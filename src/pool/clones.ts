/** `ogee clone`: what FROM is tells what is made. A file becomes another file; `/path@NAME`, a tree, becomes a subvolume. */
import type { Data } from '../data/index.js'
import type { Engine } from '../engine/index.js'
import type { Tree } from '../meta/index.js'
import { bytesOf, parseNamed } from '../snapshot/index.js'
import type { Snapshots } from '../snapshot/index.js'
import { rootContext } from '../sys/index.js'
import type { Vfs } from '../vfs/index.js'
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
  readonly superblock: LiveSuperblock
}

export function poolClones(parts: Parts): PoolClones {
  const { engine, tree, snapshots, superblock } = parts
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

  return {
    async clone(from, to) {
      const file = from.startsWith('/') ? await fileAt(parts, from) : undefined // one may be called a@b
      if (file !== undefined) {
        const { path, ...touched } = await cloneFile(parts, file, to)
        return { made: path, touched }
      }
      if (from.startsWith('/') && from.includes('@')) return cloneTree(from, to)
      if (from.startsWith('/')) throw await noFile(parts, from)
      throw new Refusal('usage', `${JSON.stringify(from)} cannot be cloned: name a file, or a snapshot of a tree, /@NAME or /path@NAME.`)
    }
  }
}
