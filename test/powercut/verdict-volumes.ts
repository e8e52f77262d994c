/**
 * The law of verdict.ts for volumes and snapshots:
 *   1. A volume has all that a FLUSH or FUA answered, and what is older than 5 s; every sector of 512 bytes is whole, and one that was written there since.
 *   2. It is as before a rollback, or as the snapshot says, wholly; and with it go the snapshots that are younger, or none of them.
 *   3. A snapshot that was answered is there; one that was removed is not; of one on its way nobody knows.
 *   4. Clones of the tree's snapshots: clones.ts.
 *   5. Whatever snapshot is there shows one moment between two changes while it was taken: tree and bytes, to the last one.
 */
import type { Pool } from '../../src/pool/index.js'
import { backgroundContext } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import { judgeClones } from './clones.js'
import { signatureText, STRIPE_BYTES, VOLUME } from './history.js'
import type { FileHistory, Found, History, Names, Shown, SnapshotHistory, Version } from './history.js'
import { baseline, namesOf, readFile, same } from './verdict.js'
import type { Moment } from './verdict.js'
import { readStripes } from './volume-client.js'

const SECTOR_BYTES = 512
const ctx = backgroundContext()

const keyOf = ({ of, name }: Pick<SnapshotHistory, 'of' | 'name'>): string => `${of}@${name}`

async function shownBy(pool: Pool, of: string, name: string, clients: number): Promise<Shown> {
  if (of === VOLUME) return { stripes: await readStripes(pool, `${VOLUME}@${name}`), names: [], bytes: new Map() }
  const list = await pool.vfs.lookup(ctx, ROOT_NODE, '.snapshots')
  const root = await pool.vfs.lookup(ctx, list!.ino, name)
  const names = await namesOf(pool.vfs, clients, root!.ino)
  const bytes = new Map<number, Buffer>()
  for (const there of names) {
    for (const [at, what] of there) {
      const node = Number(what.slice(1))
      if (what.startsWith('l')) continue
      if (what.startsWith('f') && !bytes.has(inodeOf(node))) bytes.set(inodeOf(node), await readFile(pool.vfs, node))
      there.set(at, `${what[0]}${inodeOf(node)}`)
    }
  }
  return { stripes: [], names, bytes }
}
/** A node of a snapshot is the live one's number and, above it, which snapshot. */
const inodeOf = (node: number): number => node % 2 ** 44

export async function judgeBeside(pool: Pool, history: History, moment: Moment, wrong: string[]): Promise<Pick<Found, 'stripes' | 'snapshots' | 'clones' | 'wentBack'>> {
  const stripes = await readStripes(pool, VOLUME)
  const isBack = judgeStripes(history.stripes, stripes, moment, wrong)
  const snapshots: Found['snapshots'][number][] = []
  for (const of of ['/', VOLUME]) {
    for (const { name } of await pool.snapshots.list(of)) snapshots.push({ of, name, found: await shownBy(pool, of, name, history.clients.length) })
  }
  judgeSnapshots(history, new Map(snapshots.map((s) => [keyOf(s), s.found])), moment, isBack, wrong)
  const clones = await judgeClones(pool, history, moment.ms, wrong)
  return { stripes, snapshots, clones, wentBack: isBack === 'yes' ? true : isBack === 'no' ? false : undefined }
}

// ------------------------------------------------------------------------------------------------------------ the volume

/** 'either': nobody can tell, or nobody asked for it. */
type IsBack = 'yes' | 'no' | 'either' | 'neither'

function judgeStripes(stripes: readonly FileHistory[], got: readonly Buffer[], moment: Moment, wrong: string[]): IsBack {
  const under = stripes.map((s) => s.versions.filter((v) => v.startMs <= moment.ms))
  const last = under[0].at(-1)!
  const rollback = last.isRollback === true && last.endMs > moment.ms ? last : undefined
  const before: string[] = []
  stripes.forEach((stripe, n) => {
    const base = baseline(stripe, moment, undefined)
    const versions = under[n].slice(base.version, rollback === undefined ? undefined : -1)
    const sector = strangeSector(versions, got[n])
    if (sector < 0) return
    before.push(`stripe ${n} of the volume (${base.why}, versions ${base.version} to ${base.version + versions.length - 1}: ${versions.slice(0, 8).map((v) => v.what).join(', ')}): the sector at ${sector} is of ${signatureText(got[n], sector)}; it may be of ${versions.map((v) => signatureText(v.bytes, sector)).join(' | ')}`)
  })
  const isAfter = rollback !== undefined && under.every((versions, n) => versions.at(-1)!.bytes.equals(got[n]))
  if (before.length > 0 && !isAfter) {
    wrong.push(...before.map((text) => (rollback === undefined ? text : `in a rollback (${rollback.what}): ${text}`)))
    return 'neither'
  }
  return rollback === undefined || (isAfter && before.length === 0) ? 'either' : isAfter ? 'yes' : 'no'
}

/** The first sector that is no version's, or -1. */
function strangeSector(versions: readonly Version[], got: Buffer): number {
  for (let at = 0; at < STRIPE_BYTES; at += SECTOR_BYTES) {
    const end = at + SECTOR_BYTES
    if (!versions.some((v) => v.bytes.compare(got, at, end, at, end) === 0)) return at
  }
  return -1
}

// ------------------------------------------------------------------------------------------------------------- snapshots

