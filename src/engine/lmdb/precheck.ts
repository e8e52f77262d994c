/**
 * What must hold before LMDB is asked to open a folder. lmdb 3.5 crashes the process when its open fails (it closes the
 * environment twice), so that every reason that we can know of is looked at first, and told in a sentence:
 * meta pages that are none, a file shorter than its pages (a read beyond its end is a SIGBUS), rights, room, address space.
 *
 * A meta page: 18 flags u16 (8: meta)   24 magic u32   28 version u32   40 size of the map u64   144 last page u64   152 transaction u64
 * and of two trees (free pages at 48, tables at 96): 0 page size u32   4 flags u16   6 depth u16   8 pages u64 (inner, leaf, large)
 * 40 root u64
 */
import { accessSync, closeSync, constants, fstatSync, ftruncateSync, openSync, readFileSync, readSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { getU64, viewOf } from '../../sys/index.js'
import { EngineError } from '../errors.js'

const META_FLAG = 8
const META_MAGIC = 0xbeefc0de
const META_VERSION = 2 // of the LMDB inside lmdb 3
const META_BYTES = 160
const TREES_AT = [48, 96]
const DEPTH_MAX = 32
const NO_ROOT = 2 ** 64
/** A transaction may end with pages that it took and gave back: they are free and were never written. */
const FREE_PAGES_MAX = 256
const ROOM_BYTES = 1024 * 1024
const MAP_BYTES = 2 ** 40
const MAPS_MAX = 2 ** 44 // of earlier and later versions

const damaged = (what: string): EngineError => new EngineError('ENGINE_ROWS_DAMAGED', `${what}: run ogee fsck on the pool.`)

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
    const { missing, bytes } = checkMetaPages(fd, data)
    if (missing > FREE_PAGES_MAX) throw damaged(`${data} is shorter than the pages in it`)
    if (missing > 0 && purpose === 'write') ftruncateSync(fd, bytes) // so that a page which is missing after all is an error of LMDB's, not a SIGBUS
  } finally {
    closeSync(fd)
  }
}

/** Whether a tree of so many pages can be. */
function isTree(v: DataView, at: number, lastPage: number): boolean {
  const root = getU64(v, at + 40)
  const depth = v.getUint16(at + 6, true)
  const hasRoot = root < NO_ROOT
  return hasRoot === depth > 0 && depth <= DEPTH_MAX && (!hasRoot || (root >= 2 && root <= lastPage)) &&
    [8, 16, 24].every((pages) => getU64(v, at + pages) <= lastPage)
}

/** How many pages of the newest transaction lie behind the end of the file, and how long it would be with them. */
function checkMetaPages(fd: number, data: string): { readonly missing: number; readonly bytes: number } {
  const { size } = fstatSync(fd)
  const page = Buffer.alloc(META_BYTES)
  let at = 0
  let lastPage = 0
  let newest = -1
  let pageBytes = 0
  const flags: string[] = []
  for (let i = 0; i < 2; i++) {
    if (readSync(fd, page, 0, META_BYTES, at) !== META_BYTES) throw damaged(`${data} is too short`)
    const v = viewOf(page)
    if ((v.getUint16(18, true) & META_FLAG) === 0 || v.getUint32(24, true) !== META_MAGIC) throw damaged(`${data} is no LMDB file, or its first pages are damaged`)
    const version = v.getUint32(28, true)
    if (version !== META_VERSION) throw new EngineError('ENGINE_NEWER_FORMAT', `${data} has LMDB's format ${version}, this Ogee knows ${META_VERSION}: install the version that wrote it.`)
    pageBytes = v.getUint32(48, true)
    if (pageBytes < 512 || pageBytes > 65536) throw damaged(`${data} has a wrong page size`)
    const transaction = getU64(v, 152)
    if (getU64(v, 40) > MAPS_MAX || !TREES_AT.every((tree) => isTree(v, tree, getU64(v, 144)))) throw damaged(`A first page of ${data} says what cannot be`)
    flags.push(TREES_AT.map((tree) => v.getUint16(tree + 4, true)).join())
    if (transaction > newest) {
      newest = transaction
      lastPage = getU64(v, 144)
    }
    at = pageBytes
  }
  if (flags[0] !== flags[1]) throw damaged(`The first pages of ${data} contradict each other`)
  return { missing: Math.max(0, (lastPage + 1) - Math.floor(size / pageBytes)), bytes: (lastPage + 1) * pageBytes }
}
