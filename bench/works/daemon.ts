/** What the daemon itself costs: idle, in memory, and whether a small request waits behind big work. */
import type { Tools, Work } from '../work.js'

const many = (tools: Tools) => tools.size(10_000, 100_000, 1_000_000)

export const daemonWorks: readonly Work[] = [
  {
    name: 'stat-beside-find',
    title: 'p99 of an uncached stat while find walks 100,000 names, cold',
    unit: 'us',
    better: 'less',
    goals: [{ atMost: 2000 }],
    peers: ['ogee', 'disk', 'also'],
    prepare: async ({ dir, below }, tools) => {
      await tools.run('mkdir', `${dir}/many`, `${dir}/hot`)
      await tools.load('fill', 'files', `${dir}/hot`, 16, 4096)
      await tools.load('names', 'create', `${below ?? dir}/many`, tools.size(10_000, 100_000))
    },
    before: (_place, tools) => tools.dropCaches(),
    round: async ({ dir }, tools) => {
      const find = tools.beside('bash', '-c', `while :; do find ${dir}/many -size +1 ; done`)
      try {
        const load = await tools.load('stat', 'sync', `${dir}/hot`, 16, `${tools.size(500, 2000)}ms`)
        return { value: (load.p99Ns ?? NaN) / 1000, ops: load.ops, more: { p50Us: (load.p50Ns ?? NaN) / 1000 } }
      } finally {
        await find.stop()
      }
    },
  },
  {
    name: 'memory',
    title: 'anonymous memory after 100,000 (--full: 10^6) files were created, listed, read',
    unit: 'MiB',
    better: 'less',
    goals: [{ atMost: 300 }],
    peers: ['ogee'],
    once: true,
    fresh: true,
    round: async (place, tools) => {
      const { dir } = place
      const per = 10_000
      for (let n = 0; n < many(tools) / per; n++) {
        await tools.run('mkdir', `${dir}/d${n}`)
        await tools.load('names', 'create4k', `${dir}/d${n}`, per)
      }
      await tools.run('bash', '-c', `ls -lR ${dir} > /dev/null && cat ${dir}/d*/n1* > /dev/null`)
      return { value: tools.anonMib(place), ops: many(tools) }
    },
  },
  {
    name: 'idle',
    title: 'CPU of an idle mount in 60 s',
    unit: 's',
    better: 'less',
    goals: [{ atMost: 0.02 }],
    peers: ['ogee', 'pt'],
    once: true,
    fresh: true,
    long: true,
    before: (_place, tools) => tools.sleepSeconds(10),
    round: async (place, tools) => {
      const before = tools.cpuSeconds(place)
      await tools.sleepSeconds(60)
      return { value: tools.cpuSeconds(place) - before, ops: 1 }
    },
  },
]
