/**
 * Where meta and data meet: one transaction that changes a file's content. Data's body puts extents and logged bytes; the
 * inode, its directory's sums, the pool's usage and the change log follow here, in the same commit.
 */
import { PosixError } from '../sys/index.js'
import type { ChangeContent, ChangeContents, Content, ContentAfter, ContentEffects, FileRef, ReadContent } from '../data/index.js'
import type { Engine, MaybePromise, Tx } from '../engine/index.js'
import { withoutSuidgid } from './attributes.js'
import { changeDirectory } from './directory.js'
import { encodeChange } from './events.js'
import { blocksOf, isRegular } from './inode.js'
import type { StoredInode } from './inode.js'
import { readInode } from './read.js'
import { after, run, wait } from './steps.js'
import type { Steps } from './steps.js'
import { addUsage, domainOf, dropCapability, inodeNow, lastEpochs, updateInode } from './write.js'

type Body = (tx: Tx, file: FileRef, content: Content) => MaybePromise<ContentAfter>

export const changeContent = (engine: Engine): ChangeContent => (ctx, ino, effects, body) =>
  engine.transact(ctx, (tx) => run(changeIn(tx, ino, effects, body)))

export const changeContents = (engine: Engine): ChangeContents => (ctx, effects, changes) =>
  engine.transact(ctx, (tx) => run(changeAllIn(tx, effects, changes)))

export const readContent = (engine: Engine): ReadContent => (ctx, ino, view) =>
  after(readInode(engine.reader(ctx), ino, view), (inode) => {
    if (inode === undefined) throw new PosixError('ESTALE')
    return inode
  })

const isSame = (a: Content, b: Content): boolean =>
  a === b || (a.sizeBytes === b.sizeBytes && a.durableSizeBytes === b.durableSizeBytes && a.allocatedBytes === b.allocatedBytes && a.inline === b.inline && a.hasOrigin === b.hasOrigin)

/** The times after a change: `touch`, or with `since` only those that are still that. */
function timesAfter(inode: StoredInode, { touch, since }: ContentEffects): Pick<StoredInode, 'mtimeSec' | 'mtimeNsec' | 'ctimeSec' | 'ctimeNsec'> {
  const { mtimeSec, mtimeNsec, ctimeSec, ctimeNsec } = inode
  const m = touch !== undefined && (since === undefined || (since.sec === mtimeSec && since.nsec === mtimeNsec))
  const c = touch !== undefined && (since === undefined || (since.sec === ctimeSec && since.nsec === ctimeNsec))
  return {
    mtimeSec: m ? touch.sec : mtimeSec, mtimeNsec: m ? touch.nsec : mtimeNsec,
    ctimeSec: c ? touch.sec : ctimeSec, ctimeNsec: c ? touch.nsec : ctimeNsec
  }
}

function* changeAllIn(tx: Tx, effects: ContentEffects, changes: readonly { readonly ino: number; readonly body: Body }[]): Steps<Content[]> {
  const contents: Content[] = []
  for (const { ino, body } of changes) contents.push(yield* changeIn(tx, ino, effects, body))
  return contents
}

function* changeIn(tx: Tx, ino: number, effects: ContentEffects, body: Body): Steps<Content> {
  const { touch, killSuidgid } = effects
  const inode = yield* inodeNow(tx, ino)
  const domain = yield* domainOf(tx, inode.domain)
  const where = effects.isReclaim === true ? lastEpochs(domain, inode) : domain
  const { epoch, newestSnapshot } = where
  const content = yield* wait(body(tx, { ino, epoch, newestSnapshot }, inode))
  addUsage(tx, 0, 0, content.extentsMore)
  if (touch === undefined && !killSuidgid && isSame(content, inode)) return inode // bytes in place: no row of the inode's

  if (touch !== undefined) yield* dropCapability(tx, where, inode)
  const grownBytes = content.sizeBytes - inode.sizeBytes
  if (grownBytes !== 0 && isRegular(inode)) {
    addUsage(tx, 0, grownBytes)
    if (inode.parent !== 0) yield* changeDirectory(tx, where, inode.parent, { entries: 0, subdirectories: 0, bytes: grownBytes, inodes: 0 }, undefined)
  }
  const { sizeBytes, durableSizeBytes, allocatedBytes, inline, hasOrigin } = content
  const changed: StoredInode = updateInode(tx, where, inode, {
    sizeBytes,
    durableSizeBytes,
    allocatedBytes,
    blocks512: blocksOf(allocatedBytes),
    inline,
    hasOrigin,
    mode: killSuidgid ? withoutSuidgid(inode.mode) : inode.mode,
    ...timesAfter(inode, effects),
    hasCapability: inode.hasCapability && touch === undefined
  })
  // a flush moves bytes, it changes none: nobody need look again
  if (touch !== undefined || grownBytes !== 0) tx.change(encodeChange({ kind: 'content', ino }))
  return changed
}
