/** What cannot be done: one sentence that names the thing and the way out, and the right exit code. Nothing is changed. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { crc32 } from '../../src/sys/index.js'
import { isAlive, makePlace, needsRoot, ogeePath, run, sourceOf, until } from './place.js'
import type { Ran } from './place.js'

const ok = (ran: Ran): Ran => {
  assert.equal(ran.code, 0, `${ran.err}${ran.out}`)
  return ran
}
const refused = (ran: Ran, code: number, said: RegExp): void => {
  assert.equal(ran.code, code, ran.err)
  assert.match(ran.err, said)
  assert.match(ran.err, /^ogee: [^\n]+[.?)`]\n$/, 'one sentence')
  assert.doesNotMatch(ran.err, /unexpected/)
}

test('wrong usage is exit 2', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  for (const args of [['mount'], ['mount', pool], ['mount', pool, dir, 'more'], ['bogus'], ['mount', pool, dir, '--bogus'], ['mount', pool, dir, '-o', 'bogus'],
    ['mount', pool, dir, '-o', 'uid=me'], ['format'], ['format', pool, '--size', 'big'], ['format', pool, '--size', '1K'], ['umount'], ['sync']]) {
    refused(await ogee(...args), 2, /./)
  }
  refused(await ogee('umount', dir), 1, /is not mounted/)
  assert.ok(!existsSync(pool), 'nothing was made')
  assert.equal((await ogee()).code, 2)
  assert.equal(ok(await ogee('--help')).err, '')
  for (const command of ['mount', 'umount', 'status', 'format', 'sync', 'install', 'uninstall']) {
    assert.match(ok(await ogee('help', command)).out, new RegExp(`^Usage: ogee ${command}`))
  }
  assert.match(ok(await ogee('--version')).out, /^ogee \d+\.\d+\.\d+\n$/)
})

test('DIR: missing, a file, not empty, a symbolic link, busy', async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  refused(await ogee('mount', pool, join(top, 'no', 'where')), 1, /There is no folder .*mkdir -p/)
  writeFileSync(join(top, 'file'), '')
  refused(await ogee('mount', pool, join(top, 'file')), 2, /is not a folder/)
  writeFileSync(join(dir, 'here'), '')
  refused(await ogee('mount', pool, dir), 1, /is not empty.*-o nonempty/)
  assert.ok(!existsSync(pool))
  ok(await ogee('mount', pool, dir, '-o', 'nonempty'))
  refused(await ogee('mount', join(top, 'pool2'), dir), 1, /is busy/)
  assert.ok(!existsSync(join(top, 'pool2')))
  refused(await ogee('umount', pool), 2, /is the pool, mounted at/)
  ok(await ogee('umount', dir))
  assert.deepEqual(readdirSync(dir), ['here'])
})

test('POOL and DIR lie apart', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool))
  mkdirSync(join(pool, 'inside'))
  refused(await ogee('mount', pool, join(pool, 'inside')), 2, /lies inside pool/)
  refused(await ogee('mount', join(dir, 'pool'), dir), 2, /which the mount would hide/)
  refused(await ogee('mount', dir, dir), 2, /is the pool's folder itself/)
})

test('POOL: missing parent, not a pool, there already, in use', async (t) => {
  const { top, pool, dir, folder, ogee } = makePlace(t)
  refused(await ogee('mount', join(top, 'a', 'b'), dir), 1, /There is no folder .*mkdir -p/)
  const strange = folder('strange')
  writeFileSync(join(strange, 'thesis.tex'), 'x')
  refused(await ogee('mount', strange, dir), 1, /holds something else \(thesis\.tex\)/)
  refused(await ogee('format', strange), 1, /holds something else/)
  assert.deepEqual(readdirSync(strange), ['thesis.tex'])
  refused(await ogee('mount', join(strange, 'thesis.tex'), dir), 1, /is not a folder/)
  ok(await ogee('format', pool))
  refused(await ogee('format', pool), 1, /a pool in .* already/)
  const holder = spawn('flock', ['-x', '-F', join(pool, 'lock'), 'sleep', '60'], { stdio: 'ignore' })
  t.after(() => holder.kill('SIGKILL'))
  await until(async () => (await ogee('status', pool)).out.includes('opening or closing'), 'the lock is held')
  ok(await run(ogeePath, ['mount', pool, dir], { onErr: (text) => { if (text.includes('waiting for it')) holder.kill('SIGKILL') } }))
})

test('a superblock that is damaged, newer, or gone', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool))
  const path = join(pool, 'superblock')
  const good = readFileSync(path)
  const damaged = Buffer.from(good)
  damaged[100] ^= 1
  writeFileSync(path, damaged)
  refused(await ogee('mount', pool, dir), 1, /superblock .* damaged/)
  refused(await ogee('status', pool), 1, /superblock .* damaged/)
  writeFileSync(path, good.subarray(0, 100))
  refused(await ogee('mount', pool, dir), 1, /superblock .* damaged/)
  const newer = Buffer.from(good)
  newer.writeUInt32LE(2, 8)
  newer.writeUInt32LE(crc32(newer, 0, 4092), 4092)
  writeFileSync(path, newer)
  refused(await ogee('mount', pool, dir), 1, /use a newer Ogee/)
  await run('rm', [path])
  refused(await ogee('mount', pool, dir), 1, /lost its superblock/)
  writeFileSync(path, good)
  ok(await ogee('mount', pool, dir))
})

test('POOL on a full and on a read-only disk', { skip: needsRoot }, async (t) => {
  const { top, dir, folder, ogee } = makePlace(t)
  const disk = folder('disk')
  ok(await run('mount', ['-t', 'tmpfs', '-o', 'size=20m', 'none', disk]))
  refused(await ogee('mount', join(disk, 'pool'), dir), 1, /disk under .* (free|full)/)
  refused(await ogee('format', join(disk, 'pool2')), 1, /disk under .* (free|full)/)
  ok(await run('mount', ['-o', 'remount,size=400m', disk]))
  ok(await ogee('mount', join(disk, 'pool'), dir))
  ok(await run('sh', ['-c', `echo x > ${dir}/f`]))
  ok(await ogee('umount', dir))
  ok(await run('mount', ['-o', 'remount,ro', disk]))
  refused(await ogee('mount', join(disk, 'pool'), dir), 1, /mounted read-only/)
  refused(await ogee('mount', join(disk, 'new'), dir), 1, /mounted read-only/)
  assert.equal(sourceOf(join(top, 'mnt')), undefined)
})

const asNobody = (...args: string[]): [string, string[]] => ['runuser', ['-u', 'nobody', '--', ogeePath, ...args]]

test('another user: no pool, no mount, no umount', { skip: needsRoot }, async (t) => {
  const { pool, dir, folder, ogee, pid } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  const theirs = folder('theirs')
  ok(await run('chown', ['nobody', theirs]))
  refused(await run(...asNobody('mount', pool, theirs)), 1, /No permission for pool .* belongs to user 0/)
  refused(await run(...asNobody('umount', dir)), 1, /was mounted by user 0/)
  refused(await run(...asNobody('status', pool)), 1, /No permission/)
  assert.match(ok(await run(...asNobody('status'))).out, /another user's/)
  assert.ok(isAlive(await pid()))
})

/** A mount namespace of its own, with the fuse device of most machines: everybody may open it. */
const withDevice = (mode: string, script: string): Promise<Ran> => run('unshare', ['-m', 'sh', '-c',
  `mount --make-rprivate / && mount -t tmpfs none /mnt && mknod -m ${mode} /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse && ${script}`])

