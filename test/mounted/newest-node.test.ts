/** The newest Node, from npm's package `node`, serves a pool that the machine's own Node made, and the other way round. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, run } from './place.js'

const work = 'set -e; mkdir -p d; for i in $(seq 50); do head -c $((i * 1500)) /dev/urandom > d/$i; done; head -c 3000000 /dev/urandom > big; rm -f d/7; mv d/8 d/7; sha256sum d/* big > sums; sync big'

test('pools are read and written by the newest Node', async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  const npm = await run('npm', ['install', '--prefix', join(top, 'newest'), '--no-audit', '--no-fund', 'node@latest'])
  assert.equal(npm.code, 0, npm.err)
  const newest = join(top, 'newest', 'node_modules', 'node', 'bin', 'node')
  assert.ok(existsSync(newest), 'the package brings a binary')
  const major = Number((await run(newest, ['--version'])).out.replace(/^v(\d+)\..*\n$/, '$1'))
  assert.ok(major >= Number(process.versions.node.split('.')[0]), `v${major}`)
  t.diagnostic(`Node ${major}`)
  const own = process.env.OGEE_NODE
  for (const node of [undefined, newest, undefined]) {
    if (node === undefined) delete process.env.OGEE_NODE
    else process.env.OGEE_NODE = node
    const mounted = await ogee('mount', pool, dir)
    assert.equal(mounted.code, 0, mounted.err)
    if (existsSync(join(dir, 'sums'))) assert.equal((await run('sha256sum', ['--quiet', '-c', 'sums'], { cwd: dir })).code, 0)
    assert.equal((await run('sh', ['-c', work], { cwd: dir })).code, 0)
    const unmounted = await ogee('umount', dir)
    assert.equal(unmounted.code, 0, unmounted.err)
  }
  if (own === undefined) delete process.env.OGEE_NODE
  else process.env.OGEE_NODE = own
})
