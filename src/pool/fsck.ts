/**
 * Checks a pool as a whole, and repairs it: superblock, space header, log, and everything in the rows (meta/check.ts).
 *   - A check changes nothing. Of a pool that a daemon has open it sees one committed state, the one that a crash now would leave, and
 *     does not touch the daemon: LMDB's snapshot with the log over it, read by this process.
 *   - A repair needs the pool for itself. It goes round: check, repair what can be, check again, until nothing is left that can be.
 *     Units that seem to be nobody's are given back only if every row of bytes could be read.
 *   - A row whose checksum is wrong is told, and read as if it was not there; what other rows tell of it is then made again. Rows of
 *     bytes stay, so that their files give EIO and never zeros, until the file is gone; so do snapshots and domains.
 *   - LMDB's pages are walked first, without LMDB: one that leads nowhere would take the process down, or hide rows.
 *   - A damaged log is cut where it cannot be read on; a lost superblock comes back from its copy in the rows.
 *   - After a power cut a repair ends with the recovery that an opening would have begun with: closed cleanly, nobody would do it later.
 */
import { join } from 'node:path'
import { DamagedError, EngineError, inspectLog, inspectPages, openLmdb, rowName } from '../engine/index.js'
import type { DamagedRow, Engine, LogFindings, Reader } from '../engine/index.js'
import { inoOf, openData, partOverlaps } from '../data/index.js'
import type { Finding } from '../data/index.js'
import { changeContent, changeContents, checkPool, hasNoLinks, nameHash, openTree, readContent, repairTree } from '../meta/index.js'
import type { Checked } from '../meta/index.js'
import { checkSpaceHeader, openSpace, openUnitsCheck, promiseGroup, repairGroup, repairSpaceHeader, repairUnitsCounter } from '../store/index.js'
import type { Overlap, WrongGroup } from '../store/index.js'
import { PosixError, rootContext } from '../sys/index.js'
import type { Clock, Random } from '../sys/index.js'
import { refusalOf, SPACE_FILE } from './folder.js'
import { Refusal } from './refusal.js'
import { keepCopy, readCopy, readSuperblock, SUPERBLOCK_FILE, writeSuperblock } from './superblock.js'
import type { Superblock } from './superblock.js'

const ROUNDS_MAX = 10
/** Kept in memory and told one by one; more are counted. */
const FINDINGS_MAX = 10_000
const GROUPS_MAX = 20_000
const EVENTS_AT_ONCE = 1000

export interface FsckOptions {
  readonly clock: Clock
  readonly random: Random
  /** A daemon has the pool open: only look. */
  readonly isLive: boolean
  readonly repair: boolean
  found(finding: FsckFinding): void
  /** A repair did this. */
  did(ino: number, what: string): void
  progress?(round: number, inodes: number, of: number): void
}

export interface FsckFinding {
  readonly ino: number
  readonly what: string
  /** Where the inode is, if that can be told. */
  readonly path: string | undefined
}

export interface FsckReport {
  readonly inodes: number
  readonly directories: number
  readonly bytes: number
  /** Of the first check; those that the last one did not find any more; those that it found. */
  readonly found: number
  readonly corrected: number
  readonly left: number
  /** Rounds of repairs. */
  readonly rounds: number
  readonly replayedRecords: number
  /** After a power cut: records in the log that were never synced, behind the end of what counts. Nothing to worry about. */
  readonly unsyncedRecords: number
}

/** Kinds of rows that no other row can tell: they are not given up. */
const KEPT_KINDS = 'EHKLMNPUVW'
const BYTES_KINDS = 'EHP'

/** The pool that is looked at. */
interface Patient {
  readonly folder: string
  readonly spacePath: string
  readonly options: FsckOptions
  /** Rows that were read with a wrong checksum, by name; of those that were given up none. */
  readonly damaged: Map<string, DamagedRow>
  open(purpose: 'look' | 'repair'): Promise<Engine>
}

interface Round {
  readonly findings: readonly Finding[]
  readonly count: number
  readonly checked: Checked
  readonly groups: readonly WrongGroup[]
  readonly overlaps: readonly Overlap[]
  readonly units: number
}

const isRepairable = (f: Finding): boolean => f.kind !== 'report'

function patientOf(folder: string, options: FsckOptions): Patient {
  const { clock, random } = options
  const damaged = new Map<string, DamagedRow>()
  const onDamaged = (row: DamagedRow): 'skip' => {
    damaged.set(rowName(row), row)
    return 'skip'
  }
  const open = (purpose: 'look' | 'repair'): Promise<Engine> => openLmdb({ folder, clock, random, readOnly: purpose === 'look', damagedLog: 'cut', onDamaged })
  return { folder, spacePath: join(folder, SPACE_FILE), options, damaged, open }
}

