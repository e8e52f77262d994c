/** Open files and directories: OPEN to RELEASE, READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, READDIR. */
import { ERRNO, O_APPEND, O_CREAT, O_DIRECT, O_DSYNC, O_EXCL, O_SYNC, O_TRUNC, PosixError, set64 } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { Opened } from '../vfs/index.js'
import * as c from './codec-file.js'
import { fileFlags, truncateOpened } from './operations-names.js'
import * as p from './protocol.js'
import type { Request } from './request.js'
import type { OperationTable, Session } from './session.js'
import { bypassing, disarming, forgotten, noteRead } from './stale.js'

const BODY = p.IN_HEADER_BYTES
const OUT = p.OUT_HEADER_BYTES

function answerOpen(s: Session, r: Request, opened: Opened): void {
  c.writeOpenOut(s.out.view, OUT, opened.handle, fileFlags(s, r.asked, opened))
  if (s.answer(r, c.OPEN_OUT_BYTES) < 0) s.releaseUnsent(opened.handle, r.node)
  else s.files.set(opened.handle, r.node)
}

async function openTruncating(s: Session, ctx: Context, node: number, flags: number): Promise<Opened> {
  return truncateOpened(s, ctx, node, await s.vfs.open(ctx, node, flags & ~O_TRUNC))
}

function open(s: Session, r: Request): void {
  if (!s.opens) return s.answerError(r, ERRNO.ENOSYS) // the kernel does not ask again
  const v = r.frame.view
  const flags = c.openFlags(v, BODY) & ~(O_CREAT | O_EXCL)
  const kills = (flags & O_TRUNC) !== 0 && (c.openFuseFlags(v, BODY) & p.OPEN_KILL_SUIDGID) !== 0
  r.asked = flags
  s.settle(r, kills ? openTruncating(s, r.ctx, r.node, flags) : s.vfs.open(r.ctx, r.node, flags), answerOpen)
}

function answerOpendir(s: Session, r: Request, opened: Opened): void {
  c.writeOpenOut(s.out.view, OUT, opened.handle, opened.keepCache ? p.FOPEN_CACHE_DIR | p.FOPEN_KEEP_CACHE : 0)
  if (s.answer(r, c.OPEN_OUT_BYTES) < 0) s.releaseUnsentDirectory(opened.handle, r.node)
  else s.directories.set(opened.handle, r.node)
}

function release(s: Session, r: Request): void {
  const handle = c.handleOf(r.frame.view, BODY)
  s.files.delete(handle)
  s.settle(r, s.vfs.release(r.ctx, r.node, handle), s.answerNothing)
}

function releasedir(s: Session, r: Request): void {
  const handle = c.handleOf(r.frame.view, BODY)
  s.directories.delete(handle)
  s.settle(r, s.vfs.releasedir(r.ctx, r.node, handle), s.answerNothing)
}

function answerRead(s: Session, r: Request, bytes: number): void {
  s.answerFrame(r, OUT + bytes)
}

function read(s: Session, r: Request): void {
  const v = r.frame.view
  const size = c.readSize(v, BODY)
  if (size > p.TRANSFER_BYTES_MAX) throw new PosixError('EINVAL')
  const reply = s.frames.takeReply(OUT + size)
  r.reply = reply
  const flags = c.readOpenFlags(v, BODY)
  noteRead(s, r.node, flags)
  s.settle(r, s.vfs.read(r.ctx, r.node, c.handleOf(v, BODY), c.readOffset(v, BODY), size, reply.bytes, OUT, flags), answerRead)
}

function answerWritten(s: Session, r: Request, bytes: number): void {
  c.writeWriteOut(s.out.view, OUT, bytes)
  s.answer(r, c.WRITE_OUT_BYTES)
}

const HOW = [
  { killSuidgid: false, append: false }, { killSuidgid: true, append: false },
  { killSuidgid: false, append: true }, { killSuidgid: true, append: true }
]
const O_SYNC_ONLY = O_SYNC & ~O_DSYNC

