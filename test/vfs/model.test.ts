/**
 * The vfs against the model: several clients at once, with closing and opening the pool among the steps.
 *   - The steps of a batch run at the same time; there must be an order in which the model gives every step the outcome that it
 *     had, and afterwards looks as the pool does. All orders that do are followed on.
 *   - A failure prints its seed and the shortest program that fast-check found.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { errnoName, errnoOf, O_CREAT, O_EXCL, O_RDWR, rootContext as root, seededRandom, systemClock, systemRandom } from '../../src/sys/index.js'
import { makeMemoryServer, openLmdb } from '../../src/engine/index.js'
import { openPool } from '../../src/pool/index.js'
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE, ROOT_NODE, SET_MODE, SET_SIZE } from '../../src/vfs/index.js'
import type { Vfs, SetAttr } from '../../src/vfs/index.js'
import { describeNode, digest, newModel, shownModel } from './model.js'
import type { Model, ModelNode, Step } from './model.js'
import { follow, program, runsOf } from './programs.js'
import type { Outcome, Program } from './programs.js'
import { hurriedClock, openRig } from './rig.js'
import type { Rig } from './rig.js'

/** Somewhere to open a pool again and again. */
interface Place {
  open(): Promise<{ readonly vfs: Vfs; close(): Promise<void> }>
  remove(): void
}

const HOW = { killSuidgid: false, append: false }
const NOTHING: SetAttr =
  { valid: 0, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }

async function doStep(vfs: Vfs, s: Step): Promise<Outcome> {
  try {
    const result = await act(vfs, s)
    return typeof result === 'number' ? { text: `ino ${String(result)}`, given: result } : { text: result, given: 0 }
  } catch (e) {
    return { text: errnoName(errnoOf(e)), given: 0 }
  }
}

/** A number: the inode that the answer names. */
async function act(vfs: Vfs, s: Step): Promise<string | number> {
  switch (s.op) {
    case 'create': {
      const flags = O_CREAT | O_RDWR | (s.exclusive ? O_EXCL : 0)
      const { handle, attr } = await vfs.create(root, s.parent, s.name, 0o644, 0, flags)
      await vfs.release(root, attr.ino, handle)
      return attr.ino
    }
    case 'mkdir': return (await vfs.mkdir(root, s.parent, s.name, 0o755, 0)).ino
    case 'symlink': return (await vfs.symlink(root, s.parent, s.name, s.target)).ino
    case 'link': await vfs.link(root, s.node, s.parent, s.name); return 'ok'
    case 'unlink': await vfs.unlink(root, s.parent, s.name); return 'ok'
    case 'rmdir': await vfs.rmdir(root, s.parent, s.name); return 'ok'
    case 'lookup': return (await vfs.lookup(root, s.parent, s.name))?.ino ?? 'ENOENT'
    case 'rename': await vfs.rename(root, s.parent, s.name, s.newParent, s.newName, s.flags); return 'ok'
    case 'write': {
      const append = s.offset === 'end'
      const n = await vfs.write(root, s.node, 0, append ? 0 : s.offset, Buffer.alloc(s.length, s.fill), 0, s.length, { ...HOW, append })
      return `${String(n)} written`
    }
    case 'truncate': await vfs.setattr(root, s.node, { ...NOTHING, valid: SET_SIZE, sizeBytes: s.size }, 0); return 'ok'
    case 'punch': await vfs.fallocate(root, s.node, 0, FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, s.offset, s.length); return 'ok'
    case 'zero': await vfs.fallocate(root, s.node, 0, FALLOC_ZERO_RANGE, s.offset, s.length); return 'ok'
    case 'reserve': await vfs.fallocate(root, s.node, 0, 0, s.offset, s.length); return 'ok'
    case 'read': {
      const into = Buffer.alloc(s.length)
      return digest(into.subarray(0, await vfs.read(root, s.node, 0, s.offset, s.length, into, 0)))
    }
    case 'copy': return `${String(await vfs.copyFileRange(root, s.node, 0, s.from, s.to, 0, s.at, s.length))} copied`
    case 'chmod': await vfs.setattr(root, s.node, { ...NOTHING, valid: SET_MODE, mode: s.mode }, 0); return 'ok'
    case 'setxattr': await vfs.setxattr(root, s.node, s.name, Buffer.from(s.value), 0, false); return 'ok'
    case 'list': return (await entriesOf(vfs, s.node)).map(([name, ino]) => `${name}=${String(ino)}`).sort().join(' ')
    case 'fsync': await vfs.fsync(root, s.node, 0, false); return 'ok'
  }
}

async function entriesOf(vfs: Vfs, node: number): Promise<[string, number][]> {
  const found: [string, number][] = []
  const { handle } = await vfs.opendir(root, node)
  await vfs.readdir(root, node, handle, 0, 0, { entry: (name, ino) => found.push([name, ino]) > 0 }, true)
  await vfs.releasedir(root, node, handle)
  return found.filter(([name]) => name !== '.' && name !== '..')
}

