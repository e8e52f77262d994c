/**
 * Times of writes that change nothing but bytes. A write in place needs no transaction but for mtime and ctime, and those move in ticks
 * of TICK_NS, as on the host's own file systems: of the writes in one tick the first commits its time, the others owe theirs.
 *   - Whoever shows a file's times has what it owes committed first (`settleTimes`): no time is shown and then taken back, and no two
 *     states of a file that somebody looked at have one time.
 *   - What nobody looks at is committed when the tick is over, at fsync and before a snapshot. So a daemon's death takes back less
 *     than a tick, of times that nobody saw, and no byte.
 *   - A write owes only while the inode is the very one that the file's last commit left: what chmod, utimensat or setxattr did since
 *     is never undone, nor passed by (a capability goes with the first write after it was set).
 *   - The time owed moves mtime only if it is still the one of that commit, and the same for ctime.
 */
import { errnoOf } from '../sys/index.js'
import type { Context } from '../sys/index.js'
import { NOW } from './content.js'
import type { ContentEffects, Owed } from './content.js'
import { BACKGROUND, needsWork } from './files.js'
import type { File, Floor, Time } from './files.js'

const TICK_NS = 4_000_000
const SETTLE_MS = 5

/** Whether a write of bytes only may do without a transaction. */
export function mayOwe(floor: Floor, ctx: Context, file: File, { touch, killSuidgid }: ContentEffects): boolean {
  if (killSuidgid || file.ref === undefined || floor.readContent(ctx, file.ino, NOW) !== file.content) return false
  return touch === undefined || (file.touched !== undefined && isSameTick(file.touched, touch))
}

const isSameTick = (committed: Time, now: Time): boolean =>
  now.sec === committed.sec && now.nsec >= committed.nsec && Math.floor(now.nsec / TICK_NS) === Math.floor(committed.nsec / TICK_NS)

export function owe(floor: Floor, file: File, touch: Time | undefined): void {
  if (touch === undefined) return
  file.owed = touch
  floor.owing.add(file)
  if (floor.owingTimer === undefined) arm(floor)
}

function arm(floor: Floor): void {
  floor.owingTimer = floor.clock.after(SETTLE_MS, () => {
    floor.owingTimer = undefined
    void settleAll(floor).catch((e: unknown) => void errnoOf(e)) // the engine's own failure is told elsewhere, a file that is gone owes nothing
  })
}

/** What the file owes is in the engine when this resolves; in this tick where the engine can. */
export async function settleFile(floor: Floor, file: File): Promise<void> {
  const { owed, touched } = file
  if (owed === undefined) return
  file.owed = undefined
  floor.owing.delete(file)
  if (!needsWork(file)) floor.dirty.delete(file)
  const before = file.content
  const content = await floor.changeContent(BACKGROUND, file.ino, { touch: owed, killSuidgid: false, since: touched }, (_tx, _ref, now) => now)
  if (file.content !== before || file.locked) return // a change came in between: it knows more, and brings its own time
  file.content = content
  file.touched = owed
}

export async function settleAll(floor: Floor): Promise<void> {
  const results = await Promise.allSettled([...floor.owing].map((file) => settleFile(floor, file)))
  for (const r of results) if (r.status === 'rejected') throw r.reason
}

/** Commits what a file owes, and tells what that was. */
export function settleTimes(floor: Floor, ino: number): Owed | undefined {
  if (floor.owing.size === 0) return undefined
  const file = floor.files.get(ino)
  if (file?.owed === undefined) return undefined
  const answer: Owed = { touch: file.owed, since: file.touched! }
  void settleFile(floor, file).catch((e: unknown) => void errnoOf(e)) // as above
  return answer
}
