/**
 * Mounted pools against the model: programs of several clients at once by real system calls, with unmounting and kill -9 among the
 * steps, over pairs of mount options and kinds of space.
 *   - Whatever the daemon was asked and answered is there after its death; with writeback_cache only what was synced, so it is unmounted.
 *   - OGEE_SEED repeats a failure, OGEE_MODEL_SCALE makes it long.
 */
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { cannotMount } from '../fuse/mounted.js'
import { isAlive, isMounted, mountAt, ogee } from '../programs/mount.js'
import { run } from '../programs/run.js'
import { newModel, shownModel } from '../vfs/model.js'
import type { Model, ModelNode, Step } from '../vfs/model.js'
import { follow, program, runsOf } from '../vfs/programs.js'
import type { Program } from '../vfs/programs.js'
import { doStep, hold, shownFolder } from './model-calls.js'
import { needsRoot } from './place.js'
import { pairwise } from './pairwise.js'

const SIZE_BYTES = 256 << 20
const rows = pairwise({
  space: ['sparse', 'preallocated', 'device'],
  opens: ['', 'opens'],
  cache: ['', 'writeback_cache'],
  sync: ['', 'sync', 'dirsync'],
  atime: ['relatime', 'noatime', 'strictatime'],
  reads: ['', 'max_read=8192']
})

interface Place {
  readonly dir: string
  mount(): Promise<void>
  umount(): Promise<void>
  kill(): Promise<void>
  remove(): Promise<void>
}

async function makePlace({ space, opens, cache, sync, atime, reads }: (typeof rows)[number]): Promise<Place> {
  const top = mkdtempSync(path.join(process.env['OGEE_TEST_ROOT'] ?? os.tmpdir(), 'ogee-mounted-model-'))
  const mount = mountAt(path.join(top, 'pool'), path.join(top, 'mnt'))
  mkdirSync(mount.dir)
  const format = ['format', mount.pool]
  let device: string | undefined
  if (space === 'device') {
    const file = path.join(top, 'disk')
    writeFileSync(file, '')
    truncateSync(file, SIZE_BYTES)
    device = (await run('losetup', ['--find', '--show', file])).stdout.trim()
    format.push('--device', device)
  } else format.push('--size', String(SIZE_BYTES), ...(space === 'preallocated' ? ['--preallocate'] : []))
  await run(ogee, format)
  const options = [opens, cache, sync, atime, reads].filter((word) => word !== '').join(',')
  return {
    dir: mount.dir,
    mount: () => mount.mount(options),
    umount: () => mount.umount(),
    kill: () => (cache === 'writeback_cache' ? mount.umount() : mount.kill()),
    async remove() {
      if (mount.pid() > 1 && isAlive(mount.pid())) process.kill(mount.pid(), 'SIGKILL')
      if (isMounted(mount.dir)) await run('umount', ['-l', mount.dir])
      if (device !== undefined) await run('losetup', ['-d', device])
      rmSync(top, { recursive: true, force: true })
    }
  }
}

/** Nodes for numbers; undefined: there is no file to do it to. */
function filled(s: Step, m: Model): Step | undefined {
  const inos = [...m.keys()].sort((a, b) => a - b)
  const of = (...kinds: ModelNode['kind'][]): number[] => inos.filter((ino) => kinds.includes(m.get(ino)?.kind ?? 'file'))
  const dirs = of('dir')
  const dir = (n: number): number => dirs[n % dirs.length]
  const files = s.op === 'link' ? of('file', 'link') : s.op === 'chmod' || s.op === 'setxattr' || s.op === 'fsync' ? of('file', 'dir') : of('file')
  const file = (n: number): number => files[n % files.length]
  if (s.op === 'rename') return { ...s, parent: dir(s.parent), newParent: dir(s.newParent) }
  if (s.op === 'list') return { ...s, node: dir(s.node) }
  if (s.op === 'link') return files.length === 0 ? undefined : { ...s, node: file(s.node), parent: dir(s.parent) }
  if ('parent' in s) return { ...s, parent: dir(s.parent) }
  if (files.length === 0) return undefined
  if (s.op === 'copy') {
    const [node, to] = [file(s.node), file(s.to)]
    return { ...s, node, to, at: node === to && Math.abs(s.at - s.from) < s.length ? s.from + s.length : s.at }
  }
  return { ...s, node: file(s.node) }
}

const nodesOf = (s: Step): number[] => [
  ...('parent' in s ? [s.parent] : []), ...('newParent' in s ? [s.newParent] : []), ...('node' in s ? [s.node] : []), ...('to' in s ? [s.to] : [])]

/** The number of a folder or a link is asked for after it was made: nothing may rename it before. */
const alone = (s: Step): boolean => s.op === 'mkdir' || s.op === 'symlink'
const batches = (steps: readonly Step[]): readonly (readonly Step[])[] =>
  [...runsOf(steps.filter((s) => !alone(s))), ...steps.filter(alone).map((s) => [s])].filter((batch) => batch.length > 0)

/** Nobody holds anything open now: what has no name is gone. */
function dropUnnamed(models: readonly Model[]): void {
  for (const m of models) for (const [ino, n] of m) if (n.kind === 'dir' ? n.parent === 0 : n.nlink === 0) m.delete(ino)
}

let programs = 0 // each has a folder of its own, and dies in one of two ways

async function runProgram(place: Place, steps: Program): Promise<void> {
  const top = path.join(place.dir, `program-${++programs}`)
  mkdirSync(top, { mode: 0o755 })
  let models: readonly Model[] = [newModel(statSync(top).ino)]
  const checkSame = async (what: string): Promise<void> => {
    dropUnnamed(models)
    const real = await shownFolder(models[0], top)
    const same = models.filter((m) => shownModel(m) === real)
    if (same.length === 0) assert.equal(real, models.map(shownModel).join('\n-- or --\n'), what)
    models = same
  }
  for (const [n, batch] of steps.entries()) {
    if (batch === 'reopen') {
      if ((n + programs) % 2 === 0) {
        await place.kill()
        await place.mount()
        await checkSame('after kill -9 of the daemon')
      } else {
        await place.umount()
        await place.mount()
        await checkSame('after unmounting')
      }
      continue
    }
    for (const some of batches(batch)) {
      const ready = some.map((s) => filled(s, models[0])).filter((s) => s !== undefined)
      const held = await hold(models[0], top, ready.flatMap(nodesOf))
      const done = await Promise.all(ready.map(async (step) => ({ step, outcome: await doStep(held, step) }))).finally(() => held.close())
      const next = follow(models, done)
      assert.ok(next.length > 0, `no order explains ${JSON.stringify(done)} from\n${shownModel(models[0])}`)
      models = next
      await checkSame(JSON.stringify(done))
    }
  }
}

const seed = process.env['OGEE_SEED'] === undefined ? undefined : Number(process.env['OGEE_SEED'])
const scale = Number(process.env['OGEE_MODEL_SCALE'] ?? '1')
const RUNS = 3

for (const row of rows) {
  const title = Object.values(row).filter((word) => word !== '').join(', ')
  test(`a mount does what the model does: ${title}`, { timeout: 60_000 * scale, skip: cannotMount || needsRoot }, async () => {
    const place = await makePlace(row)
    try {
      await place.mount()
      const property = fc.asyncProperty(program, (steps) => runProgram(place, steps))
      await fc.assert(property, { numRuns: RUNS * scale, includeErrorInReport: true, interruptAfterTimeLimit: 45_000 * scale, ...(seed === undefined ? {} : { seed }) })
      await place.umount()
    } finally {
      await place.remove()
    }
  })
}
