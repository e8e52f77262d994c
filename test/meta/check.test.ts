/** The check bites: each kind of damage, done to a whole tree through the engine, is found and named. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Tx } from '../../src/engine/index.js'
import { encodePast, historyKey } from '../../src/data/index.js'
import { checkTree } from '../../src/meta/check.js'
import { decodeInode, encodeInode } from '../../src/meta/inode.js'
import type { StoredInode } from '../../src/meta/inode.js'
import { dentryKey, directoryKey, domainKey, inodeKey, KEY_USAGE, linksFrom, orphanKey, snapshotKey, sweepKey, xattrKey } from '../../src/meta/keys.js'
import { encodeDentry, encodeDomain, encodeOrphan, encodeSnapshot, encodeSweep, encodeXattr, UNLINKED } from '../../src/meta/rows.js'
import { rootContext } from '../../src/sys/index.js'
import { openQuick, root, S_IFDIR, S_IFREG, shellOf } from './pools.js'

interface Made {
  readonly dir: number
  readonly file: number
  readonly sub: number
}
const putInode = async (tx: Tx, ino: number, change: (n: StoredInode) => Partial<StoredInode>): Promise<void> => {
  const old = decodeInode(ino, (await tx.get(inodeKey(ino)))!.bytes)
  tx.put(inodeKey(ino), encodeInode({ ...old, ...change(old) }))
}

const damages: { readonly title: string; readonly does: (tx: Tx, m: Made) => unknown; readonly finds: RegExp }[] = [
  { title: 'an inode is lost', does: (tx, { file }) => tx.delete(inodeKey(file)), finds: /which is not there/ },
  { title: 'a link too many', does: (tx, { file }) => putInode(tx, file, () => ({ nlink: 3 })), finds: /has 3 links, and 2 names/ },
  { title: 'a reverse link is lost', does: async (tx, { file }) => tx.delete((await tx.scan({ from: linksFrom(file), to: linksFrom(file + 1), limit: 1 }))[0].key), finds: /has 2 links, and 1 names/ },
  { title: 'an entry too many counted', does: (tx, { dir }) => tx.addCounters(directoryKey(dir), [1]), finds: /counts 2 1 .* has 1 1/ },
  { title: 'bytes miscounted', does: (tx, { dir }) => tx.addCounters(directoryKey(dir), [0, 0, 0, 0, 0, 0, 5]), finds: /counts/ },
  { title: 'usage miscounted', does: (tx) => tx.addCounters(KEY_USAGE, [1, 0]), finds: /the pool's usage/ },
  { title: 'extents miscounted', does: (tx) => tx.addCounters(KEY_USAGE, [0, 0, 1]), finds: /the pool's usage/ },
  { title: 'an entry of another type', does: (tx, { dir, file }) => tx.put(dentryKey(dir, 5, 0x80), encodeDentry(1, file, S_IFDIR, 'wrong')), finds: /with another type/ },
  { title: 'an entry at a wrong place', does: (tx, { dir, file }) => tx.put(dentryKey(dir, 5, 0x80), encodeDentry(1, file, S_IFREG, 'wrong')), finds: /at a wrong place/ },
  { title: 'a gap in a chain', does: (tx, { dir, file }) => tx.put(dentryKey(dir, 5, 0x81), encodeDentry(1, file, S_IFREG, 'wrong')), finds: /has a gap/ },
  { title: 'a tombstone at a chain\'s end', does: (tx, { dir }) => tx.put(dentryKey(dir, 5, 0x80), encodeDentry(1, 0, 0, '')), finds: /ends with a tombstone/ },
  { title: 'a directory out of the tree', does: async (tx, { dir, sub }) => putInode(tx, dir, () => ({ parent: sub })), finds: /cycle|not named by its parent/ },
  { title: 'no links and no list', does: (tx, { file }) => putInode(tx, file, () => ({ nlink: 0, parent: 0 })), finds: /on no list/ },
  { title: 'on a list with links', does: (tx, { file }) => tx.put(orphanKey(1, file), encodeOrphan(1, UNLINKED)), finds: /is on a list of inodes without links/ },
  { title: 'on a list and nowhere', does: (tx) => tx.put(orphanKey(1, 77), encodeOrphan(1, UNLINKED)), finds: /is on a list and is no inode/ },
  { title: 'an ACL unknown to its inode', does: (tx, { file }) => tx.put(xattrKey(file, 'system.posix_acl_access'), encodeXattr(1, new Uint8Array(4))), finds: /access ACL/ },
  { title: 'an xattr of nobody', does: (tx) => tx.put(xattrKey(77, 'user.x'), encodeXattr(1, new Uint8Array(4))), finds: /owns an extended attribute/ },
  { title: 'an entry of nobody', does: (tx, { file }) => tx.put(dentryKey(file, 5, 0x80), encodeDentry(1, 1, 0, 'x')), finds: /owns an entry/ }
]

describe('the check finds', () => {
  for (const { title, does, finds } of damages) {
    test(title, { timeout: 20_000 }, async () => {
      const { make, call, pool } = shellOf(await openQuick())
      const dir = await make(root, 1, 'd', S_IFDIR | 0o755)
      const sub = await make(root, dir, 's', S_IFDIR | 0o755)
      const file = await make(root, 1, 'f', S_IFREG | 0o644)
      await call(root, (t, tx, op) => t.link(tx, op, file, 1, 'g'))
      const problems = async (): Promise<string[]> => {
        const out: string[] = []
        for await (const { what } of checkTree(pool.engine.reader(rootContext), pool.hash)) out.push(what)
        return out
      }
      assert.deepEqual(await problems(), [])
      await call(root, (_, tx) => does(tx, { dir, file, sub }))
      const found = await problems()
      assert(found.some((what) => finds.test(what)), `found ${JSON.stringify(found)}`)
      await pool.close()
    })
  }
})

test('rows of history that show themselves at one time are a fault, but for what a rollback left to the sweep', { timeout: 20_000 }, async () => {
  const { make, call, pool } = shellOf(await openQuick())
  const file = await make(root, 1, 'f', S_IFREG | 0o644)
  const row = xattrKey(file, 'user.x')
  const past = (tx: Tx, birth: number, death: number): void => tx.put(historyKey(row, birth), encodePast(birth, death, encodeXattr(birth, new Uint8Array(4))))
  await call(root, (_, tx) => {
    tx.put(snapshotKey(1, 'young'), encodeSnapshot({ epoch: 3, sec: 0, nsec: 0 }))
    tx.put(domainKey(1), encodeDomain({ domain: 1, root: 1, epoch: 4, newestSnapshot: 3, flags: 0, trashKeepSec: 0 }))
    past(tx, 1, 4) // brought back by a rollback to 1, and replaced after the snapshot 3
    past(tx, 2, 3) // what stood there when it was rolled back: only a snapshot 2, gone with it, showed it
    tx.put(sweepKey(1), encodeSweep(2))
  })
  const problems = async (): Promise<string[]> => {
    const out: string[] = []
    for await (const { what } of checkTree(pool.engine.reader(rootContext), pool.hash)) out.push(what)
    return out
  }
  assert.deepEqual(await problems(), [])
  await call(root, (_, tx) => tx.delete(sweepKey(1)))
  assert.deepEqual(await problems(), ['two rows of history show themselves in one epoch (2)'], 'nobody will sweep it')
  await call(root, (_, tx) => {
    tx.put(sweepKey(1), encodeSweep(2))
    past(tx, 2, 4)
  })
  assert.deepEqual(await problems(), ['two rows of history show themselves in one epoch (2)'], 'a snapshot shows both')
  await pool.close()
})
