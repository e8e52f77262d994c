/** Mount options as mount(8), fstab and mount.fuse write them; sizes; how mount(8) calls its helper. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseHelperCall } from '../../src/cli/helper.js'
import { mountAbove } from '../../src/cli/mountinfo.js'
import { canonicalOptions, parseMountOptions, splitOptions, unlikeOptions } from '../../src/cli/options.js'
import { parseSize } from '../../src/cli/sizes.js'
import { parseMountinfo } from '../../src/sys/index.js'
import { Refusal } from '../../src/pool/index.js'

const usage = (e: unknown): boolean => e instanceof Refusal && e.reason === 'usage' && /^\S.*: .+\.$/.test(e.message)

test('a list is split at its bare commas', () => {
  const cases: [string, string[]][] = [
    ['', []], [',,', []], ['ro', ['ro']], ['ro,uid=5', ['ro', 'uid=5']], ['fsname=a\\,b,ro', ['fsname=a,b', 'ro']],
    ['fsname="a,b",ro', ['fsname=a,b', 'ro']], ['fsname=a\\\\,ro', ['fsname=a\\', 'ro']], ['fsname=a\\', ['fsname=a\\']]
  ]
  for (const [text, parts] of cases) assert.deepEqual(splitOptions(text), parts, text)
})

test('escaping and splitting are inverse', () => {
  fc.assert(fc.property(fc.array(fc.string({ minLength: 1, maxLength: 10 }), { maxLength: 6 }), (parts) => {
    assert.deepEqual(splitOptions(parts.map((p) => p.replace(/[\\,"]/g, '\\$&')).join(',')), parts)
  }))
})

test('defaults: root for everybody, a plain user for that user', () => {
  const root = parseMountOptions([], true)
  assert.deepEqual([root.allowOther, root.defaultPermissions, root.noDev, root.noSuid, root.readOnly], [true, true, false, false, false])
  const user = parseMountOptions(['dev,suid'], false)
  assert.deepEqual([user.allowOther, user.defaultPermissions, user.noDev, user.noSuid], [false, true, true, true])
  assert.equal(parseMountOptions(['allow_root'], true).allowOther, false)
})

test('the last of contradicting options wins, over several -o too', () => {
  assert.equal(parseMountOptions(['ro,rw'], true).readOnly, false)
  assert.equal(parseMountOptions(['rw', 'ro'], true).readOnly, true)
  assert.equal(parseMountOptions(['noatime,strictatime'], true).atime, 'strict')
  assert.equal(parseMountOptions(['user,exec'], true).noExec, false)
})

test('what concerns mount(8), systemd and the boot is ignored', () => {
  const plain = parseMountOptions([], true)
  const ignored = 'auto,noauto,nofail,_netdev,x-systemd.automount,x-gvfs-show,X-mount.mkdir,comment=x,defaults,async,user=me,fd=3,rootmode=40000,user_id=0,group_id=0'
  assert.deepEqual(parseMountOptions([ignored], true), plain)
})

test('values are checked, unknown options named', () => {
  const values = parseMountOptions(['uid=1000,gid=100,umask=022,fsname=tank,max_read=65536,latency=low,spin_us=50,opens,writeback_cache'], true)
  assert.deepEqual([values.uid, values.gid, values.umask, values.fsname, values.maxReadBytes, values.latency, values.spinUs, values.opens, values.writebackCache],
    [1000, 100, 0o22, 'tank', 65536, 'low', 50, true, true])
  const wrong = ['uid=', 'uid', 'uid=-1', 'uid=me', 'uid=4294967295', 'umask=8', 'umask=1777', 'latency=high', 'latency', 'spin_us=1e9', 'fsname=', 'ro=1', 'opens=yes',
    'bogus', '__proto__', 'constructor=1', 'allow_other,allow_root']
  for (const list of wrong) assert.throws(() => parseMountOptions([list], true), usage, list)
  assert.throws(() => parseMountOptions(['allow_root'], false), usage)
  assert.throws(() => parseMountOptions(['ro,bogus'], true), (e: Error) => e.message.includes('bogus'))
  assert.equal(parseMountOptions(['bogus,ro'], true, 'ignore').readOnly, true)
})

test('any text gives options or a sentence', () => {
  fc.assert(fc.property(fc.string(), (text) => {
    try {
      parseMountOptions([text], true)
    } catch (e) {
      assert.ok(usage(e), String(e))
    }
  }))
})

test('a second mount may ask for what the first has', () => {
  const first = canonicalOptions(parseMountOptions(['noatime,uid=5'], true))
  const unlike = (list: string): string | undefined => unlikeOptions(parseMountOptions([list], true), first)
  for (const list of ['', 'ro', 'nodev,noexec,nosuid', 'noatime', 'uid=5', 'allow_other,default_permissions', 'latency=auto']) assert.equal(unlike(list), undefined, list)
  assert.equal(unlike('uid=6'), 'uid=6')
  assert.equal(unlike('ro,relatime'), 'relatime')
  assert.equal(unlike('opens'), 'opens')
})

test('sizes', () => {
  const cases: [string, number][] = [['4096', 4096], ['1k', 1024], ['100G', 100 * 1024 ** 3], ['1.5TiB', 1.5 * 1024 ** 4], ['64MB', 64 * 1024 ** 2], ['7 g', 7 * 1024 ** 3]]
  for (const [text, bytes] of cases) assert.equal(parseSize(text), bytes, text)
  for (const text of ['', 'G', '-1', '1X', '1e3', 'ten', '99999999999P', '0x10']) assert.throws(() => parseSize(text), Refusal, text)
})

test('the helper takes its options wherever they stand', () => {
  const call = { pool: '/p', dir: '/d', lists: ['ro', 'x'], fake: false, sloppy: true }
  assert.deepEqual(parseHelperCall(['/p', '/d', '-s', '-o', 'ro', '-ox']), call)
  assert.deepEqual(parseHelperCall(['-sn', '-o', 'ro', '/p', '-t', 'fuse.ogee', '/d', '-o', 'x', '-v']), call)
  assert.equal(parseHelperCall(['/p', '/d', '-f']).fake, true)
  for (const args of [[], ['/p'], ['/p', '/d', '/e'], ['/p', '/d', '-o'], ['/p', '/d', '--bogus']]) assert.throws(() => parseHelperCall(args), usage, args.join(' '))
})

test('a path lies in the mount nearest above it', () => {
  const mounts = parseMountinfo([
    '1 0 8:1 / / rw - ext4 /dev/sda rw', '2 1 0:40 / /m\\040x rw,nodev shared:1 - fuse.ogee /p rw,user_id=7', '3 2 0:41 / /m\\040x/in rw - tmpfs t rw', ''].join('\n'))
  const at = (path: string): string | undefined => mountAbove(mounts, path)?.device
  assert.deepEqual(['/m x', '/m x/a/b', '/m x/in/a', '/m xy', '/'].map(at), ['0:40', '0:40', '0:41', '8:1', '8:1'])
})
