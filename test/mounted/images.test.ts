/** Images as a user moves them: from a mounted pool to another one, mounted or not; whole, in increments, resumed, damaged, raw. */
import assert from 'node:assert/strict'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { makePlace, needsRoot, ogeePath, ok, refused, run } from './place.js'
import type { Place, Ran } from './place.js'

const sh = (script: string, cwd = '/'): Promise<Ran> => run('bash', ['-o', 'pipefail', '-c', script], { cwd, env: { OGEE: ogeePath } })

/** A mounted pool with a subvolume of all kinds of files and its snapshot one, and another pool. */
async function twoPools(t: TestContext): Promise<Place & { readonly other: string; readonly otherDir: string }> {
  const place = makePlace(t)
  const other = join(place.top, 'other')
  ok(await place.ogee('mount', place.pool, place.dir))
  ok(await place.ogee('format', other, '--size', '1G'))
  ok(await place.ogee('subvolume', 'create', place.dir, '/home'))
  ok(await sh(`mkdir d && echo one > d/f && ln d/f g && ln -s d/f s && mkfifo p && head -c 300000 /dev/urandom > big && truncate -s 9M sparse && echo x >> sparse
    && setfattr -n user.colour -v blue d/f && chmod 640 g && touch -d '2001-02-03 04:05:06.789' big`.replaceAll('\n', ' '), join(place.dir, 'home')))
  ok(await place.ogee('snapshot', 'create', place.dir, '/home@one'))
  return { ...place, other, otherDir: place.folder('othermnt') }
}
const same = async (a: string, b: string): Promise<void> => {
  ok(await run('diff', ['-r', '--no-dereference', '--exclude=p', a, b]))
  const list = `find . -printf '%P %y %m %n %s %T@ %l\\n' | grep -v '^ ' | sort; getfattr -Rd --absolute-names . | grep -v '^# file'`
  assert.equal(ok(await sh(list, a)).out, ok(await sh(list, b)).out)
}

test('an image and its increment go through pipes to another pool', { skip: needsRoot, timeout: 120_000 }, async (t) => {
  const { pool, dir, ogee, other, otherDir } = await twoPools(t)
  ok(await sh(`$OGEE export ${dir} /home@one | $OGEE import ${other} /home`)) // closed there
  ok(await sh('echo two > d/f && rm s && mv big d/moved && mkdir new && echo y > new/z && truncate -s 100 sparse', join(dir, 'home')))
  ok(await ogee('snapshot', 'create', dir, '/home@two'))
  ok(await ogee('mount', other, otherDir))
  await same(join(dir, 'home/.snapshots/one'), join(otherDir, 'home'))
  ok(await sh(`$OGEE export ${dir} /home@two --since one | $OGEE import ${otherDir} /home`)) // mounted there, and looked at before
  await same(join(dir, 'home'), join(otherDir, 'home'))
  await same(join(dir, 'home/.snapshots/one'), join(otherDir, 'home/.snapshots/one'))
  refused(await sh(`$OGEE export ${dir} /home@two --since one | $OGEE import ${otherDir} /home`), /./) // it has that snapshot
  for (const where of [dir, otherDir]) ok(await ogee('umount', where))
  for (const where of [pool, other]) ok(await ogee('fsck', where))
})

test('an image in a file: cut, damaged and resumed', { skip: needsRoot, timeout: 120_000 }, async (t) => {
  const { top, dir, ogee, other, otherDir } = await twoPools(t)
  const image = join(top, 'image')
  ok(await sh(`$OGEE export ${dir} /home@one > ${image}`))
  const bytes = readFileSync(image)
  const damaged = Buffer.from(bytes)
  damaged[damaged.length >> 1] ^= 4
  writeFileSync(join(top, 'damaged'), damaged)
  refused(await sh(`$OGEE import ${other} /home < ${top}/damaged`), /damaged/)
  writeFileSync(join(top, 'cut'), bytes)
  truncateSync(join(top, 'cut'), bytes.length - 1000)
  refused(await sh(`$OGEE import ${other} /home < ${top}/cut`), /./)
  ok(await ogee('mount', other, otherDir))
  assert.equal(ok(await sh('ls -A', otherDir)).out, '', 'nothing half-made is there')
  ok(await sh(`(cat ${top}/cut; $OGEE export ${dir} /home@one --resume ${bytes.length - 1000}) > ${top}/whole && cmp ${top}/whole ${image}`))
  ok(await sh(`$OGEE import ${otherDir} /home < ${top}/whole`)) // through the daemon
  await same(join(dir, 'home/.snapshots/one'), join(otherDir, 'home'))
})

test('a volume as an image and as plain bytes', { skip: needsRoot, timeout: 120_000 }, async (t) => {
  const { top, dir, ogee, other, pool } = await twoPools(t)
  ok(await ogee('umount', dir))
  ok(await ogee('volume', 'create', pool, 'disk', '--size', '8M'))
  ok(await ogee('snapshot', 'create', pool, 'disk@one'))
  ok(await sh(`$OGEE export ${pool} disk@one | $OGEE import ${other} copy`))
  ok(await sh(`$OGEE export ${pool} disk@one --format raw > ${top}/raw`))
  assert.ok(readFileSync(join(top, 'raw')).equals(Buffer.alloc(8 << 20)))
  assert.match(ok(await ogee('volume', 'list', other)).out, /copy/)
})
