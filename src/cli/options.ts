/**
 * The list behind -o, as mount(8), fstab and mount.fuse write it, made into what a mount needs.
 *   - A later option wins over an earlier one (rw,ro is ro), as with mount(8).
 *   - A comma belongs to a value if it is escaped (\,) or the value stands in double quotes.
 *   - What only concerns mount(8), systemd or the boot is ignored; an option that nobody knows is refused by name.
 */
import { Refusal } from '../pool/index.js'
import type { LatencyMode } from '../sys/index.js'

export type AtimeMode = 'relative' | 'strict' | 'none'

export interface MountOptions {
  // of one mount: a bind mount may have its own
  readOnly: boolean
  noSuid: boolean
  noDev: boolean
  noExec: boolean
  // of the file system
  synchronous: boolean
  dirSync: boolean
  atime: AtimeMode
  allowOther: boolean
  allowRoot: boolean
  defaultPermissions: boolean
  uid: number | undefined
  gid: number | undefined
  umask: number | undefined
  fsname: string | undefined
  maxReadBytes: number | undefined
  latency: LatencyMode
  spinUs: number | undefined
  opens: boolean
  writebackCache: boolean
  nonEmpty: boolean
  remount: boolean
  /** Names of the options of the file system that were given, in the user's words: a bind mount cannot have them. */
  given: string[]
}

/** Splits at commas that are neither escaped nor quoted. */
export function splitOptions(text: string): string[] {
  const parts: string[] = []
  let part = ''
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (c === '\\' && i + 1 < text.length) part += text[++i]
    else if (c === '"') quoted = !quoted
    else if (c === ',' && !quoted) {
      parts.push(part)
      part = ''
    } else part += c
  }
  parts.push(part)
  return parts.filter((p) => p !== '')
}

const wrong = (option: string, why: string): Refusal => new Refusal('usage', `Mount option ${option}: ${why}.`)

function number(option: string, value: string | undefined, base: 8 | 10, max: number): number {
  const digits = base === 8 ? /^[0-7]+$/ : /^[0-9]+$/
  const n = value !== undefined && digits.test(value) ? Number.parseInt(value, base) : Number.NaN
  if (!(n <= max)) throw wrong(option, `a number${base === 8 ? ' in octal' : ''} of at most ${max.toString(base)} must follow the =`)
  return n
}

/** Concerns mount(8), the boot or a desktop, not us. */
const IGNORED = new Set(['auto', 'noauto', 'nofail', '_netdev', 'owner', 'group', 'nouser', 'nousers', 'noowner', 'nogroup', 'silent', 'loud', 'async',
  'dirasync', 'iversion', 'noiversion', 'nolazytime', 'lazytime', 'nomand', 'diratime', 'norelatime', 'nostrictatime', 'hard_remove', 'auto_unmount', 'intr', 'nointr'])
/** The last four: mount(8) puts the kernel's own options into a remount. */
const IGNORED_VALUES = /^(x-|X-|comment(=|$)|user=|uhelper=|helper=|subtype=|fd=|rootmode=|user_id=|group_id=)/

const UID_MAX = 4294967294

type Setter = (o: MountOptions, value: string | undefined, option: string) => void

/** Of one mount. */
const MOUNT_FLAGS: Record<string, Setter> = {
  ro: (o) => { o.readOnly = true },
  rw: (o) => { o.readOnly = false },
  suid: (o) => { o.noSuid = false },
  nosuid: (o) => { o.noSuid = true },
  dev: (o) => { o.noDev = false },
  nodev: (o) => { o.noDev = true },
  exec: (o) => { o.noExec = false },
  noexec: (o) => { o.noExec = true },
  user: (o) => { o.noSuid = o.noDev = o.noExec = true },
  users: (o) => { o.noSuid = o.noDev = o.noExec = true },
  defaults: (o) => { o.readOnly = o.noSuid = o.noDev = o.noExec = o.synchronous = false },
  remount: (o) => { o.remount = true },
  nonempty: (o) => { o.nonEmpty = true }
}

/** Of the file system. */
const FILE_SYSTEM: Record<string, Setter> = {
  sync: (o) => { o.synchronous = true },
  dirsync: (o) => { o.dirSync = true },
  noatime: (o) => { o.atime = 'none' },
  relatime: (o) => { o.atime = 'relative' },
  atime: (o) => { o.atime = 'relative' },
  strictatime: (o) => { o.atime = 'strict' },
  nodiratime: () => {},
  allow_other: (o) => { o.allowOther = true },
  allow_root: (o) => { o.allowRoot = true },
  default_permissions: (o) => { o.defaultPermissions = true },
  opens: (o) => { o.opens = true },
  writeback_cache: (o) => { o.writebackCache = true }
}

