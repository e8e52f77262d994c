/**
 * The handshake of one connection (fixed newstyle): options in, replies out, until an export is chosen.
 *   - One option after the other; nothing is read while one is being answered.
 *   - Where TLS is asked for, every option but STARTTLS and ABORT is refused until it is there; what was negotiated before it is forgotten.
 *   - Anything that is no option ends the connection, with a reason for the log.
 */
import { ALLOCATION_ID, BASE_ALLOCATION, BLOCK_MIN_BYTES, BLOCK_PREFERRED_BYTES, FIXED_NEWSTYLE, FLAG, INFO, INIT_HIGH, INIT_LOW, NAME_MAX_BYTES, NO_ZEROES, OPT,
  OPTION_HEADER_BYTES, OPTION_HIGH, OPTION_LOW, OPTION_MAX_BYTES, OPTION_REPLY_BYTES, OPTION_REPLY_HIGH, OPTION_REPLY_LOW, PAYLOAD_MAX_BYTES, REP } from './protocol.js'
import { setU64 } from './codec.js'
import type { ReplyForm } from './codec.js'

/** What the handshake may ask of the server. */
export interface Exports<E extends Export> {
  /** Names and descriptions. */
  list(): Promise<readonly { readonly name: string, readonly description: string }[]>
  /** Undefined: there is none. '' is the only one there is. */
  open(name: string): Promise<E | undefined>
}

export interface Export {
  readonly name: string
  readonly sizeBytes: number
  readonly isReadOnly: boolean
  readonly description: string
  close(): void
}

export interface Chosen<E extends Export> {
  readonly export: E
  readonly form: ReplyForm
  readonly hasAllocation: boolean
  readonly flags: number
}

export type Step<E extends Export> =
  | { readonly kind: 'more', readonly reply: Buffer | undefined }
  | { readonly kind: 'tls', readonly reply: Buffer }
  | { readonly kind: 'chosen', readonly reply: Buffer, readonly chosen: Chosen<E> }
  | { readonly kind: 'end', readonly reply: Buffer | undefined, /** For the log; undefined: as it should be. */ readonly why: string | undefined }

export interface Negotiation<E extends Export> {
  readonly greeting: Buffer
  /** Bytes that the next message needs; `there` are those that have come. */
  needs(there: Buffer): number
  /** One message: exactly what `needs` said. */
  step(message: Buffer): Promise<Step<E>>
  /** TLS is there now: begin anew. */
  secured(): void
}

export type TlsUse = 'none' | 'required'

const u16 = (n: number): Buffer => {
  const b = Buffer.alloc(2)
  b.writeUInt16BE(n)
  return b
}
const u32 = (n: number): Buffer => {
  const b = Buffer.alloc(4)
  b.writeUInt32BE(n >>> 0)
  return b
}
const text = (s: string): Buffer => Buffer.from(s, 'utf8')

function u64(n: number): Buffer {
  const b = Buffer.alloc(8)
  setU64(new DataView(b.buffer, b.byteOffset, 8), 0, n)
  return b
}

function reply(option: number, type: number, ...data: readonly Buffer[]): Buffer {
  const body = Buffer.concat(data)
  const b = Buffer.alloc(OPTION_REPLY_BYTES)
  b.writeUInt32BE(OPTION_REPLY_HIGH, 0)
  b.writeUInt32BE(OPTION_REPLY_LOW, 4)
  b.writeUInt32BE(option, 8)
  b.writeUInt32BE(type, 12)
  b.writeUInt32BE(body.length, 16)
  return Buffer.concat([b, body])
}

/** Thrown and answered within this file. */
class Invalid extends Error {}

/** Reads an option's data from the front; Invalid where there is less than it says. */
function reader(data: Buffer): { u16(): number, u32(): number, name(): string, rest(): number } {
  let at = 0
  const take = (n: number): number => {
    if (at + n > data.length) throw new Invalid('The option is shorter than it says.')
    at += n
    return at - n
  }
  return {
    u16: () => data.readUInt16BE(take(2)),
    u32: () => data.readUInt32BE(take(4)),
    name() {
      const length = data.readUInt32BE(take(4))
      if (length > NAME_MAX_BYTES) throw new Invalid('The name is too long.')
      const from = take(length)
      return data.toString('utf8', from, from + length)
    },
    rest: () => data.length - at
  }
}

