/** What `ogee nbd` asks of the daemon, and addresses as people write them. */
import type { Address } from '../../nbd/index.js'
import { Refusal } from '../../pool/index.js'

/** What `ogee nbd` asks for. */
export interface NbdSpec {
  /** None: all volumes, those made later too. */
  readonly names: readonly string[]
  /** unix:PATH (absolute) or tcp:HOST:PORT. */
  readonly listen: readonly string[]
  readonly readOnly: boolean
  readonly tlsDir: string | undefined
  readonly takeover: boolean
}

const PORT = 10809

export function parseAddress(text: string): Address {
  const [, kind, rest] = /^(unix|tcp):(.+)$/.exec(text) ?? []
  if (kind === 'unix') return { kind, path: rest }
  if (kind === 'tcp') {
    const [, v6, plain, port] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(rest) ?? []
    const number = port === undefined ? PORT : Number(port)
    if ((v6 ?? plain) !== undefined && number < 65536) return { kind, host: v6 ?? plain, port: number }
  }
  throw new Refusal('usage', `"${text}" is no address: write unix:PATH or tcp:HOST:PORT.`)
}

export function encodeSpec(spec: NbdSpec): Record<string, string> {
  return { spec: JSON.stringify(spec) }
}

/** Whoever may speak to the control socket may say anything: what is no order is refused before anything is begun. */
export function decodeSpec(text: string | null): NbdSpec {
  const refuse = (): Refusal => new Refusal('usage', 'That is no order to serve volumes: it comes from another version; unmount the pool and mount it again.')
  let given: unknown
  try {
    given = JSON.parse(text ?? '')
  } catch {
    throw refuse()
  }
  if (typeof given !== 'object' || given === null) throw refuse()
  const { names, listen, readOnly, tlsDir, takeover } = given as Partial<Record<keyof NbdSpec, unknown>>
  if (!areTexts(names) || !areTexts(listen) || listen.length === 0 || typeof readOnly !== 'boolean' || typeof takeover !== 'boolean' || (tlsDir !== undefined && typeof tlsDir !== 'string')) throw refuse()
  return { names, listen, readOnly, tlsDir, takeover }
}

const areTexts = (list: unknown): list is string[] => Array.isArray(list) && list.every((text) => typeof text === 'string')
