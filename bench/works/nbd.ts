/**
 * Block devices over NBD (fio's nbd engine, a unix socket), a filled volume against the same bytes in a file behind nbdkit and qemu-nbd, all of them
 * through the page cache; and against an image of Ceph's RBD (fio's rbd engine). Each place fills its volume first; random works then touch all of it.
 */
import { existsSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Goal } from '../figures.js'
import { cephConf, cephRefusal } from '../peers/index.js'
import type { Place, Sample, Tools, Work } from '../work.js'

const ogee = process.env['OGEE_BIN'] ?? fileURLToPath(new URL('../../bin/ogee', import.meta.url))
const MIB = 1024 ** 2
const servers = new Map<string, { stop(): Promise<void> }>()

const volumeMib = (tools: Tools): number => tools.size(256, 1024, 4096)
const socketOf = ({ peer }: Place, tools: Tools): string => `${tools.scratch}/${peer}.sock`
const uriOf = (place: Place, tools: Tools): string => `nbd+unix:///${place.peer === 'ogee' ? 'bench' : ''}?socket=${socketOf(place, tools)}`

/** Serves `volumeMib` of new space at the place's socket; or makes an image in Ceph. */
async function serve(place: Place, tools: Tools): Promise<void> {
  if (place.peer === 'rbd') {
    await tools.run('rbd', '-c', cephConf(path.dirname(place.dir)), 'create', `bench/${path.basename(place.dir)}`, '--size', `${volumeMib(tools)}M`, '--image-feature', 'layering')
    return fill(place, tools)
  }
  const socket = socketOf(place, tools)
  const bytes = volumeMib(tools) * MIB
  const image = `${place.dir}/image`
  if (place.peer === 'ogee') {
    await tools.run(ogee, 'volume', 'create', place.dir, 'bench', '--size', String(bytes))
    await tools.run(ogee, 'nbd', place.dir, 'bench', '--listen', `unix:${socket}`)
  } else if (place.peer === 'nbdkit') {
    await tools.run('truncate', '-s', String(bytes), image)
    servers.set(socket, tools.beside('nbdkit', '-f', '-U', socket, 'file', image))
  } else {
    const format = place.peer === 'qemu-raw' ? 'raw' : 'qcow2'
    await tools.run('qemu-img', 'create', '-q', '-f', format, image, String(bytes))
    servers.set(socket, tools.beside('qemu-nbd', '-t', '-e', '16', '-f', format, '--cache=writeback', '-k', socket, image))
  }
  for (let waited = 0; waited < 100 && !existsSync(socket); waited++) await tools.sleepSeconds(0.05)
  await fill(place, tools)
}

const fill = async (place: Place, tools: Tools): Promise<void> => void await fio(place, tools, { rw: 'write', bs: '1m', iodepth: 8, size: `${volumeMib(tools)}m` })

async function leave(place: Place, tools: Tools): Promise<void> {
  if (place.peer === 'rbd') return void await tools.run('rbd', '-c', cephConf(path.dirname(place.dir)), 'rm', '--no-progress', `bench/${path.basename(place.dir)}`)
  const socket = socketOf(place, tools)
  await servers.get(socket)?.stop()
  servers.delete(socket)
  if (place.peer === 'ogee') {
    await tools.run(ogee, 'nbd', place.dir, '--stop')
    await tools.run(ogee, 'volume', 'rm', place.dir, 'bench')
  } else await tools.run('rm', '-f', socket)
}

interface Side {
  readonly iops: number
  readonly total_ios: number
  readonly bw_bytes: number
  readonly clat_ns: { readonly mean: number, readonly percentile?: Readonly<Record<string, number>> }
}

async function fio(place: Place, tools: Tools, job: Readonly<Record<string, string | number>>): Promise<Side[]> {
  const engine = place.peer === 'rbd' ? ['--ioengine=rbd', '--clientname=admin', '--pool=bench', `--rbdname=${path.basename(place.dir)}`] : ['--ioengine=nbd', `--uri=${uriOf(place, tools)}`]
  const said = await tools.run('env', `CEPH_CONF=${cephConf(path.dirname(place.dir))}`, 'fio', '--name=bench', ...engine, '--thread', '--group_reporting', '--output-format=json', '--randrepeat=0',
    ...Object.entries(job).map(([word, value]) => `--${word}=${value}`))
  const { jobs: [sum] } = JSON.parse(said.slice(said.indexOf('{'))) as { jobs: { read: Side, write: Side }[] }
  return [sum.read, sum.write].filter(({ total_ios }) => total_ios > 0)
}

