// src/pool/index.ts: a pool as a whole: its folder, superblock and lock, and the floors below put together.
export { Refusal } from './refusal.js'
export type { Reason } from './refusal.js'
export { FORMAT_VERSION, readSuperblock, SUPERBLOCK_FILE } from './superblock.js'
export type { Superblock } from './superblock.js'
export { holderText, lockState, tryLock } from './lock.js'
export type { Holder, Lock, LockState } from './lock.js'
export { checkApart, DAEMON_LOG_FILE, hostSpace, inspectFolder, makeFolder, refusalOf, resolvePool, SOCKET_FILE } from './folder.js'
export type { FolderState, HostSpace } from './folder.js'
