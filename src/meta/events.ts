/**
 * What a change tells the change log: a kind, the inodes and names that it touched. Enough to invalidate caches and to find
 * what to read again; the rows themselves say how things are now. docs/format.md holds the same table.
 */
import { set64, viewOf, get64 } from '../sys/index.js'
import { damaged } from './rows.js'

export const EVENT_VERSION = 1
const HEAD_BYTES = 44

export const KINDS = ['make', 'link', 'unlink', 'rmdir', 'rename', 'exchange', 'attributes', 'content', 'xattr', 'atime', 'forget', 'snapshot', 'unsnapshot'] as const
export type ChangeKind = (typeof KINDS)[number]

export interface Change {
  readonly kind: ChangeKind
  readonly ino: number
  /** Type and permission bits, for make. */
  readonly mode: number
  /** The directory and the name in it: of the entry made, removed, or moved away. For xattr: name is the xattr's. */
  readonly parent: number
  readonly name: string
  /** rename, exchange: where to, and what was there (0: nothing). */
  readonly toParent: number
  readonly toName: string
  readonly toIno: number
}

const NUMBER: Record<ChangeKind, number> = {
  make: 1, link: 2, unlink: 3, rmdir: 4, rename: 5, exchange: 6, attributes: 7, content: 8, xattr: 9, atime: 10, forget: 11, snapshot: 12, unsnapshot: 13
}

export function encodeChange(change: Pick<Change, 'kind' | 'ino'> & Partial<Change>): Uint8Array {
  const { kind, ino, mode = 0, parent = 0, name = '', toParent = 0, toName = '', toIno = 0 } = change
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + name.length + toName.length) // every byte is written below
  const v = viewOf(bytes)
  bytes[0] = EVENT_VERSION                      // version
  bytes[1] = NUMBER[kind]                       // kind
  v.setUint16(2, 0, true)                       // zero
  v.setUint32(4, mode, true)                    // mode
  set64(v, 8, ino)                              // inode
  set64(v, 16, parent)                          // parent            0: none
  set64(v, 24, toParent)                        // to: parent        0: none
  set64(v, 32, toIno)                           // to: what was there 0: nothing
  v.setUint16(40, name.length, true)            // name's length
  v.setUint16(42, toName.length, true)          // to: name's length; then the names
  if (name.length > 0) bytes.latin1Write(name, HEAD_BYTES)
  if (toName.length > 0) bytes.latin1Write(toName, HEAD_BYTES + name.length)
  return bytes
}

export function decodeChange(bytes: Uint8Array): Change {
  const kind = KINDS[bytes[1] - 1]
  if (bytes.length < HEAD_BYTES || bytes[0] !== EVENT_VERSION || kind === undefined) throw damaged('a record of the change log')
  const v = viewOf(bytes)
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const nameEnd = HEAD_BYTES + v.getUint16(40, true)
  if (nameEnd + v.getUint16(42, true) > bytes.length) throw damaged('a record of the change log')
  return {
    kind,
    ino: get64(v, 8),
    mode: v.getUint32(4, true),
    parent: get64(v, 16),
    name: text.latin1Slice(HEAD_BYTES, nameEnd),
    toParent: get64(v, 24),
    toName: text.latin1Slice(nameEnd, nameEnd + v.getUint16(42, true)),
    toIno: get64(v, 32)
  }
}
