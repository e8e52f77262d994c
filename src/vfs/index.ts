// src/vfs/index.ts: POSIX semantics by messages. Front doors use what is named here.
export * from './vfs.js'
