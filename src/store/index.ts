// src/store/index.ts: where file bytes live. Other floors use what is named here.
export { UNIT_BYTES } from './store.js'
export type { AllocateRequest, Piece, Store, StoreStatus } from './store.js'
