/**
 * One request in flight. Requests are reused: what a handler gets (the context, the buffers) is its own only until it has
 * answered. Only a WRITE or SETXATTR that does not finish at once keeps the frame it came in.
 *
 * Everything in a frame may be wrong or hostile. The header's length is checked before `begin`, the fixed part of the body
 * against the operation's table entry before its handler runs, and strings here; so codecs read without checks.
 */
import { CancelSource, PosixError, toByteString } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import { SetAttrIn } from './codec-attr.js'
import { EXT_HEADER_BYTES, extGroup, extGroups, extSize, extType } from './codec-file.js'
import { inExtensionBytes, inGid, inNode, inOpcode, inPid, inUid, inUniqueHigh, inUniqueLow } from './codec-header.js'
import { DirectoryReply } from './directory-reply.js'
import type { Frame } from './frames.js'
import { EXT_GROUPS, IN_HEADER_BYTES } from './protocol.js'

const SLASH = 0x2f
const GROUPS_MAX = 65536 // NGROUPS_MAX
const NO_GROUPS: readonly number[] = []

export class Request {
  opcode = 0
  uniqueLow = 0
  uniqueHigh = 0
  node = 0
  frame!: Frame
  /** Where the body ends, and behind its extensions the request. */
  end = 0
  total = 0
  /** Its handler has returned a promise that is not settled. */
  pending = false
  answered = false
  /** The frame of a reply that is filled while the handler runs. */
  reply: Frame | undefined
  /** A number that the reply needs and the request's frame may not hold any more: a size asked for, open flags. */
  asked = 0
  startedUs = 0
  described = ''
  /** Where the string that was read last ended, its NUL included. */
  after = 0
  readonly setAttr = new SetAttrIn()
  readonly directory = new DirectoryReply()
  private cancel = new CancelSource()
  readonly ctx: Context = { uid: 0, gid: 0, pid: 0, groups: undefined, deadlineMs: Infinity, signal: this.cancel, traceId: 0, alone: false }

  /** Takes the header. False: the extensions do not fit. */
  begin(frame: Frame, length: number, traceId: number, deadlineMs: number, alone: boolean): boolean {
    const v = frame.view
    this.frame = frame
    this.opcode = inOpcode(v)
    this.uniqueLow = inUniqueLow(v)
    this.uniqueHigh = inUniqueHigh(v)
    this.node = inNode(v)
    this.pending = false
    this.total = length
    this.end = length - inExtensionBytes(v)
    this.answered = false
    if (this.cancel.used) { // someone may still listen to the old one
      this.cancel = new CancelSource()
      this.ctx.signal = this.cancel
    }
    const ctx = this.ctx
    ctx.uid = inUid(v)
    ctx.gid = inGid(v)
    ctx.pid = inPid(v)
    ctx.groups = undefined
    ctx.deadlineMs = deadlineMs
    ctx.traceId = traceId
    ctx.alone = alone
    return this.end >= IN_HEADER_BYTES
  }

  interrupt(): void {
    this.cancel.cancel()
  }

  /** A file's name: one to any number of bytes, no slash; "." and ".." are left to who asks. */
  name(at: number): string {
    const b = this.frame.bytes
    let i = at
    while (i < this.end && b[i] !== 0) {
      if (b[i] === SLASH) throw new PosixError('EINVAL')
      i++
    }
    if (i >= this.end || i === at) throw new PosixError('EINVAL')
    this.after = i + 1
    return toByteString(b, at, i)
  }

  /** A string that may hold slashes: a link's target, an xattr's name. */
  text(at: number): string {
    const b = this.frame.bytes
    let i = at
    while (i < this.end && b[i] !== 0) i++
    if (i >= this.end || i === at) throw new PosixError('EINVAL')
    this.after = i + 1
    return toByteString(b, at, i)
  }

  /** `length` bytes of body from `at` on are there, or EINVAL. */
  need(at: number, length: number): void {
    if (at + length > this.end) throw new PosixError('EINVAL')
  }

  /**
   * The caller's groups, as far as a create request tells (CREATE_SUPP_GROUP): the one that is the parent's, if it is a
   * supplementary group of the caller, else none that matters.
   */
  takeGroups(): void {
    this.ctx.groups = NO_GROUPS
    const v = this.frame.view
    const length = this.total
    for (let at = this.end; at + EXT_HEADER_BYTES <= length;) {
      const size = extSize(v, at)
      if (size < EXT_HEADER_BYTES || at + size > length) throw new PosixError('EINVAL')
      if (extType(v, at) === EXT_GROUPS) {
        if (size < EXT_HEADER_BYTES + 4) throw new PosixError('EINVAL')
        const count = extGroups(v, at)
        if (count > GROUPS_MAX || EXT_HEADER_BYTES + 4 + 4 * count > size) throw new PosixError('EINVAL')
        this.ctx.groups = Array.from({ length: count }, (_, i) => extGroup(v, at, i))
      }
      at += (size + 7) & ~7
    }
  }
}
