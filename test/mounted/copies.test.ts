/** Copies of large files as programs make them: they take no space, say what the original said, and go their own way. */
import assert from 'node:assert/strict'
import { statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, ok, run } from './place.js'
import type { Ran } from './place.js'

const sh = (script: string, cwd = '/'): Promise<Ran> => run('sh', ['-c', script], { cwd })
const MIB = 1024 * 1024

test('cp takes no space, whatever becomes of the original', async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '128M'))
  ok(await ogee('mount', pool, dir))
  const used = (): number => {
    const s = statfsSync(dir)
    return (s.blocks - s.bfree) * s.bsize
  }
  ok(await sh(`head -c 40000001 /dev/urandom > a && cp a ${top}/a`, dir))
  ok(await ogee('sync', dir))
  const before = used()
  ok(await sh('cp a b && cp b c && cp a d && cmp a b && cmp a d', dir)) // four times 40 MB in a pool of 128
  assert.equal(used(), before)
  assert.equal(statSync(join(dir, 'd')).blocks, statSync(join(dir, 'a')).blocks)
  ok(await sh(`dd if=/dev/urandom of=${top}/new bs=1M count=3 && for f in b ${top}/a; do dd if=${top}/new of=$f bs=1M seek=7 conv=notrunc,fsync; done; cmp b ${top}/a && ! cmp a b && cmp a c`, dir))
  ok(await ogee('sync', dir))
  assert.equal(used(), before + 3 * MIB)
  ok(await sh(`mv b b2 && rm a c && cmp b2 ${top}/a && truncate -s 20000000 d && cmp -n 7000000 d ${top}/a`, dir))
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
  ok(await ogee('mount', pool, dir))
  ok(await sh(`cmp b2 ${top}/a && rm b2 d`, dir))
  ok(await ogee('sync', dir))
  for (let i = 0; i < 100 && used() > 0; i++) await new Promise((resolve) => setTimeout(resolve, 100))
  assert.equal(used(), 0)
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
})
