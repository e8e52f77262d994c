/** The walk over LMDB's pages: silent about every sound file, and each kind of damage is told by name, without LMDB. */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { inspectPages, openLmdb } from '../../src/engine/index.js'
import { manualClock, seededRandom } from '../../src/sys/index.js'
import { newFolder } from './disk.js'
import { bytes, ctx } from './suite.js'

const PAGE = 4096
const HEADER = 24
const clock = manualClock()

/** Rows of all sizes come, change and go, over some sessions: pages are freed and used again. */
async function make(folder: string, rows: number, sessions: number): Promise<void> {
  const random = seededRandom(rows)
  for (let session = 0; session < sessions; session++) {
    const engine = await openLmdb({ folder, logBytes: 1024 * 1024, checkpointAtBytes: 60_000, clock })
    for (let i = 0; i < rows; i++) {
      const key = `k${String(random.uint32() % rows).padStart(5, '0')}`
      await engine.transact(ctx, (tx) => {
        if (random.uint32() % 4 === 0) tx.delete(key)
        else tx.put(key, bytes('x'.repeat(i % 100 === 0 ? 9000 : random.uint32() % 300)))
        tx.change(bytes('event'))
      })
    }
    await engine.close()
    assert.deepEqual(inspectPages(folder), [])
  }
}

test('sound files: of nothing, of few rows, of many, after many sessions', { timeout: 60_000 }, async () => {
  for (const [rows, sessions] of [[0, 1], [1, 3], [300, 8], [4000, 2]]) await make(newFolder(), rows, sessions)
})

/** Places in a file whose table of rows has an inner root, for damages to aim at. */
interface Aim {
  readonly all: Buffer
  /** Page numbers. */
  readonly root: number
  readonly leaf: number
  /** Of a leaf whose first row has a large value: its node's value. */
  readonly largeAt: number
  /** The tree's row of the table of rows. */
  readonly treeAt: number
  nodeAt(page: number, i: number): number
}

function aimAt(all: Buffer): Aim {
  const nodeAt = (page: number, i: number): number => page * PAGE + HEADER + all.readUInt16LE(page * PAGE + HEADER + 2 * i)
  const count = (page: number): number => all.readUInt16LE(page * PAGE + 20) / 2
  const valueAt = (node: number): number => node + 8 + all.readUInt16LE(node + 6)
  const newest = Number(all.readBigUInt64LE(152)) > Number(all.readBigUInt64LE(PAGE + 152)) ? 0 : PAGE
  const tables = Number(all.readBigUInt64LE(newest + 96 + 40))
  const nodes = Array.from({ length: count(tables) }, (_, i) => nodeAt(tables, i))
  const treeAt = valueAt(nodes.find((node) => all.latin1Slice(node + 8, node + 12) === 'rows')!)
  const root = Number(all.readBigUInt64LE(treeAt + 40))
  const children = Array.from({ length: count(root) }, (_, i) => all.readUInt32LE(nodeAt(root, i)))
  const large = children.flatMap((page) => Array.from({ length: count(page) }, (_, i) => nodeAt(page, i))).find((node) => all.readUInt16LE(node + 4) === 1)!
  return { all, root, leaf: children[1], largeAt: valueAt(large), treeAt, nodeAt }
}

