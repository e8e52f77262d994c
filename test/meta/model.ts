/**
 * The tree as a model: plain objects, one operation at a time, rules written down once more from the manual pages. An operation
 * is first judged (errno or what it would do), then done: a failed one can be judged at any state without a change.
 */
export type ModelOp =
  | { readonly op: 'make'; readonly uid: number; readonly parent: number; readonly name: string; readonly mode: number; readonly ino: number }
  | { readonly op: 'link'; readonly uid: number; readonly ino: number; readonly parent: number; readonly name: string }
  | { readonly op: 'unlink' | 'rmdir'; readonly uid: number; readonly parent: number; readonly name: string }
  | { readonly op: 'rename'; readonly uid: number; readonly parent: number; readonly name: string; readonly newParent: number; readonly newName: string; readonly flags: number; readonly whiteoutIno: number }
  | { readonly op: 'chmod'; readonly uid: number; readonly ino: number; readonly mode: number }
  | { readonly op: 'chown'; readonly uid: number; readonly ino: number; readonly owner: number }
  | { readonly op: 'grow'; readonly ino: number; readonly bytes: number }
  | { readonly op: 'xattr'; readonly uid: number; readonly ino: number; readonly value: string }
  | { readonly op: 'snapshot'; readonly name: string }

interface ModelNode {
  readonly ino: number
  mode: number
  uid: number
  gid: number
  nlink: number
  size: number
  mtime: number
  ctime: number
  parent: number
  xattr: string | undefined
  readonly children: Map<string, ModelNode> | undefined
}

export type Judged = { readonly errno: string } | { readonly does: (now: number) => void }
const no = (errno: string): Judged => ({ errno })

const isDir = (n: ModelNode): boolean => n.children !== undefined
const newNode = (ino: number, mode: number, uid: number, gid: number, parent: number, now: number): ModelNode => ({
  ino, mode, uid, gid, parent, nlink: (mode & 0o170000) === 0o040000 ? 2 : 1, size: 0, mtime: now, ctime: now, xattr: undefined,
  children: (mode & 0o170000) === 0o040000 ? new Map() : undefined
})

export interface Model {
  judge(op: ModelOp): Judged
  /** Everything that a reader of the tree can see, as plain data. */
  dump(): unknown
  readonly snapshots: Map<string, unknown>
}

