/** Real NBD clients on a pool's volumes: libnbd's and QEMU's tools, fio, TLS, one writer and who takes over, kill -9. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { isAlive, makePlace, needsRoot, ogeePath, run, until } from './place.js'
import type { Place } from './place.js'

const MIB = 1024 ** 2
/** The system's Python has libnbd. */
const nbdsh = (...args: string[]): ReturnType<typeof run> => run('/usr/bin/python3', ['-m', 'nbd', ...args])

interface Served extends Place {
  readonly socket: string
  uri(name: string): string
  stop(): Promise<void>
}

async function serve(t: TestContext, sizes: Record<string, string>): Promise<Served> {
  const place = makePlace(t)
  await ok(place.ogee('format', place.pool, '--size', '2G'))
  for (const [name, size] of Object.entries(sizes)) await ok(place.ogee('volume', 'create', place.pool, name, '--size', size))
  await ok(place.ogee('nbd', place.pool))
  const socket = join(place.pool, 'nbd.sock')
  return {
    ...place, socket,
    uri: (name) => `nbd+unix:///${name}?socket=${socket}`,
    stop: async () => void await place.ogee('nbd', place.pool, '--stop')
  }
}

async function ok(running: ReturnType<typeof run>): Promise<string> {
  const { code, out, err } = await running
  assert.equal(code, 0, err + out)
  return out
}

type Run = readonly [start: number, length: number, data: boolean, nonZero: boolean]
/** Neighbours of one kind as one. */
const runs = (parts: readonly Run[]): Run[] => parts.reduce<Run[]>((out, part) => {
  const last = out.at(-1)
  if (last !== undefined && last[2] === part[2] && last[3] === part[3]) out[out.length - 1] = [last[0], last[1] + part[1], last[2], last[3]]
  else out.push(part)
  return out
}, [])

test('libnbd and QEMU find what they expect', async (t) => {
  const s = await serve(t, { v: '64M', w: '1M' })
  try {
    assert.equal(statSync(s.socket).mode & 0o777, 0o600)
    assert.match(await ok(s.ogee('status')), new RegExp(`${s.pool} .*serving NBD`))
    const list = JSON.parse(await ok(run('nbdinfo', ['--json', '--list', s.uri('')]))) as { exports: Record<string, unknown>[] }
    assert.deepEqual(list.exports.map((e) => [e['export-name'], e['export-size'], e.can_multi_conn, e.can_fua, e.can_trim, e.can_fast_zero, e.is_read_only, e.block_size_minimum, e.block_size_preferred]),
      [['v', 64 * MIB, true, true, true, true, false, 1, 4096], ['w', MIB, true, true, true, true, false, 1, 4096]])
    const image = Buffer.alloc(64 * MIB)
    randomBytes(5 * MIB + 512).copy(image, MIB)
    randomBytes(12345).copy(image, 40 * MIB + 777)
    const file = join(s.top, 'image')
    writeFileSync(file, image)
    await ok(run('nbdcopy', [file, s.uri('v')]))
    await ok(run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, s.uri('v')]))
    await ok(run('nbdcopy', [s.uri('v'), join(s.top, 'back')]))
    assert.ok(readFileSync(join(s.top, 'back')).equals(image))
    const map = JSON.parse(await ok(run('nbdinfo', ['--json', '--map', s.uri('v')]))) as { offset: number, length: number, type: number }[]
    assert.equal(map.reduce((sum, m) => sum + m.length, 0), 64 * MIB)
    assert.ok(map.some((m) => m.type === 0) && map.some((m) => m.type === 3))
    const mapped = JSON.parse(await ok(run('qemu-img', ['map', '--output=json', '-f', 'raw', s.uri('v')]))) as { start: number, length: number, data: boolean, zero: boolean }[]
    assert.deepEqual(mapped.map(({ start, length, data, zero }) => [start, length, data, !zero]), runs(map.map((m) => [m.offset, m.length, (m.type & 1) === 0, (m.type & 2) === 0])))
    await ok(run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', s.uri('v'), join(s.top, 'q')]))
    await ok(run('qemu-img', ['convert', '-n', '-f', 'qcow2', '-O', 'raw', join(s.top, 'q'), s.uri('v')]))
    await ok(run('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', file, s.uri('v')]))
    const io = await ok(run('qemu-io', ['-f', 'raw', '-c', 'write -P 5 1M 64k', '-c', 'read -P 5 1M 64k', '-c', 'write -P 6 1049088 512', '-c', 'read -P 6 1049088 512', '-c', 'discard 1M 32k', '-c', 'read -P 0 1M 32k',
      '-c', 'write -z 1064960 4k', '-c', 'read -P 0 1064960 4k', '-c', 'write -f -P 7 2M 4k', '-c', 'flush', s.uri('v')]))
    assert.doesNotMatch(io, /failed|Pattern verification/)
    const fio = await run('fio', ['--name=a', '--ioengine=nbd', `--uri=${s.uri('v')}`, '--rw=randrw', '--bs=512-32k', '--iodepth=64', '--size=32M', '--verify=crc32c', '--verify_fatal=1', '--fsync=32', '--output', join(s.top, 'fio')], { cwd: s.top })
    assert.equal(fio.code, 0, fio.err)
    // resized while a client is connected: who connects later sees it
    await ok(s.ogee('volume', 'resize', s.pool, 'w', '--size', '3M'))
    assert.equal((await ok(run('nbdinfo', ['--size', s.uri('w')]))).trim(), String(3 * MIB))
    await ok(s.ogee('umount', s.pool))
    await ok(s.ogee('fsck', s.pool))
  } finally {
    await s.stop()
  }
})

