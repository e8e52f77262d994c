/**
 * `ogee df`: how full pools are. What df(1) shows of a mount, for pools that are not mounted too, and what the disk below leaves of it.
 *   - used and available add up to what df(1) calls size: what the pool holds, and what it can still take. That is less than its own
 *     size where the disk below has less room.
 */
import Table from 'cli-table3'
import type { Command } from 'commander'
import { lockState, poolFigures, Refusal } from '../../pool/index.js'
import type { PoolFigures } from '../../pool/index.js'
import { systemClock, systemRandom } from '../../sys/index.js'
import { askStatus } from '../daemon/client.js'
import { locate } from '../locate.js'
import { MOUNT_TYPE, readMounts } from '../mountinfo.js'
import { bytesText, PLAIN_TABLE, say } from '../output.js'
import { noteOf } from '../registry.js'

interface Line extends PoolFigures {
  readonly pool: string
  readonly mounts: readonly string[]
}
/** Less than this is rounding, and space that is on its way. */
const SLACK_BYTES = 64 * 1024 * 1024

export const addDf = (program: Command): void => {
  program.command('df').argument('[POOL|DIR...]', 'pools, or where they are mounted (default: all that are mounted)')
    .summary('show how full pools are')
    .description('Shows the size of pools, what is used of it and what is available: in the pool, and on the disk below it.')
    .option('--json', 'print JSON')
    .action(async (paths: string[], flags: { readonly json?: boolean }) => {
      const pools = paths.length > 0 ? paths.map((path) => locate(path).pool) : mounted()
      const lines: Line[] = []
      for (const pool of pools) lines.push(await lineOf(pool))
      if (flags.json === true) return say(JSON.stringify(lines.map((l) => ({ ...l, limitedByDisk: isLimited(l) }))))
      if (lines.length === 0) return say('No pool is mounted. `ogee df POOL` shows one that is not.')
      say(tableText(lines))
    })
}

const mounted = (): string[] => [...new Set(readMounts().flatMap((m) => (m.type === MOUNT_TYPE ? noteOf(m)?.pool ?? [] : [])))]

async function lineOf(pool: string): Promise<Line> {
  const status = await askStatus(pool)
  if (status !== undefined) return { pool, ...status.space, inodes: status.inodes, trashBytes: status.trash.reduce((sum, { bytes }) => sum + bytes, 0), mounts: status.mounts.map((m) => m.dir) }
  const held = lockState(pool)
  if (held.held) throw new Refusal('in-use', `Pool ${pool} is being opened or closed${held.by === undefined ? '' : ` by pid ${held.by.pid}`}: try again in a moment.`)
  return { pool, ...await poolFigures(pool, { clock: systemClock, random: systemRandom }), mounts: [] }
}

const isLimited = (l: Line): boolean => l.freeBytes < l.sizeBytes - l.usedBytes - SLACK_BYTES

export function tableText(lines: readonly Line[]): string {
  const table = new Table({ head: ['POOL', 'SIZE', 'USED', 'AVAIL', 'USE%', 'INODES', 'MOUNTED ON'], style: { head: [], border: [], compact: true }, chars: PLAIN_TABLE })
  for (const l of lines) {
    const percent = l.usedBytes + l.freeBytes === 0 ? 0 : Math.ceil((100 * l.usedBytes) / (l.usedBytes + l.freeBytes))
    table.push([l.pool, bytesText(l.sizeBytes), bytesText(l.usedBytes), bytesText(l.freeBytes), `${percent}%`, String(l.inodes), l.mounts.join(' ') || '-'])
  }
  const notes = lines.filter(isLimited).map((l) => `${l.pool}: the disk below has room for ${bytesText(l.freeBytes)} of the ${bytesText(l.sizeBytes - l.usedBytes)} that are free in the pool.`)
  for (const l of lines.filter(({ trashBytes }) => trashBytes > 0)) notes.push(`${l.pool}: files of ${bytesText(l.trashBytes)} are in the trash (\`ogee trash empty\` removes them).`)
  return [table.toString(), ...notes].join('\n')
}
