/**
 * A program whose disk dies under it, again and again (see killing.ts): how it works, and what must be there after the next mount.
 *   - Whatever the program was told is done it writes down outside the pool (`scratch`), or can be asked about it later.
 *   - `work` starts on whatever state the last death left; `check` runs on a mounted pool while nothing works there.
 */
import { readFileSync } from 'node:fs'
import type { Running } from '../run.js'

export interface Victim {
  readonly name: string
  /** Once, on the empty mount. */
  prepare(): Promise<void>
  /** Round n (from 0). The programs run until they are killed; they fail when their disk dies. */
  work(round: number): Promise<readonly Running[]>
  /** How often this round's programs were answered so far: a kill before the first answer would show little. */
  answers(): number
  /** What must be gone before the next mount, besides the programs themselves. */
  after?(): Promise<void>
  /** Throws if something that was answered is not there; answers how many answers it compared. */
  check(round: number): Promise<number>
}

/** The complete lines of a file that a killed program wrote. */
export const lines = (file: string): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1)
