/**
 * Images as commands know them: `ogee export` of `/path@NAME` or `VOLUME@NAME`, `ogee import` into a path or a volume.
 *   - An image is read to its end before anything is made of it: one that is cut, damaged or does not fit changes nothing.
 *   - What an import began and did not end (the disk failed, the daemon died) says so, by an xattr of its root. The next import to it
 *     empties it, or takes it back to its base, if it is told to: somebody may have put something of his own there since.
 *   - A snapshot is known by the pool it was taken in, its domain and its epoch; an imported one keeps that name of its origin with it
 *     (an xattr). So an increment is refused unless its base is there, and nothing was changed since.
 */
import { closeSync, fstatSync, openSync, read as readFd } from 'node:fs'
import { NOW } from '../data/index.js'
import type { Data } from '../data/index.js'
import type { Engine } from '../engine/index.js'
import type { Tree } from '../meta/index.js'
import { bytesOf, diffTree, emptyFolder, exportImage, ImageError, IMPORTING_XATTR, openImporter, ORIGIN_XATTR, readImage, textOf } from '../snapshot/index.js'
import type { Header, Snapshots } from '../snapshot/index.js'
import type { Store } from '../store/index.js'
import { rootContext } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import type { Volumes } from '../volume/index.js'
import { replacedGone, seenDomains } from './comparing.js'
import type { Seen } from './comparing.js'
import { poolNames } from './names.js'
import { Refusal, saying } from './refusal.js'
import { refusing } from './snapshots.js'
import type { PoolSnapshots, PoolSubvolumes, Touched } from './snapshots.js'

export interface PoolImages {
  /** `since`: the name of an older snapshot of the same. */
  export(snapshot: string, since: string | undefined, out: (bytes: Uint8Array) => Promise<void>): Promise<void>
  /** A volume's plain bytes, zeros for its holes. */
  exportRaw(snapshot: string, out: (bytes: Uint8Array) => Promise<void>): Promise<void>
  /** Answers the snapshot that there is now. `halfDone`: what an earlier import left there. `changed`: names and inodes of which the kernel must forget what it knew. */
  import(to: string, image: ImageFile, halfDone: HalfDone, progress: (done: number, of: number) => Promise<void> | void, changed: Changed): Promise<string>
}
export type HalfDone = 'refuse' | 'remove'
export type Changed = (touched: Touched & { readonly ino: number }) => Promise<void> | void
export interface ImageFile {
  readonly sizeBytes: number
  read(at: number, into: Uint8Array): Promise<number>
}

interface Parts {
  readonly uuid: string
  readonly engine: Engine
  readonly tree: Tree
  readonly data: Data
  readonly store: Store
  readonly clock: Clock
  readonly snapshots: Snapshots
  readonly rollBack: PoolSnapshots['rollBack']
  readonly subvolumes: PoolSubvolumes
  readonly volumes: Volumes
  removed(ino: number): void
}

const RAW_CHUNK_BYTES = 1024 * 1024
const ZEROS = new Uint8Array(RAW_CHUNK_BYTES)

/** An image in a file, also one that is stdin of the one who asks. */
export function fileImage(path: string): ImageFile & { close(): void } {
  const fd = openSync(path, 'r')
  return {
    sizeBytes: fstatSync(fd).size,
    read: (at, into) => new Promise((resolve, reject) => {
      readFd(fd, into, 0, into.length, at, (e, n) => (e === null ? resolve(n) : reject(e)))
    }),
    close: () => closeSync(fd)
  }
}

