/**
 * Whole pools with rows that are sound one by one (right checksums) and cannot be so together, as a user meets them: what fsck says and
 * repairs, what a mount answers before that (right bytes or an error, never a hang, and all else goes on), and that it is clean in the end.
 */
import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { TestContext } from 'node:test'
import { decodeExtent, encodeExtent, encodePending, encodeTentative, extentKey, pendingKey, rowsFrom, tentativeKey } from '../../src/data/rows.js'
import { openLmdb } from '../../src/engine/index.js'
import type { Tx } from '../../src/engine/index.js'
import { nameHash } from '../../src/meta/hash.js'
import { decodeInode, encodeInode } from '../../src/meta/inode.js'
import type { StoredInode } from '../../src/meta/inode.js'
import { dentryKey, inodeKey } from '../../src/meta/keys.js'
import { encodeDentry } from '../../src/meta/rows.js'
import { readSuperblock } from '../../src/pool/index.js'
import { rootContext as ctx, seededRandom, systemClock } from '../../src/sys/index.js'
import { makePlace, ok, run } from './place.js'
import type { Place, Ran } from './place.js'

const S_IFREG = 0o100000
const FILES = ['one', 'two', 'small', 'sub/deep'] as const
const sh = (script: string): Promise<Ran> => run('timeout', ['20', 'bash', '-c', script])

interface Made {
  readonly pool: string
  /** Inode numbers and digests. */
  readonly ino: Record<string, number>
  readonly sum: Record<string, string>
}
let made: Made
let release: () => void = () => undefined

/** The place of all tests of this file: its pool is what each one copies. */
before(async () => {
  const place: Place = makePlace({ after: (fn: () => void) => { release = fn } } as unknown as TestContext)
  const { pool, dir, ogee } = place
  ok(await ogee('format', pool, '--size', '128M'))
  ok(await ogee('mount', pool, dir))
  ok(await sh(`cd ${dir}; mkdir sub; for f in one two; do head -c 300000 /dev/urandom > $f; done; head -c 9000 /dev/urandom > sub/deep; echo small > small`))
  const ino: Record<string, number> = { root: 1 }
  const sum: Record<string, string> = {}
  for (const name of FILES) {
    ino[name] = statSync(join(dir, name)).ino
    sum[name] = ok(await sh(`sha256sum < ${dir}/${name}`)).out
  }
  ok(await ogee('umount', dir))
  made = { pool, ino, sum }
})
after(() => release())

async function damage(folder: string, does: (tx: Tx) => unknown): Promise<void> {
  const engine = await openLmdb({ folder, clock: systemClock, random: seededRandom(9) })
  await engine.transact(ctx, async (tx) => void (await does(tx)))
  await engine.close()
}
const extentOf = async (tx: Tx, ino: number): Promise<ReturnType<typeof decodeExtent>> => {
  const [{ key, row }] = await tx.scan({ from: rowsFrom('E', ino), to: rowsFrom('E', ino + 1), limit: 1 })
  return decodeExtent(key, row.bytes)
}
const putInode = async (tx: Tx, ino: number, change: Partial<StoredInode>): Promise<void> =>
  tx.put(inodeKey(ino), encodeInode({ ...decodeInode(ino, (await tx.get(inodeKey(ino)))!.bytes), ...change }))
const pending = (off: number, bytes: Buffer): Uint8Array => encodePending({ off, len: bytes.length, birth: 1, bytes, wholeRow: false, start: -1, borrowed: false, stamp: 0 })

interface Case {
  readonly title: string
  readonly does: (tx: Tx, ino: Made['ino']) => unknown
  readonly finds: readonly RegExp[]
  /** Files that may show an error until they are removed. Without: a repair is enough. */
  readonly spoilt?: readonly string[]
  /** Files that may show anything: nobody can know. */
  readonly unsure?: readonly string[]
}

const cases: readonly Case[] = [
  { title: 'extents that overlap in a file, lie beyond the space, have half a unit or none', spoilt: ['two', 'sub/deep', 'one'], finds: [/overlaps the one before it/, /no sound range of the space: \d{13}/, /no sound range of the space: \d+\+0/], does: async (tx, i) => {
    tx.put(extentKey(i.two, 4096), encodeExtent({ ...await extentOf(tx, i.two), off: 4096, len: 700, start: 64 * 2 ** 20 }))
    tx.put(extentKey(i['sub/deep'], 0), encodeExtent({ ...await extentOf(tx, i['sub/deep']), start: 2 ** 40 }))
    tx.put(extentKey(i.one, 2 ** 20), encodeExtent({ ...await extentOf(tx, i.one), off: 2 ** 20, len: 0 }))
  } },
  { title: 'an extent that cannot be read, a tentative range beyond the space', spoilt: ['two', 'one'], finds: [/has an extent that cannot be read/, /a tentative range at 0 that is no sound range/], does: (tx, i) => {
    tx.put(extentKey(i.two, 0), Buffer.from([9, 9, 9]))
    tx.put(pendingKey(i.one, 0), encodePending({ off: 0, len: 4096, birth: 1, bytes: undefined, wholeRow: false, start: 2 ** 41, borrowed: false, stamp: 1 }))
    tx.put(tentativeKey(i.one), encodeTentative(1))
  } },
  { title: 'two files with the same units', unsure: ['sub/deep', 'two'], finds: [/belong to two extents/], does: async (tx, i) => tx.put(extentKey(i['sub/deep'], 0), encodeExtent({ ...await extentOf(tx, i['sub/deep']), start: (await extentOf(tx, i.two)).start + 8192 })) },
  { title: 'pending bytes beyond the end, a name that leads nowhere, counts and sizes that are wrong', finds: [/says that it has 12288 bytes allocated, and has 20480/, /names inode 7777/, /has 9 links/, /has a durable size/], does: async (tx, i) => {
    tx.put(pendingKey(i['sub/deep'], 100 * 4096), pending(100 * 4096, Buffer.alloc(5000, 'p')))
    const at = { high: 0, low: 0 }
    nameHash(readSuperblock(made.pool).nameKey)('nowhere', at)
    tx.put(dentryKey(1, at.high, at.low), encodeDentry(1, 7777, S_IFREG, 'nowhere'))
    await putInode(tx, i.two, { nlink: 9, allocatedBytes: 5, durableSizeBytes: 2 ** 50 })
  } }
]

