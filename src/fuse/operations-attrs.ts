/** Attributes of a node and of the file system: GETATTR, STATX, SETATTR, ACCESS, xattrs, inode flags (IOCTL), STATFS. */
import { ERRNO, PosixError, writeByteString } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { Attr, Statfs } from '../vfs/index.js'
import * as a from './codec-attr.js'
import * as c from './codec-file.js'
import { FSXATTR_BYTES, flagsOfFsxattr, isBeyondUs, isGetFlags, isGetFsxattr, isSetFlags, isSetFsxattr, writeFsxattr } from './codec-flags.js'
import * as p from './protocol.js'
import type { Request } from './request.js'
import type { OperationTable, Session } from './session.js'
import { forgotten } from './stale.js'

const BODY = p.IN_HEADER_BYTES
const OUT = p.OUT_HEADER_BYTES

function answerAttr(s: Session, r: Request, attr: Attr): void {
  a.writeAttrOut(s.out.view, OUT, attr, s.shown)
  s.answer(r, a.ATTR_OUT_BYTES)
}

function answerStatx(s: Session, r: Request, attr: Attr): void {
  a.writeStatxOut(s.out.view, OUT, attr, s.shown)
  s.answer(r, a.STATX_OUT_BYTES)
}

const namedHandle = (v: DataView): number =>
  (a.getattrFlags(v, BODY) & p.GETATTR_FH) !== 0 ? a.getattrHandle(v, BODY) : 0

function setattr(s: Session, r: Request): void {
  const set = r.setAttr
  set.read(r.frame.view, BODY)
  const handle = (set.valid & p.FATTR_FH) !== 0 ? set.handle : 0
  set.valid &= p.FATTR_FOR_VFS
  s.settle(r, s.vfs.setattr(r.ctx, r.node, set, handle), answerAttr)
}

function answerStatfs(s: Session, r: Request, statfs: Statfs): void {
  c.writeStatfsOut(s.out.view, OUT, statfs)
  s.answer(r, c.STATFS_OUT_BYTES)
}

// ------------------------------------------------------------------------------------------------------------- xattrs

function setxattr(s: Session, r: Request): void {
  const v = r.frame.view
  const head = s.setxattrExtended ? c.SETXATTR_EXT_IN_BYTES : c.SETXATTR_IN_BYTES
  r.need(BODY, head)
  const size = c.setxattrSize(v, BODY)
  const name = r.text(BODY + head)
  if (size > p.XATTR_BYTES_MAX) throw new PosixError('E2BIG')
  r.need(r.after, size)
  const killSgid = s.setxattrExtended && (c.setxattrFuseFlags(v, BODY) & p.SETXATTR_ACL_KILL_SGID) !== 0
  const value = r.frame.bytes.subarray(r.after, r.after + size)
  s.settle(r, s.vfs.setxattr(r.ctx, r.node, name, value, c.setxattrFlags(v, BODY), killSgid), s.answerNothing)
}

/** Asked with size 0 the kernel wants the length alone; with too little room, ERANGE. */
function answerLength(s: Session, r: Request, length: number): boolean {
  if (r.asked === 0) {
    c.writeGetxattrOut(s.out.view, OUT, length)
    s.answer(r, c.GETXATTR_OUT_BYTES)
    return true
  }
  if (length > r.asked || length > p.XATTR_BYTES_MAX) throw new PosixError('ERANGE')
  return false
}

function answerXattr(s: Session, r: Request, value: Uint8Array | undefined): void {
  if (value === undefined) return s.answerError(r, ERRNO.ENODATA)
  if (answerLength(s, r, value.length)) return
  s.out.bytes.set(value, OUT)
  s.answer(r, value.length)
}

function answerXattrNames(s: Session, r: Request, names: readonly string[]): void {
  let length = 0
  for (const name of names) length += name.length + 1
  if (answerLength(s, r, length)) return
  const out = s.out.bytes
  let at = OUT
  for (const name of names) {
    at += writeByteString(out, at, name)
    out[at++] = 0
  }
  s.answer(r, length)
}

// -------------------------------------------------------------------------------------------------------- inode flags

function answerFlags(s: Session, r: Request, flags: number): void {
  const v = s.out.view
  c.writeIoctlOut(v, OUT, 0)
  for (let i = 0; i < r.asked; i += 4) v.setUint32(OUT + c.IOCTL_OUT_BYTES + i, 0, true)
  v.setUint32(OUT + c.IOCTL_OUT_BYTES, flags, true)
  s.answer(r, c.IOCTL_OUT_BYTES + r.asked)
}

