/** INIT: what kernel and daemon agree on. We speak 7.31 (Linux 5.4) to 7.45, and use what both sides know. */
import * as h from './codec-header.js'
import * as p from './protocol.js'

export interface InitOptions {
  /** OPEN and OPENDIR are asked of us. */
  readonly opens: boolean
  /** The kernel gathers writes, and its sizes and times win over ours: weaker, see the documentation. */
  readonly writebackCache: boolean
  /** Requests that nobody waits for (read-ahead, asynchronous direct I/O) that the kernel may have in flight. */
  readonly maxBackground: number
  readonly onReady?: (agreed: Agreed) => void
  /** A kernel that cannot be served: the sentence to show. */
  readonly onRefused?: (sentence: string) => void
}

export interface Agreed {
  readonly minor: number
  readonly flags: number
  readonly flags2: number
  readonly kernelMinor: number
}

const WANTED = p.ASYNC_READ | p.EXPORT_SUPPORT | p.BIG_WRITES | p.DONT_MASK | p.DO_READDIRPLUS | p.READDIRPLUS_AUTO |
  p.ASYNC_DIO | p.PARALLEL_DIROPS | p.POSIX_ACL | p.ABORT_ERROR | p.MAX_PAGES | p.CACHE_SYMLINKS | p.EXPLICIT_INVAL_DATA |
  p.HANDLE_KILLPRIV_V2 | p.SETXATTR_EXT | p.INIT_EXT
const WANTED_2 = p.CREATE_SUPP_GROUP | p.HAS_EXPIRE_ONLY | p.DIRECT_IO_ALLOW_MMAP

const PAGE_BYTES = 4096

/** Reads the request, writes the answer's body. `agreed` is undefined if the kernel shall ask again, or is refused. */
export function negotiate(request: DataView, end: number, out: DataView, options: InitOptions):
  { agreed: Agreed | undefined, bodyBytes: number } {
  const at = p.IN_HEADER_BYTES
  const major = h.initMajor(request, at)
  const kernelMinor = h.initMinor(request, at)
  const answer: h.InitOut = {
    major: p.FUSE_MAJOR, minor: p.FUSE_MINOR_MAX, maxReadaheadBytes: 0, flags: 0, flags2: 0,
    maxBackground: 0, congestionThreshold: 0, maxWriteBytes: 0, timeGranNs: 1, maxPages: 0
  }
  if (major > p.FUSE_MAJOR) { // it asks again in our version
    h.writeInitOut(out, p.OUT_HEADER_BYTES, answer)
    return { agreed: undefined, bodyBytes: h.INIT_OUT_BYTES }
  }
  if (major < p.FUSE_MAJOR || kernelMinor < p.FUSE_MINOR_MIN) {
    options.onRefused?.(`The kernel speaks FUSE ${major}.${kernelMinor}; Ogee needs ${p.FUSE_MAJOR}.${p.FUSE_MINOR_MIN}: use Linux 5.4 or newer.`)
    answer.major = 0 // the kernel takes it as an error, and every call on the mount fails with ENOTCONN
    h.writeInitOut(out, p.OUT_HEADER_BYTES, answer)
    return { agreed: undefined, bodyBytes: h.INIT_OUT_BYTES }
  }

  const offered = h.initFlags(request, at)
  const extended = (offered & p.INIT_EXT) !== 0 && end >= at + 20
  const offered2 = extended ? h.initFlags2(request, at) : 0
  let wanted = WANTED
  if (options.opens) wanted |= p.ATOMIC_O_TRUNC // without OPEN nobody would hear of O_TRUNC: the kernel truncates by SETATTR
  if (options.writebackCache) wanted |= p.WRITEBACK_CACHE
  if (!extended) wanted &= ~p.INIT_EXT

  const minor = Math.min(kernelMinor, p.FUSE_MINOR_MAX)
  const flags = (offered & wanted) >>> 0
  const flags2 = (offered2 & WANTED_2) >>> 0
  answer.minor = minor
  answer.flags = flags
  answer.flags2 = flags2
  answer.maxReadaheadBytes = Math.min(h.initMaxReadahead(request, at), p.TRANSFER_BYTES_MAX)
  answer.maxBackground = options.maxBackground
  answer.congestionThreshold = Math.floor(options.maxBackground * 3 / 4)
  answer.maxWriteBytes = p.TRANSFER_BYTES_MAX
  answer.maxPages = p.TRANSFER_BYTES_MAX / PAGE_BYTES
  h.writeInitOut(out, p.OUT_HEADER_BYTES, answer)
  return { agreed: { minor, flags, flags2, kernelMinor }, bodyBytes: h.INIT_OUT_BYTES }
}
