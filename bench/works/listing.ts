/** Folders with many names: listed with attributes when the kernel knows nothing, and a very big one. */
import { seconds, type Tools, type Work } from '../work.js'
import type { Goal } from '../figures.js'

const cold = (name: string, title: string, entries: number, goals: readonly Goal[], peers?: Work['peers']): Work => ({
  name,
  title,
  unit: 's',
  better: 'less',
  goals,
  peers,
  prepare: async ({ dir, below }, tools) => void (await tools.load('names', 'create', below ?? dir, tools.size(entries / 10, entries))),
  before: (_place, tools) => tools.dropCaches(),
  round: async ({ dir }, tools) => {
    const load = await tools.load('listing', 'stat', dir)
    return seconds(load, load.ops)
  },
})

const bigCount = (tools: Tools) => tools.size(50_000, 300_000, 10_000_000)

export const listingWorks: readonly Work[] = [
  cold('ls-15k', 'readdir with stat, cold kernel, 15,000 entries', 15_000, [{ time: 0.4, of: 'pt' }]),
  cold('ls-100k', 'readdir with stat, cold kernel, 100,000 entries', 100_000, [{ time: 1.3, of: 'disk' }], ['ogee', 'disk', 'also']), // passthrough_ll runs out of descriptors
  {
    name: 'big-folder-first',
    title: 'a folder of 300,000 (--full: 10^7): first 1,000 names',
    unit: 'ms',
    better: 'less',
    goals: [{ atMost: 50 }],
    peers: ['ogee', 'disk'],
    prepare: async ({ dir }, tools) => void (await tools.load('names', 'create', dir, bigCount(tools))),
    before: (_place, tools) => tools.dropCaches(),
    round: async ({ dir }, tools) => {
      const load = await tools.load('listing', 'names', dir, 1000)
      return { value: load.ns / 1e6, ops: load.ops }
    },
  },
  {
    name: 'big-folder-create',
    title: 'create in it, as a multiple of the time in an empty one',
    unit: 'x',
    better: 'less',
    goals: [{ atMost: 1.3 }],
    peers: ['ogee', 'disk'],
    prepare: async ({ dir }, tools) => {
      await tools.run('mkdir', `${dir}/big`)
      await tools.load('names', 'create', `${dir}/big`, bigCount(tools))
      await tools.load('names', 'rename', `${dir}/big`, tools.size(1000, 4000))
    },
    // The big folder's first names were renamed away, so that these are new in both.
    before: async ({ dir }, tools, round) => void (await tools.run('mkdir', `${dir}/empty${round}`)),
    round: async ({ dir }, tools, round) => {
      const count = tools.size(1000, 4000)
      const empty = await tools.load('names', 'create', `${dir}/empty${round}`, count)
      const big = await tools.load('names', 'create', `${dir}/big`, count)
      return { value: big.ns / empty.ns, ops: 2 * count, more: { bigUs: big.ns / count / 1000, emptyUs: empty.ns / count / 1000 } }
    },
    after: async ({ dir }, tools) => void (await tools.load('names', 'unlink', `${dir}/big`, tools.size(1000, 4000))),
  },
]
