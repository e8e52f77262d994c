/**
 * Ceph's block device (RBD) on this machine alone: one monitor and one OSD, whose BlueStore lies in a file of the disk under test, on loopback and
 * without authentication. No manager: nothing of a block device's work passes it.
 *   - The works make images in the pool `bench` with rbd(8), and reach them through librbd (CEPH_CONF names the configuration).
 *   - Its daemons put themselves into the background and write down their pids; `stop` and `kill` know no others.
 */
import { randomUUID } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { run } from '../../test/programs/run.js'
import { isAlive, until } from './mounts.js'
import type { Peer } from './peer.js'

const PORT = 16790
const BLUESTORE_BYTES = 6 * 1024 ** 3 // sparse
const PROGRAMS = ['ceph', 'ceph-mon', 'ceph-osd', 'ceph-authtool', 'monmaptool', 'rbd']
const START_MS = 60_000

export const cephConf = (place: string): string => `${place}/ceph.conf`

/** Why there can be none here. */
export const cephRefusal = (): Promise<string | undefined> =>
  run('which', PROGRAMS).then(() => undefined, () => 'needs Ceph: apt-get install --no-install-recommends ceph-mon ceph-osd ceph-common')

const configuration = (place: string, fsid: string): string => `[global]
fsid = ${fsid}
mon host = v1:127.0.0.1:${PORT}
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 16
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
osd memory target = 1073741824
bluestore block size = ${BLUESTORE_BYTES}
keyring = ${place}/keyring
mon data = ${place}/mon
osd data = ${place}/osd
run dir = ${place}/run
pid file = ${place}/run/$name.pid
admin socket = ${place}/run/$name.asok
log file = ${place}/log/$name.log
[client]
rbd cache = false
`

export const cephPeer: Peer = {
  name: 'rbd',
  kind: 'rbd',
  async start(place) {
    for (const folder of ['mon', 'osd', 'run', 'log']) mkdirSync(`${place}/${folder}`, { recursive: true })
    const conf = cephConf(place)
    const fsid = randomUUID()
    const ceph = (program: string, ...args: string[]): Promise<unknown> => run(program, ['-c', conf, ...args], { cwd: '/', timeoutMs: START_MS })
    const pids = (): number[] => readdirSync(`${place}/run`).filter((name) => name.endsWith('.pid')).map((name) => Number(readFileSync(`${place}/run/${name}`, 'latin1')))
    const kill = (signal: NodeJS.Signals): void => pids().filter((pid) => pid > 1 && isAlive(pid)).forEach((pid) => process.kill(pid, signal))
    writeFileSync(conf, configuration(place, fsid))
    try {
      await run('ceph-authtool', ['--create-keyring', `${place}/keyring`, '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *'])
      await run('monmaptool', ['--create', '--addv', 'a', `[v1:127.0.0.1:${PORT}]`, '--fsid', fsid, `${place}/monmap`])
      await ceph('ceph-mon', '--mkfs', '-i', 'a', '--monmap', `${place}/monmap`, '--keyring', `${place}/keyring`)
      await ceph('ceph-mon', '-i', 'a')
      const uuid = randomUUID()
      await ceph('ceph', 'osd', 'new', uuid)
      await ceph('ceph-osd', '-i', '0', '--mkfs', '--osd-uuid', uuid)
      await ceph('ceph-osd', '-i', '0')
      await ceph('ceph', 'osd', 'crush', 'add', 'osd.0', '1', 'root=default')
      await ceph('ceph', 'osd', 'pool', 'create', 'bench', '16')
      await ceph('rbd', 'pool', 'init', 'bench')
    } catch (error) {
      kill('SIGKILL')
      throw error
    }
    return {
      dir: place,
      below: undefined,
      pid: undefined,
      async stop() {
        kill('SIGTERM')
        await until('Ceph is gone', () => !existsSync(`${place}/run`) || pids().every((pid) => !isAlive(pid)), 30_000)
      },
      kill: () => kill('SIGKILL'),
    }
  },
}
