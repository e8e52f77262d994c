/** PostgreSQL with its data folder in the place, run by its own user: pgbench's transactions per second. The socket lies outside. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import type { Place, Tools, Work } from '../work.js'

const versions = '/usr/lib/postgresql'
const clients = 4

function folderOfPrograms(): string | undefined {
  if (!existsSync(versions)) return undefined
  const newest = readdirSync(versions).sort((a, b) => Number(b) - Number(a))[0]
  return newest === undefined ? undefined : `${versions}/${newest}/bin`
}

const socketOf = ({ peer }: Place, tools: Tools) => `${tools.scratch}/socket-${peer.replace(/\W+/g, '_')}`
const asPostgres = (tools: Tools, program: string, ...args: string[]) =>
  tools.run('runuser', '-u', 'postgres', '--', `${folderOfPrograms()}/${program}`, ...args)

/** What the server itself said first: pgbench only sees that it is gone. */
const troubleIn = (log: string): string =>
  readFileSync(log, 'utf8').split('\n').filter((line) => /PANIC|FATAL|ERROR|terminated by signal/.test(line)).slice(0, 3).join(' | ') || 'no trouble in the server\'s log'

export const postgresWork: Work = {
  name: 'pgbench',
  title: 'pgbench, 4 clients, scale 5',
  unit: '1/s',
  better: 'more',
  goals: [{ time: 1.2, of: 'disk' }, { rate: 1.0, of: 'pt' }],
  refusal: async () => (folderOfPrograms() === undefined ? 'no PostgreSQL on this machine' : undefined),
  prepare: async (place, tools) => {
    const data = `${place.dir}/data`
    const socket = socketOf(place, tools)
    for (const folder of [data, socket]) {
      await tools.run('mkdir', '-p', '-m', '700', folder)
      await tools.run('chown', 'postgres:postgres', folder)
    }
    await asPostgres(tools, 'initdb', '-D', data, '-A', 'trust', '--locale=C.UTF-8')
    await asPostgres(tools, 'pg_ctl', '-D', data, '-l', `${socket}/log`, '-w', '-o', `-c listen_addresses='' -c unix_socket_directories='${socket}'`, 'start')
    await asPostgres(tools, 'pgbench', '-h', socket, '-i', '-q', '-s', '5', 'postgres')
  },
  round: async (place, tools) => {
    const said = await asPostgres(tools, 'pgbench', '-h', socketOf(place, tools), '-c', String(clients), '-j', '2', '-T', String(tools.size(2, 5, 15)), 'postgres').catch((error: unknown) => {
      throw new Error(`${troubleIn(`${socketOf(place, tools)}/log`)}; ${String(error)}`)
    })
    const tps = Number(said.match(/tps = ([\d.]+)/)?.[1])
    const ops = Number(said.match(/transactions actually processed: (\d+)/)?.[1])
    if (!(tps > 0)) throw new Error(`pgbench told no rate: ${said}`)
    return { value: tps, ops }
  },
  leave: async ({ dir }, tools) => void (await asPostgres(tools, 'pg_ctl', '-D', `${dir}/data`, '-w', '-m', 'fast', 'stop')),
}
