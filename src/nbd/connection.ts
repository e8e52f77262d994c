/**
 * One client: bytes in, replies out, whatever carries them. First the handshake, then requests.
 *   - Everything that comes is taken; who carries the bytes asks `isFull` before it reads more. That is the back-pressure: too many requests
 *     in hand, too many bytes of theirs, or replies that the client does not fetch.
 *   - What is no NBD ends this connection, with one line in the log, and nothing else.
 *   - The volume is let go when no request is on its way any more: not before, or another writer could come between.
 */
import type { Clock, Timer } from '../sys/index.js'
import type { OpenVolume } from '../volume/index.js'
import { blankRequest, readRequest } from './codec.js'
import type { ReplyForm } from './codec.js'
import { negotiate } from './negotiation.js'
import type { Chosen, Export, Exports, TlsUse } from './negotiation.js'
import { makeOutbox } from './outbox.js'
import type { ChunkPool } from './outbox.js'
import type { PayloadPool } from './payloads.js'
import { CMD, CMD_FLAG, EXTENDED_REQUEST_BYTES, PAYLOAD_MAX_BYTES, REQUEST_BYTES } from './protocol.js'
import { transmission } from './transmission.js'
import type { Transmission } from './transmission.js'

export interface VolumeExport extends Export {
  readonly volume: OpenVolume
}

/** What carries the bytes. */
export interface Wire {
  /** How many of the bytes went; 0: none now, `flush` is called when there is room; or a negative errno. */
  send(bytes: Buffer, at: number, length: number): number
  /** Replies are ready that came later than their requests: flush soon. */
  ready(): void
  /** The client asked for TLS, and was told yes. */
  secure(): void
  close(): void
}

export interface ConnectionOptions {
  readonly exports: Exports<VolumeExport>
  readonly tls: TlsUse
  readonly clock: Clock
  readonly chunks: ChunkPool
  readonly payloads: PayloadPool
  /** One line, of a connection that ended as it should not. */
  log(sentence: string): void
  closed(): void
}

export interface Connection {
  /** Takes bytes [from, to) of a buffer that is the caller's again afterwards. */
  take(bytes: Buffer, from: number, to: number): void
  /** A write's bytes may be read straight to their place: so many are missing. */
  readonly target: { readonly bytes: Buffer, readonly at: number, readonly length: number } | undefined
  took(length: number): void
  readonly isFull: boolean
  readonly isClosed: boolean
  /** Requests whose answers are on their way. */
  readonly inFlight: number
  readonly requests: number
  flush(): void
  /** The client has gone. */
  ended(why: string | undefined): void
  /** TLS is there. */
  secured(): void
  /** Answers what is in hand and closes. */
  stop(): void
}

const IN_FLIGHT_MAX = 1024
const IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024
const UNSENT_BYTES_MAX = 16 * 1024 * 1024
const SEND_AT_BYTES = 512 * 1024
const OPTIONS_BYTES_MAX = 256 * 1024
const HANDSHAKE_MS = 60_000
/** A write of so many bytes that has not come whole is read straight to its place. */
const TARGET_BYTES = 16 * 1024

