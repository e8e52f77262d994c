/**
 * What LMDB holds: the rows up to the last checkpoint, and the engine's own notes. Every commit of it is synced in full, off
 * the loop; without sync LMDB is not crash-safe. Four tables:
 * Every value of all of them ends with its checksum (stored.ts), which is looked at whenever it is read: LMDB's own pages have none.
 *   rows     key -> kind u8 (1 value, 2 counters, 3 bits) and the value, the slots (i64 each), or the bitmap
 *   events   session u32, number u48 (big-endian) -> the change event's bytes
 *   answers  place u16 (big-endian): how many were added before, modulo 4,096 -> count u64, session u32, id u8 + bytes, result
 *   system   'pool', 'session', 'checkpoint' -> version u8 (1), then JSON: few, and read at opening only. Each is there twice
 */
import { statfsSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Database, RootDatabase, Transaction } from 'lmdb'
import { ERRNO, get64, PosixError, set64, viewOf } from '../../sys/index.js'
import { ANSWERS_LIMIT } from '../answers.js'
import type { Answer } from '../answers.js'
import type { ChangeEvent, Key } from '../engine.js'
import { DamagedError, EngineError } from '../errors.js'
import type { Cursor, Entry } from '../rows.js'
import type { Slice } from './arena.js'
import { mapBytes, precheck } from './precheck.js'
import { CHECKSUM_BYTES, entryFrom, hashOfKey, isSealed, seal, sealed } from './stored.js'

export const FORMAT_VERSION = 1
const UNMASK_TURNS = 1000
const COPY = '.copy' // behind the name of a system row: its second copy, written with the first

/** Writes of one chunk; they are in LMDB, durably, when `done` resolves. */
export interface Chunk {
  /** The bytes, in LMDB's form, must stay as they are until done() has ended; the checksum is put behind them. */
  put(key: Key, stored: Slice): void
  remove(key: Key): void
  event(session: number, n: number, stored: Slice): void
  removeEvent(key: string): void
  /** Events and answers that were read and skipped as damaged. */
  removeDamaged(): void
  answer(count: number, answer: Answer): void
  system(name: string, value: object): void
  done(): Promise<void>
}

export interface Tables {
  find(key: Key): Entry | undefined
  cursor(from: Key, to: Key, reverse: boolean): Cursor
  changes(session: number, from: number, limit: number): ChangeEvent[]
  /** In the order in which they were added. */
  answers(): Answer[]
  system(name: string): unknown
  /** Of a table opened to read: whether a writer changed this row since. */
  hasMoved(name: string): boolean
  chunk(): Chunk
  eventsCount(): number
  /** Of the oldest, those behind `after`, as removeEvent wants them. */
  eventKeys(after: string | undefined, limit: number): string[]
  /** Reads see what was committed before, from now on. */
  refresh(): void
  close(): Promise<void>
}

/** Reads may be told their transaction; lmdb's types do not say so. */
interface Reads {
  getBinary(key: string, within?: { readonly transaction: Transaction }): Buffer | undefined
  getBinaryFast(key: string, within?: { readonly transaction: Transaction }): Buffer | undefined
}
type Table = Database<Uint8Array, string> & Reads

// Keys go as latin1 straight into LMDB's key buffer. lmdb takes an encoder here; its types do not say so.
const keyEncoder = {
  writeKey: (key: string, target: Buffer, at: number): number => at + Buffer.prototype.latin1Write.call(target, key, at),
  readKey: (target: Buffer, start: number, end: number): string => Buffer.prototype.latin1Slice.call(target, start, end)
}
const tableOptions = (name: string) => ({ name, encoding: 'binary' as const, keyEncoder, cache: false })

/** What lmdb takes for a value with a place in a buffer: the same object each time, it looks only while it is given. */
const placed: { '\x10binary-data\x02': Slice | undefined } = { '\x10binary-data\x02': undefined }
function valueAt(slice: Slice): Uint8Array {
  placed['\x10binary-data\x02'] = slice
  return placed as unknown as Uint8Array
}