test('one writer: the second sees a read-only export; who is taken over gets EIO and changes nothing', async (t) => {
  const s = await serve(t, { v: '4M' })
  try {
    const script = `
import subprocess, sys
def other(uri, code):
    r = subprocess.run(['/usr/bin/python3', '-m', 'nbd', '-u', uri, '-c', code], capture_output=True, text=True)
    return (r.stdout + r.stderr).strip()
h.pwrite(b'a' * 4096, 0)
again = nbd.NBD(); again.connect_uri('${s.uri('v')}'); again.pwrite(b'b' * 4096, 4096)   # the same client: one writer
print(other('${s.uri('v')}', 'print(h.is_read_only(), bytes(h.pread(1, 0)), bytes(h.pread(1, 4096)))'))
print(other('${s.uri('v')}', 'h.set_strict_mode(0)\\ntry: h.pwrite(b"z"*512, 0)\\nexcept nbd.Error as e: print(e.errno)'))
subprocess.run(['${ogeePath}', 'nbd', '${s.pool}', 'v', '--takeover', '--listen', 'unix:${s.top}/second'], check=True, capture_output=True)
for x in (h, again):
    try: x.pwrite(b'c' * 4096, 0); print('written')
    except nbd.Error as e: print(e.errno)
print(bytes(h.pread(1, 0)))
print(other('nbd+unix:///v?socket=${s.top}/second', 'h.pwrite(b"d"*4096, 0); print(h.is_read_only())'))
print(bytes(h.pread(1, 0)))
`
    const { out, err } = await nbdsh('-u', s.uri('v'), '-c', script)
    assert.deepEqual(out.trim().split('\n'), ["True b'a' b'b'", 'EPERM', 'EIO', 'EIO', "b'a'", 'False', "b'd'"], err)
    assert.match(readFileSync(join(s.pool, 'daemon.log'), 'utf8'), /read-only for pid \d+ \(NBD\): Volume v is being written by pid \d+/)
  } finally {
    await s.stop()
  }
})

