/** Attributes and small hot files: what a request costs when there is nothing to do but answer, and what costs nothing at all because the
 *  kernel answers. */
import { usEach, type Tools, type Work } from '../work.js'

const files = 64
const fill = (dir: string, tools: Tools) => tools.load('fill', 'files', dir, files, 4096).then(() => undefined)

const stat = (name: string, mode: string, title: string, goals: Work['goals'], count: readonly [number, number]): Work => ({
  name,
  title,
  unit: 'us',
  better: 'less',
  goals,
  prepare: ({ dir }, tools) => fill(dir, tools),
  round: async ({ dir }, tools) => {
    const load = await tools.load('stat', mode, dir, files, tools.size(...count))
    return { ...usEach(load), more: { p99Us: (load.p99Ns ?? NaN) / 1000 } }
  },
})

const awake: Work = {
  ...stat('stat-sync-awake', 'sync', 'the same while the cores are kept awake', [{ time: 0.75, of: 'pt' }], [10_000, 40_000]),
  refusal: async (tools) => {
    const hold = tools.beside(tools.program('awake'))
    await tools.sleepSeconds(0.1)
    return hold.stop().then(() => undefined, () => '/dev/cpu_dma_latency cannot be held')
  },
  round: async ({ dir }, tools) => {
    const hold = tools.beside(tools.program('awake'))
    try {
      await tools.sleepSeconds(0.05)
      return usEach(await tools.load('stat', 'sync', dir, files, tools.size(10_000, 40_000)))
    } finally {
      await hold.stop()
    }
  },
}

export const statWorks: readonly Work[] = [
  stat('stat-sync', 'sync', 'statx(AT_STATX_FORCE_SYNC) of hot files', [{ time: 0.4, of: 'pt' }], [5_000, 30_000]),
  awake,
  stat('stat-cached', 'cached', 'statx, default caching', [{ time: 1.3, of: 'disk' }], [100_000, 500_000]),
  {
    name: 'open-read',
    title: 'open + read 4 KiB + close of hot files',
    unit: 'us',
    better: 'less',
    goals: [{ time: 1.3, of: 'disk' }],
    prepare: ({ dir }, tools) => fill(dir, tools),
    round: async ({ dir }, tools) => usEach(await tools.load('openread', dir, files, tools.size(5_000, 30_000))),
  },
]
