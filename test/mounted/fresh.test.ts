/**
 * What the kernel may keep for ever must stay true: after any operation a plain stat shows what a forced one shows (which asks
 * the daemon), for every inode that the operation could have changed. The long time-outs of the mount rest on this table.
 *   - What the kernel decides by (mode, owner, group, size) is asked for alone, too: it believes what it has of those unless it knows better.
 *   - Names: one that went is gone, one that came is there, though its absence was cached before.
 */
import assert from 'node:assert/strict'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import koffi from 'koffi'
import { makePlace, needsRoot } from './place.js'

const libc = koffi.load('libc.so.6')
const c = {
  statx: libc.func('int statx(int dirfd, const char *path, int flags, unsigned int mask, void *out)'),
  renameat2: libc.func('int renameat2(int from, const char *name, int to, const char *newName, unsigned int flags)'),
  linkat: libc.func('int linkat(int from, const char *name, int to, const char *newName, int flags)'),
  fallocate: libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)'),
  copy_file_range: libc.func('int64_t copy_file_range(int from, int64_t *fromOffset, int to, int64_t *toOffset, size_t length, unsigned int flags)'),
  posix_fadvise: libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)'),
  setxattr: libc.func('int setxattr(const char *path, const char *name, const void *value, size_t size, int flags)'),
  removexattr: libc.func('int removexattr(const char *path, const char *name)'),
  ioctl: libc.func('int ioctl(int fd, unsigned long request, void *argument)'),
  mmap: libc.func('void *mmap(void *at, size_t length, int protection, int flags, int fd, int64_t offset)'),
  msync: libc.func('int msync(void *at, size_t length, int flags)'),
  munmap: libc.func('int munmap(void *at, size_t length)'),
  memset: libc.func('void *memset(void *at, int byte, size_t length)')
}
const ok = (rc: number): void => assert.ok(rc >= 0, `errno ${koffi.errno()}`)

const AT_SYMLINK_NOFOLLOW = 0x100
const FORCE_SYNC = 0x2000
const BASIC = 0x7ff
/** Mode, owner, group, size: refreshed only if the kernel knows that one of them is old, as before it decides by them. */
const DECISIVE = 0x21b
const AT_FDCWD = -100
const O_TMPFILE = 0x410000

type Shown = Readonly<Record<'mode' | 'uid' | 'gid' | 'size' | 'nlink' | 'ino' | 'blocks' | 'atime' | 'mtime' | 'ctime', string>>

/** What statx(2) shows; undefined: no such name. */
function shown(path: string, how: number, mask = BASIC): Shown | undefined {
  const b = Buffer.alloc(256)
  if (c.statx(AT_FDCWD, path, how | AT_SYMLINK_NOFOLLOW, mask, b) < 0) return undefined
  const time = (at: number): string => `${b.readBigInt64LE(at)}.${String(b.readUInt32LE(at + 8)).padStart(9, '0')}`
  return {
    mode: b.readUInt16LE(28).toString(8), uid: `${b.readUInt32LE(20)}`, gid: `${b.readUInt32LE(24)}`, size: `${b.readBigUInt64LE(40)}`,
    nlink: `${b.readUInt32LE(16)}`, ino: `${b.readBigUInt64LE(32)}`, blocks: `${b.readBigUInt64LE(48)}`,
    atime: time(64), mtime: time(112), ctime: time(96)
  }
}
const decisive = (s: Shown | undefined) => (s === undefined ? undefined : { mode: s.mode, uid: s.uid, gid: s.gid, size: s.size })

interface Case {
  readonly title: string
  /** Makes what the operation works on; `d` is a new folder with an empty folder `sub` in it. Answers what `run` gets. */
  readonly before?: (d: string) => unknown
  readonly run: (d: string, had: number, sync: () => Promise<void>) => unknown
}

