/** A pool in a folder of its own, its floors at hand, and a tree in memory beside it: what tests of snapshots are made of. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Data } from '../../src/data/index.js'
import type { Engine } from '../../src/engine/index.js'
import { formatPool, fsckPool, makeFolder, openPool, Refusal } from '../../src/pool/index.js'
import type { Pool, Seams } from '../../src/pool/index.js'
import type { Clock } from '../../src/sys/index.js'
import type { Store } from '../../src/store/index.js'
import { rootContext as root, seededRandom, systemClock } from '../../src/sys/index.js'
import type { Vfs, VfsOptions } from '../../src/vfs/index.js'

export const MIB = 1024 ** 2
export const S_IFMT = 0o170000
export const S_IFDIR = 0o040000
export const S_IFLNK = 0o120000

export interface Opened {
  readonly pool: Pool
  readonly vfs: Vfs
  readonly engine: Engine
  readonly data: Data
  readonly store: Store
  settleOrphans(): Promise<void>
}

export interface Rig {
  now: Opened
  reopen(): Promise<void>
  /** Goes on with the files as they are now, as the next daemon finds them when this one is killed. */
  die(): Promise<void>
  /** Nothing is wrong; the pool is closed and opened for it. */
  check(): Promise<void>
  end(): Promise<void>
}

export async function makeRig(seed: number, sizeBytes = 128 * MIB, seams: Seams = {}, clock: Clock = systemClock, vfsOptions: VfsOptions = {}): Promise<Rig> {
  const top = mkdtempSync(join(process.env.OGEE_TEST_ROOT ?? tmpdir(), 'ogee-snap-'))
  let folder = join(top, 'pool')
  let copies = 0
  makeFolder(folder)
  const parts = { clock, random: seededRandom(seed) }
  await formatPool(folder, { ...parts, sizeBytes, seams })
  const open = async (): Promise<Opened> => {
    let floors: Parameters<NonNullable<Seams['opened']>>[0] | undefined
    const pool = await openPool(folder, { ...parts, vfs: vfsOptions, note: () => undefined, seams: { ...seams, opened: (f) => (floors = f) } })
    assert.ok(floors !== undefined)
    const { vfs } = floors
    return { pool, vfs, engine: floors.engine, data: floors.data, store: floors.store, settleOrphans: () => vfs.settle() }
  }
  const rig: Rig = {
    now: await open(),
    async reopen() {
      await rig.now.pool.close()
      rig.now = await open()
    },
    async die() {
      const copy = join(top, `pool${++copies}`)
      execFileSync('cp', ['-r', '--sparse=always', folder, copy]) // nothing of ours runs meanwhile
      await rig.now.pool.close()
      rmSync(folder, { recursive: true })
      folder = copy
      rig.now = await open()
    },
    async check() {
      await rig.now.pool.close()
      await assertWhole(folder)
      rig.now = await open()
    },
    async end() {
      await rig.now.pool.close()
      await assertWhole(folder)
      rmSync(top, { recursive: true, force: true })
    }
  }
  return rig
}

export async function assertWhole(folder: string): Promise<void> {
  const wrong: string[] = []
  await fsckPool(folder, { clock: systemClock, random: seededRandom(1), repair: false, isLive: false, found: ({ ino, what }) => wrong.push(`${ino} ${what}`), did: () => undefined })
  assert.deepEqual(wrong, [])
}

export const historyRows = async ({ engine }: Opened): Promise<number> => (await engine.reader(root).scan({ from: 'H', to: 'I', limit: 100_000 })).length

/** Why a command was refused; '' if it was not. */
export async function failingReason(act: () => Promise<unknown>): Promise<string> {
  try {
    await act()
    return ''
  } catch (e) {
    assert.ok(e instanceof Refusal, String(e))
    return e.reason
  }
}

/** All of a volume, or of a snapshot of one. */
export async function bytesOf({ pool }: Opened, name: string): Promise<Buffer> {
  const volume = await pool.volumes.open(name, 'check')
  const into = Buffer.alloc(volume.sizeBytes, 0xee)
  assert.equal(await volume.read(0, into.length, into, 0), into.length)
  volume.close()
  return into
}

