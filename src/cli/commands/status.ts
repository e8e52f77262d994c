/** `ogee status`: one pool in detail, or all that are mounted. Never touches a mount: it asks daemons and reads superblocks. */
import Table from 'cli-table3'
import type { Command } from 'commander'
import { lockState, readSuperblock, Refusal, refusalOf } from '../../pool/index.js'
import type { Superblock } from '../../pool/index.js'
import { askStatus } from '../daemon/client.js'
import type { Status } from '../daemon/messages.js'
import { locate } from '../locate.js'
import { MOUNT_TYPE, readMounts } from '../mountinfo.js'
import { bytesText, durationText, PLAIN_TABLE, say, sentence, version } from '../output.js'
import { noteOf, unmountedNotes } from '../registry.js'
import { trashText } from '../trash-text.js'

export const addStatus = (program: Command): void => {
  program.command('status').argument('[POOL|DIR]', 'a pool, or where one is mounted (default: all that are mounted)')
    .summary('show what is mounted, how full it is and how it is')
    .description('Shows the daemon, the mounts and the figures of one pool, or one line for each pool that is mounted.')
    .option('--json', 'print JSON')
    .action((path: string | undefined, flags: { readonly json?: boolean }) => {
      const json = flags.json === true
      return path === undefined ? all(json) : one(path, json)
    })
}

async function one(path: string, json: boolean): Promise<void> {
  const { pool } = locate(path)
  const status = await askStatus(pool)
  if (status !== undefined) return say(json ? JSON.stringify(status) : statusText(status))
  const held = lockState(pool)
  const superblock = readBlock(pool)
  const state = held.held ? 'opening or closing' : 'not mounted'
  const pid = held.held ? held.by?.pid ?? null : null
  if (json) {
    return say(JSON.stringify({
      version: version(), pid, pool, name: superblock.name, uuid: superblock.uuid, state, mounts: [],
      space: { sizeBytes: superblock.sizeBytes, usedBytes: null, freeBytes: null }, createdSec: superblock.createdSec
    }))
  }
  say(lines([['pool', `${pool} "${superblock.name}"`], ['state', pid === null ? state : `${state}, pid ${pid}`], ['size', bytesText(superblock.sizeBytes)],
    ['uuid', superblock.uuid], ['made', new Date(superblock.createdSec * 1000).toISOString()]]))
}

function readBlock(pool: string): Superblock {
  try {
    return readSuperblock(pool)
  } catch (e) {
    throw refusalOf(e, pool)
  }
}

const lines = (rows: readonly (readonly [string, string])[]): string => rows.map(([name, value]) => `${name.padEnd(12)}${value}`).join('\n')

function statusText(s: Status): string {
  const percent = s.space.sizeBytes === 0 ? 0 : Math.round((100 * s.space.usedBytes) / s.space.sizeBytes)
  const rows: [string, string][] = [
    ['pool', `${s.pool} "${s.name}"`],
    ['state', s.engine.failed === null ? s.state : `FAILED, read-only: ${s.engine.failed}`],
    ['pid', `${s.pid}, up ${durationText(s.uptimeSec)}, Ogee ${s.version}`],
    ...s.mounts.map((m): [string, string] => ['mounted at', `${m.dir} (${m.options.join(',')})`]),
    ...s.nbd.map((n): [string, string] => ['nbd', `${n.names?.join(', ') ?? 'all volumes'} at ${n.addresses.join(', ')} (${[...(n.readOnly ? ['read-only'] : []), ...n.tls, `${n.connections} connections`].join(', ')})`]),
    ['space', `${bytesText(s.space.usedBytes)} used of ${bytesText(s.space.sizeBytes)} (${percent} %), ${bytesText(s.space.freeBytes)} free`],
    ['extents', `${s.space.extents} of files${s.space.extents === 0 ? '' : `, ${bytesText(Math.round(s.space.usedBytes / s.space.extents))} each`}; ${s.space.freeExtents} free in between`],
    ...s.trash.map((t): [string, string] => ['trash', trashText(t)]),
    ['inodes', String(s.inodes)]
  ]
  if (s.openFiles !== null) rows.push(['open', `${s.openFiles} files, ${s.openDirectories ?? 0} folders`])
  rows.push(['not durable', bytesText(s.dirtyBytes)], ['latency', latencyText(s.latency)], ['opened', openingText(s.opening)], ['uuid', s.uuid])
  return lines(rows)
}

const openingText = ({ ms, clean, sameBoot, replayedRecords, replayedBytes }: Status['opening']): string =>
  clean ? `in ${ms} ms` : `in ${ms} ms after ${sameBoot ? "its daemon's death" : 'a power cut'}: ${replayedRecords} changes (${bytesText(replayedBytes)}) replayed from the log`

const latencyText = ({ mode, inForce, spinUs }: Status['latency']): string =>
  `${mode}${inForce ? ', cores are held awake' : ''}; ${spinUs === 0 ? 'does not look for the next request before it sleeps' : `looks up to ${spinUs} us for the next request`}`

interface Line {
  readonly pool: string | null
  readonly pid: number | null
  readonly state: string
  readonly mounts: string[]
  readonly status: Status | undefined
}

/** One line a file system: bind mounts belong together. */
async function all(json: boolean): Promise<void> {
  const byDevice = new Map<string, { pool: string | null, dirs: string[] }>()
  for (const m of readMounts()) {
    if (m.type !== MOUNT_TYPE) continue
    const known = byDevice.get(m.device) ?? { pool: noteOf(m)?.pool ?? null, dirs: [] }
    known.dirs.push(m.dir)
    byDevice.set(m.device, known)
  }
  const found: Line[] = []
  for (const [device, { pool, dirs }] of byDevice) found.push(await lineOf(device, pool, dirs))
  for (const { pid, pool } of unmountedNotes()) { // served over NBD alone
    const status = await askStatus(pool).catch(() => undefined)
    if (status?.pid === pid && status.device === '') found.push({ pool, pid, state: 'serving NBD', mounts: ['-'], status })
  }
  if (json) return say(JSON.stringify(found.map(({ status, ...line }) => (status === undefined ? line : status))))
  if (found.length === 0) return say('No pool is mounted. `ogee mount POOL DIR` mounts one, and makes it if it is new.')
  const table = new Table({ head: ['POOL', 'MOUNTED AT', 'SIZE', 'USED', 'FREE', 'PID', 'STATE'], style: { head: [], border: [], compact: true }, chars: PLAIN_TABLE })
  for (const { pool, pid, state, mounts, status } of found) {
    const { sizeBytes, usedBytes, freeBytes } = status?.space ?? { sizeBytes: undefined, usedBytes: undefined, freeBytes: undefined }
    table.push([pool ?? '?', mounts.join(' '), size(sizeBytes), size(usedBytes), size(freeBytes), pid ?? '-', state])
  }
  say(table.toString())
}

const size = (bytes: number | undefined): string => (bytes === undefined ? '-' : bytesText(bytes))

async function lineOf(device: string, pool: string | null, mounts: string[]): Promise<Line> {
  if (pool === null) return { pool, pid: null, state: 'unknown', mounts, status: undefined }
  try {
    const status = await askStatus(pool)
    if (status?.device === device) return { pool, pid: status.pid, state: status.state, mounts, status }
    return { pool, pid: null, state: 'dead: mount it again', mounts, status: undefined }
  } catch (e) {
    return { pool, pid: null, state: e instanceof Refusal && e.reason === 'denied' ? "another user's" : sentence(e), mounts, status: undefined }
  }
}