const damages: readonly { readonly what: string; readonly does: (aim: Aim) => void; readonly says: RegExp }[] = [
  { what: 'a page with another number', does: ({ all, leaf }) => void all.writeUInt32LE(9999, leaf * PAGE), says: /page \d+ of table rows has another page's number/ },
  { what: 'a leaf that says it is inner', does: ({ all, leaf }) => void all.writeUInt16LE(1, leaf * PAGE + 18), says: /page \d+ of table rows is of a wrong kind/ },
  { what: 'an odd count of rows', does: ({ all, leaf }) => void all.writeUInt16LE(all.readUInt16LE(leaf * PAGE + 20) + 1, leaf * PAGE + 20), says: /impossible size/ },
  { what: 'a row less', does: ({ all, leaf }) => void all.writeUInt16LE(all.readUInt16LE(leaf * PAGE + 20) - 2, leaf * PAGE + 20), says: /do not fill it/ },
  { what: 'free room behind the page', does: ({ all, leaf }) => void all.writeUInt16LE(0x8000, leaf * PAGE + 22), says: /impossible size/ },
  { what: 'a row outside of its page', does: ({ all, leaf }) => void all.writeUInt16LE(PAGE, leaf * PAGE + HEADER), says: /impossible place/ },
  { what: 'two places for one row', does: ({ all, leaf }) => void all.writeUInt16LE(all.readUInt16LE(leaf * PAGE + HEADER), leaf * PAGE + HEADER + 2), says: /wrong order/ },
  { what: 'a key longer than its page', does: ({ all, leaf, nodeAt }) => void all.writeUInt16LE(0x4000, nodeAt(leaf, 0) + 6), says: /goes on behind its end/ },
  { what: 'a value longer than its page', does: ({ all, leaf, nodeAt }) => void all.writeUInt32LE(0x4000, nodeAt(leaf, 0)), says: /goes on behind its end/ },
  { what: 'a row that says it is a table', does: ({ all, leaf, nodeAt }) => void all.writeUInt16LE(2, nodeAt(leaf, 0) + 4), says: /wrong kind/ },
  { what: 'keys in a wrong order', does: ({ all, leaf, nodeAt }) => void all.writeUInt8(0x7f, nodeAt(leaf, 0) + 8), says: /wrong order/ },
  { what: 'a key that belongs to another leaf', does: ({ all, leaf, nodeAt }) => void all.writeUInt8(0x01, nodeAt(leaf, 0) + 8), says: /wrong order/ },
  { what: 'a child behind the last page', does: ({ all, root, nodeAt }) => void all.writeUInt32LE(1e6, nodeAt(root, 1)), says: /leads to page 1000000, there are/ },
  { what: 'the child of another', does: ({ all, root, nodeAt }) => void all.writeUInt32LE(all.readUInt32LE(nodeAt(root, 2)), nodeAt(root, 1)), says: /which something else holds too|wrong order/ },
  { what: 'its own parent as a child', does: ({ all, root, nodeAt }) => void all.writeUInt32LE(root, nodeAt(root, 1)), says: /which something else holds too/ },
  { what: 'a large value somewhere else', does: ({ all, largeAt, leaf }) => void all.writeUInt32LE(leaf, largeAt), says: /which something else holds too|not the begin of a large value/ },
  { what: 'a large value of more pages', does: ({ all, largeAt }) => void all.writeUInt32LE(7, largeAt + 16), says: /wrong number of pages/ },
  { what: 'other counts than there are', does: ({ all, treeAt }) => void all.writeUInt32LE(5, treeAt + 32), says: /table rows has other pages or rows than it says/ },
  { what: 'another depth', does: ({ all, treeAt }) => void all.writeUInt16LE(3, treeAt + 6), says: /wrong kind/ },
  { what: 'an empty table that has rows', does: ({ all, treeAt }) => void all.fill(0xff, treeAt + 40, treeAt + 48), says: /impossible depth/ },
  { what: 'first pages out of turn', does: ({ all }) => void all.writeUInt32LE(all.readUInt32LE(152) + 4, 152), says: /contradict each other/ },
  { what: 'more pages than a file could have', does: ({ all }) => [0, PAGE].forEach((at) => all.writeUInt32LE(1e6, at + 148)), says: /shorter than the pages in it/ },
  { what: 'fewer pages than there are', does: ({ all }) => [0, PAGE].forEach((at) => all.writeUInt32LE(10, at + 144)), says: /says what cannot be|there are 11/ }
]

describe('damages', () => {
  const folder = newFolder()
  const data = join(folder, 'meta', 'data.mdb')
  let good: Buffer
  before(async () => {
    await make(folder, 600, 2)
    good = readFileSync(data)
  })
  after(() => rmSync(folder, { recursive: true }))
  for (const { what, does, says } of damages) {
    test(what, () => {
      const aim = aimAt(Buffer.from(good))
      does(aim)
      assert.notEqual(Buffer.compare(aim.all, good), 0, 'something is damaged')
      writeFileSync(data, aim.all)
      assert.match(inspectPages(folder).join('; '), says)
    })
  }
  test('a file that ends too early', () => {
    writeFileSync(data, good.subarray(0, aimAt(good).leaf * PAGE))
    assert.match(inspectPages(folder).join('; '), /behind the end of the file/)
  })
  test('any bytes at all end in findings, soon', { timeout: 30_000 }, () => {
    const random = seededRandom(5)
    for (let n = 0; n < 60; n++) {
      const all = Buffer.from(good)
      for (let at = 2 * PAGE; at < all.length; at += PAGE) if (random.uint32() % 3 === 0) all.set(random.bytes(n % 2 === 0 ? 64 : PAGE), at)
      writeFileSync(data, all)
      assert.ok(inspectPages(folder).length > 0)
    }
  })
})
