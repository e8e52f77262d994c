// src/store/space/index.ts: one local file with our allocator. Other folders use what is named here.
export { formatSpace, openSpace } from './space.js'
export type { FormatOptions, SpaceOptions } from './space.js'
export { HOST_RESERVE_BYTES, hostIo } from './io.js'
export type { SpaceFile, SpaceIo } from './io.js'
export { COUNTERS_KEY, GROUP_BYTES, GROUP_UNITS, groupKey } from './keys.js'
export { openUnitsCheck, repairGroup, repairUnitsCounter } from './check.js'
export type { Overlap, UnitsCheck, WrongGroup } from './check.js'
export { checkSpaceHeader, promiseGroup, repairSpaceHeader } from './maintenance.js'
