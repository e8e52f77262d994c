/** What the tree's transactions speak of: an inode, a directory's row, and what every change is told. Nothing here does anything. */
import type { Context } from '../sys/index.js'

/** An inode as committed. For a directory, `nlink`, `mtime*`, `ctime*` already come from its counter row. Never mutated. */
export interface Inode {
  readonly ino: number
  readonly generation: number
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly rdev: number
  readonly sizeBytes: number
  readonly durableSizeBytes: number
  readonly allocatedBytes: number
  readonly blocks512: number
  readonly atimeSec: number
  readonly atimeNsec: number
  readonly mtimeSec: number
  readonly mtimeNsec: number
  readonly ctimeSec: number
  readonly ctimeNsec: number
  readonly btimeSec: number
  readonly btimeNsec: number
  /** FS_*_FL bits (FS_IOC_GETFLAGS). */
  readonly flags: number
  /** Epoch of this value's birth, and the domain it belongs to. */
  readonly birth: number
  readonly domain: number
  /** A directory's parent, or the home of a file's sums; 0 for an unnamed or unlinked inode. */
  readonly parent: number
  /** Has xattrs of this kind: spares a read. */
  readonly hasAccessAcl: boolean
  readonly hasDefaultAcl: boolean
  /** Where it has nothing of its own it shows another inode's (row L). Of a directory: its entries were not copied yet. */
  readonly hasOrigin: boolean
  /** A small file's bytes, or a symlink's target. */
  readonly inline: Uint8Array | undefined
}

export interface Timespec {
  readonly sec: number
  readonly nsec: number
}

/** What every changing operation is told. */
export interface Op {
  readonly ctx: Context
  readonly now: Timespec
  /** Decide permissions here. */
  readonly check: boolean
  /** The daemon's session: whose open-unlinked list an inode goes to. */
  readonly session: number
  /** What loses its last name goes to the trash where its domain keeps one. */
  readonly trash?: true
}

export interface MakeArgs {
  readonly parent: number
  readonly name: string
  /** Type and permission bits, umask not yet applied. */
  readonly mode: number
  readonly umask: number
  readonly rdev: number
  /** A symlink's target. */
  readonly target: string | undefined
  /** From the session's block of inode numbers; never used twice. */
  readonly ino: number
}

export interface DirectoryRow {
  readonly name: string
  readonly ino: number
  /** S_IFMT bits. */
  readonly typeBits: number
  /** Cookie of the entry: pass it to continue behind it. */
  readonly cookieHigh: number
  readonly cookieLow: number
}

export interface VolumeRow {
  readonly name: string
  readonly ino: number
}
