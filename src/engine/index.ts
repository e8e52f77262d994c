// src/engine/index.ts: the ordered transactional key-value store. Other floors use what is named here.
export type { ChangeEvent, Engine, EngineStatus, Key, KeyedRow, MaybePromise, Range, Reader, Recovery, Request, Row, Tx } from './engine.js' // test/engine/suite.ts is its law
export { openMemory } from './memory/index.js' // the model of a remote database
export type { MemoryOptions } from './memory/index.js'
export { makeMemoryServer } from './memory/server.js' // one database for several memory engines
export type { MemoryServer } from './memory/server.js'
export { openLmdb } from './lmdb/index.js' // embedded: LMDB behind a log
export type { LmdbOptions } from './lmdb/index.js'
export type { LogIo } from './lmdb/io.js'
export { systemIo } from './lmdb/io.js'
export { EngineError } from './errors.js' // what can be wrong when an engine is opened
export type { EngineErrorCode } from './errors.js'
export { KEY_BYTES_LIMIT, KEY_END, keySuccessor, prefixEnd, prefixRange } from './keys.js'