export function negotiate<E extends Export>(exports: Exports<E>, tls: TlsUse): Negotiation<E> {
  let begun = false
  let noZeroes = false
  let isSecure = false
  let form: ReplyForm = 'simple'
  let contextOf: string | undefined // base:allocation was chosen for this export
  let hasContext = false

  const flagsOf = (e: Export): number => FLAG.HAS_FLAGS | FLAG.SEND_FLUSH | FLAG.SEND_FUA | FLAG.CAN_MULTI_CONN | FLAG.SEND_CACHE |
    (e.isReadOnly ? FLAG.READ_ONLY : FLAG.SEND_TRIM | FLAG.SEND_WRITE_ZEROES | FLAG.SEND_FAST_ZERO) | (form === 'simple' ? 0 : FLAG.SEND_DF)

  const more = (...parts: Buffer[]): Step<E> => ({ kind: 'more', reply: Buffer.concat(parts) })
  const chosen = (name: string, e: E, answer: Buffer): Step<E> =>
    ({ kind: 'chosen', reply: answer, chosen: { export: e, form, hasAllocation: hasContext && contextOf === name && form !== 'simple', flags: flagsOf(e) } })

  const start = (message: Buffer): Step<E> => {
    const flags = message.readUInt32BE(0)
    begun = true
    noZeroes = (flags & NO_ZEROES) !== 0
    if ((flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) !== 0) return { kind: 'end', reply: undefined, why: `client flags ${flags} are unknown` }
    if ((flags & FIXED_NEWSTYLE) === 0) return { kind: 'end', reply: undefined, why: 'the client does not know fixed newstyle' }
    return { kind: 'more', reply: undefined }
  }

  const exportName = async (data: Buffer): Promise<Step<E>> => {
    const name = data.toString('utf8')
    const e = form === 'extended' || data.length > NAME_MAX_BYTES ? undefined : await exports.open(name)
    if (e === undefined) return { kind: 'end', reply: undefined, why: `there is no export ${JSON.stringify(name.slice(0, 128))}` } // no reply can say it
    return chosen(name, e, Buffer.concat([u64(e.sizeBytes), u16(flagsOf(e)), Buffer.alloc(noZeroes ? 0 : 124)]))
  }

  const list = async (option: number, data: Buffer): Promise<Step<E>> => {
    if (data.length > 0) throw new Invalid('LIST has no data.')
    const servers = (await exports.list()).map(({ name, description }) => reply(option, REP.SERVER, u32(text(name).length), text(name), text(description)))
    return more(...servers, reply(option, REP.ACK))
  }

  const infoOrGo = async (option: number, data: Buffer): Promise<Step<E>> => {
    const r = reader(data)
    const name = r.name()
    const wanted = Array.from({ length: r.u16() }, () => r.u16())
    if (r.rest() > 0) throw new Invalid('The option is longer than it says.')
    const e = await exports.open(name)
    if (e === undefined) return more(reply(option, REP.ERR_UNKNOWN, text(name === '' ? 'Name an export: there is not exactly one.' : `There is no volume ${name} here.`)))
    const parts = [reply(option, REP.INFO, u16(INFO.EXPORT), u64(e.sizeBytes), u16(flagsOf(e)))]
    if (wanted.includes(INFO.NAME)) parts.push(reply(option, REP.INFO, u16(INFO.NAME), text(e.name)))
    if (wanted.includes(INFO.DESCRIPTION)) parts.push(reply(option, REP.INFO, u16(INFO.DESCRIPTION), text(e.description)))
    if (wanted.includes(INFO.BLOCK_SIZE)) parts.push(reply(option, REP.INFO, u16(INFO.BLOCK_SIZE), u32(BLOCK_MIN_BYTES), u32(BLOCK_PREFERRED_BYTES), u32(PAYLOAD_MAX_BYTES)))
    parts.push(reply(option, REP.ACK))
    if (option === OPT.GO) return chosen(name, e, Buffer.concat(parts))
    e.close()
    return more(...parts)
  }

  const contexts = async (option: number, data: Buffer): Promise<Step<E>> => {
    const r = reader(data)
    const name = r.name()
    const queries = Array.from({ length: Math.min(r.u32(), OPTION_MAX_BYTES) }, () => r.name())
    if (r.rest() > 0) throw new Invalid('The option is longer than it says.')
    const sets = option === OPT.SET_META_CONTEXT
    if (sets) hasContext = false
    if (sets && form === 'simple') throw new Invalid('Ask for structured replies first.')
    const e = await exports.open(name)
    if (e === undefined) return more(reply(option, REP.ERR_UNKNOWN, text(`There is no volume ${name} here.`)))
    e.close()
    const found = queries.includes(BASE_ALLOCATION) || (!sets && (queries.length === 0 || queries.includes('base:')))
    if (sets) {
      hasContext = found
      contextOf = name
    }
    return more(...(found ? [reply(option, REP.META_CONTEXT, u32(sets ? ALLOCATION_ID : 0), text(BASE_ALLOCATION))] : []), reply(option, REP.ACK))
  }

  const noData = (data: Buffer): void => {
    if (data.length > 0) throw new Invalid('The option has no data.')
  }

  const option = async (number: number, data: Buffer): Promise<Step<E>> => {
    if (number === OPT.ABORT) return { kind: 'end', reply: reply(number, REP.ACK), why: undefined }
    if (tls === 'required' && !isSecure && number !== OPT.STARTTLS) {
      if (number === OPT.EXPORT_NAME) return { kind: 'end', reply: undefined, why: 'the client asks for an export without TLS' }
      return more(reply(number, REP.ERR_TLS_REQD, text('This server speaks TLS only: begin with STARTTLS.')))
    }
    switch (number) {
      case OPT.EXPORT_NAME: return exportName(data)
      case OPT.LIST: return list(number, data)
      case OPT.STARTTLS:
        noData(data)
        if (isSecure) throw new Invalid('TLS is there already.')
        return tls === 'none' ? more(reply(number, REP.ERR_POLICY, text('This server has no certificates: it was started without --tls-dir.'))) : { kind: 'tls', reply: reply(number, REP.ACK) }
      case OPT.INFO:
      case OPT.GO: return infoOrGo(number, data)
      case OPT.STRUCTURED_REPLY:
        noData(data)
        if (form === 'extended') return more(reply(number, REP.ERR_EXT_HEADER_REQD))
        form = 'structured'
        return more(reply(number, REP.ACK))
      case OPT.EXTENDED_HEADERS:
        noData(data)
        form = 'extended'
        return more(reply(number, REP.ACK))
      case OPT.LIST_META_CONTEXT:
      case OPT.SET_META_CONTEXT: return contexts(number, data)
      default: return more(reply(number, REP.ERR_UNSUP))
    }
  }

  return {
    greeting: Buffer.concat([u32(INIT_HIGH), u32(INIT_LOW), u32(OPTION_HIGH), u32(OPTION_LOW), u16(FIXED_NEWSTYLE | NO_ZEROES)]),
    needs(there) {
      if (!begun) return 4
      const length = there.length < OPTION_HEADER_BYTES ? 0 : there.readUInt32BE(12)
      return OPTION_HEADER_BYTES + (length > OPTION_MAX_BYTES ? 0 : length) // what is too long is refused by its header
    },
    async step(message) {
      if (!begun) return start(message)
      if (message.readUInt32BE(0) !== OPTION_HIGH || message.readUInt32BE(4) !== OPTION_LOW) return { kind: 'end', reply: undefined, why: 'what came is no option' }
      const number = message.readUInt32BE(8)
      if (message.readUInt32BE(12) > OPTION_MAX_BYTES) return { kind: 'end', reply: reply(number, REP.ERR_TOO_BIG), why: `an option of ${message.readUInt32BE(12)} bytes is too long` }
      try {
        return await option(number, message.subarray(OPTION_HEADER_BYTES))
      } catch (e) {
        if (e instanceof Invalid && number !== OPT.EXPORT_NAME) return more(reply(number, REP.ERR_INVALID, text(e.message)))
        throw e
      }
    },
    secured() {
      isSecure = true
      form = 'simple'
      hasContext = false
    }
  }
}
