/** Names: links, renames, removal, sticky folders, files that stay open without a name. */
import {
  access, as, chmod, chown, close, create, fails, fhas, gives, has, link, linkfd, list, lchown, mkdir, mknod, open, pread, pwrite, readlink, rename, rmdir, symlink, tmpfile, touches, unlink, write,
  type Case, type Step, type Who,
} from './posix.js'

const NOREPLACE = 1
const EXCHANGE = 2
const WHITEOUT = 4
const ann = 64001
const bob = 64002

const links: readonly Case[] = [
  { title: 'a hard link is the same inode and counts', steps: [
    create('a'), link('a', 'b'), has('a', { nlink: 2 }), chmod('b', 0o600), has('a', { nlink: 2, mode: 0o600 }), unlink('a'), has('b', { nlink: 1 }), fails('ENOENT', has('a', {}))] },
  { title: 'links to every kind but folders', steps: [
    ...(['fifo', 'socket', 'char', 'block'] as const).flatMap((kind): Step[] => [mknod(kind, kind, 0o640, 1, 3), link(kind, `${kind}2`), has(`${kind}2`, { type: kind, nlink: 2, mode: 0o640 })]),
    symlink('nowhere', 's'), link('s', 's2'), has('s2', { type: 'symlink', nlink: 2 }), gives('nowhere', readlink('s2')),
    mkdir('d'), fails('EPERM', link('d', 'd2'))] },
  { title: 'link touches the inode and the folder that gets the name', steps: [create('a'), mkdir('d'), ...touches({ a: 'ctime', d: 'mtime ctime' }, link('a', 'd/b'))] },
  { title: 'a symlink has the length of its target, up to 4095 bytes', steps: [
    symlink('t'.repeat(4095), 's'), has('s', { type: 'symlink', size: 4095, mode: 0o777 }), gives('t'.repeat(4095), readlink('s')),
    fails('ENAMETOOLONG', symlink('t'.repeat(4096), 's2')), fails('ENOENT', symlink('', 's3'))] },
  { title: 'readlink of what is no symlink', steps: [create('f'), mkdir('d'), fails('EINVAL', readlink('f')), fails('EINVAL', readlink('d'))] },
  { title: 'names of 255 bytes, odd bytes, dots', steps: [
    create('n'.repeat(255)), has('n'.repeat(255), {}), create('a b\n\t"\\*?'), create('...'), create('.hidden'), create('é€😀'), mkdir('-'),
    gives(['-', '...', '.hidden', 'a b\n\t"\\*?', 'n'.repeat(255), 'é€😀'], list('.'))] },
  { title: 'a file without a name gets one', steps: [tmpfile('.', 't'), gives(5, write('t', 'hello')), fhas('t', { nlink: 0, size: 5 }), gives([], list('.')), linkfd('t', 'named'), has('named', { nlink: 1, size: 5, mode: 0o600 })] },
  { title: 'an open file outlives its last name', steps: [
    create('f'), open('f', 'RDWR', 'f'), write('f', 'kept'), unlink('f'), fhas('f', { nlink: 0, size: 4 }), gives('kept', pread('f', 10, 0)), pwrite('f', 'more', 4), gives('keptmore', pread('f', 10, 0)),
    create('f'), has('f', { size: 0 }), gives('keptmore', pread('f', 10, 0)), close('f')] },
  { title: 'and a file that was renamed over', steps: [
    create('old'), create('new'), open('old', 'RDWR', 'o'), write('o', 'old'), rename('new', 'old'), fhas('o', { nlink: 0 }), gives('old', pread('o', 10, 0)), has('old', { size: 0 })] },
]

