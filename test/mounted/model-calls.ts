/**
 * Steps of the model (test/vfs/model.ts) as system calls on a mounted file system, several at once on threads of libuv's pool.
 *   - A step holds its nodes by descriptors that were opened before: what runs beside it may rename or remove them.
 */
import { fstatSync, lstatSync, readlinkSync } from 'node:fs'
import koffi from 'koffi'
import { errnoName } from '../../src/sys/index.js'
import { describeNode, digest } from '../vfs/model.js'
import type { Model, Step } from '../vfs/model.js'
import type { Outcome } from '../vfs/programs.js'

const O_RDWR = 2
const O_CREAT = 0o100
const O_EXCL = 0o200
const O_APPEND = 0o2000
const O_DIRECTORY = 0o200000
const O_NOFOLLOW = 0o400000
const O_PATH = 0o10000000
const AT_REMOVEDIR = 0x200
const AT_SYMLINK_FOLLOW = 0x400
const AT_FDCWD = -100
const PUNCH_KEEP = 3
const ZERO = 16

type Arg = number | string | Uint8Array | null
class CallError extends Error {}

const libc = koffi.load('libc.so.6')
type Call = (...args: Arg[]) => Promise<number>
function call(signature: string): Call {
  const fn = libc.func(signature) as unknown as { async(...args: [...Arg[], (e: Error | null, rc: number) => void]): void }
  return (...args) => new Promise((resolve, reject) => {
    fn.async(...args, (failed, rc) => {
      const errno = koffi.errno()
      if (failed !== null) reject(failed)
      else if (rc < 0) reject(new CallError(errnoName(errno)))
      else resolve(rc)
    })
  })
}

const openat = call('int openat(int dir, const char *path, int flags, uint32_t mode)')
const mkdirat = call('int mkdirat(int dir, const char *path, uint32_t mode)')
const symlinkat = call('int symlinkat(const char *target, int dir, const char *path)')
const linkat = call('int linkat(int from, const char *path, int to, const char *name, int flags)')
const unlinkat = call('int unlinkat(int dir, const char *path, int flags)')
const renameat2 = call('int renameat2(int from, const char *name, int to, const char *newName, uint32_t flags)')
const pread = call('int64_t pread(int fd, _Out_ uint8_t *buf, size_t n, int64_t at)')
const pwrite = call('int64_t pwrite(int fd, const uint8_t *buf, size_t n, int64_t at)')
const ftruncate = call('int ftruncate(int fd, int64_t size)')
const fallocate = call('int fallocate(int fd, int mode, int64_t at, int64_t n)')
const copyFileRange = call('int64_t copy_file_range(int from, int64_t *fromAt, int to, int64_t *toAt, size_t n, uint32_t flags)')
const fchmod = call('int fchmod(int fd, uint32_t mode)')
const fsetxattr = call('int fsetxattr(int fd, const char *name, const uint8_t *value, size_t n, int flags)')
const fgetxattr = call('int64_t fgetxattr(int fd, const char *name, _Out_ uint8_t *value, size_t n)')
const fsync = call('int fsync(int fd)')
const getdents64 = call('int64_t getdents64(int fd, _Out_ uint8_t *buf, size_t n)')
const close = call('int close(int fd)')

const inode = (path: string): number => lstatSync(path).ino

/** Descriptors for nodes of the model, by inode number. */
export interface Held {
  fd(ino: number): number
  close(): Promise<void>
}

/** Every node has a path while nothing runs. */
export function pathsOf(m: Model, top: string): Map<number, string> {
  const found = new Map<number, string>()
  const visit = (ino: number, path: string): void => {
    found.set(ino, path)
    for (const [name, child] of m.get(ino)?.entries ?? []) visit(child, `${path}/${name}`)
  }
  const [root] = m.keys()
  visit(root, top)
  return found
}

export async function hold(m: Model, top: string, inos: Iterable<number>): Promise<Held> {
  const paths = pathsOf(m, top)
  const fds = new Map<number, number>()
  for (const ino of new Set(inos)) {
    const kind = m.get(ino)?.kind
    const flags = kind === 'dir' ? O_DIRECTORY : kind === 'link' ? O_PATH | O_NOFOLLOW : O_RDWR
    fds.set(ino, await openat(AT_FDCWD, paths.get(ino) ?? '', flags, 0))
  }
  return {
    fd(ino) {
      const fd = fds.get(ino)
      if (fd === undefined) throw new Error(`inode ${ino} is not held`)
      return fd
    },
    async close() {
      for (const fd of fds.values()) await close(fd)
    }
  }
}

export async function doStep(held: Held, s: Step): Promise<Outcome> {
  try {
    const result = await act(held, s)
    return typeof result === 'number' ? { text: `ino ${result}`, given: result } : { text: result, given: 0 }
  } catch (e) {
    if (e instanceof CallError) return { text: e.message, given: 0 }
    if (e instanceof Error && 'code' in e) return { text: String(e.code), given: 0 }
    throw e
  }
}

async function whole(fd: number, lengthBytes: number, offsetBytes: number): Promise<Buffer> {
  const into = Buffer.alloc(lengthBytes)
  return into.subarray(0, lengthBytes === 0 ? 0 : await pread(fd, into, lengthBytes, offsetBytes))
}