export async function nodeAt(vfs: Vfs, path: string): Promise<number> {
  let node = 1
  for (const name of path.split('/').filter((n) => n !== '')) {
    const attr = await vfs.lookup(root, node, name)
    assert.ok(attr !== undefined, `${path} is there`)
    node = attr.ino
  }
  return node
}

export async function readAll(vfs: Vfs, node: number, sizeBytes: number): Promise<Buffer> {
  const into = Buffer.alloc(sizeBytes + 1)
  const n = await vfs.read(root, node, 0, 0, into.length, into, 0)
  return into.subarray(0, n)
}

// ------------------------------------------------------------------------------------------------------------- a tree

export interface TreeFile { kind: 'file'; bytes: Buffer; mode: number; xattr: string }
export interface TreeLink { kind: 'link'; target: string }
/** `sub`: a subvolume. */
export interface TreeFolder { kind: 'dir'; sub?: boolean; entries: Map<string, TreeNode> }
export type TreeNode = TreeFile | TreeLink | TreeFolder

/** What a snapshot shows: names of one file stay names of one file, and subvolumes below are empty. */
export function cloneTree(dir: TreeFolder): TreeFolder {
  const emptied = (of: TreeFolder): void => {
    for (const node of of.entries.values()) {
      if (node.kind !== 'dir') continue
      if (node.sub === true) node.entries.clear()
      else emptied(node)
    }
  }
  const clone = structuredClone(dir)
  emptied(clone)
  return clone
}

const digest = (bytes: Buffer): string => {
  let h = 0
  for (const b of bytes) h = (Math.imul(h, 31) + b) | 0
  return `${bytes.length}:${h}`
}

export function textOfTree(dir: TreeFolder, path = ''): string[] {
  const lines: string[] = []
  for (const [name, node] of [...dir.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const at = `${path}/${name}`
    if (node.kind === 'dir') lines.push(`${at}/`, ...textOfTree(node, at))
    else if (node.kind === 'link') lines.push(`${at} -> ${node.target}`)
    else lines.push(`${at} ${node.mode.toString(8)} ${node.xattr} ${digest(Buffer.from(node.bytes))}`)
  }
  return lines
}

/** The same of what the pool shows below a node. */
export async function textOfPool(vfs: Vfs, node: number, path = ''): Promise<string[]> {
  const lines: string[] = []
  const found: { name: string; ino: number }[] = []
  for (let high = 0, low = 0; ;) { // in small steps, as a program with a small buffer
    let got = 0
    await vfs.readdir(root, node, 0, high, low, { entry: (name, ino, _type, h, l) => {
      if (got === 5) return false
      got++
      high = h
      low = l
      if (name !== '.' && name !== '..') found.push({ name, ino })
      return true
    } }, false)
    if (got < 5) break
  }
  for (const { name, ino } of found.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const at = `${path}/${name}`
    const attr = await vfs.lookup(root, node, name)
    assert.ok(attr !== undefined, at)
    assert.equal(attr.ino, ino, at)
    const type = attr.mode & S_IFMT
    if (type === S_IFDIR) {
      const below = await textOfPool(vfs, ino, at)
      const folders = below.filter((l) => l.endsWith('/') && l.slice(at.length + 1, -1).indexOf('/') < 0).length
      assert.equal(attr.nlink, 2 + folders, `${at}: links`)
      assert.equal((await vfs.lookup(root, ino, '..'))?.ino, node, `${at}/..`)
      lines.push(`${at}/`, ...below)
    } else if (type === S_IFLNK) lines.push(`${at} -> ${await vfs.readlink(root, ino)}`)
    else {
      const names = await vfs.listxattr(root, ino)
      const xattr = names.length === 0 ? '' : Buffer.from((await vfs.getxattr(root, ino, names[0])) ?? []).toString()
      lines.push(`${at} ${(attr.mode & 0o7777).toString(8)} ${xattr} ${digest(await readAll(vfs, ino, attr.sizeBytes))}`)
    }
  }
  return lines
}
