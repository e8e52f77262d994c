/** The rows and the space's header byte by byte, as docs/format-data.md tells: each field has another value, so that none can be swapped. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { holeExtent, ownExtent } from '../../src/data/extents.js'
import { decodeOrigin, encodeOrigin, originKey } from '../../src/data/origin.js'
import { decodeExtent, encodeExtent, extentKey } from '../../src/data/rows.js'
import { NOW } from '../../src/data/index.js'
import { KEY_END } from '../../src/engine/index.js'
import { rootContext as ctx } from '../../src/sys/index.js'
import { contentOf, makeFile, makeWorld, quiet, snapshot } from './world.js'
import type { World } from './world.js'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const rows = async (w: World, kind: string): Promise<Record<string, string>> => {
  const found = await w.engine.reader(ctx).scan({ from: kind, to: KEY_END, limit: 100 })
  return Object.fromEntries(found.filter(({ key }) => key[0] === kind).map(({ key, row }) => [hex(Buffer.from(key, 'latin1')), hex(row.bytes)]))
}
const INO = '0000000000000005'

test('logged, tentative, extents, history', async () => {
  const w = await makeWorld()
  await makeFile(w, 5)
  await w.data.write(ctx, 5, 4096, Buffer.from('abc'), 0, 3, quiet)
  assert.deepEqual(await rows(w, 'P'), { [`50${INO}0000000000001000`]: '01' + '0100000000000000' + '01' + '616263' })
  await w.data.write(ctx, 5, 0x20000, Buffer.alloc(0x11000, 1), 0, 0x11000, quiet)
  const tentative = (await rows(w, 'P'))[`50${INO}0000000000020000`]
  assert.match(tentative, /^01010000000000000002.{16}00100100$/)
  assert.deepEqual(await rows(w, 'T'), { [`54${INO}`]: '010100000000000000' })
  assert.equal(contentOf(w, 5).durableSizeBytes, 4099)

  await w.data.sync(ctx, 5)
  assert.deepEqual(await rows(w, 'T'), {})
  assert.deepEqual(await rows(w, 'E'), { [`45${INO}0000000000020000`]: '01' + '0100000000000000' + '00' + tentative.slice(20) })
  assert.equal(contentOf(w, 5).durableSizeBytes, 0x31000)

  const old = (await rows(w, 'E'))[`45${INO}0000000000020000`]
  await snapshot(w)
  await w.data.punch(ctx, 5, 0x21000, 0x1000, quiet)
  const extents = await rows(w, 'E')
  assert.deepEqual(Object.keys(extents), [`45${INO}0000000000020000`, `45${INO}0000000000022000`])
  assert.equal(extents[`45${INO}0000000000020000`], old.slice(0, 36) + '00100000')
  const past = await rows(w, 'H')
  const piece = past[`48${`45${INO}0000000000021000`}${'0000000000000001'}`]
  assert.match(piece, /^010100000000000000020000000000000001010000000000000000.{16}00100000$/)

  await w.data.reserve(ctx, 5, 0x100000, 0x1000, true, quiet)
  assert.match((await rows(w, 'E'))[`45${INO}0000000000100000`], /^01020000000000000001.{16}00100000$/)
})

test('origins, and extents that are not a file\'s own', () => {
  const origin = { birth: 0x0102, ino: 0x1_0000_0003, epoch: 0x0405, limit: 0x1_0000_7000 }
  assert.equal(hex(encodeOrigin(origin)), '01' + '0201000000000000' + '0300000001000000' + '0504000000000000' + '0070000001000000')
  assert.deepEqual(decodeOrigin(encodeOrigin(origin)), origin)
  assert.equal(hex(Buffer.from(originKey(0x102), 'latin1')), '4c0000000000000102')
  const hole = holeExtent(0x3000, 0x2000, 0x0102)
  assert.equal(hex(encodeExtent(hole)), '01' + '0201000000000000' + '02' + '0000000000000000' + '00200000')
  assert.deepEqual(decodeExtent(extentKey(5, 0x3000), encodeExtent(hole)), hole)
  const shared = { ...ownExtent(0x3000, { startBytes: 0x7000, lengthBytes: 0x2000 }, 0x0102, false), kind: 'shared' as const }
  assert.equal(hex(encodeExtent(shared)), '01' + '0201000000000000' + '04' + '0070000000000000' + '00200000')
  assert.deepEqual(decodeExtent(extentKey(5, 0x3000), encodeExtent(shared)), shared)
})

test('extents that files share, and how many do', async () => {
  const w = await makeWorld()
  await makeFile(w, 5)
  await makeFile(w, 6)
  await w.data.write(ctx, 5, 0, Buffer.alloc(0x21000, 1), 0, 0x21000, quiet)
  await w.data.syncAll(ctx)
  await snapshot(w)
  const start = (await rows(w, 'E'))[`45${INO}0000000000000000`].slice(20, 36)
  const at = Buffer.from(start, 'hex').readBigUInt64LE()
  const be = (n: bigint): string => n.toString(16).padStart(16, '0')
  const le = (n: bigint): string => Buffer.from(be(n), 'hex').reverse().toString('hex')
  await w.data.copy(ctx, 5, NOW, 0x1000, 6, 0x3000, 0x12000, quiet, 'cheapest')
  const count = '01' + '0000000000000000' + '00200100' + '02000000'
  assert.deepEqual(await rows(w, 'Z'), { [`5a${be(at + 0x1000n)}`]: count })
  assert.deepEqual(await rows(w, 'E'), {
    [`45${INO}0000000000000000`]: '01' + '0100000000000000' + '00' + start + '00100000',
    [`45${INO}0000000000001000`]: '01' + '0100000000000000' + '04' + le(at + 0x1000n) + '00200100',
    [`45${INO}0000000000013000`]: '01' + '0100000000000000' + '00' + le(at + 0x13000n) + '00e00000',
    [`45${INO.slice(0, -1)}60000000000003000`]: '01' + '0200000000000000' + '04' + le(at + 0x1000n) + '00200100'
  })
  await w.data.punch(ctx, 6, 0x4000, 0x1000, quiet)
  assert.deepEqual(await rows(w, 'Z'), {
    [`5a${be(at + 0x1000n)}`]: '01' + '0000000000000000' + '00100000' + '02000000',
    [`5a${be(at + 0x2000n)}`]: '01' + '0000000000000000' + '00100000' + '01000000',
    [`5a${be(at + 0x3000n)}`]: '01' + '0000000000000000' + '00000100' + '02000000'
  })
})

test('the header of a space', async () => {
  const w = await makeWorld({ groups: 3 })
  const header = Buffer.from(w.disk.peek(0, 4096))
  assert.equal(header.subarray(0, 40).toString('hex'), Buffer.from('OGEESPC1').toString('hex') + '01000000' + '00100000' + '00004000' + '00000000' + '0000400000000000' + '0000c00000000000')
  assert.ok(header.subarray(40, 56).some((b) => b !== 0))
  assert.ok(header.subarray(56, 4092).every((b) => b === 0))
  assert.ok(header.readUInt32LE(4092) !== 0)
})
