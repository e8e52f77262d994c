/**
 * The hand-written codec of an inode beside a protobuf library (protobufjs) and msgpackr, each as its makers mean it to be fast:
 * `node --import tsx bench/codecs.ts [--count 100000] [--json]`. Medians of 9 rounds; bytes of one inode.
 *   - The same values for all: a file of 12 KiB, made now, by user 1000, in directory 21. Decoded to an object with all fields.
 *   - The collector runs as it must: what an encoder leaves behind is part of its cost.
 */
import { createRequire } from 'node:module'
import { parseArgs } from 'node:util'
import { decodeInode, encodeInode } from '../src/meta/inode.js'
import type { StoredInode } from '../src/meta/inode.js'
import { median } from './figures.js'

const ROUNDS = 9
const { values: options } = parseArgs({ options: { count: { type: 'string', default: '100000' }, json: { type: 'boolean', default: false } } })
const count = Number(options.count)

// Loaded by name: whoever type-checks needs neither.
interface ProtoType { encode(o: object): { finish(): Uint8Array }, decode(b: Uint8Array): object }
interface Protobuf { parse(text: string): { root: { lookupType(name: string): ProtoType } }, util: { Long: unknown }, configure(): void }
interface Packs { pack(o: object): Uint8Array, unpack(b: Uint8Array): object }
const require = createRequire(import.meta.url)
const protobuf = require('protobufjs') as Protobuf
const { Packr } = require('msgpackr') as { Packr: new (o: object) => Packs }
protobuf.util.Long = null // 64-bit fields as numbers, as with us: the faster way
protobuf.configure()

const inodeAt = (i: number): StoredInode => ({
  ino: 1000 + i, birth: 1, mode: 0o100644, domain: 1, parent: 21, homeLow: (i * 2654435761) >>> 0, homeHigh: (i * 40503) & 0x7fffffff, generation: 1, nlink: 1,
  uid: 1000, gid: 1000, rdev: 0, flags: 0, sizeBytes: 12288, durableSizeBytes: 12288, allocatedBytes: 12288, blocks512: 24,
  atimeSec: 1790000000 + i, mtimeSec: 1790000000 + i, ctimeSec: 1790000000 + i, btimeSec: 1790000000 + i,
  atimeNsec: 123456789, mtimeNsec: 123456789, ctimeNsec: 123456789, btimeNsec: 123456789,
  hasAccessAcl: false, hasDefaultAcl: false, hasCapability: false, hasXattrs: false, hasOrigin: false, inline: undefined, shown: undefined
})
const WIDE = new Set(['birth', 'domain', 'parent', 'sizeBytes', 'durableSizeBytes', 'allocatedBytes', 'atimeSec', 'mtimeSec', 'ctimeSec', 'btimeSec'])
const fields = Object.entries(inodeAt(0)).filter(([name, value]) => value !== undefined && name !== 'ino' && name !== 'blocks512')
const proto = protobuf.parse(`syntax = "proto3"; message Inode { ${fields.map(([name, value], i) =>
  `${typeof value === 'boolean' ? 'bool' : WIDE.has(name) ? 'int64' : 'uint32'} ${name} = ${i + 1};`).join(' ')} bytes inline = ${fields.length + 1}; }`).root.lookupType('Inode')
const packr = new Packr({ structures: [] }) // field names once, not in each value

const codecs: { name: string, encode(inode: StoredInode): Uint8Array, decode(bytes: Uint8Array, i: number): object }[] = [
  { name: 'by hand', encode: encodeInode, decode: (bytes, i) => decodeInode(1000 + i, bytes) },
  { name: 'protobufjs', encode: (inode) => proto.encode(inode).finish(), decode: (bytes) => proto.decode(bytes) },
  { name: 'msgpackr', encode: (inode) => packr.pack(inode), decode: (bytes) => packr.unpack(bytes) }
]
const inodes = Array.from({ length: count }, (_, i) => inodeAt(i))
const encoded: Uint8Array[] = new Array(count)
const results = codecs.map(({ name }) => ({ name, encodeUs: [] as number[], decodeUs: [] as number[], bytes: 0 }))
let seen = 0
for (let round = 0; round < ROUNDS; round++) {
  codecs.forEach(({ encode, decode }, n) => {
    const r = results[n]
    let startMs = performance.now()
    for (let i = 0; i < count; i++) encoded[i] = encode(inodes[i])
    r.encodeUs.push(((performance.now() - startMs) * 1000) / count)
    startMs = performance.now()
    for (let i = 0; i < count; i++) seen += (decode(encoded[i], i) as { mode: number }).mode
    r.decodeUs.push(((performance.now() - startMs) * 1000) / count)
    r.bytes = encoded[0].length
  })
}
if (seen !== 0o100644 * count * ROUNDS * codecs.length) throw new Error('an inode was decoded to another one')

const lines = results.map((r) => ({ name: r.name, encodeUs: median(r.encodeUs), decodeUs: median(r.decodeUs), bytes: r.bytes }))
if (options.json) console.log(JSON.stringify({ count, node: process.versions.node, lines }, undefined, 1))
else {
  console.log(`${count} inodes, us for each, Node ${process.versions.node}\n${''.padEnd(12)}encode  decode  bytes   of protobufjs: encode, decode`)
  const peer = lines[1]
  for (const l of lines) console.log(`${l.name.padEnd(12)}${l.encodeUs.toFixed(3).padStart(6)}${l.decodeUs.toFixed(3).padStart(8)}${String(l.bytes).padStart(7)}   ${(l.encodeUs / peer.encodeUs).toFixed(2)}x, ${(l.decodeUs / peer.decodeUs).toFixed(2)}x`)
}
