/** Copies of large files as programs make them: they take no space, say what the original said, and go their own way. */
import assert from 'node:assert/strict'
import { statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, ok, refused, run } from './place.js'
import type { Ran } from './place.js'

/** Files are written a MiB at a time: what came in small writes waits in the log for its flush, and is copied until then. */
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
  ok(await sh(`head -c 40000001 /dev/urandom > ${top}/a && dd if=${top}/a of=a bs=1M`, dir))
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

test('what a snapshot has comes back without its bytes', async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '64M'))
  ok(await ogee('mount', pool, dir))
  ok(await sh(`head -c 20000001 /dev/urandom > ${top}/a && dd if=${top}/a of=a bs=1M && echo small > s`, dir))
  ok(await ogee('snapshot', 'create', dir, '/@one'))
  ok(await sh('dd if=/dev/urandom of=a bs=1M count=4 conv=notrunc,fsync; echo other > s', dir))
  ok(await ogee('sync', dir))
  const used = (): number => statfsSync(dir).blocks - statfsSync(dir).bfree
  const before = used()
  ok(await sh(`cp .snapshots/one/a b && cp .snapshots/one/a c && cmp b ${top}/a && ! cmp a b`, dir))
  assert.equal(used(), before)
  ok(await sh(`cp .snapshots/one/a a && cp .snapshots/one/s s && cmp a ${top}/a && grep small s && rm b`, dir))
  ok(await ogee('snapshot', 'rm', dir, '/@one', '--wait'))
  ok(await sh(`cmp a ${top}/a && cmp c ${top}/a`, dir))
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
})

test('ogee clone of a file: all of it shared, and all that it is said to be', async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '64M'))
  ok(await ogee('mount', pool, dir))
  ok(await sh(`mkdir d && setfacl -d -m u:7:rwx d && truncate -s 100M a && dd if=/dev/urandom of=a bs=1M count=20 seek=5 conv=notrunc && chown 1:2 a && chmod 4711 a && setfattr -n user.x -v 1 a && setfacl -m u:9:r a && touch -d @1000000000.5 a && cp -a a ${top}/a`, dir))
  ok(await sh('printf hello > small && : > none && mkdir f && mkfifo p', dir))
  refused(await sh('ls d/b', dir), /No such file/) // and the kernel remembers that
  assert.equal((JSON.parse(ok(await ogee('clone', dir, '/a', '/d/b', '--json')).out) as { made: string }).made, '/d/b')
  ok(await sh(`cmp d/b ${top}/a && [ "$(stat -c '%a %u %g %Y %s %b' a)" = "$(stat -c '%a %u %g %Y %s %b' d/b)" ]`, dir))
  assert.equal(ok(await sh('getfacl -ncp a; getfattr -d -m - a', dir)).out, ok(await sh('getfacl -ncp d/b; getfattr -d -m - d/b', dir)).out.replace('# file: d/b', '# file: a'))
  for (let i = 0; i < 5; i++) ok(await ogee('clone', dir, '/a', `/a@${i}`)) // seven times 20 MiB in 64
  ok(await ogee('clone', dir, '/a@3', '/a@3@5'))
  ok(await ogee('clone', dir, '/small', '/small2'))
  ok(await ogee('clone', dir, '/none', '/none2'))
  ok(await sh('printf jello | dd of=a@4 bs=1 seek=10000000 conv=notrunc && cmp a d/b && cmp a a@3@5 && ! cmp a a@4 && cmp small small2 && [ ! -s none2 ]', dir))
  refused(await ogee('clone', dir, '/a', '/d/b'), /something at \/d\/b already/)
  refused(await ogee('clone', dir, '/a', '/no/b'), /make it first/)
  refused(await ogee('clone', dir, '/a', '/small/b'), /is no folder|no folder/)
  refused(await ogee('clone', dir, '/f', '/g'), /is a folder/)
  refused(await ogee('clone', dir, '/p', '/g'), /no regular file/)
  refused(await ogee('clone', dir, '/nothing', '/g'), /There is no \/nothing/)
  ok(await ogee('umount', dir))
  ok(await ogee('clone', pool, '/a', '/unmounted'))
  ok(await ogee('fsck', pool))
  ok(await ogee('mount', pool, dir))
  ok(await sh(`cmp unmounted ${top}/a`, dir))
})
