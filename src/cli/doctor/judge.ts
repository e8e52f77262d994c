/**
 * What facts about a machine and a disk mean for a pool, and what to change. Facts are plain data (facts.ts gathers them), so that
 * every judgement is told by a test.
 *   - `bad`: bytes can be lost, or a pool cannot be mounted. `warn`: slower than it need be, or a surprise to come. Each with a way out.
 */
export interface MachineFacts {
  readonly kernel: string
  /** 6018 is 6.18 */
  readonly kernelNumber: number
  readonly node: string
  readonly threads: number
  readonly isRoot: boolean
  readonly fuseDevice: 'usable' | 'denied' | 'absent'
  /** Of fusermount3: undefined if there is none. */
  readonly fusermount: { readonly path: string; readonly isSetuid: boolean } | undefined
  readonly userAllowOther: boolean
  readonly latencyDevice: 'usable' | 'denied' | 'absent'
  readonly openFilesLimit: number
  readonly addressSpaceLimitBytes: number
  readonly mapCountLimit: number
  readonly overcommit: number
  readonly availableBytes: number
  readonly clocksource: string
  readonly nowSec: number
  readonly clockIsSynchronised: boolean | undefined
  readonly hugePages: string
}

export interface DiskFacts {
  readonly folder: string
  /** Undefined: there is none yet. */
  readonly pool: { readonly sizeBytes: number; readonly createdSec: number; readonly failed: string | null; readonly state: string; readonly damage: string | undefined } | undefined
  readonly fileSystem: string
  readonly mountOptions: readonly string[]
  readonly mode: number
  readonly isWritable: boolean
  readonly freeBytes: number
  readonly freeInodes: number
  /** Of the space file; 0 without a pool. */
  readonly allocatedBytes: number
  /** Median of overwriting 4 KiB and fdatasync, and the slowest of them; undefined: not measured. */
  readonly flushUs: { readonly median: number; readonly slowest: number } | undefined
  readonly canNowait: boolean
  readonly canPunch: boolean
  readonly canPromise: boolean
}

export type State = 'ok' | 'warn' | 'bad'
export interface Check {
  readonly name: string
  readonly state: State
  readonly what: string
  readonly advice?: string
}

const ok = (name: string, what: string): Check => ({ name, state: 'ok', what })
const warn = (name: string, what: string, advice: string): Check => ({ name, state: 'warn', what, advice })
const bad = (name: string, what: string, advice: string): Check => ({ name, state: 'bad', what, advice })
const MIB = 1024 ** 2
const GIB = 1024 ** 3
const gib = (bytes: number): string => (bytes >= 10 * GIB ? `${Math.round(bytes / GIB)} GiB` : bytes >= GIB ? `${(bytes / GIB).toFixed(1)} GiB` : `${Math.floor(bytes / MIB)} MiB`)

/** The oldest kernel with FUSE 7.31. */
const KERNEL_LEAST = 5004
/** A flush to a device takes longer, whatever the device. */
const HONEST_FLUSH_US = 20
const SLOW_FLUSH_US = 10_000
const GOOD_CLOCKS = new Set(['tsc', 'kvm-clock', 'arch_sys_counter', 'hyperv_clocksource_tsc_page', 'xen'])
const YEAR_2025_SEC = 1_735_689_600

