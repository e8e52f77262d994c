// src/vfs/index.ts: POSIX semantics by messages. Front doors use what is named here.
export * from './vfs.js'
export { openVfs } from './open.js' // over an engine, a tree, a data floor and a store
export type { OpenedVfs } from './open.js'
export { volumesFolder } from './volumes-folder.js' // volumes as files
export { withVolumesLink } from './volumes-link.js'
export type { Parts, VfsOptions } from './core.js'
