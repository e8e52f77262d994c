/**
 * In a process of its own, as a damaged LMDB file may take it down: flips one bit after the other of a copy of a pool, and says what fsck
 * says, what is left after a repair, and what a mount reads. A line of JSON before each step and one with its outcome; ends early, after
 * a flip that LMDB may have answered with harm to this process.   node --import tsx test/pool/flips-child.ts TOP POOL SEED FROM TO
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync, readSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { inspectPages } from '../../src/engine/index.js'
import { fsckPool, openPool, Refusal } from '../../src/pool/index.js'
import type { Pool } from '../../src/pool/index.js'
import { PosixError, rootContext as ctx, seededRandom, systemClock } from '../../src/sys/index.js'
import type { Random } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import type { Attr } from '../../src/vfs/index.js'

/** What each path is: type, mode, owner, links, size, time; then bytes, target or xattrs. */
export type Tree = Record<string, string>

export interface Outcome {
  /** What was answered and is not what was written. */
  readonly wrong: readonly string[]
  readonly errors: number
  /** The pool, or fsck, was refused with this sentence. */
  readonly refused?: string
}
export interface Checked {
  readonly found: number
  readonly left: number
  readonly said: readonly string[]
  readonly refused?: string
}

const S_IFMT = 0o170000
const S_IFDIR = 0o040000
const S_IFREG = 0o100000
const S_IFLNK = 0o120000
const REMADE = 0o100600
const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex').slice(0, 16)

async function describe({ vfs }: Pool, attr: Attr): Promise<string> {
  const { ino, mode, uid, nlink, sizeBytes, mtimeSec, mtimeNsec } = attr
  const head = `${mode.toString(8)} ${uid} ${nlink} ${mtimeSec}.${mtimeNsec}`
  const xattrs: string[] = []
  for (const name of await vfs.listxattr(ctx, ino)) xattrs.push(`${name}=${digest((await vfs.getxattr(ctx, ino, name)) ?? new Uint8Array())}`)
  if ((mode & S_IFMT) === S_IFDIR) return `${head} ${xattrs.sort().join()}`
  if ((mode & S_IFMT) === S_IFLNK) return `${head} -> ${await vfs.readlink(ctx, ino)}`
  const bytes = Buffer.alloc(sizeBytes)
  await vfs.read(ctx, ino, 0, 0, sizeBytes, bytes, 0)
  return `${head} ${sizeBytes} ${digest(bytes)} ${xattrs.sort().join()}`
}

async function namesOf({ vfs }: Pool, ino: number): Promise<string[]> {
  const names: string[] = []
  const { handle } = await vfs.opendir(ctx, ino)
  await vfs.readdir(ctx, ino, handle, 0, 0, { entry: (name) => (names.push(name), true) }, false)
  await vfs.releasedir(ctx, ino, handle)
  return names.filter((name) => name !== '.' && name !== '..').sort()
}

const isTold = (e: unknown): boolean => e instanceof PosixError || e instanceof Refusal

/** The whole tree as it is listed. */
export async function treeOf(pool: Pool): Promise<Tree> {
  const tree: Tree = {}
  const walk = async (attr: Attr, path: string): Promise<void> => {
    tree[path] = await describe(pool, attr)
    if ((attr.mode & S_IFMT) !== S_IFDIR) return
    for (const name of await namesOf(pool, attr.ino)) await walk((await pool.vfs.lookup(ctx, attr.ino, name))!, `${path}/${name}`)
  }
  await walk(await pool.vfs.getattr(ctx, ROOT_NODE, 0), '')
  return tree
}

/** Every name of the tree looked up, read and listed; `lax`: what is missing, or has other links and times, is no mistake (after a repair). */
async function compare(pool: Pool, tree: Tree, lax: boolean): Promise<Outcome> {
  const wrong: string[] = []
  let errors = 0
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (e) {
      if (!isTold(e)) wrong.push(`unexpected ${e instanceof Error ? e.stack : String(e)}`)
      errors++
    }
  }
  /** After a repair: the same bytes, and the same size unless the inode was lost: then it is that of its extents, for root alone. */
  const isLike = async (attr: Attr, is: string): Promise<boolean> => {
    if ((attr.mode & S_IFMT) !== S_IFREG) return true
    const [, , , , size, sum] = is.split(' ')
    const bytes = Buffer.alloc(attr.sizeBytes)
    await pool.vfs.read(ctx, attr.ino, 0, 0, attr.sizeBytes, bytes, 0)
    return (attr.sizeBytes === Number(size) || attr.mode === REMADE) && digest(bytes.subarray(0, Number(size))) === sum
  }
  const nodes = new Map<string, number>([['', ROOT_NODE]])
  for (const [path, is] of Object.entries(tree)) {
    const parent = nodes.get(path.slice(0, Math.max(0, path.lastIndexOf('/'))))
    if (parent === undefined) continue // its folder could not be read
    await attempt(async () => {
      const attr = path === '' ? await pool.vfs.getattr(ctx, ROOT_NODE, 0) : await pool.vfs.lookup(ctx, parent, path.slice(path.lastIndexOf('/') + 1))
      if (attr === undefined) {
        if (!lax) wrong.push(`${path}: missing`)
        return
      }
      nodes.set(path, attr.ino)
      const now = await describe(pool, attr)
      if (now !== is && !(lax && await isLike(attr, is))) wrong.push(`${path}: ${now} instead of ${is}`)
    })
  }
  for (const [path, ino] of nodes) {
    if ((parseInt(tree[path], 8) & S_IFMT) !== S_IFDIR) continue
    await attempt(async () => {
      const names = await namesOf(pool, ino)
      const were = Object.keys(tree).filter((p) => p !== '' && p.slice(0, p.lastIndexOf('/')) === path).map((p) => p.slice(p.lastIndexOf('/') + 1)).sort()
      if (!lax && names.join('\n') !== were.join('\n')) wrong.push(`${path}: lists ${names.length} names instead of ${were.length}`)
    })
  }
  return { wrong, errors }
}

