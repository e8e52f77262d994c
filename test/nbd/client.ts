/** A synthetic NBD client over a connection without a socket, and a volume in memory that waits, fails and counts as told. */
import { makeConnection } from '../../src/nbd/connection.js'
import type { Connection, VolumeExport } from '../../src/nbd/connection.js'
import type { Exports } from '../../src/nbd/negotiation.js'
import { makeChunkPool } from '../../src/nbd/outbox.js'
import { makePayloadPool } from '../../src/nbd/payloads.js'
import type { PayloadPool } from '../../src/nbd/payloads.js'
import { manualClock } from '../../src/sys/index.js'
import type { ManualClock } from '../../src/sys/index.js'
import type { OpenVolume } from '../../src/volume/index.js'

export interface MemoryVolume extends OpenVolume {
  readonly bytes: Buffer
  /** What the next changes and reads wait for. */
  gate: Promise<void> | undefined
  fail: Error | undefined
  flushes: number
  opens: number
  calls: string[]
  refused: string | undefined
}

export function memoryVolume(sizeBytes: number): MemoryVolume {
  const bytes = Buffer.alloc(sizeBytes)
  const held = new Set<number>()
  const change = async (what: string, work: () => void): Promise<void> => {
    const { gate, fail } = volume
    volume.calls.push(what)
    if (gate !== undefined) await gate
    if (fail !== undefined) throw fail
    work()
  }
  const units = (offset: number, length: number): number[] => Array.from({ length: Math.ceil((offset + length) / 512) - Math.floor(offset / 512) }, (_, i) => Math.floor(offset / 512) + i)
  const volume: MemoryVolume = {
    bytes, gate: undefined, fail: undefined, flushes: 0, opens: 0, calls: [], refused: undefined, name: 'v', sizeBytes,
    claim: () => undefined,
    get refusal() {
      return volume.refused
    },
    read(offset, length, into, at) {
      const { gate, fail } = volume
      if (fail !== undefined && gate === undefined) throw fail
      const copy = (): number => {
        if (fail !== undefined) throw fail
        return bytes.copy(into, at, offset, offset + length)
      }
      return gate === undefined ? copy() : gate.then(copy)
    },
    write: (offset, from, at, length) => change('write', () => {
      bytes.set(from.subarray(at, at + length), offset)
      units(offset, length).forEach((u) => held.add(u))
    }),
    trim: (offset, length) => change('trim', () => {
      bytes.fill(0, offset, offset + length)
      units(offset, length).forEach((u) => held.delete(u))
    }),
    zero: (offset, length, space) => change(`zero ${space}`, () => void bytes.fill(0, offset, offset + length)),
    layout(offset, length, limit) {
      const parts: { kind: 'data' | 'hole', lengthBytes: number }[] = []
      for (let pos = offset; pos < offset + length;) {
        const to = Math.min(offset + length, (Math.floor(pos / 512) + 1) * 512)
        const kind = held.has(Math.floor(pos / 512)) ? 'data' : 'hole'
        const last = parts[parts.length - 1]
        if (last?.kind === kind) last.lengthBytes += to - pos
        else if (parts.length === limit) break
        else parts.push({ kind, lengthBytes: to - pos })
        pos = to
      }
      return parts
    },
    async flush() {
      const { fail } = volume
      volume.flushes++
      await volume.gate
      if (fail !== undefined) throw fail
    },
    close: () => void volume.opens--
  }
  return volume
}

export interface Client {
  readonly connection: Connection
  readonly clock: ManualClock
  readonly logged: string[]
  isSecure: boolean
  isClosed: boolean
  /** Bytes that the server may send before it has to wait. */
  room: number
  send(bytes: Buffer, pieces?: number): void
  /** Lets promise jobs run and takes what came. */
  take(): Promise<Buffer>
}

