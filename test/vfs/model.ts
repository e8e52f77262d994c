/**
 * A file system small enough to be believed: the model that the vfs is compared with. Nodes by inode number, a folder is a map
 * of names, a file a buffer. Each operation gives its outcome as a short text, an errno or what the caller saw.
 *   - A new node takes the number that the real one got (`given`): which of two racing creates made the file is the vfs's choice.
 */
import { createHash } from 'node:crypto'

export interface ModelNode {
  readonly kind: 'file' | 'dir' | 'link'
  readonly entries: Map<string, number> // a folder's
  parent: number // a folder's; 0: removed
  bytes: Buffer // a file's, or a link's target
  nlink: number // a folder's is counted when shown
  mode: number
  xattrs: Map<string, string>
}
export type Model = Map<number, ModelNode>

export type Step =
  | { readonly op: 'create'; readonly parent: number; readonly name: string; readonly exclusive: boolean }
  | { readonly op: 'mkdir'; readonly parent: number; readonly name: string }
  | { readonly op: 'symlink'; readonly parent: number; readonly name: string; readonly target: string }
  | { readonly op: 'link'; readonly node: number; readonly parent: number; readonly name: string }
  | { readonly op: 'unlink' | 'rmdir' | 'lookup'; readonly parent: number; readonly name: string }
  | { readonly op: 'rename'; readonly parent: number; readonly name: string; readonly newParent: number; readonly newName: string; readonly flags: number }
  | { readonly op: 'write'; readonly node: number; readonly offset: number | 'end'; readonly length: number; readonly fill: number }
  | { readonly op: 'truncate'; readonly node: number; readonly size: number }
  | { readonly op: 'punch' | 'zero' | 'reserve'; readonly node: number; readonly offset: number; readonly length: number }
  | { readonly op: 'read'; readonly node: number; readonly offset: number; readonly length: number }
  | { readonly op: 'copy'; readonly node: number; readonly to: number; readonly from: number; readonly at: number; readonly length: number }
  | { readonly op: 'chmod'; readonly node: number; readonly mode: number }
  | { readonly op: 'setxattr'; readonly node: number; readonly name: string; readonly value: string }
  | { readonly op: 'list' | 'fsync'; readonly node: number }

const NOREPLACE = 1
const EXCHANGE = 2

/** An empty folder: it is its own parent. */
export const newModel = (root: number): Model => new Map([[root, newNode('dir', root, 0o755)]])

function newNode(kind: ModelNode['kind'], parent: number, mode: number, text = ''): ModelNode {
  return { kind, entries: new Map(), parent, bytes: Buffer.from(text), nlink: kind === 'dir' ? 0 : 1, mode, xattrs: new Map() }
}

export const cloneModel = (m: Model): Model =>
  new Map([...m].map(([ino, n]) => [ino, { ...n, entries: new Map(n.entries), xattrs: new Map(n.xattrs) }])) // bytes are replaced, not changed

/** What a whole file system looks like: nodes without a name included, as long as somebody has them open. */
export const shownModel = (m: Model): string =>
  [...m].sort(([a], [b]) => a - b).map(([ino, n]) => describeNode(ino, n.kind, linksOf(m, n), n.mode, n.bytes, n.entries, n.xattrs)).join('\n')

export function describeNode(
  ino: number, kind: string, nlink: number, mode: number, bytes: Uint8Array, entries: Iterable<readonly [string, number]>, xattrs: Iterable<readonly [string, string]>,
): string {
  const list = [...entries].map(([name, child]) => `${name}=${String(child)}`).sort().join(' ')
  const pairs = [...xattrs].map(([name, value]) => `${name}:${value}`).sort().join(' ')
  return `${String(ino)} ${kind} ${String(nlink)} ${mode.toString(8)} ${digest(bytes)} {${list}} ${pairs}`
}

/** Length and a hash that powers of two do not fool. */
export const digest = (bytes: Uint8Array): string => `${String(bytes.length)}/${createHash('sha1').update(bytes).digest('hex').slice(0, 12)}`