/** O_SYNC and O_DSYNC: the kernel leaves it to us that the bytes are durable before the answer. */
async function writeSynced(s: Session, ctx: Context, node: number, handle: number, offset: number, from: Uint8Array,
  at: number, size: number, how: (typeof HOW)[number], flags: number): Promise<number> {
  const bytes = await s.vfs.write(ctx, node, handle, offset, from, at, size, how)
  await s.vfs.fsync(ctx, node, handle, (flags & O_SYNC_ONLY) === 0)
  return bytes
}

function write(s: Session, r: Request): void {
  const v = r.frame.view
  const size = c.writeSize(v, BODY)
  const at = BODY + c.WRITE_IN_BYTES
  if (size > p.TRANSFER_BYTES_MAX) throw new PosixError('EINVAL')
  r.need(at, size)
  const fuseFlags = c.writeFuseFlags(v, BODY)
  const cached = (fuseFlags & p.WRITE_CACHE) !== 0 // pages of the cache: they have a place, even if the open file that is named appends
  const flags = cached ? 0 : c.writeOpenFlags(v, BODY)
  const kills = (fuseFlags & p.WRITE_KILL_SUIDGID) !== 0
  const how = HOW[(kills ? 1 : 0) + ((flags & O_APPEND) !== 0 ? 2 : 0)]
  const handle = cached ? 0 : c.handleOf(v, BODY)
  const offset = c.writeOffset(v, BODY)
  const from = r.frame.bytes
  const { ctx, node } = r
  const written = (): number | Promise<number> => ((flags & O_DSYNC) !== 0 ? writeSynced(s, ctx, node, handle, offset, from, at, size, how, flags)
    : s.vfs.write(ctx, node, handle, offset, from, at, size, how))
  const changed = kills ? disarming(s, ctx, node, written) : written()
  s.settle(r, (flags & O_DIRECT) !== 0 ? bypassing(s, node, changed) : changed, answerWritten)
}

function answerSeek(s: Session, r: Request, offset: number): void {
  set64(s.out.view, OUT, offset)
  s.answer(r, 8)
}

function lseek(s: Session, r: Request): void {
  const v = r.frame.view
  const whence = c.lseekWhence(v, BODY)
  if (whence !== 3 && whence !== 4) throw new PosixError('EINVAL') // SEEK_DATA and SEEK_HOLE; the kernel does the others
  s.settle(r, s.vfs.lseek(r.ctx, r.node, c.handleOf(v, BODY), c.lseekOffset(v, BODY), whence), answerSeek)
}

const COPY_BYTES_MAX = 0x7ffff000 // what one call of the kernel moves at most, and what fits the 32-bit answer

function answerCopied(s: Session, r: Request, bytes: number): void {
  set64(s.out.view, OUT, bytes) // as fuse_write_out it reads the same: a size, and zeros
  s.answer(r, 8)
}

function copy(s: Session, r: Request): void {
  const v = r.frame.view
  if (c.copyFlags(v, BODY) !== 0) throw new PosixError('EINVAL')
  const { ctx, node } = r
  const [fromHandle, fromOffset, toNode, toHandle, toOffset] =
    [c.copyFromHandle(v, BODY), c.copyFromOffset(v, BODY), c.copyToNode(v, BODY), c.copyToHandle(v, BODY), c.copyToOffset(v, BODY)]
  const length = Math.min(c.copyLength(v, BODY), COPY_BYTES_MAX)
  const copied = (): number | Promise<number> => s.vfs.copyFileRange(ctx, node, fromHandle, fromOffset, toNode, toHandle, toOffset, length)
  s.settle(r, forgotten(s, node, ctx.uid === 0 ? copied() : disarming(s, ctx, toNode, copied)), answerCopied) // the source's atime moves
}

