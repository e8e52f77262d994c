/** SQLite with several writers, in write-ahead (shared memory by mmap) and rollback-journal modes; every sum and index is right after. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { programTest } from './mount.js'
import { run } from './run.js'

const writer = fileURLToPath(new URL('./sqlite.py', import.meta.url))
const writers = 4
const transactions = 150

for (const mode of ['wal', 'delete', 'truncate', 'persist'])
  programTest(`sqlite: ${writers} writers, journal_mode=${mode}`, {}, async ({ dir }) => {
    const database = path.join(dir, 'bank.db')
    const sql = async (statements: string) => (await run('sqlite3', ['-bail', database], { input: statements })).stdout.trim()
    await sql(`pragma journal_mode=${mode};
      create table account(id integer primary key, balance integer);
      create table entry(writer int, n int, blob blob, primary key (writer, n));
      create index by_size on entry(length(blob));
      with recursive i(id) as (select 0 union all select id + 1 from i where id < 99) insert into account select id, 1000 from i;`)
    await Promise.all(Array.from({ length: writers }, (_, n) => run('python3', [writer, database, mode, String(n), String(transactions)])))
    assert.equal(await sql('pragma integrity_check;'), 'ok')
    assert.equal(await sql('select sum(balance) from account;'), '100000')
    assert.equal(await sql('select count(*) from entry;'), String(writers * transactions * 0.9))
    await sql('vacuum;')
    assert.equal(await sql('pragma integrity_check;'), 'ok')
    await sql(`vacuum into '${path.join(dir, 'copy.db')}';`)
    assert.equal((await run('sqlite3', [path.join(dir, 'copy.db'), 'pragma integrity_check; select sum(balance) from account;'])).stdout, 'ok\n100000\n')
  })
