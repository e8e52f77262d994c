/** How full a pool is, by df(1), statvfs, du and ogee df; growth while it is in use; fsck while it is in use. */
import assert from 'node:assert/strict'
import { readlinkSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { makePlace, needsRoot, run, until } from './place.js'
import type { Ran } from './place.js'

const MIB = 1024 ** 2
const ok = (ran: Ran): Ran => {
  assert.equal(ran.code, 0, `${ran.err}${ran.out}`)
  return ran
}
const sh = (script: string): Promise<Ran> => run('sh', ['-c', script])
interface Df { readonly pool: string; readonly sizeBytes: number; readonly usedBytes: number; readonly freeBytes: number; readonly inodes: number; readonly mounts: string[]; readonly limitedByDisk: boolean }

test('a full pool, more space while it is mounted, and what df, du and statvfs say of it', { timeout: 120_000 }, async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '100M'))
  const df = async (): Promise<Df> => (JSON.parse(ok(await ogee('df', pool, '--json')).out) as Df[])[0]
  const empty = await df()
  assert.deepEqual([empty.sizeBytes, empty.usedBytes, empty.inodes, empty.mounts], [100 * MIB, 0, 1, []])
  ok(await ogee('mount', pool, dir))
  ok(await sh(`head -c ${80 * MIB} /dev/zero > ${dir}/a`))
  assert.match((await sh(`head -c ${40 * MIB} /dev/zero > ${dir}/b`)).err, /No space left/)
  ok(await sh(`rm ${dir}/b`))
  assert.match(ok(await ogee('grow', dir, '--size', '300M')).out, /has 300 MiB now \(before: 100 MiB\)/)
  ok(await sh(`head -c ${150 * MIB} /dev/zero > ${dir}/b`))
  ok(await ogee('sync', dir))
  const s = statfsSync(dir)
  assert.equal(s.blocks * s.bsize, 300 * MIB)
  assert.equal((s.blocks - s.bfree) * s.bsize, 230 * MIB, 'what is used is the pool\'s own')
  assert.equal((s.bfree - s.bavail) * s.bsize, MIB, 'kept for bytes that were promised a place')
  const now = await df()
  assert.deepEqual([now.sizeBytes, now.usedBytes, now.freeBytes, now.inodes, now.mounts, now.limitedByDisk], [300 * MIB, 230 * MIB, 70 * MIB, 3, [dir], false])
  assert.equal(statSync(join(dir, 'b')).blocks * 512, 150 * MIB)
  assert.equal(ok(await sh(`du -sm ${dir}`)).out.split('\t')[0], '230')
  for (const [size, said] of [['100M', /cannot shrink/], ['300M', /already/], ['2P', /at most 1 PiB/], ['+x', /no size/]] as const) {
    const refused = await ogee('grow', dir, '--size', size)
    assert.deepEqual([refused.code, said.test(refused.err)], [2, true], refused.err)
  }
  ok(await ogee('umount', dir))
  assert.match(ok(await ogee('grow', pool, '--size', '+100M')).out, /has 400 MiB now/)
  const closed = await df()
  assert.deepEqual([closed.sizeBytes, closed.usedBytes, closed.freeBytes, closed.mounts], [400 * MIB, 230 * MIB, 170 * MIB, []])
  assert.match(ok(await ogee('fsck', pool)).out, /: clean\. 3 inodes, 1 of them folders, 230 MiB/)
  ok(await ogee('mount', pool, dir))
  assert.equal(statfsSync(dir).blocks * statfsSync(dir).bsize, 400 * MIB)
  assert.match(ok(await ogee('df')).out, new RegExp(`${pool} +400 MiB +230 MiB +170 MiB +58% +3 +${dir}`))
})

