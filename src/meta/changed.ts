/**
 * What changed between two views of a domain, found in history instead of by comparing everything.
 *   - Whatever is done to an inode puts its value (I), whatever is done to a directory's entries its counter row (G): if the older
 *     view shows a row that the younger does not, that row is in history. What came since is found from there: the directory that
 *     took it in changed.
 *   - Inodes of other domains may be among them (their epochs are their own), and such as changed only their access time.
 * Costs some 2 us for each inode and directory in history, whichever snapshot holds it.
 */
import { decodePast, HISTORY_KIND } from '../data/index.js'
import type { Key, Reader } from '../engine/index.js'
import { DIRECTORY_KIND, firstNumber, INODE_KIND } from './keys.js'
import { wait } from './steps.js'
import type { Steps } from './steps.js'

export interface ChangedInodes {
  readonly inodes: readonly number[]
  /** Where to go on; undefined: these were the last. */
  readonly behind: Key | undefined
}

const PAGE_ROWS = 512
const DIRECTORIES_FROM: Key = HISTORY_KIND + DIRECTORY_KIND
const INODES_FROM: Key = HISTORY_KIND + INODE_KIND
const endOf = (prefix: Key): Key => prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)

/** `behind`: '' to begin. */
export function* changedInodes(r: Reader, older: number, younger: number, behind: Key): Steps<ChangedInodes> {
  const kind = behind < INODES_FROM ? DIRECTORIES_FROM : INODES_FROM
  const rows = yield* wait(r.scan({ from: behind <= kind ? kind : `${behind}\u0000`, to: endOf(kind), limit: PAGE_ROWS }))
  const inodes: number[] = []
  for (const row of rows) {
    const { key, birth, death } = decodePast(row)
    if (birth <= older && older < death && death <= younger) inodes.push(firstNumber(key))
  }
  if (rows.length === PAGE_ROWS) return { inodes, behind: rows[PAGE_ROWS - 1].key }
  return { inodes, behind: kind === DIRECTORIES_FROM ? INODES_FROM : undefined }
}
