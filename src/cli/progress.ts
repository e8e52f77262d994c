/**
 * A bar on a terminal, for what takes longer than a moment: how far, how fast, how long to go. Nothing where stderr is no terminal.
 *   fsck  [##########..........]  51 %  512,340 of 1,000,021 inodes  61,200/s  8 s to go
 */
import { durationText } from './output.js'
import type { Clock } from '../sys/index.js'

const EVERY_MS = 100
const CELLS = 20

export interface Bar {
  show(done: number, of: number): void
  /** Takes the line away. */
  end(): void
}

const grouped = (n: number): string => Math.round(n).toLocaleString('en-US')

/** The line, for `done` of `of` after so many seconds. */
export function barText(title: string, what: string, done: number, of: number, sec: number): string {
  const share = of === 0 ? 1 : Math.min(1, done / of)
  const cells = Math.floor(share * CELLS)
  const rate = sec <= 0 ? 0 : done / sec
  const left = rate === 0 || done >= of ? '' : `  ${durationText((of - done) / rate)} to go`
  return `${title}  [${'#'.repeat(cells)}${'.'.repeat(CELLS - cells)}] ${String(Math.floor(share * 100)).padStart(3)} %  ${grouped(done)} of ${grouped(Math.max(of, done))} ${what}  ${grouped(rate)}/s${left}`
}

export function progressBar(title: string, what: string, clock: Clock, stream: NodeJS.WriteStream = process.stderr): Bar {
  if (!stream.isTTY) return { show: () => undefined, end: () => undefined }
  const beganMs = clock.monotonicMs()
  let shownMs = -Infinity
  let shown = false
  return {
    show(done, of) {
      const nowMs = clock.monotonicMs()
      if (nowMs - shownMs < EVERY_MS) return
      shownMs = nowMs
      shown = true
      stream.write(`\r\u001b[K${barText(title, what, done, of, (nowMs - beganMs) / 1000).slice(0, (stream.columns ?? 100) - 1)}`)
    },
    end() {
      if (shown) stream.write('\r\u001b[K')
      shown = false
      shownMs = -Infinity
    }
  }
}
