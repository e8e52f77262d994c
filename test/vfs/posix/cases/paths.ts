/** What every call that takes a path says of a bad one. Generated: each call x each fault. */
import { expectErrno, makeFile, NAME_255, NAME_256, O_CREAT, O_RDONLY, O_WRONLY, RENAME_EXCHANGE } from '../table.js'
import type { Calls, Case } from '../table.js'

interface PathCall {
  readonly name: string
  act(as: Calls, path: string): Promise<unknown>
  /** Makes the last component: a missing one is no error, write permission on the parent is needed. */
  readonly makes?: boolean
  /** Follows a symlink in the last component. */
  readonly follows?: boolean
}

const calls: readonly PathCall[] = [
  { name: 'open', act: (as, p) => as.open(p, O_RDONLY), follows: true },
  { name: 'open(O_CREAT)', act: async (as, p) => as.close(await as.open(p, O_CREAT | O_WRONLY, 0o644)), makes: true, follows: true },
  { name: 'mkdir', act: (as, p) => as.mkdir(p, 0o755), makes: true },
  { name: 'mkfifo', act: (as, p) => as.mknod(p, 0o010644, 0, 0), makes: true },
  { name: 'mknod of a socket', act: (as, p) => as.mknod(p, 0o140644, 0, 0), makes: true },
  { name: 'symlink', act: (as, p) => as.symlink('target', p), makes: true },
  { name: 'link to', act: (as, p) => as.link('source', p), makes: true },
  { name: 'link from', act: (as, p) => as.link(p, 'linked') },
  { name: 'rename to', act: (as, p) => as.rename('source', p), makes: true },
  { name: 'rename from', act: (as, p) => as.rename(p, 'renamed') },
  { name: 'rename with exchange', act: (as, p) => as.rename('source', p, RENAME_EXCHANGE) },
  { name: 'unlink', act: (as, p) => as.unlink(p) },
  { name: 'rmdir', act: (as, p) => as.rmdir(p) },
  { name: 'stat', act: (as, p) => as.stat(p), follows: true },
  { name: 'lstat', act: (as, p) => as.lstat(p) },
  { name: 'access', act: (as, p) => as.access(p, 0), follows: true },
  { name: 'readlink', act: (as, p) => as.readlink(p) },
  { name: 'chmod', act: (as, p) => as.chmod(p, 0o644), follows: true },
  { name: 'chown', act: (as, p) => as.chown(p, -1, -1), follows: true },
  { name: 'lchown', act: (as, p) => as.lchown(p, -1, -1) },
  { name: 'truncate', act: (as, p) => as.truncate(p, 0), follows: true },
  { name: 'utimensat', act: (as, p) => as.utimens(p, 'now', 'now', true), follows: true },
  { name: 'listxattr', act: (as, p) => as.listxattr(p), follows: true },
  { name: 'readdir', act: (as, p) => as.readdir(p), follows: true },
]

const source = (as: Calls): Promise<void> => makeFile(as, 'source')

const faults: readonly { title: string; for(c: PathCall): boolean; run(c: PathCall, t: Parameters<Case['run']>[0]): Promise<void> }[] = [
  {
    title: 'ENOTDIR below a file', for: () => true,
    run: async (c, t) => {
      await source(t.root)
      await makeFile(t.root, 'file')
      await expectErrno('ENOTDIR', c.act(t.root, 'file/x'))
    },
  },
  {
    title: 'ENOTDIR below a FIFO', for: () => true,
    run: async (c, t) => {
      await source(t.root)
      await t.root.mknod('fifo', 0o010644, 0, 0)
      await expectErrno('ENOTDIR', c.act(t.root, 'fifo/x'))
    },
  },
  {
    title: 'ENOENT when a folder on the way is missing', for: () => true,
    run: async (c, t) => {
      await source(t.root)
      await expectErrno('ENOENT', c.act(t.root, 'missing/x'))
    },
  },
  {
    title: 'ENOENT when the last component is missing', for: (c) => c.makes !== true,
    run: async (c, t) => {
      await source(t.root)
      await expectErrno('ENOENT', c.act(t.root, 'missing'))
    },
  },
  {
    title: 'ENOENT through a dangling symlink', for: (c) => c.follows === true && c.makes !== true,
    run: async (c, t) => {
      await t.root.symlink('missing', 'link')
      await expectErrno('ENOENT', c.act(t.root, 'link'))
    },
  },
  {
    title: 'ENAMETOOLONG for a name of 256 bytes', for: () => true,
    run: async (c, t) => {
      await source(t.root)
      await expectErrno('ENAMETOOLONG', c.act(t.root, NAME_256))
    },
  },
  {
    title: 'ENAMETOOLONG for a folder of 256 bytes on the way', for: () => true,
    run: async (c, t) => {
      await source(t.root)
      await expectErrno('ENAMETOOLONG', c.act(t.root, `${NAME_256}/x`))
    },
  },
  {
    title: 'a name of 255 bytes can be made', for: (c) => c.makes === true,
    run: async (c, t) => {
      await source(t.root)
      await c.act(t.root, NAME_255)
      await t.root.lstat(NAME_255)
    },
  },
  {
    title: 'ELOOP through symlinks in a circle', for: () => true,
    run: async (c, t) => {
      await source(t.root)
      await t.root.symlink('b', 'a')
      await t.root.symlink('a', 'b')
      await expectErrno('ELOOP', c.act(t.root, 'a/x'))
    },
  },
  {
    title: 'ELOOP when the last component is in a circle', for: (c) => c.follows === true,
    run: async (c, t) => {
      await t.root.symlink('b', 'a')
      await t.root.symlink('a', 'b')
      await expectErrno('ELOOP', c.act(t.root, 'a'))
    },
  },
  {
    title: 'EACCES without search permission on the way', for: () => true,
    run: async (c, t) => {
      await source(t.alice)
      await t.alice.mkdir('shut', 0o755)
      await makeFile(t.alice, 'shut/x')
      await t.alice.chmod('shut', 0o644)
      await expectErrno('EACCES', c.act(t.alice, 'shut/x'))
      await expectErrno('EACCES', c.act(t.bob, 'shut/x'))
    },
  },
  {
    title: 'EACCES without write permission on the parent', for: (c) => c.makes === true,
    run: async (c, t) => {
      await source(t.alice)
      await t.alice.mkdir('fixed', 0o555)
      await expectErrno('EACCES', c.act(t.alice, 'fixed/x'))
    },
  },
  {
    title: 'root needs no permission', for: (c) => c.makes === true,
    run: async (c, t) => {
      await source(t.alice)
      await t.alice.mkdir('shut', 0)
      await c.act(t.root, 'shut/x')
      await t.root.lstat('shut/x')
    },
  },
]

export const pathsCases: readonly Case[] = faults.flatMap((fault) =>
  calls.filter((c) => fault.for(c)).map((c) => ({ title: `${c.name}: ${fault.title}`, run: (t) => fault.run(c, t) })))
