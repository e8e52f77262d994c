/**
 * What a POSIX file system must answer, as data: a case is a list of steps, a step is one call by somebody and its answer.
 *   - Paths are relative to an empty folder of the case's own, mode 0777 without sticky bit; umask is 0.
 *   - A step names the errno it must fail with, or nothing: then it must succeed; `gives` names what of the answer is looked at.
 *   - The tables know nothing of how a call reaches the file system: a runner does (test/mounted/posix.test.ts).
 */
export type Who = 'root' | 'ann' | 'bob' | 'carol'

/** Carol is in Ann's group too. */
export const people: Readonly<Record<Who, { readonly uid: number; readonly gid: number; readonly groups: readonly number[] }>> = {
  root: { uid: 0, gid: 0, groups: [0] },
  ann: { uid: 64001, gid: 64001, groups: [64001] },
  bob: { uid: 64002, gid: 64002, groups: [64002] },
  carol: { uid: 64003, gid: 64003, groups: [64003, 64001] },
}

export type Value = string | number | boolean | null | readonly Value[] | { readonly [name: string]: Value }

export interface Step {
  readonly op: string
  readonly args: readonly Value[]
  readonly who: Who
  readonly umask: number
  readonly errno: string | undefined
  readonly gives: Value | undefined
}

export interface Case {
  readonly title: string
  readonly steps: readonly Step[]
}

const step = (op: string, ...args: Value[]): Step => ({ op, args, who: 'root', umask: 0, errno: undefined, gives: undefined })

// What is done to a step.
export const as = (who: Who, ...steps: Step[]): Step[] => steps.map((one) => ({ ...one, who }))
export const fails = (errno: string, one: Step): Step => ({ ...one, errno })
export const gives = (value: Value, one: Step): Step => ({ ...one, gives: value })
export const masked = (umask: number, one: Step): Step => ({ ...one, umask })

// The calls. Names are the system calls' own; `file` and `has` are for what a case needs before and after.
export const create = (path: string, mode = 0o644) => step('create', path, mode)
export const open = (path: string, flags: string, fd = '') => step('open', path, flags, fd)
export const tmpfile = (path: string, fd: string, mode = 0o600) => step('tmpfile', path, fd, mode)
export const close = (fd: string) => step('close', fd)
export const mkdir = (path: string, mode = 0o755) => step('mkdir', path, mode)
export const rmdir = (path: string) => step('rmdir', path)
export const unlink = (path: string) => step('unlink', path)
export const symlink = (target: string, path: string) => step('symlink', target, path)
export const readlink = (path: string) => step('readlink', path)
export const link = (from: string, to: string) => step('link', from, to)
export const linkfd = (fd: string, to: string) => step('linkfd', fd, to)
export const rename = (from: string, to: string, flags = 0) => step('rename', from, to, flags)
export const mknod = (path: string, type: 'fifo' | 'socket' | 'char' | 'block' | 'file', mode = 0o644, major = 0, minor = 0) => step('mknod', path, type, mode, major, minor)
export const chmod = (path: string, mode: number) => step('chmod', path, mode)
export const chown = (path: string, uid: number, gid: number) => step('chown', path, uid, gid)
export const lchown = (path: string, uid: number, gid: number) => step('lchown', path, uid, gid)
export const truncate = (path: string, size: number) => step('truncate', path, size)
export const ftruncate = (fd: string, size: number) => step('ftruncate', fd, size)
export const write = (fd: string, text: string) => step('write', fd, text)
export const pwrite = (fd: string, text: string, at: number) => step('pwrite', fd, text, at)
export const pread = (fd: string, length: number, at: number) => step('pread', fd, length, at)
export const fsync = (fd: string) => step('fsync', fd)
export const fallocate = (fd: string, mode: number, at: number, length: number) => step('fallocate', fd, mode, at, length)
export const seek = (fd: string, at: number, whence: 'data' | 'hole' | 'end') => step('seek', fd, at, whence)
export const copyRange = (from: string, fromAt: number, to: string, toAt: number, length: number) => step('copyrange', from, fromAt, to, toAt, length)
/** Times in [seconds, nanoseconds]; 'now' and 'omit' as utimensat(2) has them. */
export const utimes = (path: string, atime: Value, mtime: Value) => step('utimes', path, atime, mtime)
export const access = (path: string, mode: string) => step('access', path, mode)
export const list = (path: string) => step('list', path)
export const setxattr = (path: string, name: string, value: string, flags = 0) => step('setxattr', path, name, value, flags)
export const getxattr = (path: string, name: string) => step('getxattr', path, name)
export const listxattr = (path: string) => step('listxattr', path)
export const removexattr = (path: string, name: string) => step('removexattr', path, name)
/** setfacl(1) with these words; getfacl(1) as one line, ids as numbers. */
export const setfacl = (words: string, path: string) => step('setfacl', words, path)
export const getfacl = (path: string) => step('getfacl', path)
/** lstat, and of it what is named. */
export const has = (path: string, fields: { readonly [name: string]: Value }) => gives(fields, step('lstat', path))
export const fhas = (fd: string, fields: { readonly [name: string]: Value }) => gives(fields, step('fstat', fd))
export const stat = (path: string) => step('stat', path)
/** The steps change exactly these times: { path: 'atime mtime ctime' }, each looked at before and after. */
export const touches = (what: { readonly [path: string]: string }, ...steps: Step[]): Step[] =>
  [step('remember', Object.keys(what)), ...steps, gives(what, step('changed', Object.keys(what)))]
