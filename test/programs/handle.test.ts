/** open_by_handle_at(2): a handle finds its file with cold caches, after a rename and after a new mount; a removed file's handle finds nothing. */
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { programTest } from './mount.js'
import { run } from './run.js'

const script = fileURLToPath(new URL('./handle.py', import.meta.url))

programTest('handles: cold caches, renamed, removed, mounted anew', {}, async ({ dir, scratch, mount }) => {
  const top = path.join(dir, 'top')
  const handles = path.join(scratch, 'handles.json')
  await run('python3', [script, 'make', top, handles])
  await run('python3', [script, 'check', top, handles])
  if (mount === undefined) return
  await mount.umount()
  await mount.mount()
  await run('python3', [script, 'check', top, handles])
})
