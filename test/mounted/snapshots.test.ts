/** Snapshots as a user has them: taken on a pool mounted or not, looked into by programs, removed under them. */
import assert from 'node:assert/strict'
import { closeSync, openSync, readFileSync, readSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, run } from './place.js'
import type { Ran } from './place.js'

const ok = (ran: Ran): Ran => {
  assert.equal(ran.code, 0, `${ran.err}${ran.out}`)
  return ran
}
const refused = (ran: Ran, said: RegExp): void => {
  assert.notEqual(ran.code, 0)
  assert.match(ran.err, said)
}
const sh = (script: string, cwd = '/'): Promise<Ran> => run('sh', ['-c', script], { cwd })

for (const options of [[], ['-o', 'opens']]) test(`a snapshot shows what was, to any program; it goes when it is removed ${options.join(' ')}`, async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '1G'))
  assert.equal((JSON.parse(ok(await ogee('snapshot', 'create', pool, '/@empty', '--json')).out) as { snapshot: string }).snapshot, '/@empty')
  ok(await ogee('mount', pool, dir, ...options))
  ok(await sh('mkdir -p d/e && echo one > d/f && ln -s f d/l && ln d/f d/h && head -c 3000000 /dev/urandom > big && cp big keep && chmod 640 d/f && setfattr -n user.x -v 1 d/f && git init -q r && cp d/f r && git -C r add f && git -C r -c user.name=n -c user.email=e commit -qm m', dir))
  refused(await sh('ls .snapshots/one', dir), /No such file/) // and the kernel remembers that
  ok(await sh(`cp -a ${dir} ${top}/was; ls -A .snapshots`, dir))
  ok(await ogee('snapshot', 'create', dir, '/@one'))
  refused(await ogee('snapshot', 'create', dir, '/@one'), /already/)
  refused(await ogee('snapshot', 'create', dir, '/d@one'), /no subvolume/)
  refused(await ogee('snapshot', 'create', dir, 'one'), /no name of a snapshot/)
  assert.equal(ok(await sh('ls -A', dir)).out, 'big\nd\nkeep\nr\n', 'hidden')
  assert.equal(ok(await sh('ls .snapshots', dir)).out, 'empty\none\n', 'what the kernel listed before is forgotten')
  ok(await sh('echo two > d/f; rm -r d/e keep; head -c 2000000 /dev/urandom > big; echo new > d/new', dir))

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
    assert.match((e as NodeJS.ErrnoException).code ?? '', /ESTALE|EIO/)
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
