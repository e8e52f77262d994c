/**
 * POSIX ACLs (POSIX.1e draft 17, acl(5)), in the kernel's xattr form: u32 version 2, then entries of u16 tag, u16 permissions,
 * u32 id, little-endian, ordered by tag, then id.
 *   - A valid ACL has each of USER_OBJ, GROUP_OBJ, OTHER once, and MASK once if it names any user or group.
 *   - The mode's bits and an access ACL say the same: owner = USER_OBJ, group = MASK (or GROUP_OBJ without one), other = OTHER.
 *   - An ACL of only those three is no ACL: it is the mode.
 * Source: fs/posix_acl.c, whose functions the comments name.
 */
import { PosixError, viewOf } from '../sys/index.js'

export const ACL_ACCESS = 'system.posix_acl_access'
export const ACL_DEFAULT = 'system.posix_acl_default'

const VERSION = 2
const USER_OBJ = 0x01
const USER = 0x02
const GROUP_OBJ = 0x04
const GROUP = 0x08
const MASK = 0x10
const OTHER = 0x20
const NO_ID = 0xffffffff

export interface AclEntry {
  readonly tag: number
  readonly perm: number
  readonly id: number
}
export type Acl = readonly AclEntry[]

/** posix_acl_from_xattr and posix_acl_valid. undefined: an ACL without entries, which means none. EOPNOTSUPP, EINVAL. */
export function decodeAcl(bytes: Uint8Array): Acl | undefined {
  if (bytes.length < 4) throw new PosixError('EINVAL')
  const v = viewOf(bytes)
  if (v.getUint32(0, true) !== VERSION) throw new PosixError('EOPNOTSUPP')
  if ((bytes.length - 4) % 8 !== 0) throw new PosixError('EINVAL')
  const acl: AclEntry[] = []
  for (let at = 4; at < bytes.length; at += 8) {
    const tag = v.getUint16(at, true)
    const named = tag === USER || tag === GROUP
    acl.push({ tag, perm: v.getUint16(at + 2, true), id: named ? v.getUint32(at + 4, true) : NO_ID })
  }
  if (acl.length === 0) return undefined
  if (!isValid(acl)) throw new PosixError('EINVAL')
  return acl
}

function isValid(acl: Acl): boolean {
  let expect = USER_OBJ
  let needsMask = false
  for (const { tag, perm, id } of acl) {
    if ((perm & ~7) !== 0) return false
    if (tag === USER_OBJ && expect === USER_OBJ) expect = USER
    else if (tag === USER && expect === USER) needsMask = true
    else if (tag === GROUP_OBJ && expect === USER) expect = GROUP
    else if (tag === GROUP && expect === GROUP) needsMask = true
    else if (tag === MASK && expect === GROUP) expect = OTHER
    else if (tag === OTHER && (expect === OTHER || (expect === GROUP && !needsMask))) expect = 0
    else return false
    if ((tag === USER || tag === GROUP) && id === NO_ID) return false
  }
  return expect === 0
}

export function encodeAcl(acl: Acl): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * acl.length)
  const v = viewOf(bytes)
  v.setUint32(0, VERSION, true)
  acl.forEach(({ tag, perm, id }, i) => {
    v.setUint16(4 + 8 * i, tag, true)
    v.setUint16(6 + 8 * i, perm, true)
    v.setUint32(8 + 8 * i, id, true)
  })
  return bytes
}

const permOf = (acl: Acl, tag: number): number | undefined => acl.find((e) => e.tag === tag)?.perm

/** posix_acl_equiv_mode: the nine bits that an access ACL gives the mode, and whether it says nothing more. */
export function modeOfAcl(acl: Acl): { readonly bits: number; readonly isJustMode: boolean } {
  const group = permOf(acl, MASK) ?? permOf(acl, GROUP_OBJ) ?? 0
  const bits = ((permOf(acl, USER_OBJ) ?? 0) << 6) | (group << 3) | (permOf(acl, OTHER) ?? 0)
  return { bits, isJustMode: acl.every(({ tag }) => tag === USER_OBJ || tag === GROUP_OBJ || tag === OTHER) }
}

/** __posix_acl_chmod_masq: the access ACL after chmod. */
export function aclAfterChmod(acl: Acl, mode: number): Acl {
  const groupTag = acl.some(({ tag }) => tag === MASK) ? MASK : GROUP_OBJ
  return acl.map((e) => {
    if (e.tag === USER_OBJ) return { ...e, perm: (mode >> 6) & 7 }
    if (e.tag === groupTag) return { ...e, perm: (mode >> 3) & 7 }
    if (e.tag === OTHER) return { ...e, perm: mode & 7 }
    return e
  })
}

/** posix_acl_create_masq: what a new inode gets from its directory's default ACL, and the mode that is left. */
export function inheritAcl(defaultAcl: Acl, mode: number): { readonly acl: Acl; readonly mode: number; readonly isJustMode: boolean } {
  let bits = mode & 0o777
  const groupTag = defaultAcl.some(({ tag }) => tag === MASK) ? MASK : GROUP_OBJ
  const acl = defaultAcl.map((e) => {
    const shift = e.tag === USER_OBJ ? 6 : e.tag === groupTag ? 3 : e.tag === OTHER ? 0 : -1
    if (shift < 0) return e
    const perm = e.perm & (mode >> shift) & 7
    bits = (bits & ~(7 << shift)) | (perm << shift)
    return { ...e, perm }
  })
  return { acl, mode: (mode & ~0o777) | bits, isJustMode: modeOfAcl(acl).isJustMode }
}

/** posix_acl_permission: may this caller, who is neither root nor the owner, do all of `want` (rwx bits)? */
export function aclAllows(acl: Acl, want: number, uid: number, inGroup: (gid: number) => boolean, ownerGid: number): boolean {
  const mask = permOf(acl, MASK) ?? 7
  const allows = (perm: number): boolean => (perm & want) === want
  let found = false
  for (const { tag, perm, id } of acl) {
    if (tag === USER && id === uid) return allows(perm & mask)
    if ((tag === GROUP_OBJ && inGroup(ownerGid)) || (tag === GROUP && inGroup(id))) {
      found = true
      if (allows(perm)) return allows(mask)
    }
  }
  return found ? false : allows(permOf(acl, OTHER) ?? 0)
}
