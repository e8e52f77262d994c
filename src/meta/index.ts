// src/meta/index.ts: the tree as transactions. Other floors use what is named here.
export type { DirectoryRow, Inode, MakeArgs, Op, Timespec, VolumeRow } from './words.js'
export type { Tree } from './meta.js'
export type { Domain, Snapshot, Removed } from './rows.js'
export type { CloneArgs } from './clone.js'
export { NOBODY } from './holds.js'
export type { Hold } from './holds.js'
export type { Forgotten } from './orphans.js'
export type { TrashSums } from './trash.js'
export type { Reading, ReadThrough } from './needed.js'
export type { Replaced, TreeRolledBack } from './replaced.js'
export { ROOT_ENTRIES_MAX } from './replaced.js'
export type { Rollback, Younger } from './rollback.js'
export type { NamedSnapshot, Sweep } from './snapshot.js'
export { dropAllBegun, takeView } from './taking.js' // snapshots in two transactions
export type { MadeSubvolume } from './subvolumes.js'
export { openTree } from './tree.js'
export type { TreeOptions } from './tree.js'
export { ROOT_INO } from './make.js'
export { isDirectory, isRegular, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from './inode.js'
export { changeContent, changeContents, readContent } from './content.js' // what the data floor is opened with
export { checkPool, checkTree } from './check.js'
export type { Checked, CheckOptions } from './check.js'
export { repairTree } from './repair.js'
export type { Repair } from './repair-base.js'
export { hasNoLinks } from './read.js' // whose row a key of the data floor is
export { nameHash } from './hash.js'
export { decodeChange } from './events.js' // records of the change log
export type { Change, ChangeKind } from './events.js'