export function judgeMachine(f: MachineFacts): Check[] {
  const out: Check[] = []
  out.push(f.kernelNumber >= KERNEL_LEAST ? ok('kernel', f.kernel) : bad('kernel', `${f.kernel}: its FUSE is too old`, 'use Linux 5.4 or newer'))
  out.push(f.threads >= 8 ? ok('node', `${f.node}, ${f.threads} threads`) : warn('node', `${f.node}, ${f.threads} threads: reads that miss the page cache wait for each other`, 'unset UV_THREADPOOL_SIZE, or set it to 16'))
  if (f.fuseDevice === 'usable') out.push(ok('/dev/fuse', 'usable'))
  else if (f.fuseDevice === 'absent') out.push(bad('/dev/fuse', 'not there', 'load the module (modprobe fuse), or give it to the container (--device /dev/fuse --cap-add SYS_ADMIN)'))
  else out.push(bad('/dev/fuse', 'not for this user', 'chmod 666 /dev/fuse, as root'))
  if (f.isRoot) out.push(ok('fusermount3', 'not needed by root'))
  else if (f.fusermount === undefined) out.push(bad('fusermount3', 'not there, and plain users mount through it', 'install fuse3 (apt install fuse3), or mount as root'))
  else if (!f.fusermount.isSetuid) out.push(bad('fusermount3', `${f.fusermount.path} is not setuid root`, `chmod u+s ${f.fusermount.path}, as root`))
  else out.push(ok('fusermount3', `${f.fusermount.path}${f.userAllowOther ? ', allow_other is allowed' : ''}`))
  if (f.latencyDevice === 'usable') out.push(ok('latency', 'cores can be held awake while there is work'))
  else out.push(warn('latency', '/dev/cpu_dma_latency is not ours: each request wakes a sleeping core', f.latencyDevice === 'absent' ? 'give the device to the container, for the lowest latency' : 'mount as root, or give this user the device, for the lowest latency'))
  out.push(f.openFilesLimit >= 256 ? ok('open files', limitText(f.openFilesLimit)) : bad('open files', `at most ${f.openFilesLimit}`, 'raise the limit (ulimit -n 1024)'))
  out.push(f.addressSpaceLimitBytes >= 64 * GIB ? ok('address space', limitText(f.addressSpaceLimitBytes)) : warn('address space', `limited to ${gib(f.addressSpaceLimitBytes)}: a quarter of it bounds the pool's metadata`, 'lift the limit (ulimit -v unlimited)'))
  out.push(f.mapCountLimit >= 16_384 ? ok('map count', String(f.mapCountLimit)) : warn('map count', `at most ${f.mapCountLimit} mappings a process`, 'sysctl vm.max_map_count=65530'))
  if (f.overcommit === 2) out.push(warn('overcommit', 'vm.overcommit_memory is 2: reserving address space may be refused', 'sysctl vm.overcommit_memory=0'))
  out.push(f.availableBytes >= 512 * MIB ? ok('memory', `${gib(f.availableBytes)} available`) : warn('memory', `${gib(f.availableBytes)} available`, 'a daemon wants about 300 MiB, and page cache is what makes reads fast: free some'))
  out.push(GOOD_CLOCKS.has(f.clocksource) || f.clocksource === '' ? ok('clock source', f.clocksource === '' ? 'not told' : f.clocksource) : warn('clock source', `${f.clocksource}: each look at the clock costs a microsecond or more`, 'boot with a stable TSC (see dmesg about clocksource), or another type of virtual machine'))
  if (f.nowSec < YEAR_2025_SEC) out.push(bad('clock', 'it is not set: files would get wrong times', 'set it (timedatectl set-ntp true)'))
  else if (f.clockIsSynchronised === false) out.push(warn('clock', 'not synchronised with a time server', 'timedatectl set-ntp true'))
  else out.push(ok('clock', f.clockIsSynchronised === true ? 'synchronised' : 'plausible'))
  out.push(f.hugePages === 'always' ? warn('huge pages', 'always: memory of the daemon grows in steps of 2 MiB', 'echo madvise > /sys/kernel/mm/transparent_hugepage/enabled') : ok('huge pages', f.hugePages === '' ? 'not told' : f.hugePages))
  return out
}

const limitText = (n: number): string => (n === Infinity ? 'unlimited' : n >= GIB ? gib(n) : String(n))

const IN_MEMORY = new Set(['tmpfs', 'ramfs'])
const FAR = new Set(['nfs', 'nfs4', 'cifs', 'smb3', '9p', 'virtiofs', 'ceph', 'glusterfs'])