export function poolImages(parts: Parts): PoolImages {
  const { uuid, engine, tree, data, volumes } = parts
  const domains = seenDomains(parts)
  const names = poolNames(parts)
  const reader = engine.reader(rootContext)
  const running = new Set<number>() // roots of what images are put into now
  const idOf = async ({ domain, root }: { readonly domain: number, readonly root: number }, view: number): Promise<readonly string[]> => {
    const origin = await tree.getxattr(reader, root, ORIGIN_XATTR, view)
    const own = `${uuid}/${domain}/${view}`
    return origin === undefined ? [own] : [Buffer.from(origin).toString(), own]
  }
  async function taken(text: string): Promise<Seen & { readonly snapshot: string }> {
    const seen = await domains.of(text)
    if (seen.snapshot === undefined) throw new Refusal('usage', `${text} is no snapshot: take one (\`ogee snapshot create\`), and export that.`)
    return { ...seen, snapshot: seen.snapshot }
  }

  return {
    async export(text, since, out) {
      const young = await taken(text)
      const old = since === undefined ? undefined : await taken(`${young.path}@${since.slice(since.lastIndexOf('@') + 1)}`)
      if (old !== undefined && old.view >= young.view) throw new Refusal('usage', `${since} is not older than ${text}: an image goes from the older snapshot to the younger one.`)
      const isVolume = !young.path.startsWith('/')
      const sizeBytes = isVolume ? (await tree.inode(reader, young.root, young.view))?.sizeBytes ?? 0 : undefined
      const header = {
        kind: isVolume ? 'volume' as const : 'tree' as const, snapshot: young.snapshot, id: `${uuid}/${young.domain}/${young.view}`,
        ...(old === undefined ? {} : { since: { snapshot: old.snapshot, id: `${uuid}/${young.domain}/${old.view}` } }),
        ...(sizeBytes === undefined ? {} : { sizeBytes })
      }
      await exportImage(parts, { domain: young.domain, root: young.root, old: old?.view, young: young.view, header }, out)
      await domains.stillThere(young)
      if (old !== undefined) await domains.stillThere(old)
    },

    async exportRaw(text, out) {
      const seen = await taken(text)
      if (seen.path.startsWith('/')) throw new Refusal('usage', `${text} is no volume: only a volume has a raw form; leave --format out.`)
      const { sizeBytes } = (await tree.inode(reader, seen.root, seen.view))!
      const buffer = new Uint8Array(RAW_CHUNK_BYTES)
      for (let at = 0; at < sizeBytes;) {
        const next = Math.min(sizeBytes, await data.seekData(rootContext, seen.root, seen.view, at) ?? sizeBytes)
        for (; at < next; at += Math.min(RAW_CHUNK_BYTES, next - at)) await out(ZEROS.subarray(0, Math.min(RAW_CHUNK_BYTES, next - at)))
        const n = at < sizeBytes ? await data.read(rootContext, seen.root, seen.view, at, Math.min(buffer.length, sizeBytes - at), buffer, 0) : 0
        if (n > 0) await out(buffer.subarray(0, n))
        at += n
      }
      await domains.stillThere(seen)
    },

    async import(to, image, halfDone, progress, changed) {
      const { header, dataBytes } = await verify(image, progress)
      const { freeBytes } = parts.store.status()
      if (dataBytes > freeBytes) throw new Refusal('full', `The image holds ${Math.ceil(dataBytes / 1024 ** 2)} MiB, the pool has ${Math.floor(freeBytes / 1024 ** 2)} MiB free: free some, or enlarge the pool (\`ogee grow\`). Nothing was imported.`)
      const root = header.since === undefined ? await fresh(to, header, halfDone, changed) : await base(to, header, header.since, halfDone, changed)
      const importer = openImporter({ ...parts, changed: (parent, name, ino) => changed({ parent, name, ino }) }, root)
      const apply = async (): Promise<void> => {
        await importer.begin()
        for await (const { record, endBytes } of readImage((at, into) => image.read(at, into))) {
          await importer.apply(record)
          await progress(image.sizeBytes + endBytes, image.sizeBytes * 2)
        }
        await importer.ended(header.id)
        await parts.snapshots.create(rootContext, root, header.snapshot)
      }
      running.add(root)
      try {
        await (header.kind === 'volume' ? refusing(() => volumes.whileClosed(to, 'import an image into it', apply)) : apply())
      } finally {
        running.delete(root)
      }
      return `${to}@${textOf(header.snapshot)}`
    }
  }

  async function verify(image: ImageFile, progress: (done: number, of: number) => Promise<void> | void): Promise<{ header: Header, dataBytes: number }> {
    let header: Header | undefined
    let dataBytes = 0
    try {
      for await (const { record, endBytes } of readImage((at, into) => image.read(at, into))) {
        if (record.record === 'header') header = record
        if (record.record === 'end') dataBytes = record.dataBytes
        await progress(endBytes, image.sizeBytes * 2)
      }
    } catch (e) {
      throw e instanceof ImageError ? new Refusal('damaged', e.message) : e
    }
    if (header === undefined) throw new Refusal('damaged', 'The image has no header: nothing was imported.')
    if (header.format !== 1) throw new Refusal('newer', `The image has format ${header.format}, this Ogee knows 1: use a newer one.`)
    return { header, dataBytes }
  }

  /** Whether an import to it was broken off, and what that left may go. */
  async function isHalfDone(to: string, root: number, halfDone: HalfDone, goes: string): Promise<boolean> {
    if (running.has(root)) throw new Refusal('in-use', `An image is being imported into ${to}: nothing else was imported.`)
    if (await tree.getxattr(reader, root, IMPORTING_XATTR, NOW) === undefined) return false
    if (halfDone === 'refuse') throw new Refusal('exists', `An import into ${to} was broken off, and what it left is there: add --anew, which ${goes}. Nothing was imported.`)
    return true
  }

  /** Where a whole image goes: a new volume; a new subvolume, or an empty one without snapshots; what is left of an import. */
  async function fresh(to: string, header: Header, halfDone: HalfDone, changed: Changed): Promise<number> {
    if (header.kind === 'volume') {
      if (to.includes('/')) throw new Refusal('usage', `The image is of a volume, and ${to} is a path: name a volume to be made.`)
      const there = await tree.volume(reader, bytesOf(to))
      if (there !== undefined && await isHalfDone(to, there, halfDone, 'removes that volume first')) await refusing(() => volumes.remove(to))
      return refusing(async () => (await volumes.create(to, header.sizeBytes ?? 0)).inode)
    }
    if (!to.startsWith('/')) throw new Refusal('usage', `The image is of a tree: ${JSON.stringify(to)} is no path in the pool; it begins with "/", as in /home.`)
    const isThere = await names.domainAt(to).catch((e: unknown) => {
      if (e instanceof Refusal && (e.reason === 'missing' || e.reason === 'usage')) return undefined
      throw e
    })
    if (isThere === undefined) {
      const { touched } = await parts.subvolumes.create(to)
      await changed({ ...touched, ino: 0 })
      return (await names.domainAt(to)).root
    }
    const hasSnapshots = (await tree.snapshots(reader, isThere.domain)).length > 0
    if (!hasSnapshots && await isHalfDone(to, isThere.root, halfDone, 'removes all that is in it first')) await saying({
      EBUSY: () => new Refusal('in-use', `There is a subvolume in ${to}: remove it first (\`ogee subvolume rm\`). Nothing was imported.`)
    }, () => emptyFolder(parts, { ctx: rootContext, isOver: () => false, breathe: () => Promise.resolve() }, isThere.root, (parent, name, ino) => changed({ parent, name, ino })))
    const entries = await tree.list(reader, isThere.root, NOW, 0, 0, 1)
    if (entries.length > 0 || hasSnapshots) throw new Refusal('exists', `${to} is not empty, or has snapshots: a whole image goes to a new path.`)
    return isThere.root
  }

  /** Where an increment goes: what has its base as newest snapshot, and was not changed since. */
  async function base(to: string, header: Header, since: NonNullable<Header['since']>, halfDone: HalfDone, changed: Changed): Promise<number> {
    const at = await names.domainAt(to)
    if (to.startsWith('/') !== (header.kind === 'tree')) throw new Refusal('usage', `The image is of a ${header.kind}, and ${to} is none.`)
    const all = await tree.snapshots(reader, at.domain)
    const newest = all.at(-1)
    const text = `${at.path}@${textOf(since.snapshot)}`
    if (newest === undefined || !(await idOf(at, newest.epoch)).includes(since.id)) {
      const holds = newest === undefined ? 'has no snapshot' : `has ${textOf(newest.name)} as its newest, which is not that one`
      throw new Refusal('usage', `The image begins from the snapshot ${textOf(since.snapshot)}, and ${at.path} ${holds}: import that one first, or export without --since. Nothing was imported.`)
    }
    if (all.some(({ name }) => name === header.snapshot)) throw new Refusal('exists', `There is a snapshot ${at.path}@${textOf(header.snapshot)} already: nothing was imported.`)
    let first: string | undefined
    await replacedGone(parts.snapshots, at)
    if (await isHalfDone(to, at.root, halfDone, `takes it back to ${text} first`)) {
      const { touched } = await parts.rollBack(text, 'refuse')
      for (const name of touched?.names ?? []) await changed({ parent: at.root, name, ino: 0 })
      return at.root // as its base is, though with other inodes
    }
    if (header.kind === 'tree') await diffTree(parts, { domain: at.domain, root: at.root, old: newest.epoch, young: NOW }, ({ path }) => void (first ??= textOf(path)))
    else if ((await data.changes(rootContext, at.root, newest.epoch, NOW)).length > 0) first = 'its bytes'
    if (first !== undefined) throw new Refusal('in-use', `${at.path} was changed since ${text} (${first}): an increment goes to what is as its base was. Nothing was imported.`)
    if (header.kind === 'volume') {
      const info = await volumes.info(to)
      if (info.writer !== null) throw new Refusal('in-use', `Volume ${to} is being written by ${info.writer}: nothing was imported.`)
      if (header.sizeBytes !== undefined && header.sizeBytes !== info.sizeBytes) await volumes.resize(to, header.sizeBytes, 'cut')
    }
    return at.root
  }
}