const folders: readonly Case[] = [
  { title: 'a folder counts its folders', steps: [
    mkdir('d'), has('d', { type: 'folder', nlink: 2 }), mkdir('d/a'), mkdir('d/b'), create('d/f'), has('d', { nlink: 4 }), rmdir('d/a'), has('d', { nlink: 3 }),
    mkdir('e'), rename('d/b', 'e/b'), has('d', { nlink: 2 }), has('e', { nlink: 3 }), rmdir('e/b'), has('e', { nlink: 2 })] },
  { title: 'rmdir: not empty, not a folder, dot and dotdot', steps: [
    mkdir('d'), create('d/f'), fails('ENOTEMPTY', rmdir('d')), fails('ENOTDIR', rmdir('d/f')), fails('EINVAL', rmdir('d/.')), fails('ENOTEMPTY', rmdir('d/..')),
    symlink('d', 's'), fails('ENOTDIR', rmdir('s')), unlink('d/f'), rmdir('d'), fails('ENOENT', rmdir('d'))] },
  { title: 'unlink of a folder', steps: [mkdir('d'), fails('EISDIR', unlink('d'))] },
  { title: 'a removed folder that is still open takes no names', steps: [mkdir('d'), open('d', 'RDONLY DIRECTORY', 'd'), rmdir('d'), fhas('d', { nlink: 0 }), fails('ENOENT', create('d/x'))] },
  { title: 'making and removing touch the folder', steps: [
    mkdir('d'), ...touches({ d: 'mtime ctime' }, create('d/f')), ...touches({ d: 'mtime ctime' }, mkdir('d/e')), ...touches({ d: 'mtime ctime' }, symlink('x', 'd/s')), ...touches({ d: 'mtime ctime' }, mknod('d/p', 'fifo')),
    ...touches({ d: 'mtime ctime' }, unlink('d/f')), ...touches({ d: 'mtime ctime' }, rmdir('d/e'))] },
  { title: 'failing does not', steps: [mkdir('d'), create('d/f'), ...touches({ d: '', 'd/f': '' }, fails('EEXIST', mkdir('d/f')), fails('ENOTDIR', rmdir('d/f')), fails('ENOENT', unlink('d/g')))] },
  { title: 'unlink touches the inode that keeps a name', steps: [create('a'), link('a', 'b'), ...touches({ b: 'ctime' }, unlink('a'))] },
  { title: 'many names come back, each once', steps: [
    mkdir('d'), ...Array.from({ length: 300 }, (_, n) => create(`d/name-${String(n).padStart(4, '0')}`)), gives(Array.from({ length: 300 }, (_, n) => `name-${String(n).padStart(4, '0')}`), list('d'))] },
]

const renames: readonly Case[] = [
  { title: 'rename keeps the inode and replaces what was there', steps: [
    create('a', 0o600), create('b', 0o644), rename('a', 'b'), has('b', { mode: 0o600, nlink: 1 }), fails('ENOENT', has('a', {}))] },
  { title: 'rename between two links of one inode does nothing', steps: [create('a'), link('a', 'b'), rename('a', 'b'), has('a', { nlink: 2 }), has('b', { nlink: 2 })] },
  { title: 'rename onto itself', steps: [create('a'), mkdir('d'), rename('a', 'a'), rename('d', 'd'), has('a', { nlink: 1 }), has('d', { nlink: 2 })] },
  { title: 'a folder over an empty folder, a full one, a file', steps: [
    mkdir('d'), create('d/x'), mkdir('empty'), mkdir('full'), create('full/y'), create('f'),
    fails('ENOTEMPTY', rename('d', 'full')), fails('ENOTDIR', rename('d', 'f')), fails('EISDIR', rename('f', 'empty')), rename('d', 'empty'), gives(['x'], list('empty'))] },
  { title: 'a folder into itself or below', steps: [mkdir('d'), mkdir('d/e'), mkdir('d/e/g'), fails('EINVAL', rename('d', 'd/x')), fails('EINVAL', rename('d', 'd/e/g')), fails('ENOTEMPTY', rename('d/e/g', 'd'))] },
  { title: 'dot and dotdot', steps: [mkdir('d'), fails('EBUSY', rename('d/.', 'x')), fails('EBUSY', rename('d/..', 'x')), fails('EBUSY', rename('d', 'd/.'))] },
  { title: 'rename touches both folders and the inode', steps: [mkdir('a'), mkdir('b'), create('a/f'), ...touches({ a: 'mtime ctime', b: 'mtime ctime' }, rename('a/f', 'b/f'))] },
  { title: 'dotdot of a moved folder', steps: [mkdir('a'), mkdir('b'), mkdir('a/d'), create('b/here'), rename('a/d', 'b/d'), has('b/d/../here', { type: 'file' })] },
  { title: 'NOREPLACE', steps: [create('a'), create('b'), fails('EEXIST', rename('a', 'b', NOREPLACE)), rename('a', 'c', NOREPLACE), has('c', {}), fails('EINVAL', rename('b', 'c', NOREPLACE | EXCHANGE))] },
  { title: 'EXCHANGE swaps anything with anything', steps: [
    create('f', 0o600), mkdir('d'), mkdir('d/in'), mkdir('other'), rename('f', 'other/../d', EXCHANGE), has('d', { type: 'file', mode: 0o600 }), has('f', { type: 'folder', nlink: 3 }),
    mkdir('p'), mkdir('p/q'), rename('f', 'p/q', EXCHANGE), has('p/q', { nlink: 3 }), has('f', { nlink: 2 }), has('p', { nlink: 3 }),
    fails('ENOENT', rename('f', 'nothing', EXCHANGE)), fails('EINVAL', rename('p', 'p/q', EXCHANGE))] },
  { title: 'WHITEOUT leaves a character device 0, 0', steps: [create('a'), rename('a', 'b', WHITEOUT), has('a', { type: 'char', major: 0, minor: 0 }), has('b', { type: 'file' })] },
  { title: 'a folder without write permission moves only where its dotdot stays', steps: [
    mkdir('a', 0o777), mkdir('b', 0o777), ...as('ann', mkdir('a/d', 0o555), rename('a/d', 'a/e'), fails('EACCES', rename('a/e', 'b/e')))] },
]