/** A number: the inode that the answer names. */
async function act({ fd }: Held, s: Step): Promise<string | number> {
  switch (s.op) {
    case 'create': {
      const made = await openat(fd(s.parent), s.name, O_CREAT | O_RDWR | O_NOFOLLOW | (s.exclusive ? O_EXCL : 0), 0o644)
      const { ino } = fstatSync(made)
      await close(made)
      return ino
    }
    case 'mkdir': await mkdirat(fd(s.parent), s.name, 0o755); return inode(`/proc/self/fd/${fd(s.parent)}/${s.name}`)
    case 'symlink': await symlinkat(s.target, fd(s.parent), s.name); return inode(`/proc/self/fd/${fd(s.parent)}/${s.name}`)
    case 'link': await linkat(AT_FDCWD, `/proc/self/fd/${fd(s.node)}`, fd(s.parent), s.name, AT_SYMLINK_FOLLOW); return 'ok'
    case 'unlink': await unlinkat(fd(s.parent), s.name, 0); return 'ok'
    case 'rmdir': await unlinkat(fd(s.parent), s.name, AT_REMOVEDIR); return 'ok'
    case 'lookup': return inode(`/proc/self/fd/${fd(s.parent)}/${s.name}`)
    case 'rename': await renameat2(fd(s.parent), s.name, fd(s.newParent), s.newName, s.flags); return 'ok'
    case 'write': {
      const bytes = Buffer.alloc(s.length, s.fill)
      if (s.offset !== 'end') return `${await pwrite(fd(s.node), bytes, s.length, s.offset)} written`
      const appending = await openat(AT_FDCWD, `/proc/self/fd/${fd(s.node)}`, O_RDWR | O_APPEND, 0)
      return `${await pwrite(appending, bytes, s.length, 0).finally(() => close(appending))} written`
    }
    case 'truncate': await ftruncate(fd(s.node), s.size); return 'ok'
    case 'punch': await fallocate(fd(s.node), PUNCH_KEEP, s.offset, s.length); return 'ok'
    case 'zero': await fallocate(fd(s.node), ZERO, s.offset, s.length); return 'ok'
    case 'reserve': await fallocate(fd(s.node), 0, s.offset, s.length); return 'ok'
    case 'read': return digest(await whole(fd(s.node), s.length, s.offset))
    case 'copy': {
      const at = (value: number): BigInt64Array => BigInt64Array.of(BigInt(value))
      const bytes = (a: BigInt64Array): Uint8Array => new Uint8Array(a.buffer)
      return `${await copyFileRange(fd(s.node), bytes(at(s.from)), fd(s.to), bytes(at(s.at)), s.length, 0)} copied`
    }
    case 'chmod': await fchmod(fd(s.node), s.mode); return 'ok'
    case 'setxattr': await fsetxattr(fd(s.node), s.name, Buffer.from(s.value), s.value.length, 0); return 'ok'
    case 'list': return (await entriesOf(fd(s.node))).map(([name, ino]) => `${name}=${ino}`).sort().join(' ')
    case 'fsync': await fsync(fd(s.node)); return 'ok'
  }
}

/** Through a descriptor of its own: two listings at once would share a position. */
async function entriesOf(folder: number): Promise<[string, number][]> {
  const found: [string, number][] = []
  const buf = Buffer.alloc(4096)
  const fd = await openat(folder, '.', O_DIRECTORY, 0)
  try {
    for (let length = await getdents64(fd, buf, buf.length); length > 0; length = await getdents64(fd, buf, buf.length)) {
      for (let at = 0; at < length; at += buf.readUInt16LE(at + 16)) { // struct linux_dirent64: ino, off, reclen, type, name
        const name = buf.toString('latin1', at + 19, buf.indexOf(0, at + 19))
        if (name !== '.' && name !== '..') found.push([name, Number(buf.readBigUInt64LE(at))])
      }
    }
  } finally {
    await close(fd)
  }
  return found
}

/** The folder, described as shownModel does. */
export async function shownFolder(m: Model, top: string): Promise<string> {
  const paths = pathsOf(m, top)
  const held = await hold(m, top, m.keys())
  const texts: string[] = []
  try {
    for (const [ino, { kind }] of [...m].sort(([a], [b]) => a - b)) {
      const stat = lstatSync(paths.get(ino) ?? '')
      const fd = held.fd(ino)
      const bytes = kind === 'file' ? await whole(fd, stat.size + 1, 0) : Buffer.from(kind === 'link' ? readlinkSync(paths.get(ino) ?? '') : '')
      const xattrs: [string, string][] = []
      for (const name of kind === 'link' ? [] : ['user.x', 'user.y']) {
        const value = Buffer.alloc(64)
        const length = await fgetxattr(fd, name, value, value.length).catch((e: unknown) => {
          if (e instanceof CallError && e.message === 'ENODATA') return -1
          throw e
        })
        if (length >= 0) xattrs.push([name, value.toString('latin1', 0, length)])
      }
      const real = stat.isDirectory() ? 'dir' : stat.isSymbolicLink() ? 'link' : 'file'
      texts.push(describeNode(stat.ino, real, stat.nlink, stat.mode & 0o7777, bytes, kind === 'dir' ? await entriesOf(fd) : [], xattrs))
    }
  } finally {
    await held.close()
  }
  return texts.join('\n')
}