export function judgeDisk(f: DiskFacts): Check[] {
  const out: Check[] = []
  if (f.pool !== undefined) {
    if (f.pool.damage !== undefined) out.push(bad('pool', f.pool.damage, `run ogee fsck ${f.folder}`))
    else if (f.pool.failed !== null) out.push(bad('pool', `failed and read-only: ${f.pool.failed}`, `unmount it, look at the disk (dmesg), run ogee fsck ${f.folder}`))
    else out.push(ok('pool', `${f.pool.state}, ${gib(f.pool.sizeBytes)}`))
  }
  if (IN_MEMORY.has(f.fileSystem)) out.push(warn('file system', `${f.fileSystem}: all of the pool is gone with the next boot`, 'put the pool on a disk'))
  else if (FAR.has(f.fileSystem) || f.fileSystem.startsWith('fuse')) out.push(bad('file system', `${f.fileSystem}: what another machine or program does to the files cannot be seen here, and LMDB relies on shared memory`, 'put the pool on a local disk (ext4, XFS)'))
  else if (f.fileSystem === 'overlay') out.push(warn('file system', 'overlay: the writable layer of a container, which goes with it', 'give the container a volume'))
  else if (f.fileSystem === 'btrfs') out.push(warn('file system', 'btrfs: each overwrite is a copy, and flushes take longer', `chattr +C ${f.folder} before the pool is made, or use ext4 or XFS`))
  else out.push(ok('file system', f.fileSystem))
  const unsafe = f.mountOptions.filter((o) => ['nobarrier', 'barrier=0', 'nobh', 'data=writeback', 'norecovery'].includes(o) && o !== 'nobh')
  if (unsafe.some((o) => o !== 'data=writeback')) out.push(bad('barriers', `off (${unsafe.join(', ')}): a power cut loses what was synced`, 'mount that file system without the option'))
  if (f.mountOptions.includes('ro') || !f.isWritable) out.push(bad('writing', f.mountOptions.includes('ro') ? 'the file system is mounted read-only' : 'the folder is not ours to write', f.mountOptions.includes('ro') ? 'mount it read-write' : 'become the owner of the folder'))
  if (f.flushUs !== undefined) {
    const { median, slowest } = f.flushUs
    const times = `${timeText(median)}, at most ${timeText(slowest)}`
    if (IN_MEMORY.has(f.fileSystem)) out.push(ok('flush', `${times}: nothing to flush`))
    else if (median < HONEST_FLUSH_US) out.push(bad('flush', `fdatasync of 4 KiB takes ${times}: nothing reaches a disk in that time, so a power cut loses what was synced`, 'look for what ignores flushes: a write cache mode of the virtual machine (cache=unsafe), eatmydata, a sandbox'))
    else if (median > SLOW_FLUSH_US) out.push(warn('flush', `fdatasync of 4 KiB takes ${times}: whatever syncs waits so long`, 'put the pool on a faster disk, one with a protected write cache'))
    else out.push(ok('flush', times))
  }
  if (f.pool !== undefined) {
    const promised = Math.max(0, f.pool.sizeBytes - f.allocatedBytes)
    if (f.freeBytes < promised) out.push(warn('room', `the disk has ${gib(f.freeBytes)} for the ${gib(promised)} that the pool still promises`, 'df shows the smaller of both; free some of the disk, or make the pool on a larger one'))
    else out.push(ok('room', `${gib(f.freeBytes)} on the disk, ${gib(promised)} promised`))
  } else out.push(f.freeBytes >= 96 * MIB ? ok('room', `${gib(f.freeBytes)} on the disk`) : bad('room', `${gib(f.freeBytes)} on the disk`, 'a new pool needs 96 MiB: free some'))
  if (f.freeInodes < 64) out.push(warn('inodes of the disk', `${f.freeInodes} left`, 'remove files there: a pool is about 10'))
  if (f.pool !== undefined && (f.mode & 0o077) !== 0) out.push(warn('mode', `others may look into the folder (${(f.mode & 0o777).toString(8)}), and with it at every file's bytes`, `chmod 700 ${f.folder}`))
  out.push(f.canPromise ? ok('fallocate', 'the disk promises space') : warn('fallocate', 'the disk cannot promise space: it may run full after a write was answered', 'use ext4 or XFS below the pool'))
  if (!f.canPunch) out.push(warn('punch', 'space of removed files stays with the pool', 'use ext4, XFS or btrfs below the pool'))
  if (!f.canNowait && !IN_MEMORY.has(f.fileSystem)) out.push(warn('cached reads', 'the disk cannot tell what is cached: each read takes a thread', 'use ext4, XFS or btrfs below the pool'))
  return out
}

const timeText = (us: number): string => (us >= 10_000 ? `${Math.round(us / 1000)} ms` : us >= 1000 ? `${(us / 1000).toFixed(1)} ms` : `${Math.round(us)} us`)
