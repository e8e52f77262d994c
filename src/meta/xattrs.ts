/**
 * Extended attributes, as far as the kernel leaves their rules to us (xattr(7), fs/xattr.c, fs/posix_acl.c).
 *   - user.* on files and directories only; trusted.* and security.* for root; system.* are the two ACLs and nothing else.
 *   - The access ACL and the mode's bits say the same after every change; an ACL that says nothing more than the mode is not kept.
 *   - A value has at most 64 KiB, a name 255 bytes.
 */
import type { Tx } from '../engine/index.js'
import { demand, fail, isAppendOnly, isImmutable, isOwnerOrRoot, isRoot, MAY_WRITE } from './access.js'
import { ACL_ACCESS, ACL_DEFAULT, decodeAcl, encodeAcl, modeOfAcl } from './acl.js'
import { setDirectoryTimes } from './directory.js'
import { encodeChange } from './events.js'
import { isDirectory, isRegular, isSymlink } from './inode.js'
import type { StoredInode } from './inode.js'
import { xattrKey } from './keys.js'
import type { Op } from './words.js'
import type { Domain } from './rows.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'
import { CAPABILITY, domainOf, inodeNow, putXattr, S_ISGID, updateInode } from './write.js'

export const XATTR_CREATE = 1
export const XATTR_REPLACE = 2
const VALUE_MAX_BYTES = 65536
const NAME_MAX_BYTES = 255
const S_ISVTX = 0o1000

/** ERANGE (name), E2BIG, EINVAL, EPERM, EACCES, EOPNOTSUPP, EEXIST (CREATE), ENODATA (REPLACE). */
export function* setxattr(tx: Tx, op: Op, ino: number, name: string, value: Uint8Array, flags: number, killSgid: boolean): Steps<void> {
  if ((flags & ~3) !== 0) fail('EINVAL')
  if (value.length > VALUE_MAX_BYTES) fail('E2BIG')
  const inode = yield* mayChange(tx, op, ino, name)
  const domain = yield* domainOf(tx, inode.domain)
  yield* demandFlags(tx, ino, name, flags)
  if (name === ACL_ACCESS || name === ACL_DEFAULT) yield* setAcl(tx, op, domain, inode, name, value, killSgid)
  else {
    yield* putXattr(tx, domain, ino, name, value)
    yield* changed(tx, op, domain, inode, name, { hasXattrs: true, hasCapability: inode.hasCapability || name === CAPABILITY })
  }
}

/** ENODATA, and the errors of setxattr. */
export function* removexattr(tx: Tx, op: Op, ino: number, name: string): Steps<void> {
  const inode = yield* mayChange(tx, op, ino, name)
  const domain = yield* domainOf(tx, inode.domain)
  yield* demandFlags(tx, ino, name, XATTR_REPLACE)
  yield* putXattr(tx, domain, ino, name, undefined)
  yield* changed(tx, op, domain, inode, name, {
    hasAccessAcl: inode.hasAccessAcl && name !== ACL_ACCESS,
    hasDefaultAcl: inode.hasDefaultAcl && name !== ACL_DEFAULT,
    hasCapability: inode.hasCapability && name !== CAPABILITY
  })
}

function* demandFlags(tx: Tx, ino: number, name: string, flags: number): Steps<void> {
  if (flags === 0) return
  const exists = (yield* wait(tx.get(xattrKey(ino, name)))) !== undefined
  if ((flags & XATTR_CREATE) !== 0 && exists) fail('EEXIST')
  if ((flags & XATTR_REPLACE) !== 0 && !exists) fail('ENODATA')
}

/** xattr_permission, with what it leaves to the file system and to the capability module. */
function* mayChange(tx: Tx, op: Op, ino: number, name: string): Steps<StoredInode> {
  if (name.length === 0 || name.length > NAME_MAX_BYTES) fail('ERANGE')
  const inode = yield* inodeNow(tx, ino)
  if (isImmutable(inode) || isAppendOnly(inode)) fail('EPERM')
  const { ctx } = op
  if (name.startsWith('user.')) {
    if (!isRegular(inode) && !isDirectory(inode)) fail('EPERM')
    if (isDirectory(inode) && (inode.mode & S_ISVTX) !== 0 && !isOwnerOrRoot(ctx, inode)) fail('EPERM')
    yield* demand(tx, op, inode, MAY_WRITE)
  } else if (name.startsWith('trusted.')) {
    if (op.check && !isRoot(ctx)) fail('EPERM')
  } else if (name.startsWith('security.')) {
    if (op.check && !isRoot(ctx)) fail('EPERM')
  } else if (name === ACL_ACCESS || name === ACL_DEFAULT) {
    if (isSymlink(inode)) fail('EOPNOTSUPP')
    if (op.check && !isOwnerOrRoot(ctx, inode)) fail('EPERM')
  } else fail('EOPNOTSUPP')
  if (name.endsWith('.')) fail('EINVAL')
  return inode
}

/** set_posix_acl, posix_acl_update_mode. An ACL without entries takes away. */
function* setAcl(tx: Tx, op: Op, domain: Domain, inode: StoredInode, name: string, value: Uint8Array, killSgid: boolean): Steps<void> {
  const acl = decodeAcl(value)
  if (name === ACL_DEFAULT) {
    if (acl !== undefined && !isDirectory(inode)) fail('EACCES')
    yield* putXattr(tx, domain, inode.ino, name, acl === undefined ? undefined : encodeAcl(acl))
    return yield* changed(tx, op, domain, inode, name, { hasXattrs: true, hasDefaultAcl: acl !== undefined })
  }
  let mode = inode.mode
  let keeps = false
  if (acl !== undefined) {
    const { bits, isJustMode } = modeOfAcl(acl)
    mode = (mode & ~0o777) | bits
    keeps = !isJustMode
    if (killSgid) mode &= ~S_ISGID
  }
  yield* putXattr(tx, domain, inode.ino, name, keeps && acl !== undefined ? encodeAcl(acl) : undefined)
  yield* changed(tx, op, domain, inode, name, { mode, hasXattrs: inode.hasXattrs || keeps, hasAccessAcl: keeps })
}

type Change = Partial<Pick<StoredInode, 'mode' | 'hasXattrs' | 'hasAccessAcl' | 'hasDefaultAcl' | 'hasCapability'>>

function* changed(tx: Tx, op: Op, domain: Domain, inode: StoredInode, name: string, change: Change): Steps<void> {
  updateInode(tx, domain, inode, { ...change, ctimeSec: op.now.sec, ctimeNsec: op.now.nsec })
  if (isDirectory(inode) && inode.nlink > 0) yield* setDirectoryTimes(tx, domain, inode.ino, undefined, op.now)
  tx.change(encodeChange({ kind: 'xattr', ino: inode.ino, name }))
}
