/**
 * OGEE_TRACE=fuse,tx prints a line per event of those areas on stderr; OGEE_TRACE=all prints every area.
 * `traceOn` is asked once, at import, and kept in a constant: a trace that is off costs one branch.
 */
import { writeSync } from 'node:fs'

const areas = new Set((process.env.OGEE_TRACE ?? '').split(',').filter((area) => area !== ''))

export const traceOn = (area: string): boolean => areas.has(area) || areas.has('all')

/** One line, one write(2): lines of several processes do not mix. A full or closed stderr drops the line. */
export function traceLine(area: string, text: string): void {
  try {
    writeSync(2, `${area} ${text}\n`)
  } catch {
    // nobody reads the trace any more; the file system must go on
  }
}
