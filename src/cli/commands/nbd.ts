/**
 * `ogee nbd`: serves volumes over NBD, from the daemon that has the pool, else from one of its own. Returns when clients may connect.
 *   - Safe by default: a unix socket in the pool's folder, mode 0600; TCP beyond loopback wants TLS, or the word --plain.
 */
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import type { Command } from 'commander'
import { Refusal } from '../../pool/index.js'
import { askCall, askStatus, watchClosed } from '../daemon/client.js'
import type { NbdService } from '../daemon/nbd.js'
import { encodeSpec, parseAddress } from '../daemon/nbd-spec.js'
import type { NbdSpec } from '../daemon/nbd-spec.js'
import { spawnDaemon } from '../daemon/spawn.js'
import { locate } from '../locate.js'
import { parseMountOptions } from '../options.js'
import { note, say } from '../output.js'

interface Flags {
  readonly listen: string[]
  readonly readOnly?: boolean
  readonly tlsDir?: string
  readonly takeover?: boolean
  readonly plain?: boolean
  readonly stop?: boolean
  readonly json?: boolean
}

const TRIES = 3
const SOCKET = 'nbd.sock'

export const addNbd = (program: Command): void => {
  program.command('nbd').argument('<POOL>', "the pool's folder, or where it is mounted").argument('[NAME...]', 'volumes (default: all, those made later too)')
    .summary('serve volumes over NBD')
    .description('Serves volumes to NBD clients (nbd-client, qemu, nbdcopy, fio), and returns when they may connect. The daemon that has the pool mounted\nserves them; if there is none, one is started, and ends with --stop.')
    .option('--listen <ADDRESS>', 'unix:PATH or tcp:HOST:PORT, more than once if wanted (default: unix:POOL/nbd.sock)', (value: string, before: string[]) => [...before, value], [])
    .option('--read-only', 'clients may only read')
    .option('--tls-dir <DIR>', 'TLS only, with the certificates (server-cert.pem, server-key.pem, ca-cert.pem) or keys (keys.psk) in DIR')
    .option('--takeover', 'fence who writes these volumes now: its writes fail from now on')
    .option('--plain', 'let other machines connect without TLS')
    .option('--stop', 'stop serving: requests in hand are answered, connections are closed')
    .option('--json', 'print JSON')
    .addHelpText('after', '\nExamples:\n  ogee nbd /srv/pool\n  nbdinfo "nbd+unix:///db?socket=/srv/pool/nbd.sock"\n  ogee nbd /srv/pool db --listen tcp:0.0.0.0:10809 --tls-dir /etc/ogee/tls\n  ogee nbd /srv/pool --stop')
    .action(nbd)
}

async function nbd(path: string, names: string[], flags: Flags): Promise<void> {
  const { pool } = locate(path)
  if (flags.stop === true) return stopNbd(pool, flags)
  const spec = nbdSpec(pool, names, flags)
  const service = await startNbd(pool, spec)
  if (flags.json === true) return say(JSON.stringify(service))
  for (const address of service.addresses) say(`Serving ${service.names === null ? 'all volumes' : service.names.join(', ')}${service.readOnly ? ' read-only' : ''}${service.tls.length > 0 ? ' with TLS' : ''} at ${address}: ${uriOf(address, service)}`)
}

/** As an NBD URI, for any client. */
function uriOf(address: string, { names, tls }: NbdService): string {
  const scheme = tls.length > 0 ? 'nbds' : 'nbd'
  const name = names?.length === 1 ? names[0] : ''
  return address.startsWith('unix:') ? `${scheme}+unix:///${name}?socket=${address.slice(5)}` : `${scheme}://${address.slice(4)}/${name}`
}

/** What to serve, checked as far as can be before a daemon is asked. */
export function nbdSpec(pool: string, names: readonly string[], flags: Flags): NbdSpec {
  const listen = (flags.listen.length === 0 ? [`unix:${join(pool, SOCKET)}`] : flags.listen).map((text) => (text.startsWith('unix:') ? `unix:${resolve(text.slice(5))}` : text))
  for (const text of listen) {
    const address = parseAddress(text)
    if (address.kind === 'tcp' && !isLoopback(address.host) && flags.tlsDir === undefined && flags.plain !== true) {
      throw new Refusal('usage', `Whoever reaches ${text} could read and write these volumes: add --tls-dir, or --plain if the network keeps others out.`)
    }
  }
  if (flags.takeover === true && names.length === 0) throw new Refusal('usage', 'Name the volumes to take over: ogee nbd POOL NAME --takeover.')
  return { names, listen, readOnly: flags.readOnly === true, tlsDir: flags.tlsDir === undefined ? undefined : resolve(flags.tlsDir), takeover: flags.takeover === true }
}

const isLoopback = (host: string): boolean => host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))

export async function startNbd(pool: string, spec: NbdSpec): Promise<NbdService> {
  for (let i = 0; i < TRIES; i++) {
    const answer = await askCall(pool, 'nbd/start', encodeSpec(spec), (f) => f.NbdStarted)
    if (answer !== undefined) return answer.service
    if (await spawnDaemon({ pool, dir: undefined, options: parseMountOptions([], process.geteuid?.() === 0), nbd: spec }, note) !== 'ready') continue
    const service = (await askStatus(pool))?.nbd[0]
    if (service !== undefined) return service
  }
  throw new Refusal('in-use', `Pool ${pool} is being opened and closed by others at the same time: try again.`)
}

/** Also ends a daemon that has no mount; true if it was one. */
export async function stopServing(pool: string): Promise<'nobody' | 'stopped' | 'ended'> {
  const status = await askStatus(pool)
  if (status === undefined || status.nbd.length === 0) return 'nobody'
  const isAlone = status.device === ''
  const watch = isAlone ? await watchClosed(pool) : undefined
  await askCall(pool, 'nbd/stop', {}, (f) => f.NbdStopped).catch((e: unknown) => {
    watch?.stop() // it stays: who listens for its end would wait for that
    throw e
  })
  const failure = await watch?.closed
  if (failure !== undefined) throw new Refusal('failed', `${failure.replace(/\.$/, '')}: what was written last may be lost; see ${pool}/daemon.log.`)
  return isAlone ? 'ended' : 'stopped'
}

async function stopNbd(pool: string, flags: Flags): Promise<void> {
  const how = await stopServing(pool)
  if (how === 'nobody') throw new Refusal('missing', `Pool ${pool} is not served over NBD: \`ogee status ${pool}\` shows what is.`)
  say(flags.json === true ? JSON.stringify({ stopped: true }) : 'Stopped: everything is durable, and no client is connected any more.')
}
