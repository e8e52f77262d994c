/** Content: opening, sizes, holes, appending, preallocation, copying ranges. */
import {
  as, chmod, chown, close, copyRange, create, fails, fallocate, fhas, fsync, ftruncate, gives, has, mkdir, mknod, open, pread, pwrite, seek, symlink, truncate, write,
  type Case,
} from './posix.js'

const KEEP = 1
const PUNCH = 2
const ZERO = 16
const zeros = (n: number) => '\0'.repeat(n)

const opening: readonly Case[] = [
  { title: 'O_CREAT, O_EXCL, O_TRUNC', steps: [
    open('f', 'CREAT RDWR', 'f'), write('f', 'abc'), close('f'), open('f', 'CREAT RDONLY', 'g'), gives('abc', pread('g', 9, 0)), close('g'), fails('EEXIST', open('f', 'CREAT EXCL RDWR')), open('f', 'CREAT TRUNC WRONLY'), has('f', { size: 0 })] },
  { title: 'O_EXCL does not follow a symlink, O_CREAT does', steps: [symlink('target', 's'), fails('EEXIST', open('s', 'CREAT EXCL RDWR')), open('s', 'CREAT RDWR'), has('target', { type: 'file', size: 0 })] },
  { title: 'O_NOFOLLOW and O_DIRECTORY', steps: [create('f'), mkdir('d'), symlink('f', 's'), fails('ELOOP', open('s', 'RDONLY NOFOLLOW')), fails('ENOTDIR', open('f', 'RDONLY DIRECTORY')), open('d', 'RDONLY DIRECTORY')] },
  { title: 'a folder is not written', steps: [mkdir('d'), fails('EISDIR', open('d', 'WRONLY')), fails('EISDIR', open('d', 'RDWR')), fails('EISDIR', open('d', 'RDONLY CREAT')), fails('EISDIR', truncate('d', 0)), open('d', 'RDONLY', 'd'), fails('EISDIR', pread('d', 1, 0))] },
  { title: 'a descriptor does one way what it was opened for', steps: [create('f'), open('f', 'RDONLY', 'r'), open('f', 'WRONLY', 'w'), fails('EBADF', write('r', 'x')), fails('EBADF', pread('w', 1, 0)), fails('EINVAL', ftruncate('r', 0))] },
  { title: 'a file made without permissions is open all the same', steps: [...as('ann', open('f', 'CREAT EXCL RDWR', 'f'), chmod('f', 0), write('f', 'x'), gives('x', pread('f', 1, 0)))] },
  { title: 'O_APPEND writes at the end, whoever moved it', steps: [
    create('f'), open('f', 'WRONLY APPEND', 'a'), open('f', 'WRONLY', 'w'), write('a', 'one'), pwrite('w', 'two', 3), write('a', 'three'), pwrite('a', 'four', 0), open('f', 'RDONLY', 'r'), gives('onetwothreefour', pread('r', 99, 0))] },
]