test("a stranger's bytes cost him his connection and nobody else anything; a thousand idle clients do no harm", async (t) => {
  const s = await serve(t, { v: '4M' })
  try {
    const idle: ReturnType<typeof connect>[] = []
    while (idle.length < 1000) {
      idle.push(...await Promise.all(Array.from({ length: 100 }, () => new Promise<ReturnType<typeof connect>>((resolve, reject) => {
        const socket = connect(s.socket, () => resolve(socket))
        socket.on('error', reject)
      }))))
    }
    const pid = await s.pid()
    const cpu = (): number => readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ').slice(11, 13).reduce((sum, n) => sum + Number(n), 0)
    const loud = connect(s.socket)
    const closed = new Promise<void>((resolve) => loud.on('close', () => resolve()))
    loud.on('error', () => undefined)
    loud.on('data', () => undefined)
    loud.write('GET / HTTP/1.1\r\n\r\n')
    await closed
    await ok(nbdsh('-u', s.uri('v'), '-c', 'h.pwrite(b"x"*512, 512)', '-c', 'assert h.pread(512, 512) == b"x"*512'))
    const before = cpu()
    await new Promise((resolve) => setTimeout(resolve, 1000))
    assert.ok(cpu() - before <= 30, `${cpu() - before} of 100 ticks for idle clients`)
    idle.forEach((socket) => socket.destroy())
    await until(async () => (JSON.parse(await ok(s.ogee('status', s.pool, '--json'))) as { nbd: { connections: number }[] }).nbd[0].connections === 0, 'all have gone')
    assert.match(readFileSync(join(s.pool, 'daemon.log'), 'utf8'), /closed the connection of pid \d+ \(NBD\): client flags/)
  } finally {
    await s.stop()
  }
})

test('TLS with certificates and with keys; who has none gets in nowhere', async (t) => {
  const s = await serve(t, { v: '4M' })
  const certificates = s.folder('tls')
  const keys = s.folder('psk')
  try {
    const openssl = (...args: string[]): Promise<string> => ok(run('openssl', args, { cwd: certificates }))
    const newKey = ['-newkey', 'rsa:2048', '-nodes']
    await openssl('req', '-x509', ...newKey, '-keyout', 'ca-key.pem', '-out', 'ca-cert.pem', '-subj', '/CN=test', '-days', '2')
    for (const [name, subject] of [['server', '/CN=localhost'], ['client', '/CN=me']]) {
      await openssl('req', ...newKey, '-keyout', `${name}-key.pem`, '-out', `${name}.csr`, '-subj', subject)
      await openssl('x509', '-req', '-in', `${name}.csr`, '-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial', '-out', `${name}-cert.pem`, '-days', '2')
    }
    await ok(s.ogee('nbd', s.pool, 'v', '--listen', `unix:${s.top}/tls.sock`, '--tls-dir', certificates))
    const work = ['-c', 'h.pwrite(b"x"*70000, 512); h.flush()', '-c', 'assert h.pread(70000, 512) == b"x"*70000; print(h.get_tls_negotiated())']
    const withTls = (folder: string): string[] => ['-c', `h.set_tls(nbd.TLS_REQUIRE); h.set_tls_certificates("${folder}"); h.set_tls_verify_peer(False); h.set_export_name("v"); h.connect_unix("${s.top}/tls.sock")`]
    assert.equal((await ok(nbdsh(...withTls(certificates), ...work))).trim(), 'True')
    const bare = s.folder('bare')
    writeFileSync(join(bare, 'ca-cert.pem'), readFileSync(join(certificates, 'ca-cert.pem')))
    assert.notEqual((await nbdsh(...withTls(bare), ...work)).code, 0, 'no certificate')
    assert.notEqual((await nbdsh('-u', `nbd+unix:///v?socket=${s.top}/tls.sock`, ...work)).code, 0, 'in the clear')

    writeFileSync(join(keys, 'keys.psk'), `alice:${createHash('sha256').update('alice').digest('hex')}\n`)
    writeFileSync(join(s.top, 'wrong.psk'), `alice:${createHash('sha256').update('bob').digest('hex')}\n`)
    await ok(s.ogee('nbd', s.pool, 'v', '--listen', `unix:${s.top}/psk.sock`, '--tls-dir', keys))
    const withKey = (file: string): string[] => ['-c', `h.set_tls(nbd.TLS_REQUIRE); h.set_tls_psk_file("${file}"); h.set_tls_username("alice"); h.set_export_name("v"); h.connect_unix("${s.top}/psk.sock")`]
    assert.equal((await ok(nbdsh(...withKey(join(keys, 'keys.psk')), ...work))).trim(), 'True')
    assert.notEqual((await nbdsh(...withKey(join(s.top, 'wrong.psk')), ...work)).code, 0, 'the wrong key')
    writeFileSync(join(certificates, 'keys.psk'), readFileSync(join(keys, 'keys.psk')))
    assert.match((await s.ogee('nbd', s.pool, '--tls-dir', certificates, '--listen', `unix:${s.top}/x`)).err, /neither would be demanded/)
    assert.match((await s.ogee('nbd', s.pool, '--tls-dir', s.folder('empty'), '--listen', `unix:${s.top}/x`)).err, /neither server-cert\.pem nor keys\.psk/)
  } finally {
    await s.stop()
  }
})

