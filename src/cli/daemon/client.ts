/**
 * Asks a pool's daemon over POOL/control.sock.
 *   - No daemon (no socket, or nobody behind it) is a value: undefined. A daemon that does not answer in time is an error
 *     that names its pid where it is known.
 *   - The socket is reached through the folder's descriptor, since a socket's path may have 107 bytes at most.
 */
import { request as httpRequest } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type * as z from 'zod'
import { holderText, lockState, Refusal, SOCKET_FILE } from '../../pool/index.js'
import type { Reason } from '../../pool/index.js'
import { close, ERRNO, errnoOf, O_DIRECTORY, O_PATH, O_RDONLY, open } from '../../sys/index.js'
import type { Status } from './messages.js'
import type { VolumeAnswer } from '../volume-asks.js'
import { encodeAsk } from '../volume-query.js'
import type { VolumeAsk } from '../volume-query.js'
import { CALLS_PATH, CLOSED_PATH, FAILED_TRAILER, GROW_PATH, STATUS_PATH, SYNC_PATH, VOLUMES_PATH } from './paths.js'

const ANSWER_MS = 10_000
const SYNC_MS = 600_000

interface Question {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly timeoutMs: number | undefined
  /** Given each line of an answer as it comes; the whole answer if undefined. */
  readonly onLine?: (line: string) => void
  /** Given an answer that succeeds, part by part; waits for it. */
  readonly onPart?: (part: Buffer) => Promise<void>
  /** Ends the wait: as if there were no daemon. */
  readonly signal?: AbortSignal
}

/** The answer's text and status, or undefined: no daemon. */
function ask(folder: string, question: Question): Promise<{ status: number, text: string } | undefined> {
  const fd = open(folder, O_RDONLY | O_DIRECTORY | O_PATH)
  if (fd < 0) return Promise.resolve(undefined)
  return new Promise<{ status: number, text: string } | undefined>((resolve, reject) => {
    const request = httpRequest({
      socketPath: `/proc/self/fd/${fd}/${SOCKET_FILE}`, method: question.method, path: question.path, timeout: question.timeoutMs,
      headers: { host: 'ogee' }, agent: false, signal: question.signal
    })
    let begun = false
    request.on('response', (response: IncomingMessage) => {
      begun = true
      if (question.onPart !== undefined && response.statusCode === 200) {
        inParts(response, question.onPart).then((failed) => resolve(failed === undefined ? { status: 200, text: '' } : { status: 500, text: failed }), reject)
        return
      }
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (question.onLine === undefined) return
        const lines = text.split('\n')
        text = lines.pop() ?? ''
        for (const line of lines) question.onLine(line)
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 500, text }))
      response.on('error', (e) => (question.signal?.aborted === true ? resolve(undefined) : reject(e)))
    })
    request.on('timeout', () => request.destroy(silent(folder)))
    request.on('error', (e) => {
      if (question.signal?.aborted === true) return resolve(undefined)
      if (e instanceof Refusal || begun) return reject(e)
      switch (errnoOf(e)) {
        case ERRNO.ENOENT:
        case ERRNO.ECONNREFUSED:
        case ERRNO.ECONNRESET: // it went while we spoke
        case ERRNO.EPIPE:
          return resolve(undefined)
        case ERRNO.EACCES:
        case ERRNO.EPERM:
          return reject(new Refusal('denied', `No permission to speak to the daemon of pool ${folder}: become the user who mounted it.`))
        default:
          return reject(e)
      }
    })
    request.end()
  }).finally(() => close(fd))
}

/** The failure that came behind the last part, if one did. */
async function inParts(response: IncomingMessage, onPart: (part: Buffer) => Promise<void>): Promise<string | undefined> {
  for await (const part of response as AsyncIterable<Buffer>) await onPart(part)
  const failed = response.trailers[FAILED_TRAILER]
  return failed === undefined ? undefined : decodeURIComponent(failed)
}

function silent(folder: string): Refusal {
  const state = lockState(folder)
  const who = state.held ? holderText(state.by) : 'its daemon'
  return new Refusal('failed', `The daemon of pool ${folder} (${who}) does not answer: see ${folder}/daemon.log, and kill it if it hangs; nothing that was synced is lost.`)
}

const forms = (): Promise<typeof import('./messages.js')> => import('./messages.js')

