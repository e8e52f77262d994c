/** The channel and the mount with a real kernel, over a tree in memory. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { abortConnection, bindMount, isMountFlag, mountFuse, remountBind, setReadAhead,
  unmount } from '../../src/fuse/index.js'
import { ERRNO, offLoop, parseMountinfo, readMounts, topMountAt } from '../../src/sys/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { delayed, MemoryVfs } from './memory-vfs.js'
import { cannotMount, sh, withMount } from './mounted.js'

const skip = cannotMount
const timeout = 60_000
const HOUR_MS = 3_600_000
const forAnHour = { shown: { attrValidMs: HOUR_MS, entryValidMs: HOUR_MS, uid: undefined, gid: undefined, umask: undefined }, negativeValidMs: HOUR_MS }

const wrappers: [string, (vfs: MemoryVfs) => Vfs][] = [
  ['at once', (vfs) => vfs],
  ['after some promise jobs', (vfs) => delayed(vfs, async () => { for (let i = 0; i < 8; i++) await null })],
  ['after a trip off the loop', (vfs) => delayed(vfs, async () => void await offLoop.lseek(-1, 0, 0))]
]

describe('mounted', { skip, timeout }, () => {
  for (const [how, wrap] of wrappers) test(`programs work on a tree that answers ${how}`, async () => {
    const memory = new MemoryVfs()
    await withMount(wrap(memory), async ({ dir }) => {
      await sh(`cd ${dir}; mkdir -p a/b; echo hello > a/b/f; cat a/b/f | grep -q hello; ln -s f a/b/l; ln a/b/f a/b/h
        test "$(stat -c %h a/b/f)" = 2; mv a/b/h a/h; cp -r /etc/ssl a/ssl 2>/dev/null || true; echo more >> a/b/f
        test "$(cat a/b/l)" = $'hello\\nmore'; rm a/h; mkfifo p; test -p p; rm p`)
      await sh(`head -c 3000000 /dev/urandom > ${dir}/big; cp ${dir}/big ${dir}/copy; cmp ${dir}/big ${dir}/copy
        dd if=${dir}/big of=${dir}/direct bs=1M iflag=direct oflag=direct status=none; cmp ${dir}/big ${dir}/direct; rm ${dir}/copy`)
      assert.equal((await sh(`cd ${dir}; for i in $(seq 300); do echo $i > n$i; done; ls | wc -l`)).trim(), '303')
      assert.equal((await sh(`cd ${dir}; python3 -c '
import os
d = b"\\xff\\xfe name"
os.mkdir(d); open(d + b"/\\x01", "wb").write(b"x")
print(os.listdir(d))'`)).trim(), "[b'\\x01']")
      await sh(`! ls ${dir}/none 2>/dev/null; ! rmdir ${dir}/a 2>/dev/null; df ${dir} | grep -q memory`)
    })
    assert.equal(memory.handles.size, 0)
    assert.deepEqual([...memory.inodes.values()].filter((i) => i.nlink === 0), [], 'what was removed was forgotten')
  })

  test('what /proc/mounts shows, and binds with flags of their own', async () => {
    await withMount(new MemoryVfs(), async ({ dir, device }) => {
      const shown = topMountAt(readMounts(), dir)!
      assert.deepEqual([shown.type, shown.source, shown.device], ['fuse.ogee', 'a,b c', device])
      assert.ok(shown.options.includes('noatime') && shown.options.includes('nodev') && !shown.options.includes('nosuid'))
      assert.ok(shown.superOptions.includes('allow_other') && shown.superOptions.includes('default_permissions'))
      assert.equal(setReadAhead(device, 1024), true)
      const second = mkdtempSync(path.join(tmpdir(), 'ogee-bind-'))
      try {
        await bindMount(dir, second, ['ro', 'nodev'])
        await sh(`echo x > ${dir}/f; cat ${second}/f; ! touch ${second}/g 2>/dev/null`)
        await remountBind(second, ['nodev'])
        await sh(`touch ${second}/g; ls ${dir}/g`)
        assert.equal(topMountAt(readMounts(), second)!.device, device)
      } finally {
        await unmount(second, 'lazy')
        rmdirSync(second)
      }
    }, {}, { source: 'a,b c', flags: ['nodev', 'ro', 'rw', 'noatime'] })
  })

  test('an unmount while a file is in use: EBUSY, or lazy and the user goes on', async () => {
    const memory = new MemoryVfs()
    await withMount(memory, async ({ dir, connection }) => {
      const reader = sh(`exec 3>${dir}/f; echo one >&3; sleep 0.6; echo two >&3`)
      await sh(`while ! test -s ${dir}/f; do sleep 0.05; done`)
      await assert.rejects(unmount(dir), { code: 'EBUSY' })
      await unmount(dir, 'lazy')
      await reader
      await connection.done
    })
    assert.equal([...memory.inodes.values()].find((i) => i.size > 0)!.data.toString('utf8', 0, 8), 'one\ntwo\n')
    assert.equal(memory.handles.size, 0)
  })

  test('an abort with requests in flight: they fail, and everything is let go', async () => {
    const memory = new MemoryVfs()
    let letGo = (): void => {}
    const stuck = new Promise<void>((resolve) => { letGo = resolve })
    let reads = 0
    const vfs = new Proxy(memory, { get: (target, name) => name !== 'read' ? (Reflect.get(target, name) as () => void).bind?.(target) ?? Reflect.get(target, name)
      : async (...args: Parameters<MemoryVfs['read']>) => {
        reads++
        await stuck
        return target.read(...args)
      } }) as Vfs
    await withMount(vfs, async ({ dir, device, connection }) => {
      await sh(`echo data > ${dir}/f; ln ${dir}/f ${dir}/g`)
      const reading = sh(`dd if=${dir}/f of=/dev/null iflag=direct bs=4096 2>&1`).then(() => 'read', (e: Error & { stdout: string }) => e.stdout)
      while (reads === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      abortConnection(device)
      const said = await reading
      letGo()
      assert.match(said, /abort|not connected/)
      await connection.done
    })
    assert.equal(memory.handles.size, 0)
  })

  test('notifications make the kernel forget what it may believe for an hour', async () => {
    const memory = new MemoryVfs()
    await withMount(memory, async ({ dir, connection }) => {
      const { notifier } = connection
      const ino = Number(await sh(`echo abc > ${dir}/f; mkdir ${dir}/d; stat -c %i ${dir}/f`))
      const size = async (): Promise<number> => Number(await sh(`stat -c %s ${dir}/f`))
      const has = async (name: string): Promise<boolean> => sh(`stat ${dir}/${name}`).then(() => true, () => false)
      assert.deepEqual([await size(), await sh(`cat ${dir}/f`)], [4, 'abc\n'])
      memory.inodes.get(ino)!.size = 2
      memory.inodes.get(ino)!.data.write('XY')
      assert.equal(await size(), 4)
      assert.equal(await notifier.invalInode(ino, -1, 0), 0)
      assert.deepEqual([await size(), await sh(`cat ${dir}/f`)], [2, 'ab'])
      assert.equal(await notifier.invalInode(ino, 0, 0), 0)
      assert.equal(await sh(`cat ${dir}/f`), 'XY')

      assert.equal(await has('later'), false)
      const root = memory.inodes.get(1)!
      root.entries.set('later', ino)
      assert.equal(await has('later'), false)
      assert.equal(await notifier.invalEntry(1, 'later', 'drop'), 0)
      assert.equal(await has('later'), true)
      root.entries.delete('later')
      assert.equal(await has('later'), true)
      assert.equal(await notifier.deleted(1, ino, 'later'), 0)
      assert.equal(await has('later'), false)
      assert.equal(await notifier.invalEntry(1, 'nobody knows', 'expire'), -ERRNO.ENOENT)
      assert.equal(await notifier.invalInode(4711, 0, 0), -ERRNO.ENOENT)
    }, forAnHour)
  })

  test('notifications while the kernel waits for us do not stop anything', async () => {
    const memory = new MemoryVfs()
    await withMount(memory, async ({ dir, connection }) => {
      const working = sh(`cd ${dir}; mkdir w; for i in $(seq 200); do echo $i > w/f$i; mv w/f$i w/g$i; rm w/g$i; done`)
      let busy = true
      void working.finally(() => { busy = false })
      while (busy) {
        const all: Promise<number>[] = []
        for (const [ino, inode] of memory.inodes) {
          all.push(connection.notifier.invalInode(ino, 0, 0))
          for (const name of inode.entries.keys()) all.push(connection.notifier.invalEntry(ino, name, 'drop'))
        }
        for (let i = 1; i < 200; i += 10) all.push(connection.notifier.invalEntry(2, `f${i}`, 'drop'))
        await Promise.all(all)
      }
      await working
    }, forAnHour)
  })

  test('no more requests are taken than may be in flight; the rest waits in the kernel', async () => {
    let inFlight = 0
    let most = 0
    const vfs = delayed(new MemoryVfs(), async () => {
      most = Math.max(most, ++inFlight)
      await offLoop.lseek(-1, 0, 0)
      inFlight--
    })
    await withMount(vfs, async ({ dir }) => {
      await sh(`cd ${dir}; for i in $(seq 12); do (echo $i > f$i; stat f$i; mv f$i g$i; cat g$i) >/dev/null & done; wait; test "$(ls | wc -l)" = 12`)
    }, {}, {}, { inFlightMax: 3 })
    assert.equal(most, 3)
  })

  test('without opens programs work all the same', async () => {
    const memory = new MemoryVfs()
    await withMount(memory, async ({ dir }) => {
      assert.equal(await sh(`cd ${dir}; echo one > f; echo two >> f; echo three > g; : > f; echo four >> f; cat f g; ls`), 'four\nthree\nf\ng\n')
    }, { opens: false })
    assert.equal(memory.handles.size, 0)
  })

  test('a handle opened by number after everything was forgotten (EXPORT_SUPPORT)', async () => {
    const memory = new MemoryVfs()
    await withMount(memory, async ({ dir }) => {
      const out = await sh(`echo text > ${dir}/f; python3 - <<'E'
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
class H(ctypes.Structure): _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
h = H(bytes=128); mid = ctypes.c_int()
assert libc.name_to_handle_at(-100, b"${dir}/f", ctypes.byref(h), ctypes.byref(mid), 0) == 0, ctypes.get_errno()
open("/proc/sys/vm/drop_caches", "w").write("2")
at = os.open("${dir}", os.O_RDONLY)
fd = libc.open_by_handle_at(at, ctypes.byref(h), os.O_RDONLY)
assert fd >= 0, ctypes.get_errno()
print(os.read(fd, 100).decode().strip())
E`)
      assert.equal(out.trim(), 'text')
    })
  })
})

describe('mount options', () => {
  test('flags of the kernel, and a sentence for what is none', () => {
    assert.ok(isMountFlag('noatime') && isMountFlag('suid') && !isMountFlag('uid=3') && !isMountFlag('toString'))
  })

  test('mountinfo with escapes and optional fields', () => {
    const [a, b] = parseMountinfo('36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 shared:2 - fuse.ogee a\\054b rw,user_id=0\n' +
      '40 36 0:57 / /plain ro - ext4 /dev/sda1 rw\nrubbish\n')
    assert.deepEqual(a, { id: 36, parentId: 35, device: '98:0', root: '/mnt1', dir: '/mnt 2\\x', options: ['rw', 'noatime'],
      type: 'fuse.ogee', source: 'a,b', superOptions: ['rw', 'user_id=0'] })
    assert.deepEqual([b.dir, b.type, b.options], ['/plain', 'ext4', ['ro']])
  })

  test('a place that cannot be mounted on is an error that names it', { skip }, async () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'ogee-none-'))
    mkdirSync(path.join(dir, 'x'))
    try {
      const options = { source: 's', allowOther: false, defaultPermissions: true, flags: [] }
      await assert.rejects(mountFuse(path.join(dir, 'none'), options), { code: 'ENOENT', message: /mount .*none: ENOENT/ })
      await assert.rejects(mountFuse(dir, { ...options, flags: ['bogus'] }), /"bogus"/)
      await assert.rejects(unmount(path.join(dir, 'x')), { code: 'EINVAL' })
    } finally {
      rmSync(dir, { recursive: true })
    }
  })
})
