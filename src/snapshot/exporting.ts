/**
 * Makes an image of a snapshot: whole, or what changed since another one.
 *   - Same snapshots, same bytes: what is sent hangs on names and contents alone, not on where bytes lie. Units of zeros are holes.
 *   - An increment is made of moves: what left its name is put aside by its number (or removed) from the leaves up, then the new tree is
 *     put together from the root down. So no order of renames, and no cycle of them, needs thought.
 *   - Folders get their attributes last, when nothing changes in them any more.
 */
import { rootContext } from '../sys/index.js'
import type { ByteRange, View } from '../data/index.js'
import { S_IFLNK, S_IFMT, S_IFREG } from '../meta/index.js'
import type { Inode } from '../meta/index.js'
import { compareViews, isFolder } from './comparison.js'
import type { ComparisonParts } from './comparison.js'
import { xattrsAt } from './diff.js'
import { imageWriter } from './image.js'
import type { Header, ImageRecord } from './image.js'
import { numberSet } from './number-set.js'

const CHUNK_BYTES = 256 * 1024
const UNIT = 4096

export interface ExportOf {
  readonly domain: number
  readonly root: number
  readonly old: View | undefined
  readonly young: View
  readonly header: Omit<Header, 'record' | 'format'>
}

export async function exportImage(parts: ComparisonParts, of: ExportOf, out: (bytes: Uint8Array) => Promise<void>): Promise<void> {
  const { data } = parts
  const { old, young, root } = of
  const writer = imageWriter()
  const put = (record: ImageRecord): Promise<void> => out(writer.record(record))
  const buffer = new Uint8Array(CHUNK_BYTES)

  /** The bytes of some ranges; zeros are told only where something else may be. */
  async function bytesOf(ino: number, sizeBytes: number): Promise<void> {
    const tellsHoles = old !== undefined && changedBefore.has(ino)
    const ranges = tellsHoles ? inUnits(await data.changes(rootContext, ino, old, young), sizeBytes) : [{ offsetBytes: 0, lengthBytes: sizeBytes }]
    let holeAt = 0
    let holeBytes = 0
    const endHole = async (): Promise<void> => {
      if (tellsHoles && holeBytes > 0) await put({ record: 'hole', offsetBytes: holeAt, lengthBytes: holeBytes })
      holeBytes = 0
    }
    const hole = (at: number, length: number): void => {
      if (holeBytes === 0) holeAt = at
      holeBytes += length
    }
    for (const { offsetBytes, lengthBytes } of ranges) {
      const end = offsetBytes + lengthBytes
      for (let at = offsetBytes; at < end;) {
        const next = await data.seekData(rootContext, ino, young, at) ?? end
        const from = Math.min(end, next - (next % UNIT))
        if (from > at) {
          hole(at, from - at)
          at = from
          continue
        }
        const length = await data.read(rootContext, ino, young, at, Math.min(CHUNK_BYTES - (at % CHUNK_BYTES), end - at), buffer, 0) // chunks begin at multiples: the same bytes whatever is a hole
        if (length === 0) break
        for (let i = 0; i < length;) {
          const zero = isZero(buffer, i, Math.min(length, i + UNIT))
          let upto = Math.min(length, i + UNIT)
          while (upto < length && isZero(buffer, upto, Math.min(length, upto + UNIT)) === zero) upto = Math.min(length, upto + UNIT)
          if (zero) hole(at + i, upto - i)
          else {
            await endHole()
            await out(writer.data(at + i, buffer.subarray(i, upto)))
          }
          i = upto
        }
        at += length
      }
      await endHole()
    }
  }
  /** Inodes that both views have. */
  const changedBefore = numberSet()

  await out(writer.begin())
  await put({ record: 'header', format: 1, ...of.header })
  if (of.header.kind === 'volume') {
    if (old !== undefined) changedBefore.add(root)
    await bytesOf(root, of.header.sizeBytes ?? 0)
    return out(writer.end())
  }

  const c = await compareViews(parts, of)
  const held = numberSet()
  const done = numberSet()
  const isOurs = (inode: Inode): boolean => inode.domain === of.domain
  const before = async (ino: number): Promise<Inode | undefined> => {
    const was = old === undefined ? undefined : await c.at(ino, old)
    return was === undefined || !isOurs(was) ? undefined : was
  }

  async function attributes(inode: Inode, path: string): Promise<void> {
    const xattrs: Record<string, string> = {}
    if (isOurs(inode)) for (const [name, value] of await xattrsAt(parts, inode.ino, young)) xattrs[name] = Buffer.from(value).toString('base64')
    await put({ record: 'attributes', path: path === '' ? '/' : path, mode: inode.mode, uid: inode.uid, gid: inode.gid, flags: inode.flags,
      atime: [inode.atimeSec, inode.atimeNsec], mtime: [inode.mtimeSec, inode.mtimeNsec], xattrs })
  }

  /** What is not a folder: its bytes, then its attributes; once. */
  async function content(inode: Inode, path: string): Promise<void> {
    if (done.has(inode.ino)) return
    done.add(inode.ino)
    if ((inode.mode & S_IFMT) === S_IFREG) {
      await put({ record: 'file', path, sizeBytes: inode.sizeBytes })
      await bytesOf(inode.ino, inode.sizeBytes)
    }
    await attributes(inode, path)
  }

  /** Files that get more names than they have: a name for them aside, while their old paths hold. */
  async function hold(dir: number | undefined, youngDir: number): Promise<void> {
    for (const { old: a, young: b } of await c.differences(dir, youngDir)) {
      if (b === undefined) continue
      const is = await c.at(b, young)
      const was = await before(b)
      if (is === undefined || !isOurs(is)) continue
      if (isFolder(is)) await hold(was === undefined ? undefined : b, b)
      else if (a !== b && was !== undefined && !c.isMovable(was, is) && !held.has(b)) {
        held.add(b)
        await put({ record: 'hold', path: await c.pathAt(b, old!) ?? '', ino: b })
      }
    }
  }

  async function clear(dir: number, youngDir: number | undefined, path: string): Promise<void> {
    for (const { name, old: a, young: b } of await c.differences(dir, youngDir)) {
      if (a === undefined) continue
      const was = await c.at(a, old!)
      if (was === undefined) continue
      const is = await c.at(a, young)
      const stays = is !== undefined && isOurs(is) && isOurs(was)
      const at = `${path}/${name}`
      if (isFolder(was) && isOurs(was)) await clear(a, stays ? a : undefined, at)
      if (a === b) continue
      if (stays && c.isMovable(was, is)) await put({ record: 'take', path: at, ino: a })
      else await put({ record: 'remove', path: at, folder: isFolder(was) })
    }
  }

  async function build(dir: number | undefined, youngDir: number, path: string): Promise<void> {
    for (const { name, old: a, young: b } of await c.differences(dir, youngDir)) {
      if (b === undefined) continue
      const is = await c.at(b, young)
      if (is === undefined) continue
      const at = `${path}/${name}`
      const was = isOurs(is) ? await before(b) : undefined
      if (a === b && !isOurs(is)) continue
      if (was !== undefined) changedBefore.add(b)
      if (a !== b) {
        if (was !== undefined) await put({ record: c.isMovable(was, is) ? 'place' : 'link', path: at, ino: b })
        else if (done.has(b)) await put({ record: 'link', path: at, ino: b })
        else {
          const { mode, rdev, inline } = is
          const target = (mode & S_IFMT) === S_IFLNK ? Buffer.from(inline ?? []).latin1Slice() : undefined
          await put({ record: 'make', path: at, ino: b, mode, rdev, links: is.nlink, btime: [is.btimeSec, is.btimeNsec], ...(target === undefined ? {} : { target }) })
        }
      }
      const isNew = was === undefined
      if (isFolder(is)) {
        if (isOurs(is)) await build(isNew ? undefined : b, b, at)
        if (isNew || c.isChanged(b)) await attributes(is, at)
      } else if (isNew || c.isChanged(b)) await content(is, at)
    }
  }

  if (old !== undefined) {
    await hold(root, root)
    await clear(root, root, '')
  }
  await build(old === undefined ? undefined : root, root, '')
  await put({ record: 'settle' })
  const is = await c.at(root, young)
  if (is !== undefined) await attributes(is, '') // what lay aside touched it
  await out(writer.end())
}

/** The ranges rounded to units, joined where they meet, cut at the end. */
function inUnits(ranges: readonly ByteRange[], endBytes: number): readonly ByteRange[] {
  const out: { offsetBytes: number; lengthBytes: number }[] = []
  for (const { offsetBytes, lengthBytes } of ranges) {
    const from = offsetBytes - (offsetBytes % UNIT)
    const to = Math.min(endBytes, Math.ceil((offsetBytes + lengthBytes) / UNIT) * UNIT)
    const last = out.at(-1)
    if (last !== undefined && from <= last.offsetBytes + last.lengthBytes) last.lengthBytes = Math.max(last.lengthBytes, to - last.offsetBytes)
    else if (to > from) out.push({ offsetBytes: from, lengthBytes: to - from })
  }
  return out
}

function isZero(bytes: Uint8Array, from: number, to: number): boolean {
  for (let i = from; i < to; i++) if (bytes[i] !== 0) return false
  return true
}
