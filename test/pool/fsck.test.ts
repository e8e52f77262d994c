/**
 * fsck finds every kind of damage and says so, changes nothing unless told to, and after a repair the pool is clean, opens, and holds
 * whatever the damage left of its files. Damage is done through the engine and to the files, to a pool that a vfs filled.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { openLmdb } from '../../src/engine/index.js'
import type { Tx } from '../../src/engine/index.js'
import { decodeExtent, encodeExtent, encodePending, extentKey, pendingKey, rowsFrom as dataRows } from '../../src/data/rows.js'
import { encodeShare, shareKey } from '../../src/data/shares.js'
import { nameHash } from '../../src/meta/hash.js'
import { decodeInode, encodeInode } from '../../src/meta/inode.js'
import type { StoredInode } from '../../src/meta/inode.js'
import { dentriesFrom, dentryKey, directoryKey, inodeKey, KEY_NEXT_INO, KEY_USAGE, linksFrom, orphanKey, xattrKey } from '../../src/meta/keys.js'
import { checkPool } from '../../src/meta/index.js'
import { decodeDentry, encodeDentry, encodeNextIno, encodeOrphan, encodeXattr, UNLINKED } from '../../src/meta/rows.js'
import { formatPool, fsckPool, makeFolder, openPool, readSuperblock } from '../../src/pool/index.js'
import type { FsckReport, Pool } from '../../src/pool/index.js'
import { GROUP_UNITS, groupKey, openUnitsCheck } from '../../src/store/index.js'
import { rootContext as ctx, seededRandom, systemClock } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'

const MIB = 1024 ** 2
const S_IFREG = 0o100000
const S_IFDIR = 0o040000
const parts = { clock: systemClock, random: seededRandom(7) }
const how = { killSuidgid: false, append: false } as const

/** Inode numbers of the pool that all damages start from: /dir/{small,large,named}, /dir/sub/deep, /alias = /dir/named, /target -> x */
interface Made {
  readonly dir: number
  readonly sub: number
  readonly small: number
  readonly large: number
  readonly named: number
  readonly deep: number
}
const LARGE = Buffer.alloc(300_000, 'L')
const SMALL = Buffer.from('small file')

let top = ''
let made: Made

async function fill(pool: Pool): Promise<Made> {
  const { vfs } = pool
  const dir = (await vfs.mkdir(ctx, ROOT_NODE, 'dir', 0o755, 0)).ino
  const sub = (await vfs.mkdir(ctx, dir, 'sub', 0o755, 0)).ino
  const write = async (parent: number, name: string, bytes: Buffer): Promise<number> => {
    const { attr, handle } = await vfs.create(ctx, parent, name, 0o644, 0, 2)
    await vfs.write(ctx, attr.ino, handle, 0, bytes, 0, bytes.length, how)
    await vfs.release(ctx, attr.ino, handle)
    return attr.ino
  }
  const files = { small: await write(dir, 'small', SMALL), large: await write(dir, 'large', LARGE), named: await write(dir, 'named', Buffer.alloc(9000, 'n')), deep: await write(sub, 'deep', Buffer.alloc(5000, 'd')) }
  await vfs.link(ctx, files.named, ROOT_NODE, 'alias')
  await vfs.symlink(ctx, ROOT_NODE, 'target', 'x')
  await vfs.setxattr(ctx, files.small, 'user.colour', Buffer.from('red'), 0, false)
  return { dir, sub, ...files }
}

before(async () => {
  top = mkdtempSync(join(tmpdir(), 'ogee-fsck-'))
  const folder = join(top, 'good')
  makeFolder(folder)
  await formatPool(folder, { ...parts, sizeBytes: 128 * MIB, seams: { logBytes: MIB } })
  const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
  made = await fill(pool)
  await pool.close()
})
after(() => rmSync(top, { recursive: true, force: true }))

let copies = 0
function copy(): string {
  const folder = join(top, `copy${copies++}`)
  cpSync(join(top, 'good'), folder, { recursive: true })
  return folder
}

interface Looked extends FsckReport {
  readonly said: string[]
  readonly actions: string[]
}
async function fsck(folder: string, repair = false): Promise<Looked> {
  const said: string[] = []
  const actions: string[] = []
  const report = await fsckPool(folder, { ...parts, isLive: false, repair, found: ({ ino, what, path }) => void said.push(`${ino} ${path ?? '-'} ${what}`), did: (ino, what) => void actions.push(`${ino} ${what}`) })
  return { ...report, said, actions }
}

