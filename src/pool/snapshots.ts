/**
 * Snapshots as commands know them: `/path@NAME`, sentences for what is wrong, and what the kernel must forget afterwards.
 */
import type { Engine } from '../engine/index.js'
import type { Tree } from '../meta/index.js'
import { bytesOf, inodeAtPath, listNode, parseNamed, textOf } from '../snapshot/index.js'
import type { Snapshots } from '../snapshot/index.js'
import { PosixError, rootContext } from '../sys/index.js'
import { Refusal } from './refusal.js'

/** A name that came, went or means another node: what the kernel holds of it is old. */
export interface Touched {
  readonly parent: number
  /** A byte string. */
  readonly name: string
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
  /** What removed snapshots held has been given back. */
  settle(): Promise<void>
}

interface Domain {
  readonly domain: number
  readonly root: number
  readonly path: string
}

export function poolSnapshots(parts: { readonly engine: Engine; readonly tree: Tree; readonly snapshots: Snapshots }): PoolSnapshots {
  const { engine, tree, snapshots } = parts

  async function domainAt(path: string): Promise<Domain> {
    if (!path.startsWith('/')) throw new Refusal('usage', `${JSON.stringify(path)} is no path in the pool: it begins with "/", as in /home.`)
    const inode = await inodeAtPath(engine, tree, rootContext, path)
    if (inode === undefined) throw new Refusal('missing', `There is no ${path} in the pool: \`ogee snapshot list\` shows what has snapshots.`)
    const domain = await tree.domain(engine.reader(rootContext), inode.domain)
    if (domain?.root !== inode.ino) throw new Refusal('usage', `${path} is no subvolume: snapshots are taken of "/" or of a subvolume (\`ogee subvolume create\`).`)
    return { domain: inode.domain, root: inode.ino, path: path === '/' ? '/' : path.replace(/\/+$/, '') }
  }

  async function named(text: string): Promise<Domain & { readonly name: string }> {
    const parsed = parseNamed(text)
    if (parsed === undefined) throw new Refusal('usage', `${JSON.stringify(text)} is no name of a snapshot: write /@NAME for one of the whole tree, or /path@NAME for one of a subvolume; no "/" in NAME.`)
    return { ...await domainAt(parsed.path), name: bytesOf(parsed.name) }
  }

  const lineOf = ({ path }: Domain, name: string, epoch: number, takenSec: number): SnapshotLine =>
    ({ snapshot: `${path}@${textOf(name)}`, name: textOf(name), of: path, epoch, takenSec })

  return {
    async create(text) {
      const { name, ...at } = await named(text)
      try {
        const epoch = await snapshots.create(rootContext, at.domain, name)
        const taken = (await snapshots.list(rootContext, at.domain)).find((s) => s.epoch === epoch)
        return { snapshot: lineOf(at, name, epoch, taken?.takenSec ?? 0), touched: { parent: listNode(at.root), name } }
      } catch (e) {
        if (!(e instanceof PosixError)) throw e
        if (e.code === 'EEXIST') throw new Refusal('exists', `There is a snapshot ${text} already: choose another name, or remove it first (\`ogee snapshot rm\`).`)
        if (e.code === 'ENAMETOOLONG') throw new Refusal('usage', 'A snapshot\'s name has at most 255 bytes: choose a shorter one.')
        if (e.code === 'ENOSPC') throw new Refusal('full', 'The pool has too little space to keep what is being written apart from a snapshot: free some, or enlarge the pool (`ogee grow`).')
        throw e
      }
    },
    async list(of) {
      const at = await domainAt(of)
      return (await snapshots.list(rootContext, at.domain)).map((s) => lineOf(at, s.name, s.epoch, s.takenSec))
    },
    async remove(text) {
      const { name, ...at } = await named(text)
      try {
        await snapshots.remove(rootContext, at.domain, name)
      } catch (e) {
        if (!(e instanceof PosixError) || e.code !== 'ENOENT') throw e
        throw new Refusal('missing', `There is no snapshot ${text}: \`ogee snapshot list\` shows those that there are.`)
      }
      return { touched: { parent: listNode(at.root), name } }
    },
    settle: () => snapshots.settle()
  }
}