const parts = (seed: number): { readonly clock: typeof systemClock; readonly random: Random } => ({ clock: systemClock, random: seededRandom(seed) })

async function mount(folder: string, tree: Tree, lax: boolean, bootId: string): Promise<Outcome> {
  try {
    const pool = await openPool(folder, { ...parts(1), vfs: {}, note: () => undefined, damaged: () => undefined, seams: { bootId } })
    let outcome: Outcome
    try {
      outcome = await compare(pool, tree, lax)
    } finally {
      await pool.close().catch((e: unknown) => {
        if (!isTold(e)) throw e
      })
    }
    return outcome
  } catch (e) {
    if (isTold(e)) return { wrong: [], errors: 1, refused: (e as Error).message }
    return { wrong: [`unexpected ${e instanceof Error ? e.stack : String(e)}`], errors: 1 }
  }
}

async function fsck(folder: string, repair: boolean): Promise<Checked> {
  const said: string[] = []
  try {
    const { found, left } = await fsckPool(folder, { ...parts(2), isLive: false, repair, found: ({ what }) => void said.push(what), did: (_, what) => void said.push(`did: ${what}`) })
    return { found, left, said: said.slice(0, 12) }
  } catch (e) {
    if (isTold(e)) return { found: 1, left: 1, said, refused: (e as Error).message }
    return { found: 1, left: 1, said: [...said, `unexpected ${e instanceof Error ? e.stack : String(e)}`] }
  }
}

/** Which file, and the bits of which part of it: all of the space's header, of the superblock; of the others where something is. */
const FILES = [['log', Infinity], ['log', Infinity], ['meta/data.mdb', Infinity], ['meta/data.mdb', Infinity], ['meta/data.mdb', Infinity], ['superblock', 400], ['superblock', 4096], ['space', 8192]] as const

function flip(folder: string, seed: number): { readonly file: string; readonly at: number } {
  const random = seededRandom(seed)
  const [file, part] = FILES[random.uint32() % FILES.length]
  const fd = openSync(join(folder, file), 'r+')
  const size = Math.min(fstatSync(fd).size, part)
  const byte = Buffer.alloc(1)
  let at = random.uint32() % size
  for (let tries = 0; tries < 100_000; tries++, at = random.uint32() % size) {
    readSync(fd, byte, 0, 1, at)
    if (byte[0] !== 0 || part < Infinity) break
  }
  byte[0] ^= 1 << (random.uint32() % 8)
  writeSync(fd, byte, 0, 1, at)
  closeSync(fd)
  return { file, at }
}

if (process.argv[1].endsWith('flips-child.ts')) {
  const [top, source, seed, from, to] = process.argv.slice(2)
  const { tree, bootId } = JSON.parse(readFileSync(join(top, `${source}.json`), 'utf8')) as { tree: Tree; bootId: string }
  const say = (what: object): void => void writeSync(1, `${JSON.stringify(what)}\n`)
  const copy = join(top, `${source}-${from}`)
  for (let n = Number(from); n < Number(to); n++) {
    const again = (): { readonly file: string; readonly at: number } => {
      rmSync(copy, { recursive: true, force: true })
      spawnSync('cp', ['-a', '--sparse=always', join(top, source), copy])
      return flip(copy, Number(seed) * 1_000_000 + n)
    }
    const where = again()
    const isOfPages = inspectPages(copy).length > 0
    const steps: readonly (readonly [string, () => Promise<object>])[] = [
      ['fsck', () => fsck(copy, false)], ['repair', () => fsck(copy, true)],
      ...isOfPages ? [] : [['after', () => mount(copy, tree, true, bootId)] as const],
      ['mount', () => (again(), mount(copy, tree, false, bootId))] // last: LMDB may harm this process
    ]
    for (const [step, work] of steps) {
      say({ n, ...where, step })
      say({ n, is: await work() })
    }
    rmSync(copy, { recursive: true, force: true })
    if (isOfPages) break
  }
}
