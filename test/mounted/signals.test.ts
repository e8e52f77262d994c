/** Signals while a call waits for the daemon: as on a disk's file system, no call fails with EINTR (PostgreSQL takes that for a lost disk). */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makePlace, run } from './place.js'

/** Calls through libc, since Python itself repeats what was interrupted; a timer's signal comes every half millisecond. */
const program = `
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
def must(what, rc):
    if rc < 0: sys.exit(what + ': ' + os.strerror(ctypes.get_errno()))
    return rc
for n in range(400):
    name = b'%d' % n
    fd = must('open', libc.open(name, os.O_CREAT | os.O_RDWR, 0o644))
    must('write', libc.write(fd, b'x' * 6000, 6000))
    must('fsync', libc.fsync(fd))
    must('ftruncate', libc.ftruncate(fd, 100))
    must('rename', libc.rename(name, b'renamed'))
    must('close', libc.close(fd))
signal.setitimer(signal.ITIMER_REAL, 0)
print('done')
`

test('a storm of signals does not make calls fail with EINTR', async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  assert.equal((await ogee('mount', pool, dir)).code, 0)
  const ran = await run('python3', ['-c', program], { cwd: dir })
  assert.deepEqual([ran.code, ran.out, ran.err], [0, 'done\n', ''])
})
