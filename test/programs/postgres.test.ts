/**
 * PostgreSQL with its data folder here, run by its own user: initdb, pgbench, a crash of the server, amcheck, checksums.
 * The socket lies outside the mount; no TCP port is opened.
 */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readdirSync } from 'node:fs'
import path from 'node:path'
import { programTest } from './mount.js'
import { run } from './run.js'

const versions = '/usr/lib/postgresql'
const binOf = () => path.join(versions, readdirSync(versions).sort((a, b) => Number(b) - Number(a))[0], 'bin')

programTest('postgres: initdb, pgbench, crash, amcheck, checksums', { timeoutMs: 240_000 }, async ({ dir, scratch }) => {
  const bin = binOf()
  const data = path.join(dir, 'data')
  const socket = path.join(scratch, 'socket')
  const log = path.join(scratch, 'socket', 'server.log')
  for (const folder of [data, socket]) {
    mkdirSync(folder)
    chmodSync(folder, 0o700)
    await run('chown', ['postgres:postgres', folder])
  }
  const asPostgres = async (program: string, ...args: string[]) =>
    (await run('runuser', ['-u', 'postgres', '--', path.join(bin, program), ...args], { cwd: '/', timeoutMs: 120_000 })).stdout
  const server = `-c listen_addresses='' -c unix_socket_directories='${socket}' -c shared_buffers=16MB -c max_connections=20 -c checkpoint_timeout=30s`
  const startServer = () => asPostgres('pg_ctl', '-D', data, '-l', log, '-w', '-t', '60', '-o', server, 'start')
  const stopServer = (mode: string) => asPostgres('pg_ctl', '-D', data, '-w', '-t', '60', '-m', mode, 'stop')
  const query = (sql: string) => asPostgres('psql', '-h', socket, '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql, 'bench').then((s) => s.trim())

  await asPostgres('initdb', '-D', data, '--data-checksums', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8')
  await startServer()
  let running = true
  try {
    await asPostgres('createdb', '-h', socket, 'bench')
    await asPostgres('pgbench', '-h', socket, '-i', '-q', '-s', '3', 'bench')
    const bench = await asPostgres('pgbench', '-h', socket, '-c', '4', '-j', '2', '-T', '6', 'bench')
    assert.match(bench, /number of failed transactions: 0 /)
    const balances = 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history), (select sum(bbalance) from pgbench_branches) = (select sum(tbalance) from pgbench_tellers), (select count(*) from pgbench_history)'
    const before = await query(balances)
    assert.match(before, /^t\|t\|[1-9]\d*$/)

    // The server dies without a checkpoint: its own log must bring everything back.
    await stopServer('immediate')
    running = false
    await startServer()
    running = true
    assert.equal(await query(balances), before)
    await query('create extension amcheck')
    assert.match(await query("select count(bt_index_parent_check(c.oid, true, true)) from pg_class c join pg_am a on a.oid = c.relam where a.amname = 'btree' and c.relpersistence = 'p'"), /^[1-9]\d*$/)
    assert.equal(await query("select count(*) from pg_class c, verify_heapam(c.oid) where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace"), '0')
    await query('vacuum full pgbench_accounts')
    await stopServer('fast')
    running = false
    assert.match(await asPostgres('pg_checksums', '--check', '-D', data), /Bad checksums:\s+0\n/)
  } finally {
    if (running) await stopServer('immediate')
  }
})