/** The slice with its checksum behind it, where room was left for it. */
function sealedSlice(key: Key, slice: Slice): Slice {
  seal(slice.bytes, slice.start, slice.end, hashOfKey(key))
  slice.end += CHECKSUM_BYTES
  return slice
}

const numberKey = (value: number, bytes: number): string => {
  let key = ''
  for (let i = 0, rest = value; i < bytes; i++, rest = Math.floor(rest / 256)) key = String.fromCharCode(rest % 256) + key
  return key
}
const numberOf = (key: string, start: number, end: number): number => {
  let value = 0
  for (let i = start; i < end; i++) value = value * 256 + key.charCodeAt(i)
  return value
}
const eventKey = (session: number, n: number): string => numberKey(session, 4) + numberKey(n, 6)

export const damaged = (what: string, cause?: unknown): EngineError =>
  new EngineError('ENGINE_ROWS_DAMAGED', `${what}: run ogee fsck on the pool.`, cause)

/** A failed commit has a promise beside it; nobody need hear of either twice. */
const hushed = (e: unknown): void => {
  if (e instanceof Error && 'commitError' in e) Promise.resolve(e.commitError).catch(hushed)
}
/** What LMDB makes of a write that the disk took in part only. */
const isShort = (e: unknown): boolean => e instanceof Error && (('code' in e && e.code === ERRNO.EIO) || /Commit failed/.test(e.message))
/** Of the host's disk; with less, a short write is taken for the want of it. More than LMDB writes at once. */
const ROOM_BYTES = 16 * 1024 * 1024

/** Why a commit of LMDB failed: for some of its promises lmdb says so in another one. */
async function unmasked(e: unknown): Promise<unknown> {
  if (!(e instanceof Error) || !('commitError' in e)) return e
  let why: unknown
  Promise.resolve(e.commitError).catch((cause: unknown) => (why = cause)) // told soon, but not for certain
  for (let turn = 0; turn < UNMASK_TURNS && why === undefined; turn++) await new Promise((resolve) => setImmediate(resolve))
  return why instanceof Error ? why : e
}

/** Loaded with the first pool that is opened: commands that only ask a daemon start in a third less time. */
function lmdb(): typeof import('lmdb') {
  if (!process.listeners('unhandledRejection').includes(lmdbsOwn)) process.on('unhandledRejection', lmdbsOwn)
  return createRequire(import.meta.url)('lmdb') as typeof import('lmdb')
}

/** lmdb makes a promise for each turn of writes that it gives nobody: when a commit fails it would end the process. Ours tell of the same. */
function lmdbsOwn(e: unknown): void {
  if (!(e instanceof Error && 'commitError' in e)) throw e
  hushed(e)
}

/** A row that LMDB holds and whose checksum is wrong. */
export interface DamagedRow {
  readonly table: 'rows' | 'events' | 'answers' | 'system'
  readonly key: string
}
/** Learns of each row that is read and damaged. 'skip': it is read as if it was not there, else the read fails. */
export type OnDamaged = (row: DamagedRow) => 'skip' | 'fail'

export const rowName = ({ table, key }: DamagedRow): string => {
  const readable = /^[ -~]*$/.test(key)
  if (table === 'system') return `the system row ${key}`
  if (table === 'rows') return `row ${JSON.stringify(/^[!-~]/.test(key) ? key[0] : '?')} ${Buffer.from(key, 'latin1').toString('hex')}`
  return `${readable ? key : Buffer.from(key, 'latin1').toString('hex')} of the ${table}`
}

