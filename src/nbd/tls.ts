/**
 * TLS for NBD: a folder of keys, as other NBD programs name them, and connections carried by node's own TLS.
 *   - server-cert.pem and server-key.pem: the server's certificate. With ca-cert.pem beside them a client must show a certificate that it signed.
 *   - keys.psk: lines NAME:HEX, one key for each client.
 *   - One or the other: with both, who has no key could come with no certificate (a server cannot ask for one only of those who bring no key).
 * Each record is copied and encrypted: some tens of us a request more than in the clear.
 */
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import type { TlsOptions, TLSSocket } from 'node:tls'
import { ERRNO, errnoOf } from '../sys/index.js'
import type { Connection } from './connection.js'

const HANDSHAKE_MS = 30_000
const UNSENT_BYTES_MAX = 4 * 1024 * 1024

export interface TlsKeys {
  readonly options: TlsOptions
  readonly kinds: readonly ('certificates' | 'psk')[]
}

function textOf(folder: string, name: string): string | undefined {
  try {
    return readFileSync(join(folder, name), 'utf8')
  } catch (e) {
    if (errnoOf(e) === ERRNO.ENOENT) return undefined
    throw e
  }
}

/** Throws an Error whose message says what is wrong with the folder. */
export function readTlsFolder(folder: string): TlsKeys {
  const cert = textOf(folder, 'server-cert.pem')
  const key = textOf(folder, 'server-key.pem')
  const ca = textOf(folder, 'ca-cert.pem')
  const keys = textOf(folder, 'keys.psk')
  if (cert === undefined && keys === undefined) throw new Error(`There is neither server-cert.pem nor keys.psk in ${folder}: put certificates (server-cert.pem, server-key.pem) or keys (keys.psk: NAME:HEX) there.`)
  if (cert !== undefined && key === undefined) throw new Error(`There is server-cert.pem in ${folder}, and no server-key.pem: put the key there.`)
  if (cert !== undefined && keys !== undefined) throw new Error(`There are server-cert.pem and keys.psk in ${folder}: then neither would be demanded. Put them into two folders, and serve each at an address of its own.`)
  const psk = keys === undefined ? undefined : parseKeys(keys, folder)
  const options: TlsOptions = {
    handshakeTimeout: HANDSHAKE_MS, minVersion: 'TLSv1.2',
    ...(cert === undefined ? {} : { cert, key }),
    ...(ca === undefined || cert === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true }),
    ...(psk === undefined ? {} : {
      pskCallback: (_socket: unknown, name: string) => psk.get(name) ?? null, // what is not known fails the handshake
      ciphers: `ECDHE-PSK-AES256-CBC-SHA384:ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384:PSK-AES256-GCM-SHA384:PSK-AES128-GCM-SHA256:PSK`,
      maxVersion: 'TLSv1.2' as const
    })
  }
  return { options, kinds: [...(cert === undefined ? [] : ['certificates' as const]), ...(psk === undefined ? [] : ['psk' as const])] }
}

function parseKeys(text: string, folder: string): Map<string, Buffer> {
  const keys = new Map<string, Buffer>()
  for (const line of text.split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue
    const match = /^([^:]+):((?:[0-9a-fA-F]{2}){8,})\s*$/.exec(line)
    if (match === null) throw new Error(`A line of ${folder}/keys.psk is no NAME:HEX of at least 16 digits: make it with psktool -u NAME -p keys.psk.`)
    keys.set(match[1], Buffer.from(match[2], 'hex'))
  }
  return keys
}

export interface TlsWire {
  send(bytes: Buffer, at: number, length: number): number
  ready(): void
  close(): void
}

/** Takes the descriptor over. The connection's replies go the way that `onWire` is told. */
export function carryTls(fd: number, keys: TlsKeys, connection: Connection, onWire: (wire: TlsWire) => void): void {
  const raw = new Socket({ fd, readable: true, writable: true })
  let said = false
  const failed = (why: string): void => {
    if (said) return
    said = true
    connection.ended(why)
    raw.destroy()
  }
  onWire({ send: () => 0, ready: () => undefined, close: () => raw.destroy() }) // until it is there
  raw.on('error', (e) => failed(e.message))
  raw.on('close', () => failed('it went during the TLS handshake'))
  const server = createServer(keys.options, (socket: TLSSocket) => {
    said = true
    carry(socket, connection, onWire)
  })
  server.on('tlsClientError', (e) => failed(`TLS failed: ${e.message}`))
  server.emit('connection', raw)
}

function carry(socket: TLSSocket, connection: Connection, onWire: (wire: TlsWire) => void): void {
  let soon = false
  const pause = (): void => {
    if (connection.isFull) socket.pause()
    else if (socket.isPaused()) socket.resume()
  }
  onWire({
    send(bytes, at, length) {
      if (socket.destroyed) return -ERRNO.EPIPE
      if (socket.writableLength >= UNSENT_BYTES_MAX) return 0
      socket.write(Buffer.from(bytes.subarray(at, at + length))) // the chunk is used again
      return length
    },
    ready() {
      if (soon) return
      soon = true
      setImmediate(() => {
        soon = false
        connection.flush()
        pause()
      })
    },
    close: () => void socket.end(() => socket.destroy())
  })
  socket.on('data', (bytes: Buffer) => {
    connection.take(bytes, 0, bytes.length)
    connection.flush()
    pause()
  })
  socket.on('drain', () => connection.flush())
  socket.on('error', (e) => connection.ended(e.message))
  socket.on('end', () => connection.ended(undefined))
  socket.on('close', () => connection.ended(undefined))
  connection.secured()
}