const linksOf = (m: Model, n: ModelNode): number => {
  if (n.kind !== 'dir') return n.nlink
  if (n.parent === 0) return 0
  return 2 + [...n.entries.values()].filter((child) => m.get(child)?.kind === 'dir').length
}

class Failure extends Error {}
const fail = (code: string): never => {
  throw new Failure(code)
}

/** Does the step to the model. `given`: the inode number that the real one's answer carried, for what is made. */
export function apply(m: Model, step: Step, given: number): string {
  try {
    return act(m, step, given)
  } catch (e) {
    if (e instanceof Failure) return e.message
    throw e
  }
}

const nodeOf = (m: Model, ino: number): ModelNode => m.get(ino) ?? fail('ESTALE')
function folderOf(m: Model, ino: number): ModelNode {
  const n = nodeOf(m, ino)
  return n.kind === 'dir' ? n : fail('ENOTDIR')
}
function fileOf(m: Model, ino: number, otherwise = 'EINVAL'): ModelNode {
  const n = nodeOf(m, ino)
  return n.kind === 'file' ? n : fail(n.kind === 'dir' ? 'EISDIR' : otherwise)
}

function add(m: Model, parent: number, name: string, ino: number, node: ModelNode): string {
  const dir = folderOf(m, parent)
  if (dir.entries.has(name)) fail('EEXIST')
  if (dir.parent === 0) fail('ENOENT')
  if (m.has(ino)) fail(`inode ${String(ino)} given twice`)
  dir.entries.set(name, ino)
  m.set(ino, node)
  return `ino ${String(ino)}`
}

function drop(m: Model, ino: number): void {
  const n = nodeOf(m, ino)
  if (n.kind === 'dir') n.parent = 0
  else n.nlink--
}

const isBelow = (m: Model, ino: number, above: number): boolean => {
  for (let at = ino; ;) {
    if (at === above) return true
    const parent = m.get(at)?.parent ?? 0
    if (parent === 0 || parent === at) return false
    at = parent
  }
}

function resized(bytes: Buffer, size: number): Buffer {
  const out = Buffer.alloc(size)
  bytes.copy(out, 0, 0, Math.min(size, bytes.length))
  return out
}
function put(file: ModelNode, offset: number, bytes: Uint8Array): void {
  const out = resized(file.bytes, Math.max(file.bytes.length, offset + bytes.length))
  out.set(bytes, offset)
  file.bytes = out
}

function rename(m: Model, s: Step & { op: 'rename' }): string {
  const [from, to] = [folderOf(m, s.parent), folderOf(m, s.newParent)]
  const moved = from.entries.get(s.name) ?? fail('ENOENT')
  const old = to.entries.get(s.newName)
  if (s.flags === NOREPLACE && old !== undefined) fail('EEXIST')
  if (s.flags === EXCHANGE && old === undefined) fail('ENOENT')
  const [movedNode, oldNode] = [nodeOf(m, moved), old === undefined ? undefined : nodeOf(m, old)]
  if (movedNode.kind === 'dir' && isBelow(m, s.newParent, moved)) fail('EINVAL')
  if (old !== undefined && oldNode?.kind === 'dir' && isBelow(m, s.parent, old)) fail(s.flags === EXCHANGE ? 'EINVAL' : 'ENOTEMPTY')
  if (old === moved) return 'ok'
  if (old === undefined && to.parent === 0) fail('ENOENT')
  if (s.flags === EXCHANGE && old !== undefined && oldNode !== undefined) {
    from.entries.set(s.name, old)
    to.entries.set(s.newName, moved)
    if (oldNode.kind === 'dir') oldNode.parent = s.parent
    if (movedNode.kind === 'dir') movedNode.parent = s.newParent
    return 'ok'
  }
  if (old !== undefined && oldNode !== undefined) {
    if (movedNode.kind === 'dir' && oldNode.kind !== 'dir') fail('ENOTDIR')
    if (movedNode.kind !== 'dir' && oldNode.kind === 'dir') fail('EISDIR')
    if (oldNode.entries.size > 0) fail('ENOTEMPTY')
    drop(m, old)
  }
  from.entries.delete(s.name)
  to.entries.set(s.newName, moved)
  if (movedNode.kind === 'dir') movedNode.parent = s.newParent
  return 'ok'
}

