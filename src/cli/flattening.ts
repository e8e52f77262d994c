/**
 * Has a clone of a volume, or of a tree, become independent of its origin, by the daemon or here, with a bar. Ctrl-C stops between two pieces: what was
 * done stays, and the next call goes on.
 */
import { Refusal } from '../pool/index.js'
import type { Pool } from '../pool/index.js'
import { systemClock } from '../sys/index.js'
import type { VolumeInfo } from '../volume/index.js'
import { askStream } from './daemon/client.js'
import { onPool } from './on-pool.js'
import { progressBar } from './progress.js'
import { volumeRefusal } from './volume-asks.js'

type Show = (done: number, of: number) => void

export const flattenVolume = (pool: string, name: string): Promise<VolumeInfo> => flatten(pool, 'volume', name, 'bytes', (p, show) => p.volumes.flatten(name, show))

/** `origin`: what snapshots of it still need. */
export const flattenTree = (pool: string, path: string): Promise<{ readonly path: string, readonly origin: string | null }> =>
  flatten(pool, 'subvolume', path, 'files and folders', (p, show) => p.subvolumes.flatten(path, show))

async function flatten<T>(pool: string, what: 'volume' | 'subvolume', name: string, unit: string, act: (pool: Pool, show: Show) => Promise<T>): Promise<T> {
  const bar = progressBar('flatten', unit, systemClock)
  let stopped = false
  const stop = (): void => void (stopped = true)
  const show: Show = (done, of) => {
    if (stopped) throw new Refusal('failed', `Stopped: ${done} of ${of} ${unit} are done, and stay. \`ogee ${what} flatten\` goes on.`)
    bar.show(done, of)
  }
  process.once('SIGINT', stop)
  try {
    let ended: T | undefined
    let rest = ''
    return await onPool(pool, async () => {
      await askStream(pool, `${what}/flatten`, { name }, async (part) => {
        const lines = (rest + part.toString('utf8')).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          const told = JSON.parse(line) as { done: number, of: number } | { ended: T }
          if ('ended' in told) ended = told.ended
          else show(told.done, told.of)
        }
      })
      return ended
    }, (p) => act(p, show))
  } catch (e) {
    throw volumeRefusal(e)
  } finally {
    process.off('SIGINT', stop)
    bar.end()
  }
}
