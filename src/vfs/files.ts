/**
 * The bytes of files: read, write, fsync, fallocate, lseek, copy_file_range. Where bytes lie is the data floor's; here is
 * who may, what else changes, and who is told of a failure.
 *   - A read whose bytes are at hand answers in the same tick.
 *   - A write is answered when its bytes are outside the process; with O_DSYNC, or after fsync, when they are durable.
 *   - Writes to a file without names work as long as it is open.
 *   - mtime and ctime move, and setuid and setgid bits fall, in the same transaction as the bytes.
 */
import { O_NOATIME, PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { MaybePromise } from '../engine/index.js'
import { FILE_MAX_BYTES, NOW } from '../data/index.js'
import type { Content, ContentEffects, View } from '../data/index.js'
import type { Inode } from '../meta/index.js'
import { FS_APPEND_FL, FS_IMMUTABLE_FL, inodeOf, isDirectory, isRegular, requireWritable, then, timeNow } from './core.js'
import type { Core } from './core.js'
import type { Atimes } from './atime.js'
import type { Handles, OpenFile } from './handles.js'
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from './vfs.js'
import type { Handle, Node, Vfs } from './vfs.js'
import type { Orphans } from './orphans.js'
import type { Writeout } from './writeout.js'

/** What bytes are copied from: a file, or what a snapshot shows of one. */
export interface CopySource {
  readonly ino: number
  readonly view: View
  readonly sizeBytes: number
}
export type CopyInto = (ctx: Context, from: CopySource, fromOffset: number, toNode: Node, toHandle: Handle, toOffset: number, lengthBytes: number) => Promise<number>

type Files = Pick<Vfs, 'read' | 'write' | 'fsync' | 'fallocate' | 'lseek' | 'copyFileRange'>

const SEEK_DATA = 3
const SEEK_HOLE = 4

function requireRegular(inode: Inode): void {
  if (!isRegular(inode)) throw new PosixError(isDirectory(inode) ? 'EISDIR' : 'EINVAL')
}

function requireChangeable(inode: Inode, appends: boolean): void {
  requireRegular(inode)
  if ((inode.flags & FS_IMMUTABLE_FL) !== 0 || (!appends && (inode.flags & FS_APPEND_FL) !== 0)) throw new PosixError('EPERM')
}

interface FilesParts {
  readonly handles: Handles
  readonly atimes: Atimes
  readonly orphans: Orphans
  readonly writeout: Writeout
}

export function filesOf(core: Core, { handles, atimes, orphans, writeout }: FilesParts): Files & { readonly copyInto: CopyInto } {
  const { data } = core

  const writable = (handle: Handle, node: Node): OpenFile | undefined => {
    const file = handles.file(handle, node)
    requireWritable(core)
    if (file === undefined) return undefined
    if (!file.writable) throw new PosixError('EBADF')
    if (file.node.immutable) throw new PosixError('EPERM')
    return file
  }

  const readable = (handle: Handle, node: Node): OpenFile | undefined => {
    const file = handles.file(handle, node)
    if (file !== undefined && !file.readable) throw new PosixError('EBADF')
    return file
  }

  /** Without an open file nobody looked yet what this is. */
  const regular = (ctx: Context, node: Node): MaybePromise<void> => {
    const inode = inodeOf(core, ctx, node)
    return inode instanceof Promise ? inode.then(requireRegular) : requireRegular(inode)
  }

  /** The same for a change; what open(2) would have refused is refused here. */
  const changeable = (ctx: Context, node: Node, appends: boolean): MaybePromise<void> => {
    const inode = inodeOf(core, ctx, node)
    return inode instanceof Promise ? inode.then((late) => requireChangeable(late, appends)) : requireChangeable(inode, appends)
  }

  const effectsOf = (ctx: Context, killSuidgid: boolean): ContentEffects =>
    ({ touch: timeNow(core), killSuidgid: killSuidgid || (core.checks && ctx.uid !== 0) })

  /** A pool is full only when nothing that was deleted is on its way back. */
  const roomy = <T>(act: () => Promise<T>): Promise<T> => act().catch((e: unknown) => orphans.makeRoom(e).then(act))

  const changed = (node: Node): void => {
    const open = core.openNodes.get(node)
    if (open !== undefined) open.atimeSettled = false
  }

  const sync = async (ctx: Context, node: Node, file: OpenFile | undefined): Promise<void> => {
    try {
      await writeout.sync(ctx, node)
    } catch (e) {
      if (file !== undefined) writeout.report(node, file)
      throw e
    }
    if (file !== undefined) writeout.report(node, file)
  }

  const readChecked = (ctx: Context, node: Node, file: OpenFile | undefined, offsetBytes: number, lengthBytes: number, into: Uint8Array, at: number, flags: number): MaybePromise<number> => {
    if (file === undefined ? (flags & O_NOATIME) === 0 : !file.noAtime) atimes.touch(node, file?.node)
    return data.read(ctx, node, NOW, offsetBytes, lengthBytes, into, at)
  }

  const copyInto: CopyInto = async (ctx, { ino, view, sizeBytes }, fromOffset, toNode, toHandle, toOffset, lengthBytes) => {
    const target = writable(toHandle, toNode)
    if (target === undefined) await changeable(ctx, toNode, false)
    if (target !== undefined && target.append) throw new PosixError('EBADF')
    if (fromOffset < 0 || toOffset < 0 || lengthBytes < 0) throw new PosixError('EINVAL')
    const wanted = Math.max(0, Math.min(lengthBytes, sizeBytes - fromOffset))
    if (ino === toNode && view === NOW && Math.abs(fromOffset - toOffset) < wanted) throw new PosixError('EINVAL')
    if (toOffset + wanted > FILE_MAX_BYTES) throw new PosixError('EFBIG')
    if (wanted === 0) return 0
    const done = await roomy(() => data.copy(ctx, ino, view, fromOffset, toNode, toOffset, wanted, effectsOf(ctx, ctx.uid !== 0), 'cheapest'))
    writeout.wrote(toNode, done)
    changed(toNode)
    if (target !== undefined && target.synchronous) await sync(ctx, toNode, target)
    return done
  }

  return {
    read(ctx, node, handle, offsetBytes, lengthBytes, into, at, flags = 0) {
      const file = readable(handle, node)
      if (offsetBytes < 0) throw new PosixError('EINVAL')
      if (file === undefined) {
        const checked = regular(ctx, node)
        if (checked instanceof Promise) return checked.then(() => readChecked(ctx, node, undefined, offsetBytes, lengthBytes, into, at, flags))
      }
      return readChecked(ctx, node, file, offsetBytes, lengthBytes, into, at, flags)
    },

    write(ctx, node, handle, offsetBytes, from, at, lengthBytes, how) {
      const file = writable(handle, node)
      const append = how.append || (file !== undefined && file.append)
      if (lengthBytes === 0) return 0
      if (offsetBytes < 0) throw new PosixError('EINVAL')
      if (!append && offsetBytes + lengthBytes > FILE_MAX_BYTES) throw new PosixError('EFBIG')
      const where = append ? 'end' : offsetBytes
      const effects = effectsOf(ctx, how.killSuidgid)
      const checked = file === undefined ? changeable(ctx, node, append) : undefined
      const write = (): MaybePromise<Content> => data.write(ctx, node, where, from, at, lengthBytes, effects)
      const done = (): MaybePromise<number> => {
        writeout.wrote(node, lengthBytes)
        if (file === undefined) return lengthBytes
        file.node.atimeSettled = false
        return file.synchronous ? sync(ctx, node, file).then(() => lengthBytes) : lengthBytes
      }
      const again = (e: unknown): Promise<number> => orphans.makeRoom(e).then(write).then(done)
      let written: MaybePromise<Content>
      try {
        written = checked instanceof Promise ? checked.then(write) : write()
      } catch (e) {
        return again(e)
      }
      return written instanceof Promise ? written.then(done, again) : done()
    },

    fsync: (ctx, node, handle) => sync(ctx, node, handles.file(handle, node)),

    async fallocate(ctx, node, handle, mode, offsetBytes, lengthBytes) {
      const file = writable(handle, node)
      if (offsetBytes < 0 || lengthBytes <= 0) throw new PosixError('EINVAL')
      const inode = await inodeOf(core, ctx, node)
      if (isDirectory(inode)) throw new PosixError('EISDIR')
      if (!isRegular(inode)) throw new PosixError('ENODEV')
      if (file === undefined) requireChangeable(inode, (mode & ~FALLOC_KEEP_SIZE) === 0)
      else if (file.appendOnly && (mode & ~FALLOC_KEEP_SIZE) !== 0) throw new PosixError('EPERM')
      if (offsetBytes + lengthBytes > FILE_MAX_BYTES) throw new PosixError('EFBIG')
      const effects = effectsOf(ctx, ctx.uid !== 0)
      const keepSize = (mode & FALLOC_KEEP_SIZE) !== 0
      switch (mode & ~FALLOC_KEEP_SIZE) {
        case 0: await roomy(() => data.reserve(ctx, node, offsetBytes, lengthBytes, keepSize, effects)); break
        case FALLOC_ZERO_RANGE: await roomy(() => data.zero(ctx, node, offsetBytes, lengthBytes, keepSize, effects)); break
        case FALLOC_PUNCH_HOLE:
          if (!keepSize) throw new PosixError('EOPNOTSUPP')
          await data.punch(ctx, node, offsetBytes, lengthBytes, effects)
          break
        default: throw new PosixError('EOPNOTSUPP')
      }
      changed(node)
    },

    lseek(ctx, node, handle, offsetBytes, whence): MaybePromise<number> {
      handles.file(handle, node)
      if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw new PosixError('EINVAL')
      if (offsetBytes < 0) throw new PosixError('ENXIO')
      const found = whence === SEEK_DATA ? data.seekData(ctx, node, NOW, offsetBytes) : data.seekHole(ctx, node, NOW, offsetBytes)
      return then(found, (offset) => {
        if (offset === undefined) throw new PosixError('ENXIO')
        return offset
      })
    },

    async copyFileRange(ctx, fromNode, fromHandle, fromOffset, toNode, toHandle, toOffset, lengthBytes) {
      const source = readable(fromHandle, fromNode)
      writable(toHandle, toNode)
      if (source === undefined) await regular(ctx, fromNode)
      const { sizeBytes } = await inodeOf(core, ctx, fromNode) // as it is now: a copy within one file may grow it
      const done = await copyInto(ctx, { ino: fromNode, view: NOW, sizeBytes }, fromOffset, toNode, toHandle, toOffset, lengthBytes)
      if (done > 0 && (source === undefined || !source.noAtime)) atimes.touch(fromNode, source?.node)
      return done
    },
    copyInto
  }
}
