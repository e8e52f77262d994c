// src/engine/index.ts: the ordered transactional key-value store. Other floors use what is named here.
export type { Engine, EngineStatus, Key, KeyedRow, MaybePromise, Range, Reader, Recovery, Request, Row, Tx } from './engine.js'