async function damage(folder: string, does: (tx: Tx) => unknown): Promise<void> {
  const engine = await openLmdb({ folder, ...parts })
  await engine.transact(ctx, async (tx) => void (await does(tx)))
  await engine.close()
}
const putInode = async (tx: Tx, ino: number, change: Partial<StoredInode>): Promise<void> =>
  tx.put(inodeKey(ino), encodeInode({ ...decodeInode(ino, (await tx.get(inodeKey(ino)))!.bytes), ...change }))
const entryOf = async (tx: Tx, parent: number, name: string): Promise<{ key: string; ino: number; typeBits: number }> => {
  for (const { key, row } of await tx.scan({ from: dentriesFrom(parent), to: dentriesFrom(parent + 1), limit: 100 })) {
    const d = decodeDentry(key, row.bytes)
    if (d.name === name) return { key, ino: d.ino, typeBits: d.typeBits }
  }
  throw new Error(`no ${name}`)
}
const firstExtent = async (tx: Tx, ino: number): Promise<{ key: string; bytes: Uint8Array }> => {
  const [{ key, row }] = await tx.scan({ from: dataRows('E', ino), to: dataRows('E', ino + 1), limit: 1 })
  return { key, bytes: row.bytes }
}

/** The extent of `large` is a shared one; of its units these parts are counted, from, to and as often as said. */
async function shareLarge(tx: Tx, m: Made, counted: readonly (readonly [number, number, number])[]): Promise<void> {
  const { key, bytes } = await firstExtent(tx, m.large)
  const e = decodeExtent(key, bytes)
  tx.put(key, encodeExtent({ ...e, kind: 'shared' }))
  const at = (part: number): number => Math.floor(e.len / 4096 * part) * 4096
  for (const [from, to, count] of counted) tx.put(shareKey(e.start + at(from)), encodeShare({ start: e.start + at(from), len: at(to) - at(from), count }))
}

/** Every name below a directory, with what a file holds. */
async function listing(pool: Pool): Promise<Map<string, string>> {
  const out = new Map<string, string>()
  const walk = async (ino: number, path: string): Promise<void> => {
    const found: [string, number, number][] = []
    const { handle } = await pool.vfs.opendir(ctx, ino)
    await pool.vfs.readdir(ctx, ino, handle, 0, 0, { entry: (name, child, type) => (found.push([name, child, type]), true) }, false)
    await pool.vfs.releasedir(ctx, ino, handle)
    for (const [name, child, type] of found) {
      if (name === '.' || name === '..') continue
      if (type === S_IFDIR) {
        out.set(`${path}/${name}`, 'dir')
        await walk(child, `${path}/${name}`)
      } else if (type === S_IFREG) {
        const { sizeBytes } = await pool.vfs.getattr(ctx, child, 0)
        const bytes = Buffer.alloc(sizeBytes)
        await pool.vfs.read(ctx, child, 0, 0, sizeBytes, bytes, 0)
        out.set(`${path}/${name}`, `${sizeBytes} ${bytes.subarray(0, 1).toString()}`)
      } else out.set(`${path}/${name}`, 'other')
    }
  }
  await walk(ROOT_NODE, '')
  return out
}
const WHOLE: [string, string][] = [['/dir', 'dir'], ['/dir/sub', 'dir'], ['/dir/sub/deep', '5000 d'], ['/dir/small', '10 s'], ['/dir/large', '300000 L'], ['/dir/named', '9000 n'], ['/alias', '9000 n'], ['/target', 'other']]
/** The whole pool, but for these names. */
const but = (changes: Record<string, string | undefined>): Map<string, string> => {
  const all = new Map(WHOLE)
  for (const [name, what] of Object.entries(changes)) {
    if (what === undefined) all.delete(name)
    else all.set(name, what)
  }
  return all
}
const sorted = (m: Map<string, string>): [string, string][] => [...m].sort(([a], [b]) => (a < b ? -1 : 1))

interface Damage {
  readonly title: string
  readonly does: (tx: Tx, m: Made) => unknown
  readonly finds: RegExp
  /** After the repair. Not repaired: what is left is told again. */
  readonly after: (m: Made) => Map<string, string> | 'left'
}