const perSecond = (sides: readonly Side[]): Sample => ({
  value: sides.reduce((sum, { iops }) => sum + iops, 0), ops: sides.reduce((sum, { total_ios }) => sum + total_ios, 0),
  more: { 'mean us': Math.max(...sides.map(({ clat_ns }) => clat_ns.mean / 1000)), 'p99 us': Math.max(...sides.map(({ clat_ns }) => (clat_ns.percentile?.['99.000000'] ?? NaN) / 1000)) }
})

const rates = (nbdkit: number, qemu: number): Goal[] => [{ rate: nbdkit, of: 'nbdkit' }, { rate: qemu, of: 'qemu' }]

const work = (name: string, title: string, unit: Work['unit'], goals: readonly Goal[], round: Work['round']): Work => ({
  name: `nbd-${name}`, title: `NBD: ${title}`, unit, better: 'more', goals, peers: ['ogee', 'nbd'],
  refusal: (tools) => tools.run('which', 'fio', 'nbdkit', 'qemu-nbd').then(() => undefined, () => 'needs fio, nbdkit and qemu-nbd (test/install.sh)'),
  prepare: serve, round, leave
})

type Job = Readonly<Record<string, string | number>>
const randomRound = (job: Job): Work['round'] => async (place, tools) =>
  perSecond(await fio(place, tools, { bs: '4k', size: `${volumeMib(tools)}m`, time_based: 1, runtime: tools.size(2, 5, 20), ...job }))

const random = (name: string, title: string, goals: readonly Goal[], job: Job): Work => work(name, title, '1/s', goals, randomRound(job))

const DATABASE: Job = { rw: 'randrw', rwmixread: 70, bs: '8k', iodepth: 1, numjobs: 8, fsync: 8 }

const stream = (name: string, title: string, job: Readonly<Record<string, string | number>>): Work =>
  work(name, title, 'MiB/s', rates(0.9, 0.9), async (place, tools) => {
    const [side] = await fio(place, tools, { bs: '1m', iodepth: 8, size: `${volumeMib(tools)}m`, ...job })
    return { value: side.bw_bytes / MIB, ops: side.total_ios }
  })

export const nbdWorks: readonly Work[] = [
  random('read-1', '4K random reads, queue depth 1', rates(2, 2), { rw: 'randread', iodepth: 1 }),
  random('read-128', '4K random reads, queue depth 128', rates(1, 1.5), { rw: 'randread', iodepth: 128 }),
  random('write-1', '4K random writes, queue depth 1', rates(2, 2), { rw: 'randwrite', iodepth: 1 }),
  random('write-128', '4K random writes, queue depth 128', rates(1, 1.5), { rw: 'randwrite', iodepth: 128 }),
  random('fsync-1', '4K random writes, a FLUSH after each, queue depth 1', rates(1, 1), { rw: 'randwrite', iodepth: 1, fsync: 1 }),
  random('database', '8K, 70 % reads, 8 jobs, a FLUSH after every 8 writes', rates(1, 1), DATABASE),
  stream('stream-write', '1 MiB writes in sequence, a FLUSH at the end', { rw: 'write', end_fsync: 1 }),
  stream('stream-read', '1 MiB reads in sequence', { rw: 'read' })
]

/** The same on a volume and on an image of Ceph with one OSD. Its writes are durable when they are answered; FLUSH after each is that promise on ours. */
const againstCeph = (name: string, title: string, rate: number, job: Job): Work => ({
  ...work(name, '', '1/s', [{ rate, of: 'rbd' }], randomRound(job)),
  name: `rbd-${name}`, title: `against RBD: ${title}`, peers: ['ogee', 'rbd'], refusal: cephRefusal
})

export const rbdWorks: readonly Work[] = [
  againstCeph('fsync-1', '4K random writes, a FLUSH after each, queue depth 1', 2, { rw: 'randwrite', iodepth: 1, fsync: 1 }),
  againstCeph('fsync-32', 'the same, queue depth 32', 1.5, { rw: 'randwrite', iodepth: 32, fsync: 1 }),
  againstCeph('read-1', '4K random reads, queue depth 1', 3, { rw: 'randread', iodepth: 1 }),
  againstCeph('read-128', '4K random reads, queue depth 128', 3, { rw: 'randread', iodepth: 128 }),
  againstCeph('database', '8K, 70 % reads, 8 jobs, a FLUSH after every 8 writes', 1.26, DATABASE)
]
