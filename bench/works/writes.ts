/** Writes that are made durable: single blocks, appends alone and beside a stream, whole files; and reading those files back. */
import { usEach, type Load, type Place, type Sample, type Tools, type Work } from '../work.js'

const streamMib = (tools: Tools) => tools.size(64, 256, 1024)
const mibPerSecond = ({ ops, ns }: Load): Sample => ({ value: (ops / ns) * 1e9, ops })
const appends = (tools: Tools) => tools.size(200, 1000)
const fill = async ({ dir }: Place, tools: Tools) => {
  await tools.load('fill', 'file', `${dir}/bytes`, streamMib(tools))
}
const warm = (name: string, title: string, mode: string): Work => ({
  name,
  title,
  unit: 'MiB/s',
  better: 'more',
  goals: [{ time: 1.3, of: 'disk' }],
  prepare: async (place, tools) => {
    await fill(place, tools)
    await tools.load('stream', 'read', `${place.dir}/bytes`)
  },
  round: async ({ dir }, tools) => mibPerSecond(await tools.load('stream', mode, `${dir}/bytes`)),
})

export const writeWorks: readonly Work[] = [
  {
    name: 'rewrite-4k',
    title: '4K random writes, buffered, then fsync',
    unit: 'us',
    better: 'less',
    goals: [{ time: 0.5, of: 'pt' }],
    prepare: async ({ dir }, tools) => void (await tools.load('fill', 'file', `${dir}/bytes`, 64)),
    round: async ({ dir }, tools, round) => usEach(await tools.load('rewrite', `${dir}/bytes`, tools.size(1000, 8000), round + 1)),
  },
  {
    name: 'append-sync',
    title: '4K append + fsync, alone',
    unit: 'us',
    better: 'less',
    goals: [{ time: 1.2, of: 'disk' }],
    round: async ({ dir }, tools, round) => {
      const load = await tools.load('append', `${dir}/a${round}`, appends(tools))
      return { ...usEach(load), more: { p99Us: (load.p99Ns ?? NaN) / 1000 } }
    },
  },
  {
    name: 'append-beside',
    title: 'its p99 beside a stream of 256 MiB (--full: 1 GiB), of p99 alone',
    unit: 'x',
    better: 'less',
    goals: [{ atMost: 3 }],
    round: async ({ dir }, tools) => {
      const alone = await tools.load('append', `${dir}/a`, appends(tools))
      const beside = await tools.load('append', `${dir}/a`, 1, `${dir}/s`, streamMib(tools))
      const [aloneUs, besideUs] = [alone, beside].map(({ p99Ns = NaN }) => p99Ns / 1000)
      return { value: besideUs / aloneUs, ops: alone.ops + beside.ops, more: { aloneUs, besideUs } }
    },
    after: async ({ dir }, tools) => void (await tools.run('rm', '-f', `${dir}/a`, `${dir}/s`)),
  },
  {
    name: 'stream-write',
    title: 'sequential write of 256 MiB (--full: 1 GiB) + fsync',
    unit: 'MiB/s',
    better: 'more',
    goals: [{ rate: 0.9, of: 'disk' }],
    round: async ({ dir }, tools) => mibPerSecond(await tools.load('stream', 'write', `${dir}/s`, streamMib(tools))),
    after: async ({ dir }, tools) => void (await tools.run('rm', '-f', `${dir}/s`)),
  },
  {
    name: 'stream-read-cold',
    title: 'sequential read of it, cold',
    unit: 'MiB/s',
    better: 'more',
    goals: [{ rate: 0.9, of: 'disk' }],
    prepare: fill,
    before: (_place, tools) => tools.dropCaches(),
    round: async ({ dir }, tools) => mibPerSecond(await tools.load('stream', 'read', `${dir}/bytes`)),
  },
  warm('read-warm', 'sequential read of it, warm', 'read'),
  warm('mmap-warm', 'mmap read of it, warm', 'mmap'),
]
