/**
 * kill -9 of a daemon under git and SQLite, again and again on one pool: whatever they were told is done is there after the
 * next mount, the repository and the database are sound. Programs write what they were answered outside the pool.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { seededRandom } from '../../src/sys/index.js'
import { isAlive, isMounted, mountAt } from './mount.js'
import type { Mount } from './mount.js'
import { run, start } from './run.js'

export interface Killing {
  readonly count: number
  readonly seed: number
  report(text: string): void
}

const STARTED_WITHIN_MS = 15_000

const GIT = String.raw`
cd "$1"; rm -f .git/index.lock .git/HEAD.lock .git/refs/heads/*.lock
n=$(wc -l <"$2")
while :; do
  n=$((n + 1)); echo "$n $RANDOM" >>"f$((n % 7))"; head -c $((RANDOM * 3)) /dev/urandom >"b$((n % 5))"
  git add -A && git -c user.name=a -c user.email=a@b commit -qm "$n" && git rev-parse --verify -q HEAD >>"$2" || exit 1
done`

const SQLITE = `
import sqlite3, sys, os, time
db = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
db.execute("pragma journal_mode=" + sys.argv[3]); db.execute("pragma synchronous=full")
db.execute("create table if not exists t(n integer primary key, b blob)")
n = db.execute("select coalesce(max(n), 0) from t").fetchone()[0]
with open(sys.argv[2], "a") as answered:
    while True:
        n += 1
        db.execute("insert into t values (?, ?)", (n, os.urandom(n * 37 % 9000)))
        answered.write("%d\\n" % n); answered.flush()
`

const lines = (file: string): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1)

async function check(dir: string, git: string, sqlite: readonly string[]): Promise<number> {
  const repo = path.join(dir, 'repo')
  rmSync(path.join(repo, '.git', 'index.lock'), { force: true })
  await run('git', ['-C', repo, 'fsck', '--full', '--strict', '--no-dangling'])
  const commits = lines(git)
  const known = new Set((await run('git', ['-C', repo, 'log', '--all', '--format=%H'])).stdout.split('\n'))
  for (const commit of commits) assert.ok(known.has(commit), `commit ${commit} was answered and is gone`)
  let rows = 0
  for (const [n, answered] of sqlite.entries()) {
    const database = path.join(dir, `${n}.db`)
    if (!existsSync(database)) continue
    const { stdout } = await run('sqlite3', ['-bail', database, 'pragma integrity_check; select count(*), coalesce(max(n), 0) from t;'])
    const [sound, counts] = stdout.split('\n')
    assert.equal(sound, 'ok')
    const [count, last] = counts.split('|').map(Number)
    const told = lines(answered).map(Number)
    assert.equal(count, last, 'no row is missing')
    assert.ok(told.length === 0 || last >= told[told.length - 1], `row ${told.at(-1)} was answered, ${last} rows are there`)
    rows += told.length
  }
  return commits.length + rows
}

async function round(mount: Mount, git: string, sqlite: readonly string[], commits: number, afterMs: number): Promise<void> {
  const programs = [
    start('bash', ['-c', GIT, 'git', path.join(mount.dir, 'repo'), git]),
    ...sqlite.map((answered, n) => start('python3', ['-c', SQLITE, path.join(mount.dir, `${n}.db`), answered, ['wal', 'delete'][n]]))
  ]
  // each has been answered something, git so many times; then at any moment
  const told = (file: string): number => lines(file).length
  const before = [git, ...sqlite].map(told)
  for (let waited = 0; waited < STARTED_WITHIN_MS; waited += 5) {
    if ([git, ...sqlite].every((file, n) => told(file) >= before[n] + (n === 0 ? commits : 1))) break
    await sleep(5)
  }
  await sleep(afterMs)
  await mount.kill()
  for (const program of programs) program.kill()
  await Promise.allSettled(programs.map(({ done }) => done)) // they fail: their disk died
  await mount.mount()
}

/** Problems, none if all is well. */
export async function killPrograms({ count, seed, report }: Killing): Promise<readonly string[]> {
  const random = seededRandom(seed)
  const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? tmpdir(), 'ogee-killing-'))
  const mount = mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))
  mkdirSync(mount.dir)
  const git = path.join(top, 'commits')
  const sqlite = [path.join(top, 'wal'), path.join(top, 'delete')]
  for (const file of [git, ...sqlite]) writeFileSync(file, '')
  let kills = 0
  let answers = 0
  try {
    await mount.mount()
    await run('git', ['init', '-q', path.join(mount.dir, 'repo')])
    for (; kills < count; kills++) {
      await round(mount, git, sqlite, 1 + (random.uint32() % 4), random.uint32() % 60)
      answers = await check(mount.dir, git, sqlite)
      if (kills % 20 === 19) report(`${kills + 1} kills, ${answers} answers compared`)
    }
    await mount.umount()
    await mount.mount()
    answers = await check(mount.dir, git, sqlite)
    await mount.umount()
    rmSync(top, { recursive: true, force: true })
    return []
  } catch (e) {
    return [`after ${kills} kills (seed ${seed}; left in ${top}): ${e instanceof Error ? e.message : String(e)}`]
  } finally {
    report(`${kills} kills of git and SQLite, ${answers} answers compared`)
    if (mount.pid() > 1 && isAlive(mount.pid())) process.kill(mount.pid(), 'SIGKILL')
    if (isMounted(mount.dir)) await run('umount', ['-l', mount.dir]).catch(() => undefined) // nothing more can be done
  }
}
