/**
 * Walks the pages of LMDB's file by itself, before LMDB is asked to: LMDB trusts its pages, and follows one that leads nowhere into a
 * crash, past a row, or round in circles. What it finds wrong it names; a file with no finding LMDB can read.
 *   - A page is what its parent says: its own number, its kind, its depth; each page has one owner, or is free.
 *   - Nodes lie within their page and fill it without a gap; keys ascend, within the bounds that the parent gives.
 *   - A tree's row tells how many pages and entries it has. Values are not looked at: they carry checksums of their own (stored.ts).
 * Reads each page once, in the order of keys; holds a bit per page of the file and one page per level.
 *
 * A page: 0 number u64   8 transaction u64   16 pad u16   18 flags u16   20 lower u16, upper u16 (large values: pages u32)   24 nodes' places, u16 each
 * A node, at its place + 24: 0 page u48, or 0 bytes of the value u32, 4 flags u16 (1 large, 2 tree)   6 bytes of the key u16   8 key, value
 * A large value's node holds 0 page u64   8 transaction u64   16 pages u64.   A tree: 0 pad u32   4 flags u16   6 depth u16   8 inner, leaf,
 * large pages u64   32 entries u64   40 root u64.   Free pages: transaction u64 -> count u64, then pages; -n before a page: it and n - 1 more.
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { getU64, viewOf } from '../../sys/index.js'

const HEADER_BYTES = 24
const NODE_BYTES = 8
const INNER = 1
const LEAF = 2
const LARGE = 4
const NODE_LARGE = 1
const NODE_TREE = 2
const TREE_BYTES = 48
const LARGE_BYTES = 24
const DEPTH_MAX = 32
const FIRST_PAGE = 2
const NO_ROOT = 2 ** 64
const FINDINGS_MAX = 20

/** What a tree's row says. */
export interface TreeRow {
  readonly flags: number
  readonly depth: number
  readonly inner: number
  readonly leaves: number
  readonly large: number
  readonly entries: number
  /** At least NO_ROOT: an empty tree. */
  readonly root: number
}

export interface MetaPage {
  readonly pageBytes: number
  readonly transaction: number
  readonly lastPage: number
  readonly free: TreeRow
  readonly tables: TreeRow
}

export interface PageFindings {
  readonly pages: number
  /** Sentences' ends; the first few. */
  readonly wrong: readonly string[]
}

export function treeRow(v: DataView, at: number): TreeRow {
  return {
    flags: v.getUint16(at + 4, true), depth: v.getUint16(at + 6, true), inner: getU64(v, at + 8), leaves: getU64(v, at + 16),
    large: getU64(v, at + 24), entries: getU64(v, at + 32), root: getU64(v, at + 40)
  }
}

/** One of the two first pages. */
export function metaPage(page: Buffer): MetaPage {
  const v = viewOf(page)
  return { pageBytes: v.getUint32(48, true), transaction: getU64(v, 152), lastPage: getU64(v, 144), free: treeRow(v, 48), tables: treeRow(v, 96) }
}

class Wrong extends Error {}

/** A tree while it is walked. */
interface Walk {
  readonly name: string
  readonly isFree: boolean
  readonly isTables: boolean
  /** Of its first level's buffer: a table is walked while a page of the tables' tree is held. */
  readonly base: number
  inner: number
  leaves: number
  large: number
  entries: number
}

/** Bytes as they are, but for the free pages: their keys are numbers. */
const compare = (isNumber: boolean, a: Buffer, b: Buffer): number => isNumber ? Number(a.readBigUInt64LE() - b.readBigUInt64LE()) : Buffer.compare(a, b)

