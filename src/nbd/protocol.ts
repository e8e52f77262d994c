/**
 * The numbers of the NBD protocol (doc/proto.md of the NBD project, and its extension-ext-header branch). Big-endian on the wire.
 */
export const GREETING_BYTES = 18 // NBDMAGIC, IHAVEOPT, handshake flags u16
export const INIT_HIGH = 0x4e42444d // 'NBDM'
export const INIT_LOW = 0x41474943 // 'AGIC'
export const OPTION_HIGH = 0x49484156 // 'IHAV'
export const OPTION_LOW = 0x454f5054 // 'EOPT'
export const OPTION_REPLY_HIGH = 0x0003e889
export const OPTION_REPLY_LOW = 0x045565a9
export const FIXED_NEWSTYLE = 1
export const NO_ZEROES = 2

export const OPTION_HEADER_BYTES = 16 // magic u64, option u32, length u32
export const OPTION_REPLY_BYTES = 20 // magic u64, option u32, type u32, length u32
/** No option that we know is longer: a name of 4,096 bytes and some queries. */
export const OPTION_MAX_BYTES = 64 * 1024
export const NAME_MAX_BYTES = 4096

export const OPT = { EXPORT_NAME: 1, ABORT: 2, LIST: 3, STARTTLS: 5, INFO: 6, GO: 7, STRUCTURED_REPLY: 8, LIST_META_CONTEXT: 9, SET_META_CONTEXT: 10, EXTENDED_HEADERS: 11 } as const
const ERR = 0x80000000
export const REP = {
  ACK: 1, SERVER: 2, INFO: 3, META_CONTEXT: 4, ERR_UNSUP: ERR + 1, ERR_POLICY: ERR + 2, ERR_INVALID: ERR + 3, ERR_PLATFORM: ERR + 4, ERR_TLS_REQD: ERR + 5,
  ERR_UNKNOWN: ERR + 6, ERR_SHUTDOWN: ERR + 7, ERR_BLOCK_SIZE_REQD: ERR + 8, ERR_TOO_BIG: ERR + 9, ERR_EXT_HEADER_REQD: ERR + 10
} as const
export const INFO = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const

/** Transmission flags: what an export can do. */
export const FLAG = {
  HAS_FLAGS: 1, READ_ONLY: 2, SEND_FLUSH: 4, SEND_FUA: 8, ROTATIONAL: 16, SEND_TRIM: 32, SEND_WRITE_ZEROES: 64, SEND_DF: 128, CAN_MULTI_CONN: 256, SEND_CACHE: 1024, SEND_FAST_ZERO: 2048
} as const

export const BLOCK_MIN_BYTES = 1 // any request is served; whole units are faster
export const BLOCK_PREFERRED_BYTES = 4096
export const PAYLOAD_MAX_BYTES = 32 * 1024 * 1024

export const REQUEST_MAGIC = 0x25609513
export const REQUEST_BYTES = 28 // magic u32, flags u16, type u16, cookie u64, offset u64, length u32
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71
export const EXTENDED_REQUEST_BYTES = 32 // the same, length u64
export const SIMPLE_REPLY_MAGIC = 0x67446698
export const SIMPLE_REPLY_BYTES = 16 // magic u32, error u32, cookie u64
export const CHUNK_MAGIC = 0x668e33ef
export const CHUNK_BYTES = 20 // magic u32, flags u16, type u16, cookie u64, length u32
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c
export const EXTENDED_REPLY_BYTES = 32 // magic u32, flags u16, type u16, cookie u64, offset u64, length u64

export const CMD = { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, CACHE: 5, WRITE_ZEROES: 6, BLOCK_STATUS: 7 } as const
export const CMD_FLAG = { FUA: 1, NO_HOLE: 2, DF: 4, REQ_ONE: 8, FAST_ZERO: 16, PAYLOAD_LEN: 32 } as const
/** The flags that each command knows. FUA may stand on any. */
export const FLAGS_OF: readonly number[] = [CMD_FLAG.DF, 0, 0, 0, 0, 0, CMD_FLAG.NO_HOLE | CMD_FLAG.FAST_ZERO, CMD_FLAG.REQ_ONE].map((flags) => flags | CMD_FLAG.FUA)

export const REPLY_DONE = 1
export const CHUNK = { NONE: 0, OFFSET_DATA: 1, OFFSET_HOLE: 2, BLOCK_STATUS: 5, BLOCK_STATUS_EXT: 6, ERROR: 0x8001, ERROR_OFFSET: 0x8002 } as const

export const BASE_ALLOCATION = 'base:allocation'
export const ALLOCATION_ID = 1
export const STATE_HOLE = 1
export const STATE_ZERO = 2

const NBD_ERROR: Readonly<Record<string, number>> = {
  EPERM: 1, EACCES: 1, EROFS: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, EFBIG: 28, ENOSPC: 28, EDQUOT: 28, EOVERFLOW: 75, EOPNOTSUPP: 95, ESHUTDOWN: 108
}
/** A POSIX error as NBD's: what that does not know is EIO. */
export const nbdError = (code: string): number => NBD_ERROR[code] ?? 5
