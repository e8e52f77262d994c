/**
 * What `ogee volume` asks of a pool's volumes, wherever the pool is open: by the daemon (over the control socket, as a query) or by
 * the command itself. One table of what can be asked.
 */
import { holderText, openPool, Refusal, tryLock } from '../pool/index.js'
import { systemClock, systemRandom } from '../sys/index.js'
import { VolumeError } from '../volume/index.js'
import type { VolumeInfo, Volumes } from '../volume/index.js'
import { note } from './output.js'
import type { VolumeAsk } from './volume-query.js'

export interface VolumeAnswer {
  readonly volumes: readonly VolumeInfo[]
  /** takeover: who wrote before. */
  readonly fenced: string | null
}

export async function answerVolumes(volumes: Volumes, ask: VolumeAsk): Promise<VolumeAnswer> {
  const one = (info: VolumeInfo): VolumeAnswer => ({ volumes: [info], fenced: null })
  switch (ask.do) {
    case 'list': return { volumes: await volumes.list(), fenced: null }
    case 'info': return one(await volumes.info(ask.name))
    case 'create': return one(await volumes.create(ask.name, ask.size))
    case 'resize': return one(await volumes.resize(ask.name, ask.size, ask.cut))
    case 'rename': return one(await volumes.rename(ask.name, ask.to))
    case 'rm':
      await volumes.remove(ask.name)
      return { volumes: [], fenced: null }
    case 'takeover': {
      const fenced = await volumes.takeOver(ask.name)
      return { volumes: [await volumes.info(ask.name)], fenced: fenced ?? null }
    }
  }
}

/** The same of a pool that nobody has open. */
export async function askClosed(folder: string, ask: VolumeAsk): Promise<VolumeAnswer> {
  const lock = tryLock(folder, 'volume')
  if (!('release' in lock)) throw new Refusal('in-use', `Pool ${folder} is being opened or closed by ${holderText(lock.heldBy)}: try again in a moment.`)
  try {
    const pool = await openPool(folder, { clock: systemClock, random: systemRandom, vfs: {}, note })
    try {
      return await answerVolumes(pool.volumes, ask)
    } finally {
      await pool.close()
    }
  } finally {
    lock.release()
  }
}

/** What volumes refuse, as the command line says it. */
export const volumeRefusal = (e: unknown): unknown => (e instanceof VolumeError ? new Refusal(e.reason, e.message) : e)