function act(m: Model, s: Step, given: number): string {
  switch (s.op) {
    case 'create': {
      const old = folderOf(m, s.parent).entries.get(s.name)
      if (old === undefined) return add(m, s.parent, s.name, given, newNode('file', 0, 0o644))
      if (s.exclusive) fail('EEXIST')
      const { kind } = nodeOf(m, old)
      return kind === 'file' ? `ino ${String(old)}` : fail(kind === 'dir' ? 'EISDIR' : 'ELOOP')
    }
    case 'mkdir': return add(m, s.parent, s.name, given, newNode('dir', s.parent, 0o755))
    case 'symlink': return add(m, s.parent, s.name, given, newNode('link', 0, 0o777, s.target))
    case 'link': {
      const n = nodeOf(m, s.node)
      const dir = folderOf(m, s.parent)
      if (dir.entries.has(s.name)) fail('EEXIST')
      if (dir.parent === 0) fail('ENOENT')
      if (n.kind === 'dir') fail('EPERM')
      if (n.nlink === 0) fail('ENOENT')
      dir.entries.set(s.name, s.node)
      n.nlink++
      return 'ok'
    }
    case 'unlink':
    case 'rmdir': {
      const dir = folderOf(m, s.parent)
      const old = dir.entries.get(s.name) ?? fail('ENOENT')
      const n = nodeOf(m, old)
      if (s.op === 'unlink' && n.kind === 'dir') fail('EISDIR')
      if (s.op === 'rmdir' && n.kind !== 'dir') fail('ENOTDIR')
      if (n.entries.size > 0) fail('ENOTEMPTY')
      dir.entries.delete(s.name)
      drop(m, old)
      return 'ok'
    }
    case 'lookup': {
      const old = folderOf(m, s.parent).entries.get(s.name)
      return old === undefined ? 'ENOENT' : `ino ${String(old)}`
    }
    case 'rename': return rename(m, s)
    case 'write': {
      const file = fileOf(m, s.node)
      put(file, s.offset === 'end' ? file.bytes.length : s.offset, Buffer.alloc(s.length, s.fill))
      return `${String(s.length)} written`
    }
    case 'truncate': {
      const file = fileOf(m, s.node)
      file.bytes = resized(file.bytes, s.size)
      return 'ok'
    }
    case 'punch':
    case 'zero': {
      const file = fileOf(m, s.node, 'ENODEV')
      const size = s.op === 'zero' ? Math.max(file.bytes.length, s.offset + s.length) : file.bytes.length
      file.bytes = resized(file.bytes, size).fill(0, Math.min(s.offset, size), Math.min(s.offset + s.length, size))
      return 'ok'
    }
    case 'reserve': {
      const file = fileOf(m, s.node, 'ENODEV')
      file.bytes = resized(file.bytes, Math.max(file.bytes.length, s.offset + s.length))
      return 'ok'
    }
    case 'read': return digest(fileOf(m, s.node).bytes.subarray(s.offset, s.offset + s.length))
    case 'copy': {
      const [from, to] = [fileOf(m, s.node), fileOf(m, s.to)]
      const bytes = Buffer.from(from.bytes.subarray(s.from, s.from + s.length))
      if (bytes.length > 0) put(to, s.at, bytes)
      return `${String(bytes.length)} copied`
    }
    case 'chmod': {
      const n = nodeOf(m, s.node)
      if (n.kind === 'link') fail('EOPNOTSUPP')
      n.mode = s.mode
      return 'ok'
    }
    case 'setxattr': {
      const n = nodeOf(m, s.node)
      if (n.kind === 'link') fail('EPERM')
      n.xattrs.set(s.name, s.value)
      return 'ok'
    }
    case 'list': return [...folderOf(m, s.node).entries].map(([name, ino]) => `${name}=${String(ino)}`).sort().join(' ')
    case 'fsync': return m.has(s.node) ? 'ok' : 'ESTALE'
  }
}
