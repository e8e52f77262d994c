/**
 * NBD in the daemon: each `ogee nbd` (or `ogee mount --nbd`) is one service: some volumes at some addresses, until it is stopped or the
 * daemon ends. A daemon without a mount lives as long as it has a service.
 */
import { isIP } from 'node:net'
import type { Address, Nbd } from '../../nbd/index.js'
import { Refusal } from '../../pool/index.js'
import type { Pool } from '../../pool/index.js'
import { ERRNO, errnoOf, systemClock } from '../../sys/index.js'
import type { CoreHold } from '../../sys/index.js'
import type { Calls } from './control.js'
import type { Logger } from './log.js'
import { decodeSpec, parseAddress } from './nbd-spec.js'
import type { NbdSpec } from './nbd-spec.js'

export interface NbdService {
  readonly addresses: string[]
  readonly names: string[] | null
  readonly readOnly: boolean
  readonly tls: string[]
  readonly connections: number
  readonly requests: number
}

export interface NbdServices {
  start(spec: NbdSpec): Promise<NbdService>
  status(): NbdService[]
  close(): Promise<void>
  readonly calls: Calls
}

const addressText = (a: Address): string => (a.kind === 'unix' ? `unix:${a.path}` : `tcp:${isIP(a.host) === 6 ? `[${a.host}]` : a.host}:${a.port}`)

export interface NbdParts {
  readonly pool: Pool
  readonly hold: CoreHold
  readonly log: Logger
  /** Volumes that are block devices of this machine, and that the daemon's end would take away. */
  attached(): number
  /** Nothing is served any more. */
  empty(): void
}

export function nbdServices({ pool, hold, log, attached, empty }: NbdParts): NbdServices {
  const services = new Map<Nbd, NbdSpec & { readonly kinds: readonly string[] }>()

  const shown = (nbd: Nbd): NbdService => {
    const spec = services.get(nbd)!
    return { addresses: nbd.addresses.map(addressText), names: nbd.names === undefined ? null : [...nbd.names], readOnly: spec.readOnly, tls: [...spec.kinds], connections: nbd.connections, requests: nbd.requests() }
  }

  const start = async (spec: NbdSpec): Promise<NbdService> => {
    const floor = await import('../../nbd/index.js') // for those who serve volumes
    const addresses = spec.listen.map(parseAddress)
    for (const name of spec.names) await pool.volumes.info(name)
    const tls = spec.tlsDir === undefined ? undefined : keysOf(floor, spec.tlsDir)
    if (spec.takeover) for (const name of spec.names) {
      const fenced = await pool.volumes.takeOver(name)
      if (fenced !== undefined) log.info(`nbd: volume ${name} is taken over from ${fenced}`)
    }
    const nbd = floor.openNbd({
      volumes: pool.volumes, names: spec.names.length === 0 ? undefined : spec.names, isReadOnly: spec.readOnly, tls, clock: systemClock, hold,
      log: (sentence) => log.warn(sentence)
    })
    try {
      for (const address of addresses) await nbd.listen(address).catch((e: unknown) => { throw refusalOfListen(e, address) })
    } catch (e) {
      await nbd.close()
      throw e
    }
    services.set(nbd, { ...spec, kinds: tls?.kinds ?? [] })
    log.info(`nbd: serving ${spec.names.length === 0 ? 'all volumes' : spec.names.join(', ')} at ${nbd.addresses.map(addressText).join(', ')}`)
    return shown(nbd)
  }

  const stop = async (): Promise<void> => {
    const all = [...services.keys()]
    services.clear()
    await Promise.all(all.map((nbd) => nbd.close()))
  }

  return {
    start,
    status: () => [...services.keys()].map(shown),
    close: stop,
    calls: {
      'nbd/start': async (query) => ({ service: await start(decodeSpec(query.get('spec'))) }),
      async 'nbd/stop'() {
        if (attached() > 0) throw new Refusal('busy', `Volumes of pool ${pool.folder} are attached: detach them first (ogee volume detach).`)
        const stopped = services.size
        await stop()
        empty()
        return { stopped }
      }
    }
  }
}

type Floor = typeof import('../../nbd/index.js')

function keysOf({ readTlsFolder }: Floor, folder: string): ReturnType<Floor['readTlsFolder']> {
  try {
    return readTlsFolder(folder)
  } catch (e) {
    throw new Refusal('usage', e instanceof Error ? e.message : String(e))
  }
}

function refusalOfListen(e: unknown, address: Address): Refusal {
  const at = addressText(address)
  const code = errnoOf(e)
  if (code === ERRNO.EADDRINUSE) return new Refusal('busy', `${at} is in use: choose another address (--listen).`)
  if (code === ERRNO.EACCES || code === ERRNO.EPERM) return new Refusal('denied', `No permission to listen at ${at}: choose another address (--listen).`)
  if (code === ERRNO.ENOENT || code === ERRNO.ENOTDIR) return new Refusal('missing', `There is no folder for ${at}: make it first.`)
  return new Refusal('failed', `Listening at ${at} failed: ${e instanceof Error ? e.message : String(e)}`)
}
