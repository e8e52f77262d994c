/** Rows that make clones and rollbacks are damaged one by one: fsck finds it, a repair mends what other rows tell, and the pool shows all that it showed. */
import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { putOrigin } from '../../src/data/index.js'
import { openLmdb } from '../../src/engine/index.js'
import type { Tx } from '../../src/engine/index.js'
import { clonedFrom, domainKey, holdKey, holdsFrom, replacedKey, secondNumber, thirdNumber, unfoundKey } from '../../src/meta/keys.js'
import { domainOfRow, encodeDomain, encodeHold, encodeReplaced, encodeUnfound } from '../../src/meta/rows.js'
import { formatPool, fsckPool, makeFolder, openPool } from '../../src/pool/index.js'
import type { Pool } from '../../src/pool/index.js'
import { rootContext as ctx, seededRandom, systemClock } from '../../src/sys/index.js'
import { ROOT_NODE } from '../../src/vfs/index.js'
import { nodeAt, textOfPool } from '../snapshot/rig.js'

const parts = { clock: systemClock, random: seededRandom(7) }
const how = { killSuidgid: false, append: false } as const
const NOBODY = 900_000
let top = ''
let shown: readonly string[] = []

const open = (folder: string): Promise<Pool> => openPool(folder, { ...parts, vfs: {}, note: () => undefined })

/** /clone, of which /clone/a was looked into and /clone/b, where a file has its other name, was not; /sub, that went back to a snapshot and was not looked into. */
async function fill({ vfs, snapshots, clones, subvolumes }: Pool): Promise<void> {
  const make = async (parent: number, name: string): Promise<number> => {
    const { ino } = await vfs.mknod(ctx, parent, name, 0o100644, 0, 0)
    await vfs.write(ctx, ino, 0, 0, Buffer.alloc(50_000, name), 0, 50_000, how)
    return ino
  }
  const [a, b] = [(await vfs.mkdir(ctx, ROOT_NODE, 'a', 0o755, 0)).ino, (await vfs.mkdir(ctx, ROOT_NODE, 'b', 0o755, 0)).ino]
  await vfs.link(ctx, await make(a, 'f'), b, 'g')
  await subvolumes.create('/sub')
  const sub = await nodeAt(vfs, '/sub')
  await make(sub, 'kept')
  await snapshots.create('/sub@t')
  await make(sub, 'lost')
  await snapshots.rollBack('/sub@t', 'refuse')
  await snapshots.create('/@s')
  await clones.clone('/@s', '/clone')
  await nodeAt(vfs, '/clone/a/f')
  await snapshots.remove('/@s')
  await snapshots.settle()
}

before(async () => {
  top = mkdtempSync(join(tmpdir(), 'ogee-fsck-clones-'))
  const folder = join(top, 'good')
  makeFolder(folder)
  await formatPool(folder, { ...parts, sizeBytes: 128 * 1024 ** 2, seams: { logBytes: 1024 ** 2 } })
  const pool = await open(folder)
  await fill(pool)
  await pool.close()
  const seen = copy()
  const other = await open(seen)
  shown = await textOfPool(other.vfs, ROOT_NODE) // this looks into everything
  await other.close()
})
after(() => rmSync(top, { recursive: true, force: true }))

let copies = 0
function copy(): string {
  const folder = join(top, `copy${copies++}`)
  cpSync(join(top, 'good'), folder, { recursive: true })
  return folder
}

async function fsck(folder: string, repair: boolean): Promise<{ readonly left: number, readonly said: string[], readonly did: string[] }> {
  const said: string[] = []
  const did: string[] = []
  const { left } = await fsckPool(folder, { ...parts, isLive: false, repair, found: ({ ino, what }) => void said.push(`${ino} ${what}`), did: (ino, what) => void did.push(`${ino} ${what}`) })
  return { left, said, did }
}

/** The one row of a kind that is there for another domain. */
async function clonesHold(tx: Tx): Promise<{ readonly key: string, readonly epoch: number, readonly clone: number }> {
  const [{ key }] = await tx.scan({ from: holdsFrom(1), to: holdsFrom(2), limit: 1 })
  return { key, epoch: secondNumber(key), clone: thirdNumber(key) }
}
const cloned = async (tx: Tx): Promise<{ readonly key: string, readonly ino: number }> => {
  const [{ key, row }] = await tx.scan({ from: clonedFrom(0), to: clonedFrom(2 ** 53 - 1), limit: 1 })
  return { key, ino: Number(Buffer.from(row.bytes).readBigUInt64LE(9)) }
}

const damages: readonly { readonly title: string, readonly does: (tx: Tx) => unknown, readonly finds: RegExp }[] = [
  { title: 'a clone\'s view is not held', does: async (tx) => tx.delete((await clonesHold(tx)).key), finds: /which nobody holds/ },
  { title: 'a view that is held for nobody', does: async (tx) => tx.put(holdKey(1, (await clonesHold(tx)).epoch, NOBODY), encodeHold()), finds: /is held for domain 900000, which is not there/ },
  {
    title: 'a domain that does not know what is held', finds: /does not know that its epoch \d+ is held/,
    does: async (tx) => tx.put(domainKey(1), encodeDomain({ ...domainOfRow(1, (await tx.get(domainKey(1)))!), newestSnapshot: 0 }))
  },
  { title: 'a clone that is not there', does: (tx) => putOrigin(tx, NOBODY, { birth: 1, ino: 1, epoch: 1, limit: 4096 }), finds: /900000 is a clone of inode 1, and is not there/ },
  { title: 'a hard link does not know of its other names', does: async (tx) => tx.delete(unfoundKey((await cloned(tx)).ino)), finds: /is to be found by other names of inode \d+, and does not know/ },
  { title: 'a hard link that its other names do not find', does: async (tx) => tx.delete((await cloned(tx)).key), finds: /has names to be found that nothing leads to/ },
  { title: 'names to be found of nobody', does: (tx) => tx.put(unfoundKey(NOBODY), encodeUnfound({ origin: 1, names: 3 })), finds: /900000 has names to be found, and is not there/ },
  { title: 'a folder that is to be removed, and is not there', does: (tx) => tx.put(replacedKey(1, NOBODY), encodeReplaced()), finds: /900000 is to be removed after a rollback, and is not there/ }
]

for (const { title, does, finds } of damages) {
  test(title, { timeout: 60_000 }, async () => {
    const folder = copy()
    const engine = await openLmdb({ folder, ...parts })
    await engine.transact(ctx, async (tx) => void (await does(tx)))
    await engine.close()
    const looked = await fsck(folder, false)
    assert.ok(looked.said.some((what) => finds.test(what)), `said ${JSON.stringify(looked.said)}`)
    const repaired = await fsck(folder, true)
    assert.deepEqual([repaired.left, (await fsck(folder, false)).said], [0, []], JSON.stringify(repaired.did, undefined, 1))
    const pool = await open(folder)
    assert.deepEqual(await textOfPool(pool.vfs, ROOT_NODE), shown)
    const [one, other] = [await nodeAt(pool.vfs, '/clone/a/f'), await nodeAt(pool.vfs, '/clone/b/g')]
    assert.equal(one, other, 'one file with two names')
    await pool.snapshots.settle()
    await pool.close()
    assert.deepEqual((await fsck(folder, false)).said, [])
  })
}
