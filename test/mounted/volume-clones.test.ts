/** Clones of volumes as NBD clients and commands see them: served at once, apart from their origin, flattened while they are used, stopped and killed. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isAlive, makePlace, ogeePath, ok, refused, run, until } from './place.js'

const MIB = 1024 ** 2
interface Info { readonly name: string, readonly origin: string | null, readonly lentBytes: number, readonly allocatedBytes: number }

test('a clone of a volume is served at once, and is its own', async (t) => {
  const { top, pool, ogee } = makePlace(t)
  const uri = (name: string): string => `nbd+unix:///${name}?socket=${join(pool, 'nbd.sock')}`
  const info = async (name: string): Promise<Info> => JSON.parse(ok(await ogee('volume', 'info', pool, name, '--json')).out) as Info
  ok(await ogee('format', pool, '--size', '2G'))
  ok(await ogee('volume', 'create', pool, 'gold', '--size', '64M'))
  ok(await ogee('nbd', pool))
  try {
    const image = Buffer.alloc(64 * MIB)
    randomBytes(40 * MIB + 512).copy(image, MIB)
    const file = join(top, 'image')
    writeFileSync(file, image)
    ok(await run('nbdcopy', [file, uri('gold')]))
    ok(await ogee('snapshot', 'create', pool, 'gold@a'))
    assert.match(ok(await ogee('clone', pool, 'gold@a', 'one')).out, /one is a clone of gold@a/)
    ok(await ogee('clone', pool, 'gold', 'two'))
    for (const name of ['one', 'two', 'gold@a']) ok(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, uri(name)]))
    const map = async (name: string): Promise<string> => (JSON.parse(ok(await run('nbdinfo', ['--json', '--map', uri(name)])).out) as { offset: number, length: number, type: number }[]).map((m) => `${m.offset}+${m.length}:${m.type}`).join(' ')
    assert.equal(await map('one'), await map('gold@a'))

    const io = ok(await run('qemu-io', ['-f', 'raw', '-c', 'write -P 5 2M 64k', '-c', 'read -P 5 2M 64k', '-c', 'write -P 6 3145728 512', '-c', 'discard 4M 1M', '-c', 'read -P 0 4M 1M', '-c', 'write -z 6M 8k', '-c', 'read -P 0 6M 8k', '-c', 'flush', uri('one')]))
    assert.doesNotMatch(io.out, /failed|Pattern verification/)
    ok(await run('qemu-io', ['-f', 'raw', '-c', 'write -P 9 2M 8M', '-c', 'flush', uri('gold')]))
    const one = Buffer.from(image).fill(5, 2 * MIB, 2 * MIB + 65536).fill(6, 3 * MIB, 3 * MIB + 512).fill(0, 4 * MIB, 5 * MIB).fill(0, 6 * MIB, 6 * MIB + 8192)
    const oneFile = join(top, 'one')
    writeFileSync(oneFile, one)
    ok(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', oneFile, uri('one')]))
    ok(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, uri('two')]))
    assert.match(ok(await ogee('volume', 'list', pool)).out, /one .*gold@a/)
    const held = await info('one')
    assert.ok(held.origin === 'gold@a' && held.allocatedBytes - held.lentBytes < MIB, JSON.stringify(held))

    ok(await ogee('snapshot', 'rm', pool, 'gold@a', '--wait'))
    refused(await ogee('volume', 'rm', pool, 'gold'), /one, two are clones of/)
    // the daemon dies
    const { pid } = JSON.parse(ok(await ogee('status', pool, '--json')).out) as { pid: number }
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(pid), 'the daemon is gone')
    ok(await ogee('nbd', pool))
    ok(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', oneFile, uri('one')]))

    // flattened while it is written, stopped, and gone on with
    const flattening = spawn(ogeePath, ['volume', 'flatten', pool, 'one'], { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = new Promise<number | null>((resolve) => flattening.on('exit', resolve))
    const fio = await run('fio', ['--name=a', '--ioengine=nbd', `--uri=${uri('one')}`, '--rw=randwrite', '--bs=4k', '--iodepth=16', '--offset=48M', '--size=8M', '--verify=crc32c', '--verify_fatal=1', '--output', join(top, 'fio')], { cwd: top })
    assert.equal(fio.code, 0, fio.err)
    flattening.kill('SIGINT')
    await ended
    ok(await ogee('volume', 'flatten', pool, 'one'))
    const flat = await info('one')
    assert.deepEqual([flat.origin, flat.lentBytes], [null, 0])
    ok(await ogee('clone', pool, 'two', 'three', '--flatten'))
    ok(await ogee('volume', 'rm', pool, 'two'))
    ok(await ogee('volume', 'rm', pool, 'gold'))
    ok(await run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, uri('three')]))
    ok(await run('nbdcopy', [uri('one'), join(top, 'back')]))
    assert.ok(readFileSync(join(top, 'back')).subarray(0, 48 * MIB).equals(one.subarray(0, 48 * MIB)))
  } finally {
    await ogee('nbd', pool, '--stop')
  }
  ok(await ogee('fsck', pool))
  // of a pool that nobody serves
  ok(await ogee('clone', pool, 'three', 'four'))
  ok(await ogee('volume', 'flatten', pool, 'four'))
  assert.match(ok(await ogee('volume', 'flatten', pool, 'four')).out, /needs no other/)
  ok(await ogee('volume', 'rm', pool, 'three'))
  ok(await ogee('fsck', pool))
})
