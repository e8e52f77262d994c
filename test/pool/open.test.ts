/** A pool opened and closed without a mount: format, contents over reopening, an interrupted format, damage below. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { formatPool, makeFolder, openPool, readSuperblock, Refusal } from '../../src/pool/index.js'
import type { Pool } from '../../src/pool/index.js'
import { rootContext, seededRandom, systemClock } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'

const MIB = 1024 ** 2

function folderFor(t: TestContext): string {
  const top = mkdtempSync(join(tmpdir(), 'ogee-open-'))
  t.after(() => rmSync(top, { recursive: true, force: true }))
  const folder = join(top, 'pool')
  makeFolder(folder)
  return folder
}
const parts = { clock: systemClock, random: seededRandom(7) }
const format = (folder: string, sizeBytes = 256 * MIB): ReturnType<typeof formatPool> => formatPool(folder, { ...parts, sizeBytes })
const open = (folder: string, notes: string[] = []): Promise<Pool> => openPool(folder, { ...parts, vfs: {}, note: (text) => notes.push(text) })
const refusedAs = (reason: string) => (e: unknown): boolean => e instanceof Refusal && e.reason === reason && /: .+\.$/.test(e.message)

async function writeFile(pool: Pool, name: string, bytes: Buffer): Promise<void> {
  const { attr, handle } = await pool.vfs.create(rootContext, ROOT_NODE, name, 0o100644, 0o022, 2)
  await pool.vfs.write(rootContext, attr.ino, handle, 0, bytes, 0, bytes.length, { killSuidgid: false, append: false })
  await pool.vfs.release(rootContext, attr.ino, handle)
  pool.vfs.forget(attr.ino)
}
async function readFile(pool: Pool, name: string): Promise<Buffer> {
  const attr = await pool.vfs.lookup(rootContext, ROOT_NODE, name)
  assert.ok(attr !== undefined)
  const into = Buffer.alloc(attr.sizeBytes)
  assert.equal(await pool.vfs.read(rootContext, attr.ino, 0, 0, into.length, into, 0), into.length)
  pool.vfs.forget(attr.ino)
  return into
}

test('format, open, write, close, open: the bytes are there', async (t) => {
  const folder = folderFor(t)
  const made = await format(folder)
  assert.deepEqual(readSuperblock(folder), made)
  assert.deepEqual([made.name, made.sizeBytes], ['pool', 256 * MIB])
  const contents = [Buffer.from('small'), Buffer.alloc(50_000, 'm'), Buffer.alloc(3 * MIB, 'L')]
  const pool = await open(folder)
  for (const [i, bytes] of contents.entries()) await writeFile(pool, `f${i}`, bytes)
  await pool.sync()
  const status = await pool.status()
  assert.deepEqual([status.dirtyBytes, status.openFiles, status.inodes, status.space.sizeBytes], [0, 0, 4, 256 * MIB])
  await pool.close()
  await pool.close()
  const again = await open(folder)
  for (const [i, bytes] of contents.entries()) assert.ok((await readFile(again, `f${i}`)).equals(bytes), `f${i}`)
  await again.close()
})

test('a new folder becomes a pool, and says so once; a pool is not formatted again', async (t) => {
  const folder = folderFor(t)
  const notes: string[] = []
  await (await open(folder, notes)).close()
  await (await open(folder, notes)).close()
  assert.equal(notes.length, 1)
  assert.match(notes[0], /^made pool /)
  await assert.rejects(format(folder), refusedAs('exists'))
})

test('an interrupted format begins anew, whatever it left', async (t) => {
  const folder = folderFor(t)
  await format(folder)
  rmSync(join(folder, 'superblock'))
  writeFileSync(join(folder, 'making'), '')
  await format(folder)
  assert.ok(!readdirSync(folder).includes('making'))
  await (await open(folder)).close()
})

test('files of the pool that are gone or damaged: a sentence', async (t) => {
  for (const [name, harm] of [['space', (path: string) => truncateSync(path, 1000)], ['log', (path: string) => rmSync(path)], ['log', (path: string) => writeFileSync(path, 'nonsense')],
    ['meta', (path: string) => rmSync(path, { recursive: true })], ['space', (path: string) => rmSync(path)]] as const) {
    const folder = folderFor(t)
    await format(folder)
    harm(join(folder, name))
    await assert.rejects(open(folder), (e) => {
      assert.ok(e instanceof Refusal, `${name}: ${String(e)}`)
      assert.match(e.message, /: .+\.$/)
      return true
    })
  }
})

test('sizes are whole block groups', async (t) => {
  const folder = folderFor(t)
  assert.equal((await format(folder, 101 * MIB)).sizeBytes, 100 * MIB)
})
