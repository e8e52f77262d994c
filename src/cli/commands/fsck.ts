/**
 * `ogee fsck`: is the pool whole, and what can be made whole. Exit codes are fsck(8)'s, added up: 0 nothing wrong, 1 corrected,
 * 4 left uncorrected, 8 could not look, 16 wrong usage.
 *   - A mounted pool is looked at while it is in use, and never changed.
 *   - It works in a process of its own: LMDB trusts its pages, and reading a damaged one may crash whoever does. That too is a finding.
 *   - Findings go to stdout, one a line, as they are known; what a repair does follows. With --json one object at the end.
 */
import { spawnSync } from 'node:child_process'
import type { Command } from 'commander'
import { fsckPool, holderText, Refusal, resolvePool, tryLock } from '../../pool/index.js'
import type { FsckFinding, FsckReport } from '../../pool/index.js'
import { systemClock, systemRandom } from '../../sys/index.js'
import { askStatus } from '../daemon/client.js'
import { locate } from '../locate.js'
import { bytesText, note, say, sentence } from '../output.js'
import { MAIN_FILE } from '../places.js'
import { progressBar } from '../progress.js'

const CORRECTED = 1
const LEFT = 4
const FAILED = 8
export const FSCK_USAGE = 16

interface Flags {
  readonly repair?: boolean
  readonly json?: boolean
}

export const addFsck = (program: Command): void => {
  program.command('fsck').argument('<POOL|DIR>', "the pool's folder, or where it is mounted")
    .summary('check a pool, and repair it')
    .description('Reads everything that the pool knows of its files and of its space, and says what does not fit.\nA mounted pool is checked as it is at this moment, while it is in use; to repair it, unmount it first.')
    .option('--repair', 'make whole what can be: nothing is guessed, what lost its name goes to /lost+found')
    .option('--json', 'print JSON')
    .addHelpText('after', `
Exit codes, as fsck(8)'s (added up): 0 nothing wrong, 1 corrected, 4 left uncorrected, 8 could not look, 16 wrong usage.

Examples:
  ogee fsck /srv/pool             look, and change nothing
  ogee fsck /srv/pool --repair    look, repair, look again`)
    .action(async (path: string, flags: Flags) => {
      process.exitCode = await (process.env[IN_CHILD] === undefined ? apart(path, flags) : fsck(path, flags)).catch((e: unknown) => {
        note(sentence(e))
        return e instanceof Refusal && e.reason === 'usage' ? FSCK_USAGE : FAILED
      })
    })
}

const IN_CHILD = 'OGEE_FSCK_CHILD'

/** In a process of its own. */
async function apart(path: string, flags: Flags): Promise<number> {
  const { pool } = locateLost(path) // a wrong name needs no other process
  const args = ['fsck', path, ...(flags.repair === true ? ['--repair'] : []), ...(flags.json === true ? ['--json'] : [])]
  const { status, signal, error } = spawnSync(process.execPath, [...process.execArgv, MAIN_FILE, ...args], { stdio: 'inherit', env: { ...process.env, [IN_CHILD]: '1' } })
  if (error !== undefined) throw error
  if (status !== null) return status
  if (signal !== 'SIGSEGV' && signal !== 'SIGBUS' && signal !== 'SIGABRT' && signal !== 'SIGILL') throw new Refusal('failed', `The check was ended (${signal ?? 'no exit code'}): run it again; nothing is lost.`)
  const what = `the LMDB file ${pool}/meta/data.mdb is damaged: reading it crashed (${signal})`
  if (flags.json === true) say(JSON.stringify({ pool, clean: false, exitCode: LEFT, found: 1, corrected: 0, left: 1, findings: [{ ino: 0, path: null, what }], actions: [] }))
  else say(`${what[0].toUpperCase()}${what.slice(1)}. Put the whole pool back from a copy.`)
  return LEFT
}

/** A pool that has lost its superblock is none for everybody else. */
function locateLost(path: string): { readonly pool: string } {
  try {
    return locate(path)
  } catch (e) {
    if (e instanceof Refusal && e.reason === 'half-made') return { pool: resolvePool(path) }
    throw e
  }
}

async function fsck(path: string, flags: Flags): Promise<number> {
  const { pool } = locateLost(path)
  const lock = tryLock(pool, 'fsck')
  if ('release' in lock) {
    try {
      return await check(pool, flags, 'closed')
    } finally {
      lock.release()
    }
  }
  const status = await askStatus(pool)
  if (status === undefined) throw new Refusal('in-use', `Pool ${pool} is being opened or closed by ${holderText(lock.heldBy)}: try again in a moment.`)
  if (flags.repair === true) throw new Refusal('in-use', `Pool ${pool} is mounted by pid ${status.pid}: unmount it first (${status.mounts.map((m) => `ogee umount ${m.dir}`).join('; ')}), or check it without --repair.`)
  return check(pool, flags, 'mounted')
}

async function check(pool: string, flags: Flags, state: 'closed' | 'mounted'): Promise<number> {
  const json = flags.json === true
  const bar = progressBar('fsck', 'inodes', systemClock)
  const findings: FsckFinding[] = []
  const actions: { ino: number, what: string }[] = []
  const tell = (text: string): void => {
    bar.end()
    say(text)
  }
  const beganMs = systemClock.monotonicMs()
  const report = await fsckPool(pool, {
    clock: systemClock, random: systemRandom, isLive: state === 'mounted', repair: flags.repair === true,
    found(finding) {
      if (json) findings.push(finding)
      else tell(findingText(finding))
    },
    did(ino, what) {
      if (json) actions.push({ ino, what })
      else tell(`  repair: ${ino === 0 ? '' : `inode ${ino} `}${what}`)
    },
    progress: (_round, inodes, of) => bar.show(inodes, of)
  })
  bar.end()
  const sec = (systemClock.monotonicMs() - beganMs) / 1000
  const code = (report.corrected > 0 ? CORRECTED : 0) + (report.left > 0 ? LEFT : 0)
  if (json) say(JSON.stringify({ pool, state, clean: report.found === 0, exitCode: code, ...report, seconds: sec, findings: findings.map((f) => ({ ino: f.ino, path: f.path ?? null, what: f.what })), actions }))
  else say(summary(pool, state, report, sec, flags.repair === true))
  return code
}

const findingText = ({ ino, what, path }: FsckFinding): string => (ino === 0 ? `${what[0].toUpperCase()}${what.slice(1)}` : `Inode ${ino}${path === undefined ? '' : ` (${path})`} ${what}`)

function summary(pool: string, state: 'closed' | 'mounted', r: FsckReport, sec: number, repaired: boolean): string {
  const lines: string[] = []
  if (r.unsyncedRecords > 0) lines.push(`The log holds ${r.unsyncedRecords} changes that were never synced before the power went: they do not count.`)
  const size = `${r.inodes} inodes, ${r.directories} of them folders, ${bytesText(r.bytes)}, ${sec.toFixed(1)} s`
  const where = state === 'mounted' ? `${pool} (in use)` : pool
  if (r.found === 0) lines.push(`${where}: clean. ${size}.`)
  else if (r.left === 0) lines.push(`${where}: ${r.corrected} findings, all corrected. ${size}.`)
  else if (!repaired) lines.push(`${where}: ${r.left} findings. ${size}. ${state === 'mounted' ? 'Unmount the pool, then' : 'Copy the pool, then'} repair it: ogee fsck ${pool} --repair`)
  else lines.push(`${where}: ${r.corrected} findings corrected, ${r.left} left. ${size}. See docs/operations.md, "fsck".`)
  return lines.join('\n')
}