function judgeSnapshots(history: History, there: ReadonlyMap<string, Shown>, moment: Moment, isBack: IsBack, wrong: string[]): void {
  const { ms } = moment
  const known = new Set<string>()
  const wentBack = { there: 0, gone: 0 }
  for (const s of history.snapshots) {
    if (s.startMs > ms) continue
    const key = keyOf(s)
    known.add(key)
    const shown = there.get(key)
    const isGoing = s.removal !== undefined && s.removal.startMs <= ms
    if (shown === undefined && s.endMs <= ms && !isGoing) wrong.push(`snapshot ${key} is gone, which was answered ${(ms - s.endMs).toFixed(1)} ms before`)
    if (shown !== undefined && isGoing && s.removal!.endMs <= ms) wrong.push(`snapshot ${key} is there, whose removal was answered ${(ms - s.removal!.endMs).toFixed(1)} ms before`)
    if (s.of === VOLUME && isGoing && s.removal!.endMs > ms && s.removal!.startMs === rollbackStart(history, ms)) wentBack[shown === undefined ? 'gone' : 'there']++
    if (shown !== undefined) judgeShown(history, s, shown, ms, wrong)
  }
  for (const key of there.keys()) if (!known.has(key)) wrong.push(`snapshot ${key} is there, which nobody took`)
  if (wentBack.there > 0 && wentBack.gone > 0) wrong.push(`a rollback removed ${wentBack.gone} younger snapshots, and left ${wentBack.there}`)
  if (wentBack.there > 0 && isBack === 'yes') wrong.push('the volume went back, and younger snapshots are there')
  if (wentBack.gone > 0 && isBack === 'no') wrong.push('the volume did not go back, and younger snapshots are gone')
}

function rollbackStart({ stripes }: History, ms: number): number | undefined {
  const last = stripes[0].versions.findLast((v) => v.startMs <= ms)
  return last?.isRollback === true ? last.startMs : undefined
}

/** Something that had one state after the other, and which of them the snapshot may show. */
interface Line {
  readonly what: string
  readonly steps: readonly { readonly startMs: number, readonly endMs: number }[]
  readonly fits: (n: number) => boolean
}

function linesOf(history: History, shown: Shown): Line[] {
  const ofBytes = (what: string, versions: readonly Version[], bytes: Buffer): Line =>
    ({ what, steps: versions, fits: (n) => versions[n].bytes.equals(bytes) || (n > 0 && versions[n].what.startsWith('copy ') && isUnderWay(versions[n - 1].bytes, versions[n].bytes, bytes)) })
  return [
    ...shown.stripes.map((bytes, n) => ofBytes(`stripe ${n}`, history.stripes[n].versions, bytes)),
    ...shown.names.map((names, c): Line => {
      const steps: readonly Names[] = history.clients[c]
      return { what: `the names of client ${c}`, steps, fits: (n) => same(steps[n].state, names) }
    }),
    ...[...shown.bytes].map(([ino, bytes]) => ofBytes(`inode ${ino}`, history.files.get(ino)?.versions ?? [], bytes))
  ]
}

/** A copy is several changes, from its first byte to its last: a snapshot may lie between two of them. */
function isUnderWay(before: Buffer, after: Buffer, bytes: Buffer): boolean {
  let at = 0
  while (at < bytes.length && at < after.length && bytes[at] === after[at]) at++
  return bytes.subarray(at).equals(before.subarray(at))
}

function judgeShown(history: History, s: SnapshotHistory, shown: Shown, ms: number, wrong: string[]): void {
  if (s.found !== undefined) {
    if (!isSameShown(s.found, shown)) wrong.push(`snapshot ${keyOf(s)} is not what it was before the last cut`)
    return
  }
  const fromMs = s.startMs
  const toMs = Math.min(s.endMs, ms)
  let open = linesOf(history, shown).map((line) => ({ ...line, spans: spansOf(line, fromMs, toMs) }))
  const none = open.find(({ spans }) => spans.length === 0)
  if (none !== undefined) {
    wrong.push(`snapshot ${keyOf(s)}: ${none.what} was never so while it was taken (${nearest(none)})`)
    return
  }
  open = open.filter(({ spans }) => spans[0].fromMs > fromMs || spans[0].toMs < toMs)
  const moments = [fromMs, ...open.flatMap(({ spans }) => spans.map((span) => span.fromMs))]
  if (!moments.some((at) => open.every(({ spans }) => spans.some((span) => span.fromMs <= at && at <= span.toMs)))) {
    wrong.push(`snapshot ${keyOf(s)} shows no one moment: ${open.map(({ what, spans }) => `${what} ${spans.map((span) => `${(span.fromMs - fromMs).toFixed(3)} to ${(span.toMs - fromMs).toFixed(3)}`).join(', ')}`).join('; ')} of ${(toMs - fromMs).toFixed(3)} ms`)
  }
}

interface Span { readonly fromMs: number, readonly toMs: number }

/** When it was as shown, between two moments. Change n took hold at some time between its start and its end. */
function spansOf({ steps, fits }: Line, fromMs: number, toMs: number): Span[] {
  const spans: Span[] = []
  for (let n = 0; n < steps.length && steps[n].startMs <= toMs; n++) {
    const span = { fromMs: Math.max(fromMs, steps[n].startMs), toMs: Math.min(toMs, steps[n + 1]?.endMs ?? Infinity) }
    if (span.fromMs <= span.toMs && fits(n)) spans.push(span)
  }
  return spans
}

const nearest = ({ steps, fits }: Line): string => {
  const n = steps.findLastIndex((_, i) => fits(i))
  return n < 0 ? 'nor ever' : `but from ${steps[n].startMs.toFixed(3)} to ${(steps[n + 1]?.endMs ?? Infinity).toFixed(3)} ms`
}

function isSameShown(a: Shown, b: Shown): boolean {
  return a.stripes.every((bytes, n) => bytes.equals(b.stripes[n])) && a.names.every((names, n) => same(names, b.names[n])) &&
    a.bytes.size === b.bytes.size && [...a.bytes].every(([ino, bytes]) => b.bytes.get(ino)?.equals(bytes) === true)
}