export function makeModel(rootMode: number, now: number): Model {
  const top = newNode(1, 0o040000 | rootMode, 0, 0, 1, now)
  const nodes = new Map<number, ModelNode>([[1, top]])
  const snapshots = new Map<string, unknown>()

  const may = (uid: number, n: ModelNode, want: number): boolean => {
    if (uid === 0) return true
    const bits = uid === n.uid ? n.mode >> 6 : uid === n.gid ? n.mode >> 3 : n.mode
    return (bits & want) === want
  }
  const touch = (n: ModelNode, t: number): void => void (n.mtime = n.ctime = t)
  const enter = (uid: number, ino: number): ModelNode | string => {
    const d = nodes.get(ino)
    if (d === undefined) return 'ESTALE'
    if (!isDir(d)) return 'ENOTDIR'
    return may(uid, d, 1) ? d : 'EACCES'
  }
  const mayRemove = (uid: number, d: ModelNode, n: ModelNode, asDir: boolean): string | undefined => {
    if (!may(uid, d, 3)) return 'EACCES'
    if ((d.mode & 0o1000) !== 0 && uid !== 0 && uid !== n.uid && uid !== d.uid) return 'EPERM'
    if (asDir && !isDir(n)) return 'ENOTDIR'
    return !asDir && isDir(n) ? 'EISDIR' : undefined
  }
  const isAbove = (ino: number, below: number): boolean => {
    for (let at = below; ;) {
      if (at === ino) return true
      const n = nodes.get(at)
      if (n === undefined || n.parent === at || n.nlink === 0) return false
      at = n.parent
    }
  }
  const dropName = (d: ModelNode, name: string, n: ModelNode, t: number): void => {
    d.children!.delete(name)
    if (isDir(n)) {
      d.nlink--
      n.nlink = 0
      n.parent = 0
    } else n.nlink--
    n.ctime = t
  }

  const judges: { readonly [K in ModelOp['op']]: (op: Extract<ModelOp, { op: K }>) => Judged } = {
    make({ uid, parent, name, mode, ino }) {
      const d = enter(uid, parent)
      if (typeof d === 'string') return no(d)
      if (d.children!.has(name)) return no('EEXIST')
      if (d.nlink === 0) return no('ENOENT')
      if (!may(uid, d, 3)) return no('EACCES')
      return {
        does(t) {
          const setgid = (d.mode & 0o2000) !== 0
          const dir = (mode & 0o170000) === 0o040000
          const drops = setgid && !dir && (mode & 0o2010) === 0o2010 && uid !== 0 && uid !== d.gid
          const finalMode = dir ? (mode & ~0o6000) | (setgid ? 0o2000 : 0) : drops ? mode & ~0o2000 : mode
          const n = newNode(ino, finalMode, uid, setgid ? d.gid : uid, parent, t)
          nodes.set(ino, n)
          d.children!.set(name, n)
          if (dir) d.nlink++
          touch(d, t)
        }
      }
    },
    link({ uid, ino, parent, name }) {
      const d = enter(uid, parent)
      if (typeof d === 'string') return no(d)
      const n = nodes.get(ino)
      if (n === undefined) return no('ESTALE')
      if (d.children!.has(name)) return no('EEXIST')
      if (d.nlink === 0) return no('ENOENT')
      if (!may(uid, d, 3)) return no('EACCES')
      if (isDir(n)) return no('EPERM')
      if (n.nlink === 0) return no('ENOENT')
      return {
        does(t) {
          d.children!.set(name, n)
          n.nlink++
          n.ctime = t
          touch(d, t)
        }
      }
    },
    unlink: ({ uid, parent, name }) => remove(uid, parent, name, false),
    rmdir: ({ uid, parent, name }) => remove(uid, parent, name, true),
    rename({ uid, parent, name, newParent, newName, flags, whiteoutIno }) {
      const exchange = flags === 2
      if (flags > 7 || ((flags & 2) !== 0 && !exchange)) return no('EINVAL')
      const from = enter(uid, parent)
      if (typeof from === 'string') return no(from)
      const to = enter(uid, newParent)
      if (typeof to === 'string') return no(to)
      const n = from.children!.get(name)
      if (n === undefined) return no('ENOENT')
      const old = to.children!.get(newName)
      if ((flags & 1) !== 0 && old !== undefined) return no('EEXIST')
      if (exchange && old === undefined) return no('ENOENT')
      if (from !== to) {
        if (isDir(n) && isAbove(n.ino, newParent)) return no('EINVAL')
        if (old !== undefined && isDir(old) && isAbove(old.ino, parent)) return no(exchange ? 'EINVAL' : 'ENOTEMPTY')
      }
      if (n === old) return { does: () => undefined }
      const refused = mayRemove(uid, from, n, isDir(n))
      if (refused !== undefined) return no(refused)
      if (old === undefined) {
        if (to.nlink === 0) return no('ENOENT')
        if (!may(uid, to, 3)) return no('EACCES')
      } else {
        const also = mayRemove(uid, to, old, isDir(exchange ? old : n))
        if (also !== undefined) return no(also)
      }
      if (from !== to && isDir(n) && !may(uid, n, 2)) return no('EACCES')
      if (from !== to && exchange && isDir(old!) && !may(uid, old!, 2)) return no('EACCES')
      if (!exchange && old !== undefined && isDir(old) && old.children!.size > 0) return no('ENOTEMPTY')
      return {
        does(t) {
          if (old !== undefined && !exchange) dropName(to, newName, old, t)
          from.children!.delete(name)
          if (isDir(n)) {
            from.nlink--
            to.nlink++
            n.parent = newParent
          }
          to.children!.set(newName, n)
          n.ctime = t
          if (exchange) {
            from.children!.set(name, old!)
            if (isDir(old!)) {
              to.nlink--
              from.nlink++
              old!.parent = parent
            }
            old!.ctime = t
          } else if ((flags & 4) !== 0) {
            const w = newNode(whiteoutIno, 0o020000, uid, uid, parent, t)
            nodes.set(whiteoutIno, w)
            from.children!.set(name, w)
          }
          touch(from, t)
          touch(to, t)
        }
      }
    },
    chmod({ uid, ino, mode }) {
      const n = nodes.get(ino)
      if (n === undefined) return no('ESTALE')
      if (uid !== 0 && uid !== n.uid) return no('EPERM')
      return {
        does(t) {
          const kept = uid !== 0 && uid !== n.gid ? mode & ~0o2000 : mode
          n.mode = (n.mode & 0o170000) | kept
          n.ctime = t
        }
      }
    },
    chown({ uid, ino, owner }) {
      const n = nodes.get(ino)
      if (n === undefined) return no('ESTALE')
      if (uid !== 0 && !(uid === n.uid && owner === n.uid)) return no('EPERM')
      return {
        does(t) {
          if (!isDir(n)) {
            const group = (n.mode & 0o010) !== 0 || (uid !== 0 && uid !== n.gid)
            n.mode &= ~0o4000 & (group ? ~0o2000 : ~0)
          }
          n.uid = owner
          n.ctime = t
        }
      }
    },
    grow({ ino, bytes }) {
      const n = nodes.get(ino)
      if (n === undefined) return no('ESTALE')
      return {
        does(t) {
          n.size = bytes
          touch(n, t)
        }
      }
    },
    xattr({ uid, ino, value }) {
      const n = nodes.get(ino)
      if (n === undefined) return no('ESTALE')
      const type = n.mode & 0o170000
      if (type !== 0o100000 && type !== 0o040000) return no('EPERM')
      if (isDir(n) && (n.mode & 0o1000) !== 0 && uid !== 0 && uid !== n.uid) return no('EPERM')
      if (!may(uid, n, 2)) return no('EACCES')
      return {
        does(t) {
          n.xattr = value
          n.ctime = t
        }
      }
    },
    snapshot({ name }) {
      if (snapshots.has(name)) return no('EEXIST')
      return { does: () => void snapshots.set(name, dump()) }
    }
  }

  function remove(uid: number, parent: number, name: string, asDir: boolean): Judged {
    const d = enter(uid, parent)
    if (typeof d === 'string') return no(d)
    const n = d.children!.get(name)
    if (n === undefined) return no('ENOENT')
    const refused = mayRemove(uid, d, n, asDir)
    if (refused !== undefined) return no(refused)
    if (asDir && n.children!.size > 0) return no('ENOTEMPTY')
    return {
      does(t) {
        dropName(d, name, n, t)
        touch(d, t)
      }
    }
  }

  function dump(): unknown {
    const show = (n: ModelNode): unknown => ({
      ino: n.ino, mode: n.mode.toString(8), uid: n.uid, gid: n.gid, nlink: n.nlink, size: isDir(n) ? 4096 : n.size, mtime: n.mtime, ctime: n.ctime, xattr: n.xattr,
      children: n.children === undefined ? undefined : Object.fromEntries([...n.children].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, c]) => [name, show(c)]))
    })
    return show(top)
  }

  const judge = (op: ModelOp): Judged => (judges[op.op] as (op: ModelOp) => Judged)(op)
  return { judge, dump, snapshots }
}
