/** The trash as commands know it: paths and sentences. What was removed is called by the number of its inode, or by where it was. */
import type { Engine } from '../engine/index.js'
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../meta/index.js'
import type { Removed, Tree } from '../meta/index.js'
import { inodeAtPath, namesOf, textOf } from '../snapshot/index.js'
import { PosixError, rootContext } from '../sys/index.js'
import type { Clock } from '../sys/index.js'
import { foldersIn, TrashError } from '../trash/index.js'
import type { Restored, Scope, Trash } from '../trash/index.js'
import { poolNames } from './names.js'
import type { Domain } from './names.js'
import { Refusal } from './refusal.js'

const DAY_SEC = 86400
const KEEP_MAX_DAYS = 36500
const TYPES: Readonly<Record<number, TrashLine['type']>> = { [S_IFDIR]: 'folder', [S_IFREG]: 'file', [S_IFLNK]: 'link' }

/** Of one domain. */
export interface TrashState {
  /** '/' or a subvolume's path. */
  readonly of: string
  readonly on: boolean
  readonly keepDays: number
  readonly items: number
  /** Of its files, as large as they were when they were removed. */
  readonly bytes: number
}

export interface TrashLine {
  readonly id: number
  /** null: the folder that it was in is gone for good. */
  readonly path: string | null
  readonly name: string
  readonly type: 'file' | 'folder' | 'link' | 'other'
  readonly removedSec: number
  readonly sizeBytes: number
}

export interface PoolTrash {
  /** `days` undefined: as long as before, or 3. */
  enable(of: string, days: number | undefined): Promise<TrashState>
  disable(of: string): Promise<TrashState>
  /** Oldest first. */
  list(of: string, print: (line: TrashLine) => Promise<void> | void): Promise<void>
  /** `told` of every name that is there again. */
  restore(what: string, to: string | undefined, scope: Scope, told: (restored: Restored) => void): Promise<RestoredLine>
  /** `days` undefined: all of it. Answers how many things went. */
  empty(of: string, days: number | undefined): Promise<number>
  states(): Promise<TrashState[]>
}

export interface RestoredLine {
  readonly path: string
  /** Names that are there again, folders on the way among them. */
  readonly restored: number
  /** Stayed in the trash: their names are taken. */
  readonly skipped: number
}

interface Parts {
  readonly engine: Engine
  readonly tree: Tree
  readonly trash: Trash
  readonly clock: Clock
}

const pathText = (names: readonly string[]): string => `/${names.map(textOf).join('/')}`

