/** fuse_in_header (40 bytes), fuse_out_header (16), and INIT: fuse_init_in (16, 64 with INIT_EXT), fuse_init_out (64). */
import { getLow32, getHigh32, getU64, setHalves } from '../sys/index.js'

// fuse_in_header
export const inLength = (v: DataView): number => v.getUint32(0, true)
export const inOpcode = (v: DataView): number => v.getUint32(4, true)
export const inUniqueLow = (v: DataView): number => getLow32(v, 8) // opaque: bit 63 marks a request sent again
export const inUniqueHigh = (v: DataView): number => getHigh32(v, 8)
export const inNode = (v: DataView): number => getU64(v, 16)
export const inUid = (v: DataView): number => v.getUint32(24, true)
export const inGid = (v: DataView): number => v.getUint32(28, true)
export const inPid = (v: DataView): number => v.getUint32(32, true)
export const inExtensionBytes = (v: DataView): number => v.getUint16(36, true) * 8 // total_extlen, in units of 8

/** error: 0 or a negative errno; for a notification its code, with unique 0. */
export function writeOutHeader(v: DataView, length: number, error: number, uniqueLow: number, uniqueHigh: number): void {
  v.setUint32(0, length, true)
  v.setInt32(4, error, true)
  setHalves(v, 8, uniqueLow, uniqueHigh)
}

// fuse_init_in, after the header
export const INIT_IN_BYTES = 16
export const initMajor = (v: DataView, at: number): number => v.getUint32(at + 0, true)
export const initMinor = (v: DataView, at: number): number => v.getUint32(at + 4, true)
export const initMaxReadahead = (v: DataView, at: number): number => v.getUint32(at + 8, true)
export const initFlags = (v: DataView, at: number): number => v.getUint32(at + 12, true)
export const initFlags2 = (v: DataView, at: number): number => v.getUint32(at + 16, true) // with INIT_EXT only

export const INIT_OUT_BYTES = 64

export interface InitOut {
  major: number
  minor: number
  maxReadaheadBytes: number
  flags: number
  maxBackground: number
  congestionThreshold: number
  maxWriteBytes: number
  timeGranNs: number
  maxPages: number
  flags2: number
}

export function writeInitOut(v: DataView, at: number, o: InitOut): void {
  v.setUint32(at + 0, o.major, true)
  v.setUint32(at + 4, o.minor, true)
  v.setUint32(at + 8, o.maxReadaheadBytes, true)
  v.setUint32(at + 12, o.flags, true)
  v.setUint16(at + 16, o.maxBackground, true) // requests that nobody waits for, in flight
  v.setUint16(at + 18, o.congestionThreshold, true)
  v.setUint32(at + 20, o.maxWriteBytes, true)
  v.setUint32(at + 24, o.timeGranNs, true)
  v.setUint16(at + 28, o.maxPages, true)
  v.setUint16(at + 30, 0, true) // map_alignment: no DAX
  v.setUint32(at + 32, o.flags2, true)
  for (let i = 36; i < INIT_OUT_BYTES; i += 4) v.setUint32(at + i, 0, true) // max_stack_depth, request_timeout, unused
}