test('kill -9: every write that was answered is there, three times over', async (t) => {
  const s = await serve(t, { v: '32M' })
  try {
    // each 4 KiB block holds the number of its last write; the client tells each answered write on stdout
    const script = (first: number): string => `
import random, sys
random.seed(${first})
n = ${first}
while True:
    n += 1
    block = random.randrange(8192 - 40)
    blocks = random.choice([1, 1, 1, 3, 40])
    try: h.pwrite(n.to_bytes(8, 'little') * 512 * blocks, block * 4096, nbd.CMD_FLAG_FUA if n % 50 == 0 else 0)
    except nbd.Error: break
    print(n, block, blocks, flush=True)
`
    const want = new Map<number, number>()
    let lastTried = 0
    for (let round = 0; round < 3; round++) {
      const pid = await s.pid()
      const working = nbdsh('-u', s.uri('v'), '-c', script(round * 1_000_000))
      await new Promise((resolve) => setTimeout(resolve, 700))
      process.kill(pid, 'SIGKILL')
      const { out } = await working
      await until(() => !isAlive(pid), 'it is dead')
      const lines = out.trim().split('\n').map((line) => line.split(' ').map(Number))
      assert.ok(lines.length > 20, `${lines.length} writes`)
      for (const [n, block, blocks] of lines) for (let i = 0; i < blocks; i++) want.set(block + i, n)
      lastTried = lines[lines.length - 1][0] + 1 // on its way: there, in part, or not
      await ok(s.ogee('nbd', s.pool))
      await ok(run('nbdcopy', [s.uri('v'), join(s.top, 'image')]))
      const image = readFileSync(join(s.top, 'image'))
      for (const [block, n] of want) {
        const there = image.readUIntLE(block * 4096, 6)
        if (there === lastTried) { // and from now on it has to stay
          want.set(block, there)
          continue
        }
        assert.equal(there, n, `block ${block} in round ${round}`)
        assert.ok(image.subarray(block * 4096 + 8, block * 4096 + 4096).equals(image.subarray(block * 4096, block * 4096 + 4088)), `block ${block} is whole`)
      }
    }
    await s.stop()
    await ok(s.ogee('fsck', s.pool))
  } finally {
    await s.stop()
  }
})

test('with a mount: volumes made later are served, umount ends it all', async (t) => {
  const { pool, dir, ogee, top } = makePlace(t)
  mkdirSync(join(top, 'sockets'))
  await ok(ogee('mount', pool, dir, '--nbd', `unix:${top}/sockets/a`))
  await ok(ogee('volume', 'create', dir, 'later', '--size', '1M'))
  await ok(nbdsh('-u', `nbd+unix:///later?socket=${top}/sockets/a`, '-c', 'h.pwrite(b"x"*512, 0)'))
  assert.match((await ogee('volume', 'rm', dir, 'nobody')).err, /There is no volume nobody: .*\.\n$/)
  await ok(ogee('nbd', dir, 'later', '--listen', 'tcp:127.0.0.1:0', '--read-only'))
  const status = JSON.parse(await ok(ogee('status', dir, '--json'))) as { nbd: { addresses: string[], names: string[] | null, readOnly: boolean }[] }
  assert.deepEqual(status.nbd.map((n) => [n.names, n.readOnly]), [[null, false], [['later'], true]])
  assert.equal((await nbdsh('-u', `nbd://${status.nbd[1].addresses[0].slice(4)}/later`, '-c', 'print(h.is_read_only(), bytes(h.pread(1, 511)))')).out.trim(), "True b'x'")
  assert.match((await ogee('nbd', pool, '--listen', 'tcp:0.0.0.0:1')).err, /add --tls-dir, or --plain/)
  assert.match((await ogee('nbd', pool, 'nobody')).err, /There is no volume nobody/)
  await ok(ogee('umount', dir))
  await ok(ogee('mount', pool, dir, '-o', 'ro', '--nbd', `unix:${top}/sockets/a`))
  assert.equal((await nbdsh('-u', `nbd+unix:///later?socket=${top}/sockets/a`, '-c', 'print(h.is_read_only())')).out, 'True\n')
  await ok(ogee('umount', dir))
  assert.equal(statSync(join(top, 'sockets/a'), { throwIfNoEntry: false }), undefined)
})

