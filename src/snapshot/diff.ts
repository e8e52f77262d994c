/**
 * What changed between two views of a domain, told path by path, or by ranges of a volume.
 *   - Paths come in the order of their names, folder by folder; what was removed under a name comes before what is new there. What was
 *     removed from a folder that was renamed has the path that it had, and comes where the folder is now.
 *   - A file with one name, or a folder, that is elsewhere now was renamed; names of a file that has several come and go as added and
 *     removed, and what changed in the file itself is told once, under one of them.
 *   - Bytes count as modified if something was written there since, though it may say the same.
 * Costs what comparison.ts says: 2 us for each inode in history, 2 us for each entry of the folders on the way to what changed.
 */
import { rootContext } from '../sys/index.js'
import { S_IFMT, S_IFREG } from '../meta/index.js'
import type { Inode } from '../meta/index.js'
import { compareViews, isFolder } from './comparison.js'
import type { Comparison, ComparisonParts } from './comparison.js'
import type { View } from '../data/index.js'
import { numberSet } from './number-set.js'

export type Aspect = 'content' | 'mode' | 'owner' | 'flags' | 'times' | 'xattrs'

/** Says of what an imported snapshot is the image (exporting.ts): no part of what it shows. */
export const ORIGIN_XATTR = 'trusted.ogee.origin'
/** Says, while an image is put into it, that not all of that is there. */
export const IMPORTING_XATTR = 'trusted.ogee.importing'
export const isOurs = (xattr: string): boolean => xattr === ORIGIN_XATTR || xattr === IMPORTING_XATTR

export interface PathChange {
  readonly change: 'added' | 'removed' | 'renamed' | 'modified'
  /** Byte strings that begin with '/': below the domain's root. */
  readonly path: string
  /** renamed: where it was. */
  readonly from?: string
  readonly mode: number
  /** renamed, modified: what of it. */
  readonly aspects?: readonly Aspect[]
}

/** By hand, for the text and for JSON. */
export type Tell = (change: PathChange) => Promise<void> | void

export interface DiffOf {
  readonly domain: number
  readonly root: number
  readonly old: View
  readonly young: View
}

export async function diffTree(parts: ComparisonParts, of: DiffOf, tell: Tell): Promise<void> {
  const c = await compareViews(parts, of)
  const { old, young } = of
  const told = numberSet()

  /** What of an inode is different, if it changed and was not told yet. */
  const aspectsOf = async (was: Inode, is: Inode): Promise<readonly Aspect[]> => {
    if (!c.isChanged(is.ino) || told.has(is.ino)) return []
    told.add(is.ino)
    return aspects(parts, c, was, is)
  }

  async function walk(dir: number, oldPath: string, path: string): Promise<void> {
    for (const { name, old: a, young: b } of await c.differences(dir, dir)) {
      const at = `${path}/${name}`
      if (a !== undefined && a === b) await same(a, `${oldPath}/${name}`, at)
      else {
        if (a !== undefined) await removed(a, `${oldPath}/${name}`)
        if (b !== undefined) await added(b, at)
      }
    }
  }

  async function same(ino: number, oldPath: string, path: string): Promise<void> {
    const was = await c.at(ino, old)
    const is = await c.at(ino, young)
    if (was === undefined || is === undefined || is.domain !== of.domain) return
    const differs = await aspectsOf(was, is)
    if (differs.length > 0) await tell({ change: 'modified', path, mode: is.mode, aspects: differs })
    if (isFolder(is)) await walk(ino, oldPath, path)
  }

  async function removed(ino: number, path: string): Promise<void> {
    const was = await c.at(ino, old)
    if (was === undefined) return
    const is = await c.at(ino, young)
    if (is !== undefined && c.isMovable(was, is) && is.domain === of.domain) return // told where it is now
    await tell({ change: 'removed', path, mode: was.mode })
    if (isFolder(was) && was.domain === of.domain) for (const { name, old: below } of await c.differences(ino, undefined)) await removed(below!, `${path}/${name}`)
  }

  async function added(ino: number, path: string): Promise<void> {
    const is = await c.at(ino, young)
    if (is === undefined) return
    const was = is.domain === of.domain ? await c.at(ino, old) : undefined
    if (was === undefined) {
      await tell({ change: 'added', path, mode: is.mode })
      if (isFolder(is) && is.domain === of.domain) for (const { name, young: below } of await c.differences(undefined, ino)) await added(below!, `${path}/${name}`)
      return
    }
    const differs = await aspectsOf(was, is)
    const from = c.isMovable(was, is) ? await c.pathAt(ino, old) : undefined
    if (from !== undefined) await tell({ change: 'renamed', path, from, mode: is.mode, aspects: differs })
    else {
      await tell({ change: 'added', path, mode: is.mode })
      if (differs.length > 0) await tell({ change: 'modified', path, mode: is.mode, aspects: differs })
    }
    if (isFolder(is)) await walk(ino, from ?? '', path)
  }

  const was = await c.at(of.root, old)
  const is = await c.at(of.root, young)
  if (was !== undefined && is !== undefined) {
    const differs = await aspectsOf(was, is)
    if (differs.length > 0) await tell({ change: 'modified', path: '/', mode: is.mode, aspects: differs })
  }
  await walk(of.root, '', '')
}

/** A folder's times go with its entries, a file's with its bytes: they are told where nothing else says so. */
async function aspects(parts: ComparisonParts, c: Comparison, was: Inode, is: Inode): Promise<Aspect[]> {
  const out: Aspect[] = []
  const isRegular = (is.mode & S_IFMT) === S_IFREG
  if (isRegular && (was.sizeBytes !== is.sizeBytes || (await parts.data.changes(rootContext, is.ino, c.old!, c.young)).length > 0)) out.push('content')
  if (was.mode !== is.mode) out.push('mode')
  if (was.uid !== is.uid || was.gid !== is.gid) out.push('owner')
  if (was.flags !== is.flags) out.push('flags')
  if (!isFolder(is) && !out.includes('content') && (was.mtimeSec !== is.mtimeSec || was.mtimeNsec !== is.mtimeNsec)) out.push('times')
  if (await xattrsDiffer(parts, c, is.ino)) out.push('xattrs')
  return out
}

export async function xattrsAt({ engine, tree }: ComparisonParts, ino: number, view: View): Promise<ReadonlyMap<string, Uint8Array>> {
  const reader = engine.reader(rootContext)
  const found = new Map<string, Uint8Array>()
  for (const name of await tree.listxattr(reader, ino, view)) {
    const value = await tree.getxattr(reader, ino, name, view)
    if (value !== undefined && !isOurs(name)) found.set(name, value)
  }
  return found
}

async function xattrsDiffer(parts: ComparisonParts, c: Comparison, ino: number): Promise<boolean> {
  const was = await xattrsAt(parts, ino, c.old!)
  const is = await xattrsAt(parts, ino, c.young)
  return was.size !== is.size || [...is].some(([name, value]) => Buffer.compare(value, was.get(name) ?? Buffer.of()) !== 0 || !was.has(name))
}