const same = (): Map<string, string> => but({})
const damages: readonly Damage[] = [
  { title: 'units in use that nobody holds', does: (tx) => tx.setBits(groupKey(3), GROUP_UNITS, 5, 7), finds: /block group 3 has 7 units in use that nobody holds, units in use, and is not marked so/, after: same },
  { title: 'units held that are not in use', does: async (tx, m) => { const e = await firstExtent(tx, m.large); const { start } = decodeExtent(e.key, e.bytes); tx.clearBits(groupKey(Math.floor(start / 4194304)), GROUP_UNITS, (start / 4096) % GROUP_UNITS, 2) }, finds: /2 units held that are not in use/, after: same },
  { title: 'the counter of units is wrong', does: (tx) => tx.addCounters('u', [5]), finds: /the allocator counts \d+ units in use, the extents \d+/, after: same },
  { title: 'a group in use is not marked so', does: async (tx, m) => { const e = await firstExtent(tx, m.large); const g = Math.floor(decodeExtent(e.key, e.bytes).start / 4194304); tx.clearBits('b\0\0\0\0', 32768, g, 1) }, finds: /and is not marked so/, after: same },
  { title: 'two extents of the same units', does: async (tx, m) => { const e = await firstExtent(tx, m.large); const x = decodeExtent(e.key, e.bytes); tx.put(extentKey(m.deep, 40960), encodeExtent({ ...x, off: 40960, len: 8192 })) }, finds: /8192 bytes of the space at \d+ belong to two extents/, after: () => but({ '/dir/sub/deep': '5000 d' }) },
  { title: 'shared units counted too high', does: (tx, m) => shareLarge(tx, m, [[0, 1, 2]]), finds: /bytes of the space at \d+ are shared by 1 extents, and counted as shared by 2/, after: same },
  { title: 'shared units counted by nobody', does: (tx, m) => shareLarge(tx, m, []), finds: /are shared by 1 extents, and counted as shared by 0/, after: same },
  { title: 'a part of shared units counted by nobody, a part too high', does: (tx, m) => shareLarge(tx, m, [[0.25, 0.5, 1], [0.5, 0.75, 9]]), finds: /are shared by 1 extents, and counted as shared by 9/, after: same },
  { title: 'shared units counted twice', does: (tx, m) => shareLarge(tx, m, [[0, 1, 1], [0.5, 1, 1]]), finds: /counted twice/, after: same },
  { title: 'a count of shared units that cannot be read', does: async (tx, m) => { await shareLarge(tx, m, [[0, 1, 1]]); tx.put(shareKey(decodeExtent(...Object.values(await firstExtent(tx, m.large)) as [string, Uint8Array]).start), Buffer.from([9])) }, finds: /are shared by 1 extents, and counted as shared by 0/, after: same },
  { title: 'units shared by nobody', does: (tx) => tx.put(shareKey(64 * MIB), encodeShare({ start: 64 * MIB, len: 8192, count: 1 })), finds: /8192 bytes of the space at \d+ are shared by 0 extents, and counted as shared by 1/, after: same },
  { title: 'an extent beyond the space', does: (tx, m) => tx.put(extentKey(m.deep, 40960), encodeExtent({ off: 40960, len: 4096, start: 2 ** 40, birth: 1, unwritten: false, kind: 'own', bytes: undefined })), finds: /no sound range of the space/, after: () => 'left' },
  { title: 'extents of a file overlap', does: async (tx, m) => { const e = await firstExtent(tx, m.large); tx.put(extentKey(m.large, 4096), encodeExtent({ ...decodeExtent(e.key, e.bytes), off: 4096, len: 4096, start: 64 * MIB })) }, finds: /overlaps the one before it/, after: () => 'left' },
  { title: 'an extent that cannot be read', does: (tx, m) => tx.put(extentKey(m.deep, 40960), Buffer.from([9, 9, 9])), finds: /has an extent that cannot be read/, after: () => 'left' },
  { title: 'allocated bytes miscounted', does: (tx, m) => putInode(tx, m.large, { allocatedBytes: 4096 }), finds: /says that it has 4096 bytes allocated, and has 303104/, after: same },
  { title: 'a durable size above the size', does: (tx, m) => putInode(tx, m.large, { durableSizeBytes: 400_000 }), finds: /has a durable size of 400000/, after: same },
  { title: 'a row of bytes that are not durable, and none', does: (tx, m) => tx.put(dataRows('T', m.large), Buffer.from([1, 1, 0, 0, 0, 0, 0, 0, 0])), finds: /and none$/, after: same },
  { title: 'bytes of nobody', does: (tx) => tx.put(extentKey(7777, 0), encodeExtent({ off: 0, len: 4096, start: 64 * MIB, birth: 1, unwritten: true, kind: 'own', bytes: undefined })), finds: /^7777 .* owns bytes of a file and cannot/, after: () => but({ '/lost+found': 'dir', '/lost+found/#7777': '4096 \0' }) },
  { title: 'an inode with bytes is lost', does: (tx, m) => tx.delete(inodeKey(m.large)), finds: /owns bytes of a file and cannot/, after: () => but({ '/dir/large': '303104 L' }) },
  { title: 'an inode without bytes is lost', does: (tx, m) => tx.delete(inodeKey(m.small)), finds: /names inode \d+ \("small"\), which is not there/, after: () => but({ '/dir/small': undefined }) },
  { title: 'a directory inode is lost', does: (tx, m) => tx.delete(inodeKey(m.dir)), finds: /owns counters and cannot/, after: same },
  { title: 'the root is lost', does: (tx) => tx.delete(inodeKey(1)), finds: /is the root of domain 1 and neither a directory nor a volume/, after: same },
  { title: 'an inode cannot be read', does: (tx, m) => tx.put(inodeKey(m.small), Buffer.from([7])), finds: /^\d+ - cannot be read/, after: () => 'left' },
  { title: 'an entry is lost', does: async (tx, m) => tx.delete((await entryOf(tx, m.dir, 'large')).key), finds: /is not named at its home/, after: (m) => but({ '/dir/large': undefined, '/lost+found': 'dir', [`/lost+found/#${m.large}`]: '300000 L' }) },
  { title: 'an entry of a file with two names is lost', does: async (tx, m) => tx.delete((await entryOf(tx, m.dir, 'named')).key), finds: /is not named at its home/, after: () => but({ '/dir/named': undefined }) },
  { title: 'an entry of a directory is lost', does: async (tx) => tx.delete((await entryOf(tx, 1, 'dir')).key), finds: /is not named by its parent/, after: (m) => new Map([...but({ '/lost+found': 'dir' })].map(([name, what]) => [name.startsWith('/dir') ? `/lost+found/#${m.dir}${name.slice(4)}` : name, what])) },
  { title: 'an entry cannot be read', does: async (tx, m) => tx.put((await entryOf(tx, m.dir, 'large')).key, Buffer.from([1, 2])), finds: /has an entry that cannot be read/, after: (m) => but({ '/dir/large': undefined, '/lost+found': 'dir', [`/lost+found/#${m.large}`]: '300000 L' }) },
  { title: 'an entry of another type', does: async (tx, m) => { const e = await entryOf(tx, m.dir, 'large'); tx.put(e.key, encodeDentry(1, e.ino, S_IFDIR, 'large')) }, finds: /with another type/, after: same },
  { title: 'an entry at a wrong place', does: async (tx, m) => { const e = await entryOf(tx, m.dir, 'large'); tx.delete(e.key); tx.put(dentryKey(m.dir, 5, 0x80), encodeDentry(1, e.ino, S_IFREG, 'large')); await putInode(tx, m.large, { homeHigh: 5, homeLow: 0x80 }) }, finds: /at a wrong place/, after: same },
  { title: 'a gap in a chain', does: async (tx, m) => { const e = await entryOf(tx, m.dir, 'large'); const at = { high: 0, low: 0 }; nameHash(readSuperblock(join(top, 'good')).nameKey)('large', at); tx.delete(e.key); tx.put(dentryKey(m.dir, at.high, at.low + 2), encodeDentry(1, e.ino, S_IFREG, 'large')); await putInode(tx, m.large, { homeHigh: at.high, homeLow: at.low + 2 }) }, finds: /has a gap/, after: same },
  { title: 'a tombstone at a chain\'s end', does: (tx, m) => tx.put(dentryKey(m.dir, 5, 0x80), encodeDentry(1, 0, 0, '')), finds: /ends with a tombstone/, after: same },
  { title: 'a name that its inode does not know', does: async (tx, m) => { const at = { high: 0, low: 0 }; nameHash(readSuperblock(join(top, 'good')).nameKey)('more', at); tx.put(dentryKey(m.sub, at.high, at.low), encodeDentry(1, m.large, S_IFREG, 'more')) }, finds: /is named "more" in directory \d+, and does not know/, after: () => but({ '/dir/sub/more': '300000 L' }) },
  { title: 'a second name of a directory', does: async (tx, m) => { const at = { high: 0, low: 0 }; nameHash(readSuperblock(join(top, 'good')).nameKey)('more', at); tx.put(dentryKey(1, at.high, at.low), encodeDentry(1, m.sub, S_IFDIR, 'more')) }, finds: /names directory \d+ \("more"\), whose home is elsewhere/, after: same },
  { title: 'a reverse link is lost', does: async (tx, m) => tx.delete((await tx.scan({ from: linksFrom(m.named), to: linksFrom(m.named + 1), limit: 1 }))[0].key), finds: /has 2 links, and 1 names/, after: same },
  { title: 'a link too many', does: (tx, m) => putInode(tx, m.large, { nlink: 3 }), finds: /has 3 links, and 1 names/, after: same },
  { title: 'no links, and a name', does: (tx, m) => putInode(tx, m.large, { nlink: 0, parent: 0 }), finds: /has no links and is on no list/, after: same },
  { title: 'no links, no name, no list', does: async (tx, m) => { tx.delete((await entryOf(tx, m.dir, 'large')).key); await putInode(tx, m.large, { nlink: 0, parent: 0 }) }, finds: /has no links and is on no list/, after: (m) => but({ '/dir/large': undefined, '/lost+found': 'dir', [`/lost+found/#${m.large}`]: '300000 L' }) },
  { title: 'on a list with links', does: (tx, m) => tx.put(orphanKey(1, m.large), encodeOrphan(1, UNLINKED)), finds: /is on a list of inodes without links and has some/, after: same },
  { title: 'on a list and nowhere', does: (tx) => tx.put(orphanKey(1, 7777), encodeOrphan(1, UNLINKED)), finds: /is on a list and is no inode/, after: same },
  { title: 'entries miscounted', does: (tx, m) => tx.addCounters(directoryKey(m.dir), [1, 1]), finds: /counts 5 2 /, after: same },
  { title: 'sums miscounted', does: (tx, m) => tx.addCounters(directoryKey(m.dir), [0, 0, 0, 0, 0, 0, 5, -1]), finds: /counts 4 1 .*, and has 4 1/, after: same },
  { title: 'counters of two directories changed places', does: (tx, m) => { tx.addCounters(directoryKey(m.dir), [0, 0, 0, 0, 0, 0, 4096]); tx.addCounters(directoryKey(m.sub), [0, 0, 0, 0, 0, 0, -4096]) }, finds: /counts 1 0 904 1/, after: same },
  { title: 'counters are lost', does: (tx, m) => { tx.setCounters(directoryKey(m.dir), [[0, 0]]); tx.deleteCounters(directoryKey(m.dir)) }, finds: /has no counters/, after: same },
  { title: 'counters of a file', does: (tx, m) => tx.createCounters(directoryKey(m.small), [3, 0, 0, 0, 0, 0, 0, 0, 1]), finds: /has counters and is no directory/, after: same },
  { title: 'entries of a file', does: (tx, m) => tx.put(dentryKey(m.small, 5, 0x80), encodeDentry(1, m.large, S_IFREG, 'x')), finds: /owns an entry \("x"\) and cannot/, after: same },
  { title: 'a directory below itself', does: async (tx, m) => { const e = await entryOf(tx, 1, 'dir'); tx.delete(e.key); const at = { high: 0, low: 0 }; nameHash(readSuperblock(join(top, 'good')).nameKey)('dir', at); tx.put(dentryKey(m.sub, at.high, at.low), encodeDentry(1, m.dir, S_IFDIR, 'dir')); await putInode(tx, m.dir, { parent: m.sub }) }, finds: /its parents form a cycle/, after: (m) => new Map([...but({ '/lost+found': 'dir' })].map(([name, what]) => [name.startsWith('/dir') ? `/lost+found/#${m.dir}${name.slice(4)}` : name, what])) },
  { title: 'the usage miscounted', does: (tx) => tx.addCounters(KEY_USAGE, [1, 100]), finds: /the pool's usage says 9 /, after: same },
  { title: 'the usage lost', does: (tx) => { tx.setCounters(KEY_USAGE, [[0, 0]]); tx.deleteCounters(KEY_USAGE) }, finds: /the pool's usage says nothing/, after: same },
  { title: 'inode numbers would be used again', does: (tx) => tx.put(KEY_NEXT_INO, encodeNextIno(17)), finds: /the next inode number is 17/, after: same },
  { title: 'an ACL unknown to its inode', does: (tx, m) => tx.put(xattrKey(m.small, 'system.posix_acl_access'), encodeXattr(1, new Uint8Array(4))), finds: /access ACL/, after: same },
  { title: 'an xattr of nobody', does: (tx) => tx.put(xattrKey(7777, 'user.x'), encodeXattr(1, new Uint8Array(4))), finds: /owns an extended attribute/, after: same },
  { title: 'a row of an unknown kind', does: (tx) => tx.put('zebra', new Uint8Array(4)), finds: /a row of the unknown kind "z"/, after: () => 'left' },
  { title: 'much at once', does: async (tx, m) => { tx.delete(inodeKey(m.dir)); tx.addCounters(KEY_USAGE, [4, 4]); tx.addCounters('u', [9]); tx.delete((await entryOf(tx, m.dir, 'large')).key); await putInode(tx, m.named, { nlink: 7 }); tx.addCounters(directoryKey(m.sub), [9]) }, finds: /owns counters and cannot/, after: (m) => but({ '/dir/large': undefined, '/lost+found': 'dir', [`/lost+found/#${m.large}`]: '300000 L' }) }
]

describe('fsck finds, repairs and then finds nothing', () => {
  test('a whole pool is clean', { timeout: 60_000 }, async () => {
    const folder = copy()
    const looked = await fsck(folder)
    assert.deepEqual([looked.said, looked.found, looked.left, looked.inodes, looked.directories], [[], 0, 0, 8, 3])
  })
  test('a space that is looked at in windows is clean too', { timeout: 60_000 }, async () => {
    const engine = await openLmdb({ folder: join(top, 'good'), ...parts, readOnly: true })
    const reader = engine.reader(ctx)
    const said: string[] = []
    await checkPool(reader, { found: ({ what }) => void said.push(what), units: await openUnitsCheck(reader, 128 * MIB, 1) })
    await engine.close()
    assert.deepEqual(said, [])
  })
  for (const { title, does, finds, after: expected } of damages) {
    test(title, { timeout: 60_000 }, async () => {
      const folder = copy()
      await damage(folder, (tx) => does(tx, made))
      const files = (): string => ['superblock', 'log', 'meta/data.mdb'].map((name) => createHash('sha1').update(readFileSync(join(folder, name))).digest('hex')).join()
      const asItWas = files()
      const looked = await fsck(folder)
      assert.ok(looked.said.some((what) => finds.test(what)), `said ${JSON.stringify(looked.said)}`)
      assert.deepEqual([looked.left > 0, looked.corrected], [true, 0])
      assert.ok(files() === asItWas, 'a check changes nothing')
      const repaired = await fsck(folder, true)
      const then = await fsck(folder)
      const want = expected(made)
      if (want === 'left') {
        assert.equal(repaired.left > 0, true)
        assert.ok(then.said.some((what) => finds.test(what)), `said ${JSON.stringify(then.said)}`)
      } else {
        assert.deepEqual([repaired.left, then.said], [0, []], JSON.stringify(repaired.actions, undefined, 1))
        assert.deepEqual([repaired.corrected > 0, repaired.actions.length > 0], [true, true])
      }
      const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
      try {
        if (want !== 'left') assert.deepEqual(sorted(await listing(pool)), sorted(want), JSON.stringify(repaired.actions, undefined, 1))
        await pool.vfs.mkdir(ctx, ROOT_NODE, 'new', 0o755, 0)
      } finally {
        await pool.close()
      }
      if (want !== 'left') assert.deepEqual((await fsck(folder)).said, [])
      rmSync(folder, { recursive: true, force: true })
    })
  }
})

function scribble(path: string, at: number, bytes: Buffer): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, bytes, 0, bytes.length, at)
  closeSync(fd)
}

