/**
 * The transmission phase of one connection: requests in, replies out, out of order as they are done.
 *   - A read is made straight into the room of its reply; what is in memory is answered in the tick.
 *   - A write is answered when its bytes outlive the daemon (in the tick, if it went in place), with FUA when they outlive a power cut. FLUSH covers all writes that were answered
 *     before it came, on every connection: that is the promise of multi-conn.
 *   - Whatever cannot be is an NBD error with a sentence; only what is no request ends the connection.
 */
import { asks, errnoName, errnoOf, NBD_CLIENT, PosixError } from '../sys/index.js'
import type { OpenVolume } from '../volume/index.js'
import { ERROR_MAX_BYTES, readHeaderBytes, statusBytes, writeDone, writeError, writeHole, writeReadHeader, writeStatus } from './codec.js'
import type { ReplyForm, Request } from './codec.js'
import type { Outbox, Room } from './outbox.js'
import { CMD, CMD_FLAG, FLAGS_OF, nbdError, PAYLOAD_MAX_BYTES, STATE_HOLE, STATE_ZERO } from './protocol.js'

export interface TransmissionOptions {
  readonly volume: OpenVolume
  readonly form: ReplyForm
  readonly hasAllocation: boolean
  readonly isReadOnly: boolean
  readonly outbox: Outbox
  /** A write's bytes are not needed any more. */
  release(payload: Buffer): void
  /** A reply is in the outbox that was not there in the tick of its request. */
  answered(): void
}

export interface Transmission {
  /** Requests that are not answered yet, and the bytes that they hold. */
  readonly inFlight: number
  readonly inFlightBytes: number
  readonly requests: number
  /** `payload`: a write's bytes (its own from now on), undefined for all others. */
  handle(request: Request, payload: Buffer | undefined): void
}

const STATUS_RANGES_MAX = 2048
const STATUS_LENGTH_MAX = 0xfffff000 // of a compact descriptor: 32 bits, whole units
const HOLE_FROM_BYTES = 64 * 1024 // a shorter one is sent as zeros: looking costs as much
const CACHE_SLICE_BYTES = 1024 * 1024

