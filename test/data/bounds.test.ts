/** The table of files in memory has a bound: files without work leave, those with bytes that are not yet flushed stay. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NOW } from '../../src/data/index.js'
import { ENTRIES_MAX, FILE_ENTRIES } from '../../src/data/files.js'
import { rootContext as ctx } from '../../src/sys/index.js'
import { makeFile, makeWorld, quiet } from './world.js'

test('files that were read once leave when others come; small ones need no place', { timeout: 120_000 }, async () => {
  const w = await makeWorld({ groups: 16 })
  const bound = Math.ceil(ENTRIES_MAX / FILE_ENTRIES) + 64
  const into = new Uint8Array(16)
  const COUNT = bound + 1500
  for (let ino = 2; ino < COUNT + 2; ino++) {
    await makeFile(w, ino)
    await w.data.read(ctx, ino, NOW, 0, 16, into, 0)
  }
  assert.equal(w.data.status().files, 0, 'empty files are read from their inode')
  for (let ino = 2; ino < COUNT + 2; ino++) {
    await w.data.write(ctx, ino, 0, Buffer.alloc(3000, 1), 0, 3000, quiet)
    if (ino % 1000 === 0) await w.data.flush().then(() => w.data.syncAll(ctx))
  }
  await w.data.flush()
  await w.data.syncAll(ctx)
  for (let ino = 2; ino < COUNT + 2; ino++) {
    assert.equal(await w.data.read(ctx, ino, NOW, 0, 16, into, 0), 16)
    assert.ok(w.data.status().files <= bound + 1000, `${w.data.status().files} files`)
  }
  const { files, ranges } = w.data.status()
  assert.ok(files > 1000 && files * FILE_ENTRIES + ranges <= ENTRIES_MAX + 65 * FILE_ENTRIES, `${files} files, ${ranges} ranges`)
})