test('growth under load: a pool that is nearly full grows while files are written, and each is whole', { timeout: 120_000 }, async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '64M'))
  ok(await ogee('mount', pool, dir))
  const writing = sh(`i=0; while [ ! -e ${top}/stop ]; do head -c 2000000 /dev/urandom > ${top}/source; cp ${top}/source ${dir}/f$i 2> /dev/null && sha256sum < ${top}/source > ${top}/sum$i && i=$((i+1)); done; rm -f ${dir}/f$i
    j=0; while [ $j -lt $i ]; do sha256sum < ${dir}/f$j | cmp - ${top}/sum$j || exit 9; j=$((j+1)); done; echo $i`)
  const freeBytes = async (): Promise<number> => (JSON.parse(ok(await ogee('df', pool, '--json')).out) as Df[])[0].freeBytes
  for (let n = 0; n < 3; n++) {
    await until(async () => await freeBytes() < 20 * MIB, 'it is nearly full', 40_000)
    ok(await ogee('grow', dir, '--size', '+64M'))
  }
  ok(await sh(`touch ${top}/stop`))
  assert.ok(Number(ok(await writing).out) > 60, 'more files than fit before')
  ok(await ogee('umount', dir))
  assert.match(ok(await ogee('fsck', pool)).out, /: clean\./)
})

test('all that df says is available can be had', { timeout: 60_000 }, async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '100M'))
  ok(await ogee('mount', pool, dir))
  ok(await sh(`fallocate -l $(( $(stat -f -c '%a' ${dir}) * 4096 )) ${dir}/c`))
})

test('a preallocated pool holds its disk space from the start', { timeout: 60_000 }, async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await ogee('format', pool, '--size', '128M', '--preallocate'))
  assert.ok(statSync(join(pool, 'space')).blocks * 512 >= 128 * MIB, 'allocated')
  ok(await ogee('mount', pool, dir))
  ok(await sh(`head -c ${60 * MIB} /dev/zero > ${dir}/a && rm ${dir}/a`))
  ok(await ogee('umount', dir))
  assert.ok(statSync(join(pool, 'space')).blocks * 512 >= 128 * MIB, 'still allocated')
  const refused = await ogee('format', join(top, 'large'), '--size', '100T', '--preallocate')
  assert.deepEqual([refused.code, /a preallocated pool of that size needs/.test(refused.err)], [1, true], refused.err)
})

test('a block device as space', { timeout: 120_000, skip: needsRoot }, async (t) => {
  const { top, pool, dir, ogee } = makePlace(t)
  ok(await sh(`truncate -s 200M ${top}/image`))
  const loop = await run('losetup', ['-f', '--show', `${top}/image`])
  if (loop.code !== 0) return t.skip('no loop devices here')
  const device = loop.out.trim()
  t.after(() => run('losetup', ['-d', device]))
  assert.deepEqual([(await ogee('format', pool, '--device', `${top}/image`)).code, (await ogee('format', pool, '--device', device, '--preallocate')).code], [2, 2])
  assert.equal((await ogee('format', pool, '--device', device, '--size', '1G')).code, 1)
  ok(await ogee('format', pool, '--device', device))
  assert.equal(readlinkSync(join(pool, 'space')), device)
  ok(await ogee('mount', pool, dir))
  assert.match((await ogee('format', join(top, 'other'), '--device', device)).err, /is in use/)
  assert.equal(statfsSync(dir).blocks * statfsSync(dir).bsize, 196 * MIB)
  ok(await sh(`head -c ${100 * MIB} /dev/urandom > ${dir}/a; cp ${dir}/a ${top}/a`))
  assert.match((await ogee('grow', dir, '--size', '300M')).err, /enlarge it first/)
  ok(await sh(`truncate -s 400M ${top}/image && losetup -c ${device}`))
  ok(await ogee('grow', dir, '--size', '300M'))
  ok(await sh(`head -c ${150 * MIB} /dev/zero > ${dir}/b; rm ${dir}/b`))
  assert.match(ok(await ogee('fsck', dir)).out, /clean/)
  ok(await ogee('umount', dir))
  assert.match((await ogee('format', join(top, 'other'), '--device', device)).err, /holds something: wipe it first/)
  assert.match(ok(await ogee('fsck', pool)).out, /clean/)
  ok(await ogee('mount', pool, dir))
  ok(await sh(`cmp ${dir}/a ${top}/a`))
  ok(await ogee('umount', dir))
})

