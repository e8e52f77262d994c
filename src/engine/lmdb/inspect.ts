/**
 * Looks at the log of an engine that nobody has open: what an opening would replay, and whether records lie behind its end.
 *   - After a power cut such records are normal (pages reach the disk in any order, and nothing synced lies behind a gap). While the
 *     machine has not rebooted they mean that the log is damaged at its end: the page cache held them all.
 *   - Records of earlier sessions and laps are told by their session and sequence.
 */
import { bootId as systemBootId, get64, viewOf } from '../../sys/index.js'
import { openFiles } from './files.js'
import { RECORD_HEADER_BYTES, RECORD_MAGIC } from './format.js'
import type { LogHeader, ReplaySink } from './format.js'
import { preadAll, systemIo } from './io.js'
import type { LogIo } from './io.js'
import { replayLog } from './log.js'
import { PAGE_BYTES } from './format.js'

export interface LogFindings {
  readonly clean: boolean
  readonly sameBoot: boolean
  readonly records: number
  readonly bytes: number
  /** Records of the last session behind the point where replay ends. */
  readonly recordsBehind: number
}

const WINDOW_BYTES = 1024 * 1024
const AHEAD_MAX = 10_000_000
const nothing = (): void => undefined
const noSink: ReplaySink = { put: nothing, remove: nothing, counters: nothing, bits: nothing, event: nothing, answer: nothing }

export async function inspectLog(folder: string, io: LogIo = systemIo, bootId: string = systemBootId()): Promise<LogFindings> {
  const { fd, header, tables, session, checkpoint } = await openFiles({ folder, io, random: { bytes: () => new Uint8Array(16), uint32: () => 0 }, bootId, readOnly: true, logBytes: 0 })
  try {
    const { end, records, bytes } = replayLog(io, fd, header, checkpoint, noSink)
    return { clean: session.clean && records === 0, sameBoot: session.bootId === bootId, records, bytes, recordsBehind: behind(io, fd, header, end.seq, session.session) }
  } finally {
    io.close(fd)
    await tables.close()
  }
}

function behind(io: LogIo, fd: number, header: LogHeader, seq: number, session: number): number {
  const magic = Buffer.alloc(4)
  magic.writeUInt32LE(RECORD_MAGIC)
  const window = Buffer.alloc(WINDOW_BYTES + RECORD_HEADER_BYTES)
  let found = 0
  for (let at = 0; at < header.ringBytes; at += WINDOW_BYTES) {
    const length = Math.min(window.length, header.ringBytes - at)
    if (preadAll(io, fd, window, 0, length, PAGE_BYTES + at) < 0) continue
    const v = viewOf(window)
    for (let i = window.indexOf(magic); i >= 0 && i < WINDOW_BYTES && i + RECORD_HEADER_BYTES <= length; i = window.indexOf(magic, i + 1)) {
      const of = get64(v, i + 16)
      if (of > seq && of < seq + AHEAD_MAX && v.getUint32(i + 12, true) === session) found++
    }
    window.fill(0)
  }
  return found
}
