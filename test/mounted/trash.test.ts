/** The trash as a user has it: a checkout is removed and comes back, on a pool that is mounted and one that is not. */
import assert from 'node:assert/strict'
import { closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, ok, refused, run, until } from './place.js'
import type { Ran } from './place.js'

const sh = (script: string, cwd = '/'): Promise<Ran> => run('sh', ['-c', script], { cwd })
interface Line {
  readonly id: number
  readonly path: string | null
}

test('rm -rf of a checkout, and it is back as it was: mounted, after a kill, not mounted', async (t) => {
  const { top, pool, dir, ogee, pid } = makePlace(t)
  ok(await ogee('format', pool, '--size', '1G'))
  ok(await ogee('trash', 'enable', pool, '--days', '2'))
  ok(await ogee('mount', pool, dir))
  ok(await sh(`git init -q origin && cd origin && mkdir -p a/b/c && for i in $(seq 300); do echo $i > a/b/c/f$i; done && ln -s c a/b/l && git add . && git -c user.name=n -c user.email=e commit -qm m && echo 2 > a/b/c/f1 &&
    git -c user.name=n -c user.email=e commit -qam n && cd ${dir} && git clone -q ${top}/origin r && cd r && chmod 750 a && ln a/b/c/f2 a/two && setfattr -n user.x -v 1 a/b/c/f3 && git checkout -q HEAD^ && git checkout -q -`, top))
  ok(await sh(`cp -a r ${top}/was && find r | sort > ${top}/names && rsync -aHXi r/ ${top}/was/`, dir))
  const same = async (): Promise<void> => {
    ok(await sh(`diff -r --no-dereference r ${top}/was && find r | sort | diff - ${top}/names && GIT_OPTIONAL_LOCKS=0 git -C r status --short && git -C r fsck --no-progress`, dir))
    assert.equal(ok(await sh(`rsync -aHXin --delete --checksum r/ ${top}/was/`, dir)).out, '', 'modes, owners, times, links, xattrs')
  }
  for (const how of ['mounted', 'killed', 'unmounted']) {
    ok(await sh('cd r/a && rm -rf ../../r && test ! -e ../../r', dir)) // the kernel still knows some of its folders
    if (how === 'killed') {
      process.kill(await pid(), 'SIGKILL')
      await sh(`umount -l ${dir}`)
      ok(await ogee('mount', pool, dir))
    } else if (how === 'unmounted') ok(await ogee('umount', dir))
    const where = how === 'unmounted' ? pool : dir
    assert.match(ok(await ogee('trash', 'list', where)).out, / \/r\/a\/b\/c\/f299\n/)
    ok(await ogee('trash', 'restore', where, '/r'))
    if (how === 'unmounted') ok(await ogee('mount', pool, dir))
    await same()
    ok(await sh(`echo more > r/a/b/c/new && rm r/a/b/c/new && echo > r/a/b/c/${how} && mkdir r/a/b/d && rmdir r/a/b/d && echo > r/a/b/${how}`, dir)) // the folders are alive, and what was removed before stays removed
    ok(await sh(`rsync -aHX --delete r/ ${top}/was/ && find r | sort > ${top}/names`, dir))
  }
  ok(await ogee('umount', dir))
  ok(await ogee('fsck', pool))
})

test('one file comes back with its folders; the kernel learns of it; open files stay; empty and disable', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  ok(await sh('echo 1 > before && rm before', dir))
  assert.match(ok(await ogee('trash', 'list', dir)).out, /Nothing is in the trash/)
  assert.match(ok(await ogee('trash', 'enable', dir)).out, /3 days/)
  ok(await sh('mkdir -m 700 d && mkdir d/e && echo one > d/e/f && echo two > d/g && echo x > save && echo y > tmp && mv tmp save', dir))
  const fd = openSync(join(dir, 'd/e/f'), 'r')
  ok(await sh('rm -r d; ls d || ls', dir))
  refused(await sh('cat d/e/f', dir), /No such file/) // and the kernel remembers that
  assert.equal(fstatSync(fd).nlink, 0)
  assert.equal(readFileSync(fd, 'utf8'), 'one\n')
  const lines = JSON.parse(ok(await ogee('trash', 'list', dir, '--json')).out) as Line[]
  assert.deepEqual(lines.map((l) => l.path).sort(), ['/d', '/d/e', '/d/e/f', '/d/g', '/save'])
  assert.match(ok(await ogee('status', dir)).out, /trash +\/: keeps for 3 days, 5 things, /)
  assert.match(ok(await ogee('df', dir)).out, /are in the trash/)
  assert.deepEqual(JSON.parse(ok(await ogee('trash', 'restore', dir, '/d/e/f', '--json')).out), { path: '/d/e/f', restored: 3, skipped: 0 })
  assert.equal(ok(await sh('cat d/e/f; stat -c %a d; ls d; echo more >> d/e/f; echo new > d/h; cat d/h', dir)).out, 'one\n700\ne\nnew\n')
  assert.equal(statSync(join(dir, 'd/e/f')).ino, fstatSync(fd).ino)
  assert.equal(fstatSync(fd).nlink, 1)
  assert.equal(readFileSync(join(dir, 'd/e/f'), 'utf8'), 'one\nmore\n')
  closeSync(fd)
  refused(await ogee('trash', 'restore', dir, '/save'), /already: say with --to/)
  ok(await ogee('trash', 'restore', dir, String(lines.find((l) => l.path === '/save')?.id), '--to', '/d'))
  assert.equal(readFileSync(join(dir, 'd/save'), 'utf8'), 'x\n')
  refused(await ogee('trash', 'restore', dir, '/d'), /add --all/)
  ok(await ogee('trash', 'restore', dir, '/d', '--all'))
  assert.equal(ok(await sh('cat d/g; ls d', dir)).out, 'two\ne\ng\nh\nsave\n')
  refused(await ogee('trash', 'enable', dir, '/d'), /no subvolume/)
  refused(await ogee('trash', 'enable', dir, '--days', 'x'), /number of days/)

  const used = async (): Promise<number> => (JSON.parse(ok(await ogee('status', dir, '--json')).out) as { space: { usedBytes: number } }).space.usedBytes
  const sum = ok(await sh('head -c 20000000 /dev/urandom > big && md5sum big && rm big', dir)).out
  ok(await ogee('trash', 'restore', dir, '/big'))
  assert.equal(ok(await sh('md5sum big && rm big', dir)).out, sum)
  ok(await ogee('sync', dir))
  assert.ok(await used() > 15e6)
  assert.match(ok(await ogee('trash', 'empty', dir, '--older-than', '1')).out, /^0 things/)
  assert.match(ok(await ogee('trash', 'empty', dir)).out, /^1 thing is gone/)
  await until(async () => await used() < 1e6, 'its space is back')
  ok(await sh('rm -r d', dir))
  assert.match(ok(await ogee('trash', 'disable', dir)).out, /things are in its trash still/)
  ok(await sh('rm save', dir))
  ok(await ogee('umount', dir))
  assert.equal((JSON.parse(ok(await ogee('trash', 'list', pool, '--json')).out) as Line[]).some((l) => l.path === '/save'), false)
  assert.match(ok(await ogee('df', pool)).out, /are in the trash/)
  ok(await ogee('fsck', pool))
  ok(await ogee('trash', 'empty', pool))
  ok(await ogee('fsck', pool))
})
