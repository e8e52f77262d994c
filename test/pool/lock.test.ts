/** The pool's lock and its folder: one holder, takeover after death, nothing strange is ever touched. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { beginFormat, checkApart, inspectFolder, makeFolder, resolvePool } from '../../src/pool/folder.js'
import { holderText, lockState, tryLock } from '../../src/pool/lock.js'
import type { Lock } from '../../src/pool/lock.js'
import { Refusal } from '../../src/pool/refusal.js'

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-lock-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const held = (r: ReturnType<typeof tryLock>): Lock => {
  assert.ok('release' in r)
  return r
}
const refusedAs = (reason: string) => (e: unknown): boolean => e instanceof Refusal && e.reason === reason && /: .+\.$/.test(e.message)

test('a second opener learns who has the pool; afterwards it is free', (t) => {
  const folder = folderFor(t)
  assert.deepEqual(lockState(folder), { held: false })
  const lock = held(tryLock(folder, 'daemon'))
  assert.equal(lock.before, undefined)
  lock.setDevice('0:77')
  const second = tryLock(folder, 'format')
  assert.ok('heldBy' in second)
  assert.equal(second.heldBy?.pid, process.pid)
  assert.equal(second.heldBy?.device, '0:77')
  const state = lockState(folder)
  assert.ok(state.held && state.by?.what === 'daemon')
  assert.equal(statSync(join(folder, 'lock')).mode & 0o777, 0o600)
  lock.release()
  assert.deepEqual(lockState(folder), { held: false })
  held(tryLock(folder, 'format')).release()
})

test('the lock of a killed process is free, and tells what it left', async (t) => {
  const folder = folderFor(t)
  const child = spawn('flock', ['-x', '-F', join(folder, 'lock'), 'sleep', '60'], { stdio: 'ignore' })
  while (!existsSync(join(folder, 'lock')) || !lockState(folder).held) await new Promise((resolve) => setTimeout(resolve, 5))
  writeFileSync(join(folder, 'lock'), JSON.stringify({ pid: 7, host: 'elsewhere', bootId: 'b', what: 'daemon', device: '0:9' }))
  const refused = tryLock(folder, 'daemon')
  assert.ok('heldBy' in refused)
  assert.equal(holderText(refused.heldBy), 'pid 7 on elsewhere')
  child.kill('SIGKILL')
  await new Promise((resolve) => child.once('exit', resolve))
  const lock = held(tryLock(folder, 'daemon'))
  assert.equal(lock.before?.device, '0:9')
  lock.release()
})

test('a torn lock file names nobody', (t) => {
  const folder = folderFor(t)
  writeFileSync(join(folder, 'lock'), '{"pid":12,"ho')
  const lock = held(tryLock(folder, 'daemon'))
  assert.equal(lock.before, undefined)
  lock.release()
  assert.equal(holderText(undefined), 'another process')
})

test('what a folder holds', (t) => {
  const folder = folderFor(t)
  assert.equal(inspectFolder(join(folder, 'new')), 'absent')
  assert.equal(inspectFolder(folder), 'empty')
  writeFileSync(join(folder, 'lock'), '')
  mkdirSync(join(folder, 'lost+found'))
  assert.equal(inspectFolder(folder), 'empty')
  writeFileSync(join(folder, 'thesis.tex'), 'x')
  assert.throws(() => inspectFolder(folder), refusedAs('not-a-pool'))
  assert.throws(() => makeFolder(folder), refusedAs('not-a-pool'))
  assert.throws(() => inspectFolder(join(folder, 'thesis.tex')), refusedAs('not-a-pool'))
  assert.throws(() => resolvePool(join(folder, 'a', 'b')), refusedAs('missing'))
})

test('a pool without its superblock is not formatted anew; an interrupted format is', (t) => {
  const folder = folderFor(t)
  mkdirSync(join(folder, 'meta'))
  writeFileSync(join(folder, 'space'), 'bytes')
  assert.throws(() => inspectFolder(folder), refusedAs('half-made'))
  assert.equal(readFileSync(join(folder, 'space'), 'utf8'), 'bytes')
  writeFileSync(join(folder, 'making'), '')
  assert.equal(inspectFolder(folder), 'begun')
  beginFormat(folder)
  assert.deepEqual(readdirSync(folder), ['making'])
})

test('a new folder is private, symbolic links are followed', (t) => {
  const folder = folderFor(t)
  makeFolder(join(folder, 'p'))
  assert.equal(statSync(join(folder, 'p')).mode & 0o777, 0o700)
  symlinkSync(join(folder, 'p'), join(folder, 'link'))
  assert.equal(resolvePool(join(folder, 'link')), resolvePool(join(folder, 'p')))
  assert.ok(existsSync(join(folder, 'p')))
})

test('pool and mount point lie apart', () => {
  checkApart('/a/p', '/a/pq')
  checkApart('/a/pq', '/a/p')
  for (const [folder, dir] of [['/a', '/a'], ['/a', '/a/b'], ['/a/b', '/a'], ['/a', '/']]) {
    assert.throws(() => checkApart(folder, dir), refusedAs('usage'))
  }
})
