/**
 * libfuse's passthrough_ll, the thinnest FUSE file system there is: each request is the same call on a folder below.
 *   - It is built from libfuse's own example, optimised, and run with cache=always: the kernel caches all it may, which is its best case.
 *   - It keeps a descriptor per inode that the kernel knows, so its limit is raised to the hard one; folders bigger than that are not for it.
 *   - It finds an inode by walking a list of all that the kernel knows: 25 us more per lookup at 6,000. Works that make names drop the caches before
 *     each round, so that it starts with a short list.
 *   - `-s` is the loop with one thread; which of the two is faster depends on the work.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { run, start } from '../../test/programs/run.js'
import { isAlive, isMounted, killDaemon, until } from './mounts.js'
import type { Peer } from './peer.js'

const source = '/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c'

export async function buildPassthrough(into: string): Promise<string> {
  if (!existsSync(source)) throw new Error(`${source} is not here: install libfuse3-dev`)
  const program = `${into}/passthrough_ll`
  const flags = (await run('pkg-config', ['fuse3', '--cflags', '--libs'])).stdout.trim().split(/\s+/)
  await run('gcc', ['-O2', '-w', source, ...flags, '-o', program])
  return program
}

export const passthroughPeer = (program: Promise<string>, threads: 'many' | 'one'): Peer => ({
  name: threads === 'many' ? 'pt' : 'pt -s',
  kind: 'pt',
  async start(place, over) {
    const [below, dir] = [`${place}/below`, `${place}/mnt`]
    mkdirSync(below, { recursive: true })
    mkdirSync(dir, { recursive: true })
    if (over === 'memory' && !isMounted(below)) await run('mount', ['-t', 'tmpfs', '-o', 'size=1g', 'bench', below])
    const mode = threads === 'one' ? ['-s'] : []
    const daemon = start('bash', [
      '-c', 'ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"', await program, '-f', ...mode, '-o', `source=${below},cache=always,allow_other,fsname=bench`, dir,
    ], { timeoutMs: 2 ** 31 - 1 })
    const early = daemon.done.then(() => new Error('passthrough_ll ended at once'), (error: unknown) => error)
    const failed = await Promise.race([until('passthrough_ll is mounted', () => isMounted(dir), 10_000).then(() => undefined), early])
    if (failed !== undefined) throw failed
    const dropMemory = async () => {
      if (over === 'memory') await run('umount', ['-l', below])
    }
    return {
      dir,
      below,
      pid: daemon.pid,
      async stop() {
        await run('umount', [dir], { timeoutMs: 30_000 })
        await until('passthrough_ll is gone', () => !isAlive(daemon.pid), 30_000)
        await dropMemory()
      },
      kill: () => killDaemon(daemon.pid, dir),
    }
  },
})
