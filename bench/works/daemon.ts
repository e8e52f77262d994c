/** What the daemon itself costs: idle, in memory, and whether a small request waits behind big work. */
import { ogeeProgram } from '../peers/index.js'
import type { Tools, Work } from '../work.js'

const many = (tools: Tools) => tools.size(10_000, 100_000, 1_000_000)

/** Asks for attributes that are in memory, while `find` has the daemon walk names that the kernel has forgotten. */
const besideFind = (name: string, title: string, names: (tools: Tools) => number, more?: Partial<Work>): Work => ({
  name,
  title,
  unit: 'us',
  better: 'less',
  goals: [{ atMost: 2000 }],
  peers: ['ogee', 'disk', 'also'],
  prepare: async ({ dir, below }, tools) => {
    await tools.run('mkdir', `${dir}/hot`, `${dir}/many`)
    await tools.load('fill', 'files', `${dir}/hot`, 16, 4096)
    for (let made = 0; made < names(tools); made += PER_FOLDER) {
      await tools.run('mkdir', `${below ?? dir}/many/d${made}`)
      await tools.load('names', 'create', `${below ?? dir}/many/d${made}`, Math.min(PER_FOLDER, names(tools) - made))
    }
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
  ...more,
})
const PER_FOLDER = 100_000

const idleFor = 60 // seconds
const otherMounts = 9
/** Nine pools beside the one under test: their folders, and in the end their daemons. */
const others = (tools: Tools): readonly { readonly dir: string; readonly pool: string }[] =>
  Array.from({ length: otherMounts }, (_, i) => ({ dir: `${tools.scratch}/idle${i}/mnt`, pool: `${tools.scratch}/idle${i}/pool` }))

export const daemonWorks: readonly Work[] = [
  besideFind('stat-beside-find', 'p99 of an uncached stat while find walks 100,000 names, cold', (tools) => tools.size(10_000, 100_000)),
  besideFind('stat-beside-big-find', 'the same over 400,000 names: 4 times what the metadata may have in memory', () => 400_000, { peers: ['ogee'], long: true, fresh: true }),
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
      await tools.run('bash', '-c', `ls -lR ${dir} > /dev/null && find ${dir} -name 'n1*' -exec cat {} + > /dev/null`)
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
      await tools.sleepSeconds(idleFor)
      return { value: tools.cpuSeconds(place) - before, ops: 1 }
    },
  },
  {
    name: 'idle-ten',
    title: 'CPU of ten idle mounts in 60 s',
    unit: 's',
    better: 'less',
    goals: [{ atMost: 0.2 }],
    peers: ['ogee'],
    once: true,
    fresh: true,
    long: true,
    prepare: async (_place, tools) => {
      for (const { dir, pool } of others(tools)) {
        await tools.run('mkdir', '-p', dir)
        await tools.run(ogeeProgram, 'mount', pool, dir)
      }
    },
    before: (_place, tools) => tools.sleepSeconds(10),
    round: async (place, tools) => {
      const pids = await Promise.all(others(tools).map(async ({ dir }) => (JSON.parse(await tools.run(ogeeProgram, 'status', '--json', dir)) as { pid: number }).pid))
      const all = () => [place, ...pids.map((daemonPid) => ({ ...place, daemonPid }))].reduce((sum, one) => sum + tools.cpuSeconds(one), 0)
      await tools.sleepSeconds(1) // the question for the pids is over
      const before = all()
      await tools.sleepSeconds(idleFor)
      return { value: all() - before, ops: 1 }
    },
    leave: async (_place, tools) => {
      for (const { dir } of others(tools)) await tools.run('bash', '-c', `mountpoint -q ${dir} && ${ogeeProgram} umount ${dir} || true`)
    },
  },
]