async function askJson<T>(folder: string, question: Question, form: (f: typeof import('./messages.js')) => z.ZodType<T>): Promise<T | undefined> {
  const answer = await ask(folder, question)
  if (answer === undefined) return undefined
  const known = await forms()
  let json: unknown
  try {
    json = JSON.parse(answer.text)
  } catch {
    throw new Refusal('failed', `The daemon of pool ${folder} gave an answer that is no JSON: it may be of another version; unmount and mount again.`)
  }
  const parsed = form(known).safeParse(json)
  if (parsed.success) return parsed.data
  const failure = known.Failure.safeParse(json)
  if (failure.success) throw new Refusal((failure.data.reason ?? 'failed') as Reason, failure.data.error)
  throw new Refusal('failed', `The daemon of pool ${folder} speaks another version of Ogee: unmount and mount again.`)
}

export const askStatus = (folder: string): Promise<Status | undefined> =>
  askJson(folder, { method: 'GET', path: STATUS_PATH, timeoutMs: ANSWER_MS }, (f) => f.Status)

/** Resolves when everything answered so far is durable; undefined if there is no daemon (then everything is). */
export const askSync = (folder: string): Promise<{ durable: true } | undefined> =>
  askJson(folder, { method: 'POST', path: SYNC_PATH, timeoutMs: SYNC_MS }, (f) => f.Synced)

/** Resolves when the pool has its new size; undefined if there is no daemon. */
export const askGrow = (folder: string, sizeBytes: number): Promise<{ sizeBytes: number } | undefined> =>
  askJson(folder, { method: 'POST', path: `${GROW_PATH}?size=${sizeBytes}`, timeoutMs: SYNC_MS }, (f) => f.Grown)

/** Undefined if there is no daemon. */
export const askVolumes = (folder: string, ask: VolumeAsk): Promise<VolumeAnswer | undefined> =>
  askJson(folder, { method: 'POST', path: `${VOLUMES_PATH}?${encodeAsk(ask)}`, timeoutMs: SYNC_MS }, (f) => f.Volumes)

/** Has the daemon do something by its name (control.ts, Calls); undefined if there is no daemon. */
export const askCall = <T>(folder: string, name: string, query: Readonly<Record<string, string>>, form: (f: typeof import('./messages.js')) => z.ZodType<T>): Promise<T | undefined> =>
  askJson(folder, { method: 'POST', path: `${CALLS_PATH}${name}?${new URLSearchParams(query).toString()}`, timeoutMs: SYNC_MS }, form)

/** Has the daemon answer in parts (control.ts, Streams); false if there is no daemon. */
export async function askStream(folder: string, name: string, query: Readonly<Record<string, string>>, onPart: (part: Buffer) => Promise<void>): Promise<boolean> {
  const answer = await ask(folder, { method: 'POST', path: `${CALLS_PATH}${name}?${new URLSearchParams(query).toString()}`, timeoutMs: SYNC_MS, onPart })
  if (answer === undefined) return false
  if (answer.status === 200) return true
  const failure = (await forms()).Failure.safeParse(JSON.parse(answer.text))
  throw failure.success ? new Refusal((failure.data.reason ?? 'failed') as Reason, failure.data.error) : silent(folder)
}

export interface ClosedWatch {
  /** Resolves when the daemon has begun to close. */
  readonly closing: Promise<void>
  /** Resolves when the pool is closed: undefined if all went well (or the daemon was not there), else what went wrong. */
  readonly closed: Promise<string | undefined>
  /** Does not listen any more. */
  stop(): void
}

/** Listens for the end of a daemon. Resolves once the daemon knows that we listen. */
export async function watchClosed(folder: string): Promise<ClosedWatch> {
  const { Closing } = await forms()
  return new Promise((listening) => {
    let begin: () => void = () => {}
    const closing = new Promise<void>((resolve) => { begin = resolve })
    const abort = new AbortController()
    let last: z.infer<typeof Closing> | undefined
    const closed = ask(folder, {
      method: 'GET', path: CLOSED_PATH, timeoutMs: undefined, signal: abort.signal,
      onLine(line) {
        if (line === '') return listening(watch) // the server's greeting
        const parsed = Closing.safeParse(JSON.parse(line))
        if (!parsed.success) return
        last = parsed.data
        begin()
      }
    }).then(
      (answer) => {
        begin()
        if (answer !== undefined && last !== undefined && 'error' in last) return last.error
        return answer === undefined || (last !== undefined && 'closed' in last) ? undefined : 'The daemon ended before it said that everything is durable'
      },
      (e: Error) => {
        begin()
        return `The daemon ended before it said that everything is durable (${e.message})`
      })
    const watch: ClosedWatch = { closing, closed, stop: () => abort.abort() }
    void closed.then(() => listening(watch))
  })
}