function answerFsxattr(s: Session, r: Request, flags: number): void {
  c.writeIoctlOut(s.out.view, OUT, 0)
  writeFsxattr(s.out.view, OUT + c.IOCTL_OUT_BYTES, flags)
  s.answer(r, c.IOCTL_OUT_BYTES + FSXATTR_BYTES)
}

function answerIoctlDone(s: Session, r: Request): void {
  c.writeIoctlOut(s.out.view, OUT, 0)
  s.answer(r, c.IOCTL_OUT_BYTES)
}

async function setFsxattr(s: Session, ctx: Context, node: number, read: (before: number) => number): Promise<void> {
  await s.vfs.setflags(ctx, node, read(await s.vfs.getflags(ctx, node)))
}

function ioctl(s: Session, r: Request): void {
  const v = r.frame.view
  const command = c.ioctlCommand(v, BODY)
  const inSize = c.ioctlInSize(v, BODY)
  const outSize = c.ioctlOutSize(v, BODY)
  const data = BODY + c.IOCTL_IN_BYTES
  r.need(data, inSize)
  if (isGetFlags(command)) {
    if (outSize !== 4 && outSize !== 8) throw new PosixError('EINVAL')
    r.asked = outSize
    s.settle(r, s.vfs.getflags(r.ctx, r.node), answerFlags)
  } else if (isSetFlags(command)) {
    if (inSize !== 4 && inSize !== 8) throw new PosixError('EINVAL')
    s.settle(r, forgotten(s, r.node, s.vfs.setflags(r.ctx, r.node, v.getUint32(data, true))), answerIoctlDone)
  } else if (isGetFsxattr(command)) {
    if (outSize !== FSXATTR_BYTES) throw new PosixError('EINVAL')
    s.settle(r, s.vfs.getflags(r.ctx, r.node), answerFsxattr)
  } else if (isSetFsxattr(command)) {
    if (inSize !== FSXATTR_BYTES) throw new PosixError('EINVAL')
    if (isBeyondUs(v, data)) throw new PosixError('EOPNOTSUPP')
    const asked = v.getUint32(data, true)
    s.settle(r, forgotten(s, r.node, setFsxattr(s, r.ctx, r.node, (before) => flagsOfFsxattr(asked, before))), answerIoctlDone)
  } else s.answerError(r, ERRNO.ENOTTY)
}

export const attrOperations: OperationTable = [
  [p.GETATTR, { bodyBytes: a.GETATTR_IN_BYTES, run: (s, r) =>
    s.settle(r, s.vfs.getattr(r.ctx, r.node, namedHandle(r.frame.view)), answerAttr) }],
  [p.STATX, { bodyBytes: a.STATX_IN_BYTES, run: (s, r) =>
    s.settle(r, s.vfs.getattr(r.ctx, r.node, namedHandle(r.frame.view)), answerStatx) }],
  [p.SETATTR, { bodyBytes: a.SETATTR_IN_BYTES, run: setattr }],
  [p.ACCESS, { bodyBytes: c.ACCESS_IN_BYTES, run: (s, r) =>
    s.settle(r, s.vfs.access(r.ctx, r.node, c.accessMask(r.frame.view, BODY)), s.answerNothing) }],
  [p.STATFS, { bodyBytes: 0, run: (s, r) => s.settle(r, s.vfs.statfs(r.ctx, r.node), answerStatfs) }],

  [p.SETXATTR, { bodyBytes: c.SETXATTR_IN_BYTES, run: setxattr, keepsFrame: true }],
  [p.GETXATTR, { bodyBytes: c.GETXATTR_IN_BYTES + 1, run(s, r) {
    r.asked = c.getxattrSize(r.frame.view, BODY)
    s.settle(r, s.vfs.getxattr(r.ctx, r.node, r.text(BODY + c.GETXATTR_IN_BYTES)), answerXattr)
  } }],
  [p.LISTXATTR, { bodyBytes: c.GETXATTR_IN_BYTES, run(s, r) {
    r.asked = c.getxattrSize(r.frame.view, BODY)
    s.settle(r, s.vfs.listxattr(r.ctx, r.node), answerXattrNames)
  } }],
  [p.REMOVEXATTR, { bodyBytes: 1, run: (s, r) =>
    s.settle(r, s.vfs.removexattr(r.ctx, r.node, r.text(BODY)), s.answerNothing) }],

  [p.IOCTL, { bodyBytes: c.IOCTL_IN_BYTES, run: ioctl }]
]
