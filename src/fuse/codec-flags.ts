/** Inode flags through ioctl(2): FS_IOC_GETFLAGS and its like (linux/fs.h), and struct fsxattr (28 bytes). */

const GETFLAGS = [0x80086601, 0x80046601] // of a 64-bit and of a 32-bit program; both carry 32 bits of flags
const SETFLAGS = [0x40086602, 0x40046602]
const FSGETXATTR = 0x801c581f
const FSSETXATTR = 0x401c5820

export const isGetFlags = (command: number): boolean => GETFLAGS.includes(command)
export const isSetFlags = (command: number): boolean => SETFLAGS.includes(command)
export const isGetFsxattr = (command: number): boolean => command === FSGETXATTR
export const isSetFsxattr = (command: number): boolean => command === FSSETXATTR

/** [FS_*_FL, FS_XFLAG_*]: immutable, append, sync, noatime, nodump, project inherit */
const PAIRS: readonly (readonly [number, number])[] = [
  [0x10, 0x08], [0x20, 0x10], [0x08, 0x20], [0x80, 0x40], [0x40, 0x80], [0x20000000, 0x200]
]
const READ_ONLY_XFLAGS = 0x80000002 // hasattr, prealloc: who writes back what was read has them in it
const KNOWN_XFLAGS = PAIRS.reduce((all, [, xflag]) => all | xflag, READ_ONLY_XFLAGS)
const SHARED_FLAGS = PAIRS.reduce((all, [flag]) => all | flag, 0)

export const FSXATTR_BYTES = 28

export function writeFsxattr(v: DataView, at: number, flags: number): void {
  let xflags = 0
  for (const [flag, xflag] of PAIRS) if ((flags & flag) !== 0) xflags |= xflag
  v.setUint32(at + 0, xflags, true)
  for (let i = 4; i < FSXATTR_BYTES; i += 4) v.setUint32(at + i, 0, true) // extsize, nextents, projid, cowextsize, pad
}

/** An fsxattr that asks for something that we do not have: other flags (a size hint, DAX), a project. */
export const isBeyondUs = (v: DataView, at: number): boolean => (v.getUint32(at + 0, true) & ~KNOWN_XFLAGS) !== 0 || v.getUint32(at + 12, true) !== 0

/** The flags after FSSETXATTR: those that an fsxattr cannot tell stay. */
export function flagsOfFsxattr(xflags: number, before: number): number {
  let flags = before & ~SHARED_FLAGS
  for (const [flag, xflag] of PAIRS) if ((xflags & xflag) !== 0) flags |= flag
  return flags >>> 0
}
