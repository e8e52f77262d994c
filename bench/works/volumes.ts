/**
 * Volumes beside themselves and beside files: ten of them against one of their size, writes over what a snapshot shows against writes in place, and PostgreSQL on ext4 on an attached volume against ext4 on a loop device over
 * a plain file of the disk.
 */
import { fileURLToPath } from 'node:url'
import type { Place, Tools, Work } from '../work.js'
import { postgresWork } from './postgres.js'

const ogee = process.env['OGEE_BIN'] ?? fileURLToPath(new URL('../../bin/ogee', import.meta.url))
const TEN = 10
const names = Array.from({ length: TEN }, (_, i) => `ten${i}`)
const socketOf = (tools: Tools): string => `${tools.scratch}/ten.sock`

/** Requests a second of all jobs together: one on each volume. */
async function rate(tools: Tools, volumes: readonly string[], rw: string, iodepth: number, size: string): Promise<number> {
  const said = await tools.run('fio', '--name=global', '--ioengine=nbd', '--thread', '--bs=4k', `--rw=${rw}`, `--iodepth=${iodepth}`, `--size=${size}`, '--randrepeat=0', '--time_based',
    `--runtime=${tools.size(2, 5, 20)}`, '--output-format=json', ...volumes.flatMap((name) => [`--name=${name}`, `--uri=nbd+unix:///${name}?socket=${socketOf(tools)}`]))
  const { jobs } = JSON.parse(said.slice(said.indexOf('{'))) as { jobs: { read: { iops: number }, write: { iops: number } }[] }
  return jobs.reduce((sum, { read, write }) => sum + read.iops + write.iops, 0)
}

const sizeMib = (tools: Tools): number => tools.size(24, 96, 400)
const sizes = (tools: Tools): [string, number][] => [['one', TEN * sizeMib(tools)], ...names.map((name): [string, number] => [name, sizeMib(tools)])]

/** The one volume is as large as the ten together: as many bytes are touched. */
const ten = (rw: 'randread' | 'randwrite'): Work => ({
  name: `nbd-ten-${rw.slice(4)}s`, title: `NBD: 4K random ${rw.slice(4)}s, queue depth 130: one volume's rate, by that of ten of a tenth of its size together`, unit: 'x', better: 'less', goals: [{ atMost: 1 }], peers: ['ogee'],
  refusal: (tools) => tools.run('which', 'fio').then(() => undefined, () => 'needs fio (test/install.sh)'),
  async prepare({ dir }, tools) {
    for (const [name, mib] of sizes(tools)) await tools.run(ogee, 'volume', 'create', dir, name, '--size', `${mib}M`)
    await tools.run(ogee, 'nbd', dir, '--listen', `unix:${socketOf(tools)}`)
    for (const [name, mib] of sizes(tools)) await tools.run('fio', '--name=fill', '--ioengine=nbd', `--uri=nbd+unix:///${name}?socket=${socketOf(tools)}`, '--thread', '--rw=write', '--bs=1m', `--size=${mib}m`, '--end_fsync=1')
  },
  async round(_place, tools) {
    const one = await rate(tools, ['one'], rw, 13 * TEN, `${TEN * sizeMib(tools)}m`)
    const all = await rate(tools, names, rw, 13, `${sizeMib(tools)}m`)
    return { value: one / all, ops: one + all, more: { 'one 1/s': one, 'ten 1/s': all } }
  },
  async leave({ dir }, tools) {
    await tools.run(ogee, 'nbd', dir, '--stop')
    for (const [name] of sizes(tools)) await tools.run(ogee, 'volume', 'rm', dir, name)
  }
})

/** Each block of a volume written once, in an order that is none; requests a second. */
async function once(tools: Tools, iodepth: number): Promise<number> {
  const said = await tools.run('fio', '--name=touch', '--ioengine=nbd', `--uri=nbd+unix:///touched?socket=${socketOf(tools)}`, '--thread', '--bs=4k', '--rw=randwrite', `--iodepth=${iodepth}`,
    `--size=${touchedMib(tools)}m`, '--randrepeat=0', '--output-format=json')
  const { jobs: [{ write }] } = JSON.parse(said.slice(said.indexOf('{'))) as { jobs: { write: { iops: number } }[] }
  return write.iops
}
const touchedMib = (tools: Tools): number => tools.size(64, 256, 1024)

