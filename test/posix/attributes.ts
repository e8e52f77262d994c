/** Attributes: modes, owners, times, devices, set-id bits, xattrs. */
import {
  as, chmod, chown, close, create, fails, ftruncate, getxattr, gives, has, lchown, link, listxattr, masked, mkdir, mknod, open, pread, removexattr, rename, setxattr, symlink, touches, truncate, utimes, write, list, unlink,
  type Case, type Step,
} from './posix.js'

const ann = 64001
const bob = 64002
const CREATE = 1
const REPLACE = 2

const modes: readonly Case[] = [
  { title: 'every permission bit, on a file and a folder', steps: [
    create('f'), mkdir('d'), ...[0, 0o1, 0o10, 0o100, 0o444, 0o755, 0o777, 0o1777, 0o2755, 0o4755, 0o7777].flatMap((mode): Step[] => [chmod('f', mode), has('f', { mode, type: 'file' }), chmod('d', mode), has('d', { mode, type: 'folder' })])] },
  { title: 'umask takes away', steps: [masked(0o027, create('f', 0o666)), has('f', { mode: 0o640 }), masked(0o077, mkdir('d', 0o777)), has('d', { mode: 0o700 }), masked(0o777, mknod('p', 'fifo', 0o666)), has('p', { mode: 0 }), masked(0o022, symlink('x', 's')), has('s', { mode: 0o777 })] },
  { title: 'chmod is the owner\'s and touches ctime', steps: [
    create('f'), chown('f', ann, ann), ...touches({ f: 'ctime' }, ...as('ann', chmod('f', 0o600))), ...touches({ f: '' }, ...as('bob', fails('EPERM', chmod('f', 0o666))))] },
  { title: 'chmod through a symlink', steps: [create('f'), symlink('f', 's'), chmod('s', 0o611), has('f', { mode: 0o611 }), has('s', { mode: 0o777 })] },
  { title: 'setgid goes if the owner is not in the group', steps: [create('f'), chown('f', ann, bob), ...as('ann', chmod('f', 0o2755)), has('f', { mode: 0o755 }), chown('f', ann, ann), ...as('ann', chmod('f', 0o2755)), has('f', { mode: 0o2755 })] },
  { title: 'a sticky bit on a file is root\'s or anybody\'s, as Linux has it', steps: [create('f'), chown('f', ann, ann), ...as('ann', chmod('f', 0o1644)), has('f', { mode: 0o1644 })] },
  { title: 'a new file is its maker\'s; in a setgid folder the folder\'s group\'s', steps: [
    ...as('ann', create('f'), mkdir('d'), symlink('x', 's'), mknod('p', 'fifo')), ...['f', 'd', 's', 'p'].map((name) => has(name, { uid: ann, gid: ann })),
    mkdir('g'), chown('g', 0, bob), chmod('g', 0o2777), ...as('ann', create('g/f'), mkdir('g/d'), symlink('x', 'g/s'), mknod('g/p', 'fifo')),
    ...['f', 's', 'p'].map((name) => has(`g/${name}`, { uid: ann, gid: bob })), has('g/d', { uid: ann, gid: bob, mode: 0o2755 })] },
  { title: 'a setgid executable in a setgid folder of a foreign group', steps: [mkdir('g'), chown('g', 0, bob), chmod('g', 0o2777), ...as('ann', create('g/f', 0o2755)), has('g/f', { mode: 0o755, gid: bob })] },
]

const owners: readonly Case[] = [
  { title: 'root gives to anybody; -1 leaves as it is', steps: [create('f'), chown('f', ann, bob), has('f', { uid: ann, gid: bob }), chown('f', -1, 7), has('f', { uid: ann, gid: 7 }), chown('f', 8, -1), has('f', { uid: 8, gid: 7 }), chown('f', 4294967294, 4294967294), has('f', { uid: 4294967294, gid: 4294967294 })] },
  { title: 'an owner gives to groups of hers, to nobody else', steps: [
    create('f'), chown('f', 64003, 64003), ...as('carol', chown('f', -1, ann)), has('f', { gid: ann }), ...as('carol', fails('EPERM', chown('f', -1, bob)), fails('EPERM', chown('f', ann, -1)), chown('f', 64003, -1)),
    ...as('bob', fails('EPERM', chown('f', bob, -1)), fails('EPERM', chown('f', -1, bob)))] },
  { title: 'lchown means the symlink', steps: [create('f'), symlink('f', 's'), lchown('s', ann, bob), has('s', { uid: ann, gid: bob }), has('f', { uid: 0, gid: 0 }), chown('s', bob, ann), has('f', { uid: bob, gid: ann })] },
  { title: 'chown takes set-id bits away, a group\'s only from executables', steps: [
    create('f'), chmod('f', 0o6755), chown('f', ann, ann), has('f', { mode: 0o755 }), chown('f', ann, ann), chmod('f', 0o6755), ...as('ann', chown('f', ann, ann)), has('f', { mode: 0o755 }),
    chown('f', 0, 0), chmod('f', 0o2644), chown('f', ann, ann), has('f', { mode: 0o2644 }), mkdir('d'), chmod('d', 0o6755), chown('d', ann, ann), has('d', { mode: 0o6755 })] },
  { title: 'chown touches ctime', steps: [create('f'), ...touches({ f: 'ctime' }, chown('f', ann, ann))] },
  { title: 'writing takes set-id bits away', steps: [
    create('f'), chown('f', ann, ann), chmod('f', 0o6777), ...as('bob', open('f', 'WRONLY', 'w'), write('w', 'x'), close('w')), has('f', { mode: 0o777 }),
    chmod('f', 0o6777), ...as('bob', truncate('f', 0)), has('f', { mode: 0o777 }), chmod('f', 0o6777), ...as('bob', open('f', 'WRONLY TRUNC')), has('f', { mode: 0o777 }), chmod('f', 0o6777), open('f', 'WRONLY', 'r'), write('r', 'x'), has('f', { mode: 0o6777 })] },
]