export function poolTrash({ engine, tree, trash, clock }: Parts): PoolTrash {
  const names = poolNames({ engine, tree })
  const floors = { engine, tree }

  async function domainAt(of: string): Promise<Domain> {
    if (!of.includes('/')) throw new Refusal('usage', `${JSON.stringify(of)} is no path in the pool: the trash is kept of "/" or of a subvolume, as /home; volumes have none.`)
    return names.domainAt(of)
  }

  async function stateOf({ domain, path }: Domain): Promise<TrashState> {
    const sums = (await trash.sums(rootContext)).find((s) => s.domain === domain)
    return { of: path, on: sums?.isOn === true, keepDays: (sums?.keepSec ?? 0) / DAY_SEC, items: sums?.items ?? 0, bytes: sums?.bytes ?? 0 }
  }

  function daysOf(days: number, least: number): number {
    if (!(days >= least && days <= KEEP_MAX_DAYS)) throw new Refusal('usage', `${days} is no number of days: give one from ${least === 0 ? '0' : 'a minute (0.001)'} to ${KEEP_MAX_DAYS}.`)
    return Math.ceil(days * DAY_SEC)
  }

  /** The newest thing that answers to a number or a path. */
  async function find(what: string): Promise<Removed | undefined> {
    const ino = /^[0-9]+$/.test(what) ? Number(what) : undefined
    const wanted = namesOf(what)
    const last = wanted.at(-1)
    let found: Removed | undefined
    for (const { domain, items } of await trash.sums(rootContext)) {
      if (items === 0) continue
      const folders = ino === undefined ? await foldersIn(floors, rootContext, domain) : undefined
      for await (const r of trash.each(rootContext, domain, 'newest first')) {
        const path = r.name === last && folders !== undefined ? await folders.pathOf(r) : undefined
        if (r.ino !== ino && (path?.length !== wanted.length || path.some((name, i) => name !== wanted[i]))) continue
        if (found === undefined || found.sec < r.sec || (found.sec === r.sec && found.nsec < r.nsec)) found = r
        break
      }
    }
    return found
  }

  async function placeAt(to: string, name: string): Promise<{ readonly parent: number; readonly name: string }> {
    const there = to.startsWith('/') ? await inodeAtPath(engine, tree, rootContext, to) : undefined
    if (there !== undefined && (there.mode & S_IFMT) === S_IFDIR) return { parent: there.ino, name }
    return names.placeAt(to)
  }

  async function pathOf({ parent, name }: { readonly parent: number; readonly name: string }): Promise<string> {
    const folder = await names.pathOf(parent) ?? ''
    return `${folder === '/' ? '' : folder}/${textOf(name)}`
  }

  /** A sentence for what restoring refuses. */
  async function refusalOf(e: unknown, what: string): Promise<unknown> {
    if (e instanceof TrashError && e.reason === 'gone') return new Refusal('missing', `The folder that ${what} was in is gone for good: say with --to where it shall be.`)
    if (e instanceof TrashError) return new Refusal('exists', `There is something at ${await pathOf(e)} already: say with --to where ${what} shall be.`)
    if (!(e instanceof PosixError)) return e
    switch (e.code) {
      case 'EXDEV': return new Refusal('usage', `${what} can only be restored within its subvolume: say with --to where in it, and move it then.`)
      case 'ENOTDIR': return new Refusal('usage', `What ${what} would be in is no folder: say with --to where it shall be.`)
      case 'ENOENT': return new Refusal('missing', `${what} is not in the trash any more, or it was one of several names of a file that is gone: \`ogee trash list\` shows what there is.`)
      case 'ENAMETOOLONG': return new Refusal('usage', 'A name has at most 255 bytes: choose a shorter one.')
      default: return e
    }
  }

  return {
    async enable(of, days) {
      const at = await domainAt(of)
      const before = (await trash.sums(rootContext)).find((s) => s.domain === at.domain)
      await trash.configure(rootContext, at.domain, 'on', days === undefined ? before?.keepSec ?? 3 * DAY_SEC : daysOf(days, 0.001))
      return stateOf(at)
    },
    async disable(of) {
      const at = await domainAt(of)
      const before = (await trash.sums(rootContext)).find((s) => s.domain === at.domain)
      if (before?.isOn === true) await trash.configure(rootContext, at.domain, 'off', before.keepSec)
      return stateOf(at)
    },
    async list(of, print) {
      const { domain } = await domainAt(of)
      const folders = await foldersIn(floors, rootContext, domain)
      for await (const r of trash.each(rootContext, domain, 'oldest first')) {
        const path = await folders.pathOf(r)
        await print({
          id: r.ino, path: path === undefined ? null : pathText(path), name: textOf(r.name), type: TYPES[r.typeBits] ?? 'other', removedSec: r.sec, sizeBytes: r.sizeBytes
        })
      }
    },
    async restore(what, to, scope, tell) {
      if (!/^([0-9]+$|\/)/.test(what)) throw new Refusal('usage', `${JSON.stringify(what)} is neither the ID of something in the trash nor a path, which begins with "/": \`ogee trash list\` shows both.`)
      let restored = 0
      const told = (r: Restored): void => {
        restored++
        tell(r)
      }
      const removed = await find(what)
      if (removed === undefined) {
        const there = what.startsWith('/') ? await inodeAtPath(engine, tree, rootContext, what) : undefined
        if (there === undefined) throw new Refusal('missing', `Nothing in the trash is called ${what}: \`ogee trash list\` shows what there is.`)
        const isFolder = (there.mode & S_IFMT) === S_IFDIR
        if (!isFolder || scope !== 'all') throw new Refusal('exists', `${what} is there, and nothing in the trash has that path: ${isFolder ? 'add --all to restore all that was removed from it' : '\`ogee trash list\` shows what there is'}.`)
        const { skipped } = await trash.restoreBelow(rootContext, there.domain, there.ino, told)
        return { path: pathText(namesOf(what)), restored, skipped }
      }
      try {
        const place = to === undefined ? undefined : await placeAt(to, removed.name)
        const { at, skipped } = await trash.restore(rootContext, removed, place, scope, told)
        return { path: await pathOf(at), restored, skipped }
      } catch (e) {
        throw await refusalOf(e, what)
      }
    },
    async empty(of, days) {
      const { domain } = await domainAt(of)
      const now = { sec: 0, nsec: 0 }
      clock.realtime(now)
      return trash.empty(rootContext, domain, days === undefined ? Infinity : now.sec - daysOf(days, 0) + 1)
    },
    async states() {
      const found: TrashState[] = []
      for (const { root, isOn, keepSec, items, bytes } of await trash.sums(rootContext)) {
        const of = await names.pathOf(root)
        if (of !== undefined && (isOn || items > 0)) found.push({ of, on: isOn, keepDays: keepSec / DAY_SEC, items, bytes })
      }
      return found
    }
  }
}
