/** fio writes at random and verifies every block by checksum, through each way a program can write: one row a way. */
import { programTest } from './mount.js'
import { run } from './run.js'

interface Job {
  readonly engine: 'psync' | 'libaio' | 'io_uring' | 'mmap' | 'pvsync2'
  readonly direct: 0 | 1
  readonly blocks: string
  readonly more?: readonly string[]
}
const jobs: readonly Job[] = [
  { engine: 'psync', direct: 0, blocks: '4k' },
  { engine: 'psync', direct: 0, blocks: '512' },
  { engine: 'psync', direct: 0, blocks: '60k', more: ['--fsync=32'] },
  { engine: 'psync', direct: 0, blocks: '1m', more: ['--fallocate=keep'] },
  { engine: 'psync', direct: 1, blocks: '4k' },
  { engine: 'psync', direct: 1, blocks: '256k' },
  { engine: 'pvsync2', direct: 0, blocks: '16k', more: ['--sync=dsync'] },
  { engine: 'libaio', direct: 1, blocks: '4k', more: ['--iodepth=16'] },
  { engine: 'libaio', direct: 1, blocks: '64k', more: ['--iodepth=8'] },
  { engine: 'libaio', direct: 0, blocks: '16k', more: ['--iodepth=8'] },
  { engine: 'io_uring', direct: 0, blocks: '8k', more: ['--iodepth=16'] },
  { engine: 'io_uring', direct: 1, blocks: '4k', more: ['--iodepth=16'] },
  { engine: 'mmap', direct: 0, blocks: '4k', more: ['--fsync=64'] },
  { engine: 'mmap', direct: 0, blocks: '64k' },
]

programTest('fio: random writes, verified', { timeoutMs: 240_000 }, async ({ dir, scratch }, t) => {
  for (const { engine, direct, blocks, more = [] } of jobs)
    await t.test(`${engine} ${direct === 1 ? 'O_DIRECT' : 'buffered'} ${blocks} ${more.join(' ')}`, { timeout: 60_000 }, async () => {
      // Many small synchronous steps: fewer bytes show as much.
      const small = blocks === '512' || engine === 'mmap' || more.some((word) => /sync=/.test(word))
      await run('fio', ['--name=verify', `--directory=${dir}`, `--ioengine=${engine}`, `--direct=${direct}`, `--bs=${blocks}`, ...more,
        `--size=${small ? '4m' : '16m'}`, '--numjobs=2', '--rw=randwrite', '--randseed=42', '--verify=crc32c', '--verify_fatal=1',
        '--do_verify=1', '--verify_state_save=0', '--unlink=1', '--minimal'], { cwd: scratch, timeoutMs: 50_000 })
    })
})