export async function fsckPool(folder: string, options: FsckOptions): Promise<FsckReport> {
  const patient = patientOf(folder, options)
  const early: Finding[] = []
  const say = (what: string): void => void early.push({ ino: 0, what, kind: 'report' })
  const nothing: FsckReport = { inodes: 0, directories: 0, bytes: 0, found: 0, corrected: 0, left: 0, rounds: 0, replayedRecords: 0, unsyncedRecords: 0 }
  let corrected = 0
  let log: LogFindings | undefined
  let first: Round
  let superblock: Superblock | undefined
  let spaceBytes: number
  try {
    const pages = inspectPages(folder)
    for (const what of pages) say(`the LMDB file is damaged: ${what}`)
    if (pages.length > 0) { // not opened: LMDB would follow them
      say('rows cannot be read for certain: put the whole pool back from a copy')
      early.forEach((f) => options.found({ ...f, path: undefined }))
      return { ...nothing, found: early.length, left: early.length }
    }
    superblock = guarded(folder, () => readSuperblock(folder), say)
    if (superblock === undefined) {
      superblock = await copyOf(patient)
      if (superblock !== undefined && options.repair) {
        writeSuperblock(folder, superblock)
        options.did(0, 'the superblock is written anew, from its second copy')
        corrected++
      }
    }
    if (superblock === undefined) {
      early.forEach((f) => options.found({ ...f, path: undefined }))
      return { ...nothing, found: early.length, left: early.length }
    }
    const checked = checkHeader(patient, superblock, say)
    corrected += checked.corrected
    spaceBytes = checked.spaceBytes
    if (!options.isLive) log = await inspectLog(folder)
    if (log?.damage !== undefined) say(log.damage)
    first = await look(patient, superblock, spaceBytes)
  } catch (e) {
    if (!(e instanceof EngineError) && !(e instanceof DamagedError) && !isLmdbs(e)) throw e
    say(isLmdbs(e) ? `the LMDB file is damaged (${e.message}): put the whole pool back from a copy` : (e as Error).message.replace(/: run ogee fsck on the pool\.$/, ''))
    early.forEach((f) => options.found({ ...f, path: undefined }))
    return { ...nothing, found: early.length, left: early.length - corrected, corrected }
  }
  for (const name of patient.damaged.keys()) say(`${name} is damaged`)
  const found = early.length + first.count
  early.forEach((f) => options.found({ ...f, path: undefined }))
  await tell(patient, superblock, first.findings)
  const done = { inodes: first.checked.inodes, directories: first.checked.directories, bytes: first.checked.bytes, found, replayedRecords: log?.records ?? 0, unsyncedRecords: log === undefined || log.sameBoot || log.damage !== undefined ? 0 : log.recordsBehind }
  const isToRepair = log?.damage !== undefined || patient.damaged.size > 0 || first.findings.some(isRepairable)
  if (!options.repair || !isToRepair) return { ...done, corrected, left: found - corrected, rounds: 0 }
  if (log?.damage !== undefined) {
    options.did(0, `the log ends at its damage now: ${log.lost} changes are lost, ${log.lostSynced} of them known as synced; files that they changed may hold older or wrong bytes`)
    corrected++
  }
  const damagedBefore = patient.damaged.size
  const { last, rounds } = await repair(patient, superblock, spaceBytes, first).catch(unreadable)
  corrected += damagedBefore - patient.damaged.size
  const left = last.count + early.length - corrected
  if (last.count > 0) for (const f of last.findings) options.did(f.ino, `${f.what}: this is left`)
  for (const name of patient.damaged.keys()) options.did(0, `${name} is damaged, and stays: what needs it gives EIO`)
  return { ...done, inodes: last.checked.inodes, directories: last.checked.directories, bytes: last.checked.bytes, rounds, left, corrected: Math.max(0, found - left) }
}

/** A repair met a row that all depends on, and that no other row tells. */
function unreadable(e: unknown): never {
  if (!(e instanceof PosixError) || e.code !== 'EIO') throw e
  throw new Refusal('damaged', `A repair needs what cannot be read (${e.message.replace(/: unmount.*$/, '')}): put the whole pool back from a copy.`)
}

/** The second copy of the superblock. */
async function copyOf({ folder, open }: Patient): Promise<Superblock | undefined> {
  const engine = await open('look')
  try {
    return await readCopy(engine.reader(rootContext), folder)
  } finally {
    await engine.close()
  }
}

