/**
 * PostgreSQL with its data folder on the pool: one client whose answered rows must be there after the server's recovery, and pgbench
 * beside it. Now and then amcheck reads the indexes and tables too. The server dies with the daemon: nothing of it is left.
 */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { run, start } from '../run.js'
import type { Running } from '../run.js'
import { lines } from './victim.js'
import type { Victim } from './victim.js'

const VERSIONS = '/usr/lib/postgresql'
const CHECKED_ROUNDS = 9 // odd: each of two groups comes by
const READY_WITHIN_MS = 30_000

const INSERTS = String.raw`
n=$1
while :; do n=$((n + 1)); echo "insert into answered values ($n, repeat('x', $((n * 37 % 3000)))) returning n;"; done |
  stdbuf -oL "$2/psql" -h "$3" -XAtq -v ON_ERROR_STOP=1 bench >>"$4"`

export function postgresVictim(dir: string, scratch: string): Victim {
  const bin = path.join(VERSIONS, readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a))[0], 'bin')
  const data = path.join(dir, 'postgres')
  const socket = path.join(scratch, 'socket')
  const answered = path.join(scratch, 'rows')
  const own = ['-u', 'postgres', '--']
  const asPostgres = async (program: string, ...args: string[]): Promise<string> =>
    (await run('runuser', [...own, path.join(bin, program), ...args], { cwd: '/' })).stdout.trim()
  const query = (sql: string): Promise<string> => asPostgres('psql', '-h', socket, '-XAtq', '-v', 'ON_ERROR_STOP=1', '-c', sql, 'bench')
  let before = 0

  async function serve(): Promise<Running> {
    rmSync(path.join(data, 'postmaster.pid'), { force: true }) // of a server that is dead for sure
    const server = start('runuser', [...own, path.join(bin, 'postgres'), '-D', data, '-k', socket, '-c', 'listen_addresses=', '-c', 'shared_buffers=16MB',
      '-c', 'max_connections=20', '-c', 'checkpoint_timeout=30s'], { cwd: '/', timeoutMs: 600_000 })
    let ended = false
    void server.done.catch(() => undefined).then(() => { ended = true })
    for (let waited = 0; ; waited += 50) {
      if (await run(path.join(bin, 'pg_isready'), ['-q', '-h', socket], { exits: [0, 1, 2, 3] }).then(({ code }) => code === 0)) return server
      if (ended) await server.done // throws with what the server printed
      assert.ok(waited < READY_WITHIN_MS, 'the server is ready in time')
      await sleep(50)
    }
  }
  async function end(): Promise<void> {
    for (let waited = 0; ; waited += 20) {
      const left = readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && cwdOf(pid).startsWith(data))
      if (left.length === 0) return
      for (const pid of left) killIfThere(Number(pid))
      assert.ok(waited < 10_000, 'the server is gone')
      await sleep(20)
    }
  }

  return {
    name: 'PostgreSQL',
    async prepare() {
      for (const folder of [data, socket]) {
        mkdirSync(folder)
        chmodSync(folder, 0o700)
        await run('chown', ['postgres:postgres', folder])
      }
      writeFileSync(answered, '')
      await asPostgres('initdb', '-D', data, '--data-checksums', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync')
      const server = await serve()
      await asPostgres('createdb', '-h', socket, 'bench')
      await asPostgres('pgbench', '-h', socket, '-i', '-q', '-s', '1', 'bench')
      await query('create table answered(n integer primary key, b text); create extension amcheck')
      await asPostgres('pg_ctl', '-D', data, '-w', '-m', 'fast', 'stop')
      await server.done
    },
    async work() {
      before = lines(answered).length
      const server = await serve()
      const last = await query('select coalesce(max(n), 0) from answered')
      return [
        server,
        start('runuser', [...own, path.join(bin, 'pgbench'), '-h', socket, '-n', '-c', '2', '-T', '600', 'bench'], { cwd: '/', timeoutMs: 600_000 }),
        start('bash', ['-c', INSERTS, 'inserts', last, bin, socket, answered], { cwd: '/', env: { PGUSER: 'postgres' } })
      ]
    },
    answers: () => lines(answered).length - before,
    after: end,
    async check(round) {
      const told = lines(answered).map(Number)
      const server = await serve()
      try {
        const [count, last] = (await query('select count(*), coalesce(max(n), 0) from answered')).split('|').map(Number)
        assert.equal(count, last, 'no row is missing')
        assert.ok(told.length === 0 || last >= told[told.length - 1], `row ${told.at(-1)} was answered, ${last} rows are there`)
        assert.equal(await query('select (select sum(abalance) from pgbench_accounts) = (select coalesce(sum(delta), 0) from pgbench_history)'), 't', 'the balances agree')
        if (round % CHECKED_ROUNDS === 0) {
          await query("select count(bt_index_parent_check(c.oid, true, true)) from pg_class c join pg_am a on a.oid = c.relam where a.amname = 'btree' and c.relpersistence = 'p'")
          assert.equal(await query("select count(*) from pg_class c, verify_heapam(c.oid) where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace"), '0')
        }
      } finally {
        await asPostgres('pg_ctl', '-D', data, '-w', '-m', 'immediate', 'stop')
        await server.done.catch(() => undefined)
      }
      return told.length
    }
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (e) {
    if ((e as NodeJS.ErrnoException).code !== 'ESRCH') throw e // it ended by itself: its postmaster is gone
  }
}

function cwdOf(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return '' // it ended, or is a thread of the kernel
  }
}
