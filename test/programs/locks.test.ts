/** flock, POSIX and open-file-description locks between processes of one machine. */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { programTest } from './mount.js'
import { run } from './run.js'

const script = fileURLToPath(new URL('./locks.py', import.meta.url))

programTest('locks: flock, posix, ofd, deadlock, release', {}, async ({ dir }, t) => {
  for (const how of ['flock', 'posix', 'ofd', 'deadlock', 'release'])
    await t.test(how, () => run('python3', [script, how, path.join(dir, how)], { timeoutMs: 70_000 }).then(() => undefined))
})