/** `meta` is the newest of the first pages; `levels` of each tree are looked at, all if not given. */
export function walkPages(path: string, meta: MetaPage, levels = DEPTH_MAX): PageFindings {
  const { pageBytes, lastPage } = meta
  const fd = openSync(path, 'r')
  const isWhole = levels >= DEPTH_MAX
  const inFile = Math.floor(fstatSync(fd).size / pageBytes)
  const owned = Buffer.alloc(isWhole ? Math.ceil((lastPage + 1) / 8) : 0)
  const buffers: Buffer[] = []
  const wrong: string[] = []
  let pages = 0

  const say = (what: string): void => void (wrong.length < FINDINGS_MAX && wrong.push(what))
  function checkRange(page: number, count: number, what: string): void {
    if (page < FIRST_PAGE || count < 1 || page + count - 1 > lastPage) throw new Wrong(`${what} leads to page ${page}, there are ${lastPage + 1}`)
  }
  /** The page is somebody's now. */
  function own(page: number, count: number, what: string): void {
    checkRange(page, count, what)
    for (let i = page; i < page + count && isWhole; i++) {
      if ((owned[i >> 3] & (1 << (i & 7))) !== 0) throw new Wrong(`${what} leads to page ${i}, which something else holds too`)
      owned[i >> 3] |= 1 << (i & 7)
    }
  }
  function readPage(page: number, into: Buffer, bytes: number, what: string): DataView {
    if (page >= inFile || readSync(fd, into, 0, bytes, page * pageBytes) !== bytes) throw new Wrong(`${what} leads to page ${page}, behind the end of the file`)
    pages++
    const v = viewOf(into)
    if (getU64(v, 0) !== page) throw new Wrong(`page ${page} of ${what} has another page's number`)
    return v
  }

  /** A value in pages of its own. */
  function large(walk: Walk, v: DataView, at: number, valueBytes: number): void {
    const page = getU64(v, at)
    const count = getU64(v, at + 16)
    const what = `a large value of ${walk.name}`
    if (count !== Math.floor((HEADER_BYTES - 1 + valueBytes) / pageBytes) + 1) throw new Wrong(`${what} has a wrong number of pages`)
    own(page, count, what)
    walk.large += count
    if (!isWhole) return
    const head = Buffer.allocUnsafe(HEADER_BYTES)
    const h = readPage(page, head, HEADER_BYTES, what)
    if (h.getUint16(18, true) !== LARGE || h.getUint32(20, true) !== count) throw new Wrong(`page ${page} is not the begin of ${what}`)
    if (page + count > inFile) throw new Wrong(`${what} goes on behind the end of the file`)
  }

  /** Pages that a transaction gave back. */
  function freePages(bytes: Buffer): void {
    const v = viewOf(bytes)
    const what = 'the list of free pages'
    const count = bytes.length < 8 ? -1 : getU64(v, 0)
    if (count < 0 || (count + 1) * 8 > bytes.length) throw new Wrong(`${what} has a row of a wrong length`)
    for (let i = 1; i <= count; i++) {
      const high = v.getInt32(i * 8 + 4, true)
      if (high < 0) own(getU64(v, (i + 1) * 8), -(high * 2 ** 32 + v.getUint32(i * 8, true)), what)
      else if (getU64(v, i * 8) !== 0) own(getU64(v, i * 8), 1, what)
      if (high < 0) i++
    }
  }
  /** The value of a node of the free pages, wherever it lies. */
  function freeValue(buffer: Buffer, at: number, isLarge: boolean, valueBytes: number): Buffer {
    if (!isLarge) return buffer.subarray(at, at + valueBytes)
    const value = Buffer.allocUnsafe(valueBytes)
    if (readSync(fd, value, 0, valueBytes, getU64(viewOf(buffer), at) * pageBytes + HEADER_BYTES) !== valueBytes) throw new Wrong('the list of free pages ends behind the file')
    return value
  }

  /** A subtree whose keys are at least `from` and less than `to`. */
  function subtree(walk: Walk, page: number, depth: number, left: number, from: Buffer | undefined, to: Buffer | undefined): void {
    own(page, 1, walk.name)
    const buffer = (buffers[walk.base + depth] ??= Buffer.allocUnsafe(pageBytes))
    const v = readPage(page, buffer, pageBytes, walk.name)
    const isLeaf = left === 1
    const here = `page ${page} of ${walk.name}`
    const lower = v.getUint16(20, true)
    const upper = v.getUint16(22, true)
    const room = pageBytes - HEADER_BYTES
    if (v.getUint16(18, true) !== (isLeaf ? LEAF : INNER)) throw new Wrong(`${here} is of a wrong kind`)
    if (lower % 2 !== 0 || lower < (isLeaf ? 2 : 4) || lower > upper || upper > room) throw new Wrong(`${here} has an impossible size`)
    let used = 0
    let last: Buffer | undefined
    const node = (i: number): { readonly at: number; readonly key: Buffer } => {
      const at = v.getUint16(HEADER_BYTES + 2 * i, true) + HEADER_BYTES
      if (at % 2 !== 0 || at < upper + HEADER_BYTES || at + NODE_BYTES > pageBytes) throw new Wrong(`${here} has a row at an impossible place`)
      const end = at + NODE_BYTES + v.getUint16(at + 6, true)
      if (end > pageBytes) throw new Wrong(`${here} has a row that goes on behind its end`)
      return { at, key: buffer.subarray(at + NODE_BYTES, end) }
    }
    const count = lower >> 1
    for (let i = 0; i < count; i++) {
      const { at, key } = node(i)
      const isOpen = !isLeaf && i === 0 // the first key of an inner page is never looked at
      if (!isOpen) {
        if (walk.isFree && key.length !== 8) throw new Wrong(`${here} has an impossible key`)
        if ((last !== undefined && compare(walk.isFree, last, key) >= 0) || (from !== undefined && compare(walk.isFree, from, key) > 0) ||
          (to !== undefined && compare(walk.isFree, key, to) >= 0)) throw new Wrong(`${here} has keys in a wrong order`)
        last = key
      }
      used += isLeaf ? leafNode(walk, v, buffer, at, key, here) : NODE_BYTES + key.length + (key.length & 1)
    }
    if (used !== room - upper) throw new Wrong(`${here} has rows that do not fill it`)
    if (isLeaf) {
      walk.leaves++
      walk.entries += count
      return
    }
    walk.inner++
    for (let i = 0; i < count; i++) {
      const { at, key } = node(i)
      const next = i + 1 < count ? node(i + 1).key : to
      const child = v.getUint32(at, true) + v.getUint16(at + 4, true) * 2 ** 32
      if (depth + 1 >= levels) checkRange(child, 1, here)
      else attempt(() => subtree(walk, child, depth + 1, left - 1, i === 0 ? from : key, next))
    }
  }

  /** A row of a leaf; answers how many bytes it takes. */
  function leafNode(walk: Walk, v: DataView, buffer: Buffer, at: number, key: Buffer, here: string): number {
    const valueBytes = v.getUint32(at, true)
    const flags = v.getUint16(at + 4, true)
    const isLarge = flags === NODE_LARGE
    const held = isLarge ? LARGE_BYTES : valueBytes
    const value = at + NODE_BYTES + key.length
    if (flags !== (walk.isTables ? NODE_TREE : isLarge ? NODE_LARGE : 0) || value + held > pageBytes) throw new Wrong(`${here} has a row that goes on behind its end, or is of a wrong kind`)
    if (walk.isTables && valueBytes !== TREE_BYTES) throw new Wrong(`${here} has a table of a wrong form`)
    attempt(() => {
      if (isLarge) large(walk, v, value, valueBytes)
      if (walk.isTables) tree(`table ${key.toString('latin1').replace(/\0$/, '')}`, treeRow(v, value), 'rows')
      else if (walk.isFree && isWhole) freePages(freeValue(buffer, value, isLarge, valueBytes))
    })
    const bytes = NODE_BYTES + key.length + held
    return bytes + (bytes & 1)
  }

  /** What is wrong below is told, and the walk goes on beside it. */
  function attempt(work: () => void): void {
    try {
      work()
    } catch (e) {
      if (!(e instanceof Wrong)) throw e
      say(e.message)
    }
  }

  function tree(name: string, row: TreeRow, kind: 'free' | 'tables' | 'rows'): void {
    const walk: Walk = { name, isFree: kind === 'free', isTables: kind === 'tables', base: kind === 'rows' ? DEPTH_MAX : 0, inner: 0, leaves: 0, large: 0, entries: 0 }
    const isEmpty = row.root >= NO_ROOT
    if (isEmpty !== (row.depth === 0) || row.depth > DEPTH_MAX) throw new Wrong(`${name} has an impossible depth`)
    const before = wrong.length
    if (!isEmpty) attempt(() => subtree(walk, row.root, 0, row.depth, undefined, undefined))
    const isCounted = isWhole && wrong.length === before
    if (isCounted && (walk.inner !== row.inner || walk.leaves !== row.leaves || walk.large !== row.large || walk.entries !== row.entries)) throw new Wrong(`${name} has other pages or rows than it says`)
  }

  try {
    attempt(() => tree('the free pages', meta.free, 'free'))
    attempt(() => tree('the table of tables', meta.tables, 'tables'))
    return { pages, wrong }
  } finally {
    closeSync(fd)
  }
}
