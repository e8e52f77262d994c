/**
 * The tree: every operation of meta.ts over an engine's rows. Only puts the pieces together; each is in its own file.
 */
import { PosixError } from '../sys/index.js'
import { permission } from './access.js'
import { changedInodes } from './changed.js'
import { cloneTree } from './clone.js'
import { setattr, setflags, touchAtime } from './attributes.js'
import { nameHash } from './hash.js'
import type { NameHash } from './hash.js'
import { holdsOn } from './holds.js'
import { KEY_USAGE } from './keys.js'
import { link, rmdir, unlink } from './link.js'
import { formatPool, make, makeUnnamed, takeInodeNumbers } from './make.js'
import type { Tree } from './meta.js'
import { readingIn, readThrough, releaseHold, treeHolds } from './needed.js'
import { NOW } from '../data/index.js'
import type { View } from '../data/index.js'
import type { Engine, Reader } from '../engine/index.js'
import { forgetInode, orphans } from './orphans.js'
import { homeOf, linksOf, readDentry, readEntries, readInode, readXattr, xattrNames } from './read.js'
import { rename } from './rename.js'
import { dropReplaced, replacedIn, rollBackTree } from './replaced.js'
import { isRollingBack, rollBack, rollbackDone, rollbacksWanted } from './rollback.js'
import { allDomains, beginSnapshot, domainAt, dropBegun, nameSnapshot, needlessHistory, removeSnapshot, settleHolds, snapshotNamed, snapshotsOf, sweepBegun, sweepDone, sweepsWanted } from './snapshot.js'
import { after, run } from './steps.js'
import { makeSubvolume, removeSubvolume } from './subvolumes.js'
import { discard, removedIn, restore, setTrash, trashes } from './trash.js'
import { clonesOf, cloneVolume, originOf } from './volume-clones.js'
import { listVolumes, makeVolume, removeVolume, renameVolume, volumeNamed } from './volumes.js'
import { openVisits } from './visit.js'
import { removexattr, setxattr } from './xattrs.js'

export interface TreeOptions {
  /** The superblock's 16 random bytes: keys the name hash. */
  readonly hashKey: Uint8Array
  /** For tests: a hash whose names collide. */
  readonly hash?: NameHash
  /** Where directories of clones are visited. Without it whoever meets one that was not fails. */
  readonly engine?: Engine
}

