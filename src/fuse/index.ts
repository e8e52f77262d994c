// src/fuse/index.ts: the front door to the kernel: /dev/fuse messages to vfs calls and back.
export { Channel } from './channel.js' // serves devices, each with a session
export type { ChannelOptions, Connection } from './channel.js'
export { openSession } from './operations.js' // bytes in, bytes out
export type { ReplySink, Session, SessionOptions } from './session.js'
export { rehearse } from './rehearsal.js'
export type { RehearsalOptions } from './rehearsal.js'
export type { Agreed } from './init.js'
export type { Presentation } from './codec-attr.js'
export type { Frame } from './frames.js'
export type { Notifier } from './notify.js'
export { abortConnection, bindMount, isMountFlag, mountedDevice, mountFuse, remount, remountBind, setReadAhead,
  unmount } from './mount.js'
export type { MountOptions } from './mount.js'
