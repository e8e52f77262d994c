/**
 * Serves volumes of a pool over NBD: listens, names the exports, and gives each client's connection to the loop (or to TLS).
 *   - All volumes, those made later too, or the named ones. The name '' is the only one that is served.
 *   - NAME@SNAPSHOT is a volume as it was, read-only. It is not listed.
 *   - A unix socket has mode 0600; a client is the process that connected, over TCP the address: its connections are one writer.
 *   - A volume that another client writes is shown read-only, and its description says who writes.
 */
import { chmodSync, lstatSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { close, duplicate, growSendBuffer, peerPid } from '../sys/index.js'
import type { Clock, CoreHold } from '../sys/index.js'
import { VolumeError } from '../volume/index.js'
import type { OpenVolume, Volumes } from '../volume/index.js'
import { makeConnection } from './connection.js'
import type { Connection, VolumeExport, Wire } from './connection.js'
import { makeLoop } from './loop.js'
import type { Exports } from './negotiation.js'
import { makeChunkPool } from './outbox.js'
import { makePayloadPool } from './payloads.js'
import { carryTls } from './tls.js'
import type { TlsKeys, TlsWire } from './tls.js'

export interface NbdOptions {
  readonly volumes: Volumes
  /** Undefined: all. */
  readonly names: readonly string[] | undefined
  readonly isReadOnly: boolean
  readonly tls: TlsKeys | undefined
  readonly clock: Clock
  readonly hold: CoreHold
  log(sentence: string): void
}

export type Address = { readonly kind: 'unix', readonly path: string } | { readonly kind: 'tcp', readonly host: string, readonly port: number }

export interface Nbd {
  /** Resolves when clients may connect: to this address (with the port that was chosen, if 0 was asked for). */
  listen(address: Address): Promise<Address>
  /** Also undefined: all. */
  readonly names: readonly string[] | undefined
  readonly addresses: readonly Address[]
  readonly connections: number
  requests(): number
  /** Answers what is in hand, and closes every connection. */
  close(): Promise<void>
}

const BACKLOG = 4096
/** A large read's answer leaves in one call; an idle socket holds none of it. */
const SEND_BYTES = 2 * 1024 * 1024
const CLOSE_MS = 10_000
const KEEP_ALIVE_MS = 60_000

export function openNbd(o: NbdOptions): Nbd {
  const loop = makeLoop({ clock: o.clock, hold: o.hold })
  const chunks = makeChunkPool()
  const payloads = makePayloadPool()
  const servers: Server[] = []
  const addresses: Address[] = []
  const connections = new Set<Connection>()
  let closing: Promise<void> | undefined
  let emptied: () => void = () => undefined
  let requestsBefore = 0

  const serve = (socket: Socket): void => {
    const original = (socket as unknown as { readonly _handle: { readonly fd: number } | null })._handle?.fd ?? -1
    const pid = peerPid(original)
    const who = pid !== undefined ? `pid ${pid} (NBD)` : `${socket.remoteAddress ?? 'a client'} (NBD)`
    if (pid !== undefined) growSendBuffer(original, SEND_BYTES) // TCP grows its own
    if (socket.remoteAddress !== undefined) socket.setNoDelay(true).setKeepAlive(true, KEEP_ALIVE_MS)
    const fd = duplicate(original)
    socket.destroy() // the duplicate lives on
    if (fd < 0) return o.log(`nbd: no descriptor for ${who}: raise the limit (ulimit -n)`)
    if (closing !== undefined) return void close(fd)
    let over: TlsWire | undefined
    loop.add(fd, (plain) => {
      const wire: Wire = {
        send: (bytes, at, length) => (over ?? plain).send(bytes, at, length),
        ready: () => (over ?? plain).ready(),
        secure: () => plain.secure(),
        close: () => (over ?? plain).close()
      }
      const connection: Connection = makeConnection(wire, {
        exports: exportsFor(o, who), tls: o.tls === undefined ? 'none' : 'required', clock: o.clock, chunks, payloads,
        log: (why) => o.log(`nbd: closed the connection of ${who}: ${why}`),
        closed() {
          connections.delete(connection)
          requestsBefore += connection.requests
          if (connections.size === 0) emptied()
        }
      })
      connections.add(connection)
      return connection
    }, (descriptor, connection) => carryTls(descriptor, o.tls!, connection, (wire) => { over = wire }))
  }

  return {
    names: o.names,
    addresses,
    get connections() {
      return connections.size
    },
    requests() {
      let sum = requestsBefore
      for (const { requests } of connections) sum += requests
      return sum
    },
    async listen(address) {
      if (address.kind === 'unix') await clearSocket(address.path)
      const server = createServer({ pauseOnConnect: true }, serve)
      const before = process.umask(0o177)
      try {
        await new Promise<void>((resolve, reject) => {
          server.once('error', reject)
          server.listen({ ...(address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port }), backlog: BACKLOG }, resolve)
        })
      } finally {
        process.umask(before)
      }
      server.on('error', (e) => o.log(`nbd: ${e.message}`)) // accept(2) out of descriptors: the next client tries again
      if (address.kind === 'unix') chmodSync(address.path, 0o600)
      servers.push(server)
      const at = server.address()
      const real: Address = address.kind === 'tcp' && at !== null && typeof at === 'object' ? { ...address, port: at.port } : address
      addresses.push(real)
      return real
    },
    close() {
      closing ??= (async () => {
        for (const server of servers) server.close()
        for (const address of addresses) if (address.kind === 'unix') rmSync(address.path, { force: true })
        const empty = new Promise<void>((resolve) => { emptied = resolve })
        for (const connection of [...connections]) connection.stop()
        if (connections.size > 0) await Promise.race([empty, o.clock.sleep(CLOSE_MS)])
      })()
      return closing
    }
  }
}

/** A socket that nobody listens at is in the way; one that answers, or another file, is somebody's. */
async function clearSocket(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isSocket()) throw new Error(`${path} is there and is no socket: name another path, or remove it.`)
  const answers = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy()
      resolve(true)
    })
    probe.on('error', () => resolve(false))
  })
  if (answers) throw new Error(`Somebody serves at ${path} already: name another path.`)
  rmSync(path, { force: true })
}

function exportsFor({ volumes, names, isReadOnly, log }: NbdOptions, who: string): Exports<VolumeExport> {
  const listed = async (): Promise<readonly { readonly name: string, readonly description: string }[]> =>
    (await volumes.list()).filter(({ name }) => names === undefined || names.includes(name)).map((v) => ({ name: v.name, description: v.writer === null ? '' : `written by ${v.writer}` }))
  return {
    list: listed,
    async open(asked) {
      let name = asked
      if (asked === '') {
        const all = await listed()
        if (all.length !== 1) return undefined
        name = all[0].name
      } else if (names !== undefined && !names.includes(asked.split('@')[0])) return undefined // snapshots of what is served are served
      try {
        const volume = await volumes.open(name, who)
        if (volume.refusal !== undefined && !isReadOnly && !name.includes('@')) log(`nbd: read-only for ${who}: ${volume.refusal}`)
        return exportOf(volume, isReadOnly)
      } catch (e) {
        if (e instanceof VolumeError && e.reason === 'missing') return undefined
        throw e
      }
    }
  }
}

function exportOf(volume: OpenVolume, isReadOnly: boolean): VolumeExport {
  const { refusal } = volume
  return {
    volume, name: volume.name, sizeBytes: volume.sizeBytes, isReadOnly: isReadOnly || refusal !== undefined,
    description: refusal ?? (isReadOnly ? 'served read-only' : ''),
    close: () => volume.close()
  }
}
