/**
 * Errors are errno: the closed list of Linux (the same numbers on x86-64 and arm64), and the error class that carries one.
 *   - System calls here never throw: they return a result >= 0 or the negative errno. `check` turns one into a SysError.
 *   - Above sys, an operation that fails throws a PosixError. It is cheap: no stack trace unless OGEE_CHECK=1.
 *   - Whatever else is thrown is a mistake of ours: `errnoOf` answers EIO for it and tells the hook, once per throw.
 */
import { CHECKS } from './check.js'

export const ERRNO = {
  EPERM: 1, ENOENT: 2, ESRCH: 3, EINTR: 4, EIO: 5, ENXIO: 6, E2BIG: 7, ENOEXEC: 8, EBADF: 9, ECHILD: 10, EAGAIN: 11,
  ENOMEM: 12, EACCES: 13, EFAULT: 14, ENOTBLK: 15, EBUSY: 16, EEXIST: 17, EXDEV: 18, ENODEV: 19, ENOTDIR: 20,
  EISDIR: 21, EINVAL: 22, ENFILE: 23, EMFILE: 24, ENOTTY: 25, ETXTBSY: 26, EFBIG: 27, ENOSPC: 28, ESPIPE: 29,
  EROFS: 30, EMLINK: 31, EPIPE: 32, EDOM: 33, ERANGE: 34, EDEADLK: 35, ENAMETOOLONG: 36, ENOLCK: 37, ENOSYS: 38,
  ENOTEMPTY: 39, ELOOP: 40, ENOMSG: 42, EIDRM: 43, ECHRNG: 44, EL2NSYNC: 45, EL3HLT: 46, EL3RST: 47, ELNRNG: 48,
  EUNATCH: 49, ENOCSI: 50, EL2HLT: 51, EBADE: 52, EBADR: 53, EXFULL: 54, ENOANO: 55, EBADRQC: 56, EBADSLT: 57,
  EBFONT: 59, ENOSTR: 60, ENODATA: 61, ETIME: 62, ENOSR: 63, ENONET: 64, ENOPKG: 65, EREMOTE: 66, ENOLINK: 67,
  EADV: 68, ESRMNT: 69, ECOMM: 70, EPROTO: 71, EMULTIHOP: 72, EDOTDOT: 73, EBADMSG: 74, EOVERFLOW: 75, ENOTUNIQ: 76,
  EBADFD: 77, EREMCHG: 78, ELIBACC: 79, ELIBBAD: 80, ELIBSCN: 81, ELIBMAX: 82, ELIBEXEC: 83, EILSEQ: 84,
  ERESTART: 85, ESTRPIPE: 86, EUSERS: 87, ENOTSOCK: 88, EDESTADDRREQ: 89, EMSGSIZE: 90, EPROTOTYPE: 91,
  ENOPROTOOPT: 92, EPROTONOSUPPORT: 93, ESOCKTNOSUPPORT: 94, EOPNOTSUPP: 95, EPFNOSUPPORT: 96, EAFNOSUPPORT: 97,
  EADDRINUSE: 98, EADDRNOTAVAIL: 99, ENETDOWN: 100, ENETUNREACH: 101, ENETRESET: 102, ECONNABORTED: 103,
  ECONNRESET: 104, ENOBUFS: 105, EISCONN: 106, ENOTCONN: 107, ESHUTDOWN: 108, ETOOMANYREFS: 109, ETIMEDOUT: 110,
  ECONNREFUSED: 111, EHOSTDOWN: 112, EHOSTUNREACH: 113, EALREADY: 114, EINPROGRESS: 115, ESTALE: 116, EUCLEAN: 117,
  ENOTNAM: 118, ENAVAIL: 119, EISNAM: 120, EREMOTEIO: 121, EDQUOT: 122, ENOMEDIUM: 123, EMEDIUMTYPE: 124,
  ECANCELED: 125, ENOKEY: 126, EKEYEXPIRED: 127, EKEYREVOKED: 128, EKEYREJECTED: 129, EOWNERDEAD: 130,
  ENOTRECOVERABLE: 131, ERFKILL: 132, EHWPOISON: 133
} as const

export type ErrnoName = keyof typeof ERRNO

const nameOf = new Map<number, ErrnoName>()
for (const name of Object.keys(ERRNO) as ErrnoName[]) nameOf.set(ERRNO[name], name)

/** The name of a positive errno; a number that Linux does not define reads as EIO. */
export const errnoName = (errno: number): ErrnoName => nameOf.get(errno) ?? 'EIO'

export class PosixError extends Error {
  readonly code: ErrnoName
  readonly errno: number // positive

  constructor(code: ErrnoName, message: string = code) {
    const limit = Error.stackTraceLimit
    if (!CHECKS) Error.stackTraceLimit = 0
    super(message)
    Error.stackTraceLimit = limit
    this.code = code
    this.errno = ERRNO[code]
  }
}

/** A system call that failed where it should not: says which call and on what. */
export class SysError extends PosixError {
  readonly call: string

  constructor(call: string, errno: number, what?: string) {
    const code = errnoName(errno)
    super(code, what === undefined ? `${call}: ${code}` : `${call} ${what}: ${code}`)
    this.call = call
  }
}

/** Passes a result on, throws a SysError for a negative errno. */
export function check(rc: number, call: string, what?: string): number {
  if (rc < 0) throw new SysError(call, -rc, what)
  return rc
}

let unknownErrorHook: (e: unknown) => void = (e) => {
  const text = e instanceof Error ? (e.stack ?? e.message) : String(e)
  process.stderr.write(`ogee: unexpected error, answered as EIO: ${text}\n`)
}

/** Sets what learns of errors that carry no errno; returns the hook that was there before. */
export function onUnknownError(hook: (e: unknown) => void): (e: unknown) => void {
  const before = unknownErrorHook
  unknownErrorHook = hook
  return before
}

/** The positive errno of whatever was thrown. Errors of node:fs carry theirs negated. */
export function errnoOf(e: unknown): number {
  if (e instanceof PosixError) return e.errno
  if (e instanceof Error && 'errno' in e && typeof e.errno === 'number') {
    const errno = Math.abs(e.errno)
    if (nameOf.has(errno)) return errno
  }
  unknownErrorHook(e)
  return ERRNO.EIO
}
