/** Clones of trees as a user has them: made in an instant, the same to every program, and their own. */
import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeTree } from '../programs/tree.js'
import { makePlace, ok, refused, run } from './place.js'
import type { Ran } from './place.js'

const sh = (script: string, cwd = '/'): Promise<Ran> => run('sh', ['-c', script], { cwd })

test('a clone is what its snapshot is, to diff, rsync, tar and git', async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  writeTree(join(dir, 'src'), { files: 700, seed: 7 })
  ok(await sh([
    'ln src/configure link', 'ln src/configure src/empty/link', 'setfattr -n user.colour -v blue src', 'setfacl -m u:daemon:rw src/configure', 'setfacl -d -m u:daemon:rwx src/empty',
    'touch -d "1969-07-20 20:17:40.123456789" old', 'truncate -s 3M sparse', 'printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none', 'head -c 5000000 /dev/urandom > big',
    'mkfifo pipe', 'mknod device c 1 3', 'chown daemon:daemon device', 'chmod 4751 link', 'mkdir locked && chmod 500 locked',
    'git init -q src && git -C src add . && git -C src -c user.name=n -c user.email=e commit -qm one && git -C src tag t'
  ].join(' && '), dir))
  ok(await ogee('snapshot', 'create', dir, '/@one'))
  ok(await sh('rm -r src/part0 && echo more >> big && mkdir src/new && git -C src checkout -q .', dir))
  refused(await sh('ls copy', dir), /No such file/) // and the kernel remembers that
  refused(await ogee('clone', dir, '/@two', '/copy'), /no snapshot/)
  refused(await ogee('clone', dir, '/@one', '/src'), /already/)
  refused(await ogee('clone', dir, '/@one', '/no/such'), /make it first/)
  ok(await ogee('clone', dir, '/@one', '/copy'))
  assert.equal(statSync(join(dir, 'copy')).nlink, 2 + 2)

  assert.equal(ok(await sh('rsync -aHAXSin --delete --checksum .snapshots/one/ copy/', dir)).out, '')
  ok(await sh('diff -r --no-dereference --exclude=pipe --exclude=device .snapshots/one copy', dir))
  ok(await sh(`tar -C copy -S -cf ${top}/t.tar . && tar -C .snapshots/one -df ${top}/t.tar && tar -C copy -df ${top}/t.tar`, dir))
  assert.equal(ok(await sh('git -C copy/src status --porcelain && git -C copy/src fsck --strict && git -C copy/src log --format=%s', dir)).out, 'one\n')
  const same = (a: string, b: string): void => assert.equal(statSync(join(dir, a)).ino, statSync(join(dir, b)).ino)
  same('copy/link', 'copy/src/empty/link')
  same('copy/link', 'copy/src/configure')
  assert.equal(ok(await sh('stat -c "%a %h %s %b" copy/link copy/sparse copy/locked', dir)).out, ok(await sh('stat -c "%a %h %s %b" .snapshots/one/link .snapshots/one/sparse .snapshots/one/locked', dir)).out)

  ok(await sh('git -C copy/src checkout -q -b mine && echo mine >> copy/src/configure && git -C copy/src -c user.name=n -c user.email=e commit -qam two && git -C copy/src gc -q && rm -r copy/src/part0 && mv copy/src copy/moved && printf y | dd of=copy/big bs=1 seek=77 conv=notrunc status=none', dir))
  assert.equal(ok(await sh('git -C src log --format=%s --all; git -C copy/moved log --format=%s mine; cmp copy/big .snapshots/one/big | cut -d, -f1', dir)).out, 'one\ntwo\none\ncopy/big .snapshots/one/big differ: byte 78\n')
  refused(await sh('ln copy/big here', dir), /cross-device/i)

  ok(await ogee('snapshot', 'rm', dir, '/@one', '--wait'))
  assert.deepEqual((JSON.parse(ok(await ogee('subvolume', 'list', dir, '--json')).out) as { path: string; origin: string | null }[]).map((s) => `${s.path} ${s.origin}`), ['/ null', '/copy /'])
  ok(await ogee('snapshot', 'create', dir, '/copy@c'))
  assert.equal(ok(await sh('ls copy/.snapshots/c', dir)).out, 'big\ndevice\nlink\nlocked\nmoved\nold\npipe\nsparse\n')
  ok(await ogee('clone', dir, '/copy@c', '/again'))
  ok(await sh('rm -r copy/moved', dir))
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
  ok(await ogee('mount', pool, dir))
  ok(await sh('git -C again/moved fsck --strict && cmp -n 77 again/big big && chmod 700 again/locked copy/locked', dir))
  ok(await sh('rm -r copy/*', dir))
  refused(await ogee('subvolume', 'rm', dir, '/copy'), /has snapshots/)
  ok(await ogee('snapshot', 'rm', dir, '/copy@c'))
  refused(await ogee('subvolume', 'rm', dir, '/copy'), /\/again is a clone of it/)
  ok(await sh('rm -r again/*', dir))
  ok(await ogee('subvolume', 'rm', dir, '/again'))
  ok(await ogee('umount', dir))
  ok(await ogee('subvolume', 'rm', pool, '/copy'))
  ok(await ogee('fsck', pool))
})

test('a clone of a subvolume on a pool that is not mounted; folders below that are subvolumes are empty', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  ok(await ogee('subvolume', 'create', dir, '/home'))
  ok(await ogee('subvolume', 'create', dir, '/home/inner'))
  ok(await sh('echo one > home/f && echo two > home/inner/g && mkdir -p home/a/b/c && echo deep > home/a/b/c/d', dir))
  ok(await ogee('snapshot', 'create', dir, '/home@one'))
  ok(await ogee('umount', dir))
  assert.deepEqual(JSON.parse(ok(await ogee('clone', pool, '/home@one', '/work', '--json')).out), { made: '/work', from: '/home@one' })
  ok(await ogee('fsck', pool))
  ok(await ogee('mount', pool, dir))
  assert.equal(ok(await sh('cat work/a/b/c/d && find work -mindepth 1 | sort && rmdir work/inner', dir)).out, 'deep\nwork/a\nwork/a/b\nwork/a/b/c\nwork/a/b/c/d\nwork/f\nwork/inner\n')
  refused(await ogee('clone', dir, '/home/inner@no', '/x'), /no snapshot/)
  refused(await ogee('clone', dir, '/a@one', '/x'), /There is no \/a|no subvolume/)
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
})