const put = (...names: readonly string[]) => (d: string): void => { for (const name of names) fs.writeFileSync(join(d, name), 'some bytes') }
const dir = (...names: readonly string[]) => (d: string): void => { for (const name of names) fs.mkdirSync(join(d, name)) }
const both = (...makes: readonly ((d: string) => void)[]) => (d: string): void => { for (const make of makes) make(d) }
const descriptors: number[] = []
/** A descriptor that is closed when the case is over. */
function open(path: string, flags: string | number): number {
  const fd = fs.openSync(path, flags)
  descriptors.push(fd)
  return fd
}
const opened = (name: string, flags: string | number, bytes: number | string = 'some bytes') => (d: string): number => {
  fs.writeFileSync(join(d, name), typeof bytes === 'string' ? bytes : Buffer.alloc(bytes, 7))
  return open(join(d, name), flags)
}
const rename2 = (d: string, from: string, to: string, flags: number): void => ok(c.renameat2(AT_FDCWD, join(d, from), AT_FDCWD, join(d, to), flags))
const flagsOf = (value: number): Buffer => {
  const b = Buffer.alloc(8)
  b.writeUInt32LE(value)
  return b
}
const FS_IOC_SETFLAGS = 0x40086602
const FS_NOATIME_FL = 0x80
const asPlainUser = <T>(fn: () => T): T => {
  process.setegid!(1000)
  process.seteuid!(1000)
  try {
    return fn()
  } finally {
    process.seteuid!(0)
    process.setegid!(0)
  }
}
const suid = (name: string) => (d: string): number => {
  fs.writeFileSync(join(d, name), 'a program')
  fs.chownSync(join(d, name), 1000, 1000)
  fs.chmodSync(join(d, name), 0o6777)
  return open(join(d, name), 'r+')
}
const acl = (...entries: readonly (readonly [tag: number, bits: number])[]): Buffer => {
  const b = Buffer.alloc(4 + 8 * entries.length)
  b.writeUInt32LE(2, 0)
  entries.forEach(([tag, bits], i) => {
    b.writeUInt16LE(tag, 4 + 8 * i)
    b.writeUInt16LE(bits, 6 + 8 * i)
    b.writeInt32LE(tag === 2 ? 1234 : -1, 8 + 8 * i)
  })
  return b
}
const someAcl = acl([1, 6], [2, 7], [4, 4], [0x10, 7], [0x20, 0])
const mapped = (fd: number, length: number): unknown => {
  const at: unknown = c.mmap(null, length, 3, 1, fd, 0)
  return at
}

