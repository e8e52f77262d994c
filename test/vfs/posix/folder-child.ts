/**
 * One user at work in a folder: a process that takes calls as lines of JSON and answers each with a line. It becomes the user
 * after everything is loaded. System calls go straight to libc, because node:fs knows neither mknod nor renameat2, and
 * rounds times.
 */
import { fstatSync, lstatSync, readdirSync, statSync } from 'node:fs'
import type { BigIntStats } from 'node:fs'
import { createInterface } from 'node:readline'
import { getSystemErrorName } from 'node:util'
import koffi from 'koffi'
import type { FileType, Moment, Stat, User } from './table.js'
import { TYPE_BITS } from './table.js'

const libc = koffi.load('libc.so.6')
type Native = (...args: (number | string | Uint8Array | null)[]) => number
const native = (signature: string): Native => {
  const fn = libc.func(signature) as Native
  return (...args) => {
    const rc = fn(...args)
    if (rc < 0) throw new Errno(koffi.errno())
    return rc
  }
}
class Errno extends Error {
  readonly code: string
  constructor(errno: number) {
    super(getSystemErrorName(-errno))
    this.code = this.message === 'ENOTSUP' ? 'EOPNOTSUPP' : this.message
  }
}

const c = {
  open: native('int open(const char *path, int flags, uint32_t mode)'),
  close: native('int close(int fd)'),
  pread: native('int64_t pread(int fd, _Out_ uint8_t *buf, size_t n, int64_t off)'),
  pwrite: native('int64_t pwrite(int fd, const uint8_t *buf, size_t n, int64_t off)'),
  write: native('int64_t write(int fd, const uint8_t *buf, size_t n)'),
  ftruncate: native('int ftruncate(int fd, int64_t size)'),
  fsync: native('int fsync(int fd)'),
  fchmod: native('int fchmod(int fd, uint32_t mode)'),
  fchown: native('int fchown(int fd, uint32_t uid, uint32_t gid)'),
  fallocate: native('int fallocate(int fd, int mode, int64_t off, int64_t len)'),
  lseek: native('int64_t lseek(int fd, int64_t off, int whence)'),
  copyFileRange: native('int64_t copy_file_range(int from, int64_t *fromOff, int to, int64_t *toOff, size_t n, uint32_t flags)'),
  linkat: native('int linkat(int fromDir, const char *from, int toDir, const char *to, int flags)'),
  access: native('int access(const char *path, int mask)'),
  chmod: native('int chmod(const char *path, uint32_t mode)'),
  chown: native('int chown(const char *path, uint32_t uid, uint32_t gid)'),
  lchown: native('int lchown(const char *path, uint32_t uid, uint32_t gid)'),
  mkdir: native('int mkdir(const char *path, uint32_t mode)'),
  mknod: native('int mknod(const char *path, uint32_t mode, uint64_t dev)'),
  symlink: native('int symlink(const char *target, const char *path)'),
  readlink: native('int64_t readlink(const char *path, _Out_ uint8_t *buf, size_t n)'),
  renameat2: native('int renameat2(int fromDir, const char *from, int toDir, const char *to, uint32_t flags)'),
  unlink: native('int unlink(const char *path)'),
  rmdir: native('int rmdir(const char *path)'),
  truncate: native('int truncate(const char *path, int64_t size)'),
  utimensat: native('int utimensat(int dir, const char *path, const uint8_t *times, int flags)'),
  setxattr: native('int setxattr(const char *path, const char *name, const uint8_t *value, size_t n, int flags)'),
  getxattr: native('int64_t getxattr(const char *path, const char *name, _Out_ uint8_t *value, size_t n)'),
  listxattr: native('int64_t listxattr(const char *path, _Out_ uint8_t *names, size_t n)'),
  removexattr: native('int removexattr(const char *path, const char *name)'),
}
const AT_FDCWD = -100
const AT_SYMLINK_NOFOLLOW = 0x100
const AT_SYMLINK_FOLLOW = 0x400
const UTIME_NOW = 0x3fffffff
const UTIME_OMIT = 0x3ffffffe

const typeOf = (mode: number): FileType =>
  (Object.keys(TYPE_BITS) as FileType[]).find((type) => TYPE_BITS[type] === (mode & 0o170000)) ?? 'file'

const shown = (s: BigIntStats): Omit<Stat, 'atime' | 'mtime' | 'ctime'> & Record<'atime' | 'mtime' | 'ctime', string> => {
  const dev = Number(s.rdev)
  return {
    type: typeOf(Number(s.mode)), mode: Number(s.mode) & 0o7777, nlink: Number(s.nlink), uid: Number(s.uid), gid: Number(s.gid),
    size: Number(s.size), blocks: Number(s.blocks), ino: Number(s.ino), major: (dev >> 8) & 0xfff, minor: dev & 0xff,
    atime: String(s.atimeNs), mtime: String(s.mtimeNs), ctime: String(s.ctimeNs),
  }
}

