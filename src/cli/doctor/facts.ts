/** Gathers the facts that judge.ts judges: from /proc and /sys, and of a folder by trying it with a file that has no name. */
import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { freemem, release } from 'node:os'
import { join } from 'node:path'
import { hostSpace, readSuperblock, Refusal } from '../../pool/index.js'
import * as sys from '../../sys/index.js'
import { askStatus } from '../daemon/client.js'
import type { DiskFacts, MachineFacts } from './judge.js'

const FLUSHES = 33

function text(path: string): string {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return '' // not on this kernel, or not for us: "not told"
  }
}
const may = (path: string, mode: number): boolean => {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
const device = (path: string, mode: number): 'usable' | 'denied' | 'absent' => (!existsSync(path) ? 'absent' : may(path, mode) ? 'usable' : 'denied')

/** A soft limit of /proc/self/limits. */
export function limitOf(limits: string, name: string): number {
  const found = new RegExp(`^${name} +(\\S+)`, 'm').exec(limits)
  return found === null || found[1] === 'unlimited' ? Infinity : Number(found[1])
}

/** The word in brackets of "always [madvise] never". */
export const chosen = (words: string): string => /\[(\w+)\]/.exec(words)?.[1] ?? ''

export function machineFacts(clock: sys.Clock): MachineFacts {
  const limits = text('/proc/self/limits')
  const path = (process.env.PATH ?? '').split(':').map((folder) => join(folder, 'fusermount3')).find((file) => may(file, constants.X_OK))
  const available = /^MemAvailable: +(\d+)/m.exec(text('/proc/meminfo'))
  const now = { sec: 0, nsec: 0 }
  clock.realtime(now)
  const maps = Number(text('/proc/sys/vm/max_map_count'))
  return {
    kernel: release(), kernelNumber: sys.kernelVersion(), node: process.version, threads: Number(process.env.UV_THREADPOOL_SIZE ?? 4),
    isRoot: process.geteuid?.() === 0,
    fuseDevice: device('/dev/fuse', constants.R_OK | constants.W_OK),
    fusermount: path === undefined ? undefined : { path, isSetuid: (statSync(path).mode & 0o4000) !== 0 },
    userAllowOther: /^\s*user_allow_other/m.test(text('/etc/fuse.conf')),
    latencyDevice: device('/dev/cpu_dma_latency', constants.W_OK),
    openFilesLimit: limitOf(limits, 'Max open files'), addressSpaceLimitBytes: limitOf(limits, 'Max address space'),
    mapCountLimit: maps > 0 ? maps : Infinity, overcommit: Number(text('/proc/sys/vm/overcommit_memory')),
    availableBytes: available === null ? freemem() : Number(available[1]) * 1024,
    clocksource: text('/sys/devices/system/clocksource/clocksource0/current_clocksource'),
    nowSec: now.sec, clockIsSynchronised: sys.clockIsSynchronised(), hugePages: chosen(text('/sys/kernel/mm/transparent_hugepage/enabled'))
  }
}

interface Below {
  readonly type: string
  readonly options: readonly string[]
}

/** The mount that holds a folder: the longest of those above it, the last of them. */
export function mountBelow(mounts: string, folder: string): Below {
  let best = ''
  let found: Below = { type: '', options: [] }
  for (const line of mounts.split('\n')) {
    const [, dir, type, options] = line.split(' ')
    if (options === undefined) continue
    const name = dir.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
    if (name.length < best.length || !(folder === name || folder.startsWith(name === '/' ? '/' : `${name}/`))) continue
    best = name
    found = { type, options: options.split(',') }
  }
  return found
}

export async function diskFacts(folder: string, isPool: boolean, clock: sys.Clock): Promise<DiskFacts> {
  const { type, options } = mountBelow(text('/proc/self/mounts'), folder)
  const isWritable = may(folder, constants.W_OK)
  return {
    folder, pool: isPool ? await poolFacts(folder) : undefined, fileSystem: type, mountOptions: options, mode: statSync(folder).mode, isWritable,
    freeBytes: hostSpace(folder).freeBytes, freeInodes: freeInodes(folder),
    allocatedBytes: isPool && existsSync(join(folder, 'space')) ? spaceBytes(join(folder, 'space')) : 0,
    ...(isWritable && !options.includes('ro') ? tried(folder, clock) : { flushUs: undefined, canNowait: true, canPunch: true, canPromise: true })
  }
}

/** A device is all there. */
function spaceBytes(path: string): number {
  const s = statSync(path)
  return s.isBlockDevice() ? Infinity : s.blocks * 512
}

/** Some file systems (btrfs) have no fixed number, and say 0 of 0. */
function freeInodes(folder: string): number {
  const { files, ffree } = statfsSync(folder)
  return files === 0 ? Infinity : ffree
}

async function poolFacts(folder: string): Promise<NonNullable<DiskFacts['pool']>> {
  try {
    const { sizeBytes, createdSec } = readSuperblock(folder)
    const status = await askStatus(folder)
    return { sizeBytes: status?.space.sizeBytes ?? sizeBytes, createdSec, failed: status?.engine.failed ?? null, state: status === undefined ? 'not mounted' : `mounted at ${status.mounts.map((m) => m.dir).join(', ')}`, damage: undefined }
  } catch (e) {
    if (!(e instanceof Refusal)) throw e
    return { sizeBytes: 0, createdSec: 0, failed: null, state: '', damage: e.message.replace(/\.$/, '') }
  }
}

type Tried = Pick<DiskFacts, 'flushUs' | 'canNowait' | 'canPunch' | 'canPromise'>

/** With a file that has no name, gone with its descriptor. */
function tried(folder: string, clock: sys.Clock): Tried {
  const fd = sys.open(folder, sys.O_TMPFILE | sys.O_RDWR, 0o600)
  if (fd < 0) return { flushUs: undefined, canNowait: true, canPunch: true, canPromise: true } // its file system has no such files
  try {
    const block = new Uint8Array(4096).fill(1)
    const canPromise = sys.fallocate(fd, 0, 0, 1024 * 1024) === 0
    for (let i = 0; i < 16; i++) sys.pwrite(fd, block, 0, 4096, i * 4096)
    sys.fdatasync(fd)
    const times: number[] = []
    for (let i = 0; i < FLUSHES; i++) {
      const startUs = clock.monotonicUs()
      sys.pwrite(fd, block, 0, 4096, (i % 16) * 4096)
      if (sys.fdatasync(fd) < 0) break
      times.push(clock.monotonicUs() - startUs)
    }
    times.sort((a, b) => a - b)
    const canNowait = sys.preadv2(fd, block, 0, 4096, 0, sys.RWF_NOWAIT) !== -sys.ERRNO.EOPNOTSUPP
    const canPunch = sys.fallocate(fd, sys.FALLOC_FL_PUNCH_HOLE | sys.FALLOC_FL_KEEP_SIZE, 4096, 4096) === 0
    return { flushUs: times.length < FLUSHES ? undefined : { median: times[FLUSHES >> 1], slowest: times[FLUSHES - 1] }, canNowait, canPunch, canPromise }
  } finally {
    sys.close(fd)
  }
}
