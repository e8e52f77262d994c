/**
 * What a disk was asked, in order, and what a power cut at any moment may leave of it.
 *   - Bytes: a write is durable once a flush that covers it ended. Of the others any subset is kept, each torn at 512 bytes.
 *   - Metadata (names, sizes, punched holes) goes through a journal in order, as on ext4 and XFS: a suffix may be lost, but
 *     nothing that concerns a file that was flushed after it.
 *   - One cutter goes through the events once, forwards; at each stop it may write as many images as one likes into plain folders.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import path from 'node:path'
import type { Random } from '../../src/sys/index.js'

export const SECTOR_BYTES = 512
export const ROOT_FILE = 1

/** `ms`: when it was asked, on the clock of the history. */
export type DiskEvent = { readonly ms: number; readonly file: number } & (
  | { readonly kind: 'make'; readonly parent: number; readonly name: string; readonly directory: boolean }
  | { readonly kind: 'remove'; readonly parent: number; readonly name: string }
  | { readonly kind: 'rename'; readonly parent: number; readonly name: string; readonly newParent: number; readonly newName: string }
  | { readonly kind: 'size'; readonly sizeBytes: number }
  | { readonly kind: 'punch'; readonly offset: number; readonly length: number }
  | { readonly kind: 'write'; readonly offset: number; readonly bytes: Uint8Array }
  /** Ended now; covers the file's events before the one of this number. */
  | { readonly kind: 'flush'; readonly covers: number })

/** What becomes of unflushed writes. 'all' is the daemon's death: the page cache survives. */
export const FATES = ['none', 'all', 'any', 'prefix', 'suffix', 'one', 'but one'] as const
export type Fate = typeof FATES[number]

export interface Cutter {
  /** How many events are behind. */
  readonly at: number
  advance(to: number): void
  /** Writes what is left into a new folder; answers how many unflushed writes there were, and how many were kept whole, torn or lost. */
  image(folder: string, fate: Fate, random: Random): Kept
}
export interface Kept {
  readonly whole: number
  readonly torn: number
  readonly lost: number
  readonly metadataLost: number
}

type Pending = { readonly index: number; readonly event: DiskEvent; readonly metadata: number | undefined }
interface Content {
  readonly chunks: Map<number, Buffer>
  sizeBytes: number
  pending: Pending[]
  /** Number of the newest metadata event that concerns it. */
  metadata: number
}
const CHUNK_BYTES = 64 * 1024

function apply(content: Content, event: DiskEvent): void {
  if (event.kind === 'size') {
    if (event.sizeBytes < content.sizeBytes) fill(content, event.sizeBytes, content.sizeBytes - event.sizeBytes, undefined)
    content.sizeBytes = event.sizeBytes
  } else if (event.kind === 'punch') fill(content, event.offset, event.length, undefined)
  else if (event.kind === 'write') {
    fill(content, event.offset, event.bytes.length, event.bytes)
    content.sizeBytes = Math.max(content.sizeBytes, event.offset + event.bytes.length)
  }
}

function fill({ chunks }: Content, offset: number, length: number, bytes: Uint8Array | undefined): void {
  for (let at = offset; at < offset + length;) {
    const n = Math.floor(at / CHUNK_BYTES)
    const end = Math.min(offset + length, (n + 1) * CHUNK_BYTES)
    let chunk = chunks.get(n)
    if (chunk === undefined && bytes !== undefined) chunks.set(n, (chunk = Buffer.alloc(CHUNK_BYTES)))
    if (bytes !== undefined) chunk!.set(bytes.subarray(at - offset, end - offset), at - n * CHUNK_BYTES)
    else chunk?.fill(0, at - n * CHUNK_BYTES, end - n * CHUNK_BYTES)
    at = end
  }
}

