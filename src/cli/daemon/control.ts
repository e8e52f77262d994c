/**
 * POOL/control.sock: how commands speak to the daemon. HTTP/1.1 and JSON over a unix socket of mode 0600.
 *   - Whoever may connect is the pool's owner or root; nothing secret is told all the same.
 *   - Requests have no bodies: one that comes is read away, up to Node's limits.
 *   - It opens when the mount serves and goes last of all, after those who wait for the end were answered.
 */
import { chmodSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { Server, ServerResponse } from 'node:http'
import { Refusal, SOCKET_FILE } from '../../pool/index.js'
import { check, close, O_DIRECTORY, O_PATH, O_RDONLY, open } from '../../sys/index.js'
import type { Closing, Status } from './messages.js'
import type { VolumeAnswer } from '../volume-asks.js'
import { decodeAsk } from '../volume-query.js'
import type { VolumeAsk } from '../volume-query.js'
import { VolumeError } from '../../volume/index.js'
import { CALLS_PATH, CLOSED_PATH, FAILED_TRAILER, GROW_PATH, STATUS_PATH, SYNC_PATH, VOLUMES_PATH } from './paths.js'

/** POST /v1/NAME?QUERY: what else the daemon does, by name. */
export type Calls = Readonly<Record<string, (query: URLSearchParams) => Promise<object>>>

/** Takes a part of a long answer; resolves when there is room for more. Throws when nobody listens any more. */
export type Sink = (part: Uint8Array | string) => Promise<void>
/** POST /v1/NAME?QUERY with an answer in parts. What fails after the first part is told behind the last (FAILED_TRAILER). */
export type Streams = Readonly<Record<string, (query: URLSearchParams, sink: Sink) => Promise<void>>>

export interface ControlHandlers {
  readonly calls: Calls
  readonly streams: Streams
  status(): Promise<Status>
  sync(): Promise<void>
  /** Answers the new size. */
  grow(sizeBytes: number): Promise<number>
  volumes(ask: VolumeAsk): Promise<VolumeAnswer>
}

export interface Control {
  /** Tells those who wait that closing has begun. From now on new requests find nobody. */
  closing(): void
  /** Tells how it ended, and closes the socket. */
  closed(error: string | undefined): Promise<void>
}

const JSON_HEADERS = { 'content-type': 'application/json', connection: 'close' }

const failureOf = (e: unknown): object => ({ error: e instanceof Error ? e.message : String(e), ...(e instanceof Refusal || e instanceof VolumeError ? { reason: e.reason } : {}) })

/** Nothing is sent before the first part: who fails until then is answered as by any other call. */
async function stream(response: ServerResponse, work: (sink: Sink) => Promise<void>, failed: (e: unknown) => void): Promise<void> {
  const begin = (): void => {
    if (!response.headersSent) response.writeHead(200, { 'content-type': 'application/octet-stream', connection: 'close', trailer: FAILED_TRAILER })
  }
  try {
    await work(async (part) => {
      begin()
      if (response.destroyed) throw new Refusal('failed', 'Nobody listens any more.')
      if (!response.write(part)) await once(response, 'drain')
    })
    begin()
  } catch (e) {
    if (!response.headersSent) return failed(e)
    response.addTrailers({ [FAILED_TRAILER]: encodeURIComponent(JSON.stringify(failureOf(e))) })
  }
  response.end()
}

/** Whichever comes first: the event, or the end of the connection. */
const once = (response: ServerResponse, event: 'drain'): Promise<void> => new Promise((resolve) => {
  const go = (): void => {
    response.off(event, go).off('close', go)
    resolve()
  }
  response.on(event, go).on('close', go)
})

export async function serveControl(folder: string, handlers: ControlHandlers): Promise<Control> {
  const waiting = new Set<ServerResponse>()
  const answer = (response: ServerResponse, status: number, body: object): void => {
    response.writeHead(status, JSON_HEADERS).end(`${JSON.stringify(body)}\n`)
  }
  const failed = (response: ServerResponse, e: unknown): void =>
    answer(response, 500, failureOf(e))

  const server: Server = createServer({ requestTimeout: 10_000, headersTimeout: 10_000, keepAliveTimeout: 1, maxHeaderSize: 8192 }, (request, response) => {
    request.resume()
    const [path, query] = (request.url ?? '').split('?')
    const key = `${request.method} ${path}`
    switch (key) {
      case `GET ${STATUS_PATH}`:
        handlers.status().then((status) => answer(response, 200, status), (e: unknown) => failed(response, e))
        return
      case `POST ${SYNC_PATH}`:
        handlers.sync().then(() => answer(response, 200, { durable: true }), (e: unknown) => failed(response, e))
        return
      case `POST ${GROW_PATH}`:
        handlers.grow(Number(new URLSearchParams(query).get('size'))).then((sizeBytes) => answer(response, 200, { sizeBytes }), (e: unknown) => failed(response, e))
        return
      case `POST ${VOLUMES_PATH}`:
        Promise.resolve(query).then(decodeAsk).then((ask) => handlers.volumes(ask)).then((volumes) => answer(response, 200, volumes), (e: unknown) => failed(response, e))
        return
      case `GET ${CLOSED_PATH}`:
        response.writeHead(200, { 'content-type': 'application/x-ndjson', connection: 'close' })
        response.write('\n')
        waiting.add(response)
        response.on('close', () => waiting.delete(response))
        return
      default: {
        const call = request.method === 'POST' && path.startsWith(CALLS_PATH) ? path.slice(CALLS_PATH.length) : ''
        if (Object.hasOwn(handlers.calls, call)) {
          handlers.calls[call](new URLSearchParams(query)).then((body) => answer(response, 200, body), (e: unknown) => failed(response, e))
          return
        }
        if (Object.hasOwn(handlers.streams, call)) {
          stream(response, (sink) => handlers.streams[call](new URLSearchParams(query), sink), (e) => failed(response, e)).catch(() => response.destroy())
          return
        }
        answer(response, 404, { error: `There is no ${key}: this daemon knows GET ${STATUS_PATH}, POST ${SYNC_PATH}, POST ${GROW_PATH}?size=BYTES, POST ${VOLUMES_PATH}?do=WHAT, GET ${CLOSED_PATH}, POST ${CALLS_PATH}${Object.keys(handlers.calls).join(`, ${CALLS_PATH}`)}.` })
      }
    }
  })

  const fd = check(open(folder, O_RDONLY | O_DIRECTORY | O_PATH), 'open', folder) // the socket's own path may be too long
  const path = `/proc/self/fd/${fd}/${SOCKET_FILE}`
  rmSync(path, { force: true }) // left by a daemon that died: we have the lock
  const before = process.umask(0o177)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ path }, resolve)
    })
  } finally {
    process.umask(before)
  }
  chmodSync(path, 0o600)
  server.on('error', () => {}) // accept(2) out of descriptors: the next client tries again

  const tell = (message: Closing): void => {
    for (const response of waiting) response.write(`${JSON.stringify(message)}\n`)
  }
  return {
    closing() {
      rmSync(path, { force: true })
      tell({ closing: true })
    },
    async closed(error) {
      tell(error === undefined ? { closed: true } : { error })
      const ended = [...waiting].map((response) => new Promise<void>((resolve) => {
        response.on('close', resolve)
        response.end()
      }))
      server.close()
      server.closeIdleConnections()
      await Promise.race([Promise.all(ended), new Promise((resolve) => setTimeout(resolve, 1000).unref())])
      server.closeAllConnections()
      rmSync(path, { force: true })
      close(fd)
    }
  }
}
