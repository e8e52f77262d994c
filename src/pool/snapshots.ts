/**
 * Snapshots and subvolumes as commands know them: `/path@NAME` or `VOLUME@NAME`, sentences for what is wrong, and what the kernel must forget afterwards.
 */
import { NOW } from '../data/index.js'
import type { Engine } from '../engine/index.js'
import { NOBODY, ROOT_ENTRIES_MAX, S_IFDIR, S_IFMT } from '../meta/index.js'
import type { Tree, Younger } from '../meta/index.js'
import { bytesOf, inodeAtPath, listNode, parseNamed, textOf } from '../snapshot/index.js'
import type { FlattenProgress, Snapshots } from '../snapshot/index.js'
import { rootContext } from '../sys/index.js'
import { VolumeError } from '../volume/index.js'
import type { Volumes } from '../volume/index.js'
import { poolNames } from './names.js'
import type { Domain } from './names.js'
import { Refusal, saying } from './refusal.js'

const NAMES_AT_ONCE = 512

/** A name that came, went or means another node: what the kernel holds of it is old. */
export interface Touched {
  readonly parent: number
  /** A byte string. */
  readonly name: string
}

/** All that was in a folder is something else now, and so is the folder. */
export interface Exchanged {
  readonly folder: number
  /** Of what was in it, and of what is: byte strings. */
  readonly names: readonly string[]
}

export interface SnapshotLine {
  /** `/path@NAME`. */
  readonly snapshot: string
  readonly name: string
  /** Of the domain: '/' or a subvolume's path. */
  readonly of: string
  readonly epoch: number
  readonly takenSec: number
}

export interface PoolSnapshots {
  create(snapshot: string): Promise<{ readonly snapshot: SnapshotLine; readonly touched: Touched }>
  /** Of one domain ('/' or a path). */
  list(of: string): Promise<readonly SnapshotLine[]>
  remove(snapshot: string): Promise<{ readonly touched: Touched }>
  /** A volume or a tree becomes what the snapshot shows. Answers the names of younger snapshots of a volume, which went; those of a tree stay. */
  rollBack(snapshot: string, younger: Younger): Promise<{ readonly removed: readonly string[]; readonly touched: Exchanged | undefined }>
  /** What removed snapshots held has been given back. */
  settle(): Promise<void>
}

export interface SubvolumeLine {
  readonly path: string
  readonly snapshots: number
  /** What it is a clone of: `/path@NAME`, or `/path` if that snapshot has no name any more. */
  readonly origin: string | null
}

export interface PoolSubvolumes {
  create(path: string): Promise<{ readonly path: string; readonly touched: Touched }>
  /** The root tree first. */
  list(): Promise<readonly SubvolumeLine[]>
  remove(path: string): Promise<{ readonly touched: Touched }>
  /** What it still reads from what it is a clone of (or was, before a rollback) becomes its own. `origin`: what its snapshots need all the same. */
  flatten(path: string, progress: FlattenProgress): Promise<{ readonly path: string, readonly origin: string | null }>
}

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly snapshots: Snapshots
  readonly volumes: Volumes
  /** An inode lost its last name: it is to be reclaimed. */
  removed(ino: number): void
}

/** What a volume refuses, as a pool says it. */
export async function refusing<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act()
  } catch (e) {
    throw e instanceof VolumeError ? new Refusal(e.reason, e.message) : e
  }
}

