/**
 * Mounting as a plain user. In a mount namespace of its own with a /dev/fuse that everyone may open, as udev makes it: where
 * tests run it may be root's alone.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { cannotMount, sh } from './mounted.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const AS_NOBODY = 'setpriv --reuid 65534 --regid 65534 --clear-groups'

function reasonToSkip(): string | false {
  if (cannotMount !== false) return cannotMount
  try {
    execFileSync('bash', ['-c', `command -v fusermount3 unshare setpriv && ${AS_NOBODY} test -r ${root}/package.json`], { stdio: 'ignore' })
    return false
  } catch (e) {
    return `needs fusermount3, and a checkout that every user may read: ${e instanceof Error ? e.message : ''}`
  }
}

test('a plain user mounts through fusermount3', { skip: reasonToSkip(), timeout: 60_000 }, async () => {
  const out = await sh(`cd ${root}; d=$(mktemp -d); trap 'rm -r $d' EXIT; mknod $d/fuse c 10 229; chmod 666 $d/fuse
    unshare -m --propagation private bash -c "mount --bind $d/fuse /dev/fuse; exec ${AS_NOBODY} node --import tsx test/fuse/user-mount.ts"`)
  const seen = JSON.parse(out) as Record<string, unknown>
  assert.match(String(seen.refused), /fusermount3/)
  assert.match(String(seen.busy), /EBUSY/)
  delete seen.refused
  delete seen.busy
  assert.deepEqual(seen, { uid: 65534, type: 'fuse.ogee', source: 'me, my\\self', options: ['rw', 'nosuid', 'nodev', 'noatime'],
    hold: 'normal', read: 'text\n', left: null })
})
