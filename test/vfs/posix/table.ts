/**
 * The words of the POSIX table: what a case may do, and as whom. A case is a title and a function; it runs in an empty folder
 * of its own (mode 0777, root's), on any driver: straight against the vfs, or in a folder of whatever file system.
 *   - `root`, `alice` and `bob` are users; alice is also in group TEAM. Paths are relative to the case's folder.
 *   - A call that fails throws an error whose `code` is the errno's name.
 */
import assert from 'node:assert/strict'

export interface User {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly groups: readonly number[]
}
export const TEAM = 61_000
export const ROOT: User = { name: 'root', uid: 0, gid: 0, groups: [] }
export const ALICE: User = { name: 'alice', uid: 61_001, gid: 61_001, groups: [61_001, TEAM] }
export const BOB: User = { name: 'bob', uid: 61_002, gid: 61_002, groups: [61_002] }
export const USERS: readonly User[] = [ROOT, ALICE, BOB]

export type FileType = 'file' | 'dir' | 'fifo' | 'char' | 'block' | 'socket' | 'link'
export const TYPE_BITS: Readonly<Record<FileType, number>> = {
  file: 0o100000, dir: 0o040000, fifo: 0o010000, char: 0o020000, block: 0o060000, socket: 0o140000, link: 0o120000,
}

/** Times in nanoseconds since 1970. `mode`: the permission bits, 07777. */
export interface Stat {
  readonly type: FileType
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly blocks: number
  readonly ino: number
  readonly major: number
  readonly minor: number
  readonly atime: bigint
  readonly mtime: bigint
  readonly ctime: bigint
}

export type Moment = 'now' | 'omit' | readonly [sec: number, nsec: number]

/** System calls by name, as one user. -1 as uid or gid: leave it. */
export interface Calls {
  umask(mask: number): Promise<void>
  open(path: string, flags: number, mode?: number): Promise<number>
  close(fd: number): Promise<void>
  pread(fd: number, length: number, offset: number): Promise<string>
  pwrite(fd: number, text: string, offset: number): Promise<number>
  write(fd: number, text: string): Promise<number>
  ftruncate(fd: number, size: number): Promise<void>
  fsync(fd: number): Promise<void>
  fstat(fd: number): Promise<Stat>
  fchmod(fd: number, mode: number): Promise<void>
  fchown(fd: number, uid: number, gid: number): Promise<void>
  fallocate(fd: number, mode: number, offset: number, length: number): Promise<void>
  lseek(fd: number, offset: number, whence: number): Promise<number>
  copyRange(from: number, fromOffset: number, to: number, toOffset: number, length: number): Promise<number>
  /** linkat(2) of an open file, as for O_TMPFILE. */
  linkOpen(fd: number, path: string): Promise<void>
  stat(path: string): Promise<Stat>
  lstat(path: string): Promise<Stat>
  access(path: string, mask: number): Promise<void>
  chmod(path: string, mode: number): Promise<void>
  chown(path: string, uid: number, gid: number): Promise<void>
  lchown(path: string, uid: number, gid: number): Promise<void>
  mkdir(path: string, mode: number): Promise<void>
  /** `mode` with type bits. */
  mknod(path: string, mode: number, major: number, minor: number): Promise<void>
  link(from: string, to: string): Promise<void>
  symlink(target: string, path: string): Promise<void>
  readlink(path: string): Promise<string>
  rename(from: string, to: string, flags?: number): Promise<void>
  unlink(path: string): Promise<void>
  rmdir(path: string): Promise<void>
  truncate(path: string, size: number): Promise<void>
  utimens(path: string, atime: Moment, mtime: Moment, follow: boolean): Promise<void>
  readdir(path: string): Promise<string[]>
  setxattr(path: string, name: string, value: string, flags: number): Promise<void>
  getxattr(path: string, name: string): Promise<string>
  listxattr(path: string): Promise<string[]>
  removexattr(path: string, name: string): Promise<void>
}
export type CallName = keyof Calls