export function transmission(o: TransmissionOptions): Transmission {
  const { volume, form, outbox } = o
  const headerBytes = readHeaderBytes(form)
  let inFlight = 0
  let inFlightBytes = 0
  let requests = 0

  const say = (room: Room, bytes: number): void => outbox.say(room, bytes)

  const fail = (r: Request, e: unknown): void => {
    const code = e instanceof PosixError ? e.code : errnoName(errnoOf(e))
    refuse(r, nbdError(code), e instanceof PosixError && e.message !== e.code ? e.message : `${code}.`)
  }

  const refuse = (r: Request, error: number, sentence: string): void => {
    const room = outbox.take(ERROR_MAX_BYTES)
    say(room, writeError(room.chunk.view, room.at, r, form, error, sentence))
  }

  const done = (r: Request): void => {
    const room = outbox.take(headerBytes)
    say(room, writeDone(room.chunk.view, room.at, r, form))
  }

  /** Work that ends later. `r` is a copy. */
  const later = (r: Request, bytes: number, work: Promise<unknown>, payload?: Buffer): void => {
    inFlight++
    inFlightBytes += bytes
    const end = (): void => {
      if (payload !== undefined) o.release(payload)
      inFlight--
      inFlightBytes -= bytes
      o.answered()
    }
    work.then(() => {
      done(r)
      end()
    }, (e: unknown) => {
      fail(r, e)
      end()
    })
  }

  const read = (r: Request): void => {
    const { offset, length } = r
    if (form !== 'simple' && length >= HOLE_FROM_BYTES && (r.flags & CMD_FLAG.DF) === 0) {
      const parts = volume.layout(offset, length, 1)
      if (!(parts instanceof Promise) && parts.length === 1 && parts[0].kind !== 'data' && parts[0].lengthBytes === length) {
        const room = outbox.take(headerBytes + 12)
        return say(room, writeHole(room.chunk.view, room.at, r, form))
      }
    }
    const room = outbox.take(headerBytes + length)
    let answer
    try {
      answer = volume.read(offset, length, room.chunk.bytes, room.at + headerBytes)
    } catch (e) {
      outbox.drop(room)
      return fail(r, e)
    }
    if (answer instanceof Promise) return readLater({ ...r }, room, answer)
    say(room, writeReadHeader(room.chunk.view, room.at, r, form) + length)
  }

  const readLater = (r: Request, room: Room, answer: Promise<number>): void => {
    inFlight++
    inFlightBytes += r.length
    const end = (): void => {
      inFlight--
      inFlightBytes -= r.length
      o.answered()
    }
    answer.then(() => {
      say(room, writeReadHeader(room.chunk.view, room.at, r, form) + r.length)
      end()
    }, (e: unknown) => {
      outbox.drop(room)
      fail(r, e)
      end()
    })
  }

  const write = (r: Request, payload: Buffer): void => {
    let answer
    try {
      answer = volume.write(r.offset, payload, 0, r.length)
    } catch (e) {
      o.release(payload)
      return fail(r, e)
    }
    if (answer instanceof Promise || (r.flags & CMD_FLAG.FUA) !== 0) {
      const kept = { ...r }
      return later(kept, r.length, withFua(kept, Promise.resolve(answer)), payload)
    }
    o.release(payload)
    done(r)
  }

  const withFua = (r: Request, work: Promise<void>): Promise<void> => ((r.flags & CMD_FLAG.FUA) === 0 ? work : work.then(() => volume.flush()))

  const status = async (r: Request): Promise<void> => {
    const ranges: { lengthBytes: number, state: number }[] = []
    const parts = await volume.layout(r.offset, r.length, STATUS_RANGES_MAX)
    for (const { kind, lengthBytes } of parts) {
      const state = kind === 'data' ? 0 : kind === 'zero' ? STATE_ZERO : STATE_HOLE | STATE_ZERO
      const last = ranges[ranges.length - 1]
      if (last !== undefined && last.state === state && (form === 'extended' || last.lengthBytes + lengthBytes <= STATUS_LENGTH_MAX)) last.lengthBytes += lengthBytes
      else if ((r.flags & CMD_FLAG.REQ_ONE) !== 0 && ranges.length === 1) break
      else ranges.push({ lengthBytes, state })
    }
    const room = outbox.take(statusBytes(form, ranges.length))
    say(room, writeStatus(room.chunk.view, room.at, r, form, ranges))
  }

  const cache = async (r: Request): Promise<void> => {
    const into = Buffer.allocUnsafe(Math.min(r.length, CACHE_SLICE_BYTES))
    for (let at = 0; at < r.length; at += into.length) await volume.read(r.offset + at, Math.min(into.length, r.length - at), into, 0)
  }

  /** Why not, as an error and a sentence; undefined: it may be. */
  const objection = (r: Request): readonly [number, string] | undefined => {
    const { type, flags, offset, length } = r
    const allowed = FLAGS_OF[type]
    if (allowed === undefined) return [22, `There is no command ${type}.`]
    if ((flags & ~(allowed | (form === 'extended' && type === CMD.WRITE ? CMD_FLAG.PAYLOAD_LEN : 0))) !== 0) return [22, `Flags ${flags} do not fit command ${type}.`]
    if (type === CMD.FLUSH) return offset === 0 && length === 0 ? undefined : [22, 'FLUSH has no range.']
    const changes = type === CMD.WRITE || type === CMD.TRIM || type === CMD.WRITE_ZEROES
    if (changes && o.isReadOnly) return [1, `Volume ${volume.name} is read-only here${volume.refusal === undefined ? '.' : `: ${volume.refusal}`}`]
    if (offset + length > volume.sizeBytes) return [type === CMD.WRITE || type === CMD.WRITE_ZEROES ? 28 : 22, `${length} bytes at ${offset} lie behind the end of the volume (${volume.sizeBytes} bytes).`]
    if (type === CMD.READ && length > PAYLOAD_MAX_BYTES) return [22, `A read has at most ${PAYLOAD_MAX_BYTES} bytes.`]
    if (type === CMD.READ && (flags & CMD_FLAG.DF) !== 0 && form === 'simple') return [22, 'DF needs structured replies.']
    if (type === CMD.BLOCK_STATUS && !o.hasAllocation) return [22, 'base:allocation was not negotiated.']
    if (length === 0 && type !== CMD.READ && type !== CMD.WRITE) return [22, 'A length of 0 means nothing.']
    return undefined
  }

  return {
    get inFlight() {
      return inFlight
    },
    get inFlightBytes() {
      return inFlightBytes
    },
    get requests() {
      return requests
    },
    handle(request, payload) {
      requests++
      asks(NBD_CLIENT)
      const not = objection(request)
      if (not !== undefined) {
        if (payload !== undefined) o.release(payload)
        return refuse(request, not[0], not[1])
      }
      const { type, offset, length } = request
      if (type === CMD.READ) return length === 0 ? emptyRead(request) : read(request)
      if (payload !== undefined) return write(request, payload)
      const r = { ...request }
      switch (type) {
        case CMD.WRITE: return later(r, 0, withFua(r, Promise.resolve())) // of no bytes
        case CMD.FLUSH: return later(r, 0, volume.flush())
        case CMD.TRIM: return later(r, 0, withFua(r, volume.trim(offset, length)))
        case CMD.WRITE_ZEROES: return later(r, 0, withFua(r, volume.zero(offset, length, (r.flags & CMD_FLAG.NO_HOLE) !== 0 ? 'hold' : 'free')))
        case CMD.CACHE: return later(r, 0, cache(r))
        default: return laterStatus(r)
      }
    }
  }

  function emptyRead(r: Request): void {
    const room = outbox.take(headerBytes)
    say(room, form === 'simple' ? writeDone(room.chunk.view, room.at, r, form) : writeReadHeader(room.chunk.view, room.at, r, form))
  }

  function laterStatus(r: Request): void {
    inFlight++
    status(r).catch((e: unknown) => fail(r, e)).finally(() => {
      inFlight--
      o.answered()
    })
  }
}
