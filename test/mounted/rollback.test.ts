/** Rolling a tree back on a real mount: what the kernel knew of it is forgotten, open files go on, other snapshots stay. */
import assert from 'node:assert/strict'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeTree } from '../programs/tree.js'
import { makePlace, ok, refused, run } from './place.js'
import type { Ran } from './place.js'

const sh = (script: string, cwd = '/'): Promise<Ran> => run('sh', ['-c', script], { cwd })

test('a subvolume becomes what its snapshot shows, under programs that are in it', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  const home = join(dir, 'home')
  ok(await ogee('mount', pool, dir))
  ok(await ogee('subvolume', 'create', dir, '/home'))
  writeTree(join(home, 'src'), { files: 300, seed: 7 })
  ok(await sh('ln src/configure link && ln src/configure src/empty/link && setfattr -n user.colour -v blue . && chmod 751 . && head -c 3000000 /dev/urandom > big && mkdir -p a/b && echo old > a/b/file && echo kept > same', home))
  const before = ok(await sh('find . -printf "%p %y %m %n %s %T@ %U %G\\n" | sort && sha256sum big', home)).out
  ok(await ogee('snapshot', 'create', dir, '/home@monday'))
  ok(await sh('rm -r src/part0 a && chmod 700 . && setfattr -x user.colour . && echo more >> big && mkdir -p new/below a && echo newer > a/other && echo x > new/below/file && chattr +i same', home))
  ok(await ogee('snapshot', 'create', dir, '/home@tuesday'))
  const later = ok(await sh('find . -printf "%p %y %m %n %s %T@\\n" | sort', home)).out
  writeFileSync(join(home, 'open'), 'written before')
  assert.equal(existsSync(join(home, 'a/b/file')), false) // the kernel remembers that
  const open = openSync(join(home, 'open'), 'r+')
  const inside = run('sh', ['-c', 'sleep 2; cat file; echo more > made; ls'], { cwd: join(home, 'new/below') }) // what is there is removed meanwhile, or not

  refused(await ogee('snapshot', 'rollback', dir, '/home@never'), /no snapshot/)
  ok(await ogee('snapshot', 'rollback', dir, '/home@monday'))
  assert.equal(existsSync(join(home, 'open')), false)
  assert.equal(readFileSync(join(home, 'a/b/file'), 'utf8'), 'old\n')
  assert.equal(existsSync(join(home, 'a/other')), false)
  assert.deepEqual(readdirSync(home).sort(), ['a', 'big', 'link', 'same', 'src'])
  assert.equal(ok(await sh('find . -printf "%p %y %m %n %s %T@ %U %G\\n" | sort && sha256sum big', home)).out, before)
  assert.equal(ok(await sh('getfattr --only-values -n user.colour .', home)).out, 'blue')
  assert.equal(statSync(join(home, 'link')).ino, statSync(join(home, 'src/empty/link')).ino)
  await inside

  writeSync(open, ' and after', 14)
  const into = Buffer.alloc(100)
  assert.equal(into.subarray(0, readSync(open, into, 0, 100, 0)).toString(), 'written before and after')
  closeSync(open)
  assert.deepEqual(readdirSync(join(home, '.snapshots')), ['monday', 'tuesday'])
  ok(await sh('rsync -aHAXSin --delete --checksum .snapshots/monday/ . > /tmp/none.$$ && test ! -s /tmp/none.$$; s=$?; rm /tmp/none.$$; exit $s', home))
  ok(await sh('echo mine > src/mine && rm big', home))
  ok(await ogee('snapshot', 'create', dir, '/home@wednesday'))
  ok(await ogee('snapshot', 'rollback', dir, '/home@tuesday'))
  assert.equal(ok(await sh('find . -printf "%p %y %m %n %s %T@\\n" | sort', home)).out, later)
  assert.ok(ok(await sh('lsattr -d same', home)).out.includes('i'))
  ok(await ogee('snapshot', 'rollback', dir, '/home@wednesday'))
  assert.equal(readFileSync(join(home, 'src/mine'), 'utf8'), 'mine\n')
  assert.equal(existsSync(join(home, 'big')), false)
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
  ok(await ogee('mount', pool, dir))
  assert.equal(readFileSync(join(home, 'src/mine'), 'utf8'), 'mine\n')
  ok(await sh('rm -r home/*', dir))
  for (const name of ['monday', 'tuesday', 'wednesday']) ok(await ogee('snapshot', 'rm', dir, `/home@${name}`))
  ok(await ogee('subvolume', 'rm', dir, '/home'))
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
})

test('the root tree goes back, but not over subvolumes', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  ok(await sh('mkdir -p a/b && echo one > a/b/c && echo top > top', dir))
  ok(await ogee('snapshot', 'create', dir, '/@one'))
  ok(await ogee('subvolume', 'create', dir, '/a/b/sub'))
  refused(await ogee('snapshot', 'rollback', dir, '/@one'), /has subvolumes in it/)
  ok(await ogee('subvolume', 'rm', dir, '/a/b/sub'))
  ok(await sh('echo two > a/b/c && rm top && echo new > new && ls -R . > /dev/null && cat a/b/c', dir))
  ok(await ogee('snapshot', 'rollback', dir, '/@one'))
  assert.equal(ok(await sh('cat a/b/c top && ls', dir)).out, 'one\ntop\na\ntop\n')
  ok(await sh('echo three > new', dir))
  ok(await ogee('umount', dir))
  ok(await ogee('snapshot', 'rollback', pool, '/@one')) // while it is not mounted
  ok(await ogee('mount', pool, dir))
  assert.equal(ok(await sh('cat a/b/c top && ls', dir)).out, 'one\ntop\na\ntop\n')
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
})
