/** tar and diff: a source tree unpacked here equals the tree it was packed from, contents, modes, links and times. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { programTest } from './mount.js'
import { run, shell } from './run.js'
import { writeTree } from './tree.js'

programTest('tar: unpack, diff -r, pack again, remove', {}, async ({ dir, scratch }) => {
  const source = path.join(scratch, 'source')
  writeTree(source, { files: 3000, seed: 23 })
  await shell('tar -C source -cf tree.tar . && tar -C source -czf tree.tar.gz .', { cwd: scratch })

  await run('tar', ['-xf', path.join(scratch, 'tree.tar')], { cwd: await made(dir, 'plain') })
  await run('tar', ['-xzf', path.join(scratch, 'tree.tar.gz')], { cwd: await made(dir, 'packed') })
  await run('diff', ['-r', '--no-dereference', source, path.join(dir, 'plain')])
  await run('diff', ['-r', '--no-dereference', source, path.join(dir, 'packed')])

  const listing = (folder: string) => run('find', ['.', '-printf', '%P %y %m %s %T@ %l\\n'], { cwd: folder }).then(({ stdout }) =>
    // A folder's size is its file system's own business.
    stdout.split('\n').map((line) => line.replace(/^(.*) d (\d+) \d+ /, '$1 d $2 - ')).map((line) => line.replace(/(\.\d{9})0 /, '$1 ')).sort())
  const [want, got] = await Promise.all([listing(source), listing(path.join(dir, 'plain'))])
  const whole = (lines: string[]) => lines.map((line) => line.replace(/ (\d+)\.\d+ /, ' $1 ')) // tar's plain format keeps whole seconds
  assert.deepEqual(whole(got), whole(want))

  const sums = (folder: string) => shell('tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - . | sha256sum', { cwd: folder })
  assert.equal((await sums(path.join(dir, 'plain'))).stdout, (await sums(source)).stdout)
  await run('rm', ['-rf', 'plain', 'packed'], { cwd: dir })
  assert.equal((await run('ls', ['-A'], { cwd: dir })).stdout, '')
})

async function made(dir: string, name: string): Promise<string> {
  await run('mkdir', [name], { cwd: dir })
  return path.join(dir, name)
}
