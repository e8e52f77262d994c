/** What the doctor says: a golden text for a fit machine, and for each fact that is not as it should be one judgement with a way out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { doctorText } from '../../src/cli/commands/doctor.js'
import { chosen, diskFacts, limitOf, machineFacts, mountBelow } from '../../src/cli/doctor/facts.js'
import { judgeDisk, judgeMachine } from '../../src/cli/doctor/judge.js'
import type { DiskFacts, MachineFacts, State } from '../../src/cli/doctor/judge.js'
import { barText } from '../../src/cli/progress.js'
import { systemClock } from '../../src/sys/index.js'

const GIB = 1024 ** 3
const machine: MachineFacts = {
  kernel: '6.12.9', kernelNumber: 6012, node: 'v22.1.0', threads: 16, isRoot: false, fuseDevice: 'usable', fusermount: { path: '/usr/bin/fusermount3', isSetuid: true },
  userAllowOther: true, latencyDevice: 'usable', openFilesLimit: 1024, addressSpaceLimitBytes: Infinity, mapCountLimit: 65_530, overcommit: 0, availableBytes: 6 * GIB,
  clocksource: 'tsc', nowSec: 1_800_000_000, clockIsSynchronised: true, hugePages: 'madvise'
}
const disk: DiskFacts = {
  folder: '/srv/pool', pool: { sizeBytes: 100 * GIB, createdSec: 1_700_000_000, failed: null, state: 'mounted at /mnt', damage: undefined }, fileSystem: 'ext4', mountOptions: ['rw', 'relatime'],
  mode: 0o40700, isWritable: true, freeBytes: 200 * GIB, freeInodes: 1_000_000, allocatedBytes: 30 * GIB, flushUs: { median: 140, slowest: 2300 }, canNowait: true, canPunch: true, canPromise: true
}

test('a fit machine', () => {
  assert.equal(doctorText(judgeMachine(machine), judgeDisk(disk), '/srv/pool'), `machine
  ok    kernel         6.12.9
  ok    node           v22.1.0, 16 threads
  ok    /dev/fuse      usable
  ok    fusermount3    /usr/bin/fusermount3, allow_other is allowed
  ok    latency        cores can be held awake while there is work
  ok    open files     1024
  ok    address space  unlimited
  ok    map count      65530
  ok    memory         6.0 GiB available
  ok    clock source   tsc
  ok    clock          synchronised
  ok    huge pages     madvise
/srv/pool
  ok    pool           mounted at /mnt, 100 GiB
  ok    file system    ext4
  ok    flush          140 us, at most 2.3 ms
  ok    room           200 GiB on the disk, 70 GiB promised
  ok    fallocate      the disk promises space
Fit.`)
})

test('what is wrong is said first of its line, with what to do below', () => {
  assert.equal(doctorText([], judgeDisk({ ...disk, flushUs: { median: 7, slowest: 19 }, freeBytes: 10 * GIB }), '/srv/pool').split('\n').slice(4).join('\n'), `  BAD   flush          fdatasync of 4 KiB takes 7 us, at most 19 us: nothing reaches a disk in that time, so a power cut loses what was synced
                        -> look for what ignores flushes: a write cache mode of the virtual machine (cache=unsafe), eatmydata, a sandbox
  WARN  room           the disk has 10 GiB for the 70 GiB that the pool still promises
                        -> df shows the smaller of both; free some of the disk, or make the pool on a larger one
  ok    fallocate      the disk promises space
1 bad, 1 to look at.`)
})

const machines: readonly [Partial<MachineFacts>, string, State][] = [
  [{ kernelNumber: 4019 }, 'kernel', 'bad'], [{ threads: 4 }, 'node', 'warn'], [{ fuseDevice: 'absent' }, '/dev/fuse', 'bad'], [{ fuseDevice: 'denied' }, '/dev/fuse', 'bad'],
  [{ fusermount: undefined }, 'fusermount3', 'bad'], [{ fusermount: { path: '/x', isSetuid: false } }, 'fusermount3', 'bad'], [{ fusermount: undefined, isRoot: true }, 'fusermount3', 'ok'],
  [{ latencyDevice: 'denied' }, 'latency', 'warn'], [{ openFilesLimit: 64 }, 'open files', 'bad'], [{ addressSpaceLimitBytes: 8 * GIB }, 'address space', 'warn'],
  [{ mapCountLimit: 1000 }, 'map count', 'warn'], [{ overcommit: 2 }, 'overcommit', 'warn'], [{ availableBytes: GIB / 8 }, 'memory', 'warn'], [{ clocksource: 'hpet' }, 'clock source', 'warn'],
  [{ nowSec: 5 }, 'clock', 'bad'], [{ clockIsSynchronised: false }, 'clock', 'warn'], [{ clockIsSynchronised: undefined }, 'clock', 'ok'], [{ hugePages: 'always' }, 'huge pages', 'warn']
]
const disks: readonly [Partial<DiskFacts>, string, State][] = [
  [{ pool: { ...disk.pool!, damage: 'no magic' } }, 'pool', 'bad'], [{ pool: { ...disk.pool!, failed: 'EIO' } }, 'pool', 'bad'], [{ fileSystem: 'tmpfs' }, 'file system', 'warn'],
  [{ fileSystem: 'nfs4' }, 'file system', 'bad'], [{ fileSystem: 'fuse.sshfs' }, 'file system', 'bad'], [{ fileSystem: 'overlay' }, 'file system', 'warn'], [{ fileSystem: 'btrfs' }, 'file system', 'warn'],
  [{ mountOptions: ['rw', 'nobarrier'] }, 'barriers', 'bad'], [{ mountOptions: ['ro'] }, 'writing', 'bad'], [{ isWritable: false }, 'writing', 'bad'],
  [{ flushUs: { median: 19, slowest: 30 } }, 'flush', 'bad'], [{ flushUs: { median: 21, slowest: 30 } }, 'flush', 'ok'], [{ flushUs: { median: 30_000, slowest: 90_000 } }, 'flush', 'warn'],
  [{ flushUs: { median: 2, slowest: 3 }, fileSystem: 'tmpfs' }, 'flush', 'ok'], [{ freeBytes: GIB }, 'room', 'warn'], [{ pool: undefined, freeBytes: GIB / 100 }, 'room', 'bad'],
  [{ freeInodes: 3 }, 'inodes of the disk', 'warn'], [{ mode: 0o40755 }, 'mode', 'warn'], [{ canPromise: false }, 'fallocate', 'warn'], [{ canPunch: false }, 'punch', 'warn'], [{ canNowait: false }, 'cached reads', 'warn']
]
test('each fact has its judgement, and what is not ok a way out', () => {
  for (const [change, name, state] of machines) {
    const found = judgeMachine({ ...machine, ...change }).find((c) => c.name === name)
    assert.deepEqual([JSON.stringify(change), found?.state, (found?.advice ?? '') !== ''], [JSON.stringify(change), state, state !== 'ok'])
  }
  for (const [change, name, state] of disks) {
    const found = judgeDisk({ ...disk, ...change }).find((c) => c.name === name)
    assert.deepEqual([JSON.stringify(change), found?.state, (found?.advice ?? '') !== ''], [JSON.stringify(change), state, state !== 'ok'])
  }
})

test('facts are read as the kernel writes them', async () => {
  const limits = 'Limit                     Soft Limit           Hard Limit           Units\nMax open files            1024                 524288               files\nMax address space         unlimited            unlimited            bytes\n'
  assert.deepEqual([limitOf(limits, 'Max open files'), limitOf(limits, 'Max address space'), limitOf(limits, 'Max nothing')], [1024, Infinity, Infinity])
  assert.equal(chosen('always [madvise] never'), 'madvise')
  const mounts = '/dev/a / ext4 rw 0 0\n/dev/b /srv xfs rw,noatime 0 0\ntmpfs /srv/with\\040space tmpfs rw 0 0\n/dev/c /srvx btrfs ro 0 0'
  assert.deepEqual(mountBelow(mounts, '/srv/pool'), { type: 'xfs', options: ['rw', 'noatime'] })
  assert.equal(mountBelow(mounts, '/srv/with space/p').type, 'tmpfs')
  assert.equal(mountBelow(mounts, '/srvy').type, 'ext4')
  assert.equal(judgeMachine(machineFacts(systemClock)).length >= 12, true)
  const here = await diskFacts('/tmp', false, systemClock)
  assert.equal(here.fileSystem !== '', true)
  assert.equal(here.flushUs === undefined || here.flushUs.median <= here.flushUs.slowest, true)
})

test('the bar', () => {
  assert.equal(barText('fsck', 'inodes', 512_340, 1_000_021, 8.37), 'fsck  [##########..........]  51 %  512,340 of 1,000,021 inodes  61,211/s  7 s to go')
  assert.equal(barText('fsck', 'inodes', 10, 10, 0), 'fsck  [####################] 100 %  10 of 10 inodes  0/s')
})
