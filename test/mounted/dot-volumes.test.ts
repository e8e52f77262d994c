/** `.volumes` in a mount: volumes as files for losetup, cp and whoever opens them, and umount(8) takes the mount off as ever. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAlive, makePlace, mountsUnder, needsRoot, ok, refused, run, until } from './place.js'

const MIB = 1024 ** 2

test('.volumes/NAME is the volume, for cp and a loop device, and is not in the way', { skip: needsRoot, timeout: 100_000 }, async (t) => {
  const { top, pool, dir, ogee, pid } = makePlace(t)
  const sh = (script: string): ReturnType<typeof run> => run('sh', ['-c', script], { cwd: dir })
  ok(await ogee('mount', pool, dir))
  assert.deepEqual(readdirSync(dir), [])
  assert.ok(lstatSync(join(dir, '.volumes')).isSymbolicLink())
  assert.deepEqual(mountsUnder(top), [dir], 'nobody pays who does not look')
  assert.deepEqual(readdirSync(join(dir, '.volumes')), [])
  ok(await ogee('volume', 'create', dir, 'v', '--size', '8M'))
  const image = randomBytes(8 * MIB)
  writeFileSync(join(top, 'image'), image)
  ok(await sh(`cp ${top}/image .volumes/v && sync .volumes/v && cmp .volumes/v ${top}/image && ls -l .volumes .volumes/ && stat .volumes`))
  refused(await sh('mkdir .volumes'), /File exists/)
  refused(await sh('touch .volumes/new'), /not permitted/)
  assert.equal(ok(await sh('ls -A; find . -mindepth 1')).out, '')

  const device = ok(await run('losetup', ['--find', '--show', join(dir, '.volumes/v')])).out.trim()
  try {
    assert.ok(readFileSync(device).equals(image))
    refused(await sh(`cp ${top}/image .volumes/v`), /busy/i) // one writer
  } finally {
    ok(await run('losetup', ['-d', device]))
  }
  const daemon = await pid()
  ok(await run('umount', [dir]))
  await until(() => !isAlive(daemon), 'the daemon ended')
  assert.deepEqual(mountsUnder(top), [])
  assert.equal(existsSync(join(pool, 'volumes')), false)
  ok(await ogee('fsck', pool))

  // a name of somebody's own is before it
  ok(await ogee('mount', pool, dir))
  assert.equal(ok(await sh('echo mine > other && mv -T other .volumes && cat .volumes && ls -A')).out, 'mine\n.volumes\n')
  ok(await ogee('umount', dir))
})
