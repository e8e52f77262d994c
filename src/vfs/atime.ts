/**
 * Access times: moved when a read reaches the vfs, kept in memory, written in batches.
 *   - relatime (the default): only when the stored atime is not after mtime and ctime, or a day old. noatime: never.
 *     strictatime: at every read.
 *   - A pending atime is shown at once (`shown`) and is in the pool within WRITE_AFTER_MS, at sync and at close; the
 *     daemon's death may lose it, as a crash loses any lazy atime.
 *   - An atime that somebody sets drops the pending one first (`drop`). The batch's body looks at what is pending when it
 *     runs, so a batch that lost the race writes nothing over it.
 */
import { backgroundContext } from '../sys/index.js'
import type { Clock, Timer } from '../sys/index.js'
import { NOW } from '../data/index.js'
import type { Inode, Timespec } from '../meta/index.js'
import { FS_NOATIME_FL } from './core.js'
import type { OpenNode, Parts } from './core.js'

const WRITE_AFTER_MS = 3000
const PENDING_MAX = 16_384
const BATCH_MAX = 32 // a transaction's body runs in one tick: some 0.3 ms
const DAY_SEC = 86_400

export interface Atimes {
  /** A read of this inode was answered. */
  touch(ino: number, open: OpenNode | undefined): void
  shown(inode: Inode): Inode
  drop(ino: number): void
  flush(): Promise<void>
  stop(): void
}

export function openAtimes(parts: Parts): Atimes {
  const { engine, tree, data, clock, options } = parts
  const mode = options.readOnly ? 'noatime' : (options.atime ?? 'relatime')
  const ctx = backgroundContext()
  const pending = new Map<number, Timespec>()
  let timer: Timer | undefined
  let flushing: Promise<void> | undefined

  const judge = (inode: Inode | undefined, open: OpenNode | undefined): void => {
    if (inode === undefined || (inode.flags & FS_NOATIME_FL) !== 0) return
    const now = clockTime(clock)
    const old = pending.get(inode.ino)
    if (mode === 'relatime') {
      if (open !== undefined) open.atimeSettled = true
      const sec = old?.sec ?? inode.atimeSec
      const nsec = old?.nsec ?? inode.atimeNsec
      const fresh = isAfter(sec, nsec, inode.mtimeSec, inode.mtimeNsec) && isAfter(sec, nsec, inode.ctimeSec, inode.ctimeNsec)
      if (fresh && now.sec - sec < DAY_SEC) return
    }
    if (old === undefined && pending.size >= PENDING_MAX) void flush()
    pending.set(inode.ino, now)
    timer ??= clock.after(WRITE_AFTER_MS, () => void flush())
  }

  const writeOut = async (): Promise<void> => {
    const inos = [...pending.keys()]
    for (let from = 0; from < inos.length; from += BATCH_MAX) {
      const batch = inos.slice(from, from + BATCH_MAX)
      let written = new Map<number, Timespec>()
      await engine.transact(ctx, async (tx) => {
        written = new Map()
        for (const ino of batch) {
          const at = pending.get(ino)
          if (at === undefined) continue
          written.set(ino, at)
          await tree.touchAtime(tx, ino, at)
        }
      })
      for (const [ino, at] of written) if (pending.get(ino) === at) pending.delete(ino)
      if (from + BATCH_MAX < inos.length) await clock.sleep(0) // others get their turn between batches
    }
  }

  const flush = (): Promise<void> => {
    timer?.stop()
    timer = undefined
    if (pending.size === 0) return flushing ?? Promise.resolve()
    // An atime that could not be written is not worth an error to anyone: the engine's own failure is told elsewhere.
    flushing ??= writeOut()
      .catch(() => pending.clear())
      .finally(() => (flushing = undefined))
    return flushing
  }

  return {
    touch(ino, open) {
      if (mode === 'noatime' || (open !== undefined && open.atimeSettled)) return
      data.settleTimes(ino) // relatime compares with mtime
      const inode = tree.inode(engine.reader(ctx), ino, NOW)
      if (inode instanceof Promise) inode.then((found) => judge(found, open)).catch(() => undefined) // as above
      else judge(inode, open)
    },
    shown(inode) {
      if (pending.size === 0) return inode
      const at = pending.get(inode.ino)
      return at === undefined ? inode : { ...inode, atimeSec: at.sec, atimeNsec: at.nsec }
    },
    drop: (ino) => void pending.delete(ino),
    flush,
    stop() {
      timer?.stop()
      timer = undefined
    },
  }
}

function clockTime(clock: Clock): Timespec {
  const now = { sec: 0, nsec: 0 }
  clock.realtime(now)
  return now
}

const isAfter = (sec: number, nsec: number, thanSec: number, thanNsec: number): boolean =>
  sec > thanSec || (sec === thanSec && nsec > thanNsec)
