/**
 * What an fdatasync of 8 KiB in a prewritten file takes, by the way it is called: `npx tsx bench/fdatasync.ts FOLDER`. In turn, three
 * rounds of 600 each; "looking" is a loop that reads a descriptor and the ring all the while, as the channel does between requests.
 */
import { closeSync, fdatasync as fdatasyncOfPool, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { fdatasync, offLoop, pwrite, read, ring, systemClock } from '../src/sys/index.js'

const PAGES = 2048
const TIMES = 600
const folder = mkdtempSync(join(process.argv[2] ?? '.', 'fdatasync-'))
const fd = openSync(join(folder, 'log'), 'w+')
const nothing = openSync('/dev/null', 'r')
const bytes = Buffer.alloc(8192, 3)
for (let i = 0; i < PAGES; i++) writeSync(fd, bytes, 0, bytes.length, i * bytes.length)
fdatasync(fd)

const pool = (): Promise<void> => new Promise((resolve, reject) => fdatasyncOfPool(fd, (e) => (e === null ? resolve() : reject(e))))
async function looking(call: () => Promise<unknown>): Promise<void> {
  let done = false
  void call().then(() => (done = true))
  while (!done) {
    for (let i = 0; i < 20 && !done; i++) {
      read(nothing, bytes, 0, 1)
      ring()?.reap()
      await null
    }
    if (!done) await new Promise((resolve) => setImmediate(resolve))
  }
}
const ways: readonly (readonly [string, () => Promise<unknown> | number])[] = [
  ['in the tick', () => fdatasync(fd)], ['pool, asleep', pool], ['ring, asleep', () => offLoop.fdatasync(fd)],
  ['pool, looking', () => looking(pool)], ['ring, looking', () => looking(() => offLoop.fdatasync(fd))]
]
for (let round = 0; round < 3; round++) {
  for (const [name, call] of ways) {
    const us: number[] = []
    for (let i = 0; i < TIMES; i++) {
      const startedUs = systemClock.monotonicUs()
      pwrite(fd, bytes, 0, bytes.length, (i % PAGES) * bytes.length)
      await call()
      us.push(systemClock.monotonicUs() - startedUs)
    }
    us.sort((a, b) => a - b)
    console.log(`${name.padEnd(14)} p50 ${us[TIMES / 2].toFixed(0)} us  p99 ${us[Math.floor(TIMES * 0.99)].toFixed(0)} us`)
  }
}
closeSync(fd)
rmSync(folder, { recursive: true })
