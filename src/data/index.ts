// src/data/index.ts: extents to bytes. Other floors use what is named here.
export { EXTENT_MAX_BYTES, FILE_MAX_BYTES, INLINE_MAX_BYTES, LOGGED_MAX_BYTES, NO_TOUCH, NOW } from './content.js'
export type { ChangeContent, ChangeContents, Content, ContentAfter, ContentEffects, CopyWish, FileRef, Owed, Part, PartKind, ReadContent, View } from './content.js'
export type { Data, DataStatus, FlattenHow } from './data.js'
export type { ByteRange } from './comparing.js'
export { birthOf, decodePast, encodePast, HISTORY_KIND, historyKey, pastAt, retire } from './history.js'
export type { Epochs, Past } from './history.js'
export { decodeOrigin, encodeOrigin, ORIGIN_KIND, originKey, putOrigin } from './origin.js' // what is a clone of what
export type { Origin } from './origin.js'
export { ceilUnit } from './filemap.js'
export { openData } from './open.js'
export type { DataOptions } from './open.js'
export { checkData } from './check.js'
export { checkUnits, eachRow, feedFile, makeFileCheck } from './check.js' // the parts of a check of the whole pool
export { checkShares, claimShares, repairShares } from './share-check.js'
export { partOverlaps } from './parting.js' // and of its repair
export type { Finding, FindingKind, Found } from './finding.js'
export type { FileCheck } from './check.js'
export { encodeTentative, EXTENT_KIND, inoOf, PENDING_KIND, rowsFrom, tentativeKey, TENTATIVE_KIND } from './rows.js'