const times: readonly Case[] = [
  { title: 'nanoseconds, before 1970 and after 2106', steps: [
    create('f'), ...[[0, 0], [1, 1], [-1, 999_999_999], [-2_000_000_000, 123_456_789], [2 ** 31, 5], [2 ** 32 + 7, 999_999_999], [5_000_000_000, 1]].flatMap((time): Step[] => [utimes('f', time, [3, 4]), has('f', { atime: time, mtime: [3, 4] }), utimes('f', [5, 6], time), has('f', { atime: [5, 6], mtime: time })])] },
  { title: 'now and omit', steps: [create('f'), utimes('f', [1, 0], [1, 0]), ...touches({ f: 'atime ctime' }, utimes('f', 'now', 'omit')), ...touches({ f: 'mtime ctime' }, utimes('f', 'omit', 'now')), ...touches({ f: '' }, utimes('f', 'omit', 'omit'))] },
  { title: 'whose times', steps: [
    create('f'), chown('f', ann, ann), chmod('f', 0o664), ...as('ann', utimes('f', [1, 0], [1, 0]), utimes('f', 'now', 'now')), ...as('bob', fails('EPERM', utimes('f', [1, 0], [1, 0])), fails('EACCES', utimes('f', 'now', 'now'))),
    chmod('f', 0o666), ...as('bob', utimes('f', 'now', 'now'), fails('EPERM', utimes('f', 'now', 'omit')), fails('EPERM', utimes('f', [1, 0], 'now')))] },
  { title: 'impossible nanoseconds', steps: [create('f'), fails('EINVAL', utimes('f', [0, 1_000_000_000], [0, 0])), fails('EINVAL', utimes('f', [0, 0], [0, -1]))] },
  { title: 'a symlink has times of its own', steps: [create('f'), symlink('f', 's'), utimes('s', [7, 8], [9, 10]), has('s', { atime: [7, 8], mtime: [9, 10] })] },
  { title: 'what writing and cutting touch', steps: [
    create('f'), open('f', 'RDWR', 'f'), ...touches({ f: 'mtime ctime' }, write('f', 'abc')), ...touches({ f: 'mtime ctime' }, truncate('f', 1)), ...touches({ f: 'mtime ctime' }, ftruncate('f', 10)), ...touches({ f: 'mtime ctime' }, open('f', 'WRONLY TRUNC')),
    ...touches({ f: '' }, open('f', 'RDONLY')), ...touches({ f: '' }, write('f', ''))] },
  { title: 'truncate to the same size touches too', steps: [create('f'), truncate('f', 5), ...touches({ f: 'mtime ctime' }, truncate('f', 5))] },
  { title: 'reading moves an atime that is older than mtime (relatime)', steps: [
    create('f'), open('f', 'RDWR', 'f'), write('f', 'abc'), utimes('f', [1, 0], [2, 0]), ...touches({ f: 'atime' }, gives('abc', pread('f', 10, 0)))] },
  { title: 'listing moves a folder\'s', steps: [mkdir('d'), create('d/f'), utimes('d', [1, 0], [2, 0]), ...touches({ d: 'atime' }, list('d'))] },
]