const cases: readonly Case[] = [
  { title: 'creat', run: (d) => fs.closeSync(fs.openSync(join(d, 'a'), 'wx')) },
  { title: 'creat, its descriptor still open, a byte written', run: (d) => fs.writeSync(open(join(d, 'a'), 'wx'), 'b') },
  { title: 'mkdir', run: (d) => fs.mkdirSync(join(d, 'a')) },
  { title: 'mkdir in a folder with a default ACL', before: (d) => ok(c.setxattr(join(d, 'sub'), 'system.posix_acl_default', someAcl, someAcl.length, 0)),
    run: (d) => fs.mkdirSync(join(d, 'sub/a')) },
  { title: 'symlink', run: (d) => fs.symlinkSync('to', join(d, 'a')) },
  { title: 'readlink', before: (d) => fs.symlinkSync('to', join(d, 'a')), run: (d) => fs.readlinkSync(join(d, 'a')) },
  { title: 'link', before: put('a'), run: (d) => fs.linkSync(join(d, 'a'), join(d, 'b')) },
  { title: 'link into another folder', before: put('a'), run: (d) => fs.linkSync(join(d, 'a'), join(d, 'sub/b')) },
  { title: 'link of an unnamed file', run(d) {
    const fd = open(d, O_TMPFILE | fs.constants.O_RDWR)
    fs.writeSync(fd, 'bytes')
    ok(c.linkat(AT_FDCWD, `/proc/self/fd/${fd}`, AT_FDCWD, join(d, 'a'), 0x400))
  } },
  { title: 'unlink', before: put('a'), run: (d) => fs.unlinkSync(join(d, 'a')) },
  { title: 'unlink of one of two names', before(d) { put('a')(d); fs.linkSync(join(d, 'a'), join(d, 'sub/b')) }, run: (d) => fs.unlinkSync(join(d, 'a')) },
  { title: 'rmdir', before: dir('a'), run: (d) => fs.rmdirSync(join(d, 'a')) },
  { title: 'rename', before: put('a'), run: (d) => fs.renameSync(join(d, 'a'), join(d, 'b')) },
  { title: 'rename to another folder', before: put('a'), run: (d) => fs.renameSync(join(d, 'a'), join(d, 'sub/b')) },
  { title: 'rename of a folder to another folder', before: dir('a'), run: (d) => fs.renameSync(join(d, 'a'), join(d, 'sub/b')) },
  { title: 'rename over a file with two names', before(d) { put('a', 'b')(d); fs.linkSync(join(d, 'b'), join(d, 'sub/b2')) },
    run: (d) => fs.renameSync(join(d, 'a'), join(d, 'b')) },
  { title: 'rename over an empty folder', before: dir('a', 'b'), run: (d) => fs.renameSync(join(d, 'a'), join(d, 'b')) },
  { title: 'rename over an empty folder elsewhere', before: both(dir('a'), dir('sub/b')), run: (d) => fs.renameSync(join(d, 'a'), join(d, 'sub/b')) },
  { title: 'exchange of two files', before: both(put('a'), put('sub/b')), run: (d) => rename2(d, 'a', 'sub/b', 2) },
  { title: 'exchange of a file and a folder', before: both(put('a'), dir('sub/b')), run: (d) => rename2(d, 'a', 'sub/b', 2) },
  { title: 'exchange of a folder and a file', before: both(put('sub/b'), dir('a')), run: (d) => rename2(d, 'a', 'sub/b', 2) },
  { title: 'rename that leaves a whiteout', before: put('a'), run(d) {
    rename2(d, 'a', 'sub/b', 4)
    assert.equal(shown(join(d, 'a'), 0)?.mode, '20000')
  } },

  { title: 'write', before: opened('a', 'r+'), run: (_d, fd) => fs.writeSync(fd, 'more bytes than before', 0) },
  { title: 'write inside the file', before: opened('a', 'r+', 100_000), run: (_d, fd) => fs.writeSync(fd, 'x', 5) },
  { title: 'append', before: opened('a', 'a'), run: (_d, fd) => fs.writeSync(fd, 'x'.repeat(5000)) },
  { title: 'append of two descriptors', before: opened('a', 'a'), run(d, fd) {
    const other = open(join(d, 'a'), 'a')
    fs.writeSync(fd, 'x'.repeat(5000))
    fs.writeSync(other, 'y'.repeat(5000))
    fs.writeSync(fd, 'z')
    assert.equal(fs.readFileSync(join(d, 'a')).length, 10_011)
  } },
  { title: 'large write', before: opened('a', 'r+'), run: (_d, fd) => fs.writeSync(fd, Buffer.alloc(3_000_001, 1), 0, 3_000_001, 77) },
  { title: 'write and fsync', before: opened('a', 'r+'), run(_d, fd) { fs.writeSync(fd, Buffer.alloc(50_000, 1)); fs.fsyncSync(fd) } },
  { title: 'write, and the pool synced', before: opened('a', 'r+'), run: (_d, fd, sync) => { fs.writeSync(fd, Buffer.alloc(50_000, 1)); return sync() } },
  { title: 'write looked at, then the pool synced', before: opened('a', 'r+'), run(d, fd, sync) {
    fs.writeSync(fd, Buffer.alloc(50_001, 1), 0, 50_001, 1234)
    fs.writeSync(fd, Buffer.alloc(900_001, 1), 0, 900_001, 700_001)
    shown(join(d, 'a'), 0)
    return sync()
  } },
  { title: 'O_DIRECT write', before: opened('a', fs.constants.O_RDWR | fs.constants.O_DIRECT, 8192), run: (_d, fd) => fs.writeSync(fd, Buffer.alloc(8192, 1), 0, 8192, 4096) },
  { title: 'write through a mapping', before: opened('a', 'r+', 8192), run(_d, fd) {
    const at = mapped(fd, 8192)
    c.memset(at, 65, 8192)
    ok(c.msync(at, 8192, 4))
    ok(c.munmap(at, 8192))
  } },
  { title: 'O_TRUNC', before: put('a'), run: (d) => fs.closeSync(fs.openSync(join(d, 'a'), 'w')) },
  { title: 'O_CREAT of what is there', before: put('a'), run: (d) => fs.closeSync(fs.openSync(join(d, 'a'), 'a+')) },
  { title: 'truncate, shorter', before: opened('a', 'r+', 100_000), run: (d) => fs.truncateSync(join(d, 'a'), 5000) },
  { title: 'truncate, longer', before: put('a'), run: (d) => fs.truncateSync(join(d, 'a'), 5000) },
  { title: 'ftruncate', before: opened('a', 'r+'), run: (_d, fd) => fs.ftruncateSync(fd, 100_000) },
  { title: 'fallocate', before: opened('a', 'r+'), run: (_d, fd) => ok(c.fallocate(fd, 0, 0, 100_000)) },
  { title: 'fallocate that keeps the size', before: opened('a', 'r+'), run: (_d, fd) => ok(c.fallocate(fd, 1, 0, 100_000)) },
  { title: 'a punched hole', before: opened('a', 'r+', 100_000), run: (_d, fd) => ok(c.fallocate(fd, 3, 8192, 40_000)) },
  { title: 'a range zeroed beyond the end', before: opened('a', 'r+', 10_000), run: (_d, fd) => ok(c.fallocate(fd, 16, 8192, 40_000)) },
  { title: 'copy_file_range', before: both(put('b'), opened('a', 'r', 30_000)), run(d) {
    const [from, to] = [open(join(d, 'a'), 'r'), open(join(d, 'b'), 'r+')]
    assert.equal(Number(c.copy_file_range(from, null, to, null, 30_000, 0)), 30_000)
  } },

  { title: 'read', before: opened('a', 'r'), run: (_d, fd) => fs.readSync(fd, Buffer.alloc(10)) },
  { title: 'read of a cold file', before: opened('a', 'r', 100_000), run(d, fd) {
    assert.equal(c.posix_fadvise(fd, 0, 0, 4), 0) // DONTNEED
    fs.readFileSync(join(d, 'a'))
  } },
  { title: 'O_DIRECT read', before: opened('a', fs.constants.O_RDWR | fs.constants.O_DIRECT, 8192), run: (_d, fd) => fs.readSync(fd, Buffer.alloc(8192), 0, 8192, 0) },
  { title: 'read through a mapping', before: opened('a', 'r+', 8192), run(_d, fd) {
    const at = mapped(fd, 8192)
    ok(c.msync(at, 8192, 4))
    ok(c.munmap(at, 8192))
  } },
  { title: 'readdir', before: put('sub/a', 'sub/b'), run: (d) => fs.readdirSync(join(d, 'sub')) },
  { title: 'readdir twice, a file made between', before: put('sub/a'), run(d) {
    fs.readdirSync(join(d, 'sub'))
    put('sub/b')(d)
    assert.deepEqual(fs.readdirSync(join(d, 'sub')).sort(), ['a', 'b'])
    fs.unlinkSync(join(d, 'sub/a'))
    assert.deepEqual(fs.readdirSync(join(d, 'sub')), ['b'])
  } },

  { title: 'chmod', before: put('a'), run: (d) => fs.chmodSync(join(d, 'a'), 0o604) },
  { title: 'chown', before: put('a'), run: (d) => fs.chownSync(join(d, 'a'), 7, 8) },
  { title: 'chown of a setuid program', before: suid('a'), run: (d) => fs.chownSync(join(d, 'a'), 7, 8) },
  { title: 'utimensat', before: put('a'), run: (d) => fs.utimesSync(join(d, 'a'), 1, 2) },
  { title: 'utimensat, now', before: put('a'), run: (d) => fs.utimesSync(join(d, 'a'), new Date(), new Date()) },
  { title: 'touch of a folder', before: dir('a'), run: (d) => fs.utimesSync(join(d, 'a'), 1, 2) },
  { title: 'setxattr', before: put('a'), run: (d) => ok(c.setxattr(join(d, 'a'), 'user.b', Buffer.from('c'), 1, 0)) },
  { title: 'setxattr of a folder', before: dir('a'), run: (d) => ok(c.setxattr(join(d, 'a'), 'user.b', Buffer.from('c'), 1, 0)) },
  { title: 'removexattr', before(d) { put('a')(d); ok(c.setxattr(join(d, 'a'), 'user.b', Buffer.from('c'), 1, 0)) },
    run: (d) => ok(c.removexattr(join(d, 'a'), 'user.b')) },
  { title: 'an access ACL', before: put('a'), run: (d) => ok(c.setxattr(join(d, 'a'), 'system.posix_acl_access', someAcl, someAcl.length, 0)) },
  { title: 'a default ACL', run: (d) => ok(c.setxattr(join(d, 'sub'), 'system.posix_acl_default', someAcl, someAcl.length, 0)) },
  { title: 'an ACL removed', before(d) { put('a')(d); ok(c.setxattr(join(d, 'a'), 'system.posix_acl_access', someAcl, someAcl.length, 0)) },
    run: (d) => ok(c.removexattr(join(d, 'a'), 'system.posix_acl_access')) },
  { title: 'chmod of a file with an ACL', before(d) { put('a')(d); ok(c.setxattr(join(d, 'a'), 'system.posix_acl_access', someAcl, someAcl.length, 0)) },
    run: (d) => fs.chmodSync(join(d, 'a'), 0o640) },
  { title: 'inode flags', before: opened('a', 'r+'), run: (_d, fd) => ok(c.ioctl(fd, FS_IOC_SETFLAGS, flagsOf(FS_NOATIME_FL))) },
  { title: 'inode flags of a file that is not open', before: put('a'), run: (d) => {
    const fd = fs.openSync(join(d, 'a'), 'r')
    ok(c.ioctl(fd, FS_IOC_SETFLAGS, flagsOf(FS_NOATIME_FL)))
    fs.closeSync(fd)
  } },
  { title: 'inode flags of a folder', run: (d) => ok(c.ioctl(open(join(d, 'sub'), 'r'), FS_IOC_SETFLAGS, flagsOf(FS_NOATIME_FL))) },

  { title: 'write to a setuid program', before: suid('a'), run: (_d, fd) => asPlainUser(() => fs.writeSync(fd, 'x')) },
  { title: 'truncate of a setuid program', before: suid('a'), run: (d) => asPlainUser(() => fs.truncateSync(join(d, 'a'), 3)) },
  { title: 'O_TRUNC of a setuid program', before: suid('a'), run: (d) => asPlainUser(() => fs.closeSync(fs.openSync(join(d, 'a'), 'w'))) },
  { title: 'fallocate of a setuid program', before: suid('a'), run: (_d, fd) => asPlainUser(() => ok(c.fallocate(fd, 0, 0, 100_000))) },
  { title: 'a range of a setuid program copied over', before: suid('a'), run: (d, fd) => {
    put('b')(d)
    const from = open(join(d, 'b'), 'r')
    asPlainUser(() => c.copy_file_range(from, null, fd, null, 5, 0))
  } }
]

