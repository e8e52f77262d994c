// src/store/index.ts: where file bytes live. Other floors use what is named here.
export { UNIT_BYTES } from './store.js'
export type { AllocateRequest, Piece, Store, StoreStatus } from './store.js'
export { formatSpace, HOST_RESERVE_BYTES, hostIo, openSpace } from './space/index.js' // one local file
export type { FormatOptions, SpaceFile, SpaceIo, SpaceOptions } from './space/index.js'
export { COUNTERS_KEY, GROUP_BYTES, GROUP_UNITS, groupKey } from './space/index.js' // its rows, for who checks a pool
export { openUnitsCheck, repairGroup, repairUnitsCounter } from './space/index.js' // do its rows say what the extents say?
export type { Overlap, UnitsCheck, WrongGroup } from './space/index.js'
export { checkSpaceHeader, promiseGroup, repairSpaceHeader } from './space/index.js' // of a space that nobody has open
export { DATA_START_BYTES, deviceBytes } from './space/index.js' // a block device as a space
