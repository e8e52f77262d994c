/**
 * The daemon's log: POOL/daemon.log, one JSON object a line (pino). It is the daemon's stderr too, so that whatever the
 * runtime prints at a crash is there.
 *   - At most about 2 MiB: beyond 1 MiB the bytes move to daemon.log.1 and the file starts again, in place.
 *   - A full disk loses lines of the log, never the daemon.
 */
import { copyFileSync, fstatSync, ftruncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Logger } from 'pino'
import { DAEMON_LOG_FILE } from '../../pool/index.js'
import type { Clock } from '../../sys/index.js'

const LOG_MAX_BYTES = 1024 * 1024
const LOOK_MS = 10_000 // while tracing; else each line looks, and an idle daemon never wakes for it
const STDERR = 2

function rotate(folder: string): void {
  try {
    if (fstatSync(STDERR).size <= LOG_MAX_BYTES) return
    copyFileSync(join(folder, DAEMON_LOG_FILE), join(folder, `${DAEMON_LOG_FILE}.1`))
    ftruncateSync(STDERR, 0) // opened for appending: the next line starts at 0
  } catch {
    // no room for the copy, or stderr is no file: the log grows until there is
  }
}

export type { Logger }

/** `toFile`: stderr is the log file, and is kept small. In the foreground it is the user's terminal. */
export function daemonLog(folder: string, clock: Clock, toFile: 'file' | 'terminal'): Logger {
  const stream = {
    write(line: string): void {
      if (toFile === 'file') rotate(folder)
      try {
        writeSync(STDERR, toFile === 'file' ? line : plain(line))
      } catch {
        // disk full or terminal gone
      }
    }
  }
  if (toFile === 'file' && process.env.OGEE_TRACE !== undefined) clock.every(LOOK_MS, () => rotate(folder)) // its lines do not come by here
  return pino({ level: process.env.OGEE_LOG_LEVEL ?? 'info', base: { pid: process.pid }, timestamp: pino.stdTimeFunctions.isoTime }, stream)
}

function plain(line: string): string {
  const { msg } = JSON.parse(line) as { msg?: string }
  return `ogee: ${msg ?? line.trim()}\n`
}
