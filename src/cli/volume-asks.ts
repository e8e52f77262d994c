/**
 * What `ogee volume` asks of a pool's volumes, wherever the pool is open: by the daemon (over the control socket, as a query) or by
 * the command itself. One table of what can be asked.
 */
import { holderText, openPool, Refusal, tryLock } from '../pool/index.js'
import { systemClock, systemRandom } from '../sys/index.js'
import { VolumeError } from '../volume/index.js'
import type { VolumeInfo, Volumes } from '../volume/index.js'
import { note } from './output.js'

export type VolumeAsk =
  | { readonly do: 'list' }
  | { readonly do: 'info' | 'rm' | 'takeover', readonly name: string }
  | { readonly do: 'create', readonly name: string, readonly size: number }
  | { readonly do: 'resize', readonly name: string, readonly size: number, readonly cut: 'keep' | 'cut' }
  | { readonly do: 'rename', readonly name: string, readonly to: string }

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

export const encodeAsk = (ask: VolumeAsk): string => new URLSearchParams(Object.entries(ask).map(([key, value]): [string, string] => [key, String(value)])).toString()

export function decodeAsk(query: string | undefined): VolumeAsk {
  const q = new URLSearchParams(query)
  const name = q.get('name') ?? ''
  const size = Number(q.get('size') ?? NaN)
  const what = q.get('do')
  switch (what) {
    case 'list': return { do: what }
    case 'info': case 'rm': case 'takeover': return { do: what, name }
    case 'create': return { do: what, name, size }
    case 'resize': return { do: what, name, size, cut: q.get('cut') === 'cut' ? 'cut' : 'keep' }
    case 'rename': return { do: what, name, to: q.get('to') ?? '' }
    default: throw new Refusal('usage', `The daemon does not know what "${what ?? ''}" does to a volume: it is of another version; unmount the pool and mount it again.`)
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
