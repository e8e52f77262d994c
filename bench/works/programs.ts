/** Whole programs that many people run: git, SQLite, a training job's loader. */
import { existsSync, writeFileSync } from 'node:fs'
import { writeTree } from '../../test/programs/tree.js'
import { seconds, usEach, type Place, type Tools, type Work } from '../work.js'

const sources = (tools: Tools) => tools.size(500, 5000)
const gitOptions = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost', '-c', 'gc.auto=0', '-c', 'safe.directory=*', '-c', 'maintenance.auto=false']

/** A repository of 5,000 files in the scratch folder, packed, made once per run. Cloning copies the pack and checks out: file systems at work, little zlib. */
async function origin(tools: Tools): Promise<string> {
  const folder = `${tools.scratch}/origin`
  if (existsSync(`${folder}.git`)) return `${folder}.git`
  writeTree(folder, { files: sources(tools), seed: 2 })
  await tools.run('git', ...gitOptions, 'init', '-q', '-b', 'main', folder)
  await tools.run('git', ...gitOptions, '-C', folder, 'add', '-A')
  await tools.run('git', ...gitOptions, '-C', folder, 'commit', '-q', '-m', 'sources')
  await tools.run('git', ...gitOptions, 'clone', '-q', '--bare', folder, `${folder}.git`)
  await tools.run('git', ...gitOptions, '-C', `${folder}.git`, 'repack', '-adq')
  await tools.run('rm', '-rf', folder)
  return `${folder}.git`
}
const clone = async ({ dir }: Place, tools: Tools, name = 'clone') =>
  tools.timed('git', ...gitOptions, 'clone', '-q', '--no-hardlinks', await origin(tools), `${dir}/${name}`)
const status = async ({ dir }: Place, tools: Tools) =>
  seconds(await tools.timed('git', ...gitOptions, '-C', `${dir}/clone`, 'status', '--porcelain'), sources(tools))

const images = (tools: Tools) => tools.size(300, 2000)
const loader = async ({ dir }: Place, tools: Tools, round: number) => seconds(await tools.load('loader', dir, images(tools), 4, round + 1), images(tools))
const fillImages = async ({ dir, below }: Place, tools: Tools) => {
  await tools.load('fill', 'files', below ?? dir, images(tools), 100 << 10)
}

const inserts = (tools: Tools) => tools.size(50, 300)

export const programWorks: readonly Work[] = [
  {
    name: 'git-clone',
    title: 'git clone of 5,000 files',
    unit: 's',
    better: 'less',
    goals: [{ time: 0.5, of: 'pt' }, { rate: 0.4, of: 'disk' }],
    prepare: async (_place, tools) => void (await origin(tools)),
    before: (_place, tools) => tools.dropCaches(), // see peers/passthrough.ts: it finds its inodes in a list
    round: async (place, tools, round) => seconds(await clone(place, tools, `clone${round}`), sources(tools)),
  },
  {
    name: 'git-status-cold',
    title: 'git status, cold',
    unit: 's',
    better: 'less',
    goals: [{ time: 0.6, of: 'pt' }],
    prepare: async (place, tools) => {
      await clone(place, tools)
      await status(place, tools)
    },
    before: (_place, tools) => tools.dropCaches(),
    round: status,
  },
  {
    name: 'git-status-warm',
    title: 'git status, warm',
    unit: 's',
    better: 'less',
    goals: [{ time: 1.3, of: 'disk' }],
    prepare: async (place, tools) => {
      await clone(place, tools)
      await status(place, tools)
      await status(place, tools)
    },
    round: status,
  },
  {
    name: 'sqlite',
    title: 'SQLite: one insert per transaction, synchronous=full',
    unit: 'us',
    better: 'less',
    goals: [{ time: 1.2, of: 'disk' }, { time: 1.0, of: 'pt' }],
    refusal: (tools) => tools.run('sqlite3', '--version').then(() => undefined, () => 'no sqlite3 on this machine'),
    prepare: async (_place, tools) => {
      const lines = ['pragma synchronous=full;', 'create table t(n integer primary key, words text);']
      for (let n = 0; n < inserts(tools); n++) lines.push(`insert into t values (${n}, '${'word '.repeat(20)}${n}');`)
      writeFileSync(`${tools.scratch}/inserts.sql`, lines.join('\n'))
    },
    round: async ({ dir }, tools, round) =>
      usEach({ ...(await tools.timed('sqlite3', '-batch', `${dir}/r${round}.db`, `.read ${tools.scratch}/inserts.sql`)), ops: inserts(tools) }),
  },
  {
    name: 'loader-cold',
    title: '4 processes read 2,000 images of 100 KiB in random order, cold',
    unit: 's',
    better: 'less',
    goals: [{ time: 0.5, of: 'pt' }],
    prepare: fillImages,
    before: (_place, tools) => tools.dropCaches(),
    round: loader,
  },
  {
    name: 'loader-warm',
    title: 'the same, warm',
    unit: 's',
    better: 'less',
    goals: [{ time: 0.5, of: 'pt' }, { time: 1.1, of: 'disk' }],
    prepare: async (place, tools) => {
      await fillImages(place, tools)
      await loader(place, tools, 0)
    },
    round: loader,
  },
]
