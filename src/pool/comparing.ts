/** What changed between two snapshots, or since one, as commands ask it: `/path@NAME`, `VOLUME@NAME`, or without `@NAME` as it is now. */
import { NOW } from '../data/index.js'
import type { Data, View } from '../data/index.js'
import type { Engine } from '../engine/index.js'
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK } from '../meta/index.js'
import type { Tree } from '../meta/index.js'
import { bytesOf, diffTree, parseNamed, textOf } from '../snapshot/index.js'
import type { Aspect, Snapshots } from '../snapshot/index.js'
import { rootContext } from '../sys/index.js'
import { poolNames } from './names.js'
import type { Domain } from './names.js'
import { Refusal, saying } from './refusal.js'

export type DiffLine =
  | { readonly change: 'added' | 'removed', readonly path: string, readonly type: FileType }
  | { readonly change: 'renamed', readonly path: string, readonly type: FileType, readonly from: string, readonly what: readonly Aspect[] }
  | { readonly change: 'modified', readonly path: string, readonly type: FileType, readonly what: readonly Aspect[] }
  | { readonly change: 'resized', readonly fromBytes: number, readonly toBytes: number }
  | { readonly change: 'range', readonly offsetBytes: number, readonly lengthBytes: number }
export type FileType = 'file' | 'folder' | 'symlink' | 'fifo' | 'socket' | 'character device' | 'block device'

export interface PoolDiffs {
  /** Tells what the second has that the first has not, and so on; waits where `tell` does. */
  diff(a: string, b: string, tell: (line: DiffLine) => Promise<void> | void): Promise<void>
}

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly snapshots: Snapshots
}

/** A domain, now or as a snapshot shows it. */
export interface Seen extends Domain {
  readonly view: View
  /** Bytes; undefined: now. */
  readonly snapshot: string | undefined
}

const TYPES: Readonly<Record<number, FileType>> = { [S_IFDIR]: 'folder', [S_IFLNK]: 'symlink', [S_IFIFO]: 'fifo', [S_IFSOCK]: 'socket', [S_IFCHR]: 'character device', [S_IFBLK]: 'block device' }
const typeOf = (mode: number): FileType => TYPES[mode & S_IFMT] ?? 'file'

export function seenDomains(parts: { readonly engine: Engine, readonly tree: Tree }): { of(text: string): Promise<Seen>, stillThere(seen: Seen): Promise<void> } {
  const { engine, tree } = parts
  const names = poolNames(parts)
  return {
    async of(text) {
      const parsed = parseNamed(text)
      if (parsed === undefined) return { ...await names.domainAt(text), view: NOW, snapshot: undefined }
      const at = await names.domainAt(parsed.path)
      const name = bytesOf(parsed.name)
      const found = await tree.snapshotNamed(engine.reader(rootContext), at.domain, name)
      if (found === undefined) throw new Refusal('missing', `There is no snapshot ${text}: \`ogee snapshot list\` shows those that there are.`)
      return { ...at, view: found.epoch, snapshot: name }
    },
    /** Whoever read it until now read nothing wrong. */
    async stillThere({ domain, view, snapshot, path }) {
      if (snapshot === undefined) return
      const found = await tree.snapshotNamed(engine.reader(rootContext), domain, snapshot)
      if (found?.epoch !== view) throw new Refusal('missing', `Snapshot ${path}@${textOf(snapshot)} was removed while it was being read: what was told of it counts for nothing.`)
    }
  }
}

/** What a rollback took out of a tree is not taken for files that were moved. */
export const replacedGone = (snapshots: Snapshots, { domain, path }: Domain): Promise<void> => saying({
  EBUSY: () => new Refusal('in-use', `What a rollback of ${path} replaced is still being removed: try again when that is done.`)
}, () => snapshots.replacedGone(rootContext, domain))

export function poolDiffs(parts: Parts): PoolDiffs {
  const domains = seenDomains(parts)
  return {
    async diff(one, other, tell) {
      const a = await domains.of(one)
      const b = await domains.of(other)
      if (a.domain !== b.domain) throw new Refusal('usage', `${one} and ${other} are not of one tree, subvolume or volume: compare two snapshots of one, or one with what it is now.`)
      const of = { domain: a.domain, root: a.root, old: a.view, young: b.view }
      if (a.view !== b.view) {
        if (a.view === NOW || b.view === NOW) await replacedGone(parts.snapshots, a)
        if (a.path.startsWith('/')) await diffTree(parts, of, (c) => tell({
          change: c.change, path: textOf(c.path), type: typeOf(c.mode),
          ...(c.from === undefined ? {} : { from: textOf(c.from) }), ...(c.aspects === undefined ? {} : { what: c.aspects })
        } as DiffLine))
        else await diffVolume(parts, of, tell)
      }
      await domains.stillThere(a)
      await domains.stillThere(b)
    }
  }
}

async function diffVolume({ engine, tree, data }: Parts, { root, old, young }: { readonly root: number, readonly old: View, readonly young: View }, tell: (line: DiffLine) => Promise<void> | void): Promise<void> {
  const reader = engine.reader(rootContext)
  const was = await tree.inode(reader, root, old)
  const is = await tree.inode(reader, root, young)
  if (was === undefined || is === undefined) return
  if (was.sizeBytes !== is.sizeBytes) await tell({ change: 'resized', fromBytes: was.sizeBytes, toBytes: is.sizeBytes })
  for (const range of await data.changes(rootContext, root, old, young)) await tell({ change: 'range', ...range })
}