function timesOf(moments: readonly Moment[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(32))
  moments.forEach((m, i) => {
    const [sec, nsec] = m === 'now' ? [0, UTIME_NOW] : m === 'omit' ? [0, UTIME_OMIT] : m
    bytes.setBigInt64(i * 16, BigInt(sec), true)
    bytes.setBigInt64(i * 16 + 8, BigInt(nsec), true)
  })
  return new Uint8Array(bytes.buffer)
}

const offsetCell = (offset: number): Uint8Array => new Uint8Array(new BigInt64Array([BigInt(offset)]).buffer)
const bytesOf = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const id = (n: number): number => (n === -1 ? 0xffffffff : n)
const taken = (fill: (buf: Uint8Array) => number, size = 65_536): string => {
  const buf = Buffer.alloc(size)
  return buf.latin1Slice(0, fill(buf))
}

// The arguments are as table.ts declares them; JSON has checked nothing, the table's types have.
type Args = [never, never, never, never, never]
const calls: Record<string, (...a: Args) => unknown> = {
  umask: (mask: number) => void process.umask(mask),
  open: (path: string, flags: number, mode?: number) => c.open(path, flags, mode ?? 0o644),
  close: (fd: number) => c.close(fd),
  pread: (fd: number, n: number, off: number) => taken((buf) => c.pread(fd, buf, n, off), Math.max(n, 1)),
  pwrite: (fd: number, text: string, off: number) => c.pwrite(fd, bytesOf(text), text.length, off),
  write: (fd: number, text: string) => c.write(fd, bytesOf(text), text.length),
  ftruncate: (fd: number, size: number) => c.ftruncate(fd, size),
  fsync: (fd: number) => c.fsync(fd),
  fstat: (fd: number) => shown(fstatSync(fd, { bigint: true })),
  fchmod: (fd: number, mode: number) => c.fchmod(fd, mode),
  fchown: (fd: number, uid: number, gid: number) => c.fchown(fd, id(uid), id(gid)),
  fallocate: (fd: number, mode: number, off: number, len: number) => c.fallocate(fd, mode, off, len),
  lseek: (fd: number, off: number, whence: number) => c.lseek(fd, off, whence),
  copyRange: (from: number, fromOff: number, to: number, toOff: number, n: number) =>
    c.copyFileRange(from, offsetCell(fromOff), to, offsetCell(toOff), n, 0),
  linkOpen: (fd: number, path: string) => c.linkat(AT_FDCWD, `/proc/self/fd/${String(fd)}`, AT_FDCWD, path, AT_SYMLINK_FOLLOW),
  stat: (path: string) => shown(statSync(path, { bigint: true })),
  lstat: (path: string) => shown(lstatSync(path, { bigint: true })),
  access: (path: string, mask: number) => c.access(path, mask),
  chmod: (path: string, mode: number) => c.chmod(path, mode),
  chown: (path: string, uid: number, gid: number) => c.chown(path, id(uid), id(gid)),
  lchown: (path: string, uid: number, gid: number) => c.lchown(path, id(uid), id(gid)),
  mkdir: (path: string, mode: number) => c.mkdir(path, mode),
  mknod: (path: string, mode: number, major: number, minor: number) => c.mknod(path, mode, (major << 8) | minor),
  link: (from: string, to: string) => c.linkat(AT_FDCWD, from, AT_FDCWD, to, 0),
  symlink: (target: string, path: string) => c.symlink(target, path),
  readlink: (path: string) => taken((buf) => c.readlink(path, buf, buf.length)),
  rename: (from: string, to: string, flags?: number) => c.renameat2(AT_FDCWD, from, AT_FDCWD, to, flags ?? 0),
  unlink: (path: string) => c.unlink(path),
  rmdir: (path: string) => c.rmdir(path),
  truncate: (path: string, size: number) => c.truncate(path, size),
  utimens: (path: string, atime: Moment, mtime: Moment, follow: boolean) =>
    c.utimensat(AT_FDCWD, path, timesOf([atime, mtime]), follow ? 0 : AT_SYMLINK_NOFOLLOW),
  readdir: (path: string) => readdirSync(path),
  setxattr: (path: string, name: string, value: string, flags: number) => c.setxattr(path, name, bytesOf(value), value.length, flags),
  getxattr: (path: string, name: string) => taken((buf) => c.getxattr(path, name, buf, buf.length)),
  listxattr: (path: string) => taken((buf) => c.listxattr(path, buf, buf.length)).split('\0').filter((name) => name !== ''),
  removexattr: (path: string, name: string) => c.removexattr(path, name),
}

const [folder, userText] = process.argv.slice(2)
const user = JSON.parse(userText) as User
process.chdir(folder)
process.umask(0)
if (user.uid !== 0) {
  process.setgroups?.([...user.groups])
  process.setgid?.(user.gid)
  process.setuid?.(user.uid)
}
for await (const line of createInterface({ input: process.stdin })) {
  const [name, args] = JSON.parse(line) as [string, Args]
  try {
    process.stdout.write(`${JSON.stringify({ value: calls[name](...args) ?? null })}\n`)
  } catch (e) {
    const code = (e as { code?: string }).code ?? String(e)
    process.stdout.write(`${JSON.stringify({ code })}\n`)
  }
}
