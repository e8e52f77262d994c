/** Snapshots as a user has them: taken on a pool mounted or not, looked into by programs, removed under them. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, readSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, ok, refused, run } from './place.js'
import type { Ran } from './place.js'

const sh = (script: string, cwd = '/'): Promise<Ran> => run('sh', ['-c', script], { cwd })

test('a subvolume has snapshots of its own; names do not cross its edge', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  ok(await sh('mkdir empty full && chmod 700 empty && echo x > full/f && ls; ls sub', dir).then((ran) => ({ ...ran, code: 0 })))
  ok(await ogee('subvolume', 'create', dir, '/sub'))
  ok(await ogee('subvolume', 'create', dir, '/empty'))
  refused(await ogee('subvolume', 'create', dir, '/full'), /not empty/)
  refused(await ogee('subvolume', 'create', dir, '/sub'), /already/)
  refused(await ogee('subvolume', 'create', dir, '/no/such'), /make it first/)
  assert.equal(ok(await sh('stat -c %a empty; ls; cd sub && echo one > f && mkdir d && ls', dir)).out, '700\nempty\nfull\nsub\nd\nf\n')
  ok(await ogee('snapshot', 'create', dir, '/sub@one'))
  ok(await ogee('snapshot', 'create', dir, '/@all'))
  ok(await sh('echo two > sub/f && mv full/f sub/g && mv full sub/d', dir)) // mv copies
  refused(await sh('ln sub/f here', dir), /cross-device/i)
  refused(await sh('rmdir empty', dir), /busy/)
  assert.equal(ok(await sh('cat sub/.snapshots/one/f; ls sub/.snapshots/one .snapshots/all .snapshots/all/sub; ls -d sub/d/full', dir)).out,
    'one\n.snapshots/all:\nempty\nfull\nsub\n\n.snapshots/all/sub:\n\nsub/.snapshots/one:\nd\nf\nsub/d/full\n')
  assert.deepEqual((JSON.parse(ok(await ogee('subvolume', 'list', dir, '--json')).out) as { path: string; snapshots: number }[]).map((s) => `${s.path} ${s.snapshots}`), ['/ 1', '/sub 1', '/empty 0'])
  refused(await ogee('subvolume', 'rm', dir, '/sub'), /not empty/)
  ok(await ogee('subvolume', 'rm', dir, '/empty'))
  refused(await sh('ls empty', dir), /No such file/)
  ok(await sh('rm -r sub/*', dir))
  refused(await ogee('subvolume', 'rm', dir, '/sub'), /has snapshots/)
  ok(await ogee('snapshot', 'rm', dir, '/sub@one'))
  ok(await ogee('subvolume', 'rm', dir, '/sub'))
  assert.equal(ok(await sh('ls; ls .snapshots/all .snapshots/all/sub', dir)).out, '.snapshots/all:\nempty\nfull\nsub\n\n.snapshots/all/sub:\n')
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
  ok(await ogee('volume', 'create', pool, 'v', '--size', '10M'))
  ok(await ogee('snapshot', 'create', pool, 'v@one'))
  refused(await ogee('volume', 'rm', pool, 'v'), /snapshot/)
  ok(await ogee('snapshot', 'rm', pool, 'v@one'))
  ok(await ogee('volume', 'rm', pool, 'v'))
  ok(await ogee('fsck', pool))
})

for (const options of [[], ['-o', 'opens']]) test(`a snapshot shows what was, to any program; it goes when it is removed ${options.join(' ')}`, async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '1G'))
  assert.equal((JSON.parse(ok(await ogee('snapshot', 'create', pool, '/@empty', '--json')).out) as { snapshot: string }).snapshot, '/@empty')
  ok(await ogee('mount', pool, dir, ...options))
  ok(await sh('mkdir -p d/e && echo one > d/f && ln -s f d/l && ln d/f d/h && for f in big keep; do dd if=/dev/urandom of=$f bs=3000000 count=1 iflag=fullblock; done && chmod 640 d/f && setfattr -n user.x -v 1 d/f && git init -q r && cp d/f r && git -C r add f && git -C r -c user.name=n -c user.email=e commit -qm m', dir))
  refused(await sh('ls .snapshots/one', dir), /No such file/) // and the kernel remembers that
  ok(await sh(`cp -a ${dir} ${top}/was; ls -A .snapshots`, dir))
  ok(await ogee('snapshot', 'create', dir, '/@one'))
  refused(await ogee('snapshot', 'create', dir, '/@one'), /already/)
  refused(await ogee('snapshot', 'create', dir, '/d@one'), /no subvolume/)
  refused(await ogee('snapshot', 'create', dir, 'one'), /no name of a snapshot/)
  assert.equal(ok(await sh('ls -A', dir)).out, 'big\nd\nkeep\nr\n', 'hidden')
  assert.equal(ok(await sh('ls .snapshots', dir)).out, 'empty\none\n', 'what the kernel listed before is forgotten')
  ok(await sh('echo two > d/f; rm -r d/e keep; dd if=/dev/urandom of=big bs=2000000 count=1 iflag=fullblock; echo new > d/new', dir))

  ok(await sh(`diff -r --no-dereference .snapshots/one ${top}/was`, dir))
  assert.equal(ok(await sh(`rsync -aHXin --delete --checksum .snapshots/one/ ${top}/was/`, dir)).out, '')
  ok(await sh(`tar -C .snapshots/one -cf ${top}/t.tar . && tar -C ${top}/was -df ${top}/t.tar`, dir))
  assert.equal(ok(await sh('git --git-dir=.snapshots/one/r/.git -c safe.directory="*" show HEAD:f', dir)).out, 'one\n')
  assert.equal(ok(await sh('getfattr --only-values -n user.x .snapshots/one/d/f', dir)).out, '1')
  assert.equal(ok(await sh('find .snapshots/empty', dir)).out, '.snapshots/empty\n')
  const [live, past, other] = ['d/f', '.snapshots/one/d/f', '.snapshots/one/d/h'].map((name) => statSync(join(dir, name)))
  assert.ok(live.ino !== past.ino && past.ino === other.ino && past.nlink === 2)
  for (const script of ['touch .snapshots/one/x', 'rm .snapshots/one/big', 'dd if=/dev/zero of=.snapshots/one/big bs=10 count=1 conv=notrunc', 'truncate -s 5 .snapshots/one/big', 'mkdir .snapshots/x', 'rmdir .snapshots', 'rmdir .snapshots/one', 'chmod 700 .snapshots/one/d', 'mv d .snapshots/one', 'setfattr -n user.y -v 1 .snapshots/one/d']) {
    refused(await sh(script, dir), /Read-only file system|cross-device/i)
  }
  refused(await sh('mkdir .snapshots', dir), /File exists/)
  refused(await sh('ln .snapshots/one/d/f here', dir), /cross-device/i)

  const before = statfsSync(dir)
  const fd = openSync(join(dir, '.snapshots/one/keep'), 'r')
  ok(await ogee('snapshot', 'rm', dir, '/@one', '--wait'))
  refused(await ogee('snapshot', 'rm', dir, '/@one'), /no snapshot/)
  const into = Buffer.alloc(4096)
  try {
    readSync(fd, into, 0, 4096, 2_000_000)
  } catch (e) {
    assert.ok([-116, -5].includes((e as NodeJS.ErrnoException).errno ?? 0), `ESTALE or EIO: ${String(e)}`)
  }
  closeSync(fd)
  assert.equal(ok(await sh('ls .snapshots', dir)).out, 'empty\n')
  refused(await sh('cat .snapshots/one/d/f', dir), /No such file/)
  assert.ok((statfsSync(dir).bavail - before.bavail) * before.bsize > 4_000_000, 'its space is back')
  assert.equal(readFileSync(join(dir, 'd/f'), 'utf8'), 'two\n')
  ok(await ogee('umount', dir))
  assert.deepEqual((JSON.parse(ok(await ogee('snapshot', 'list', pool, '--json')).out) as { snapshot: string }[]).map((s) => s.snapshot), ['/@empty'])
  ok(await ogee('snapshot', 'rm', pool, '/@empty'))
  ok(await ogee('fsck', pool))
})
