/**
 * Names and what they lead to: LOOKUP, FORGET, CREATE and its like, LINK, RENAME, UNLINK, READLINK.
 * An answer with an entry makes the kernel hold one more reference to its node; FORGET gives references back.
 */
import { ERRNO, O_CREAT, O_DIRECT, O_EXCL, O_TRUNC, PosixError, writeByteString } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import { SET_KILL_SUIDGID, SET_SIZE } from '../vfs/index.js'
import type { Attr, Created, Opened, SetAttr } from '../vfs/index.js'
import { ENTRY_OUT_BYTES, writeEntryOut, writeNoEntryOut } from './codec-attr.js'
import * as c from './codec-file.js'
import * as p from './protocol.js'
import type { Request } from './request.js'
import type { OperationTable, Session } from './session.js'
import { disarming } from './stale.js'

const BODY = p.IN_HEADER_BYTES
const OUT = p.OUT_HEADER_BYTES

function answerEntry(s: Session, r: Request, attr: Attr): void {
  writeEntryOut(s.out.view, OUT, attr, s.shown)
  if (s.answer(r, ENTRY_OUT_BYTES) >= 0) s.lookups.add(attr.ino)
}

function answerLookup(s: Session, r: Request, attr: Attr | undefined): void {
  if (attr !== undefined) answerEntry(s, r, attr)
  else if (s.negativeValidMs === 0) s.answerError(r, ERRNO.ENOENT)
  else {
    writeNoEntryOut(s.out.view, OUT, s.negativeValidMs)
    s.answer(r, ENTRY_OUT_BYTES)
  }
}

/** Where opens do not reach us no RELEASE will come: from here on the kernel's reference alone keeps the file. */
function answerCreated(s: Session, r: Request, created: Created): void {
  const { attr } = created
  writeEntryOut(s.out.view, OUT, attr, s.shown)
  c.writeOpenOut(s.out.view, OUT + ENTRY_OUT_BYTES, s.opens ? created.handle : 0, fileFlags(s, r.asked, created))
  const arrived = s.answer(r, ENTRY_OUT_BYTES + c.OPEN_OUT_BYTES) >= 0
  if (arrived) s.lookups.add(attr.ino)
  if (arrived && s.opens) s.files.set(created.handle, attr.ino)
  else s.releaseUnsent(created.handle, attr.ino)
}

/**
 * What the kernel may do with an open file. With O_DIRECT nothing is cached, so that writes may run side by side: that needs
 * its opens to be told to us, all of them, or one file is open in two ways that exclude each other.
 */
export function fileFlags(s: Session, openFlags: number, opened: Opened): number {
  if (s.opens && (openFlags & O_DIRECT) !== 0 && s.directIo) return p.FOPEN_DIRECT_IO | p.FOPEN_PARALLEL_DIRECT_WRITES
  if (opened.isDirect === true) return p.FOPEN_DIRECT_IO | p.FOPEN_PARALLEL_DIRECT_WRITES
  return opened.keepCache ? p.FOPEN_KEEP_CACHE : 0
}

const TRUNCATE_AND_KILL: SetAttr = {
  valid: SET_SIZE | SET_KILL_SUIDGID, sizeBytes: 0, mode: 0, uid: 0, gid: 0,
  atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0
}

/** O_TRUNC by a caller who may not keep the setuid bits (OPEN_KILL_SUIDGID): vfs.open has no word for it, setattr has. */
export async function truncateOpened<T extends Opened>(s: Session, ctx: Context, node: number, opened: T): Promise<T> {
  try {
    await disarming(s, ctx, node, () => s.vfs.setattr(ctx, node, TRUNCATE_AND_KILL, opened.handle))
  } catch (e) {
    s.releaseUnsent(opened.handle, node)
    throw e
  }
  return opened
}

async function createTruncating(s: Session, ctx: Context, parent: number, name: string, mode: number, umask: number,
  flags: number): Promise<Created> {
  const created = await s.vfs.create(ctx, parent, name, mode, umask, flags & ~O_TRUNC)
  if (created.attr.sizeBytes === 0) return created
  const node = created.attr.ino
  await truncateOpened(s, ctx, node, created)
  return { ...created, attr: await s.vfs.getattr(ctx, node, created.handle) }
}

function create(s: Session, r: Request): void {
  // the kernel makes the node, then asks for an OPEN and learns that none is needed: from then on no RELEASE comes either
  if (!s.opens) return s.answerError(r, ERRNO.ENOSYS)
  const v = r.frame.view
  const flags = c.createFlags(v, BODY)
  const kills = (flags & O_TRUNC) !== 0 && (c.createFuseFlags(v, BODY) & p.OPEN_KILL_SUIDGID) !== 0
  const name = r.name(BODY + c.CREATE_IN_BYTES)
  const mode = c.createMode(v, BODY)
  const umask = c.createUmask(v, BODY)
  r.asked = flags
  s.settle(r, kills ? createTruncating(s, r.ctx, r.node, name, mode, umask, flags)
    : s.vfs.create(r.ctx, r.node, name, mode, umask, flags), answerCreated)
}