function checkHeader({ folder, spacePath, options }: Patient, superblock: Superblock, say: (what: string) => void): { readonly corrected: number; readonly spaceBytes: number } {
  const header = guarded(folder, () => checkSpaceHeader(spacePath), say)
  if (header !== undefined && header.sizeBytes < superblock.sizeBytes) say(`the space has ${header.sizeBytes} bytes by its header, the superblock says ${superblock.sizeBytes}`)
  if (header !== undefined && header.damagedCopies > 0) say(`the header of the space has ${header.damagedCopies} damaged ${header.damagedCopies === 1 ? 'copy' : 'copies'}`)
  let corrected = 0
  if ((header === undefined || header.damagedCopies > 0) && options.repair) {
    repairSpaceHeader(spacePath, superblock.sizeBytes, options.random)
    options.did(0, 'the header of the space is written anew')
    corrected++
  }
  return { corrected, spaceBytes: Math.max(superblock.sizeBytes, header?.sizeBytes ?? 0) }
}

/** What LMDB says of pages that cannot be. */
const isLmdbs = (e: unknown): e is Error => e instanceof Error && /^MDB_|page \d+ not found|corrupted/i.test(e.message)

/** What can be known of the damage as a sentence; what stops us from looking is thrown. */
function guarded<T>(folder: string, read: () => T, say: (what: string) => void): T | undefined {
  try {
    return read()
  } catch (e) {
    if (e instanceof Error && 'code' in e && e.code === 'ENOENT' && 'path' in e && e.path === join(folder, SUPERBLOCK_FILE)) {
      say('the superblock is missing')
      return undefined
    }
    const known = e instanceof PosixError && e.code === 'EUCLEAN' ? new Refusal('damaged', `${e.message}.`) : refusalOf(e, folder)
    if (!(known instanceof Refusal) || known.reason !== 'damaged') throw known
    say(known.message.replace(/(: write it anew from .*)?\.$/, ''))
    return undefined
  }
}

async function look(patient: Patient, superblock: Superblock, spaceBytes: number): Promise<Round> {
  const engine = await patient.open('look')
  try {
    return await lookAt(engine, patient, superblock, spaceBytes, 0)
  } finally {
    await engine.close()
  }
}

async function lookAt(engine: Engine, { options, damaged }: Patient, superblock: Superblock, spaceBytes: number, round: number): Promise<Round> {
  const reader = engine.reader(rootContext)
  const hash = nameHash(superblock.nameKey)
  const findings: Finding[] = []
  const groups: WrongGroup[] = []
  let count = 0
  const tree = openTree({ hashKey: superblock.nameKey })
  const { inodes: of } = await tree.usage(reader)
  const units = await openUnitsCheck(reader, spaceBytes)
  const checked = await checkPool(reader, {
    hash, units,
    found(finding) {
      count++
      if (findings.length < FINDINGS_MAX) findings.push(finding)
    },
    wrongGroup(wrong) {
      if (groups.length < GROUPS_MAX) groups.push(wrong)
    },
    progress: (inodes) => options.progress?.(round, inodes, of)
  })
  await readRest(engine, reader)
  const isUnreadable = checked.isUnreadable || [...damaged.values()].some((row) => isOfKinds(row, BYTES_KINDS))
  const spoilt = new Set([...damaged.values()].filter((row) => isOfKinds(row, 'EP')).map((row) => inoOf(row.key)))
  // what its inode says is not wrong because a row cannot be read: with nothing allocated it would read as zeros
  for (const [i, f] of findings.entries()) if (f.kind === 'content' && spoilt.has(f.ino)) findings[i] = { ...f, kind: 'report' }
  return { findings, count, checked: { ...checked, isUnreadable }, groups, overlaps: units.overlaps, units: (await units.units()).claimed }
}

/** What nobody else looks at, for its checksums: snapshots, the copy of the superblock, the change log. */
async function readRest(engine: Engine, reader: Reader): Promise<void> {
  for (const kind of 'NSVW') await reader.scan({ from: kind, to: String.fromCharCode(kind.charCodeAt(0) + 1), limit: Infinity })
  for (let session = 1; session <= engine.session; session++) {
    for (let from = 1, more = true; more; ) {
      const events = await engine.changes(session, from, EVENTS_AT_ONCE)
      more = events.length === EVENTS_AT_ONCE
      if (more) from = events[events.length - 1].n + 1
    }
  }
}

const isOfKinds = ({ table, key }: DamagedRow, kinds: string): boolean => table === 'rows' && kinds.includes(key[0])

/** Findings with the paths of their inodes. */
async function tell({ open, options }: Patient, superblock: Superblock, findings: readonly Finding[]): Promise<void> {
  if (findings.length === 0) return
  const tree = openTree({ hashKey: superblock.nameKey })
  const engine = await open('look')
  try {
    const reader = engine.reader(rootContext)
    const pathOf = async (ino: number): Promise<string | undefined> => {
      let path = ''
      for (let at = ino, depth = 0; at !== 1; depth++) {
        const [link] = await tree.links(reader, at)
        if (link === undefined || depth > 4096) return undefined
        path = `/${Buffer.from(link.name, 'latin1').toString('utf8')}${path}`
        at = link.parent
      }
      return path === '' ? '/' : path
    }
    for (const { ino, what } of findings) {
      const path = ino === 0 ? undefined : await pathOf(ino).catch((e: unknown) => {
        if (e instanceof PosixError) return undefined
        throw e
      })
      options.found({ ino, what, path })
    }
  } finally {
    await engine.close()
  }
}