export function poolSubvolumes({ engine, tree, snapshots, removed }: Parts): PoolSubvolumes {
  const names = poolNames({ engine, tree })

  async function clonesOf(path: string): Promise<readonly string[]> {
    const inode = await inodeAtPath(engine, tree, rootContext, path)
    const all = inode === undefined ? [] : await tree.holds(engine.reader(rootContext), inode.domain)
    const holds = all.filter(({ origin, clone }) => clone !== origin && clone !== NOBODY) // not what it needs itself since a rollback
    return Promise.all(holds.map(async ({ clone }) => (await names.domainNamed(clone)) ?? 'one that was removed and is still in use'))
  }

  return {
    async create(text) {
      const { parent, name, path } = await names.placeAt(text)
      const made = await saying({
        EEXIST: () => new Refusal('exists', `There is something at ${path} that is no folder: choose another path.`),
        ENOTDIR: () => new Refusal('usage', `What ${path} would be in is no folder: choose another path.`),
        ENOTEMPTY: () => new Refusal('exists', `The folder ${path} is not empty: make the subvolume elsewhere, and move things into it.`),
        EBUSY: () => new Refusal('exists', `${path} is a subvolume already.`),
        ENAMETOOLONG: () => new Refusal('usage', 'A name has at most 255 bytes: choose a shorter one.')
      }, () => snapshots.makeSubvolume(rootContext, parent, name))
      if (made.replaced !== undefined) removed(made.replaced.ino)
      return { path, touched: { parent, name } }
    },
    async list() {
      const reader = engine.reader(rootContext)
      const lines: SubvolumeLine[] = []
      for (const { domain, root } of await tree.domains(reader)) {
        const inode = await tree.inode(reader, root, NOW)
        if (inode === undefined || (inode.mode & S_IFMT) !== S_IFDIR) continue
        const path = await names.pathOf(root)
        if (path !== undefined) lines.push({ path, snapshots: (await tree.snapshots(reader, domain)).length, origin: (await names.originOf(domain)) ?? null })
      }
      return lines
    },
    async remove(text) {
      const { parent, name, path } = await names.placeAt(text)
      const clones = await clonesOf(path)
      const left = await saying({
        ENOENT: () => new Refusal('missing', `There is no ${path} in the pool.`),
        EINVAL: () => new Refusal('usage', `${path} is no subvolume: rmdir removes a folder.`),
        ENOTEMPTY: () => new Refusal('usage', `${path} is not empty: remove what is in it first.`),
        EEXIST: () => new Refusal('usage', `The trash of ${path} is not empty: empty it first (\`ogee trash empty\`).`),
        EBUSY: () => new Refusal('usage', `${path} has snapshots: remove them first (\`ogee snapshot rm\`).`),
        ETXTBSY: () => clones.length === 0 ? new Refusal('in-use', `A file that was in ${path} is still open: close it first.`) : new Refusal('usage', `${path} stays while ${clones.join(', ')} ${clones.length === 1 ? 'is a clone' : 'are clones'} of it: remove ${clones.length === 1 ? 'that' : 'those'} first, or have ${clones.length === 1 ? 'it' : 'them'} be trees of their own (\`ogee subvolume flatten\`).`)
      }, () => snapshots.removeSubvolume(rootContext, parent, name))
      removed(left.ino)
      return { touched: { parent, name } }
    },
    async flatten(text, progress) {
      if (!text.startsWith('/')) throw new Refusal('usage', `${text} is no path of a subvolume, which begins with "/": of a volume it is \`ogee volume flatten\`.`)
      const { domain, path } = await names.domainAt(text)
      await saying({
        EBUSY: () => new Refusal('in-use', `${path} is being flattened already.`),
        EINTR: () => new Refusal('failed', 'The pool is being closed: what was done stays, and the next call goes on.'),
        ENOSPC: () => new Refusal('full', `The pool has too little space for what of ${path} cannot be shared with its origin: free some, or enlarge the pool (\`ogee grow\`), and call it again. What was done stays.`)
      }, () => snapshots.flatten(domain, progress))
      return { path, origin: (await names.originOf(domain)) ?? null }
    }
  }
}

