/**
 * Checks a pool as a whole, and repairs it: superblock, space header, log, and everything in the rows (meta/check.ts).
 *   - A check changes nothing. Of a pool that a daemon has open it sees one committed state, the one that a crash now would leave, and
 *     does not touch the daemon: LMDB's snapshot with the log over it, read by this process.
 *   - A repair needs the pool for itself. It goes round: check, repair what can be, check again, until nothing is left that can be.
 *     Units that seem to be nobody's are given back only if every row of bytes could be read.
 *   - After a power cut a repair ends with the recovery that an opening would have begun with: closed cleanly, nobody would do it later.
 */
import { join } from 'node:path'
import { EngineError, inspectLog, openLmdb } from '../engine/index.js'
import type { Engine } from '../engine/index.js'
import { openData } from '../data/index.js'
import type { Finding } from '../data/index.js'
import { changeContent, checkPool, nameHash, openTree, readContent, repairTree } from '../meta/index.js'
import type { Checked } from '../meta/index.js'
import { checkSpaceHeader, openSpace, openUnitsCheck, promiseGroup, repairGroup, repairSpaceHeader, repairUnitsCounter } from '../store/index.js'
import type { WrongGroup } from '../store/index.js'
import { PosixError, rootContext } from '../sys/index.js'
import type { Clock, Random } from '../sys/index.js'
import { refusalOf, SPACE_FILE } from './folder.js'
import { Refusal } from './refusal.js'
import { readSuperblock } from './superblock.js'
import type { Superblock } from './superblock.js'

const ROUNDS_MAX = 10
/** Kept in memory and told one by one; more are counted. */
const FINDINGS_MAX = 10_000
const GROUPS_MAX = 20_000

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

interface Round {
  readonly findings: readonly Finding[]
  readonly count: number
  readonly checked: Checked
  readonly groups: readonly WrongGroup[]
  readonly units: number
}

const isRepairable = (f: Finding): boolean => f.kind !== 'report'

export async function fsckPool(folder: string, options: FsckOptions): Promise<FsckReport> {
  const early: Finding[] = []
  const say = (what: string): void => void early.push({ ino: 0, what, kind: 'report' })
  const nothing: FsckReport = { inodes: 0, directories: 0, bytes: 0, found: 1, corrected: 0, left: 1, rounds: 0, replayedRecords: 0, unsyncedRecords: 0 }
  const superblock = guarded(folder, () => readSuperblock(folder), say)
  if (superblock === undefined) {
    early.forEach((f) => options.found({ ...f, path: undefined }))
    return nothing
  }
  let corrected = 0
  const spacePath = join(folder, SPACE_FILE)
  const header = guarded(folder, () => checkSpaceHeader(spacePath), say)
  if (header !== undefined && header.sizeBytes < superblock.sizeBytes) say(`the space has ${header.sizeBytes} bytes by its header, the superblock says ${superblock.sizeBytes}`)
  if (header !== undefined && header.damagedCopies > 0) say(`the header of the space has ${header.damagedCopies} damaged ${header.damagedCopies === 1 ? 'copy' : 'copies'}`)
  if ((header === undefined || header.damagedCopies > 0) && options.repair) {
    repairSpaceHeader(spacePath, superblock.sizeBytes, options.random)
    options.did(0, 'the header of the space is written anew')
    corrected++
  }
  const spaceBytes = Math.max(superblock.sizeBytes, header?.sizeBytes ?? 0)

  let log = { records: 0, recordsBehind: 0, sameBoot: true }
  let first: Round
  try {
    if (!options.isLive) {
      log = await inspectLog(folder)
      if (log.sameBoot && log.recordsBehind > 0) say(`the log is damaged: ${log.recordsBehind} changes lie behind a record that cannot be read`)
    }
    first = await look(folder, superblock, spaceBytes, options, 0)
  } catch (e) {
    if (!(e instanceof EngineError) && !isLmdbs(e)) throw e
    say(e instanceof EngineError ? e.message.replace(/: run ogee fsck on the pool\.$/, '') : `the LMDB file is damaged (${e.message}): put the whole pool back from a copy`)
    early.forEach((f) => options.found({ ...f, path: undefined }))
    return { ...nothing, found: early.length, left: early.length - corrected, corrected }
  }
  const found = early.length + first.count
  early.forEach((f) => options.found({ ...f, path: undefined }))
  await tell(folder, first.findings, options)
  const done = { inodes: first.checked.inodes, directories: first.checked.directories, bytes: first.checked.bytes, found, replayedRecords: log.records, unsyncedRecords: log.sameBoot ? 0 : log.recordsBehind }
  if (!options.repair || !first.findings.some(isRepairable)) return { ...done, corrected, left: found - corrected, rounds: 0 }
  const { last, rounds } = await repair(folder, superblock, spaceBytes, options, first)
  const left = last.count + early.length - corrected
  if (last.count > 0) for (const f of last.findings) options.did(f.ino, `${f.what}: this is left`)
  return { ...done, inodes: last.checked.inodes, directories: last.checked.directories, bytes: last.checked.bytes, rounds, left, corrected: Math.max(0, found - left) }
}