/** Which arguments are paths (symlink's target is not). */
export const PATH_ARGUMENTS: Readonly<Partial<Record<CallName, readonly number[]>>> = {
  open: [0], linkOpen: [1], stat: [0], lstat: [0], access: [0], chmod: [0], chown: [0], lchown: [0], mkdir: [0], mknod: [0],
  link: [0, 1], symlink: [1], readlink: [0], rename: [0, 1], unlink: [0], rmdir: [0], truncate: [0], utimens: [0],
  readdir: [0], setxattr: [0], getxattr: [0], listxattr: [0], removexattr: [0],
}

/** What a file system is driven by. */
export interface Driver {
  call(user: User, name: CallName, args: readonly unknown[]): Promise<unknown>
  /** Waits until the file system's clock has moved. */
  tick(): Promise<void>
  close(): Promise<void>
}

export interface Bench {
  readonly root: Calls
  readonly alice: Calls
  readonly bob: Calls
  tick(): Promise<void>
}

export interface Case {
  readonly title: string
  run(t: Bench): Promise<void>
}

export const O_RDONLY = 0
export const O_WRONLY = 1
export const O_RDWR = 2
export const O_CREAT = 0o100
export const O_EXCL = 0o200
export const O_TRUNC = 0o1000
export const O_APPEND = 0o2000
export const RENAME_NOREPLACE = 1
export const RENAME_EXCHANGE = 2
export const KEEP_SIZE = 1
export const PUNCH_HOLE = 2
export const ZERO_RANGE = 16
export const SEEK_DATA = 3
export const SEEK_HOLE = 4
export const NAME_255 = 'n'.repeat(255)
export const NAME_256 = 'n'.repeat(256)

const CALL_NAMES: readonly CallName[] = [
  'umask', 'open', 'close', 'pread', 'pwrite', 'write', 'ftruncate', 'fsync', 'fstat', 'fchmod', 'fchown', 'fallocate', 'lseek',
  'copyRange', 'linkOpen', 'stat', 'lstat', 'access', 'chmod', 'chown', 'lchown', 'mkdir', 'mknod', 'link', 'symlink',
  'readlink', 'rename', 'unlink', 'rmdir', 'truncate', 'utimens', 'readdir', 'setxattr', 'getxattr', 'listxattr', 'removexattr',
]

/** The calls of one user in one folder. */
export function callsIn(driver: Driver, user: User, folder: string): Calls {
  const calls: Partial<Record<CallName, (...args: unknown[]) => Promise<unknown>>> = {}
  for (const name of CALL_NAMES) {
    const paths = PATH_ARGUMENTS[name] ?? []
    calls[name] = (...args) => driver.call(user, name, args.map((arg, i) => (paths.includes(i) ? `${folder}/${String(arg)}` : arg)))
  }
  return calls as unknown as Calls
}

export async function expectErrno(code: string, act: Promise<unknown>): Promise<void> {
  await assert.rejects(act, (e) => {
    assert.equal((e as { code?: string }).code, code)
    return true
  })
}

export async function makeFile(as: Calls, path: string, mode = 0o644, text = ''): Promise<void> {
  const fd = await as.open(path, O_CREAT | O_EXCL | O_WRONLY, mode)
  if (text !== '') await as.pwrite(fd, text, 0)
  await as.close(fd)
  await as.chmod(path, mode) // whatever the umask
}

/** Something of this type at this path. */
export async function makeNode(as: Calls, type: FileType, path: string, mode = 0o644): Promise<void> {
  if (type === 'file') return makeFile(as, path, mode)
  if (type === 'link') return as.symlink('nowhere', path)
  if (type === 'dir') await as.mkdir(path, mode)
  else await as.mknod(path, TYPE_BITS[type] | mode, type === 'char' || type === 'block' ? 7 : 0, type === 'char' || type === 'block' ? 11 : 0)
  await as.chmod(path, mode)
}

export async function removeNode(as: Calls, type: FileType, path: string): Promise<void> {
  if (type === 'dir') await as.rmdir(path)
  else await as.unlink(path)
}

export async function exists(as: Calls, path: string): Promise<boolean> {
  try {
    await as.lstat(path)
    return true
  } catch (e) {
    if ((e as { code?: string }).code === 'ENOENT') return false
    throw e
  }
}

export async function contentOf(as: Calls, path: string): Promise<string> {
  const fd = await as.open(path, O_RDONLY)
  const text = await as.pread(fd, 65_536, 0)
  await as.close(fd)
  return text
}
