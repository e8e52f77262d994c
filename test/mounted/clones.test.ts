/** Clones of trees as a user has them: made in an instant, the same to every program, and their own. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeTree } from '../programs/tree.js'
import { makePlace, ogeePath, ok, refused, run } from './place.js'
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

test('a clone is flattened while it is used, stopped, gone on with after a kill, and its origin can go', async (t) => {
  const { pool, dir, ogee, pid } = makePlace(t)
  const origin = async (): Promise<string | null | undefined> => (JSON.parse(ok(await ogee('subvolume', 'list', dir, '--json')).out) as { path: string; origin: string | null }[]).find(({ path }) => path === '/work')?.origin
  const sum = 'find . -printf "%p %y %m %n %s %T@ %U %G\\n" | sort && find . -type f ! -name changed -exec sha256sum {} + | sort'
  ok(await ogee('mount', pool, dir))
  ok(await ogee('subvolume', 'create', dir, '/home'))
  writeTree(join(dir, 'home/src'), { files: 500, seed: 5 })
  ok(await sh('ln src/configure link && truncate -s 3M sparse && printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none && head -c 8000000 /dev/urandom > big && setfattr -n user.colour -v blue big && sync .', join(dir, 'home')))
  ok(await ogee('snapshot', 'create', dir, '/home@one'))
  refused(await ogee('clone', dir, '/home/big', '/copy', '--flatten'), /leave --flatten out/)
  refused(await ogee('subvolume', 'flatten', dir, '/home/src'), /no subvolume/)
  refused(await ogee('subvolume', 'flatten', dir, 'db'), /ogee volume flatten/)
  assert.match(ok(await ogee('subvolume', 'flatten', dir, '/home')).out, /needs no other tree/)
  ok(await ogee('clone', dir, '/home@one', '/work'))
  const used = async (): Promise<number> => Number(ok(await sh('stat -f -c "%b %f" .', dir)).out.split(' ').reduce((a, b) => String(Number(a) - Number(b))))
  const before = await used()

  const flattening = spawn(ogeePath, ['subvolume', 'flatten', dir, '/work'], { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) => flattening.on('exit', () => resolve()))
  ok(await sh('echo changed > src/changed && printf y | dd of=big bs=1 seek=77 conv=notrunc status=none', join(dir, 'work')))
  flattening.kill('SIGINT')
  await ended
  const killed = spawn(ogeePath, ['subvolume', 'flatten', dir, '/work'], { stdio: 'ignore' })
  const gone = new Promise<void>((resolve) => killed.on('exit', () => resolve()))
  process.kill(await pid(), 'SIGKILL')
  await gone
  await sh(`umount -l ${dir}`)
  ok(await ogee('mount', pool, dir))
  assert.match(ok(await ogee('subvolume', 'flatten', dir, '/work')).out, /^\/work needs no other tree\.$/m)
  assert.equal(await origin(), null)
  assert.equal(ok(await sh('cat src/changed; cmp big ../home/big | cut -d, -f1; ls | tr "\\n" " "', join(dir, 'work'))).out, 'changed\nbig ../home/big differ: byte 78\nbig link sparse src ')
  assert.ok((await used()) - before < 1024, `${(await used()) - before} units of 4 KiB: nothing that both have was copied`)

  // all that the origin had is still there when it is gone
  ok(await sh('rm src/changed && cp --preserve=all ../home/big . && touch -r ../home/src src && touch -r ../home . ', join(dir, 'work')))
  const was = ok(await sh(`${sum} && getfattr --only-values -n user.colour big`, join(dir, 'home'))).out
  assert.equal(ok(await sh(`${sum} && getfattr --only-values -n user.colour big`, join(dir, 'work'))).out, was)
  ok(await sh('rm -r home/*', dir))
  ok(await ogee('snapshot', 'rm', dir, '/home@one', '--wait'))
  ok(await ogee('subvolume', 'rm', dir, '/home'))
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
  ok(await ogee('mount', pool, dir))
  assert.equal(ok(await sh(`${sum} && getfattr --only-values -n user.colour big`, join(dir, 'work'))).out, was)

  // at once, of a pool that is not mounted; and what a snapshot shows as it was before holds the origin
  ok(await ogee('snapshot', 'create', dir, '/work@two'))
  ok(await ogee('clone', dir, '/work@two', '/three', '--flatten'))
  ok(await ogee('clone', dir, '/work@two', '/four'))
  ok(await sh('ls -R four > list', dir))
  ok(await ogee('snapshot', 'create', dir, '/four@then'))
  ok(await ogee('umount', dir))
  assert.match(ok(await ogee('subvolume', 'flatten', pool, '/four')).out, /its snapshots still hold \/work@two/)
  ok(await ogee('fsck', pool))
  ok(await ogee('mount', pool, dir))
  assert.equal(ok(await sh(`${sum}`, join(dir, 'three'))).out, ok(await sh(`${sum}`, join(dir, 'four'))).out)
  ok(await sh('rm list && rm -r work/*', dir))
  ok(await ogee('snapshot', 'rm', dir, '/work@two'))
  refused(await ogee('subvolume', 'rm', dir, '/work'), /\/four is a clone of it: remove that first, or have it be/)
  ok(await ogee('snapshot', 'rm', dir, '/four@then', '--wait'))
  ok(await ogee('subvolume', 'rm', dir, '/work'))
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
})
