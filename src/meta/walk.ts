/**
 * Goes once through everything that belongs to an inode, in order of inode numbers: a merge of the row kinds that begin with one.
 *   - Of each owner: begin (with its inode and counters, if they are there), then its entries, reverse links, xattrs and bytes, then end.
 *   - Memory: one page of each kind, whatever the pool or a directory holds.
 *   - What cannot be decoded is told (`unreadable`) and passed over.
 */
import { EXTENT_KIND, feedFile, makeFileCheck, PENDING_KIND, TENTATIVE_KIND } from '../data/index.js'
import type { FileCheck } from '../data/index.js'
import { streamRows } from '../engine/index.js'
import type { Key, MaybePromise, Reader, RowStream } from '../engine/index.js'
import { PosixError } from '../sys/index.js'
import type { Slots } from './directory.js'
import { decodeInode } from './inode.js'
import type { StoredInode } from './inode.js'
import { dentriesFrom, directoryKey, firstNumber, inodeKey, linksFrom, xattrsFrom } from './keys.js'
import { decodeDentry, linkName } from './rows.js'
import type { Dentry } from './rows.js'

const LAST = 2 ** 53 - 1
const SMALL_PAGE = 128 // of rows with many bytes

export interface Visitor {
  /** `inode` undefined: it is not there, or (`isDamaged`) cannot be read. */
  begin(ino: number, inode: StoredInode | undefined, isDamaged: boolean, slots: Slots | undefined): void
  dentry(dentry: Dentry): void
  link(key: Key, name: string): MaybePromise<void>
  xattr(key: Key): void
  /** The owner's bytes were fed to `file`. */
  readonly file: FileCheck
  end(): MaybePromise<void>
  unreadable(ino: number, key: Key): void
}

/** What of the walk is not asked for. */
export type Without = 'nothing' | 'bytes'

export const noFile = (): FileCheck => makeFileCheck(undefined, () => undefined)

export async function walkOwners(r: Reader, visitor: Visitor, without: Without): Promise<void> {
  const open = (from: (n: number) => Key, rows = 1024): Promise<RowStream> => streamRows(r, from(0), from(LAST), rows)
  const inodes = await open(inodeKey, 512)
  const counters = await open(directoryKey)
  const dentries = await open(dentriesFrom)
  const links = await open(linksFrom)
  const xattrs = await open(xattrsFrom, SMALL_PAGE)
  const none: RowStream = { key: undefined, row: undefined as never, advance: () => undefined }
  const bytes = (kind: string, rows: number): Promise<RowStream> => streamRows(r, kind, String.fromCharCode(kind.charCodeAt(0) + 1), rows)
  const extents = without === 'bytes' ? none : await bytes(EXTENT_KIND, 1024)
  const pendings = without === 'bytes' ? none : await bytes(PENDING_KIND, SMALL_PAGE)
  const tentatives = without === 'bytes' ? none : await bytes(TENTATIVE_KIND, 1024)
  const streams = [inodes, counters, dentries, links, xattrs, extents, pendings, tentatives]

  const owner = (s: RowStream): number => (s.key === undefined ? Infinity : firstNumber(s.key))
  const readable = <R>(ino: number, key: Key, decode: () => R): R | undefined => {
    try {
      return decode()
    } catch (e) {
      if (!(e instanceof PosixError)) throw e
      visitor.unreadable(ino, key)
      return undefined
    }
  }

  for (;;) {
    let ino = Infinity
    for (const s of streams) ino = Math.min(ino, owner(s))
    if (ino === Infinity) return

    let inode: StoredInode | undefined
    let isDamaged = false
    if (owner(inodes) === ino) {
      const { row, key } = inodes
      inode = readable(ino, key!, () => decodeInode(ino, row.bytes))
      isDamaged = inode === undefined
      const more = inodes.advance()
      if (more instanceof Promise) await more
    }
    let slots: Slots | undefined
    if (owner(counters) === ino) {
      slots = counters.row.decoded as Slots
      const more = counters.advance()
      if (more instanceof Promise) await more
    }
    visitor.begin(ino, inode, isDamaged, slots)
    while (owner(dentries) === ino) {
      const { key, row } = dentries
      const dentry = readable(ino, key!, () => decodeDentry(key!, row.bytes))
      if (dentry !== undefined) visitor.dentry(dentry)
      const more = dentries.advance()
      if (more instanceof Promise) await more
    }
    while (owner(links) === ino) {
      const { key, row } = links
      const name = readable(ino, key!, () => linkName(row.bytes))
      if (name !== undefined) {
        const looked = visitor.link(key!, name)
        if (looked instanceof Promise) await looked
      }
      const more = links.advance()
      if (more instanceof Promise) await more
    }
    while (owner(xattrs) === ino) {
      visitor.xattr(xattrs.key!)
      const more = xattrs.advance()
      if (more instanceof Promise) await more
    }
    if (owner(extents) === ino || owner(pendings) === ino || owner(tentatives) === ino) await feedFile(visitor.file, ino, extents, pendings, tentatives)
    else visitor.file.begin(ino)
    const ended = visitor.end()
    if (ended instanceof Promise) await ended
  }
}