const devices: readonly Case[] = [
  { title: 'every kind of file', steps: [
    mknod('fifo', 'fifo', 0o640), has('fifo', { type: 'fifo', mode: 0o640, nlink: 1 }), mknod('sock', 'socket'), has('sock', { type: 'socket' }), mknod('file', 'file', 0o4711), has('file', { type: 'file', mode: 0o4711, size: 0 }),
    mknod('char', 'char', 0o600, 1, 3), has('char', { type: 'char', major: 1, minor: 3 }), mknod('block', 'block', 0o600, 259, 65_537), has('block', { type: 'block', major: 259, minor: 65_537 }), mknod('big', 'char', 0o600, 4095, 1_048_575), has('big', { major: 4095, minor: 1_048_575 })] },
  { title: 'devices are root\'s, FIFOs anybody\'s', steps: [...as('ann', fails('EPERM', mknod('c', 'char', 0o666, 1, 3)), fails('EPERM', mknod('b', 'block', 0o666, 1, 3)), mknod('p', 'fifo'), mknod('s', 'socket'), mknod('f', 'file'))] },
  { title: 'a device on the mount works', steps: [mknod('null', 'char', 0o666, 1, 3), open('null', 'RDWR', 'n'), gives(5, write('n', 'hello')), gives('', pread('n', 5, 0)), has('null', { size: 0 })] },
  { title: 'opening a socket', steps: [mknod('s', 'socket'), fails('ENXIO', open('s', 'RDWR'))] },
  { title: 'opening a FIFO to write that nobody reads', steps: [mknod('p', 'fifo'), fails('ENXIO', open('p', 'WRONLY NONBLOCK'))] },
]

const xattrs: readonly Case[] = [
  { title: 'set, get, list, replace, remove', steps: [
    create('f'), setxattr('f', 'user.a', 'one'), setxattr('f', 'user.b', ''), gives('one', getxattr('f', 'user.a')), gives('', getxattr('f', 'user.b')), gives(['user.a', 'user.b'], listxattr('f')), setxattr('f', 'user.a', 'two\0\xff'), gives('two\0\xff', getxattr('f', 'user.a')),
    removexattr('f', 'user.a'), fails('ENODATA', getxattr('f', 'user.a')), fails('ENODATA', removexattr('f', 'user.a')), gives(['user.b'], listxattr('f'))] },
  { title: 'CREATE and REPLACE', steps: [create('f'), fails('ENODATA', setxattr('f', 'user.a', 'x', REPLACE)), setxattr('f', 'user.a', 'x', CREATE), fails('EEXIST', setxattr('f', 'user.a', 'y', CREATE)), setxattr('f', 'user.a', 'z', REPLACE), gives('z', getxattr('f', 'user.a'))] },
  { title: 'names of 255 bytes, not of 256; values of 3000 bytes', steps: [create('f'), setxattr('f', `user.${'n'.repeat(250)}`, 'v'), gives([`user.${'n'.repeat(250)}`], listxattr('f')), fails('ERANGE', setxattr('f', `user.${'n'.repeat(251)}`, 'v')), setxattr('f', 'user.big', 'v'.repeat(3000)), gives('v'.repeat(3000), getxattr('f', 'user.big'))] },
  { title: 'on folders, and with the inode through links and renames', steps: [mkdir('d'), setxattr('d', 'user.a', '1'), gives('1', getxattr('d', 'user.a')), create('f'), setxattr('f', 'user.a', '2'), link('f', 'g'), rename('f', 'h'), gives('2', getxattr('g', 'user.a')), unlink('h'), gives('2', getxattr('g', 'user.a'))] },
  { title: 'user.* needs the file\'s permissions, trusted.* root', steps: [
    create('f'), chown('f', ann, ann), chmod('f', 0o640), setxattr('f', 'user.a', '1'), setxattr('f', 'trusted.t', '1'), gives('1', getxattr('f', 'trusted.t')), ...as('bob', fails('EACCES', getxattr('f', 'user.a')), fails('EACCES', setxattr('f', 'user.a', '2'))),
    ...as('ann', setxattr('f', 'user.a', '3'), fails('EPERM', setxattr('f', 'trusted.t', '2')))] },
  { title: 'user.* is for files and folders alone', steps: [symlink('x', 's'), mknod('p', 'fifo'), fails('EPERM', setxattr('s', 'user.a', '1')), fails('EPERM', setxattr('p', 'user.a', '1')), setxattr('s', 'trusted.a', '1'), gives('1', getxattr('s', 'trusted.a'))] },
  { title: 'no such namespace', steps: [create('f'), fails('EOPNOTSUPP', setxattr('f', 'colour', 'blue')), fails('EOPNOTSUPP', setxattr('f', 'nonsense.a', 'b'))] },
  { title: 'setting touches ctime alone', steps: [create('f'), ...touches({ f: 'ctime' }, setxattr('f', 'user.a', '1')), ...touches({ f: 'ctime' }, removexattr('f', 'user.a')), ...touches({ f: '' }, fails('ENODATA', removexattr('f', 'user.a')))] },
]

export const attributeCases: readonly Case[] = [...modes, ...owners, ...times, ...devices, ...xattrs]
