/**
 * Files without OPEN and RELEASE (the default): what the kernel asks of the daemon, counted, and that nothing which hangs on open files
 * in other file systems is missed.
 *   - A memory shortage or drop_caches elsewhere on the machine makes the kernel ask again: of five counts one must be right.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { makePlace, needsRoot, until } from './place.js'
import type { Place } from './place.js'

const O_TMPFILE = 0x410000

async function mounted(t: TestContext): Promise<Place> {
  const place = makePlace(t)
  const { code, err } = await place.ogee('mount', place.pool, place.dir)
  assert.equal(code, 0, err)
  return place
}
const status = async (place: Place): Promise<{ requests: number, inodes: number }> => JSON.parse((await place.ogee('status', '--json', place.dir)).out)

test('requests to the daemon: none for what the kernel knows, three for a new file', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const place = await mounted(t)
  const at = (name: string): string => join(place.dir, name)
  let n = 0
  fs.mkdirSync(at('folder'))
  for (let i = 0; i < 10; i++) fs.writeFileSync(at(`folder/${i}`), 'bytes')
  const look = (): void => {
    for (let i = 0; i < 10; i++) {
      fs.statSync(at(`folder/${i}`))
      fs.readFileSync(at(`folder/${i}`))
    }
    fs.readdirSync(at('folder'))
    assert.ok(!fs.existsSync(at('missing')))
  }
  const fd = fs.openSync(at('open'), 'w+')
  t.after(() => fs.closeSync(fd))
  fs.writeSync(fd, Buffer.alloc(4096), 0, 4096, 0)
  const tenTimes = (what: () => void) => (): void => { for (let i = 0; i < 10; i++) what() }
  const cases: readonly (readonly [title: string, requests: number, work: () => void])[] = [
    ['stat, open, read, close, readdir, a missing name, all known', 0, look],
    ['10 new files, closed', 30, tenTimes(() => fs.closeSync(fs.openSync(at(`new${n++}`), 'wx')))], // LOOKUP, MKNOD, GETATTR of the folder
    ['10 new folders', 30, tenTimes(() => fs.mkdirSync(at(`dir${n++}`)))],
    ['10 writes', 10, tenTimes(() => fs.writeSync(fd, Buffer.alloc(4096), 0, 4096, 4096 * n++))],
    ['10 writes and fsyncs', 20, tenTimes(() => { fs.writeSync(fd, Buffer.alloc(4096), 0, 4096, 4096 * n++); fs.fsyncSync(fd) })]
  ]
  look()
  fs.closeSync(fs.openSync(at('first'), 'wx')) // the kernel learns that it need not tell us of opens
  for (const [title, requests, work] of cases) {
    const counts: number[] = []
    for (let i = 0; i < 5 && counts.at(-1) !== requests; i++) {
      fs.statSync(place.dir)
      work() // what the kernel may have dropped
      fs.statSync(place.dir)
      const before = (await status(place)).requests
      work()
      fs.statSync(place.dir)
      counts.push((await status(place)).requests - before)
    }
    assert.equal(counts.at(-1), requests, `${title}: ${counts.join(', ')} requests`)
  }
})

test('a file that was removed lives as long as a program has it open, and its inode is free after that', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const place = await mounted(t)
  const path = join(place.dir, 'file')
  const before = (await status(place)).inodes
  const fd = fs.openSync(path, 'w+')
  fs.writeSync(fd, Buffer.alloc(300_000, 1))
  fs.unlinkSync(path)
  const unnamed = fs.openSync(place.dir, O_TMPFILE | fs.constants.O_RDWR, 0o600)
  fs.writeSync(unnamed, Buffer.alloc(100_000, 2))
  assert.equal(fs.fstatSync(fd).nlink, 0)
  assert.equal(fs.fstatSync(unnamed).size, 100_000)
  assert.equal((await place.ogee('sync', place.dir)).code, 0)
  fs.writeSync(fd, Buffer.from('more'), 0, 4, 300_000)
  const bytes = Buffer.alloc(300_004)
  assert.equal(fs.readSync(fd, bytes, 0, bytes.length, 0), 300_004)
  assert.deepEqual([bytes[0], bytes.subarray(300_000).toString()], [1, 'more'])
  assert.ok((await status(place)).inodes >= before + 2)
  fs.closeSync(fd)
  fs.closeSync(unnamed)
  await until(async () => (await status(place)).inodes === before, 'both inodes are free')
})

test('what the mode forbids to open, its maker may still write; nobody writes what is immutable', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const place = await mounted(t)
  fs.chmodSync(place.dir, 0o777)
  const [path, fixed] = [join(place.dir, 'readonly'), join(place.dir, 'immutable')]
  process.seteuid!(1000)
  try {
    const fd = fs.openSync(path, 'wx', 0o444)
    fs.writeSync(fd, 'bytes')
    fs.closeSync(fd)
    assert.throws(() => fs.openSync(path, 'r+'), { code: 'EACCES' })
  } finally {
    process.seteuid!(0)
  }
  assert.equal(fs.readFileSync(path, 'utf8'), 'bytes')
  assert.throws(() => fs.openSync(path, 'wx'), { code: 'EEXIST' })
  fs.writeFileSync(fixed, 'bytes')
  if (spawnSync('chattr', ['+i', fixed]).status !== 0) return t.skip('no chattr here')
  assert.throws(() => fs.writeFileSync(fixed, 'other'), { code: 'EPERM' })
  assert.throws(() => fs.appendFileSync(fixed, 'other'), { code: 'EPERM' })
  assert.throws(() => fs.truncateSync(fixed), { code: 'EPERM' })
  assert.throws(() => fs.unlinkSync(fixed), { code: 'EPERM' })
  spawnSync('chattr', ['-i', '+a', fixed])
  fs.appendFileSync(fixed, ' and more')
  const fd = fs.openSync(fixed, 'r+')
  assert.throws(() => fs.writeSync(fd, 'x', 0), { code: 'EPERM' })
  fs.closeSync(fd)
  assert.equal(fs.readFileSync(fixed, 'utf8'), 'bytes and more')
  spawnSync('chattr', ['-a', fixed])
})

test('a read through O_NOATIME leaves the access time as it is, another one moves it', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const place = await mounted(t)
  const path = join(place.dir, 'file')
  fs.writeFileSync(path, Buffer.alloc(20_000, 1))
  for (const [flags, moves] of [[fs.constants.O_NOATIME, false], [0, true]] as const) {
    fs.utimesSync(path, 1000, 2000)
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_DIRECT | flags)
    assert.equal(fs.readSync(fd, Buffer.alloc(4096), 0, 4096, 0), 4096)
    fs.closeSync(fd)
    assert.equal(fs.statSync(path).atimeMs !== 1_000_000, moves)
  }
})

test('the kernel\'s own write-back puts pages in their place, also for a file that was opened to append', { skip: needsRoot, timeout: 60_000 }, async (t) => {
  const place = makePlace(t)
  assert.equal((await place.ogee('mount', '-o', 'opens,writeback_cache', place.pool, place.dir)).code, 0)
  const file = join(place.dir, 'log')
  fs.appendFileSync(file, 'x'.repeat(2048))
  fs.appendFileSync(file, 'y') // the kernel writes the page back whole
  await place.ogee('umount', place.dir)
  assert.equal((await place.ogee('mount', place.pool, place.dir)).code, 0)
  assert.equal(fs.readFileSync(file, 'latin1'), `${'x'.repeat(2048)}y`)
})
