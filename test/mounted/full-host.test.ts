/** The host's disk fills up through the pool: ENOSPC in time, what was written stays, deleting and closing work, and room comes back. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, needsRoot, run } from './place.js'

const fill = 'sha256sum kept > ../sum; i=0; while head -c 3000000 /dev/urandom > f$i 2>/dev/null; do i=$((i+1)); [ $i -lt 500 ] || exit 9; done; ' +
  'j=0; while [ $j -lt 3000 ]; do echo $j > small$j || break; j=$((j+1)); done; echo $i $j'

test('a pool on a disk that is full', { timeout: 120_000, skip: needsRoot }, async (t) => {
  const { top, folder, ogee, dir } = makePlace(t)
  const disk = folder('disk')
  assert.equal((await run('mount', ['-t', 'tmpfs', '-o', 'size=300m', 'none', disk])).code, 0)
  t.after(() => run('umount', ['-l', disk]))
  const pool = join(disk, 'p')
  const sh = async (script: string): Promise<string> => {
    const ran = await run('sh', ['-c', script], { cwd: dir })
    assert.equal(ran.code, 0, ran.err)
    return ran.out
  }
  const ogeeOk = async (...args: string[]): Promise<void> => {
    const ran = await ogee(...args)
    assert.equal(ran.code, 0, ran.err)
  }
  await ogeeOk('mount', pool, dir)
  await sh('head -c 5000000 /dev/urandom > kept; sync kept')
  const [files, small] = (await sh(fill.replace('../sum', `${top}/sum`))).trim().split(' ').map(Number)
  assert.ok(files > 20, `${files} files of 3 MB fit`)
  t.diagnostic(`${files} files of 3 MB, then ${small} of a few bytes`)
  await sh('sync . ; rm f1 f2 f3 f4 f5')
  await ogeeOk('sync', dir)
  await ogeeOk('umount', dir)
  await ogeeOk('mount', pool, dir)
  await sh(`sha256sum --quiet -c ${top}/sum; head -c 6000000 /dev/zero > again; sync again; [ $(stat -c %s again) = 6000000 ]`)
  await sh('rm -f small* f*')
  await ogeeOk('umount', dir)
  const checked = await ogee('fsck', pool)
  assert.equal(checked.code, 0, checked.out + checked.err)
})
