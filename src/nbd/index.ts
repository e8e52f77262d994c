// src/nbd/index.ts: the front door for block devices: NBD clients to volumes and back.
export { openNbd } from './server.js'
export type { Address, Nbd, NbdOptions } from './server.js'
export { readTlsFolder } from './tls.js'
export type { TlsKeys } from './tls.js'
