/** Ogee as a user runs it: bin/ogee mounts a new pool in the background with its defaults. What NODE_OPTIONS say reaches the daemon. */
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { run } from '../../test/programs/run.js'
import { isAlive, killDaemon, until } from './mounts.js'
import type { Peer } from './peer.js'

export const ogeeProgram = process.env['OGEE_BIN'] ?? fileURLToPath(new URL('../../bin/ogee', import.meta.url))

export const ogeePeer = (mountOptions: string | undefined): Peer => ({
  name: 'ogee',
  kind: 'ogee',
  async start(place) {
    const [pool, dir] = [`${place}/pool`, `${place}/mnt`]
    mkdirSync(dir, { recursive: true })
    await run(ogeeProgram, ['mount', ...(mountOptions === undefined ? [] : ['-o', mountOptions]), pool, dir], { timeoutMs: 60_000 })
    const { pid } = JSON.parse((await run(ogeeProgram, ['status', '--json', dir], { timeoutMs: 15_000 })).stdout) as { pid: number }
    return {
      dir,
      below: undefined,
      pid,
      async stop() {
        await run(ogeeProgram, ['umount', dir], { timeoutMs: 120_000 })
        await until(`ogee's daemon ${pid} is gone`, () => !isAlive(pid), 30_000)
      },
      kill: () => killDaemon(pid, dir),
    }
  },
})
