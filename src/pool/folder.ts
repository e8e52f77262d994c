/**
 * The folder of a pool: made on first use, and told from a folder that holds something else.
 *   - A folder counts as a pool's once its superblock is there, which is written last. Until then POOL/making marks what a
 *     format has begun, and only under that mark are pool files without a superblock removed.
 *   - Nothing that is not ours is ever touched: a folder with other files is refused.
 */
import { mkdirSync, readdirSync, realpathSync, rmSync, statfsSync, statSync, writeFileSync, accessSync, constants } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { ERRNO, errnoOf } from '../sys/index.js'
import { LOCK_FILE } from './lock.js'
import { Refusal } from './refusal.js'
import { SUPERBLOCK_FILE, syncFolder } from './superblock.js'

export const SOCKET_FILE = 'control.sock'
export const DAEMON_LOG_FILE = 'daemon.log'
export const MARK_FILE = 'making'
/** Where the engine and the store keep their files. */
export const ENGINE_FOLDER = 'meta'
export const SPACE_FILE = 'space'

/** May lie in a folder that has no pool yet. */
const BEFORE_POOL = new Set([LOCK_FILE, SOCKET_FILE, DAEMON_LOG_FILE, MARK_FILE, `${SUPERBLOCK_FILE}.new`, 'lost+found'])
const MADE_BY_FORMAT = [ENGINE_FOLDER, `${ENGINE_FOLDER}.new`, 'log', SPACE_FILE, `${SUPERBLOCK_FILE}.new`]

export type FolderState = 'pool' | 'empty' | 'begun' | 'absent'

/** A sentence for an error of the file system under the pool. */
export function refusalOf(e: unknown, folder: string): unknown {
  if (e instanceof Refusal) return e
  if (!(e instanceof Error) || !('errno' in e || 'code' in e)) return e
  switch (errnoOf(e)) {
    case ERRNO.EROFS:
      return new Refusal('read-only', `Pool ${folder} lies on a file system that is mounted read-only: mount that read-write, or put the pool elsewhere.`)
    case ERRNO.ENOSPC:
    case ERRNO.EDQUOT:
      return new Refusal('full', `The disk under pool ${folder} is full: free some space there, or put the pool elsewhere.`)
    case ERRNO.EACCES:
    case ERRNO.EPERM:
      return new Refusal('denied', `No permission for pool ${folder}${ownerText(folder)}: become its owner, or use a folder of your own.`)
    case ERRNO.ENAMETOOLONG:
    case ERRNO.ELOOP:
      return new Refusal('usage', `The name ${folder.slice(0, 80)}${folder.length > 80 ? '...' : ''} is too long, or leads in circles: choose another one.`)
    case ERRNO.ENOTDIR:
      return new Refusal('not-a-pool', `${folder} is not a folder: name a folder for the pool.`)
    case ERRNO.EIO:
      return new Refusal('failed', `The disk under pool ${folder} gives input/output errors (${e.message}): look at the kernel's log (dmesg), and copy the pool to another disk.`)
    case ERRNO.EMFILE:
    case ERRNO.ENFILE:
      return new Refusal('failed', `Too many open files while opening pool ${folder}: raise the limit (ulimit -n).`)
    default:
      return e
  }
}

function ownerText(folder: string): string {
  try {
    const { uid } = statSync(folder)
    return uid === process.getuid?.() ? '' : ` (it belongs to user ${uid})`
  } catch {
    return ''
  }
}

/** The folder's true name; the last component may not exist yet, its parent must. */
export function resolvePool(path: string): string {
  const full = resolve(path)
  try {
    return realpathSync(full)
  } catch (e) {
    if (errnoOf(e) !== ERRNO.ENOENT) throw refusalOf(e, full)
  }
  try {
    return join(realpathSync(dirname(full)), basename(full))
  } catch (e) {
    if (errnoOf(e) === ERRNO.ENOENT) throw new Refusal('missing', `There is no folder ${dirname(full)}: make it first (mkdir -p ${dirname(full)}).`)
    throw refusalOf(e, full)
  }
}

/** What lies in the folder. Throws if it is something else than a pool, or not for us. */
export function inspectFolder(folder: string): FolderState {
  let names: string[]
  try {
    names = readdirSync(folder)
  } catch (e) {
    if (errnoOf(e) === ERRNO.ENOENT) return 'absent'
    throw refusalOf(e, folder)
  }
  if (names.includes(SUPERBLOCK_FILE)) return 'pool'
  if (names.includes(MARK_FILE)) return 'begun'
  if (names.includes(SPACE_FILE) && names.includes(ENGINE_FOLDER)) {
    throw new Refusal('half-made', `Pool ${folder} has lost its superblock: write it anew from its second copy with ogee fsck ${folder} --repair.`)
  }
  const strange = names.find((name) => !BEFORE_POOL.has(name))
  if (strange !== undefined) {
    throw new Refusal('not-a-pool', `${folder} holds something else (${strange}) and no pool: name an empty or a new folder.`)
  }
  return 'empty'
}

/** Makes the folder if it is absent (mode 0700), and checks that we may write there. */
export function makeFolder(folder: string): void {
  try {
    if (inspectFolder(folder) === 'absent') {
      try {
        mkdirSync(folder, { mode: 0o700 })
      } catch (e) {
        throw errnoOf(e) === ERRNO.ENOENT ? new Refusal('missing', `The folder ${folder} cannot be made there: put the pool elsewhere.`) : e
      }
      syncFolder(dirname(folder))
    }
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (e) {
    throw refusalOf(e, folder)
  }
}

/** Before anything else of a new pool is written: the mark, and away with what an interrupted format left. */
export function beginFormat(folder: string): void {
  if (inspectFolder(folder) === 'begun') for (const name of MADE_BY_FORMAT) rmSync(join(folder, name), { recursive: true, force: true })
  writeFileSync(join(folder, MARK_FILE), 'A pool is being made here; its superblock comes last.\n', { mode: 0o600 })
  syncFolder(folder)
}

/** After the superblock. */
export function endFormat(folder: string): void {
  rmSync(join(folder, MARK_FILE), { force: true })
  syncFolder(folder)
}

export interface HostSpace {
  readonly sizeBytes: number
  readonly freeBytes: number
}

/** What the file system under the pool has, as a program without privileges sees it. */
export function hostSpace(folder: string): HostSpace {
  const s = statfsSync(folder)
  return { sizeBytes: s.bsize * s.blocks, freeBytes: s.bsize * s.bavail }
}

/** Neither may lie in the other: a daemon that asks itself for its own files waits for ever. Both are real paths. */
export function checkApart(folder: string, dir: string): void {
  if (folder === dir) throw new Refusal('usage', `${dir} is the pool's folder itself: name another folder to mount it at.`)
  if (within(dir, folder)) throw new Refusal('usage', `${dir} lies inside pool ${folder}: mount it at a folder outside.`)
  if (within(folder, dir)) throw new Refusal('usage', `Pool ${folder} lies inside ${dir}, which the mount would hide: mount it elsewhere, or move the pool.`)
}

const within = (inner: string, outer: string): boolean => inner.startsWith(outer === '/' ? '/' : `${outer}/`)
