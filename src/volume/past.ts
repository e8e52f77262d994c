/**
 * A volume as a snapshot keeps it (VOLUME@SNAP): read-only, and gone with the snapshot: who has it open gets EIO then, never other bytes.
 * Whether it is still there is asked before and after each read: what is read in between may be of a snapshot that is being taken apart.
 */
import { PosixError } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import type { Data } from '../data/index.js'
import type { Engine, MaybePromise } from '../engine/index.js'
import type { Tree } from '../meta/index.js'
import { VolumeError } from './errors.js'
import type { OpenVolume } from './open-volume.js'

export async function openPast({ engine, tree, data }: { readonly engine: Engine, readonly tree: Tree, readonly data: Data }, ctx: Context, volume: string, ino: number, snap: string): Promise<OpenVolume> {
  const name = `${volume}@${snap}`
  const key = Buffer.from(snap, 'utf8').latin1Slice()
  const found = await tree.snapshotNamed(engine.reader(ctx), ino, key)
  const inode = found === undefined ? undefined : await tree.inode(engine.reader(ctx), ino, found.epoch)
  if (found === undefined || inode === undefined) throw new VolumeError('missing', `There is no snapshot ${name}: \`ogee snapshot list\` names those that are there.`)
  const view = found.epoch
  const refusal = `${name} is a snapshot: nobody writes it.`

  const stillThere = <T>(value: T): MaybePromise<T> => {
    const now = tree.snapshotNamed(engine.reader(ctx), ino, key)
    const check = (s: typeof found | undefined): T => {
      if (s?.epoch !== view) throw new PosixError('EIO', `Snapshot ${name} was removed.`)
      return value
    }
    return now instanceof Promise ? now.then(check) : check(now)
  }
  const guarded = async <T>(work: () => MaybePromise<T>): Promise<T> => {
    await stillThere(undefined)
    return stillThere(await work())
  }
  const refuse = (): Promise<void> => Promise.reject(new PosixError('EPERM', refusal))

  return {
    name, sizeBytes: inode.sizeBytes, refusal,
    claim() {
      throw new PosixError('EPERM', refusal)
    },
    read: (offset, length, into, at) => guarded(() => data.read(ctx, ino, view, offset, length, into, at)),
    layout: (offset, length, limit) => guarded(() => data.layout(ctx, ino, view, offset, length, limit)),
    write: refuse, trim: refuse, zero: refuse,
    flush: () => Promise.resolve(),
    close: () => undefined
  }
}
