/**
 * Looks at the log of an engine that nobody has open: what an opening would replay, whether records lie behind its end, and whether
 * that means damage (damage.ts). After a power cut records behind the end are normal: pages reach the disk in any order.
 */
import { bootId as systemBootId } from '../../sys/index.js'
import { damageText, isDamage, lookBehind } from './damage.js'
import { openFiles } from './files.js'
import type { ReplaySink } from './format.js'
import { systemIo } from './io.js'
import type { LogIo } from './io.js'
import { replayLog } from './log.js'

export interface LogFindings {
  readonly clean: boolean
  readonly sameBoot: boolean
  readonly records: number
  readonly bytes: number
  /** Records of the last session behind the point where replay ends. */
  readonly recordsBehind: number
  /** What is wrong, if anything is. */
  readonly damage: string | undefined
  /** How many changes a repair would have to give up, and how many of them were synced for certain. */
  readonly lost: number
  readonly lostSynced: number
}

const nothing = (): void => undefined
export const noSink: ReplaySink = { put: nothing, remove: nothing, bits: nothing, event: nothing, answer: nothing }

export async function inspectLog(folder: string, io: LogIo = systemIo, bootId: string = systemBootId()): Promise<LogFindings> {
  const { fd, header, tables, session, checkpoint } = await openFiles({ folder, io, random: { bytes: () => new Uint8Array(16), uint32: () => 0 }, bootId, readOnly: true, logBytes: 0 })
  try {
    const { end, records, bytes } = replayLog(io, fd, header, checkpoint, noSink)
    const sameBoot = session.bootId === bootId && !session.cut
    const behind = lookBehind(io, fd, header, checkpoint, end, session)
    const isDamaged = isDamage(end, behind, sameBoot)
    return {
      clean: session.clean && records === 0, sameBoot, records, bytes, recordsBehind: behind.records,
      damage: isDamaged ? damageText(end, behind) : undefined,
      lost: isDamaged ? behind.lastSeq - end.seq : 0, lostSynced: isDamaged ? Math.max(0, behind.durableSeq - end.seq) : 0
    }
  } finally {
    io.close(fd)
    await tables.close()
  }
}
