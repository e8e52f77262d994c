/** How a path may be wrong, for every call that takes one: one case a call and a fault, made by multiplication. */
import {
  access, as, chmod, chown, create, fails, getxattr, link, list, lchown, mkdir, mknod, open, readlink, rename, rmdir, setxattr, stat, symlink, truncate, unlink, utimes,
  type Case, type Step,
} from './posix.js'

interface Call {
  readonly name: string
  readonly on: (path: string) => Step
  /** The last name is looked at itself, not what a symlink there points to. */
  readonly ownLink?: true
  /** The call makes its last name. */
  readonly makes?: true
}
const calls: readonly Call[] = [
  { name: 'stat', on: stat },
  { name: 'open', on: (path) => open(path, 'RDONLY') },
  { name: 'list', on: list },
  { name: 'truncate', on: (path) => truncate(path, 0) },
  { name: 'chmod', on: (path) => chmod(path, 0o600) },
  { name: 'chown', on: (path) => chown(path, -1, -1) },
  { name: 'lchown', on: (path) => lchown(path, -1, -1), ownLink: true },
  { name: 'utimes', on: (path) => utimes(path, [1, 0], [1, 0]), ownLink: true },
  { name: 'access', on: (path) => access(path, 'r') },
  { name: 'readlink', on: readlink, ownLink: true },
  { name: 'unlink', on: unlink, ownLink: true },
  { name: 'rmdir', on: rmdir, ownLink: true },
  { name: 'getxattr', on: (path) => getxattr(path, 'user.a'), ownLink: true },
  { name: 'setxattr', on: (path) => setxattr(path, 'user.a', 'b'), ownLink: true },
  { name: 'create', on: (path) => create(path), makes: true },
  { name: 'mkdir', on: (path) => mkdir(path), makes: true },
  { name: 'mknod', on: (path) => mknod(path, 'fifo'), makes: true },
  { name: 'symlink', on: (path) => symlink('x', path), makes: true },
  { name: 'link from', on: (path) => link(path, 'new'), ownLink: true },
  { name: 'link to', on: (path) => link('file', path), makes: true },
  { name: 'rename from', on: (path) => rename(path, 'new'), ownLink: true },
  { name: 'rename to', on: (path) => rename('file', path), makes: true },
]

const long = 'n'.repeat(256)
const faults: readonly { name: string; errno: string; before: readonly Step[]; path: string; applies?: (call: Call) => boolean; by?: 'ann' }[] = [
  { name: 'through a file', errno: 'ENOTDIR', before: [], path: 'file/x' },
  { name: 'through a missing folder', errno: 'ENOENT', before: [], path: 'nowhere/x' },
  { name: 'a missing name', errno: 'ENOENT', before: [], path: 'nothing', applies: (call) => call.makes !== true },
  { name: 'an empty path', errno: 'ENOENT', before: [], path: '' },
  { name: 'a name of 256 bytes', errno: 'ENAMETOOLONG', before: [], path: long },
  { name: 'through a name of 256 bytes', errno: 'ENAMETOOLONG', before: [], path: `${long}/x` },
  { name: 'a path of 4096 bytes', errno: 'ENAMETOOLONG', before: [], path: 'a/'.repeat(2048) },
  { name: 'through a symlink to itself', errno: 'ELOOP', before: [symlink('loop', 'loop')], path: 'loop/x' },
  { name: 'a symlink to itself', errno: 'ELOOP', before: [symlink('loop', 'loop')], path: 'loop', applies: (call) => call.ownLink !== true && call.makes !== true },
  { name: 'through a symlink to nothing', errno: 'ENOENT', before: [symlink('nowhere', 'dangling')], path: 'dangling/x' },
  { name: 'through a folder that may not be searched', errno: 'EACCES', before: [mkdir('closed', 0o777), create('closed/x', 0o666), mkdir('closed/d', 0o777), chmod('closed', 0o666)], path: 'closed/x', by: 'ann' },
  { name: 'an existing name', errno: 'EEXIST', before: [create('there')], path: 'there', applies: (call) => call.makes === true && call.name !== 'rename to' },
  { name: 'an existing symlink to nothing', errno: 'EEXIST', before: [symlink('nowhere', 'there')], path: 'there', applies: (call) => call.makes === true && call.name !== 'rename to' },
  { name: 'an existing folder', errno: 'EEXIST', before: [mkdir('there')], path: 'there', applies: (call) => call.makes === true && call.name !== 'rename to' },
  { name: 'in a folder that may not be written', errno: 'EACCES', before: [mkdir('fixed', 0o777), create('fixed/x', 0o666), chmod('fixed', 0o555)], path: 'fixed/y', applies: (call) => call.makes === true, by: 'ann' },
]

export const pathCases: readonly Case[] = calls.flatMap((call) =>
  faults
    .filter(({ applies }) => applies?.(call) ?? true)
    .map(({ name, errno, before, path, by }) => ({
      title: `${call.name}: ${name}: ${errno}`,
      steps: [...(path === 'file' ? [] : [create('file', 0o666), chown('file', 64001, 64001)]), ...before, ...as(by ?? 'root', fails(errno, call.on(path)))],
    })))
