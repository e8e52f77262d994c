/**
 * Two views of a domain side by side, as far as they differ: what diffs and images are made of.
 *   - Which inodes changed is found in history (meta: changedInodes); the folders above them, as the new view has them, lead to
 *     them. Only those folders are listed; whatever else lies in the tree is not looked at.
 *   - Without an old view everything is new.
 *   - The root of another domain is an empty folder, that never changes.
 *   - In memory: two bits for an inode number at most, and of each folder on the way to where one is, the names that matter.
 */
import { rootContext } from '../sys/index.js'
import type { Engine, Reader } from '../engine/index.js'
import { NOW } from '../data/index.js'
import type { Data, View } from '../data/index.js'
import { S_IFDIR, S_IFMT } from '../meta/index.js'
import type { DirectoryRow, Inode, Tree } from '../meta/index.js'
import { numberSet } from './number-set.js'

const LIST_ROWS = 512

/** A name in a folder that both views have, or one of them: what it leads to in the old view, and in the new. */
export interface Difference {
  readonly name: string
  readonly old: number | undefined
  readonly young: number | undefined
}

export interface Comparison {
  readonly old: View | undefined
  readonly young: View
  readonly root: number
  /** What a view shows: undefined if the inode is not there, or has no name. */
  at(ino: number, view: View): Promise<Inode | undefined>
  /** It, or something below it, changed. */
  matters(ino: number): boolean
  /** Its own value or entries changed. */
  isChanged(ino: number): boolean
  /** What of a folder matters, sorted by name. Either number may be absent: then all of the other one's entries. */
  differences(old: number | undefined, young: number | undefined): Promise<readonly Difference[]>
  /** A file with one name, which is known, or a folder, in both views: who lost its name in one place has it in another. */
  isMovable(old: Inode, young: Inode): boolean
  /** A byte string that begins with '/'; undefined if it has no path there. */
  pathAt(ino: number, view: View): Promise<string | undefined>
}

export interface ComparisonParts {
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
}

export const isFolder = (inode: Inode): boolean => (inode.mode & S_IFMT) === S_IFDIR
/** Bytewise, as the names lie in no other order. */
export const byName = (a: { readonly name: string }, b: { readonly name: string }): number => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)

export async function compareViews({ engine, tree }: ComparisonParts, of: { readonly domain: number; readonly root: number; readonly old: View | undefined; readonly young: View }): Promise<Comparison> {
  const { domain, root, old, young } = of
  const reader = engine.reader(rootContext)
  const changed = numberSet()
  const leads = numberSet()
  let everywhere = false // where a name is, nobody can tell: all folders are looked at
  const matters = (ino: number): boolean => everywhere || leads.has(ino) || changed.has(ino)

  async function at(ino: number, view: View): Promise<Inode | undefined> {
    const now = await tree.inode(reader, ino, NOW)
    if (now !== undefined && now.domain !== domain) return now.domain === now.ino ? { ...now, birth: 0, nlink: 2 } : undefined // another domain's root
    const inode = view === NOW ? now : await tree.inode(reader, ino, view)
    return inode === undefined || inode.nlink === 0 ? undefined : inode
  }

  /** A volume's inode, and the root's, lead nowhere. */
  async function leadUp(from: number): Promise<void> {
    for (let ino = from; ino !== root && !leads.has(ino);) {
      const inode = await at(ino, young)
      if (inode === undefined || inode.domain !== domain) return
      leads.add(ino)
      everywhere ||= inode.parent === 0 // the names that it has were not found yet when the view was taken: meta's visit.ts
      ino = inode.parent
    }
  }

  if (old !== undefined) {
    await eachChanged(tree, reader, Math.min(old, young), Math.max(old, young), (ino) => changed.add(ino), leadUp)
  }

  const foreign = async (ino: number): Promise<boolean> => {
    const now = await tree.inode(reader, ino, NOW)
    return now !== undefined && now.domain !== domain
  }

  return {
    old, young, root, at,
    matters,
    isChanged: (ino) => changed.has(ino),
    async differences(oldDir, youngDir) {
      const was = oldDir === undefined || old === undefined || await foreign(oldDir) ? undefined : entries(tree, reader, oldDir, old)
      const is = youngDir === undefined || await foreign(youngDir) ? undefined : entries(tree, reader, youngDir, young)
      const both = oldDir !== undefined && oldDir === youngDir && old !== undefined
      if (both && !changed.has(oldDir)) { // the same names
        const found: Difference[] = []
        for await (const { name, ino } of is ?? []) if (matters(ino)) found.push({ name, old: ino, young: ino })
        return found.sort(byName)
      }
      return merged(was, is, both ? matters : () => true)
    },
    isMovable: (a, b) => isFolder(a) || (a.nlink === 1 && b.nlink === 1 && a.parent !== 0 && b.parent !== 0),
    async pathAt(ino, view) {
      let path = ''
      for (let node = ino; node !== root;) {
        const home = await tree.home(reader, node, view)
        if (home === undefined) return undefined
        path = `/${home.name}${path}`
        node = home.parent
      }
      return path === '' ? '/' : path
    }
  }
}

async function eachChanged(tree: Tree, reader: Reader, older: View, younger: View, add: (ino: number) => void, leadUp: (ino: number) => Promise<void>): Promise<void> {
  for (let behind: string | undefined = ''; behind !== undefined;) {
    const page: Awaited<ReturnType<Tree['changedInodes']>> = await tree.changedInodes(reader, older, younger, behind)
    for (const ino of page.inodes) {
      add(ino)
      await leadUp(ino)
    }
    behind = page.behind
  }
}

async function* entries(tree: Tree, reader: Reader, dir: number, view: View): AsyncGenerator<DirectoryRow, undefined> {
  for (let high = 0, low = 0; ;) {
    const rows = await tree.list(reader, dir, view, high, low, LIST_ROWS)
    yield* rows
    if (rows.length < LIST_ROWS) return undefined
    high = rows[rows.length - 1].cookieHigh
    low = rows[rows.length - 1].cookieLow
  }
}

const isBefore = (a: DirectoryRow, b: DirectoryRow): boolean => a.cookieHigh < b.cookieHigh || (a.cookieHigh === b.cookieHigh && a.cookieLow < b.cookieLow)

/** Both listings lie in the order of places; what is at one place under one name in both is dropped at once unless `matters`. */
async function merged(was: AsyncGenerator<DirectoryRow, undefined> | undefined, is: AsyncGenerator<DirectoryRow, undefined> | undefined, matters: (ino: number) => boolean): Promise<readonly Difference[]> {
  const found = new Map<string, { name: string; old: number | undefined; young: number | undefined }>()
  const put = (side: 'old' | 'young', { name, ino }: DirectoryRow): void => {
    const entry = found.get(name) ?? { name, old: undefined, young: undefined }
    entry[side] = ino
    found.set(name, entry)
  }
  const take = async (from: AsyncGenerator<DirectoryRow, undefined> | undefined): Promise<DirectoryRow | undefined> => (await from?.next())?.value
  let a = await take(was)
  let b = await take(is)
  while (a !== undefined || b !== undefined) {
    if (b === undefined || (a !== undefined && isBefore(a, b))) {
      put('old', a!)
      a = await take(was)
    } else if (a === undefined || isBefore(b, a)) {
      put('young', b)
      b = await take(is)
    } else {
      if (a.name !== b.name || a.ino !== b.ino || matters(a.ino)) {
        put('old', a)
        put('young', b)
      }
      a = await take(was)
      b = await take(is)
    }
  }
  return [...found.values()].filter((d) => d.old !== d.young || matters(d.young!)).sort(byName)
}