/** The rate of writes in place by that of the first, or the second, write of each block after a snapshot. */
const touch = (which: 'first' | 'second', iodepth: number, atMost: number): Work => ({
  name: `nbd-touch-${which}-${iodepth}`, title: `NBD: 4K random writes, queue depth ${iodepth}: how many times as long the ${which} of a block takes after a snapshot`,
  unit: 'x', better: 'less', goals: [{ atMost }], peers: ['ogee'],
  refusal: (tools) => tools.run('which', 'fio').then(() => undefined, () => 'needs fio (test/install.sh)'),
  async prepare({ dir }, tools) {
    await tools.run(ogee, 'volume', 'create', dir, 'touched', '--size', `${touchedMib(tools)}M`)
    await tools.run(ogee, 'nbd', dir, 'touched', '--listen', `unix:${socketOf(tools)}`)
    await tools.run('fio', '--name=fill', '--ioengine=nbd', `--uri=nbd+unix:///touched?socket=${socketOf(tools)}`, '--thread', '--rw=write', '--bs=1m', `--size=${touchedMib(tools)}m`, '--end_fsync=1')
  },
  async round({ dir }, tools) {
    const plain = await once(tools, iodepth)
    await tools.run(ogee, 'snapshot', 'create', dir, 'touched@before')
    const first = await once(tools, iodepth)
    const second = await once(tools, iodepth)
    await tools.run(ogee, 'snapshot', 'rm', dir, 'touched@before', '--wait')
    return { value: plain / (which === 'first' ? first : second), ops: plain + first + second, more: { 'in place 1/s': plain, 'first 1/s': first, 'second 1/s': second } }
  },
  async leave({ dir }, tools) {
    await tools.run(ogee, 'nbd', dir, '--stop')
    await tools.run(ogee, 'volume', 'rm', dir, 'touched')
  }
})

const devices = new Map<string, string>()
const mountOf = ({ peer }: Place, tools: Tools): string => `${tools.scratch}/ext4-${peer}`
const onExt4 = (place: Place, tools: Tools): Place => ({ ...place, dir: mountOf(place, tools) })

const pgbench: Work = {
  ...postgresWork, name: 'pgbench-volume', title: 'pgbench on ext4, on an attached volume; on a loop device over a file', goals: [{ rate: 0.8, of: 'disk' }], peers: ['ogee', 'disk'],
  async prepare(place, tools) {
    const { dir, peer } = place
    let device: string
    if (peer === 'ogee') {
      await tools.run(ogee, 'volume', 'create', dir, 'pg', '--size', '1G')
      device = await tools.run(ogee, 'volume', 'attach', dir, 'pg')
    } else {
      await tools.run('truncate', '-s', '1G', `${dir}/image`)
      device = await tools.run('losetup', '--find', '--show', `${dir}/image`)
    }
    devices.set(peer, device.trim())
    await tools.run('mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device.trim())
    await tools.run('mkdir', '-p', mountOf(place, tools))
    await tools.run('mount', device.trim(), mountOf(place, tools))
    await postgresWork.prepare!(onExt4(place, tools), tools)
  },
  round: (place, tools, n) => postgresWork.round(onExt4(place, tools), tools, n),
  async leave(place, tools) {
    await postgresWork.leave!(onExt4(place, tools), tools)
    await tools.run('umount', mountOf(place, tools))
    if (place.peer !== 'ogee') return void await tools.run('losetup', '-d', devices.get(place.peer)!)
    await tools.run(ogee, 'volume', 'detach', place.dir, 'pg')
    await tools.run(ogee, 'volume', 'rm', place.dir, 'pg')
  }
}

export const volumeWorks: readonly Work[] = [ten('randread'), ten('randwrite'), touch('first', 1, 2), touch('second', 1, 1 / 0.9), touch('first', 128, 2), touch('second', 128, 1 / 0.9), pgbench]