const tree = (d: string): string[] => [d, ...fs.readdirSync(d, { recursive: true, encoding: 'utf8' }).map((name) => join(d, name))]
const candidates = (d: string): string[] => ['', 'a', 'b', 'sub', 'sub/a', 'sub/b', 'sub/b2'].map((name) => join(d, name))

for (const options of ['', 'opens']) {
  describe(`a plain stat shows what a forced one shows${options === '' ? '' : ` (-o ${options})`}`, { skip: needsRoot }, () => {
    test('after every operation', { timeout: 120_000 }, async (t) => {
      const place = makePlace(t)
      const mounted = await place.ogee('mount', ...(options === '' ? [] : ['-o', options]), place.pool, place.dir)
      assert.equal(mounted.code, 0, mounted.err)
      const sync = async (): Promise<void> => assert.equal((await place.ogee('sync', place.dir)).code, 0)
      const stale: string[] = []
      let n = 0
      for (const one of cases) {
        const d = join(place.dir, `case${n++}`)
        fs.mkdirSync(d)
        fs.chmodSync(d, 0o777)
        fs.mkdirSync(join(d, 'sub'))
        const had = one.before?.(d)
        for (const path of candidates(d)) shown(path, FORCE_SYNC) // all of it is cached: attributes, and that there is no such name
        for (const path of candidates(d)) shown(path, 0)
        await one.run(d, typeof had === 'number' ? had : -1, sync)
        const known = candidates(d)
        for (const path of (function* () { // the folders are read when the names that we know were compared: reading refreshes what is in them
          yield* known
          yield* tree(d).filter((other) => !known.includes(other))
        })()) {
          const [kept, plain, forced] = [shown(path, 0, DECISIVE), shown(path, 0), shown(path, FORCE_SYNC)]
          for (const [what, is, was] of [['plain', plain, forced], ['cached', decisive(kept), decisive(forced)]] as const) {
            if (JSON.stringify(is) !== JSON.stringify(was)) stale.push(`${one.title}: ${what} stat of ${path.slice(d.length + 1) || 'the folder'}: ${difference(is, was)}`)
          }
        }
        for (const fd of descriptors.splice(0)) fs.closeSync(fd)
      }
      assert.equal(stale.join('\n'), '')
    })
  })
}

function difference(is: object | undefined, was: object | undefined): string {
  if (is === undefined || was === undefined) return `${is === undefined ? 'missing' : 'there'}, but is ${was === undefined ? 'missing' : 'there'}`
  const right: Record<string, string> = { ...was }
  return Object.entries(is).filter(([k, v]) => right[k] !== v).map(([k, v]) => `${k} ${v}, is ${right[k]}`).join('; ')
}
