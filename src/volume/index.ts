// src/volume/index.ts: block volumes: inodes of a fixed size with one writer at a time. Other floors use what is named here.
export { openVolumes } from './volumes.js'
export type { OpenVolume } from './open-volume.js'
export type { VolumeInfo, VolumeParts, Volumes } from './volumes.js'
export { checkVolumeName, checkVolumeSize, VolumeError } from './errors.js'
export type { VolumeReason } from './errors.js'