/** `path` is LMDB's folder; it exists. */
export function openTables(path: string, purpose: 'make' | 'read' | 'write', onDamaged: OnDamaged = () => 'fail'): Tables {
  precheck(path, purpose)
  let env: RootDatabase<Uint8Array, string>
  try {
    env = lmdb().open<Uint8Array, string>({
      path, readOnly: purpose === 'read', mapSize: mapBytes(), maxDbs: 8, cache: false, encoding: 'binary',
      overlappingSync: false, noSync: false, noMemInit: false, noSubdir: false
    })
  } catch (e) {
    throw damaged(`LMDB cannot open ${path}`, e)
  }
  const table = (name: string): Table => {
    try {
      return env.openDB<Uint8Array, string>(tableOptions(name))
    } catch (e) {
      throw damaged(`LMDB finds no table ${name} in ${path}`, e)
    }
  }
  const rows = table('rows')
  const events = table('events')
  const answers = table('answers')
  const systems = table('system')
  // who only reads sees one state, the one at the opening, whatever a writer in another process does since
  const pinned = purpose === 'read' ? env.useReadTransaction() : undefined
  const within = pinned === undefined ? undefined : { transaction: pinned }

  const skipped: DamagedRow[] = []
  const roomBytes = (): number => {
    const { bavail, bsize } = statfsSync(path)
    return bavail * bsize
  }

  /** How many bytes of what LMDB gave are the value; -1: damaged, and to be skipped. */
  function valueBytes(table: DamagedRow['table'], key: string, stored: Uint8Array): number {
    if (isSealed(stored as Buffer, stored.length, hashOfKey(key))) return stored.length - CHECKSUM_BYTES
    const row = { table, key }
    if (onDamaged(row) === 'skip') {
      if (table === 'events' || table === 'answers') skipped.push(row)
      return -1
    }
    throw new DamagedError(`In ${path}, ${rowName(row)} is damaged`, table === 'rows' ? key : undefined)
  }

  /** What LMDB reads of its file, and says of pages that lead nowhere. */
  function reading<T>(work: () => T): T {
    try {
      return work()
    } catch (e) {
      throw e instanceof PosixError || e instanceof EngineError ? e : new DamagedError(`LMDB cannot read ${path} (${e instanceof Error ? e.message : String(e)})`)
    }
  }

  /** A system row that is whole. */
  function systemBytes(key: string): Buffer | undefined {
    const stored = reading(() => systems.getBinary(key, within)) // valid until the next get
    return stored !== undefined && isSealed(stored, stored.length, hashOfKey(key)) ? Buffer.from(stored.subarray(0, stored.length - CHECKSUM_BYTES)) : undefined
  }

  function cursor(from: Key, to: Key, reverse: boolean): Cursor {
    const range = reverse ? { start: to, end: from, reverse, exclusiveStart: true, inclusiveEnd: true } : { start: from, end: to }
    const walk = rows.getRange(within === undefined ? range : { ...range, ...within })[Symbol.iterator]()
    let done = false
    const at: Cursor = {
      key: undefined,
      entry: undefined as unknown as Entry,
      next() {
        for (let bytes = -1; bytes < 0 && !done; ) {
          const step = reading(() => walk.next())
          if (step.done === true) {
            done = true
            at.key = undefined
            return
          }
          const { key, value } = step.value
          bytes = valueBytes('rows', key, value)
          if (bytes < 0) continue
          at.key = key
          at.entry = entryFrom(value as Buffer, 0, bytes, 0)
        }
      },
      close() {
        if (!done) walk.return?.()
        done = true
      }
    }
    at.next()
    return at
  }

  function found(key: Key): Buffer | undefined {
    try { // not reading(): a closure per row is too much here
      return rows.getBinaryFast(key, within)
    } catch (e) {
      return reading(() => { throw e })
    }
  }

  return {
    find(key) {
      const stored = found(key) // valid until the next get: copied here, once
      if (stored === undefined) return undefined
      const bytes = valueBytes('rows', key, stored)
      return bytes < 0 ? undefined : entryFrom(stored, 0, bytes, 0)
    },
    cursor,
    changes(session, from, limit) {
      const out: ChangeEvent[] = []
      if (limit <= 0) return out
      for (const { key, value } of reading(() => [...events.getRange({ start: eventKey(session, from), end: eventKey(session + 1, 0), limit, ...within })])) {
        const bytes = valueBytes('events', key, value)
        if (bytes >= 0) out.push({ session, n: numberOf(key, 4, 10), bytes: value.subarray(0, bytes) })
      }
      return out
    },
    answers() {
      const found: { count: number; answer: Answer }[] = []
      for (const { key, value } of reading(() => [...answers.getRange({ start: numberKey(0, 2), end: numberKey(ANSWERS_LIMIT, 2), ...within })])) {
        const bytes = valueBytes('answers', key, value)
        if (bytes < 0) continue
        const v = viewOf(value)
        const idBytes = value[12]
        const requestId = Buffer.from(value.subarray(13, 13 + idBytes)).latin1Slice()
        found.push({ count: get64(v, 0), answer: { session: v.getUint32(8, true), requestId, result: value.subarray(13 + idBytes, bytes) } })
      }
      found.sort((a, b) => a.count - b.count)
      return found.map((f) => f.answer)
    },
    system(name) {
      let stored = systemBytes(name)
      if (stored === undefined) {
        stored = systemBytes(name + COPY)
        if (stored === undefined) return undefined
        onDamaged({ table: 'system', key: name }) // its copy will do
      }
      if (stored[0] > FORMAT_VERSION) throw new EngineError('ENGINE_NEWER_FORMAT', `The pool's system row ${name} has format ${stored[0]}, this Ogee knows up to ${FORMAT_VERSION}: install a later version.`)
      try {
        return JSON.parse(stored.toString('utf8', 1))
      } catch (e) {
        throw damaged(`The system row ${name} is no JSON`, e)
      }
    },
    hasMoved(name) {
      rows.resetReadTxn()
      const now = systems.getBinary(name)?.toString('latin1') // copied: the next get uses the same buffer
      return now !== systems.getBinary(name, within)?.toString('latin1')
    },
    chunk() {
      const waiting: Promise<unknown>[] = []
      const wait = (written: Promise<unknown>): void => {
        if (waiting[waiting.length - 1] === written) return // all writes of a turn share one promise
        waiting.push(written)
        written.catch(hushed) // done() tells
      }
      return {
        put: (key, stored) => wait(rows.put(key, valueAt(sealedSlice(key, stored)))),
        remove: (key) => wait(rows.remove(key)),
        removeEvent: (key) => wait(events.remove(key)),
        event(session, n, stored) {
          const key = eventKey(session, n)
          wait(events.put(key, valueAt(sealedSlice(key, stored))))
        },
        removeDamaged() {
          for (const { table, key } of skipped.splice(0)) wait((table === 'events' ? events : answers).remove(key))
        },
        answer(count, answer) {
          const head = Buffer.alloc(13)
          const v = viewOf(head)
          set64(v, 0, count)
          v.setUint32(8, answer.session, true)
          head[12] = answer.requestId.length
          const key = numberKey(count % ANSWERS_LIMIT, 2)
          wait(answers.put(key, sealed(key, [head, Buffer.from(answer.requestId, 'latin1'), answer.result])))
        },
        system(name, value) {
          for (const key of [name, name + COPY]) wait(systems.put(key, sealed(key, [Buffer.from([FORMAT_VERSION]), Buffer.from(JSON.stringify(value))])))
        },
        async done() {
          try {
            await Promise.all(waiting)
          } catch (e) {
            const why = await unmasked(e)
            throw isShort(why) && roomBytes() < ROOM_BYTES ? new PosixError('ENOSPC', `the disk under ${path} is full`) : why
          }
        }
      }
    },
    eventsCount: () => reading(() => (events.getStats() as { entryCount: number }).entryCount),
    eventKeys: (after, limit) => reading(() => [...events.getKeys({ start: after === undefined ? numberKey(0, 1) : `${after}\u0000`, limit })]),
    refresh: () => rows.resetReadTxn(),
    close() {
      pinned?.done()
      return env.close()
    }
  }
}