export function makeConnection(wire: Wire, o: ConnectionOptions): Connection {
  const outbox = makeOutbox(o.chunks)
  const options = negotiate(o.exports, o.tls)
  let inbox: Buffer = Buffer.alloc(0) // of the handshake, and of a request's header that has not come whole
  let answering = false
  let serving: Transmission | undefined
  let chosen: Chosen<VolumeExport> | undefined
  let form: ReplyForm = 'simple'
  let headerBytes = REQUEST_BYTES
  let closing = false // no more is read
  let gone = false // and nothing can be sent
  let closed = false
  const request = blankRequest()
  let payload: Buffer | undefined // of `request`, so many bytes of it have come
  let payloadAt = 0
  let skipBytes = 0
  let views: { bytes: Buffer, view: DataView } | undefined

  const timer: Timer = o.clock.after(HANDSHAKE_MS, () => end('it did not choose an export in time'))

  const finish = (): void => {
    if (closed || (serving?.inFlight ?? 0) > 0 || answering) return
    if (!gone && outbox.unsentBytes > 0) return
    closed = true
    timer.stop()
    outbox.clear()
    if (payload !== undefined) o.payloads.give(payload)
    payload = undefined
    chosen?.export.close()
    wire.close()
    o.closed()
  }

  const end = (why: string | undefined): void => {
    if (!closing && why !== undefined) o.log(why)
    closing = true
    flush()
    finish()
  }

  const flush = (): void => {
    if (outbox.unsentBytes > 0 && !gone && outbox.flush(wire.send) < 0) {
      gone = true
      closing = true
    }
    if (closing) finish()
  }

  const sayBytes = (bytes: Buffer): void => {
    const room = outbox.take(bytes.length)
    bytes.copy(room.chunk.bytes, room.at)
    outbox.say(room, bytes.length)
  }

  // ------------------------------------------------------------------------------------------------------ the handshake

  const answerOptions = async (): Promise<void> => {
    answering = true
    try {
      for (let need = options.needs(inbox); !closing && inbox.length >= need; need = options.needs(inbox)) {
        const message = inbox.subarray(0, need)
        inbox = inbox.subarray(need)
        const step = await options.step(message)
        if (step.reply !== undefined) sayBytes(step.reply)
        if (step.kind === 'chosen') {
          chosen = step.chosen
          if (!closing) return begin(step.chosen)
        } else if (step.kind === 'end') return end(step.why)
        else if (step.kind === 'tls') {
          if (inbox.length > 0) return end('bytes came in the clear behind STARTTLS')
          flush()
          return wire.secure()
        }
        flush()
      }
    } catch (e) {
      end(e instanceof Error ? e.message : String(e))
    } finally {
      answering = false
      if (closing) finish()
      else if (serving !== undefined && inbox.length > 0) {
        const rest = inbox
        inbox = Buffer.alloc(0)
        take(rest, 0, rest.length)
      }
      wire.ready()
    }
  }

  const begin = (choice: Chosen<VolumeExport>): void => {
    timer.stop()
    form = choice.form
    headerBytes = form === 'extended' ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES
    serving = transmission({
      volume: choice.export.volume, form, hasAllocation: choice.hasAllocation, isReadOnly: choice.export.isReadOnly, outbox,
      release: (bytes) => o.payloads.give(bytes), answered: () => wire.ready()
    })
    flush()
  }

  // ---------------------------------------------------------------------------------------------------------- requests

  const viewOf = (bytes: Buffer): DataView => {
    if (views?.bytes !== bytes) views = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) }
    return views.view
  }

  /** A header has come; its payload follows. False: that was no request. */
  const open = (view: DataView, at: number): boolean => {
    if (!readRequest(view, at, form === 'extended', request)) {
      end('what came is no request')
      return false
    }
    const carries = form === 'extended' ? (request.flags & CMD_FLAG.PAYLOAD_LEN) !== 0 : request.type === CMD.WRITE
    if (request.type === CMD.DISC) {
      end(undefined)
      return false
    }
    if (!carries) {
      // of an extended write without the flag nothing follows: it is refused, as a command that is not known
      if (request.type === CMD.WRITE) request.type = 0xffff
      serving!.handle(request, undefined)
      if (outbox.unsentBytes >= SEND_AT_BYTES) flush() // the client takes it while we read the next, and the chunk is warm when it comes back
      return true
    }
    if (request.length > PAYLOAD_MAX_BYTES) {
      end(`a request carries ${request.length} bytes, more than ${PAYLOAD_MAX_BYTES}`)
      return false
    }
    if (request.length === 0) serving!.handle(request, undefined)
    else if (request.type === CMD.WRITE) {
      payload = o.payloads.take(request.length)
      payloadAt = 0
    } else skipBytes = request.length
    return true
  }

  const filled = (): void => {
    if (payloadAt < request.length) return
    const whole = payload
    payload = undefined
    serving!.handle(request, whole)
  }

  const take = (bytes: Buffer, from: number, to: number): void => {
    if (closing) return
    if (serving === undefined) {
      inbox = Buffer.concat([inbox, bytes.subarray(from, to)])
      if (!answering) void answerOptions()
      return
    }
    let at = from
    while (at < to && !closing) {
      if (payload !== undefined) {
        const n = Math.min(to - at, request.length - payloadAt)
        bytes.copy(payload, payloadAt, at, at + n)
        payloadAt += n
        at += n
        filled()
      } else if (skipBytes > 0) {
        const n = Math.min(to - at, skipBytes)
        skipBytes -= n
        at += n
        if (skipBytes === 0) serving.handle(request, undefined)
      } else if (inbox.length > 0 || to - at < headerBytes) {
        const n = Math.min(to - at, headerBytes - inbox.length)
        inbox = Buffer.concat([inbox, bytes.subarray(at, at + n)])
        at += n
        if (inbox.length < headerBytes) return
        const header = inbox
        inbox = Buffer.alloc(0)
        if (!open(new DataView(header.buffer, header.byteOffset, header.length), 0)) return
      } else {
        const header = at
        at += headerBytes
        if (!open(viewOf(bytes), header)) return
      }
    }
  }

  sayBytes(options.greeting)

  return {
    take,
    get target() {
      return payload !== undefined && request.length - payloadAt >= TARGET_BYTES ? { bytes: payload, at: payloadAt, length: request.length - payloadAt } : undefined
    },
    took(length) {
      payloadAt += length
      filled()
    },
    get isFull() {
      if (closing) return true
      if (serving === undefined) return inbox.length > OPTIONS_BYTES_MAX
      return serving.inFlight >= IN_FLIGHT_MAX || serving.inFlightBytes >= IN_FLIGHT_BYTES_MAX || outbox.unsentBytes >= UNSENT_BYTES_MAX
    },
    get isClosed() {
      return closed
    },
    get inFlight() {
      return (serving?.inFlight ?? 0) + (answering ? 1 : 0)
    },
    get requests() {
      return serving?.requests ?? 0
    },
    flush,
    ended(why) {
      gone = true
      end(why ?? (payload !== undefined || skipBytes > 0 ? 'it went in the middle of a request' : undefined))
    },
    secured: () => options.secured(),
    stop: () => end(undefined)
  }
}