const sizes: readonly Case[] = [
  { title: 'truncate: longer is zeros, shorter is gone for good', steps: [
    create('f'), open('f', 'RDWR', 'f'), write('f', 'abcdef'), truncate('f', 3), truncate('f', 6), gives(`abc${zeros(3)}`, pread('f', 9, 0)), ftruncate('f', 0), ftruncate('f', 4), gives(zeros(4), pread('f', 9, 0)), has('f', { size: 4 })] },
  { title: 'the same across blocks', steps: [
    create('f'), open('f', 'RDWR', 'f'), write('f', 'x'.repeat(20000)), truncate('f', 5000), truncate('f', 20000), gives(`x${zeros(9)}`, pread('f', 10, 4999)), gives(zeros(100), pread('f', 100, 12000)), has('f', { size: 20000 })] },
  // Copied first: what the kernel has in its page cache must not hide what the file system believes.
  { title: 'cut twice within a block, then longer: nothing old comes back', steps: [
    create('f'), create('g'), open('f', 'RDWR', 'f'), open('g', 'RDWR', 'g'), pwrite('f', 'x'.repeat(200_000), 0), fsync('f'), truncate('f', 6565), truncate('f', 5560), truncate('f', 16_384),
    gives(16_384, copyRange('f', 0, 'g', 0, 16_384)), gives(`x${zeros(10_824)}`, pread('g', 20_000, 5559)), gives(`x${zeros(10_824)}`, pread('f', 20_000, 5559))] },
  { title: 'negative and enormous sizes', steps: [create('f'), fails('EINVAL', truncate('f', -1)), truncate('f', 2 ** 40), has('f', { size: 2 ** 40 }), open('f', 'RDWR', 'f'), gives(zeros(5), pread('f', 5, 2 ** 39)), gives('', pread('f', 5, 2 ** 40)), truncate('f', 0), has('f', { size: 0, blocks: 0 })] },
  { title: 'truncate needs write permission', steps: [create('f'), chown('f', 64001, 64001), chmod('f', 0o444), ...as('ann', fails('EACCES', truncate('f', 0))), ...as('bob', fails('EACCES', truncate('f', 0)))] },
  { title: 'writing far behind the end leaves a hole', steps: [
    create('f'), open('f', 'RDWR', 'f'), pwrite('f', 'end', 10_000_000), has('f', { size: 10_000_003 }), gives(`${zeros(3)}end`, pread('f', 9, 9_999_997)), gives(zeros(4), pread('f', 4, 0))] },
  { title: 'one byte at 8 TiB', steps: [create('f'), open('f', 'RDWR', 'f'), pwrite('f', 'x', 2 ** 43), has('f', { size: 2 ** 43 + 1 }), gives('\0x', pread('f', 9, 2 ** 43 - 1)), truncate('f', 1), has('f', { size: 1 })] },
  { title: 'writing nothing changes nothing', steps: [create('f'), open('f', 'RDWR', 'f'), gives(0, write('f', '')), gives(0, pwrite('f', '', 100)), has('f', { size: 0 })] },
  { title: 'reading past the end', steps: [create('f'), open('f', 'RDWR', 'f'), write('f', 'abc'), gives('', pread('f', 5, 3)), gives('', pread('f', 5, 3000)), gives('c', pread('f', 5, 2))] },
  { title: 'other kinds have no size to change', steps: [mknod('p', 'fifo'), fails('EINVAL', truncate('p', 0)), mknod('s', 'socket'), fails('EINVAL', truncate('s', 0))] },
]

