/** What can be asked about volumes, as a query of the control socket. */
import { Refusal } from '../pool/index.js'

export type VolumeAsk =
  | { readonly do: 'list' }
  | { readonly do: 'info' | 'rm' | 'takeover', readonly name: string }
  | { readonly do: 'create', readonly name: string, readonly size: number }
  | { readonly do: 'resize', readonly name: string, readonly size: number, readonly cut: 'keep' | 'cut' }
  | { readonly do: 'rename', readonly name: string, readonly to: string }

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
