/**
 * What must hold before LMDB is asked to open a folder. lmdb 3.5 crashes the process when its open fails (it closes the
 * environment twice), so that every reason that we can know of is looked at first, and told in a sentence:
 * meta pages that are none, a file shorter than its pages (a read beyond its end is a SIGBUS), rights, room, address space, descriptors.
 *
 * A meta page: 0 number u64   18 flags u16 (8: meta)   24 magic u32   28 version u32   40 size of the map u64   144 last page u64
 * 152 transaction u64, and of two trees (free pages at 48, tables at 96) a row as in pages.ts, with the page size instead of its pad
 */
import { accessSync, closeSync, constants, existsSync, fstatSync, ftruncateSync, openSync, readFileSync, readSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { getU64, viewOf } from '../../sys/index.js'
import { EngineError } from '../errors.js'
import { metaPage, walkPages } from './pages.js'
import type { MetaPage, TreeRow } from './pages.js'

const META_FLAG = 8
const META_MAGIC = 0xbeefc0de
const META_VERSION = 2 // of the LMDB inside lmdb 3
const META_BYTES = 160
const DEPTH_MAX = 32
const PAGE_BYTES_MAX = 65_536
const PAGE_SIZES = [4096, 8192, 16_384, 32_768, 65_536]
const NO_ROOT = 2 ** 64
/** A transaction may end with pages that it took and gave back: they are free and were never written. */
const FREE_PAGES_MAX = 256
const ROOM_BYTES = 1024 * 1024
/** LMDB opens its data twice and its lock file; the rest is for what threads of libuv open meanwhile. */
const DESCRIPTORS = 16
const MAP_BYTES = 2 ** 40
const MAPS_MAX = 2 ** 44 // of earlier and later versions

const ADVICE = ': run ogee fsck on the pool.'
const damaged = (what: string): EngineError => new EngineError('ENGINE_ROWS_DAMAGED', what + ADVICE)

/** 1 TiB, or a quarter of the address space that this process may use. */
export function mapBytes(limits: string = readFileSync('/proc/self/limits', 'latin1')): number {
  const limit = /^Max address space +(\d+)/m.exec(limits)
  const quarter = limit === null ? Infinity : Number(limit[1]) / 4
  const bytes = Math.min(MAP_BYTES, quarter)
  return bytes - (bytes % 65536) // whole pages of any size
}

/** `path` is LMDB's folder; its data file exists already unless `making`. */
export function precheck(path: string, purpose: 'make' | 'read' | 'write'): void {
  if (purpose !== 'read') {
    const { bavail, bsize } = statfsSync(path)
    if (bavail * bsize < ROOM_BYTES) throw new EngineError('ENGINE_IO', `The disk that holds ${path} is full: free some space on it.`)
  }
  demandDescriptors(path)
  const data = join(path, 'data.mdb')
  try {
    accessSync(path, purpose === 'read' ? constants.R_OK : constants.R_OK | constants.W_OK)
    if (purpose !== 'make') accessSync(data, purpose === 'read' ? constants.R_OK : constants.R_OK | constants.W_OK)
  } catch (e) {
    if (e instanceof Error && 'code' in e && e.code === 'ENOENT') throw new EngineError('ENGINE_ROWS_MISSING', `${data} is missing: restore it from a backup.`, e)
    throw new EngineError('ENGINE_IO', `${path} cannot be opened: check its owner and mode, and that the disk is not read-only.`, e)
  }
  if (purpose === 'make') return
  const fd = openSync(data, purpose === 'write' ? 'r+' : 'r')
  try {
    const meta = looked(fd, data)
    if (missingPages(fd, meta) > 0 && purpose === 'write') ftruncateSync(fd, (meta.lastPage + 1) * meta.pageBytes) // so that a page which is missing after all is an error of LMDB's, not a SIGBUS
  } finally {
    closeSync(fd)
  }
}

function demandDescriptors(path: string): void {
  const taken: number[] = []
  try {
    while (taken.length < DESCRIPTORS) taken.push(openSync('/dev/null', 'r'))
  } catch (e) {
    throw new EngineError('ENGINE_IO', `Too many files are open to open ${path}: raise the limit (ulimit -n).`, e)
  } finally {
    for (const fd of taken) closeSync(fd)
  }
}

/** Whether a tree of so many pages can be. */
const isTree = (tree: TreeRow, lastPage: number): boolean => {
  const hasRoot = tree.root < NO_ROOT
  return hasRoot === tree.depth > 0 && tree.depth <= DEPTH_MAX && (!hasRoot || (tree.root >= 2 && tree.root <= lastPage)) &&
    tree.inner <= lastPage && tree.leaves <= lastPage && tree.large <= lastPage
}

/** The newest of the two first pages. LMDB writes them in turn: that of an even transaction first, the other one second. */
function newestMeta(fd: number, data: string): MetaPage {
  const metas: MetaPage[] = []
  const page = Buffer.alloc(META_BYTES)
  for (let i = 0; i < 2; i++) {
    if (readSync(fd, page, 0, META_BYTES, i === 0 ? 0 : metas[0].pageBytes) !== META_BYTES) throw damaged(`${data} is too short`)
    const v = viewOf(page)
    if (getU64(v, 0) !== i || (v.getUint16(18, true) & META_FLAG) === 0 || v.getUint32(24, true) !== META_MAGIC) throw damaged(`${data} is no LMDB file, or its first pages are damaged`)
    const version = v.getUint32(28, true)
    if (version !== META_VERSION) throw new EngineError('ENGINE_NEWER_FORMAT', `${data} has LMDB's format ${version}, this Ogee knows ${META_VERSION}: install the version that wrote it.`)
    const meta = metaPage(page)
    if (!PAGE_SIZES.includes(meta.pageBytes)) throw damaged(`${data} has a wrong page size`)
    if (getU64(v, 40) > MAPS_MAX || !isTree(meta.free, meta.lastPage) || !isTree(meta.tables, meta.lastPage)) throw damaged(`A first page of ${data} says what cannot be`)
    metas.push(meta)
  }
  const [even, odd] = metas
  const [old, newest] = even.transaction > odd.transaction ? [odd, even] : [even, odd]
  const isInTurn = newest.transaction === 0 || (newest.transaction === old.transaction + 1 && even.transaction % 2 === 0)
  const isAlike = even.pageBytes === odd.pageBytes && even.free.flags === odd.free.flags && even.tables.flags === odd.tables.flags
  if (!isInTurn || !isAlike || old.lastPage > newest.lastPage) throw damaged(`The first pages of ${data} contradict each other`)
  if (missingPages(fd, newest) > FREE_PAGES_MAX) throw damaged(`${data} is shorter than the pages in it`)
  return newest
}

/** Those behind the file's end. */
const missingPages = (fd: number, { lastPage, pageBytes }: MetaPage): number => Math.max(0, lastPage + 1 - Math.floor(fstatSync(fd).size / pageBytes))

/** The root of each tree: without it an opening would end the process. */
const LEVELS_LOOKED_AT = 1
/** A writer may go on while we look: then we look again. */
const LOOKS_MAX = 5

/** What the file's own first pages say, once the pages that they lead to are what they should be. */
function looked(fd: number, data: string): MetaPage {
  for (let look = 1; ; look++) {
    const before = firstPages(fd)
    try {
      const meta = newestMeta(fd, data)
      const [wrong] = walkPages(data, meta, LEVELS_LOOKED_AT).wrong
      if (wrong !== undefined) throw damaged(`${data} is damaged (${wrong})`)
      return meta
    } catch (e) {
      if (look === LOOKS_MAX || before.equals(firstPages(fd))) throw e
    }
  }
}

/**
 * Walks every page of the folder's LMDB file (pages.ts), before LMDB is asked to, and says what is wrong: the first few. Of a file
 * that is written meanwhile it says nothing: pages of an old state are used again.
 */
export function inspectPages(folder: string): readonly string[] {
  const data = join(folder, 'meta', 'data.mdb')
  if (!existsSync(data)) return [] // an opening tells
  const fd = openSync(data, 'r')
  try {
    for (let look = 0; look < LOOKS_MAX; look++) {
      const before = firstPages(fd)
      const wrong = walked(fd, data)
      if (wrong.length === 0 || before.equals(firstPages(fd))) return wrong
    }
    return []
  } finally {
    closeSync(fd)
  }
}

function walked(fd: number, data: string): readonly string[] {
  try {
    return walkPages(data, newestMeta(fd, data)).wrong
  } catch (e) {
    if (e instanceof EngineError) return [e.message.replace(ADVICE, '')]
    throw e
  }
}

/** As they are now, to see later whether somebody writes. */
function firstPages(fd: number): Buffer {
  const bytes = Buffer.alloc(2 * PAGE_BYTES_MAX)
  return bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0))
}