export function connect(volumes: Record<string, MemoryVolume>, options: { readonly tls?: 'none' | 'required', readonly isReadOnly?: boolean, readonly payloads?: PayloadPool } = {}): Client {
  const clock = manualClock()
  let out: Buffer[] = []
  const exports: Exports<VolumeExport> = {
    list: () => Promise.resolve(Object.keys(volumes).map((name) => ({ name, description: `about ${name}` }))),
    async open(name) {
      const found = name === '' && Object.keys(volumes).length === 1 ? Object.keys(volumes)[0] : name
      if (!Object.hasOwn(volumes, found)) return undefined
      const volume = volumes[found]
      volume.opens++
      return { volume, name: found, sizeBytes: volume.sizeBytes, isReadOnly: options.isReadOnly === true || volume.refused !== undefined, description: 'told', close: () => volume.close() }
    }
  }
  const client: Client = {
    clock, logged: [], isSecure: false, isClosed: false, room: Infinity,
    connection: undefined as never,
    send(bytes, pieces = bytes.length) {
      for (let at = 0; at < bytes.length; at += pieces) {
        const n = Math.min(pieces, bytes.length - at)
        const shared = Buffer.alloc(n + 5, 0xdd) // as a loop has it: somewhere in a buffer that is used again
        bytes.copy(shared, 2, at, at + n)
        client.connection.take(shared, 2, 2 + n)
        shared.fill(0xdd)
      }
    },
    async take() {
      for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve))
      client.connection.flush()
      const all = Buffer.concat(out)
      out = []
      return all
    }
  }
  Object.assign(client, {
    connection: makeConnection({
      send(bytes, at, length) {
        const n = Math.min(length, client.room)
        client.room -= n
        out.push(Buffer.from(bytes.subarray(at, at + n)))
        return n
      },
      ready: () => undefined,
      secure: () => { client.isSecure = true },
      close: () => { client.isClosed = true }
    }, { exports, tls: options.tls ?? 'none', clock, chunks: makeChunkPool(), payloads: options.payloads ?? makePayloadPool(), log: (why) => client.logged.push(why), closed: () => undefined })
  })
  return client
}

export function option(number: number, ...data: Buffer[]): Buffer {
  const body = Buffer.concat(data)
  const head = Buffer.alloc(16)
  head.write('IHAVEOPT', 'latin1')
  head.writeUInt32BE(number, 8)
  head.writeUInt32BE(body.length, 12)
  return Buffer.concat([head, body])
}

export const u16 = (n: number): Buffer => Buffer.from([n >> 8, n & 255])
export function u32(n: number): Buffer {
  const b = Buffer.alloc(4)
  b.writeUInt32BE(n >>> 0)
  return b
}
export function u64(n: number): Buffer {
  return Buffer.concat([u32(Math.floor(n / 2 ** 32)), u32(n % 2 ** 32)])
}
export const named = (name: string): Buffer => Buffer.concat([u32(name.length), Buffer.from(name)])

/** Option replies: [option, type, data]. */
export function replies(bytes: Buffer): [number, number, Buffer][] {
  const out: [number, number, Buffer][] = []
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at + 16)
    if (bytes.readUInt32BE(at) !== 0x0003e889 || bytes.readUInt32BE(at + 4) !== 0x045565a9) throw new Error('no option reply')
    out.push([bytes.readUInt32BE(at + 8), bytes.readUInt32BE(at + 12), bytes.subarray(at + 20, at + 20 + length)])
    at += 20 + length
  }
  return out
}

export const request = (type: number, cookie: number, offset: number, length: number, flags = 0, data = Buffer.alloc(0)): Buffer =>
  Buffer.concat([u32(0x25609513), u16(flags), u16(type), u64(cookie), u64(offset), u32(length), data])
export const extendedRequest = (type: number, cookie: number, offset: number, length: number, flags = 0, data = Buffer.alloc(0)): Buffer =>
  Buffer.concat([u32(0x21e41c71), u16(flags), u16(type), u64(cookie), u64(offset), u64(length), data])

/** Client flags, options, GO; then in transmission. */
export async function go(client: Client, ...options: Buffer[]): Promise<void> {
  client.send(Buffer.concat([u32(3), ...options, option(7, named('v'), u16(0))]))
  await client.take()
}
