/** stress-ng's file-system stressors, each alone with --verify. What is left out stands below as data, with its reason. */
import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import path from 'node:path'
import { programTest } from './mount.js'
import { run } from './run.js'

const seconds = Number(process.env['OGEE_STRESS_SECONDS'] ?? 1)

/** Beyond stress-ng's own class: stressors of other classes that work on files in the folder under test. */
const alsoWanted = ['aio', 'aiol', 'mmap', 'mmapmany', 'msync', 'readahead', 'revio', 'seek', 'sendfile', 'splice', 'sync-file']

const excluded: Readonly<Record<string, string>> = {
  'bind-mount': 'bind mounts of / in a namespace of its own; touches no file of the folder under test',
  binderfs: 'mounts a file system of its own',
  dup: 'descriptors of /dev/zero and pipes',
  eventfd: 'no files',
  io: 'syncs every file system of the machine, also one whose disk another test takes away at that moment',
  ioprio: 'scheduling of a process, not files',
  procfs: 'reads /proc',
}

/** Exit codes of stress-ng(1): 3 and 4 mean that the kernel or the file system does not offer what the stressor needs. */
const mayBeMissing = new Set(['fiemap', 'verity', 'lease', 'fanotify', 'chattr', 'inode-flags', 'handle'])

programTest('stress-ng: file-system stressors with --verify', { timeoutMs: 300_000 }, async ({ dir, scratch }, t) => {
  const listed = (await run('stress-ng', ['--class', 'filesystem?'], { cwd: scratch })).stdout
  const stressors = [...new Set([...(listed.split(':')[1] ?? '').trim().split(/\s+/), ...alsoWanted])].filter((name) => !(name in excluded)).sort()
  assert.ok(stressors.length > 40, `stress-ng lists its stressors: ${listed}`)
  for (const name of stressors)
    await t.test(name, { timeout: 45_000 }, async (one) => {
      const folder = path.join(dir, name)
      mkdirSync(folder)
      const { code, stdout, stderr } = await run('stress-ng', ['--temp-path', folder, '--verify', '--oomable', '--timeout', `${seconds}s`, `--${name}`, '2', ...(name === 'hdd' ? ['--hdd-bytes', '32m'] : [])],
        { cwd: scratch, timeoutMs: 40_000, exits: mayBeMissing.has(name) ? [0, 3, 4] : [0] })
      if (code !== 0 || /skipping stress/.test(stdout + stderr)) one.diagnostic(`not offered here: ${(stdout + stderr).match(/.*(skipp|not ).*/)?.[0] ?? code}`)
      await run('rm', ['-rf', folder])
    })
})