async function repair(patient: Patient, superblock: Superblock, spaceBytes: number, first: Round): Promise<{ readonly last: Round; readonly rounds: number }> {
  const { options, spacePath } = patient
  const now = { sec: 0, nsec: 0 }
  options.clock.realtime(now)
  const engine = await patient.open('repair')
  try {
    const hash = nameHash(superblock.nameKey)
    const givenUp = await giveUpRows(engine, patient)
    let round = givenUp ? await lookAt(engine, patient, superblock, spaceBytes, 1) : first
    let rounds = 0
    for (let before = ''; rounds < ROUNDS_MAX && round.findings.some(isRepairable); rounds++) {
      const now2 = JSON.stringify(round.findings.map((f) => [f.ino, f.what]))
      if (now2 === before) break // no step forward
      before = now2
      await repairTree({ engine, hash, now, did: options.did }, round.findings, round.checked)
      await repairUnits(engine, spacePath, round, options)
      if (round.overlaps.length > 0 && round.groups.length === 0) await part(engine, spacePath, round.overlaps, options)
      await engine.sync(rootContext)
      round = await lookAt(engine, patient, superblock, spaceBytes, rounds + 1)
    }
    await keepCopy(engine, superblock)
    if (!engine.recovery.clean) await recover(engine, spacePath, options)
    return { last: round, rounds }
  } finally {
    await engine.close()
  }
}

/** Damaged rows go, but for those of which nothing else tells. Answers whether any did. */
async function giveUpRows(engine: Engine, { damaged, options }: Patient): Promise<boolean> {
  const before = damaged.size
  for (const [name, row] of [...damaged]) {
    const isKept = isOfKinds(row, KEPT_KINDS) && !(isOfKinds(row, 'EP') && await hasNoLinks(engine.reader(rootContext), row.key))
    if (isKept) continue
    if (row.table === 'rows') await engine.transact(rootContext, (tx) => tx.delete(row.key)) // others go when they are read, or are written anew
    damaged.delete(name)
    options.did(0, row.table === 'system' ? `${name} is written anew` : `${name} is given up`)
  }
  if (damaged.size < before) await engine.checkpoint() // until then a scan meets them below what hides them
  return damaged.size < before
}

async function repairUnits(engine: Engine, spacePath: string, { groups, checked, findings, units }: Round, { did }: FsckOptions): Promise<void> {
  // rows of nobody go first, and with them what they claim
  if (findings.some((f) => f.kind === 'owner')) return
  for (const wrong of groups) {
    const shouldBe = checked.isUnreadable ? wrong.shouldBe.map((byte, i) => byte | wrong.is[i]) : wrong.shouldBe
    if (!wrong.isCoarse || wrong.missing > 0) promiseGroup(spacePath, wrong.group)
    await repairGroup(engine, { ...wrong, shouldBe })
    if (!wrong.isCoarse) did(0, `block group ${wrong.group} is marked as in use now, if anything of it is`)
    if (wrong.missing > 0) did(0, `block group ${wrong.group}: ${wrong.missing} units are in use now, as somebody holds them`)
    if (wrong.leaked > 0 && !checked.isUnreadable) did(0, `block group ${wrong.group}: ${wrong.leaked} units are free now, as nobody holds them`)
  }
  if (groups.length === 0 && !checked.isUnreadable && findings.some((f) => f.kind === 'units')) {
    await repairUnitsCounter(engine, units)
    did(0, `the allocator counts ${units} units in use now`)
  }
}

/** Once the allocator's rows hold all that is claimed. */
async function part(engine: Engine, spacePath: string, overlaps: readonly Overlap[], { clock, did }: FsckOptions): Promise<void> {
  const store = await openSpace({ engine, path: spacePath, clock })
  try {
    await partOverlaps(engine, store, overlaps, did)
  } finally {
    await store.close()
  }
}

async function recover(engine: Engine, spacePath: string, { clock }: FsckOptions): Promise<void> {
  const store = await openSpace({ engine, path: spacePath, clock })
  try {
    const data = openData({ engine, store, clock, changeContent: changeContent(engine), changeContents: changeContents(engine), readContent: readContent(engine) })
    await data.recover(rootContext)
    await data.close()
  } finally {
    await store.close()
  }
}
