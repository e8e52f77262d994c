/** rsync: after a copy with everything (times, links, ACLs, xattrs) a second run by checksums finds nothing to do, both ways. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { programTest } from './mount.js'
import { run, shell } from './run.js'
import { writeTree } from './tree.js'

programTest('rsync: -aHAX, then -c finds nothing', {}, async ({ dir, scratch }) => {
  const source = path.join(scratch, 'source')
  writeTree(source, { files: 2000, seed: 31 })
  await shell([
    'ln configure hard-link',
    'setfattr -n user.colour -v blue configure',
    'setfacl -m u:daemon:rw -m g:daemon:r configure',
    'setfacl -d -m u:daemon:rwx empty',
    'touch -d "1969-07-20 20:17:40.123456789" before-the-epoch',
    'truncate -s 3M sparse && printf x | dd of=sparse bs=1 seek=1000000 conv=notrunc status=none',
    'mkfifo pipe && mknod device c 1 3 && chown daemon:daemon device',
  ].join('\n'), { cwd: source })
  const rsync = async (...args: string[]) => (await run('rsync', ['-aHAXS', '--numeric-ids', ...args])).stdout
  const copy = path.join(dir, 'copy')
  await rsync(`${source}/`, copy)
  assert.equal(await rsync('-ci', '--delete', `${source}/`, copy), '')
  assert.equal(await rsync('-cin', '--delete', `${copy}/`, source), '', 'and nothing the other way')
  await shell('echo changed >> configure', { cwd: source })
  assert.match(await rsync('-ci', '--inplace', `${source}/`, copy), /^>f.*(configure|hard-link)\n/)
  assert.equal(await rsync('-ci', `${source}/`, copy), '')
  await run('diff', ['-r', '--no-dereference', '--exclude=pipe', '--exclude=device', source, copy])
})
