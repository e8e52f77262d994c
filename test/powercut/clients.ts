/**
 * Clients of a pool: each keeps names of its own, in folders that it made and in one that all share, and does random things to
 * them one after the other; what it did stands in the history. A client never guesses: what it expects follows from what it did.
 */
import assert from 'node:assert/strict'
import type { Pool } from '../../src/pool/index.js'
import { backgroundContext } from '../../src/sys/index.js'
import type { Random } from '../../src/sys/index.js'
import * as v from '../../src/vfs/index.js'
import { nextId, signedBytes } from './history.js'
import type { FileHistory, History, Names } from './history.js'

const KIB = 1024
const O_RDWR = 2
const O_TRUNC = 0o1000
const O_SYNC = 0o4010000
const FILES_MAX = 8
const FILE_MAX_BYTES = 420 * KIB
const ctx = backgroundContext()
const how = { killSuidgid: false, append: false } as const
const NO_SET: v.SetAttr = { valid: 0, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }

export interface World {
  readonly pool: Pool
  readonly history: History
  readonly random: Random
  nowMs(): number
  checkpoint(): Promise<void>
}

interface Open {
  readonly file: FileHistory
  readonly handle: number
  readonly isSync: boolean
  /** Truncated to 0 through this open file. */
  hurried: boolean
}

export interface Client {
  /** One operation. */
  step(): Promise<void>
  /** Closes what is open. */
  end(): Promise<void>
}

export const SHARED = 'shared'
export const ownFolder = (n: number): string => `client${n}`