const holes: readonly Case[] = [
  { title: 'SEEK_DATA and SEEK_HOLE', steps: [
    create('f'), open('f', 'RDWR', 'f'), pwrite('f', 'd'.repeat(65536), 1 << 20), ftruncate('f', 4 << 20), gives(1 << 20, seek('f', 0, 'data')), gives(0, seek('f', 0, 'hole')), gives((1 << 20) + 65536, seek('f', 1 << 20, 'hole')),
    gives((1 << 20) + 5, seek('f', (1 << 20) + 5, 'data')), fails('ENXIO', seek('f', 2 << 20, 'data')), gives(2 << 20, seek('f', 2 << 20, 'hole')), fails('ENXIO', seek('f', 4 << 20, 'hole')), fails('ENXIO', seek('f', 5 << 20, 'data'))] },
  { title: 'an empty file, and one of data alone', steps: [create('e'), open('e', 'RDWR', 'e'), fails('ENXIO', seek('e', 0, 'data')), fails('ENXIO', seek('e', 0, 'hole')), create('f'), open('f', 'RDWR', 'f'), write('f', 'x'.repeat(8192)), gives(0, seek('f', 0, 'data')), gives(8192, seek('f', 0, 'hole'))] },
  { title: 'allocating makes room and, unless told, size', steps: [
    create('f'), open('f', 'RDWR', 'f'), fallocate('f', 0, 0, 100_000), fhas('f', { size: 100_000 }), gives(zeros(9), pread('f', 9, 5000)), fallocate('f', KEEP, 100_000, 100_000), fhas('f', { size: 100_000 }), fallocate('f', 0, 0, 10), fhas('f', { size: 100_000 })] },
  { title: 'allocating keeps what is there', steps: [create('f'), open('f', 'RDWR', 'f'), pwrite('f', 'abc', 5000), fallocate('f', 0, 0, 20_000), gives(`${zeros(2)}abc${zeros(2)}`, pread('f', 7, 4998)), fhas('f', { size: 20_000 })] },
  { title: 'punching makes zeros, gives space back and keeps the size', steps: [
    create('f'), open('f', 'RDWR', 'f'), write('f', 'x'.repeat(262_144)), fallocate('f', PUNCH | KEEP, 65_536, 131_072), fhas('f', { size: 262_144 }), gives(`x${zeros(2)}`, pread('f', 3, 65_535)), gives(`${zeros(1)}x`, pread('f', 2, 196_607)), gives(65_536, seek('f', 0, 'hole')), gives(196_608, seek('f', 65_536, 'data')),
    fallocate('f', PUNCH | KEEP, 10, 20), gives(`x${zeros(20)}x`, pread('f', 22, 9)), fallocate('f', PUNCH | KEEP, 0, 1 << 20), fhas('f', { size: 262_144, blocks: 0 })] },
  { title: 'zeroing a range', steps: [create('f'), open('f', 'RDWR', 'f'), write('f', 'x'.repeat(20_000)), fallocate('f', ZERO, 100, 10_000), gives(`x${zeros(3)}`, pread('f', 4, 99)), gives(`${zeros(1)}x`, pread('f', 2, 10_099)), fallocate('f', ZERO, 19_000, 5_000), fhas('f', { size: 24_000 }), fallocate('f', ZERO | KEEP, 23_000, 5_000), fhas('f', { size: 24_000 })] },
  { title: 'what fallocate refuses', steps: [create('f'), open('f', 'RDONLY', 'r'), open('f', 'RDWR', 'f'), fails('EBADF', fallocate('r', 0, 0, 10)), fails('EINVAL', fallocate('f', 0, -1, 10)), fails('EINVAL', fallocate('f', 0, 0, 0)), fails('EOPNOTSUPP', fallocate('f', PUNCH, 0, 10))] },
]

const copying: readonly Case[] = [
  { title: 'copy_file_range: between files, to the end of the source only', steps: [
    create('a'), create('b'), open('a', 'RDWR', 'a'), open('b', 'RDWR', 'b'), write('a', 'abcdefgh'), gives(4, copyRange('a', 2, 'b', 3, 4)), gives(`${zeros(3)}cdef`, pread('b', 99, 0)), gives(2, copyRange('a', 6, 'b', 0, 100)), gives('gh', pread('b', 2, 0)), gives(0, copyRange('a', 8, 'b', 0, 10))] },
  { title: 'within one file, apart and overlapping', steps: [create('a'), open('a', 'RDWR', 'a'), write('a', 'abcdefgh'), gives(4, copyRange('a', 0, 'a', 100, 4)), gives('abcd', pread('a', 99, 100)), fails('EINVAL', copyRange('a', 0, 'a', 2, 4))] },
  { title: 'a large one', steps: [create('a'), create('b'), open('a', 'RDWR', 'a'), open('b', 'RDWR', 'b'), pwrite('a', 'end', 3_000_000), gives(3_000_003, copyRange('a', 0, 'b', 0, 1 << 30)), fhas('b', { size: 3_000_003 }), gives(`${zeros(1)}end`, pread('b', 9, 2_999_999))] },
  { title: 'what it refuses', steps: [create('a'), open('a', 'RDONLY', 'r'), open('a', 'WRONLY APPEND', 'p'), open('a', 'WRONLY', 'w'), mkdir('d'), open('d', 'RDONLY', 'd'), fails('EBADF', copyRange('r', 0, 'r', 9, 1)), fails('EBADF', copyRange('w', 0, 'w', 9, 1)), fails('EBADF', copyRange('r', 0, 'p', 9, 1)), fails('EISDIR', copyRange('d', 0, 'w', 0, 1))] },
]

export const contentCases: readonly Case[] = [...opening, ...sizes, ...holes, ...copying]