export function poolSnapshots({ engine, tree, snapshots, volumes }: Parts): PoolSnapshots {
  const names = poolNames({ engine, tree })

  async function named(text: string): Promise<Domain & { readonly name: string }> {
    const parsed = parseNamed(text)
    if (parsed === undefined) throw new Refusal('usage', `${JSON.stringify(text)} is no name of a snapshot: write /@NAME for one of the whole tree, /path@NAME for one of a subvolume, or VOLUME@NAME; no "/" in NAME.`)
    return { ...await names.domainAt(parsed.path), name: bytesOf(parsed.name) }
  }

  const lineOf = ({ path }: Domain, name: string, epoch: number, takenSec: number): SnapshotLine =>
    ({ snapshot: `${path}@${textOf(name)}`, name: textOf(name), of: path, epoch, takenSec })

  async function rollBackTree(text: string, { domain, path }: Domain, name: string): Promise<Exchanged> {
    const { root, epoch, names: old } = await saying({
      ENOENT: () => new Refusal('missing', `There is no snapshot ${text}: \`ogee snapshot list\` shows those that there are.`),
      EBUSY: () => new Refusal('in-use', `${path} has subvolumes in it, which a rollback would lose: remove them first (\`ogee subvolume list\` shows them), or clone the snapshot (\`ogee clone\`).`),
      E2BIG: () => new Refusal('usage', `${path} has too much in its uppermost folder to be exchanged at once (at most ${ROOT_ENTRIES_MAX} names, fewer if they are long or of small files): move things into folders, or clone the snapshot (\`ogee clone\`).`)
    }, () => snapshots.rollBackTree(rootContext, domain, name))
    const now = new Set(old)
    for (let high = 0, low = 0; ;) {
      const rows = await tree.list(engine.reader(rootContext), root, epoch, high, low, NAMES_AT_ONCE)
      for (const row of rows) now.add(row.name)
      if (rows.length < NAMES_AT_ONCE) return { folder: root, names: [...now] }
      high = rows[rows.length - 1].cookieHigh
      low = rows[rows.length - 1].cookieLow
    }
  }

  return {
    async create(text) {
      const { name, ...at } = await named(text)
      const epoch = await saying({
        EBUSY: () => new Refusal('in-use', at.path.startsWith('/') ? `What a rollback of ${at.path} replaced is still being removed: try again when that is done.` : `Volume ${at.path} is being rolled back: try again when that is done.`),
        EEXIST: () => new Refusal('exists', `There is a snapshot ${text} already: choose another name, or remove it first (\`ogee snapshot rm\`).`),
        ENAMETOOLONG: () => new Refusal('usage', 'A snapshot\'s name has at most 255 bytes: choose a shorter one.'),
        ENOSPC: () => new Refusal('full', 'The pool has too little space to keep what is being written apart from a snapshot: free some, or enlarge the pool (`ogee grow`).')
      }, () => snapshots.create(rootContext, at.domain, name))
      const taken = (await snapshots.list(rootContext, at.domain)).find((s) => s.epoch === epoch)
      return { snapshot: lineOf(at, name, epoch, taken?.takenSec ?? 0), touched: { parent: listNode(at.root), name } }
    },
    async list(of) {
      const at = await names.domainAt(of)
      return (await snapshots.list(rootContext, at.domain)).map((s) => lineOf(at, s.name, s.epoch, s.takenSec))
    },
    async remove(text) {
      const { name, ...at } = await named(text)
      await saying({
        ENOENT: () => new Refusal('missing', `There is no snapshot ${text}: \`ogee snapshot list\` shows those that there are.`),
        EBUSY: () => new Refusal('in-use', `Volume ${at.path} is being rolled back: try again when that is done.`)
      }, () => snapshots.remove(rootContext, at.domain, name))
      return { touched: { parent: listNode(at.root), name } }
    },
    async rollBack(text, younger) {
      const { name, ...at } = await named(text)
      if (at.path.startsWith('/')) return { removed: [], touched: await rollBackTree(text, at, name) }
      const list = await snapshots.list(rootContext, at.domain)
      const since = list.slice(list.findIndex((s) => s.name === name) + 1).map((s) => textOf(s.name))
      await saying({
        ENOENT: () => new Refusal('missing', `There is no snapshot ${text}: \`ogee snapshot list\` shows those that there are.`),
        ENOTEMPTY: () => new Refusal('exists', `Volume ${at.path} has snapshots that are younger than ${text}: ${since.join(', ')}. Rolling back removes them: add --force if they may go.`),
        ETXTBSY: () => new Refusal('in-use', `Volume ${at.path} has clones of what it was after ${text}: remove them first, or flatten them (\`ogee volume list\` shows them).`),
        EBUSY: () => new Refusal('in-use', `Volume ${at.path} is being rolled back: try again when that is done.`)
      }, () => refusing(() => volumes.whileClosed(at.path, 'roll it back', () => snapshots.rollBack(rootContext, at.domain, name, younger))))
      return { removed: since, touched: undefined }
    },
    settle: () => snapshots.settle()
  }
}
