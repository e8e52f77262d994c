/** A source tree of 10,000 files: unpacked, searched, removed. */
import { existsSync } from 'node:fs'
import { writeTree } from '../../test/programs/tree.js'
import { seconds, type Place, type Tools, type Work } from '../work.js'

const count = (tools: Tools) => tools.size(1000, 10_000)

/** The tree as a tar file in the scratch folder, made once per run. */
async function archive(tools: Tools): Promise<string> {
  const tar = `${tools.scratch}/tree.tar`
  if (existsSync(tar)) return tar
  const folder = `${tools.scratch}/tree`
  writeTree(`${folder}/tree`, { files: count(tools), seed: 1 })
  await tools.run('tar', '-cf', `${tar}.part`, '-C', folder, 'tree')
  await tools.run('mv', `${tar}.part`, tar)
  await tools.run('rm', '-rf', folder)
  return tar
}

const untar = async (into: string, tools: Tools) => {
  await tools.run('tar', '-xf', await archive(tools), '-C', into)
}
const newFolder = async ({ dir }: Place, tools: Tools, round: number) => {
  await tools.dropCaches() // see peers/passthrough.ts: it finds its inodes in a list
  await tools.run('mkdir', `${dir}/r${round}`)
}
const grep = async ({ dir }: Place, tools: Tools) => seconds(await tools.timed('grep', '-r', 'no such words anywhere', `${dir}/tree`), count(tools))

export const treeWorks: readonly Work[] = [
  {
    name: 'untar',
    title: 'untar of a source tree of 10,000 files',
    unit: 's',
    better: 'less',
    goals: [{ time: 0.4, of: 'pt' }, { rate: 0.25, of: 'disk' }],
    prepare: async (_place, tools) => void (await archive(tools)),
    before: newFolder,
    round: async ({ dir }, tools, round) => seconds(await tools.timed('tar', '-xf', await archive(tools), '-C', `${dir}/r${round}`), count(tools)),
  },
  {
    name: 'rm-tree',
    title: 'rm -rf of it',
    unit: 's',
    better: 'less',
    goals: [{ time: 0.4, of: 'pt' }, { rate: 0.5, of: 'disk' }],
    before: async (place, tools, round) => {
      await newFolder(place, tools, round)
      await untar(`${place.dir}/r${round}`, tools)
    },
    round: async ({ dir }, tools, round) => seconds(await tools.timed('rm', '-rf', `${dir}/r${round}/tree`), count(tools)),
  },
  {
    name: 'grep-cold',
    title: 'grep -r over it, cold',
    unit: 's',
    better: 'less',
    goals: [{ time: 1.0, of: 'pt' }],
    prepare: ({ dir, below }, tools) => untar(below ?? dir, tools),
    before: (_place, tools) => tools.dropCaches(),
    round: grep,
  },
  {
    name: 'grep-warm',
    title: 'grep -r over it, warm',
    unit: 's',
    better: 'less',
    goals: [{ time: 1.3, of: 'disk' }],
    prepare: async (place, tools) => {
      await untar(place.below ?? place.dir, tools)
      await grep(place, tools)
    },
    round: grep,
  },
]
