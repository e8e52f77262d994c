/**
 * The law: what a pool may be after a power cut or after the daemon's death, given what its clients saw.
 *   1. Names are those of a prefix of what was done, over all clients, not older than a second; whatever was answered before
 *      an answered fsync began is in it.
 *   2. A file has all the bytes that an fsync answered, that a rename over another file put first, that are older than 5 s, or
 *      1 s if it was truncated to 0. Each byte of it is one that this file had there since, or zero where it had a hole; its
 *      size is within what it had since.
 *   3. The daemon's death loses nothing that was answered.
 *   4. Volumes and snapshots: verdict-volumes.ts.
 *   5. Tree, extents and allocator fit each other, and a file that grows shows zeros.
 */
import { checkData } from '../../src/data/index.js'
import type { Engine } from '../../src/engine/index.js'
import { checkTree } from '../../src/meta/index.js'
import type { Pool } from '../../src/pool/index.js'
import { backgroundContext } from '../../src/sys/index.js'
import { ROOT_NODE, SET_SIZE } from '../../src/vfs/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { ownFolder, SHARED } from './clients.js'
import { isClone } from './clones.js'
import { signatureText } from './history.js'
import type { FileHistory, Found, History, Names } from './history.js'
import { judgeBeside } from './verdict-volumes.js'

const NAMES_BEHIND_MS = 1000
const BYTES_BEHIND_MS = 5000
const ctx = backgroundContext()
const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFLNK = 0o120000

export interface Moment {
  readonly kind: 'cut' | 'death'
  readonly ms: number
  /** What a busy machine adds to the seconds that are promised. */
  readonly slackMs: number
}

/** Path to what is there, by client. */
export async function namesOf(vfs: Vfs, clients: number, root = ROOT_NODE): Promise<Map<string, string>[]> {
  const found: Map<string, string>[] = Array.from({ length: clients }, () => new Map())
  async function walk(ino: number, at: string, client: number | undefined): Promise<void> {
    const entries: { name: string; ino: number; type: number }[] = []
    const { handle } = await vfs.opendir(ctx, ino)
    await vfs.readdir(ctx, ino, handle, 0, 0, { entry: (name, child, type) => (name === '.' || name === '..' || entries.push({ name, ino: child, type }), true) }, false)
    await vfs.releasedir(ctx, ino, handle)
    for (const entry of entries) {
      if (at === '' && isClone(entry.name)) continue
      const full = at === '' ? entry.name : `${at}/${entry.name}`
      const mine = at === '' ? (entry.name === SHARED ? undefined : Number(entry.name.replace(ownFolder(0).slice(0, -1), ''))) : client ?? Number(entry.name.split('-')[0])
      if (at !== '') {
        const what = entry.type === S_IFDIR ? `d${entry.ino}` : entry.type === S_IFLNK ? `l${await vfs.readlink(ctx, entry.ino)}` : `f${entry.ino}`
        found[mine!].set(full, what)
      }
      if ((entry.type & S_IFMT) === S_IFDIR) await walk(entry.ino, full, mine)
    }
  }
  await walk(root, '', undefined)
  return found
}

export const same = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value)

function differenceText(wanted: ReadonlyMap<string, string>, got: ReadonlyMap<string, string>): string {
  const out: string[] = []
  for (const key of new Set([...wanted.keys(), ...got.keys()])) if (wanted.get(key) !== got.get(key)) out.push(`${key}: ${wanted.get(key)} expected, ${got.get(key)} there`)
  return out.slice(0, 5).join('; ')
}

