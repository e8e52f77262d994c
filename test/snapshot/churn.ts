/** Random changes of a tree, from a seed: what tests of diffs and images compare snapshots of. */
import { PosixError, rootContext as root } from '../../src/sys/index.js'
import type { Random } from '../../src/sys/index.js'
import { SET_GID, SET_MODE, SET_MTIME, SET_SIZE, SET_UID } from '../../src/vfs/index.js'
import type { Vfs } from '../../src/vfs/index.js'
import { S_IFDIR, S_IFMT } from './rig.js'

const NOTHING = { valid: 0, mode: 0, uid: 0, gid: 0, sizeBytes: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0, ctimeSec: 0, ctimeNsec: 0 }
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f']

interface Found { readonly parent: number; readonly name: string; readonly ino: number; readonly mode: number }

async function all(vfs: Vfs, dir: number): Promise<Found[]> {
  const names: string[] = []
  await vfs.readdir(root, dir, 0, 0, 0, { entry: (name) => (name === '.' || name === '..' ? true : names.push(name) > 0) }, false)
  const out: Found[] = []
  for (const name of names.sort()) {
    const attr = await vfs.lookup(root, dir, name)
    if (attr === undefined) continue
    out.push({ parent: dir, name, ino: attr.ino, mode: attr.mode })
    if ((attr.mode & S_IFMT) === S_IFDIR) out.push(...await all(vfs, attr.ino))
  }
  return out
}

/** One change below `top`, or none where it does not fit. */
export async function change(vfs: Vfs, top: number, random: Random): Promise<void> {
  const pick = <T>(list: readonly T[]): T => list[random.uint32() % list.length]
  const found = await all(vfs, top)
  const dirs = [top, ...found.filter((f) => (f.mode & S_IFMT) === S_IFDIR).map((f) => f.ino)]
  const files = found.filter((f) => (f.mode & S_IFMT) === 0o100000)
  const dir = pick(dirs)
  const name = pick(NAMES)
  try {
    switch (random.uint32() % 14) {
      case 0: case 1: case 2: await vfs.mknod(root, dir, name, 0o100644, 0, 0); return
      case 3: case 4: await vfs.mkdir(root, dir, name, 0o755, 0); return
      case 5: await (random.uint32() % 2 === 0 ? vfs.symlink(root, dir, name, 'to/there') : vfs.mknod(root, dir, name, 0o020600, 0x103, 0)); return
      case 6: if (files.length > 0) await vfs.link(root, pick(files).ino, dir, name); return
      case 7: case 8: case 9: {
        if (found.length === 0) return
        const f = pick(found)
        return void await vfs.rename(root, f.parent, f.name, dir, name, 0)
      }
      case 10: {
        if (found.length === 0) return
        const f = pick(found)
        return void await ((f.mode & S_IFMT) === S_IFDIR ? vfs.rmdir(root, f.parent, f.name) : vfs.unlink(root, f.parent, f.name))
      }
      case 11: {
        if (found.length === 0) return
        const f = pick(found)
        const valid = pick([SET_MODE, SET_UID | SET_GID, SET_MTIME])
        if (valid === SET_MODE && (f.mode & S_IFMT) === 0o120000) return
        return void await vfs.setattr(root, f.ino, { ...NOTHING, valid, mode: 0o640, uid: 7, gid: 8, mtimeSec: 1000 + random.uint32() % 100 }, 0)
      }
      case 12: {
        const f = pick([{ ino: dir }, ...files])
        return void await vfs.setxattr(root, f.ino, pick(['user.x', 'user.y', 'trusted.t']), Buffer.from(String(random.uint32() % 5)), 0, false)
      }
      default: {
        if (files.length === 0) return
        const { ino } = pick(files)
        const length = pick([1, 100, 4096, 70_000, 200_000])
        const offset = pick([0, 50, 4096, 1_000_000])
        if (random.uint32() % 4 === 0) return void await vfs.setattr(root, ino, { ...NOTHING, valid: SET_SIZE, sizeBytes: offset }, 0)
        await vfs.write(root, ino, 0, offset, random.bytes(length), 0, length, { killSuidgid: false, append: false })
      }
    }
  } catch (e) {
    if (!(e instanceof PosixError)) throw e // the name is taken, the folder is not empty, ...
  }
}
