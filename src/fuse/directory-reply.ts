/** The sink of a READDIR or READDIRPLUS: entries go straight into the reply's frame, until one does not fit. */
import { writeByteString } from '../sys/index.js'
import type { Attr, DirectorySink } from '../vfs/index.js'
import { ENTRY_OUT_BYTES, writeEntryOut, writeNoEntryOut } from './codec-attr.js'
import type { Presentation } from './codec-attr.js'
import { DIRENT_BYTES, direntBytes, writeDirent } from './codec-file.js'
import type { Frame } from './frames.js'
import { OUT_HEADER_BYTES } from './protocol.js'

export class DirectoryReply implements DirectorySink {
  at = 0
  /** Nodes that the kernel will hold a reference to once it has this reply. */
  readonly nodes: number[] = []
  private end = 0
  private plus = false
  private frame!: Frame
  private shown!: Presentation

  begin(frame: Frame, sizeBytes: number, plus: boolean, shown: Presentation): void {
    this.frame = frame
    this.at = OUT_HEADER_BYTES
    this.end = OUT_HEADER_BYTES + sizeBytes
    this.plus = plus
    this.shown = shown
    this.nodes.length = 0
  }

  entry(name: string, ino: number, typeBits: number, cookieHigh: number, cookieLow: number, attr: Attr | undefined): boolean {
    const { view, bytes } = this.frame
    const head = this.plus ? ENTRY_OUT_BYTES : 0
    const length = head + direntBytes(name.length)
    let at = this.at
    if (at + length > this.end) return false
    const next = at + length
    if (this.plus) {
      // without attributes the kernel takes the name alone; "." and ".." never count as looked up
      if (attr === undefined || name === '.' || name === '..') writeNoEntryOut(view, at, 0)
      else {
        writeEntryOut(view, at, attr, this.shown)
        this.nodes.push(attr.ino)
      }
      at += ENTRY_OUT_BYTES
    }
    writeDirent(view, at, ino, cookieHigh, cookieLow, name.length, typeBits)
    at += DIRENT_BYTES
    at += writeByteString(bytes, at, name)
    while (at < next) bytes[at++] = 0 // the padding: no stale bytes leave the daemon
    this.at = next
    return true
  }
}
