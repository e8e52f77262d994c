/** git: a repository in which every commit that was answered exists, and everything can be reached and read. */
import assert from 'node:assert/strict'
import { rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { run, start } from '../run.js'
import { lines } from './victim.js'
import type { Victim } from './victim.js'

const COMMITS = String.raw`
cd "$1"; rm -f .git/index.lock .git/HEAD.lock .git/refs/heads/*.lock
n=$(wc -l <"$2")
while :; do
  n=$((n + 1)); echo "$n $RANDOM" >>"f$((n % 7))"; head -c $((RANDOM * 3)) /dev/urandom >"b$((n % 5))"
  git add -A && git -c user.name=a -c user.email=a@b commit -qm "$n" && git rev-parse --verify -q HEAD >>"$2" || exit 1
done`

export function gitVictim(dir: string, scratch: string): Victim {
  const repo = path.join(dir, 'repo')
  const answered = path.join(scratch, 'commits')
  let before = 0
  return {
    name: 'git',
    async prepare() {
      writeFileSync(answered, '')
      await run('git', ['init', '-q', repo])
    },
    async work() {
      before = lines(answered).length
      return [start('bash', ['-c', COMMITS, 'git', repo, answered])]
    },
    answers: () => lines(answered).length - before,
    async check() {
      rmSync(path.join(repo, '.git', 'index.lock'), { force: true })
      await run('git', ['-C', repo, 'fsck', '--full', '--strict', '--no-dangling'])
      const known = new Set((await run('git', ['-C', repo, 'log', '--all', '--format=%H'])).stdout.split('\n'))
      const told = lines(answered)
      for (const commit of told) assert.ok(known.has(commit), `commit ${commit} was answered and is gone`)
      return told.length
    }
  }
}
