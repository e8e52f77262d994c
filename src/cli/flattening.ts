/**
 * Has a clone of a volume copy what it shows of its origin, by the daemon or here, with a bar. Ctrl-C stops between two pieces: what was
 * copied stays, and the next call goes on.
 */
import { Refusal } from '../pool/index.js'
import { systemClock } from '../sys/index.js'
import type { VolumeInfo } from '../volume/index.js'
import { askStream } from './daemon/client.js'
import { onPool } from './on-pool.js'
import { progressBar } from './progress.js'
import { volumeRefusal } from './volume-asks.js'

export async function flatten(pool: string, name: string): Promise<VolumeInfo> {
  const bar = progressBar('flatten', 'bytes', systemClock)
  let stopped = false
  const stop = (): void => void (stopped = true)
  const show = (done: number, of: number): void => {
    if (stopped) throw new Refusal('failed', `Stopped: ${done} of ${of} bytes are copied, and stay. \`ogee volume flatten\` goes on.`)
    bar.show(done, of)
  }
  process.once('SIGINT', stop)
  try {
    let volume: VolumeInfo | undefined
    let rest = ''
    return await onPool(pool, async () => {
      await askStream(pool, 'volume/flatten', { name }, async (part) => {
        const lines = (rest + part.toString('utf8')).split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) {
          const told = JSON.parse(line) as { done: number, of: number } | { volume: VolumeInfo }
          if ('volume' in told) volume = told.volume
          else show(told.done, told.of)
        }
      })
      return volume
    }, (p) => p.volumes.flatten(name, show))
  } catch (e) {
    throw volumeRefusal(e)
  } finally {
    process.off('SIGINT', stop)
    bar.end()
  }
}
