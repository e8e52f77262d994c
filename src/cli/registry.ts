/**
 * Which pool a mount belongs to. The kernel's table of mounts may carry any name (fsname=), so each daemon notes its
 * mount's device number in a runtime folder: /run/ogee for root, /run/user/UID/ogee or /tmp/ogee-UID for others.
 *   - A note is a hint: whoever uses it asks the daemon, and believes the answer. Device numbers are used again.
 *   - Only folders of the mount's owner are looked at, so nobody else can plant one.
 */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { MountEntry } from './mountinfo.js'

export interface Note {
  readonly pid: number
  readonly pool: string
}

const foldersOf = (uid: number): string[] =>
  uid === 0 ? ['/run/ogee', '/tmp/ogee-0'] : [`/run/user/${uid}/ogee`, `/tmp/ogee-${uid}`]

function isOurs(folder: string, uid: number): boolean {
  try {
    const s = lstatSync(folder)
    return s.isDirectory() && s.uid === uid && (s.mode & 0o022) === 0
  } catch {
    return false // absent
  }
}

/** Best effort: without a note, commands still find the pool when they are given its folder. */
export function writeNote(device: string, note: Note): boolean {
  const uid = process.getuid?.() ?? 0
  for (const folder of foldersOf(uid)) {
    try {
      mkdirSync(folder, { mode: 0o700, recursive: false })
    } catch {
      // there already, or no place for it: isOurs tells
    }
    if (!isOurs(folder, uid)) continue
    try {
      const temporary = join(folder, `.${device}.${process.pid}`)
      writeFileSync(temporary, JSON.stringify(note), { mode: 0o600 })
      renameSync(temporary, join(folder, device))
      return true
    } catch {
      // read-only or full: the next folder
    }
  }
  return false
}

export function removeNote(device: string): void {
  for (const folder of foldersOf(process.getuid?.() ?? 0)) {
    const path = join(folder, device)
    try {
      const note = JSON.parse(readFileSync(path, 'utf8')) as Note
      if (note.pid === process.pid) rmSync(path, { force: true })
    } catch {
      // not here
    }
  }
}

/** A daemon without a mount is noted under this name. */
export const unmountedName = (pid: number): string => `nbd-${pid}`

/** What daemons of this user that mount nothing noted. */
export function unmountedNotes(): Note[] {
  return foldersOf(process.getuid?.() ?? 0).filter((folder) => isOurs(folder, process.getuid?.() ?? 0)).flatMap((folder) => readdirSync(folder).filter((name) => name.startsWith('nbd-')).flatMap((name) => {
    try {
      const note = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Note
      if (existsSync(`/proc/${note.pid}`)) return [note]
      rmSync(join(folder, name), { force: true }) // its daemon was killed
      return []
    } catch {
      return [] // it has just gone
    }
  }))
}

/** The user whose daemon serves this mount. */
export function mountOwner(mount: MountEntry): number {
  const option = mount.superOptions.find((o) => o.startsWith('user_id='))
  return option === undefined ? 0 : Number(option.slice('user_id='.length))
}

/** The pool of a mount of ours: by its note, or by the source, which is the pool's folder unless fsname= says otherwise. */
export function noteOf(mount: MountEntry): Note | undefined {
  const uid = mountOwner(mount)
  for (const folder of foldersOf(uid)) {
    if (!isOurs(folder, uid)) continue
    try {
      const note = JSON.parse(readFileSync(join(folder, mount.device), 'utf8')) as Partial<Note>
      if (typeof note.pid === 'number' && typeof note.pool === 'string') return { pid: note.pid, pool: note.pool }
    } catch {
      // none here, or not for us to read
    }
  }
  return mount.source.startsWith('/') ? { pid: 0, pool: mount.source } : undefined
}
