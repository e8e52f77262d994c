// src/snapshot/index.ts: what is built on epochs. Other floors use what is named here.
export { bytesOf, inodeAtPath, namesOf, parseNamed, textOf } from './names.js'
export type { Named } from './names.js'
export { diffTree, IMPORTING_XATTR, ORIGIN_XATTR } from './diff.js' // what changed between two views
export type { Aspect, PathChange } from './diff.js'
export { exportImage } from './exporting.js' // images of snapshots
export { openImporter } from './importing.js'
export { emptyFolder } from './removing.js'
export { ImageError, readImage } from './image.js'
export type { Header } from './image.js'
export type { FlattenProgress } from './flattening.js'
export { openSnapshots } from './snapshots.js' // taking, listing and removing snapshots of a domain
export type { SnapshotInfo, Snapshots } from './snapshots.js'
export { FIRST_VIEW_NODE, inoOf, isList, listNode, nodeOf, openViews } from './views.js' // snapshots as nodes beside the live ones
export type { Shown, Views } from './views.js'