/** For each client, how many of its changes of names are there; problems if no prefix fits. */
function prefixOf(history: History, found: readonly ReadonlyMap<string, string>[], moment: Moment, wrong: string[]): number[] | undefined {
  const { clients, syncs } = history
  let neededMs = moment.kind === 'death' ? moment.ms : moment.ms - NAMES_BEHIND_MS - moment.slackMs
  for (const s of syncs) if (s.endMs <= moment.ms) neededMs = Math.max(neededMs, s.startMs)
  const candidates: number[][] = clients.map((names, c) => {
    const fit: number[] = []
    for (let k = 0; k < names.length && names[k].startMs <= moment.ms; k++) if (same(names[k].state, found[c])) fit.push(k)
    const recent = fit.filter((k) => (names[k + 1]?.endMs ?? Infinity) >= neededMs)
    if (recent.length > 0) return recent
    const next = names[(fit.at(-1) ?? -2) + 1]
    if (next !== undefined) wrong.push(`client ${c}: "${next.what}" is gone, which was answered ${(moment.ms - next.endMs).toFixed(1)} ms before, and needed was all before ${(moment.ms - neededMs).toFixed(1)} ms`)
    else {
      const last = names.findLastIndex((n) => n.startMs <= moment.ms)
      const best = [...Array(last + 1).keys()].map((k) => ({ k, text: differenceText(names[k].state, found[c]) })).sort((a, b) => a.text.length - b.text.length)[0]
      wrong.push(`client ${c}: no prefix of ${last} changes has these names; nearest after ${best.k} ("${names[best.k].what}"): ${best.text}`)
    }
    return []
  })
  if (candidates.some((fit) => fit.length === 0)) return undefined
  const chosen = choose(clients, candidates, [])
  if (chosen === undefined) wrong.push(`the clients' prefixes do not fit together: ${candidates.map((fit, c) => `${c}: "${clients[c][fit[0]].what}" is there, "${clients[c][fit[0] + 1]?.what}" is not`).join('; ')}`)
  return chosen
}

/** One of each such that nothing that is there began after something that is not there was answered. */
function choose(clients: readonly (readonly Names[])[], candidates: readonly (readonly number[])[], chosen: number[]): number[] | undefined {
  const c = chosen.length
  if (c === clients.length) return chosen
  for (const k of candidates[c].toReversed()) {
    const fits = chosen.every((other, d) => clients[c][k].startMs <= (clients[d][other + 1]?.endMs ?? Infinity) && clients[d][other].startMs <= (clients[c][k + 1]?.endMs ?? Infinity))
    const rest = fits ? choose(clients, candidates, [...chosen, k]) : undefined
    if (rest !== undefined) return rest
  }
  return undefined
}

interface Base {
  readonly version: number
  readonly why: string
}

/** The oldest version that the file may still show. */
export function baseline(file: FileHistory, moment: Moment, replaced: number | undefined): Base {
  let base: Base = { version: replaced ?? 0, why: replaced === undefined ? 'made' : 'renamed over another' }
  const atLeast = (version: number, why: string): void => {
    if (version > base.version) base = { version, why }
  }
  file.versions.forEach((version, n) => {
    if (version.endMs > moment.ms) return
    const ageMs = moment.ms - version.endMs
    if (moment.kind === 'death' || ageMs > BYTES_BEHIND_MS + moment.slackMs || (version.hurried && ageMs > NAMES_BEHIND_MS + moment.slackMs)) atLeast(n, `${ageMs.toFixed(1)} ms old`)
  })
  for (const s of file.syncs) if (s.endMs <= moment.ms) atLeast(s.version, `synced ${(moment.ms - s.endMs).toFixed(1)} ms before`)
  return base
}