export async function makeClient(world: World, number: number): Promise<Client> {
  const { pool: { vfs }, history, random, nowMs } = world
  const names = history.clients[number]
  const top = (await vfs.lookup(ctx, v.ROOT_NODE, ownFolder(number)))!.ino
  const shared = (await vfs.lookup(ctx, v.ROOT_NODE, SHARED))!.ino
  const folders = new Map<string, number>([[ownFolder(number), top], [SHARED, shared]])
  const state = new Map(names.at(-1)!.state)
  for (const [at, what] of state) if (what.startsWith('d')) folders.set(at, Number(what.slice(1)))
  const open: Open[] = []
  let nextName = 0

  const upTo = (n: number): number => random.uint32() % n
  const pick = <T>(from: readonly T[]): T | undefined => (from.length === 0 ? undefined : from[upTo(from.length)])
  const named = (kind: string): string[] => [...state].filter(([, what]) => what.startsWith(kind)).map(([at]) => at)
  const fileAt = (at: string): FileHistory => history.files.get(Number(state.get(at)!.slice(1)))!
  const split = (at: string): readonly [parent: number, name: string] => {
    const slash = at.lastIndexOf('/')
    return [folders.get(at.slice(0, slash))!, at.slice(slash + 1)]
  }
  const freshPath = (): string => {
    const folder = pick([...folders.keys()])!
    return `${folder}/${folder === SHARED ? `${number}-` : ''}n${history.generation}.${number}x${nextName++ % 60}.${names.length}`
  }
  const size = (file: FileHistory): number => file.versions.at(-1)!.bytes.length

  /** An operation on names: the state is changed when it was answered. */
  async function naming(what: string, act: () => unknown, change: () => void, bytesFirst?: Names['bytesFirst']): Promise<void> {
    const startMs = nowMs()
    await act()
    change()
    names.push({ startMs, endMs: nowMs(), what, state: new Map(state), bytesFirst })
  }

  /** An operation on bytes: the new version stands from the start. */
  async function version(o: Open | undefined, file: FileHistory, what: string, bytes: Buffer, act: () => unknown): Promise<void> {
    const made = { startMs: nowMs(), endMs: Infinity, what, bytes, hurried: o?.hurried === true }
    file.versions.push(made)
    await act()
    made.endMs = nowMs()
    if (o?.isSync === true && what.startsWith('write')) synced(file, made.startMs, file.versions.length - 1)
  }

  function synced(file: FileHistory, startMs: number, atVersion: number): void {
    file.syncs.push({ endMs: nowMs(), version: atVersion })
    history.syncs.push({ startMs, endMs: nowMs() })
  }

  async function opened(): Promise<Open | undefined> {
    if (open.length > 0 && upTo(3) > 0) return pick(open)
    const at = pick(named('f'))
    if (at === undefined) return create()
    return openAt(at)
  }

  async function openAt(at: string): Promise<Open> {
    const file = fileAt(at)
    const isSync = upTo(12) === 0
    const { handle } = await vfs.open(ctx, file.ino, O_RDWR | (isSync ? O_SYNC : 0))
    const o = { file, handle, isSync, hurried: false }
    open.push(o)
    if (open.length > 5) await close(open[upTo(open.length - 1)])
    return o
  }

  async function close(o: Open): Promise<void> {
    open.splice(open.indexOf(o), 1)
    await vfs.flush(ctx, o.file.ino, o.handle)
    await vfs.release(ctx, o.file.ino, o.handle)
  }

  async function create(): Promise<Open | undefined> {
    if (named('f').length >= FILES_MAX) return openAt(pick(named('f'))!)
    const at = freshPath()
    const [parent, name] = split(at)
    let o: Open | undefined
    await naming(`create ${at}`, async () => {
      const startMs = nowMs()
      const created = await vfs.create(ctx, parent, name, 0o644, 0, O_RDWR)
      const file: FileHistory = { id: nextId(history), ino: created.attr.ino, versions: [], syncs: [] }
      assert.ok(!history.files.has(file.ino), 'an inode number is used once')
      file.versions.push({ startMs, endMs: nowMs(), what: 'create', bytes: Buffer.alloc(0), hurried: false })
      history.files.set(file.ino, file)
      o = { file, handle: created.handle, isSync: false, hurried: false }
      open.push(o)
    }, () => void state.set(at, `f${o!.file.ino}`))
    return o
  }

  const resized = (bytes: Buffer, length: number): Buffer => {
    const out = Buffer.alloc(length)
    bytes.copy(out, 0, 0, Math.min(length, bytes.length))
    return out
  }

  async function write(o: Open, offset: number, length: number): Promise<void> {
    const { file, handle } = o
    const bytes = signedBytes(file.id, file.versions.length, offset, length)
    const next = resized(file.versions.at(-1)!.bytes, Math.max(size(file), offset + length))
    bytes.copy(next, offset)
    await version(o, file, `write ${offset}+${length}`, next, () => vfs.write(ctx, file.ino, handle, offset, bytes, 0, length, how))
  }

  const lengthOf = (): number => [1 + upTo(200), 1 + upTo(5000), 4 * KIB, 1 + upTo(60 * KIB), 66 * KIB + upTo(120 * KIB)][[0, 1, 1, 1, 2, 3, 4, 4][upTo(8)]]
  const offsetIn = (file: FileHistory): number => {
    const end = size(file)
    const at = [end, end, upTo(end + 1), upTo(end + 1) & ~4095, end + upTo(9000)][upTo(5)]
    return at > FILE_MAX_BYTES - 190 * KIB ? upTo(100 * KIB) : at
  }

  /** From another file; where both begin alike in a unit, and the other is on the disk, they share units afterwards. */
  async function copy(o: Open): Promise<void> {
    const other = pick([...state.values()].filter((what) => what.startsWith('f') && what !== `f${o.file.ino}`))
    if (other === undefined) return
    const from = history.files.get(Number(other.slice(1)))!
    const offset = upTo(2) === 0 ? 0 : upTo(size(from) + 1) & ~4095
    const length = Math.min(size(from) - offset, [200 * KIB, FILE_MAX_BYTES][upTo(2)])
    const at = upTo(3) === 0 ? 0 : upTo(size(o.file) + 1) & ~4095
    if (length <= 0 || at + length > FILE_MAX_BYTES) return
    if (upTo(3) > 0) await vfs.fsync(ctx, from.ino, 0, true) // else little of it is on the disk
    const next = resized(o.file.versions.at(-1)!.bytes, Math.max(size(o.file), at + length))
    from.versions.at(-1)!.bytes.copy(next, at, offset, offset + length)
    await version(o, o.file, `copy ${offset}+${length} of inode ${from.ino} to ${at}`, next, async () => {
      for (let done = 0; done < length;) done += await vfs.copyFileRange(ctx, from.ino, 0, offset + done, o.file.ino, o.handle, at + done, length - done)
    })
  }

  async function truncate(o: Open, to: number): Promise<void> {
    const { file, handle } = o
    if (to === 0 && size(file) > 0) o.hurried = true
    await version(o, file, `truncate ${to}`, resized(file.versions.at(-1)!.bytes, to),
      () => vfs.setattr(ctx, file.ino, { ...NO_SET, valid: v.SET_SIZE, sizeBytes: to }, handle))
  }

  async function rewrite(at: string): Promise<void> {
    const file = fileAt(at)
    let handle = 0
    const hurried = size(file) > 0 // what was empty is not truncated
    await version(undefined, file, 'open, truncating', Buffer.alloc(0), async () => void ({ handle } = await vfs.open(ctx, file.ino, O_RDWR | O_TRUNC)))
    const o = { file, handle, isSync: false, hurried }
    open.push(o)
    for (let n = upTo(3); n >= 0; n--) await write(o, size(file), lengthOf())
    if (upTo(2) === 0) await close(o)
  }

  async function fallocate(o: Open): Promise<void> {
    const { file, handle } = o
    const end = size(file)
    const offset = upTo(end + 1)
    const length = 1 + upTo([5000, 100 * KIB][upTo(2)])
    const bytes = file.versions.at(-1)!.bytes
    const [mode, what] = [[0, 'reserve'], [v.FALLOC_KEEP_SIZE | v.FALLOC_PUNCH_HOLE, 'punch'], [v.FALLOC_ZERO_RANGE, 'zero']][upTo(3)] as [number, string]
    const next = resized(bytes, what === 'punch' ? end : Math.max(end, offset + length))
    if (what !== 'reserve') next.fill(0, offset, Math.min(next.length, offset + length))
    await version(o, file, `${what} ${offset}+${length}`, next, () => vfs.fallocate(ctx, file.ino, handle, mode, offset, length))
  }

  async function rename(over: boolean): Promise<void> {
    const from = pick(named('f'))
    if (from === undefined) return
    const to = over ? pick(named('f'))! : freshPath()
    if (from === to || state.get(from) === state.get(to)) return
    const file = fileAt(from)
    const replaced = over ? fileAt(to) : undefined
    await naming(`rename ${from} to ${to}`, () => vfs.rename(ctx, ...split(from), ...split(to), 0), () => {
      state.set(to, state.get(from)!)
      state.delete(from)
    }, over ? { file, version: file.versions.length - 1 } : undefined)
    if (replaced !== undefined) gone(replaced)
  }

  function gone(file: FileHistory): void {
    if (![...state.values()].includes(`f${file.ino}`) && !open.some((o) => o.file === file)) vfs.forget(file.ino)
  }

  async function unlink(): Promise<void> {
    const at = pick([...named('f'), ...named('l')])
    if (at === undefined) return
    const file = state.get(at)!.startsWith('f') ? fileAt(at) : undefined
    await naming(`unlink ${at}`, () => vfs.unlink(ctx, ...split(at)), () => void state.delete(at))
    if (file !== undefined) gone(file)
  }

  async function mkdir(): Promise<void> {
    const made = [...folders.keys()].filter((at) => state.has(at))
    if (made.length >= 4) {
      const empty = made.find((at) => ![...state.keys()].some((other) => other.startsWith(`${at}/`)))
      if (empty === undefined) return
      await naming(`rmdir ${empty}`, () => vfs.rmdir(ctx, ...split(empty)), () => {
        state.delete(empty)
        folders.delete(empty)
      })
      return
    }
    const folder = pick([...folders.keys()].filter((at) => at !== SHARED))!
    const name = `d${history.generation}.${names.length}`
    const at = `${folder}/${name}`
    let ino = 0
    await naming(`mkdir ${at}`, async () => {
      ino = (await vfs.mkdir(ctx, folders.get(folder)!, name, 0o755, 0)).ino
    }, () => {
      folders.set(at, ino)
      state.set(at, `d${ino}`)
    })
  }

  async function link(): Promise<void> {
    const from = pick(named('f'))
    if (from === undefined || upTo(2) === 0) {
      const at = freshPath()
      const target = `to/${names.length}`
      if (named('l').length < 4) await naming(`symlink ${at}`, () => vfs.symlink(ctx, ...split(at), target), () => void state.set(at, `l${target}`))
      return
    }
    if (named('f').length >= FILES_MAX) return
    const at = freshPath()
    const [parent, name] = split(at)
    await naming(`link ${from} ${at}`, () => vfs.link(ctx, fileAt(from).ino, parent, name), () => void state.set(at, state.get(from)!))
  }

  async function sync(o: Open): Promise<void> {
    const startMs = nowMs()
    const at = o.file.versions.length - 1
    await vfs.fsync(ctx, o.file.ino, o.handle, upTo(2) === 0)
    synced(o.file, startMs, at)
  }

  async function step(): Promise<void> {
    history.operations++
    const chance = upTo(100)
    if (chance < 10) await create()
    else if (chance < 16) await rename(false)
    else if (chance < 24) await rename(true)
    else if (chance < 30) await unlink()
    else if (chance < 34) await mkdir()
    else if (chance < 38) await link()
    else if (chance < 41) {
      const at = pick(named('f'))
      if (at !== undefined) await rewrite(at)
    } else if (chance < 42) await world.checkpoint()
    else {
      const o = await opened()
      if (o === undefined) return
      if (chance < 47) await close(o)
      else if (chance < 57) await sync(o)
      else if (chance < 60) await truncate(o, upTo(3) === 0 ? 0 : upTo(size(o.file) + 10_000))
      else if (chance < 65) await fallocate(o)
      else if (chance < 71) await copy(o)
      else await write(o, offsetIn(o.file), lengthOf())
    }
  }

  return {
    step,
    async end() {
      for (const o of [...open]) await close(o)
    }
  }
}