/** The pool, described as shownModel does: the nodes that the model knows. */
async function shownPool(vfs: Vfs, inos: readonly number[]): Promise<string> {
  const lines: string[] = []
  for (const ino of [...inos].sort((a, b) => a - b)) {
    const attr = await vfs.getattr(root, ino, 0)
    const kind = (attr.mode & 0o170000) === 0o040000 ? 'dir' : (attr.mode & 0o170000) === 0o120000 ? 'link' : 'file'
    const bytes = Buffer.alloc(kind === 'file' ? attr.sizeBytes : 0)
    if (kind === 'file') assert.equal(await vfs.read(root, ino, 0, 0, bytes.length + 1, Buffer.concat([bytes, Buffer.alloc(1)]), 0), attr.sizeBytes)
    if (kind === 'file') await vfs.read(root, ino, 0, 0, bytes.length, bytes, 0)
    const text = kind === 'link' ? Buffer.from(await vfs.readlink(root, ino)) : bytes
    const entries = kind === 'dir' && attr.nlink > 0 ? await entriesOf(vfs, ino) : []
    const xattrs: [string, string][] = []
    for (const name of await vfs.listxattr(root, ino)) xattrs.push([name, Buffer.from((await vfs.getxattr(root, ino, name))!).toString()])
    lines.push(describeNode(ino, kind, attr.nlink, attr.mode & 0o7777, text, entries, xattrs))
  }
  return lines.join('\n')
}

/** Nodes for numbers: folders where a parent is asked, mostly files elsewhere. */
function filled(s: Step, m: Model): Step {
  const inos = [...m.keys()].sort((a, b) => a - b)
  const of = (kind: ModelNode['kind']): number[] => inos.filter((ino) => m.get(ino)?.kind === kind)
  const [dirs, files] = [of('dir'), of('file')]
  const dir = (n: number): number => dirs[n % dirs.length]
  const any = (n: number): number => inos[n % inos.length]
  const file = (n: number): number => (n % 8 === 0 || files.length === 0 ? any(n) : files[n % files.length])
  switch (s.op) {
    case 'rename': return { ...s, parent: dir(s.parent), newParent: dir(s.newParent) }
    case 'link': return { ...s, node: file(s.node), parent: dir(s.parent) }
    case 'list': return { ...s, node: dir(s.node) }
    case 'copy': {
      const [node, to] = [file(s.node), file(s.to)]
      return { ...s, node, to, at: node === to && Math.abs(s.at - s.from) < s.length ? s.from + s.length : s.at }
    }
    default: {
      if ('parent' in s) return { ...s, parent: dir(s.parent) }
      return 'node' in s ? { ...s, node: file(s.node) } : s
    }
  }
}

let programs = 0 // each has a folder of its own

async function runProgram(place: Place, steps: Program): Promise<void> {
  let pool = await place.open()
  let models: readonly Model[] = [newModel((await pool.vfs.mkdir(root, ROOT_NODE, `program-${String(++programs)}`, 0o755, 0)).ino)]
  const checkSame = async (what: string): Promise<void> => {
    const real = await shownPool(pool.vfs, [...models[0].keys()])
    const same = models.filter((m) => shownModel(m) === real)
    if (same.length === 0) assert.equal(real, models.map(shownModel).join('\n-- or --\n'), what)
    models = same
  }
  try {
    for (const batch of steps) {
      if (batch === 'reopen') {
        await pool.close()
        pool = await place.open()
        for (const m of models) for (const [ino, n] of m) if (n.kind === 'dir' ? n.parent === 0 : n.nlink === 0) m.delete(ino)
        await checkSame('after opening again')
        continue
      }
      for (const run of runsOf(batch)) {
        const done = await Promise.all(run.map((s) => filled(s, models[0])).map(async (step) => ({ step, outcome: await doStep(pool.vfs, step) })))
        const next = follow(models, done)
        assert.ok(next.length > 0, `no order explains ${JSON.stringify(done)} from\n${shownModel(models[0])}`)
        models = next
        await checkSame(JSON.stringify(done))
      }
    }
  } finally {
    await pool.close()
  }
}

// -------------------------------------------------------------------------------------------------------------- places

function memoryPlace(remote: boolean): Place {
  const server = makeMemoryServer()
  const files = new Map()
  const random = seededRandom(5)
  return {
    open: (): Promise<Rig> => openRig({
      server, files, clock: hurriedClock, memory: remote ? { latencyMs: [1, 2], conflictChance: 0.1, lostAnswerChance: 0.05, random } : {},
    }),
    remove: () => undefined,
  }
}

function lmdbPlace(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-model-'))
  const files = new Map()
  return {
    open: async () => openRig({ engine: await openLmdb({ folder, clock: hurriedClock }), files, clock: hurriedClock }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Everything as in production, but for the size: extents, logged bytes, write-out, recovery. */
function poolPlace(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'ogee-model-'))
  return {
    open: () => openPool(folder, { clock: systemClock, random: systemRandom, vfs: {}, note: () => undefined }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

const seed = process.env.OGEE_SEED === undefined ? undefined : Number(process.env.OGEE_SEED)
const scale = Number(process.env.OGEE_MODEL_SCALE ?? '1')
for (const [title, make, runs] of [
  ['memory', () => memoryPlace(false), 200], ['a remote engine', () => memoryPlace(true), 60], ['lmdb', lmdbPlace, 20],
  ['a whole pool', poolPlace, 30],
] as const) {
  test(`the vfs over ${title} does what the model does`, { timeout: 120_000 * scale }, async () => {
    const place = make()
    try {
      const property = fc.asyncProperty(program, (steps) => runProgram(place, steps))
      await fc.assert(property, { numRuns: runs * scale, includeErrorInReport: true, ...(seed === undefined ? {} : { seed }) })
    } finally {
      place.remove()
    }
  })
}
