// bench/peers/index.ts: who is compared.
export type { Kind, Mounted, Over, Peer } from './peer.js'
export { ogeePeer, ogeeProgram } from './ogee.js'
export { buildPassthrough, passthroughPeer } from './passthrough.js'
export { cephConf, cephPeer, cephRefusal } from './ceph.js'
export { nbdPeers } from './nbd.js'
export { alsoPeer, diskPeer } from './folder.js'
