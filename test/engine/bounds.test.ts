/** What the embedded engine holds in memory has bounds: counted in bytes and rows, measured in the heap where objects are counted. */
import assert from 'node:assert/strict'
import { rmSync } from 'node:fs'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { openLmdb, systemIo } from '../../src/engine/index.js'
import { entryOf, VALUE } from '../../src/engine/rows.js'
import { cacheCostBytes, makeRowCache } from '../../src/engine/lmdb/cache.js'
import { CHUNK_ROWS } from '../../src/engine/lmdb/checkpoint.js'
import { hashOfKey, makePackedRows } from '../../src/engine/lmdb/packed.js'
import { cut } from '../../src/engine/lmdb/stored.js'
import { newFolder } from './disk.js'
import { ctx } from './suite.js'

const MIB = 1024 * 1024
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
function heldBytes(): number {
  collect()
  collect() // buffers of dead arrays go with the next one
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const keyOf = (i: number): string => `I0000${String.fromCharCode(i >> 24, (i >> 16) & 255, (i >> 8) & 255, i & 255)}`
const source = Buffer.alloc(141, 1)
const valueOf = () => entryOf(VALUE, 1, cut(source, 1, 141), undefined)
/** As large as what an inode decodes to: 30 fields. */
const decoded = (): object => ({
  a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9, j: 10, k: 11, l: 12, m: 13, n: 14, o: 15,
  p: 1, q: 2, r: 3, s: 4, t: 5, u: 6, v: 7, w: 8, x: 9, y: 10, z: 11, A: 12, B: 13, C: 14, D: 15
})

test('the cache takes what is read twice, holds no more than it may, and counts what it costs', () => {
  const limit = 32 * MIB
  const cache = makeRowCache(limit)
  const before = heldBytes()
  for (let i = 0; i < 50_000; i++) cache.offer(keyOf(i), hashOfKey(keyOf(i)), valueOf())
  assert.equal(cache.size, 0, 'who walks once leaves nothing')
  for (let i = 0; i < 50_000; i++) {
    for (let times = 0; times < 2; times++) {
      const entry = cache.find(keyOf(i)) ?? cache.offer(keyOf(i), hashOfKey(keyOf(i)), valueOf())
      entry.decoded ??= decoded()
    }
    if (i % 1000 === 0) assert.ok(cache.heldBytes <= limit)
  }
  assert.ok(cache.size > 12_000)
  const counted = cache.heldBytes
  const measured = heldBytes() - before
  assert.ok(measured < counted + 3 * MIB, `${measured} bytes measured, ${counted} counted, 3 MiB for code and what the loops left`)
  assert.ok(cacheCostBytes(keyOf(0), valueOf()) * cache.size >= counted)
})

test('a commit replaces what the cache holds, and brings nothing in', () => {
  const cache = makeRowCache(MIB)
  const [a, b] = [keyOf(1), keyOf(2)]
  const read = (key: string) => cache.find(key) ?? cache.offer(key, hashOfKey(key), valueOf())
  read(a)
  read(a)
  cache.replace(a, entryOf(VALUE, 2, Buffer.from('new'), 'decoded'))
  cache.replace(b, entryOf(VALUE, 2, Buffer.from('new'), 'decoded'))
  assert.equal(Buffer.from(cache.find(a)!.bytes).latin1Slice(), 'new')
  assert.equal(cache.find(a)!.decoded, 'decoded')
  assert.ok(cache.find(a)!.bytes.buffer.byteLength < 100, 'it keeps no pool of buffers alive')
  assert.equal(cache.find(b), undefined)
})

test('rows of an overlay are no objects of the heap', () => {
  const rows = makePackedRows()
  const before = heldBytes()
  const COUNT = 200_000
  for (let i = 0; i < COUNT; i++) rows.set(keyOf(i), hashOfKey(keyOf(i)), valueOf())
  collect()
  const perRow = (heldBytes() - before) / COUNT
  assert.equal(rows.size, COUNT)
  assert.ok(perRow < 9 + 141 + 72, `${perRow} bytes a row, chunks and tables included`)
})

test('a checkpoint moves at most CHUNK_ROWS in a turn, and what the engine holds stays within its bounds', async () => {
  const folder = newFolder()
  let chunks = 0
  const io = { ...systemIo, step: async (name: string) => void (chunks += name === 'moving' ? 1 : 0) }
  const engine = await openLmdb({ folder, io, cacheBytes: MIB, logBytes: 32 * MIB, checkpointAtBytes: 16 * MIB })
  const ROWS = 20_000
  for (let i = 0; i < ROWS; i += 500) await engine.transact(ctx, (tx) => {
    for (let j = i; j < i + 500; j++) tx.put(keyOf(j), Buffer.alloc(140, j))
  })
  assert.equal(engine.status().memory.rows, ROWS)
  await engine.checkpoint()
  assert.ok(chunks >= ROWS / CHUNK_ROWS, `${chunks} chunks`)
  assert.equal(engine.status().memory.rows, 0)
  const reader = engine.reader(ctx)
  for (let times = 0; times < 3; times++) for (let i = 0; i < ROWS; i++) assert.equal((await reader.get(keyOf(i)))!.bytes[0], i & 255)
  const { cachedBytes, cachedRows, rowsBytes } = engine.status().memory
  assert.ok(cachedRows > 100 && cachedBytes <= MIB, `${cachedRows} rows, ${cachedBytes} bytes cached`)
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < ROWS; i += 500) await engine.transact(ctx, (tx) => {
      for (let j = i; j < i + 500; j++) tx.put(keyOf(j), Buffer.alloc(140, j + round))
    })
    await engine.checkpoint()
  }
  assert.ok(engine.status().memory.rowsBytes <= 2 * rowsBytes + MIB, 'two overlays take turns, no third is made')
  await engine.close()
  rmSync(folder, { recursive: true })
})