test('a plain user mounts through fusermount3', { skip: needsRoot }, async (t) => {
  const { top, folder } = makePlace(t)
  const theirs = folder('theirs')
  ok(await run('chown', ['nobody', theirs]))
  mkdirSync(join(theirs, 'm'))
  ok(await run('chown', ['nobody', join(theirs, 'm')]))
  const user = 'runuser -u nobody --'
  const ran = await withDevice('666', [
    `${user} ${ogeePath} mount ${theirs}/p ${theirs}/m`,
    `${user} sh -c 'echo hello > ${theirs}/m/f'`, `grep ${theirs}/m /proc/mounts`,
    `${user} ${ogeePath} status ${theirs}/m --json`,
    `${user} ${ogeePath} umount ${theirs}/m`,
    `${user} ${ogeePath} mount ${theirs}/p ${theirs}/m`, `${user} cat ${theirs}/m/f`, `${user} fusermount3 -u ${theirs}/m`,
    `! ${user} ${ogeePath} mount ${theirs}/p ${theirs}/m -o allow_other`, `! ${user} ${ogeePath} mount ${theirs}/p /srv`
  ].join(' && '))
  ok(ran)
  assert.match(ran.out, /fuse\.ogee rw,nosuid,nodev,.*user_id=[1-9]/)
  assert.match(ran.out, /hello\n$/)
  assert.match(ran.err, /user_allow_other/)
  assert.match(ran.err, /a folder of your own/)
  assert.ok(existsSync(top))
})

test('no /dev/fuse, one that is not for us, no fusermount3', { skip: needsRoot }, async (t) => {
  const { pool, dir, folder, ogee } = makePlace(t)
  ok(await ogee('format', pool))
  refused(await run('unshare', ['-m', 'sh', '-c', ['mount --make-rprivate /', 'mount -t tmpfs none /dev', 'mknod -m 666 /dev/null c 1 3', 'mknod -m 666 /dev/urandom c 1 9',
    `exec ${ogeePath} mount ${pool} ${dir}`].join(' && ')]), 1, /There is no \/dev\/fuse/)
  const theirs = folder('theirs')
  ok(await run('chown', ['nobody', theirs]))
  mkdirSync(join(theirs, 'm'))
  ok(await run('chown', ['nobody', join(theirs, 'm')]))
  refused(await withDevice('600', `exec runuser -u nobody -- sh -c '${ogeePath} mount ${theirs}/p ${theirs}/m 2>&1 | grep -v "made pool" >&2; exit 1'`), 1, /\/dev\/fuse is closed to you: .*chmod 666/)
  const bin = folder('bin')
  ok(await run('sh', ['-c', `for p in sh readlink env sed; do ln -s "$(command -v $p)" ${bin}/$p; done; ln -s ${process.execPath} ${bin}/node`]))
  refused(await run('runuser', ['-u', 'nobody', '--', 'env', `PATH=${bin}`, ogeePath, 'mount', join(theirs, 'p'), join(theirs, 'm')]), 1, /no fusermount3: install/)
  chmodSync(theirs, 0o755)
})

test('bin/ogee says what is missing: Node, a build', async (t) => {
  const { folder } = makePlace(t)
  const bin = folder('bin')
  ok(await run('sh', ['-c', `for p in sh readlink cp mkdir; do ln -s "$(command -v $p)" ${bin}/$p; done; mkdir -p ${bin}/copy/bin; cp ${ogeePath} ${bin}/copy/bin/ogee`]))
  refused(await run('env', [`PATH=${bin}`, ogeePath, 'status']), 1, /no Node here/)
  refused(await run(join(bin, 'copy', 'bin', 'ogee'), ['status']), 1, /npm ci/)
  ok(await run('ln', ['-s', ogeePath, join(bin, 'linked')]))
  ok(await run(join(bin, 'linked'), ['--version']))
})