/** What LMDB says of pages that cannot be. */
const isLmdbs = (e: unknown): e is Error => e instanceof Error && /^MDB_|page \d+ not found|corrupted/i.test(e.message)

/** What can be known of the damage as a sentence; what stops us from looking is thrown. */
function guarded<T>(folder: string, read: () => T, say: (what: string) => void): T | undefined {
  try {
    return read()
  } catch (e) {
    const known = e instanceof PosixError && e.code === 'EUCLEAN' ? new Refusal('damaged', `${e.message}.`) : refusalOf(e, folder)
    if (!(known instanceof Refusal) || known.reason !== 'damaged') throw known
    say(known.message.replace(/\.$/, ''))
    return undefined
  }
}

async function look(folder: string, superblock: Superblock, spaceBytes: number, options: FsckOptions, round: number): Promise<Round> {
  const engine = await openLmdb({ folder, clock: options.clock, random: options.random, readOnly: true })
  try {
    return await lookAt(engine, superblock, spaceBytes, options, round)
  } finally {
    await engine.close()
  }
}

async function lookAt(engine: Engine, superblock: Superblock, spaceBytes: number, options: FsckOptions, round: number): Promise<Round> {
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
  return { findings, count, checked, groups, units: (await units.units()).claimed }
}

/** Findings with the paths of their inodes. */
async function tell(folder: string, findings: readonly Finding[], options: FsckOptions): Promise<void> {
  if (findings.length === 0) return
  const superblock = readSuperblock(folder)
  const tree = openTree({ hashKey: superblock.nameKey })
  const engine = await openLmdb({ folder, clock: options.clock, random: options.random, readOnly: true })
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

async function repair(folder: string, superblock: Superblock, spaceBytes: number, options: FsckOptions, first: Round): Promise<{ readonly last: Round; readonly rounds: number }> {
  const { clock, random } = options
  const spacePath = join(folder, SPACE_FILE)
  const now = { sec: 0, nsec: 0 }
  clock.realtime(now)
  const engine = await openLmdb({ folder, clock, random })
  try {
    const hash = nameHash(superblock.nameKey)
    let round = first
    let rounds = 0
    for (let before = ''; rounds < ROUNDS_MAX && round.findings.some(isRepairable); rounds++) {
      const now2 = JSON.stringify(round.findings.map((f) => [f.ino, f.what]))
      if (now2 === before) break // no step forward
      before = now2
      await repairTree({ engine, hash, now, did: options.did }, round.findings, round.checked)
      await repairUnits(engine, spacePath, round, options)
      await engine.sync(rootContext)
      round = await lookAt(engine, superblock, spaceBytes, options, rounds + 1)
    }
    if (!engine.recovery.clean) await recover(engine, spacePath, options)
    return { last: round, rounds }
  } finally {
    await engine.close()
  }
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

async function recover(engine: Engine, spacePath: string, { clock }: FsckOptions): Promise<void> {
  const store = await openSpace({ engine, path: spacePath, clock })
  try {
    const data = openData({ engine, store, clock, changeContent: changeContent(engine), readContent: readContent(engine) })
    await data.recover(rootContext)
    await data.close()
  } finally {
    await store.close()
  }
}
