/** Shared writable mappings: several processes on one file, mixed with read(2) and write(2), and after the caches were dropped. */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { programTest } from './mount.js'
import { run } from './run.js'

programTest('mmap: shared writes between processes', {}, async ({ dir }) => {
  await run('python3', [fileURLToPath(new URL('./mapped.py', import.meta.url)), path.join(dir, 'mapped')])
})
