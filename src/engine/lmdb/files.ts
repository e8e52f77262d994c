/**
 * The folder of an embedded engine: `meta/` (LMDB) and `log`. It is made so that a crash at any point leaves either a whole
 * engine or one that was never finished, which the next opening makes anew: `meta.new/` exists from before the first byte
 * until everything is durable, then becomes `meta/`.
 */
import { existsSync, mkdirSync, openSync, closeSync, fsyncSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../sys/index.js'
import type { Random } from '../../sys/index.js'
import { EngineError } from '../errors.js'
import { PAGE_BYTES } from './format.js'
import type { LogHeader } from './format.js'
import { OPEN_TO_READ, OPEN_TO_WRITE } from './io.js'
import type { LogIo } from './io.js'
import { formatLog, readHeader } from './log.js'
import type { LogPoint } from './log.js'
import { damaged, openTables } from './tables.js'
import type { OnDamaged, Tables } from './tables.js'

/** System row 'pool'. */
export interface PoolRow {
  readonly uuid: string
}
/** System row 'session'. */
export interface SessionRow {
  readonly session: number
  readonly bootId: string
  readonly clean: boolean
  /** A power cut came before, and nobody has recovered from it yet. */
  readonly cut: boolean
  /** What was durable in the log when this row was written. */
  readonly durable: number
}
/** System row 'checkpoint': LMDB holds everything before this point of the log. */
export interface CheckpointRow extends LogPoint {
  /** How many answers were added up to it. */
  readonly answers: number
}

export interface EngineFiles {
  readonly fd: number
  readonly header: LogHeader
  readonly tables: Tables
  readonly session: SessionRow
  readonly checkpoint: CheckpointRow
}

export interface FilesOptions {
  readonly folder: string
  readonly io: LogIo
  readonly random: Random
  readonly bootId: string
  readonly readOnly: boolean
  readonly logBytes: number
  readonly onDamaged?: OnDamaged
}

function syncFolder(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/**
 * The lock of a process that was killed in the middle of an fdatasync lives on for as long as that takes: the kernel's io_uring
 * holds the file, a moment longer than the process is there.
 */
const LOCK_WAIT_MS = 2000
const LOCK_LOOK_MS = 10

async function locked(io: LogIo, fd: number): Promise<boolean> {
  const untilMs = systemClock.monotonicMs() + LOCK_WAIT_MS
  while (io.lock(fd) < 0) {
    if (systemClock.monotonicMs() > untilMs) return false
    await systemClock.sleep(LOCK_LOOK_MS)
  }
  return true
}

async function openLog(io: LogIo, path: string, readOnly: boolean): Promise<number> {
  const fd = io.open(path, readOnly ? OPEN_TO_READ : OPEN_TO_WRITE)
  if (fd < 0) throw new EngineError('ENGINE_IO', `${path} cannot be opened (errno ${-fd}): check its owner and mode, and that the disk is not read-only.`)
  if (!readOnly && !await locked(io, fd)) {
    io.close(fd)
    throw new EngineError('ENGINE_IN_USE', `${path} is in use by another process: unmount the pool there first.`)
  }
  return fd
}

async function create(options: FilesOptions): Promise<void> {
  const { folder, io, random } = options
  const making = join(folder, 'meta.new')
  const logPath = join(folder, 'log')
  rmSync(making, { recursive: true, force: true })
  mkdirSync(making, { recursive: true, mode: 0o700 })
  syncFolder(folder)
  writeFileSync(logPath, '', { mode: 0o600 })
  const uuid = Buffer.from(random.bytes(16)).toString('hex')
  const salt = random.uint32()
  const fd = await openLog(io, logPath, false)
  try {
    await formatLog(io, fd, logPath, { uuid, salt, ringBytes: options.logBytes - (options.logBytes % PAGE_BYTES) })
  } finally {
    io.close(fd)
  }
  const tables = openTables(making, 'make')
  const rows = tables.chunk()
  rows.system('pool', { uuid } satisfies PoolRow)
  rows.system('session', { session: 0, bootId: options.bootId, clean: true, cut: false, durable: 0 } satisfies SessionRow)
  rows.system('checkpoint', { address: 0, seq: 0, chain: salt, answers: 0 } satisfies CheckpointRow)
  await rows.done()
  await tables.close()
  syncFolder(making)
  renameSync(making, join(folder, 'meta'))
  syncFolder(folder)
}

const isObject = (row: unknown): row is Record<string, unknown> => typeof row === 'object' && row !== null
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function readRows(tables: Tables): { pool: PoolRow; session: SessionRow; checkpoint: CheckpointRow } {
  const pool = tables.system('pool')
  if (!isObject(pool) || typeof pool.uuid !== 'string') throw damaged('The system row pool is missing or has a wrong form')
  const session = tables.system('session')
  if (!isObject(session) || !isCount(session.session) || typeof session.bootId !== 'string' || typeof session.clean !== 'boolean' || !isCount(session.durable)) throw damaged('The system row session is missing or has a wrong form')
  const point = tables.system('checkpoint')
  if (!isObject(point) || !isCount(point.address) || !isCount(point.seq) || !isCount(point.chain) || !isCount(point.answers)) throw damaged('The system row checkpoint is missing or has a wrong form')
  return {
    pool: { uuid: pool.uuid },
    session: { session: session.session, bootId: session.bootId, clean: session.clean, cut: session.cut === true, durable: session.durable },
    checkpoint: { address: point.address, seq: point.seq, chain: point.chain, answers: point.answers }
  }
}

/** Opens the folder's files, making them first where there are none. */
export async function openFiles(options: FilesOptions): Promise<EngineFiles> {
  const { folder, io, readOnly } = options
  const metaPath = join(folder, 'meta')
  const logPath = join(folder, 'log')
  const hasMeta = existsSync(metaPath)
  const hasLog = existsSync(logPath)
  if (!hasMeta) {
    const unfinished = existsSync(join(folder, 'meta.new'))
    if (hasLog && !unfinished) throw new EngineError('ENGINE_ROWS_MISSING', `${metaPath} is missing beside its log: restore it from a backup.`)
    if (readOnly) throw new EngineError('ENGINE_ROWS_MISSING', `There is no pool in ${folder}: make one with ogee format, or open it for writing.`)
    await create(options)
  } else if (!hasLog) throw new EngineError('ENGINE_LOG_MISSING', `${logPath} is missing, and with it the newest changes: restore it from a backup, or run ogee fsck on the pool.`)
  const fd = await openLog(io, logPath, readOnly)
  let tables: Tables | undefined
  try {
    const header = readHeader(io, fd, logPath)
    tables = openTables(metaPath, readOnly ? 'read' : 'write', options.onDamaged)
    const { pool, session, checkpoint } = readRows(tables)
    if (pool.uuid !== header.uuid) throw new EngineError('ENGINE_LOG_FOREIGN', `${logPath} belongs to another pool: put the pool's own log back.`)
    return { fd, header, tables, session, checkpoint }
  } catch (e) {
    io.close(fd)
    await tables?.close()
    throw e
  }
}