describe('fsck of damaged files', () => {
  test('the superblock', { timeout: 60_000 }, async () => {
    const folder = copy()
    scribble(join(folder, 'superblock'), 100, Buffer.from('x'))
    for (const lose of [() => undefined, () => rmSync(join(folder, 'superblock'))]) {
      lose()
      const looked = await fsck(folder)
      assert.match(looked.said[0], /superblock of pool .* is damaged \(wrong checksum\)$|the superblock is missing$/)
      assert.deepEqual([looked.found, looked.left, looked.inodes], [1, 1, 8])
      const repaired = await fsck(folder, true)
      assert.deepEqual([repaired.corrected, repaired.left], [1, 0], repaired.actions.join())
      assert.ok(readFileSync(join(folder, 'superblock')).equals(readFileSync(join(top, 'good', 'superblock'))))
      assert.deepEqual((await fsck(folder)).said, [])
    }
  })
  test('a row with a wrong checksum is told, gives EIO, and is given up by a repair', { timeout: 60_000 }, async () => {
    const folder = copy()
    const file = join(folder, 'meta', 'data.mdb')
    const rows = readFileSync(file)
    let flipped = 0
    for (let at = rows.indexOf(SMALL); at >= 0; at = rows.indexOf(SMALL, at + 1), flipped++) scribble(file, at, Buffer.from('S'))
    assert.ok(flipped > 0)
    assert.match((await fsck(folder)).said.join(), /row "I" 49[0-9a-f]{16} is damaged/)
    const told: string[] = []
    const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined, damaged: (row) => void told.push(row) })
    for (let i = 0; i < 2; i++) await assert.rejects(async () => pool.vfs.getattr(ctx, made.small, 0), (e) => e instanceof Error && 'code' in e && e.code === 'EIO')
    assert.equal((await pool.vfs.getattr(ctx, made.large, 0)).sizeBytes, LARGE.length)
    await pool.close()
    assert.deepEqual(told, [`row "I" 49${made.small.toString(16).padStart(16, '0')}`])
    const repaired = await fsck(folder, true)
    assert.ok(repaired.actions.some((what) => /row "I" .* is given up/.test(what)), repaired.actions.join())
    assert.equal(repaired.left, 0, JSON.stringify(repaired))
    assert.deepEqual((await fsck(folder)).said, [])
    const after = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
    assert.deepEqual(sorted(await listing(after)), sorted(but({ '/dir/small': undefined })))
    await after.close()
  })
  test('a file with a damaged extent gives EIO, also after a repair, until it is removed', { timeout: 60_000 }, async () => {
    const folder = copy()
    const engine = await openLmdb({ folder, ...parts, readOnly: true })
    const [{ row }] = await engine.reader(ctx).scan({ from: dataRows('E', made.large), to: dataRows('E', made.large + 1), limit: 1 })
    const wanted = Buffer.from(row.bytes)
    await engine.close()
    const file = join(folder, 'meta', 'data.mdb')
    const rows = readFileSync(file)
    for (let at = rows.indexOf(wanted); at >= 0; at = rows.indexOf(wanted, at + 1)) scribble(file, at + 12, Buffer.from([0xee]))
    for (const repair of [false, true, true]) {
      const looked = await fsck(folder, repair)
      assert.match(looked.said.join(), /row "E" 45[0-9a-f]{32} is damaged/)
      assert.equal(looked.left > 0, true)
      const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined, damaged: () => undefined })
      await assert.rejects(async () => pool.vfs.read(ctx, made.large, 0, 0, 4096, Buffer.alloc(4096), 0), (e) => e instanceof Error && 'code' in e && e.code === 'EIO')
      await pool.close()
    }
    const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined, damaged: () => undefined })
    await pool.vfs.unlink(ctx, made.dir, 'large')
    await pool.vfs.unlink(ctx, made.dir, 'small') // and keeps nobody else on the list
    pool.vfs.forget(made.large)
    pool.vfs.forget(made.small)
    await pool.close()
    const gone = await openPool(folder, { ...parts, vfs: {}, note: () => undefined, damaged: () => undefined })
    await gone.close()
    const last = await fsck(folder, true)
    assert.deepEqual([last.left, (await fsck(folder)).said], [0, []], JSON.stringify(last))
  })
  test('pending bytes that are damaged keep no pool from being opened', { timeout: 60_000 }, async () => {
    const folder = copy()
    const held = Buffer.alloc(5000, 'held')
    const lost = Buffer.alloc(5000, 'lost')
    await damage(folder, async (tx) => {
      for (const [ino, bytes] of [[made.deep, lost], [made.large, held]] as const) tx.put(pendingKey(ino, 0), encodePending({ off: 0, len: bytes.length, birth: 1, bytes, wholeRow: false, start: -1, borrowed: false, stamp: 0 }))
      tx.put(extentKey(made.named, 0), Buffer.from([9])) // and one whose rows cannot be read though their checksums are right
      tx.put(pendingKey(made.named, 0), encodePending({ off: 0, len: held.length, birth: 1, bytes: held, wholeRow: false, start: -1, borrowed: false, stamp: 0 }))
    })
    const file = join(folder, 'meta', 'data.mdb')
    const rows = readFileSync(file)
    let spoilt = 0
    for (let at = rows.indexOf(lost); at >= 0; at = rows.indexOf(lost, at + 1), spoilt++) scribble(file, at + 1000, Buffer.from('x'))
    assert.ok(spoilt > 0)
    for (const repair of [false, true]) {
      await fsck(folder, repair)
      const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined, damaged: () => undefined })
      const bytes = Buffer.alloc(LARGE.length)
      assert.equal(await pool.vfs.read(ctx, made.large, 0, 0, bytes.length, bytes, 0), bytes.length)
      assert.ok(bytes.subarray(0, 5000).equals(held) && bytes.subarray(5000).equals(LARGE.subarray(5000)))
      for (const ino of [made.deep, made.named]) await assert.rejects(async () => pool.vfs.read(ctx, ino, 0, 0, 4096, Buffer.alloc(4096), 0), (e) => e instanceof Error && 'code' in e && e.code === 'EIO')
      if (repair) {
        await pool.vfs.unlink(ctx, made.sub, 'deep')
        await pool.vfs.unlink(ctx, made.dir, 'named')
        await pool.vfs.unlink(ctx, ROOT_NODE, 'alias')
      }
      await pool.close()
    }
    const last = await fsck(folder, true)
    assert.deepEqual([last.left, (await fsck(folder)).said], [0, []], JSON.stringify(last))
  })
  test('one copy of the space\'s header, and both', { timeout: 60_000 }, async () => {
    for (const [copies_, finds] of [[[0], /1 damaged copy/], [[4096], /1 damaged copy/], [[0, 4096], /has a damaged header/]] as const) {
      const folder = copy()
      for (const at of copies_) scribble(join(folder, 'space'), at + 100, Buffer.from('x'))
      assert.match((await fsck(folder)).said.join(), finds)
      const repaired = await fsck(folder, true)
      assert.deepEqual([repaired.left, repaired.corrected], [0, 1], repaired.said.join())
      assert.deepEqual((await fsck(folder)).said, [])
      const pool = await openPool(folder, { ...parts, vfs: {}, note: () => undefined })
      assert.deepEqual(sorted(await listing(pool)), sorted(same()))
      await pool.close()
    }
  })
  test('the log\'s header, LMDB\'s first pages', { timeout: 60_000 }, async () => {
    for (const [file, finds] of [['log', /header of .*log is damaged/], ['meta/data.mdb', /is no LMDB file, or its first pages are damaged/]] as const) {
      const folder = copy()
      scribble(join(folder, file), 20, Buffer.alloc(16, 0xee))
      const looked = await fsck(folder, true)
      assert.match(looked.said.join(), finds)
      assert.equal(looked.left > 0, true)
    }
  })
  test('a record in the middle of the log: told while the page cache must hold it, normal after a power cut', { timeout: 60_000 }, async () => {
    for (const bootId of [undefined, 'another']) {
      const folder = copy()
      const engine = await openLmdb({ folder, ...parts, ...(bootId === undefined ? {} : { bootId }) })
      for (let i = 0; i < 20; i++) await engine.transact(ctx, (tx) => tx.setCounters(directoryKey(made.dir), [[2, 1000 + i], [3, i]]))
      const died = `${folder}-died`
      cpSync(folder, died, { recursive: true })
      await engine.close()
      const log = readFileSync(join(died, 'log'))
      const records: number[] = []
      for (let at = log.indexOf('OGCR', 4096); at >= 0; at = log.indexOf('OGCR', at + 1)) records.push(at)
      assert.equal(records.length >= 20, true)
      scribble(join(died, 'log'), records[records.length - 10] + 40, Buffer.from([log[records[records.length - 10] + 40] ^ 1]))
      const looked = await fsck(died)
      if (bootId === undefined) assert.match(looked.said.join(), /the log is damaged: change \d+ cannot be read, and 10 changes from there on, 0 of them known as synced/)
      else assert.deepEqual([looked.said, looked.unsyncedRecords >= 9], [[], true])
    }
  })
})