export function makeCutter(events: readonly DiskEvent[]): Cutter {
  let next = 0
  const contents = new Map<number, Content>()
  const names: { readonly event: DiskEvent; readonly metadata: number }[] = []
  let metadata = 0 // events of metadata so far
  let forced = 0 // so many of them are durable
  const contentOf = (file: number): Content => {
    let content = contents.get(file)
    if (content === undefined) contents.set(file, (content = { chunks: new Map(), sizeBytes: 0, pending: [], metadata: 0 }))
    return content
  }
  const concerns = (file: number): void => void (contentOf(file).metadata = metadata)

  function take(event: DiskEvent, index: number): void {
    const content = contentOf(event.file)
    if (event.kind === 'write') content.pending.push({ index, event, metadata: undefined })
    else if (event.kind === 'flush') {
      const left = content.pending.filter((p) => p.index >= event.covers)
      for (const p of content.pending) if (p.index < event.covers) apply(content, p.event)
      content.pending = left
      if (left.every((p) => p.metadata === undefined)) forced = Math.max(forced, content.metadata)
    } else {
      metadata++
      concerns(event.file)
      if (event.kind === 'size' || event.kind === 'punch') content.pending.push({ index, event, metadata })
      else {
        names.push({ event, metadata })
        concerns(event.parent)
        if (event.kind === 'rename') concerns(event.newParent)
      }
    }
  }

  return {
    get at() {
      return next
    },
    advance(to) {
      for (; next < to; next++) take(events[next], next)
    },
    image(folder, fate, random) {
      const keptMetadata = fate === 'all' ? metadata : fate === 'none' ? forced : forced + (random.uint32() % (metadata - forced + 1))
      const kept = { whole: 0, torn: 0, lost: 0, metadataLost: metadata - keptMetadata }
      const decide = decider(fate, [...contents.values()].flatMap((c) => c.pending).filter((p) => p.metadata === undefined).map((p) => p.index), random)
      const tree = new Map<number, Map<string, number>>([[ROOT_FILE, new Map()]])
      for (const { event, metadata: number } of names) if (number <= keptMetadata) rename(tree, event)
      const write = (file: number, at: string): void => {
        const children = tree.get(file)
        if (children !== undefined) {
          mkdirSync(at, { recursive: true, mode: 0o700 })
          for (const [name, child] of children) write(child, path.join(at, name))
        } else writeFile(at, contentOf(file), (p) => (p.metadata === undefined ? decide(p.index) : p.metadata <= keptMetadata ? 'whole' : 'lost'), kept, random)
      }
      write(ROOT_FILE, folder)
      return kept
    }
  }
}

function rename(tree: Map<number, Map<string, number>>, event: DiskEvent): void {
  if (event.kind === 'make') {
    if (event.directory) tree.set(event.file, new Map())
    tree.get(event.parent)!.set(event.name, event.file)
  } else if (event.kind === 'remove') tree.get(event.parent)!.delete(event.name)
  else if (event.kind === 'rename') {
    tree.get(event.parent)!.delete(event.name)
    tree.get(event.newParent)!.set(event.newName, event.file)
  }
}

type Verdict = 'whole' | 'torn' | 'lost'

function decider(fate: Fate, indexes: number[], random: Random): (index: number) => Verdict {
  indexes.sort((a, b) => a - b)
  const pick = indexes.length === 0 ? 0 : indexes[random.uint32() % indexes.length]
  switch (fate) {
    case 'none': return () => 'lost'
    case 'all': return () => 'whole'
    case 'any': return () => (['whole', 'torn', 'lost'] as const)[random.uint32() % 3]
    case 'prefix': return (index) => (index < pick ? 'whole' : index === pick ? 'torn' : 'lost')
    case 'suffix': return (index) => (index > pick ? 'whole' : index === pick ? 'torn' : 'lost')
    case 'one': return (index) => (index === pick ? 'whole' : 'lost')
    case 'but one': return (index) => (index === pick ? 'lost' : 'whole')
  }
}

function writeFile(at: string, content: Content, decide: (p: Pending) => Verdict, kept: { whole: number; torn: number; lost: number }, random: Random): void {
  const fd = openSync(at, 'wx+', 0o600)
  try {
    for (const [n, chunk] of content.chunks) {
      const length = Math.min(CHUNK_BYTES, content.sizeBytes - n * CHUNK_BYTES)
      if (length > 0) writeSync(fd, chunk, 0, length, n * CHUNK_BYTES)
    }
    ftruncateSync(fd, content.sizeBytes)
    for (const p of content.pending) {
      const { event } = p
      const verdict = decide(p)
      if (event.kind === 'write') {
        kept[verdict]++
        if (verdict === 'whole') writeSync(fd, event.bytes, 0, event.bytes.length, event.offset)
        else if (verdict === 'torn') tear(fd, event.offset, event.bytes, random)
      } else if (verdict !== 'lost' && event.kind === 'size') ftruncateSync(fd, event.sizeBytes)
      else if (verdict !== 'lost' && event.kind === 'punch') writeSync(fd, Buffer.alloc(event.length), 0, event.length, event.offset)
    }
  } finally {
    closeSync(fd)
  }
}

/** Sectors of the disk, not of the write: its first and last may be parts. */
function tear(fd: number, offset: number, bytes: Uint8Array, random: Random): void {
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + SECTOR_BYTES - ((offset + at) % SECTOR_BYTES))
    if (random.uint32() % 2 === 0) writeSync(fd, bytes, at, end - at, offset + at)
    at = end
  }
}
