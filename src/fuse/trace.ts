/**
 * OGEE_TRACE=fuse: each request as one readable line on stderr when it is answered.
 *     unlink 1/"a" -> 0 41us          create 1/"b" mode 100644 flags 8241 -> 144 bytes 63us         read 7 4096@0 -> EIO 90us
 */
import { errnoName, traceLine, traceOn } from '../sys/index.js'
import * as a from './codec-attr.js'
import * as c from './codec-file.js'
import * as p from './protocol.js'
import type { Request } from './request.js'

export const TRACING: boolean = traceOn('fuse')

const BODY = p.IN_HEADER_BYTES

/** A string of the request as it can be printed; "?" for what is none. */
function quoted(r: Request, at: number): string {
  const b = r.frame.bytes
  let i = at
  while (i < r.end && b[i] !== 0) i++
  r.after = i + 1
  return i < r.end && i > at ? JSON.stringify(b.toString('utf8', at, i)) : '?'
}

const named = (r: Request, at: number): string => `${r.node}/${quoted(r, at)}`

/** What was asked. The body may be shorter than the operation wants: such a request prints as its node alone. */
export function describe(r: Request): string {
  const v = r.frame.view
  const has = (bytes: number): boolean => r.end >= BODY + bytes
  const octal = (n: number): string => n.toString(8)
  switch (r.opcode) {
    case p.LOOKUP: case p.UNLINK: case p.RMDIR: case p.REMOVEXATTR: return named(r, BODY)
    case p.MKNOD: if (has(16)) return `${named(r, BODY + 16)} mode ${octal(c.mknodMode(v, BODY))}`; break
    case p.MKDIR: if (has(8)) return `${named(r, BODY + 8)} mode ${octal(c.mkdirMode(v, BODY))}`; break
    case p.SYMLINK: return `${named(r, BODY)} to ${quoted(r, r.after)}`
    case p.LINK: if (has(8)) return `${c.linkNode(v, BODY)} to ${named(r, BODY + 8)}`; break
    case p.RENAME: if (has(8)) return `${named(r, BODY + 8)} to ${c.renameNewParent(v, BODY)}/${quoted(r, r.after)}`; break
    case p.RENAME2:
      if (has(16)) return `${named(r, BODY + 16)} to ${c.renameNewParent(v, BODY)}/${quoted(r, r.after)} flags ${c.rename2Flags(v, BODY)}`
      break
    case p.CREATE: case p.TMPFILE:
      if (has(16)) return `${named(r, BODY + 16)} mode ${octal(c.createMode(v, BODY))} flags ${octal(c.createFlags(v, BODY))}`
      break
    case p.OPEN: case p.OPENDIR: if (has(8)) return `${r.node} flags ${octal(c.openFlags(v, BODY))}`; break
    case p.READ: case p.WRITE: if (has(40)) return `${r.node} ${c.readSize(v, BODY)}@${c.readOffset(v, BODY)}`; break
    case p.FORGET: if (has(8)) return `${r.node} ${c.forgetCount(v, BODY)}`; break
    case p.BATCH_FORGET: if (has(8)) return `${c.batchForgets(v, BODY)} nodes`; break
    case p.SETATTR: if (has(88)) return `${r.node} valid ${v.getUint32(BODY, true).toString(16)}`; break
    case p.FALLOCATE:
      if (has(32)) return `${r.node} mode ${c.fallocateMode(v, BODY)} ${c.fallocateLength(v, BODY)}@${c.fallocateOffset(v, BODY)}`
      break
    case p.LSEEK: if (has(24)) return `${r.node} ${c.lseekOffset(v, BODY)} whence ${c.lseekWhence(v, BODY)}`; break
    case p.COPY_FILE_RANGE: case p.COPY_FILE_RANGE_64:
      if (has(56)) return `${r.node}@${c.copyFromOffset(v, BODY)} to ${c.copyToNode(v, BODY)}@${c.copyToOffset(v, BODY)} ${c.copyLength(v, BODY)}`
      break
    case p.GETXATTR: if (has(8)) return `${named(r, BODY + 8)} room ${c.getxattrSize(v, BODY)}`; break
    case p.IOCTL: if (has(32)) return `${r.node} ${c.ioctlCommand(v, BODY).toString(16)}`; break
    case p.GETATTR: case p.STATX: if (has(a.GETATTR_IN_BYTES)) return `${r.node}${a.getattrFlags(v, BODY) & 1 ? ` handle ${a.getattrHandle(v, BODY)}` : ''}`; break
    default: break
  }
  return `${r.node}`
}

/** The line that `describe` began. */
export function traceAnswer(r: Request, error: number, length: number, nowUs: number): void {
  const body = length - p.OUT_HEADER_BYTES
  const result = error < 0 ? errnoName(-error) : body > 0 ? `${body} bytes` : '0'
  traceLine('fuse', `${p.opcodeName(r.opcode)} ${r.described} -> ${result} ${Math.round(nowUs - r.startedUs)}us`)
}