function answerDirectory(s: Session, r: Request): void {
  if (s.answerFrame(r, r.directory.at) >= 0) for (const node of r.directory.nodes) s.lookups.add(node)
}

function readdir(s: Session, r: Request, plus: boolean): void {
  const v = r.frame.view
  const size = c.readSize(v, BODY)
  if (size > p.TRANSFER_BYTES_MAX) throw new PosixError('EINVAL')
  const reply = s.frames.takeReply(OUT + size)
  r.reply = reply
  r.directory.begin(reply, size, plus, s.shown)
  s.settle(r, s.vfs.readdir(r.ctx, r.node, c.handleOf(v, BODY), c.readCookieHigh(v, BODY), c.readCookieLow(v, BODY),
    r.directory, plus), answerDirectory)
}

const dataOnly = (r: Request): boolean => (c.fsyncFlags(r.frame.view, BODY) & p.FSYNC_FDATASYNC) !== 0

export const fileOperations: OperationTable = [
  [p.OPEN, { bodyBytes: c.OPEN_IN_BYTES, run: open }],
  [p.READ, { bodyBytes: c.READ_IN_BYTES, run: read }],
  [p.WRITE, { bodyBytes: c.WRITE_IN_BYTES, run: write, keepsFrame: true }],
  [p.FLUSH, { bodyBytes: c.FLUSH_IN_BYTES, run(s, r) {
    if (!s.opens) s.answerError(r, ERRNO.ENOSYS) // nothing to report by open file; the kernel does not ask again
    else s.settle(r, s.vfs.flush(r.ctx, r.node, c.handleOf(r.frame.view, BODY)), s.answerNothing)
  } }],
  [p.RELEASE, { bodyBytes: c.RELEASE_IN_BYTES, run: release }],
  [p.FSYNC, { bodyBytes: c.FSYNC_IN_BYTES, run: (s, r) =>
    s.settle(r, s.vfs.fsync(r.ctx, r.node, c.handleOf(r.frame.view, BODY), dataOnly(r)), s.answerNothing) }],
  [p.FALLOCATE, { bodyBytes: c.FALLOCATE_IN_BYTES, run(s, r) {
    const v = r.frame.view
    const { ctx, node } = r
    const [handle, mode, offset, length] = [c.handleOf(v, BODY), c.fallocateMode(v, BODY), c.fallocateOffset(v, BODY), c.fallocateLength(v, BODY)]
    const changed = (): void | Promise<void> => s.vfs.fallocate(ctx, node, handle, mode, offset, length)
    s.settle(r, ctx.uid === 0 ? changed() : disarming(s, ctx, node, changed), s.answerNothing)
  } }],
  [p.LSEEK, { bodyBytes: c.LSEEK_IN_BYTES, run: lseek }],
  [p.COPY_FILE_RANGE, { bodyBytes: c.COPY_IN_BYTES, run: copy }],
  [p.COPY_FILE_RANGE_64, { bodyBytes: c.COPY_IN_BYTES, run: copy }],

  [p.OPENDIR, { bodyBytes: c.OPEN_IN_BYTES, run(s, r) {
    if (!s.opens) s.answerError(r, ERRNO.ENOSYS)
    else s.settle(r, s.vfs.opendir(r.ctx, r.node), answerOpendir)
  } }],
  [p.READDIR, { bodyBytes: c.READ_IN_BYTES, run: (s, r) => readdir(s, r, false) }],
  [p.READDIRPLUS, { bodyBytes: c.READ_IN_BYTES, run: (s, r) => readdir(s, r, true) }],
  [p.RELEASEDIR, { bodyBytes: c.RELEASE_IN_BYTES, run: releasedir }],
  [p.FSYNCDIR, { bodyBytes: c.FSYNC_IN_BYTES, run: (s, r) =>
    s.settle(r, s.vfs.fsyncdir(r.ctx, r.node, c.handleOf(r.frame.view, BODY), dataOnly(r)), s.answerNothing) }]
]