function checkBytes(file: FileHistory, got: Uint8Array, { version: base, why }: Base, moment: Moment, wrong: string[]): void {
  const versions = file.versions.slice(base).filter((version) => version.startMs <= moment.ms)
  const sizes = versions.map((version) => version.bytes.length)
  const told = `file ${file.id} (inode ${file.ino}, ${why}, versions ${base} to ${base + versions.length - 1}: ${versions.slice(0, 6).map((version) => version.what).join(', ')})`
  if (got.length < Math.min(...sizes) || got.length > Math.max(...sizes)) {
    wrong.push(`${told} has ${got.length} bytes, of ${sizes.join()}`)
    return
  }
  for (let at = 0; at < got.length; at += 512) {
    const end = Math.min(at + 512, got.length)
    if (versions.some((version) => end <= version.bytes.length && version.bytes.compare(got, at, end, at, end) === 0)) continue
    for (let b = at; b < end; b++) {
      if (versions.some((version) => b < version.bytes.length && version.bytes[b] === got[b])) continue
      wrong.push(`${told}: byte ${b} of ${got.length} is of ${signatureText(got, b)}; it may be of ${versions.map((version) => (b < version.bytes.length ? signatureText(version.bytes, b) : 'nothing')).join(' | ')}`)
      return
    }
  }
}

export async function readFile(vfs: Vfs, ino: number): Promise<Buffer> {
  const { sizeBytes } = await vfs.getattr(ctx, ino, 0)
  const into = Buffer.alloc(sizeBytes)
  const { handle } = await vfs.open(ctx, ino, 0o1000000 /* O_NOATIME */)
  const n = await vfs.read(ctx, ino, handle, 0, sizeBytes, into, 0)
  await vfs.release(ctx, ino, handle)
  return into.subarray(0, n)
}

export interface Opened {
  readonly pool: Pool
  readonly engine: Engine
  readonly spaceBytes: number
}

/** Problems, none if all is well; and what is there. */
export async function judge({ pool, engine, spaceBytes }: Opened, history: History, moment: Moment): Promise<{ wrong: string[]; found: Found }> {
  const wrong: string[] = []
  const { vfs } = pool
  const names = await namesOf(vfs, history.clients.length)
  const bytes = new Map<number, Buffer>()
  const prefix = prefixOf(history, names, moment, wrong)
  const first = new Map<FileHistory, number>()
  prefix?.forEach((k, c) => {
    for (const { bytesFirst } of history.clients[c].slice(0, k + 1)) if (bytesFirst !== undefined) first.set(bytesFirst.file, Math.max(first.get(bytesFirst.file) ?? 0, bytesFirst.version))
  })
  for (const there of names) {
    for (const [at, what] of there) {
      const ino = Number(what.slice(1))
      if (!what.startsWith('f') || bytes.has(ino)) continue
      const file = history.files.get(ino)
      if (file === undefined) {
        wrong.push(`${at} is inode ${ino}, which nobody made`)
        continue
      }
      const got = await readFile(vfs, ino)
      bytes.set(ino, got)
      checkBytes(file, got, baseline(file, moment, first.get(file)), moment, wrong)
    }
  }
  const beside = await judgeBeside(pool, history, moment, wrong)
  for await (const { ino, what } of checkTree(engine.reader(ctx))) wrong.push(`tree: inode ${ino} ${what}`)
  for (const what of await checkData(engine, spaceBytes)) wrong.push(`data: ${what}`)
  return { wrong, found: { names, bytes, ...beside } }
}

/** Nothing of what was lost lies behind the end of any file. Changes the pool. */
export async function checkGrowth({ vfs }: Pool, found: Found, history: History, wrong: string[]): Promise<void> {
  for (const [ino, before] of found.bytes) {
    const sizeBytes = before.length + 100 * 1024
    await vfs.setattr(ctx, ino, { valid: SET_SIZE, mode: 0, uid: 0, gid: 0, sizeBytes, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }, 0)
    const after = await readFile(vfs, ino)
    const stray = after.subarray(before.length).findIndex((byte) => byte !== 0)
    if (stray >= 0) wrong.push(`inode ${ino} grew from ${before.length} and shows ${signatureText(after, before.length + stray)} at ${before.length + stray} (${history.files.get(ino)?.versions.map((version, n) => `${n}: ${version.what} at ${version.endMs.toFixed(0)} ms`).join(', ')})`)
  }
}
