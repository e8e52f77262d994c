/** One call on one name after another in a folder: create, mkdir, rename, unlink, and a small file with bytes in it. */
import { usEach, type Work } from '../work.js'
import type { Goal } from '../figures.js'

const goals = (diskRate: number): readonly Goal[] => [{ time: 0.4, of: 'pt' }, { rate: diskRate, of: 'disk' }]

/** `first` makes the names that the call needs. */
const names = (name: string, title: string, call: string, diskRate: number, first?: string): Work => ({
  name,
  title,
  unit: 'us',
  better: 'less',
  goals: goals(diskRate),
  before: async ({ dir }, tools, round) => {
    await tools.dropCaches() // see peers/passthrough.ts: it finds its inodes in a list
    await tools.run('mkdir', `${dir}/r${round}`)
    if (first !== undefined) await tools.load('names', first, `${dir}/r${round}`, tools.size(500, 4000))
  },
  round: async ({ dir }, tools, round) => usEach(await tools.load('names', call, `${dir}/r${round}`, tools.size(500, 4000))),
})

export const nameWorks: readonly Work[] = [
  names('create', 'create + close of an empty file', 'create', 0.5),
  names('mkdir', 'mkdir', 'mkdir', 0.5),
  names('rename', 'rename of an empty file', 'rename', 0.5, 'create'),
  names('unlink', 'unlink of an empty file', 'unlink', 0.5, 'create'),
  names('create-4k', 'create + write 4 KiB + close', 'create4k', 0.25),
]