const VALUES: Record<string, Setter> = {
  uid: (o, v, name) => { o.uid = number(name, v, 10, UID_MAX) },
  gid: (o, v, name) => { o.gid = number(name, v, 10, UID_MAX) },
  umask: (o, v, name) => { o.umask = number(name, v, 8, 0o777) },
  max_read: (o, v, name) => { o.maxReadBytes = number(name, v, 10, 2 ** 31) },
  spin_us: (o, v, name) => { o.spinUs = number(name, v, 10, 100_000) },
  fsname(o, v, name) {
    if (v === undefined || v === '') throw wrong(name, 'a name must follow the =')
    if (/[\0\n]/.test(v)) throw wrong(name, 'the name must be one line')
    o.fsname = v
  },
  latency(o, v, name) {
    if (v !== 'auto' && v !== 'low' && v !== 'normal') throw wrong(name, 'auto, low or normal must follow the =')
    o.latency = v
  }
}

/** Root's mount is for everybody, as any disk's; a plain user's mount is for that user, and without devices and setuid programs. */
export const defaultOptions = (isRoot: boolean): MountOptions => ({
  readOnly: false, noSuid: !isRoot, noDev: !isRoot, noExec: false, synchronous: false, dirSync: false, atime: 'relative',
  allowOther: isRoot, allowRoot: false, defaultPermissions: true, uid: undefined, gid: undefined, umask: undefined, fsname: undefined,
  maxReadBytes: undefined, latency: 'auto', spinUs: undefined, opens: false, writebackCache: false, nonEmpty: false, remount: false, given: []
})

/** `lists`: the values of all -o in order. `unknown`: what to do about an option that nobody knows. */
export function parseMountOptions(lists: readonly string[], isRoot: boolean, unknown: 'refuse' | 'ignore' = 'refuse'): MountOptions {
  const o = defaultOptions(isRoot)
  for (const option of lists.flatMap(splitOptions)) {
    if (IGNORED.has(option) || IGNORED_VALUES.test(option)) continue
    const equals = option.indexOf('=')
    const name = equals < 0 ? option : option.slice(0, equals)
    const value = equals < 0 ? undefined : option.slice(equals + 1)
    const table = equals < 0 ? lookUp(MOUNT_FLAGS, name) ?? lookUp(FILE_SYSTEM, name) : undefined
    const setter = table ?? lookUp(VALUES, name)
    if (setter === undefined) {
      if (lookUp(MOUNT_FLAGS, name) !== undefined || lookUp(FILE_SYSTEM, name) !== undefined) throw wrong(name, 'it takes no value')
      if (unknown === 'ignore') continue
      throw new Refusal('usage', `Mount option ${name} is not known: see \`ogee help mount\` for those that are.`)
    }
    setter(o, value, name)
    if (lookUp(MOUNT_FLAGS, name) === undefined) o.given.push(option)
  }
  if (!isRoot) o.noSuid = o.noDev = true // fusermount3 insists
  if (o.allowRoot && o.given.includes('allow_other')) throw new Refusal('usage', 'Mount options allow_other and allow_root exclude each other: leave one out.')
  if (o.allowRoot && !isRoot) throw new Refusal('usage', 'Mount option allow_root cannot be kept for a plain user (the kernel knows it not): use allow_other, or mount as root.')
  if (o.allowRoot) o.allowOther = false // the owner of root's mount is root
  return o
}

const ATIME_WORDS: Record<AtimeMode, string> = { relative: 'relatime', strict: 'strictatime', none: 'noatime' }

/** The options of the file system in force, each in one spelling. */
export function canonicalOptions(o: MountOptions): string[] {
  const words: string[] = [ATIME_WORDS[o.atime], `latency=${o.latency}`]
  const flags: [boolean, string][] = [[o.synchronous, 'sync'], [o.dirSync, 'dirsync'], [o.allowOther, 'allow_other'], [o.allowRoot, 'allow_root'],
    [o.defaultPermissions, 'default_permissions'], [o.opens, 'opens'], [o.writebackCache, 'writeback_cache']]
  for (const [on, word] of flags) if (on) words.push(word)
  const values: [string | number | undefined, string][] = [[o.uid, 'uid'], [o.gid, 'gid'], [o.umask?.toString(8), 'umask'], [o.fsname, 'fsname'],
    [o.maxReadBytes, 'max_read'], [o.spinUs, 'spin_us']]
  for (const [value, word] of values) if (value !== undefined) words.push(`${word}=${value}`)
  return words
}

/** The first option that was asked for and that a file system with these options does not have. */
export function unlikeOptions(asked: MountOptions, inForce: readonly string[]): string | undefined {
  const askedWords = canonicalOptions(asked)
  const names = new Set(asked.given.map((option) => option.split('=')[0]))
  const atimeAsked = Object.values(ATIME_WORDS).some((word) => names.has(word)) || names.has('atime')
  return askedWords.find((word) => {
    const name = word.split('=')[0]
    const wasAsked = names.has(name) || (atimeAsked && word === ATIME_WORDS[asked.atime])
    return wasAsked && !inForce.includes(word)
  })
}

const lookUp = (table: Record<string, Setter>, name: string): Setter | undefined => (Object.hasOwn(table, name) ? table[name] : undefined)
