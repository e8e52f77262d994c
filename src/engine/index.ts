// src/engine/index.ts: the ordered transactional key-value store. Other floors use what is named here.
export type { ChangeEvent, Engine, EngineStatus, Key, KeyedRow, MaybePromise, Range, Reader, Recovery, Request, Row, Tx } from './engine.js' // test/engine/suite.ts is its law
export { openMemory } from './memory/index.js' // the model of a remote database
export { makeMemoryServer } from './memory/index.js' // one database for several memory engines
export type { MemoryOptions, MemoryServer } from './memory/index.js'
export { openLmdb } from './lmdb/index.js' // embedded: LMDB behind a log
export { systemIo } from './lmdb/index.js' // the calls that its log makes, to put a fault between
export type { LmdbOptions, LogIo } from './lmdb/index.js'
export { DamagedError, EngineError } from './errors.js' // what can be wrong when an engine is opened
export type { EngineErrorCode } from './errors.js'
export { RunAfter } from './transaction.js' // what a body throws that needs something done first
export { KEY_BYTES_LIMIT, KEY_END, keySuccessor, prefixEnd, prefixRange } from './keys.js'
export { streamRows } from './streams.js' // the rows of a range, in pages
export type { RowStream } from './streams.js'
export { rowName } from './lmdb/index.js' // of rows whose checksum is wrong
export type { DamagedRow, OnDamaged } from './lmdb/index.js'
export { inspectLog } from './lmdb/index.js' // what an opening would replay, and what lies behind it
export type { LogFindings } from './lmdb/index.js'
export { inspectPages } from './lmdb/index.js' // whether LMDB can read its file, without asking it