test('attached: a block device with ext4 on it, refused while in use, whole after a kill -9 of the daemon', { skip: needsRoot }, async (t) => {
  const s = await serve(t, { v: '64M' })
  const dir = s.folder('ext4')
  const attach = async (): Promise<string> => (await ok(s.ogee('volume', 'attach', s.pool, 'v'))).trim()
  let device = await attach()
  t.after(() => run('losetup', ['-d', device]))
  try {
    await ok(run('mkfs.ext4', ['-q', device]))
    await ok(run('mount', [device, dir]))
    await ok(run('cp', ['-r', 'src', dir], { cwd: process.cwd() }))
    await ok(run('sync', ['-f', dir]))
    assert.match((await s.ogee('volume', 'detach', s.pool, 'v')).err, /is in use: unmount/)
    assert.match((await s.ogee('volume', 'attach', s.pool, 'v')).err, /attached already/)
    assert.match((await s.ogee('volume', 'rm', s.pool, 'v')).err, /is in use by pid/)
    const refusal = await s.ogee('nbd', s.pool, '--stop')
    assert.notEqual(refusal.code, null, 'it says no, and ends')
    assert.match(refusal.err, /attached: .*detach/)
    assert.notEqual((await run('dd', ['if=/dev/zero', `of=${s.pool}/volumes/v`, 'count=1'])).code, 0, 'one writer')
    await ok(s.ogee('volume', 'resize', s.pool, 'v', '--size', '80M'))
    assert.equal((await ok(run('blockdev', ['--getsize64', device]))).trim(), String(80 * MIB))

    const pid = await s.pid()
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(pid), 'it is dead')
    await run('umount', ['-l', dir])
    await ok(run('losetup', ['-d', device]))
    await ok(s.ogee('nbd', s.pool))
    device = await attach()
    await ok(run('mount', [device, dir])) // replays its journal
    await ok(run('diff', ['-r', 'src', join(dir, 'src')], { cwd: process.cwd() }))
    await ok(run('umount', [dir]))
    await ok(run('e2fsck', ['-fn', device]))
    await ok(s.ogee('volume', 'detach', s.pool, 'v'))
    assert.match((await s.ogee('volume', 'detach', s.pool, 'v')).err, /is not attached here/)
    await ok(s.ogee('nbd', s.pool, '--stop'))
    assert.equal(statSync(join(s.pool, 'volumes'), { throwIfNoEntry: false }), undefined)
    await ok(s.ogee('fsck', s.pool))
  } finally {
    await run('umount', ['-l', dir])
    await s.ogee('volume', 'detach', s.pool, 'v')
    await s.stop()
  }
})

test('an attached volume keeps the daemon when the last mount goes, and umount says so', { skip: needsRoot }, async (t) => {
  const { pool, dir, ogee, pid } = makePlace(t)
  await ok(ogee('mount', pool, dir))
  await ok(ogee('volume', 'create', pool, 'v', '--size', '1M'))
  const daemon = await pid()
  const device = (await ok(ogee('volume', 'attach', pool, 'v'))).trim()
  t.after(() => run('losetup', ['-d', device]))
  const { code, err } = await ogee('umount', dir)
  assert.equal(code, 0)
  assert.match(err, /volume v is attached\. It ends with `ogee volume detach .* v`/)
  assert.ok(isAlive(daemon))
  await ok(ogee('volume', 'detach', pool, 'v'))
  await until(() => !isAlive(daemon), 'the daemon is gone')
})