test('the disk below has less room than the pool', { timeout: 60_000, skip: needsRoot }, async (t) => {
  const { pool, folder, ogee, dir } = makePlace(t)
  const disk = folder('disk')
  ok(await run('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'none', disk]))
  ok(await ogee('mount', join(disk, 'p'), dir))
  ok(await ogee('format', pool))
  ok(await sh(`head -c ${50 * MIB} /dev/urandom > ${dir}/a; sync`))
  ok(await ogee('sync', dir))
  const s = statfsSync(dir)
  assert.equal((s.blocks - s.bfree) * s.bsize, 50 * MIB)
  assert.ok(s.bavail * s.bsize < 400 * MIB, 'available is what the disk has')
  const shown = ok(await ogee('df', dir)).out
  ok(await run('umount', [dir]))
  if (/400 MiB/.test(shown)) return // a pool made on a small disk is no larger than that
  assert.match(shown, /the disk below has room for/)
})

test('fsck of a pool in use finds nothing wrong, and changes nothing', { timeout: 120_000 }, async (t) => {
  const { pool, dir, ogee } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  const busy = `i=0; while [ ! -e ${dir}/stop ]; do mkdir -p ${dir}/d$i; for j in 1 2 3 4 5 6 7 8; do head -c $((j * 9000)) /dev/zero > ${dir}/d$i/f$j; ln ${dir}/d$i/f$j ${dir}/d$i/l$j; done; mv ${dir}/d$i/f1 ${dir}/moved; truncate -s 5 ${dir}/d$i/f2; setfattr -n user.a -v b ${dir}/d$i/f3 2>/dev/null; rm -r ${dir}/d$(( (i + 3) % 6 )) 2>/dev/null; i=$(( (i + 1) % 6 )); done; exit 0`
  const writing = sh(busy)
  for (let n = 0; n < 8; n++) {
    const looked = JSON.parse(ok(await ogee('fsck', n % 2 === 0 ? pool : dir, '--json')).out) as { clean: boolean, state: string, findings: unknown[] }
    assert.deepEqual([looked.clean, looked.state, looked.findings], [true, 'mounted', []])
  }
  ok(await sh(`touch ${dir}/stop`))
  ok(await writing)
  const refused = await ogee('fsck', pool, '--repair')
  assert.deepEqual([refused.code, /is mounted by pid \d+: unmount it first \(ogee umount \S+\)/.test(refused.err)], [8, true], refused.err)
  ok(await ogee('umount', dir))
  assert.match(ok(await ogee('fsck', pool)).out, /: clean\./)
  assert.equal((await ogee('fsck')).code, 16)
  assert.equal((await ogee('fsck', pool, '--bogus')).code, 16)
  assert.equal((await ogee('fsck', join(pool, 'nothing'))).code, 8)
  const json = JSON.parse(ok(await ogee('fsck', pool, '--json')).out) as object
  assert.deepEqual(Object.keys(json), ['pool', 'state', 'clean', 'exitCode', 'inodes', 'directories', 'bytes', 'found', 'replayedRecords', 'unsyncedRecords', 'corrected', 'left', 'rounds', 'seconds', 'findings', 'actions'])
})

test('fsck after kill -9 finds nothing wrong, and a repair needs do nothing', { timeout: 120_000 }, async (t) => {
  const { pool, dir, ogee, pid } = makePlace(t)
  ok(await ogee('mount', pool, dir))
  ok(await sh(`for i in 1 2 3 4 5 6 7 8 9; do head -c $((i * 50000)) /dev/urandom > ${dir}/f$i; done; rm ${dir}/f3; head -c 3000000 /dev/zero > ${dir}/big`))
  process.kill(await pid(), 'SIGKILL')
  await sh(`umount -l ${dir}`)
  assert.match(ok(await ogee('fsck', pool)).out, /: clean\./)
  assert.match(ok(await ogee('fsck', pool, '--repair')).out, /: clean\./)
  ok(await ogee('mount', pool, dir))
  assert.equal(ok(await sh(`cat ${dir}/f9 | wc -c`)).out.trim(), '450000')
})
