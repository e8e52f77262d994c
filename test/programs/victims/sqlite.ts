/** SQLite with full sync, in one of its journal modes: no answered row is missing, none between, the database is sound. */
import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { run, start } from '../run.js'
import { lines } from './victim.js'
import type { Victim } from './victim.js'

const INSERTS = `
import sqlite3, sys, os
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

export function sqliteVictim(dir: string, scratch: string, journal: 'wal' | 'delete'): Victim {
  const database = path.join(dir, `${journal}.db`)
  const answered = path.join(scratch, journal)
  let before = 0
  return {
    name: `SQLite (${journal})`,
    async prepare() {
      writeFileSync(answered, '')
    },
    async work() {
      before = lines(answered).length
      return [start('python3', ['-c', INSERTS, database, answered, journal])]
    },
    answers: () => lines(answered).length - before,
    async check() {
      if (!existsSync(database)) return 0
      const { stdout } = await run('sqlite3', ['-bail', database, 'pragma integrity_check; select count(*), coalesce(max(n), 0) from t;'])
      const [sound, counts] = stdout.split('\n')
      assert.equal(sound, 'ok')
      const [count, last] = counts.split('|').map(Number)
      const told = lines(answered).map(Number)
      assert.equal(count, last, 'no row is missing')
      assert.ok(told.length === 0 || last >= told[told.length - 1], `row ${told.at(-1)} was answered, ${last} rows are there`)
      return told.length
    }
  }
}