/** Sticky folders: who may remove or rename what. The rule in one line: owner of the file, owner of the folder, or root. */
const sticky: readonly Case[] = [0, ann, bob].flatMap((folderOwner) => [0, ann, bob].flatMap((fileOwner) => (['root', 'ann', 'bob'] as const).map((who: Who): Case => {
  const uid = { root: 0, ann, bob, carol: 0 }[who]
  const may = who === 'root' || uid === folderOwner || uid === fileOwner
  const expect = (one: Step) => (may ? one : fails('EPERM', one))
  return { title: `sticky: folder of ${folderOwner}, entry of ${fileOwner}, by ${who}`, steps: [
    mkdir('d'), chmod('d', 0o1777), chown('d', folderOwner, folderOwner),
    ...['file', 'from', 'over'].flatMap((name): Step[] => [create(`d/${name}`, 0o666), chown(`d/${name}`, fileOwner, fileOwner)]),
    mkdir('d/folder', 0o777), chown('d/folder', fileOwner, fileOwner), create('d/own'), chown('d/own', uid, uid), symlink('x', 'd/link'), lchown('d/link', fileOwner, fileOwner),
    ...as(who, expect(unlink('d/file')), expect(unlink('d/link')), expect(rename('d/from', 'd/to')), expect(rename('d/own', 'd/over')), expect(rmdir('d/folder')))] }
})))

const permissions: readonly Case[] = [
  { title: 'each class of people has its own bits, and only them', steps: [
    create('f'), chown('f', ann, ann), chmod('f', 0o741), ...as('ann', access('f', 'rwx')), ...as('carol', access('f', 'r'), fails('EACCES', access('f', 'w'))), ...as('bob', access('f', 'x'), fails('EACCES', access('f', 'r'))),
    chmod('f', 0o077), ...as('ann', fails('EACCES', access('f', 'r'))), ...as('carol', access('f', 'rwx')), ...as('root', access('f', 'rwx')), chmod('f', 0o666), ...as('root', fails('EACCES', access('f', 'x')))] },
  { title: 'open asks for what it will do', steps: [
    create('f'), chown('f', ann, ann), chmod('f', 0o400), ...as('ann', open('f', 'RDONLY'), fails('EACCES', open('f', 'WRONLY')), fails('EACCES', open('f', 'RDWR')), fails('EACCES', open('f', 'RDONLY TRUNC')))] },
  { title: 'a descriptor keeps what it was opened with', steps: [create('f'), chown('f', ann, ann), ...as('ann', open('f', 'RDWR', 'f')), chmod('f', 0), ...as('ann', write('f', 'x'), fails('EACCES', open('f', 'RDONLY')))] },
  { title: 'names need write and search on the folder', steps: [
    mkdir('d'), create('d/f', 0o666), chown('d', ann, ann), chmod('d', 0o700), ...as('bob', fails('EACCES', list('d')), fails('EACCES', unlink('d/f')), fails('EACCES', create('d/x'))),
    chmod('d', 0o755), ...as('bob', list('d'), fails('EACCES', unlink('d/f')), fails('EACCES', rename('d/f', 'd/g')), fails('EACCES', link('d/f', 'd/g'))), ...as('ann', unlink('d/f'))] },
]

export const namespaceCases: readonly Case[] = [...links, ...folders, ...renames, ...sticky, ...permissions]
