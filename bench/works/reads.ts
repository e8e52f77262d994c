/** Reads past the kernel's cache (O_DIRECT): of bytes that are in memory on the other side, and of bytes that only the disk has.
 *  passthrough_ll hands O_DIRECT on to what it lies on, so for the first kind it lies on memory. */
import { perSecond, type Place, type Tools, type Work } from '../work.js'
import type { Goal } from '../figures.js'

const fill = async ({ dir, below }: Place, tools: Tools, mib: number) => {
  await tools.load('fill', 'file', `${below ?? dir}/bytes`, mib)
}

const inMemory = (name: string, title: string, blockBytes: number, jobs: number, goals: readonly Goal[], count: readonly [number, number]): Work => ({
  name,
  title,
  unit: '1/s',
  better: 'more',
  goals,
  peers: ['ogee', 'pt', 'also'],
  ptOver: 'memory',
  prepare: (place, tools) => fill(place, tools, 64),
  round: async ({ dir }, tools) => perSecond(await tools.load('readmem', `${dir}/bytes`, blockBytes, tools.size(...count), jobs)),
})

const onDisk = (name: string, title: string, depth: number, goals: readonly Goal[], count: readonly [number, number]): Work => ({
  name,
  title,
  unit: '1/s',
  better: 'more',
  goals,
  prepare: (place, tools) => fill(place, tools, tools.size(64, 256, 1024)),
  before: (_place, tools) => tools.dropCaches(),
  round: async ({ dir }, tools) => perSecond(await tools.load('readdisk', `${dir}/bytes`, tools.size(...count), depth)),
})

export const readWorks: readonly Work[] = [
  inMemory('read-4k-1', '4K random read, O_DIRECT, in memory, 1 job', 4096, 1, [{ rate: 2, of: 'pt' }], [5_000, 40_000]),
  inMemory('read-4k-4', '4K random read, O_DIRECT, in memory, 4 jobs', 4096, 4, [{ rate: 1.1, of: 'pt' }], [5_000, 40_000]),
  inMemory('read-1m', '1 MiB reads, O_DIRECT, in memory', 1 << 20, 1, [{ rate: 2, of: 'pt' }], [200, 1_500]),
  onDisk('read-cold-1', '4K random read, O_DIRECT, cold disk, depth 1', 1, [{ rate: 1, of: 'pt' }], [500, 4_000]),
  onDisk('read-cold-32', '4K random read, O_DIRECT, cold disk, depth 32', 32, [{ rate: 0.5, of: 'disk' }], [2_000, 20_000]),
]