function tmpfile(s: Session, r: Request): void {
  const v = r.frame.view
  r.asked = c.createFlags(v, BODY)
  const flags = r.asked & ~(O_CREAT | O_EXCL)
  s.settle(r, s.vfs.tmpfile(r.ctx, r.node, c.createMode(v, BODY), c.createUmask(v, BODY), flags), answerCreated)
}

function rename(s: Session, r: Request, namesAt: number, flags: number): void {
  const newParent = c.renameNewParent(r.frame.view, BODY)
  const name = r.name(namesAt)
  const newName = r.name(r.after)
  s.settle(r, s.vfs.rename(r.ctx, r.node, name, newParent, newName, flags), s.answerNothing)
}

function batchForget(s: Session, r: Request): void {
  const v = r.frame.view
  let left = c.batchForgets(v, BODY)
  const end = r.end - c.FORGET_ONE_BYTES
  for (let at = BODY + c.BATCH_FORGET_IN_BYTES; left > 0 && at <= end; at += c.FORGET_ONE_BYTES, left--)
    s.lookups.remove(c.forgetOneNode(v, at), c.forgetOneCount(v, at))
}

export const nameOperations: OperationTable = [
  [p.LOOKUP, { bodyBytes: 1, run: (s, r) => s.settle(r, s.vfs.lookup(r.ctx, r.node, r.name(BODY)), answerLookup) }],
  [p.FORGET, { bodyBytes: c.FORGET_IN_BYTES, silent: true,
    run: (s, r) => s.lookups.remove(r.node, c.forgetCount(r.frame.view, BODY)) }],
  [p.BATCH_FORGET, { bodyBytes: c.BATCH_FORGET_IN_BYTES, silent: true, run: batchForget }],

  [p.MKNOD, { bodyBytes: c.MKNOD_IN_BYTES + 1, creates: true, run(s, r) {
    const v = r.frame.view
    const name = r.name(BODY + c.MKNOD_IN_BYTES)
    s.settle(r, s.vfs.mknod(r.ctx, r.node, name, c.mknodMode(v, BODY), c.mknodRdev(v, BODY), c.mknodUmask(v, BODY)), answerEntry)
  } }],
  [p.MKDIR, { bodyBytes: c.MKDIR_IN_BYTES + 1, creates: true, run(s, r) {
    const v = r.frame.view
    const name = r.name(BODY + c.MKDIR_IN_BYTES)
    s.settle(r, s.vfs.mkdir(r.ctx, r.node, name, c.mkdirMode(v, BODY), c.mkdirUmask(v, BODY)), answerEntry)
  } }],
  [p.SYMLINK, { bodyBytes: 2, creates: true, run(s, r) {
    const name = r.name(BODY)
    const target = r.text(r.after)
    s.settle(r, s.vfs.symlink(r.ctx, r.node, name, target), answerEntry)
  } }],
  [p.LINK, { bodyBytes: c.LINK_IN_BYTES + 1, run(s, r) {
    const name = r.name(BODY + c.LINK_IN_BYTES)
    s.settle(r, s.vfs.link(r.ctx, c.linkNode(r.frame.view, BODY), r.node, name), answerEntry)
  } }],
  [p.CREATE, { bodyBytes: c.CREATE_IN_BYTES + 1, creates: true, run: create }],
  [p.TMPFILE, { bodyBytes: c.CREATE_IN_BYTES, creates: true, run: tmpfile }],

  [p.UNLINK, { bodyBytes: 1, run: (s, r) => s.settle(r, s.vfs.unlink(r.ctx, r.node, r.name(BODY)), s.answerNothing) }],
  [p.RMDIR, { bodyBytes: 1, run: (s, r) => s.settle(r, s.vfs.rmdir(r.ctx, r.node, r.name(BODY)), s.answerNothing) }],
  [p.RENAME, { bodyBytes: c.RENAME_IN_BYTES + 2, run: (s, r) => rename(s, r, BODY + c.RENAME_IN_BYTES, 0) }],
  [p.RENAME2, { bodyBytes: c.RENAME2_IN_BYTES + 2, creates: true, // a whiteout is a new inode
    run: (s, r) => rename(s, r, BODY + c.RENAME2_IN_BYTES, c.rename2Flags(r.frame.view, BODY)) }],

  [p.READLINK, { bodyBytes: 0, run: (s, r) => s.settle(r, s.vfs.readlink(r.ctx, r.node), answerTarget) }]
]

const TARGET_BYTES_MAX = 4095

function answerTarget(s: Session, r: Request, target: string): void {
  if (target.length > TARGET_BYTES_MAX) throw new PosixError('ENAMETOOLONG')
  s.answer(r, writeByteString(s.out.bytes, OUT, target))
}