export function openTree(options: TreeOptions): Tree {
  const hash = options.hash ?? nameHash(options.hashKey)
  const { body, entriesOf } = openVisits(options.engine)

  const missed = (r: Reader, parent: number, name: string, view: View): ReturnType<typeof readDentry> =>
    entriesOf(r, parent)?.then((came) => (came ? readDentry(r, hash, parent, name, view) : undefined))

  return {
    inode: readInode,
    lookup(r, parent, name, view) {
      const found = readDentry(r, hash, parent, name, view)
      if (found instanceof Promise) return found.then((late) => late ?? missed(r, parent, name, view))
      return found ?? missed(r, parent, name, view)
    },
    list: (r, ino, view, high, low, limit) => entriesOf(r, ino)?.then(() => readEntries(r, ino, view, high, low, limit)) ?? readEntries(r, ino, view, high, low, limit),
    getxattr: readXattr,
    listxattr: (r, ino, view) => run(xattrNames(r, ino, view)),
    mayAccess: (r, ctx, inode, mask, view = NOW) => after(run(permission(r, ctx, inode, mask, view)), (code) => (code === undefined ? undefined : new PosixError(code))),
    links: (r, ino) => run(linksOf(r, ino)),
    home: (r, ino, view) => run(homeOf(r, ino, view)),
    changedInodes: (r, older, younger, behind) => run(changedInodes(r, older, younger, behind)),
    usage: (r) => after(r.counters(KEY_USAGE), (slots) => ({ inodes: slots?.[0] ?? 0, bytes: slots?.[1] ?? 0, extents: slots?.[2] ?? 0 })),

    format: (tx, op, root) => formatPool(tx, op, root),
    takeInodeNumbers: (tx, count) => run(takeInodeNumbers(tx, count)),
    make: (tx, op, args) => body(make(tx, hash, op, args)),
    makeUnnamed: (tx, op, args) => body(makeUnnamed(tx, op, args)),
    link: (tx, op, ino, parent, name) => body(link(tx, hash, op, ino, parent, name)),
    unlink: (tx, op, parent, name) => body(unlink(tx, hash, op, parent, name)),
    rmdir: (tx, op, parent, name) => body(rmdir(tx, hash, op, parent, name)),
    rename: (tx, op, args) => body(rename(tx, hash, op, args)),
    setattr: (tx, op, ino, set) => run(setattr(tx, op, ino, set)),
    touchAtime: (tx, ino, at) => run(touchAtime(tx, ino, at)),
    setflags: (tx, op, ino, flags) => run(setflags(tx, op, ino, flags)),
    setxattr: (tx, op, ino, name, value, flags, killSgid) => run(setxattr(tx, op, ino, name, value, flags, killSgid)),
    removexattr: (tx, op, ino, name) => run(removexattr(tx, op, ino, name)),
    forgetInode: (tx, session, ino) => run(forgetInode(tx, session, ino)),
    orphans: (r, session, limit) => run(orphans(r, session, limit)),
    volume: (r, name) => run(volumeNamed(r, name)),
    volumes: (r) => run(listVolumes(r)),
    makeVolume: (tx, op, name, ino, sizeBytes) => run(makeVolume(tx, op, name, ino, sizeBytes)),
    renameVolume: (tx, name, newName) => run(renameVolume(tx, name, newName)),
    removeVolume: (tx, op, name) => run(removeVolume(tx, op, name)),
    cloneVolume: (tx, op, args) => run(cloneVolume(tx, op, args)),
    originOf: (r, ino) => run(originOf(r, ino)),
    clonesOf: (r, domain) => run(clonesOf(r, domain)),
    settleHolds: (tx, domain) => run(settleHolds(tx, domain)),
    beginSnapshot: (tx, domain, name) => run(beginSnapshot(tx, domain, name)),
    nameSnapshot: (tx, op, domain, epoch, name) => run(nameSnapshot(tx, op, domain, epoch, name)),
    dropBegun: (tx, domain, epoch) => run(dropBegun(tx, domain, epoch)),
    makeSubvolume: (tx, op, parent, name, mode, ino) => body(makeSubvolume(tx, hash, op, parent, name, mode, ino)),
    removeSubvolume: (tx, op, parent, name) => body(removeSubvolume(tx, hash, op, parent, name)),
    cloneTree: (tx, op, args) => body(cloneTree(tx, hash, op, args)),
    holds: (r, origin) => run(holdsOn(r, origin)),
    setTrash: (tx, domain, trash, keepSec) => run(setTrash(tx, domain, trash, keepSec)),
    trashes: (r) => run(trashes(r)),
    removed: (r, domain, behind, limit, order) => run(removedIn(r, domain, behind, limit, order)),
    restore: (tx, op, removed, parent, name) => body(restore(tx, hash, op, removed, parent, name)),
    discard: (tx, op, removed) => run(discard(tx, op, removed)),
    domains: (r) => run(allDomains(r)),
    removeSnapshot: (tx, domain, name) => run(removeSnapshot(tx, domain, name)),
    domain: (r, domain) => run(domainAt(r, domain)),
    snapshotNamed: (r, domain, name) => run(snapshotNamed(r, domain, name)),
    snapshots: (r, domain) => run(snapshotsOf(r, domain)),
    rollBack: (tx, domain, name, younger) => run(rollBack(tx, domain, name, younger)),
    rollBackTree: (tx, op, args) => body(rollBackTree(tx, op, args)),
    replaced: (r, domain) => run(replacedIn(r, domain)),
    dropReplaced: (tx, op, replaced) => run(dropReplaced(tx, op, replaced)),
    readThrough: (r, behind, limit) => run(readThrough(r, behind, limit)),
    treeHolds: (r) => run(treeHolds(r)),
    releaseHold: (tx, hold, at) => run(releaseHold(tx, hold, at)),
    readingIn: (r, domain, behind, limit) => run(readingIn(r, domain, behind, limit)),
    rollbacksWanted: (r) => run(rollbacksWanted(r)),
    isRollingBack: (r, domain) => run(isRollingBack(r, domain)),
    rollbackDone,
    sweepsWanted: (r) => run(sweepsWanted(r)),
    sweepBegun: (tx, sweep) => run(sweepBegun(tx, sweep)),
    sweepDone: (tx, sweep) => run(sweepDone(tx, sweep)),
    needlessHistory: (r, behind, limit) => run(needlessHistory(r, behind, limit))
  }
}