for (const { title, does, finds, spoilt = [], unsure = [] } of cases) {
  test(title, { timeout: 120_000 }, async (t) => {
    const { pool, dir, ogee, pid } = makePlace(t)
    ok(await run('cp', ['-a', '--sparse=always', made.pool, pool]))
    await damage(pool, (tx) => does(tx, made.ino))
    const told = async (...args: string[]): Promise<{ code: number | null, findings: string }> => {
      const { code, out, err } = await ogee('fsck', pool, '--json', ...args)
      assert.equal(err, '')
      const json = JSON.parse(out) as { exitCode: number, clean: boolean, findings: { what: string }[] }
      assert.deepEqual([json.exitCode, json.clean], [code, json.findings.length === 0])
      return { code, findings: json.findings.map((f) => f.what).join('\n') }
    }
    const found = await told()
    assert.equal(found.code, 4)
    for (const one of finds) assert.match(found.findings, one)

    /** Right, or an error where one is to be expected. */
    const readsRight = async (): Promise<void> => {
      for (const name of FILES) {
        const { code, out, err } = await sh(`sha256sum < ${dir}/${name}`)
        assert.notEqual(code, 124, `${name} hangs`)
        if (code !== 0) assert.ok([...spoilt, ...unsure].includes(name) && /Input\/output error/.test(err), `${name}: ${err}`)
        else if (!unsure.includes(name)) assert.equal(out, made.sum[name], name)
      }
    }
    // as it is: a mount serves all the rest, and is left in order
    ok(await ogee('mount', pool, dir))
    await readsRight()
    assert.notEqual((await sh(`ls -l ${dir} ${dir}/sub; stat ${dir}/nowhere`)).code, 124)
    ok(await sh(`echo new > ${dir}/new; sync ${dir}/new; rm ${dir}/new`))
    assert.ok(await pid() > 0)
    ok(await ogee('umount', dir))

    const repaired = await told('--repair')
    assert.equal(repaired.code, spoilt.length === 0 ? 1 : (repaired.code ?? 0) & 1 ? 5 : 4)
    const then = await told()
    assert.deepEqual([then.code, then.findings === ''], spoilt.length === 0 ? [0, true] : [4, false], then.findings)
    ok(await ogee('mount', pool, dir))
    await readsRight()
    // whoever is spoilt can be removed, and so can all else; then nothing is left to find
    ok(await sh(`cd ${dir}; rm ${spoilt.join(' ')} ${spoilt.length === 0 ? '-r sub one two small' : ''}`))
    ok(await sh(`head -c 20000000 /dev/zero > ${dir}/new; sync ${dir}/new; sha256sum ${dir}/new > /dev/null`))
    ok(await ogee('umount', dir))
    if (spoilt.length > 0) assert.equal((await told('--repair')).code, 1)
    const last = await told()
    assert.deepEqual([last.code, last.findings], [0, ''])
    assert.doesNotMatch(readFileSync(join(pool, 'daemon.log'), 'utf8'), /TypeError|RangeError/)
    ok(await ogee('mount', pool, dir))
    const used = (JSON.parse(ok(await ogee('df', pool, '--json')).out) as { usedBytes: number }[])[0].usedBytes
    if (spoilt.length === 0) assert.equal(used, Math.ceil(20000000 / 4096) * 4096)
  })
}

test('a pool that lost its superblock is told so, gets it back, and mounts', { timeout: 60_000 }, async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await run('cp', ['-a', '--sparse=always', made.pool, pool]))
  const was = readFileSync(join(pool, 'superblock'))
  rmSync(join(pool, 'superblock'))
  for (const args of [['mount', pool, dir], ['status', pool], ['df', pool], ['grow', pool, '--size', '1G'], ['sync', pool]]) {
    const { code, err } = await ogee(...args)
    assert.notEqual(code, 0, args.join(' '))
    assert.match(err, /^ogee: Pool \S+ has lost its superblock: write it anew from its second copy with ogee fsck \S+ --repair\.\n$/, args.join(' '))
  }
  const looked = await ogee('fsck', pool)
  assert.deepEqual([looked.code, /^The superblock is missing\n/.test(looked.out)], [4, true], looked.out)
  const repaired = await ogee('fsck', pool, '--repair')
  assert.deepEqual([repaired.code, /written anew, from its second copy/.test(repaired.out)], [1, true], repaired.out)
  assert.ok(readFileSync(join(pool, 'superblock')).equals(was))
  assert.match(ok(await ogee('fsck', pool)).out, /: clean\./)
  ok(await ogee('mount', pool, dir))
  assert.equal(ok(await sh(`sha256sum < ${dir}/two`)).out, made.sum.two)
})
